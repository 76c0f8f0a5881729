// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: CNI_ARGS, and what else of a call asks for addresses, a MAC and says who the pod is.
#include "cni/args.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

// "10.1.2.3" or "10.1.2.3/24".
static int add_ip(struct wish *wish, const char *text, size_t len, struct fault *fault)
{
	char copy[IPNET_STR_MAX];
	char *slash;
	uint64_t bits;
	struct ip ip;

	if (len >= sizeof(copy))
		return fault_set(fault, FAULT_CONFIG, "requested IP address is too long");
	memcpy(copy, text, len);
	copy[len] = '\0';
	slash = strchr(copy, '/');
	if (slash)
		*slash++ = '\0';
	if (ip_parse(copy, &ip) < 0 ||
	    (slash && (parse_whole_u64(slash, ip_width_bits(&ip), &bits) < 0)))
		return fault_set(fault, FAULT_CONFIG, "invalid IP address %.*s", (int)len, text);
	if (wish->ip_count == WISH_IPS_MAX)
		return fault_set(fault, FAULT_CONFIG, "more than %d IP addresses are requested",
				 WISH_IPS_MAX);
	wish->ips[wish->ip_count++] = ip;
	return 0;
}

static int add_ip_list(struct wish *wish, const struct doc_value *list, const char *where,
		       struct fault *fault)
{
	if (!list || list->kind == DOC_NULL)
		return 0;
	if (list->kind != DOC_ARRAY)
		return fault_set(fault, FAULT_CONFIG, "%s is no list", where);
	for (const struct doc_value *at = list->first; at; at = at->next) {
		if (at->kind != DOC_STRING)
			return fault_set(fault, FAULT_CONFIG, "%s has something that is no string",
					 where);
		if (add_ip(wish, at->text, strlen(at->text), fault) < 0)
			return fault_wrap(fault, "%s: ", where);
	}
	return 0;
}

static int set_mac(struct wish *wish, const char *text, struct fault *fault)
{
	if (!text || !*text)
		return 0;
	if (mac_parse(text, &wish->mac) < 0)
		return fault_set(fault, FAULT_CONFIG, "invalid MAC address %s", text);
	wish->mac_set = true;
	return 0;
}

// One pair of CNI_ARGS. 0, 1 when the key is unknown, or an error.
static int take_pair(struct wish *wish, const char *key, const char *value, bool *ignore,
		     struct fault *fault)
{
	static const char *const ignored[] = { "GATEWAY", "K8S_POD_INFRA_CONTAINER_ID" };
	const char *end;

	if (text_equal(key, "IgnoreUnknown")) {
		if (parse_go_bool(value, ignore) < 0)
			return fault_set(fault, FAULT_INTERNAL,
					 "ARGS: error parsing value of pair \"IgnoreUnknown=%s\"",
					 value);
		return 0;
	}
	if (text_equal(key, "MAC"))
		return set_mac(wish, value, fault);
	if (text_equal(key, "IP")) {
		for (const char *at = value; *at; at = *end ? end + 1 : end) {
			end = strchrnul(at, ',');
			if (add_ip(wish, at, (size_t)(end - at), fault) < 0)
				return -EIO;
		}
		return 0;
	}
	// Words about the pod: what is too long is cut, for nothing depends on them.
	if (text_equal(key, "K8S_POD_NAMESPACE"))
		return (void)text_copy(wish->pod_namespace, WISH_TEXT_MAX, value), 0;
	if (text_equal(key, "K8S_POD_NAME"))
		return (void)text_copy(wish->pod_name, WISH_TEXT_MAX, value), 0;
	if (text_equal(key, "K8S_POD_UID"))
		return (void)text_copy(wish->pod_uid, WISH_TEXT_MAX, value), 0;
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		if (text_equal(key, ignored[i]))
			return 0;
	return 1;
}

static int read_args(struct wish *wish, const char *args, struct fault *fault)
{
	_cleanup_free_ char *copy = xstrdup(args);
	_cleanup_strbuf_ struct strbuf unknown = STRBUF_INIT(512);
	bool ignore = false;
	char *next;
	int r;

	for (char *pair = copy; pair && *copy; pair = next) {
		char *equal = strchr(pair, '=');
		char *end = strchrnul(pair, ';');

		next = *end ? end + 1 : NULL;
		*end = '\0';
		if (!equal || equal > end || strchr(equal + 1, '='))
			return fault_set(fault, FAULT_INTERNAL, "ARGS: invalid pair \"%s\"", pair);
		*equal = '\0';
		r = take_pair(wish, pair, equal + 1, &ignore, fault);
		if (r < 0)
			return r;
		if (r > 0)
			(void)strbuf_printf(&unknown, "%s\"%s=%s\"", unknown.len > 0 ? " " : "",
					    pair, equal + 1);
	}
	if (!ignore && unknown.len > 0)
		return fault_set(fault, FAULT_INTERNAL, "ARGS: unknown args [%s]", unknown.data);
	return 0;
}

int wish_read(struct wish *ret, const struct call *call, const struct conf *conf, struct fault *fault)
{
	const struct doc_value *cni = doc_get(doc_get(conf->root, "args"), "cni");
	const struct doc_value *runtime = doc_get(conf->root, "runtimeConfig");
	int r;

	*ret = (struct wish){ 0 };
	r = read_args(ret, call->args, fault);
	if (r == 0)
		r = add_ip_list(ret, doc_get(cni, "ips"), "args.cni.ips", fault);
	if (r == 0)
		r = add_ip_list(ret, doc_get(runtime, "ips"), "runtimeConfig.ips", fault);
	if (r == 0)
		r = set_mac(ret, doc_get_text(cni, "mac"), fault);
	if (r == 0)
		r = set_mac(ret, doc_get_text(runtime, "mac"), fault);
	return r;
}
