// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: addresses from the agent.
#include "cni/ipam_agent.h"

#include "cni/agent_http.h"
#include "cni/host_local.h"
#include "cni/resolv.h"
#include "cni/small_file.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define BASE "/agent/v1/ipam/"
#define WAITING_DIR "/run/weft/ipam-del.d"

// A word of the configuration: in ipam, or beside it where there is no ipam.
static const char *option(const struct conf *conf, const char *key, const char *fallback)
{
	const char *text = doc_get_text(doc_get(conf->root, "ipam"), key);

	if (!text || !*text)
		text = doc_get_text(conf->root, key);
	return text && *text ? text : fallback;
}

static int ask(const struct conf *conf, const char *verb, const struct strbuf *body,
	       struct doc *ret, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf target = STRBUF_INIT(1024);

	(void)strbuf_printf(&target, BASE "%s", verb);
	return agent_ask(option(conf, "agent", AGENT_SOCKET_DEFAULT), strbuf_text(&target), body,
			 ret, fault);
}

static void put_text(struct strbuf *body, const char *key, const char *value)
{
	(void)strbuf_printf(body, "%s\"%s\":", body->len > 0 ? "," : "{", key);
	(void)doc_write_text(value, body);
}

static void put_owner(const struct call *call, const struct conf *conf, struct strbuf *body)
{
	put_text(body, "net", option(conf, "network", ""));
	put_text(body, "name", conf->name);
	if (call) {
		put_text(body, "cid", call->container_id);
		put_text(body, "if", call->ifname);
	}
}

static void put_wish(const struct conf *conf, const struct wish *wish, struct strbuf *body)
{
	const struct doc_value *ipam = doc_get_kind(conf->root, "ipam", DOC_OBJECT);
	bool sticky = doc_get_bool(ipam ? ipam : conf->root, "sticky", false);
	char text[IP_STR_MAX];

	put_text(body, "ns", wish->pod_namespace);
	put_text(body, "pod", wish->pod_name);
	put_text(body, "uid", wish->pod_uid);
	(void)strbuf_puts(body, ",\"ips\":[");
	for (size_t i = 0; i < wish->ip_count; i++)
		(void)strbuf_printf(body, "%s\"%s\"", i > 0 ? "," : "", ip_str(&wish->ips[i], text));
	(void)strbuf_putc(body, ']');
	// "mode" beside ipam is the interface plugin's own word.
	put_text(body, "mode", ipam && doc_get_text(ipam, "mode") ? doc_get_text(ipam, "mode") : "");
	(void)strbuf_printf(body, ",\"sticky\":%s}", sticky ? "true" : "false");
}

// Of the result that the runtime kept; none is fine.
static void put_prev_ips(const struct conf *conf, struct strbuf *body)
{
	_cleanup_free_ struct result *prev = xnew(struct result);
	const struct doc_value *value = doc_get_kind(conf->root, "prevResult", DOC_OBJECT);
	struct fault ignored;
	char text[IP_STR_MAX];

	(void)strbuf_puts(body, ",\"ips\":[");
	if (value && result_read(prev, value, &ignored) == 0)
		for (size_t i = 0; i < prev->ip_count; i++)
			(void)strbuf_printf(body, "%s\"%s/%u\"", i > 0 ? "," : "",
					    ip_str(&prev->ips[i].address, text), prev->ips[i].len);
	(void)strbuf_puts(body, "]}");
}

static void drop_doubles(struct result *result)
{
	size_t count = 0;

	for (size_t i = 0; i < result->route_count; i++) {
		size_t j = 0;

		while (j < count && !ipnet_equal(&result->routes[j].dst, &result->routes[i].dst))
			j++;
		if (j == count)
			result->routes[count++] = result->routes[i];
	}
	result->route_count = count;
}

int ipam_agent_read(const struct doc_value *answer, struct result *ret, uint32_t *ret_mtu_bytes,
		    struct fault *fault)
{
	const struct doc_value *ips = doc_get_kind(answer, "ips", DOC_ARRAY);
	struct result *given = NULL;
	uint64_t mtu = 0;
	int r;

	if (!ips || !ips->first)
		return fault_set(fault, FAULT_DECODE, "the agent answered without an address");
	if (doc_get_u64(answer, "mtu", UINT16_MAX, &mtu) == -EINVAL)
		return fault_set(fault, FAULT_DECODE, "the agent answered with an MTU that is none");
	given = xnew(struct result);
	r = result_read(given, answer, fault);
	if (r == 0 && given->ip_count > 0) {
		memcpy(ret->ips, given->ips, sizeof(ret->ips));
		ret->ip_count = given->ip_count;
		r = result_read_routes(ret, doc_get(answer, "routes"), fault);
		drop_doubles(ret);
		*ret_mtu_bytes = (uint32_t)mtu;
	}
	free(given);
	return r < 0 ? fault_wrap(fault, "the agent's answer: ") : 0;
}

// Ranges are the agent's affair; those of the configuration must not say otherwise.
static int check_ranges(const struct conf *conf, const struct result *result, struct fault *fault)
{
	_cleanup_free_ struct host_local_conf *sets = NULL;
	const struct doc_value *ipam = doc_get(conf->root, "ipam");
	char text[IP_STR_MAX];

	if (!doc_get(ipam, "ranges") && !doc_get(ipam, "subnet") &&
	    !doc_get(doc_get(conf->root, "runtimeConfig"), "ipRanges"))
		return 0;
	sets = xnew(struct host_local_conf);
	if (host_local_read(sets, conf, fault) < 0)
		return -EIO;
	for (size_t i = 0; i < result->ip_count; i++) {
		size_t j = 0;

		while (j < sets->set_count &&
		       !host_local_contains(&sets->sets[j], &result->ips[i].address))
			j++;
		if (j == sets->set_count)
			return fault_set(fault, FAULT_CONFIG,
					 "address %s, which the agent gave, is in none of the configured ranges",
					 ip_str(&result->ips[i].address, text));
	}
	return 0;
}

static int start_result(const struct conf *conf, struct doc *keep, struct result *ret,
			struct fault *fault)
{
	const struct doc_value *ipam = doc_get(conf->root, "ipam");
	const char *resolv = doc_get_text(ipam, "resolvConf");
	int r = 0;

	*ret = (struct result){ 0 };
	if (resolv && *resolv)
		r = resolv_read(resolv, keep, &ret->dns, fault);
	return r < 0 ? r : result_read_routes(ret, doc_get(ipam, "routes"), fault);
}

int ipam_agent_add(const struct call *call, const struct conf *conf, const struct wish *wish,
		   const char *host_if, struct doc *keep, struct result *ret,
		   uint32_t *ret_mtu_bytes, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT(64 * 1024);
	struct doc answer = { 0 };
	struct fault ignored;
	int r;

	put_owner(call, conf, &body);
	put_text(&body, "netns", call->netns);
	put_text(&body, "host_if", host_if);
	put_wish(conf, wish, &body);
	r = start_result(conf, keep, ret, fault);
	if (r == 0)
		r = ask(conf, "add", &body, &answer, fault);
	if (r == 0) {
		r = ipam_agent_read(answer.root, ret, ret_mtu_bytes, fault);
		if (r == 0)
			r = check_ranges(conf, ret, fault);
		if (r < 0)
			(void)ipam_agent_del(call, conf, &ignored);
	}
	doc_free(&answer);
	return r < 0 ? -EIO : 0;
}

// One file for an owner: the agent takes it when it is back. It looks at what is moved there.
static int leave_waiting(const struct call *call, const struct conf *conf,
			 const struct strbuf *body, struct fault *fault)
{
	const char *directory = option(conf, "waiting", WAITING_DIR);
	char name[NAME_MAX + 1], hidden[PATH_MAX], path[PATH_MAX];
	int r;

	(void)text_format(name, sizeof(name), ".%.64s_%.128s_%s", conf->name, call->container_id,
			  call->ifname);
	r = text_format(hidden, sizeof(hidden), "%s/%s", directory, name);
	if (r == 0)
		r = text_format(path, sizeof(path), "%s/%s", directory, name + 1);
	if (r == 0)
		r = small_file_write(directory, 0700, name, body->data, body->len, 0600);
	if (r == 0 && rename(hidden, path) < 0)
		r = -errno;
	if (r < 0)
		return fault_set(fault, FAULT_IO, "the agent is down, and %s/%s cannot be written: %s",
				 directory, name + 1, strerror(-r));
	return 0;
}

int ipam_agent_del(const struct call *call, const struct conf *conf, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT(64 * 1024);
	struct doc answer = { 0 };
	int r;

	put_owner(call, conf, &body);
	put_prev_ips(conf, &body);
	r = ask(conf, "del", &body, &answer, fault);
	doc_free(&answer);
	// Also one that is too busy, or was killed with the request in its hands.
	if (r == -ENOENT || (r < 0 && fault->code == FAULT_AGAIN))
		r = leave_waiting(call, conf, &body, fault);
	return r;
}

int ipam_agent_check(const struct call *call, const struct conf *conf, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT(64 * 1024);
	struct doc answer = { 0 };
	int r;

	put_owner(call, conf, &body);
	put_prev_ips(conf, &body);
	r = ask(conf, "check", &body, &answer, fault);
	doc_free(&answer);
	return r < 0 ? -EIO : 0;
}

int ipam_agent_status(const struct conf *conf, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf target = STRBUF_INIT(512);
	const char *network = option(conf, "network", "");
	const struct doc_value *ipam = doc_get(conf->root, "ipam");
	struct doc answer = { 0 };
	int r;

	if (*network && !call_id_valid(network))
		return fault_set(fault, FAULT_CONFIG, "no name of a network: %s", network);
	(void)strbuf_printf(&target, "status?net=%s%s", network,
			    text_equal(doc_get_text(ipam, "mode"), "strict") ? "&mode=strict" : "");
	r = ask(conf, strbuf_text(&target), NULL, &answer, fault);
	doc_free(&answer);
	if (r == -ENOENT)
		fault->code = FAULT_UNAVAILABLE;
	return r < 0 ? -EIO : 0;
}

int ipam_agent_gc(const struct conf *conf, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT(DOC_TEXT_MAX);
	const struct doc_value *kept = attachments_of(conf);
	struct doc answer = { 0 };
	int r;

	if (!kept)
		return 0;
	put_owner(NULL, conf, &body);
	(void)strbuf_puts(&body, ",\"keep\":[");
	for (const struct doc_value *at = kept->first; at; at = at->next) {
		const char *id = doc_get_text(at, "containerID"), *ifname = doc_get_text(at, "ifname");

		(void)strbuf_puts(&body, at == kept->first ? "{\"cid\":" : ",{\"cid\":");
		(void)doc_write_text(id ? id : "", &body);
		(void)strbuf_puts(&body, ",\"if\":");
		(void)doc_write_text(ifname ? ifname : "", &body);
		(void)strbuf_putc(&body, '}');
	}
	(void)strbuf_puts(&body, "]}");
	r = ask(conf, "gc", &body, &answer, fault);
	doc_free(&answer);
	return r < 0 ? -EIO : 0;
}

static int add(const struct call *call, const struct conf *conf, struct strbuf *out, struct fault *fault)
{
	_cleanup_free_ struct result *result = xnew(struct result);
	struct doc keep = { 0 };
	struct wish wish;
	struct fault ignored;
	uint32_t mtu = 0;
	int r;

	r = wish_read(&wish, call, conf, fault);
	if (r == 0)
		r = ipam_agent_add(call, conf, &wish, "", &keep, result, &mtu, fault);
	if (r == 0) {
		r = result_write(result, conf->version, out, fault);
		if (r < 0)
			(void)ipam_agent_del(call, conf, &ignored);
	}
	doc_free(&keep);
	return r;
}

int ipam_agent_run(const struct call *call, const struct conf *conf, struct strbuf *out,
		   struct fault *fault)
{
	switch (call->command) {
	case COMMAND_ADD:
		return add(call, conf, out, fault);
	case COMMAND_DEL:
		return ipam_agent_del(call, conf, fault);
	case COMMAND_CHECK:
		return ipam_agent_check(call, conf, fault);
	case COMMAND_STATUS:
		return ipam_agent_status(conf, fault);
	case COMMAND_GC:
		return ipam_agent_gc(conf, fault);
	case COMMAND_VERSION:
	case COMMAND_COUNT:
		break;
	}
	return 0;
}
