// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: writing results and errors in each version of the specification. Reading is in result_read.c.
#include "cni/result.h"

#include "core/mem.h"

#include <errno.h>

struct ipnet result_ip_net(const struct result_ip *ip)
{
	return ipnet_of(&ip->address, ip->len);
}

bool result_dns_is_empty(const struct doc_value *dns)
{
	static const char *const keys[] = { "nameservers", "domain", "search", "options" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct doc_value *value = doc_get(dns, keys[i]);

		if (value && (value->first || (value->kind == DOC_STRING && *value->text)))
			return false;
	}
	return true;
}

static void write_dns(const struct doc_value *dns, struct strbuf *out)
{
	static const char *const keys[] = { "nameservers", "domain", "search", "options" };
	bool comma = false;

	(void)strbuf_puts(out, "\"dns\":{");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct doc_value *value = doc_get(dns, keys[i]);

		if (!value || (!value->first && !(value->kind == DOC_STRING && *value->text)))
			continue;
		(void)strbuf_printf(out, "%s\"%s\":", comma ? "," : "", keys[i]);
		(void)doc_write(value, false, out);
		comma = true;
	}
	(void)strbuf_putc(out, '}');
}

static void write_ip(const char *key, const struct ip *ip, struct strbuf *out)
{
	char text[IP_STR_MAX];

	if (ip_is_set(ip))
		(void)strbuf_printf(out, ",\"%s\":\"%s\"", key, ip_str(ip, text));
}

static void write_route(const struct result_route *route, enum cni_version version, struct strbuf *out)
{
	char text[IPNET_STR_MAX];

	(void)strbuf_printf(out, "{\"dst\":\"%s\"", ipnet_str(&route->dst, text));
	write_ip("gw", &route->gw, out);
	if (version >= CNI_1_1_0) {
		if (route->mtu_bytes)
			(void)strbuf_printf(out, ",\"mtu\":%u", route->mtu_bytes);
		if (route->advmss)
			(void)strbuf_printf(out, ",\"advmss\":%u", route->advmss);
		if (route->priority)
			(void)strbuf_printf(out, ",\"priority\":%u", route->priority);
		if (route->table >= 0)
			(void)strbuf_printf(out, ",\"table\":%d", route->table);
		if (route->scope >= 0)
			(void)strbuf_printf(out, ",\"scope\":%d", route->scope);
	}
	(void)strbuf_putc(out, '}');
}

// All routes, or those of one family; with `"routes":` before them, or nothing when there are none.
static void write_routes(const struct result *result, int family, enum cni_version version,
			 struct strbuf *out)
{
	bool any = false;

	for (size_t i = 0; i < result->route_count; i++) {
		if (family && result->routes[i].dst.addr.family != family)
			continue;
		(void)strbuf_puts(out, any ? "," : ",\"routes\":[");
		write_route(&result->routes[i], version, out);
		any = true;
	}
	if (any)
		(void)strbuf_putc(out, ']');
}

static const struct result_ip *first_of(const struct result *result, int family)
{
	for (size_t i = 0; i < result->ip_count; i++)
		if (result->ips[i].address.family == family)
			return &result->ips[i];
	return NULL;
}

// Versions 0.1.0 and 0.2.0: one address of each family.
static int write_old(const struct result *result, enum cni_version version, struct strbuf *out,
		     struct fault *fault)
{
	static const int families[] = { AF_INET, AF_INET6 };
	bool any = false;
	char text[IP_STR_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct result_ip *ip = first_of(result, families[i]);

		if (!ip)
			continue;
		any = true;
		(void)strbuf_printf(out, "\"ip%c\":{\"ip\":\"%s/%u\"", i == 0 ? '4' : '6',
				    ip_str(&ip->address, text), ip->len);
		write_ip("gateway", &ip->gateway, out);
		write_routes(result, families[i], version, out);
		(void)strbuf_puts(out, "},");
	}
	return any ? 0 : fault_set(fault, FAULT_INTERNAL, "cannot convert: no valid IP addresses");
}

static void write_interfaces(const struct result *result, enum cni_version version, struct strbuf *out)
{
	if (result->interface_count == 0)
		return;
	(void)strbuf_puts(out, "\"interfaces\":[");
	for (size_t i = 0; i < result->interface_count; i++) {
		const struct result_interface *interface = &result->interfaces[i];

		(void)strbuf_puts(out, i > 0 ? ",{\"name\":" : "{\"name\":");
		(void)doc_write_text(interface->name ? interface->name : "", out);
		if (interface->mac) {
			(void)strbuf_puts(out, ",\"mac\":");
			(void)doc_write_text(interface->mac, out);
		}
		if (interface->mtu_bytes && version >= CNI_1_1_0)
			(void)strbuf_printf(out, ",\"mtu\":%u", interface->mtu_bytes);
		if (interface->sandbox) {
			(void)strbuf_puts(out, ",\"sandbox\":");
			(void)doc_write_text(interface->sandbox, out);
		}
		(void)strbuf_putc(out, '}');
	}
	(void)strbuf_puts(out, "],");
}

static void write_ips(const struct result *result, enum cni_version version, struct strbuf *out)
{
	char text[IP_STR_MAX];

	if (result->ip_count == 0)
		return;
	(void)strbuf_puts(out, "\"ips\":[");
	for (size_t i = 0; i < result->ip_count; i++) {
		const struct result_ip *ip = &result->ips[i];

		(void)strbuf_printf(out, "%s{", i > 0 ? "," : "");
		if (version < CNI_1_0_0)
			(void)strbuf_printf(out, "\"version\":\"%c\",",
					    ip->address.family == AF_INET ? '4' : '6');
		if (ip->interface >= 0)
			(void)strbuf_printf(out, "\"interface\":%d,", ip->interface);
		(void)strbuf_printf(out, "\"address\":\"%s/%u\"", ip_str(&ip->address, text), ip->len);
		write_ip("gateway", &ip->gateway, out);
		(void)strbuf_putc(out, '}');
	}
	(void)strbuf_puts(out, "],");
}

int result_write(const struct result *result, enum cni_version version, struct strbuf *out,
		 struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf routes = STRBUF_INIT(DOC_TEXT_MAX);
	int r = 0;

	(void)strbuf_printf(out, "{\"cniVersion\":\"%s\",", cni_version_name(version));
	if (version <= CNI_0_2_0) {
		r = write_old(result, version, out, fault);
	} else {
		write_interfaces(result, version, out);
		write_ips(result, version, out);
		write_routes(result, 0, version, &routes);
		if (routes.len > 0)
			(void)strbuf_printf(out, "%s,", routes.data + 1);
	}
	write_dns(result->dns, out);
	(void)strbuf_puts(out, "}\n");
	return r;
}

void fault_write(const struct fault *fault, enum cni_version version, struct strbuf *out)
{
	(void)strbuf_printf(out,
			    "{\"cniVersion\":\"%s\",\"code\":%u,\"msg\":", cni_version_name(version),
			    fault->code);
	(void)doc_write_text(fault->msg, out);
	if (fault->details[0]) {
		(void)strbuf_puts(out, ",\"details\":");
		(void)doc_write_text(fault->details, out);
	}
	(void)strbuf_puts(out, "}\n");
}
