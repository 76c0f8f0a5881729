// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: where a container's addresses come from, behind one set of operations.
#include "cni/ipam.h"

#include "cni/delegate.h"
#include "cni/host_local.h"
#include "cni/ipam_agent.h"
#include "core/mem.h"
#include "core/text.h"

enum source {
	SOURCE_NONE,
	SOURCE_AGENT,
	SOURCE_HOST_LOCAL,
	SOURCE_PLUGIN,
};

static enum source source_of(const struct conf *conf)
{
	const struct doc_value *ipam = doc_get(conf->root, "ipam");

	// No word about addresses: the agent's. An empty one: none.
	if (!ipam || ipam->kind == DOC_NULL || text_equal(conf->ipam_type, "weft-ipam"))
		return SOURCE_AGENT;
	if (!conf->ipam_type)
		return SOURCE_NONE;
	if (text_equal(conf->ipam_type, "host-local"))
		return SOURCE_HOST_LOCAL;
	return SOURCE_PLUGIN;
}

bool ipam_wanted(const struct conf *conf)
{
	return source_of(conf) != SOURCE_NONE;
}

static int run(const struct call *call, enum command command, const struct conf *conf,
	       struct strbuf *out, struct fault *fault)
{
	return delegate_run(call, command, conf->ipam_type, conf->text, conf->len, out, fault);
}

static int run_add(const struct call *call, const struct conf *conf, struct doc *keep,
		   struct result *ret, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(DOC_TEXT_MAX);
	int r;

	r = run(call, COMMAND_ADD, conf, &out, fault);
	if (r < 0)
		return r;
	if (doc_parse(keep, strbuf_text(&out), out.len, NULL) < 0)
		return fault_set(fault, FAULT_DECODE, "IPAM plugin %s printed no JSON",
				 conf->ipam_type);
	return result_read(ret, keep->root, fault);
}

int ipam_add(const struct call *call, const struct conf *conf, const struct wish *wish,
	     const char *host_if, struct doc *keep, struct result *ret, uint32_t *ret_mtu_bytes,
	     struct fault *fault)
{
	*ret_mtu_bytes = 0;
	switch (source_of(conf)) {
	case SOURCE_NONE:
		*ret = (struct result){ 0 };
		return 0;
	case SOURCE_AGENT:
		return ipam_agent_add(call, conf, wish, host_if, keep, ret, ret_mtu_bytes, fault);
	case SOURCE_HOST_LOCAL:
		return host_local_add(call, conf, wish, keep, ret, fault);
	case SOURCE_PLUGIN:
		return run_add(call, conf, keep, ret, fault);
	}
	return 0;
}

// The commands without an answer.
static int run_other(const struct call *call, enum command command, const struct conf *conf,
		     struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(DOC_TEXT_MAX);

	return run(call, command, conf, &out, fault);
}

int ipam_del(const struct call *call, const struct conf *conf, struct fault *fault)
{
	switch (source_of(conf)) {
	case SOURCE_NONE:
		return 0;
	case SOURCE_AGENT:
		return ipam_agent_del(call, conf, fault);
	case SOURCE_HOST_LOCAL:
		return host_local_del(call, conf, fault);
	case SOURCE_PLUGIN:
		return run_other(call, COMMAND_DEL, conf, fault);
	}
	return 0;
}

int ipam_check(const struct call *call, const struct conf *conf, struct fault *fault)
{
	switch (source_of(conf)) {
	case SOURCE_NONE:
		return 0;
	case SOURCE_AGENT:
		return ipam_agent_check(call, conf, fault);
	case SOURCE_HOST_LOCAL:
		return host_local_check(call, conf, fault);
	case SOURCE_PLUGIN:
		return run_other(call, COMMAND_CHECK, conf, fault);
	}
	return 0;
}

int ipam_status(const struct call *call, const struct conf *conf, struct fault *fault)
{
	switch (source_of(conf)) {
	case SOURCE_NONE:
		return 0;
	case SOURCE_AGENT:
		return ipam_agent_status(conf, fault);
	case SOURCE_HOST_LOCAL:
		return host_local_status(conf, fault);
	case SOURCE_PLUGIN:
		return run_other(call, COMMAND_STATUS, conf, fault);
	}
	return 0;
}

int ipam_gc(const struct call *call, const struct conf *conf, struct fault *fault)
{
	switch (source_of(conf)) {
	case SOURCE_NONE:
		return 0;
	case SOURCE_AGENT:
		return ipam_agent_gc(conf, fault);
	case SOURCE_HOST_LOCAL:
		return host_local_gc(conf, fault);
	case SOURCE_PLUGIN:
		return run_other(call, COMMAND_GC, conf, fault);
	}
	return 0;
}
