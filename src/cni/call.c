// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a runtime asks for: the command, its environment, and the configuration on standard input.
#include "cni/call.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"

#include <assert.h>
#include <errno.h>
#include <linux/if.h>
#include <string.h>

#define BIT(command) (1u << (command))
#define ATTACHMENT (BIT(COMMAND_ADD) | BIT(COMMAND_DEL) | BIT(COMMAND_CHECK))

static const struct {
	const char *name;
	enum cni_version since;
} commands[] = {
	[COMMAND_ADD] = { "ADD", CNI_0_1_0 },	    [COMMAND_DEL] = { "DEL", CNI_0_1_0 },
	[COMMAND_CHECK] = { "CHECK", CNI_0_4_0 },   [COMMAND_GC] = { "GC", CNI_1_1_0 },
	[COMMAND_STATUS] = { "STATUS", CNI_1_1_0 }, [COMMAND_VERSION] = { "VERSION", CNI_0_1_0 },
};
static_assert(ARRAY_SIZE(commands) == COMMAND_COUNT, "each command");

// In the order in which the reference names what is missing.
static const struct {
	const char *name;
	size_t offset;
	unsigned int required; // by which commands
} variables[] = {
	{ "CNI_CONTAINERID", offsetof(struct call, container_id), ATTACHMENT },
	{ "CNI_NETNS", offsetof(struct call, netns), BIT(COMMAND_ADD) | BIT(COMMAND_CHECK) },
	{ "CNI_IFNAME", offsetof(struct call, ifname), ATTACHMENT },
	{ "CNI_ARGS", offsetof(struct call, args), 0 },
	{ "CNI_PATH", offsetof(struct call, path), ATTACHMENT | BIT(COMMAND_GC) | BIT(COMMAND_STATUS) },
};

const char *command_name(enum command command)
{
	return commands[command].name;
}

bool call_id_valid(const char *id)
{
	static const char others[] = "_.-";

	for (const char *at = id; *at; at++) {
		bool word = (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') ||
			    (*at >= 'A' && *at <= 'Z');

		if (!word && (at == id || !strchr(others, *at)))
			return false;
	}
	return *id != '\0';
}

bool call_ifname_valid(const char *ifname)
{
	size_t len = strlen(ifname);

	return len > 0 && len < IFNAMSIZ && !text_equal(ifname, ".") && !text_equal(ifname, "..") &&
	       strcspn(ifname, "/: \t\n\v\f\r") == len;
}

static int read_command(struct call *call, struct fault *fault)
{
	const char *text = getenv("CNI_COMMAND");

	for (int i = 0; i < COMMAND_COUNT; i++)
		if (text_equal(text, commands[i].name)) {
			call->command = (enum command)i;
			return 0;
		}
	return fault_set(fault, FAULT_ENVIRONMENT, "unknown CNI_COMMAND: %s", text ? text : "");
}

static int check_names(const struct call *call, struct fault *fault)
{
	if (!(ATTACHMENT & BIT(call->command)))
		return 0;
	if (!call_id_valid(call->container_id)) {
		(void)fault_set(fault, FAULT_ENVIRONMENT, "invalid characters in containerID");
		fault_details(fault, "%s", call->container_id);
		return -EIO;
	}
	if (!call_ifname_valid(call->ifname)) {
		(void)fault_set(fault, FAULT_ENVIRONMENT, "interface name is invalid");
		fault_details(fault, "%s", call->ifname);
		return -EIO;
	}
	return 0;
}

int call_read(struct call *ret, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf missing = STRBUF_INIT(256);
	const char *override = getenv("CNI_NETNS_OVERRIDE");
	struct call call = { 0 };
	int r;

	r = read_command(&call, fault);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
		const char *value = getenv(variables[i].name);

		if (!value)
			value = "";
		if (!*value && (variables[i].required & BIT(call.command)))
			(void)strbuf_printf(&missing, "%s%s", missing.len > 0 ? "," : "",
					    variables[i].name);
		memcpy((char *)&call + variables[i].offset, &value, sizeof(value));
	}
	if (missing.len > 0)
		return fault_set(fault, FAULT_ENVIRONMENT, "required env variables [%s] missing",
				 missing.data);
	call.any_netns = override && parse_go_bool(override, &call.any_netns) == 0 && call.any_netns;
	*ret = call;
	return check_names(ret, fault);
}

static int check_version(struct conf *conf, enum command command, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf all = STRBUF_INIT(256);
	const struct doc_value *given = doc_get(conf->root, "cniVersion");
	const char *text = doc_get_text(conf->root, "cniVersion");

	if (given && given->kind != DOC_NULL && !text)
		return fault_set(fault, FAULT_DECODE,
				 "error unmarshall network config: cniVersion is not a string");
	if (cni_version_parse(text ? text : "", &conf->version) < 0) {
		(void)fault_set(fault, FAULT_VERSION, "incompatible CNI versions");
		cni_version_list(&all);
		fault_details(fault, "config is \"%s\", plugin supports %s", text, strbuf_text(&all));
		return -EIO;
	}
	if (conf->version < commands[command].since)
		return fault_set(fault, FAULT_VERSION, "config version does not allow %s",
				 commands[command].name);
	return 0;
}

static int check_root(struct conf *conf, enum command command, struct fault *fault)
{
	const char *name = doc_get_text(conf->root, "name");

	if (!name || !*name)
		return fault_set(fault, FAULT_CONFIG, "missing network name");
	if (!call_id_valid(name)) {
		(void)fault_set(fault, FAULT_CONFIG, "invalid characters found in network name");
		fault_details(fault, "%s", name);
		return -EIO;
	}
	conf->name = name;
	conf->ipam_type = doc_get_text(doc_get(conf->root, "ipam"), "type");
	if (conf->ipam_type && !*conf->ipam_type)
		conf->ipam_type = NULL;
	return check_version(conf, command, fault);
}

int conf_read(struct conf *ret, const struct call *call, const char *text, size_t len,
	      struct fault *fault)
{
	size_t offset = 0;
	int r;

	*ret = (struct conf){ .text = xstrndup(text, len), .len = len };
	r = doc_parse(&ret->doc, text, len, &offset);
	if (r == 0 && ret->doc.root->kind != DOC_OBJECT)
		r = -EINVAL;
	if (r == -E2BIG)
		return fault_set(fault, FAULT_DECODE,
				 "the network configuration is too large or too deep");
	if (r < 0)
		return fault_set(fault, FAULT_DECODE,
				 "error unmarshall network config: no JSON object (byte %zu)", offset);
	ret->root = ret->doc.root;
	return check_root(ret, call->command, fault);
}

void conf_free(struct conf *conf)
{
	doc_free(&conf->doc);
	free(conf->text);
	*conf = (struct conf){ 0 };
}

const struct doc_value *attachments_of(const struct conf *conf)
{
	const struct doc_value *list = doc_get_kind(conf->root, "cni.dev/valid-attachments", DOC_ARRAY);

	return list ? list : doc_get_kind(conf->root, "cni.dev/attachments", DOC_ARRAY);
}

bool attachments_have(const struct doc_value *list, const char *id, const char *ifname)
{
	for (const struct doc_value *at = list->first; at; at = at->next)
		if (text_equal(doc_get_text(at, "containerID"), id) &&
		    (!*ifname || text_equal(doc_get_text(at, "ifname"), ifname)))
			return true;
	return false;
}
