// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading results of any version. The versions do not share keys, so what is there tells which it is.
#include "cni/result.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

int result_parse_cidr(const char *text, struct ip *ret_address, unsigned int *ret_len)
{
	const char *slash = strchr(text, '/');
	char address[IP_STR_MAX];
	struct ip ip;
	uint64_t len;

	if (!slash || (size_t)(slash - text) >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	if (ip_parse(address, &ip) < 0 || parse_whole_u64(slash + 1, ip_width_bits(&ip), &len) < 0)
		return -EINVAL;
	*ret_address = ip;
	*ret_len = (unsigned int)len;
	return 0;
}

static int read_optional_ip(const struct doc_value *object, const char *key, struct ip *ret,
			    struct fault *fault)
{
	const char *text = doc_get_text(object, key);

	*ret = (struct ip){ 0 };
	if (text && *text && ip_parse(text, ret) < 0)
		return fault_set(fault, FAULT_CONFIG, "invalid %s address: %s", key, text);
	return 0;
}

static int read_ip(struct result *result, const struct doc_value *value, const char *key,
		   struct fault *fault)
{
	struct result_ip *ip = &result->ips[result->ip_count];
	const char *text = doc_get_text(value, key);
	uint64_t interface;
	int r;

	if (result->ip_count == RESULT_IPS_MAX)
		return fault_set(fault, FAULT_CONFIG, "more than %d addresses", RESULT_IPS_MAX);
	*ip = (struct result_ip){ .interface = -1 };
	if (!text || result_parse_cidr(text, &ip->address, &ip->len) < 0)
		return fault_set(fault, FAULT_CONFIG, "invalid CIDR address: %s", text ? text : "");
	r = doc_get_u64(value, "interface", 1024, &interface);
	if (r == -EINVAL)
		return fault_set(fault, FAULT_CONFIG, "invalid interface index of address %s", text);
	if (r == 0)
		ip->interface = (int)interface;
	result->ip_count++;
	return read_optional_ip(value, "gateway", &ip->gateway, fault);
}

static int read_number(const struct doc_value *value, const char *key, uint64_t fallback,
		       uint64_t *ret, struct fault *fault)
{
	int r = doc_get_u64(value, key, INT32_MAX, ret);

	if (r == -EINVAL)
		return fault_set(fault, FAULT_CONFIG, "invalid %s of a route", key);
	if (r == -ENOENT)
		*ret = fallback;
	return 0;
}

static int read_route(struct result_route *route, const struct doc_value *value, struct fault *fault)
{
	static const char *const keys[] = { "mtu", "advmss", "priority", "table", "scope" };
	const uint64_t none = (uint64_t)INT32_MAX + 1;
	uint64_t numbers[ARRAY_SIZE(keys)];
	const char *dst = doc_get_text(value, "dst");

	if (!dst || ipnet_parse(dst, &route->dst) < 0)
		return fault_set(fault, FAULT_CONFIG, "invalid CIDR address: %s", dst ? dst : "");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (read_number(value, keys[i], i < 3 ? 0 : none, &numbers[i], fault) < 0)
			return -EIO;
	route->mtu_bytes = (uint32_t)numbers[0];
	route->advmss = (uint32_t)numbers[1];
	route->priority = (uint32_t)numbers[2];
	route->table = numbers[3] == none ? -1 : (int)numbers[3];
	route->scope = numbers[4] == none ? -1 : (int)numbers[4];
	return read_optional_ip(value, "gw", &route->gw, fault);
}

int result_read_routes(struct result *ret, const struct doc_value *routes, struct fault *fault)
{
	if (!routes || routes->kind == DOC_NULL)
		return 0;
	if (routes->kind != DOC_ARRAY)
		return fault_set(fault, FAULT_CONFIG, "routes is no list");
	for (const struct doc_value *at = routes->first; at; at = at->next) {
		if (ret->route_count == RESULT_ROUTES_MAX)
			return fault_set(fault, FAULT_CONFIG, "more than %d routes", RESULT_ROUTES_MAX);
		if (read_route(&ret->routes[ret->route_count], at, fault) < 0)
			return -EIO;
		ret->route_count++;
	}
	return 0;
}

static int read_interfaces(struct result *result, const struct doc_value *list, struct fault *fault)
{
	for (const struct doc_value *at = list ? list->first : NULL; at; at = at->next) {
		struct result_interface *interface = &result->interfaces[result->interface_count];
		const char *sandbox = doc_get_text(at, "sandbox");

		if (result->interface_count == RESULT_INTERFACES_MAX)
			return fault_set(fault, FAULT_CONFIG, "more than %d interfaces",
					 RESULT_INTERFACES_MAX);
		*interface = (struct result_interface){
			.name = doc_get_text(at, "name"),
			.mac = doc_get_text(at, "mac"),
			.sandbox = sandbox && *sandbox ? sandbox : NULL,
		};
		result->interface_count++;
	}
	return 0;
}

static int read_old(struct result *result, const struct doc_value *value, struct fault *fault)
{
	static const char *const keys[] = { "ip4", "ip6" };
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct doc_value *family = doc_get_kind(value, keys[i], DOC_OBJECT);

		if (!family)
			continue;
		r = read_ip(result, family, "ip", fault);
		if (r == 0)
			r = result_read_routes(result, doc_get(family, "routes"), fault);
		if (r < 0)
			return r;
	}
	return 0;
}

int result_read(struct result *ret, const struct doc_value *value, struct fault *fault)
{
	const struct doc_value *ips = doc_get_kind(value, "ips", DOC_ARRAY);
	int r;

	*ret = (struct result){ .dns = doc_get_kind(value, "dns", DOC_OBJECT) };
	if (!value || value->kind != DOC_OBJECT)
		return fault_set(fault, FAULT_DECODE, "a result is no JSON object");
	r = read_old(ret, value, fault);
	if (r == 0)
		r = read_interfaces(ret, doc_get_kind(value, "interfaces", DOC_ARRAY), fault);
	for (const struct doc_value *at = ips ? ips->first : NULL; at && r == 0; at = at->next)
		r = read_ip(ret, at, "address", fault);
	if (r == 0)
		r = result_read_routes(ret, doc_get(value, "routes"), fault);
	return r;
}
