// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a lease, its store key and its store value.
#include "core/lease.h"

#include "core/hash.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

// Hashing takes the bytes as they are.
static_assert(sizeof(struct subnet) == 36, "struct subnet has no padding");

bool subnet_equal(const struct subnet *a, const struct subnet *b)
{
	return ipnet_equal(&a->v4, &b->v4) && ipnet_equal(&a->v6, &b->v6);
}

uint64_t subnet_hash(const struct subnet *subnet)
{
	return hash_bytes(subnet, sizeof(*subnet));
}

bool subnet_overlaps(const struct subnet *a, const struct subnet *b)
{
	return ipnet_overlaps(&a->v4, &b->v4) || ipnet_overlaps(&a->v6, &b->v6);
}

const char *subnet_str(const struct subnet *subnet, char buf[static SUBNET_STR_MAX])
{
	char v4[IPNET_STR_MAX], v6[IPNET_STR_MAX];

	(void)ipnet_str(&subnet->v4, v4);
	(void)ipnet_str(&subnet->v6, v6);
	if (!ipnet_is_set(&subnet->v6))
		(void)text_copy(buf, SUBNET_STR_MAX, v4);
	else if (!ipnet_is_set(&subnet->v4))
		(void)text_copy(buf, SUBNET_STR_MAX, v6);
	else
		(void)text_format(buf, SUBNET_STR_MAX, "%s,%s", v4, v6);
	return buf;
}

// "<address>-<length>" of one family at *cursor. *ret_host_bits: the address was not the network's own.
static bool parse_half(const char **cursor, int family, struct ipnet *ret, bool *ret_host_bits)
{
	const char *digits = family == AF_INET ? "0123456789." : "0123456789abcdef:";
	size_t span = strspn(*cursor, digits);
	char text[IP_STR_MAX];
	const char *p = *cursor + span;
	struct ip addr;
	uint64_t len;

	if (span >= sizeof(text))
		return false;
	memcpy(text, *cursor, span);
	text[span] = '\0';
	if (ip_parse(text, &addr) < 0 || addr.family != family || !parse_char(&p, '-') ||
	    !parse_u64(&p, ip_width_bits(&addr), &len))
		return false;
	*cursor = p;
	*ret = ipnet_of(&addr, (unsigned int)len);
	*ret_host_bits = !ip_equal(&ret->addr, &addr);
	return true;
}

int subnet_parse_key(const char *text, size_t len, struct subnet *ret, struct err *e)
{
	bool v4_host_bits = false, v6_host_bits = false, has_v6;
	struct subnet subnet = { 0 };
	char shown[TEXT_EXCERPT_MAX];
	char key[LEASE_KEY_MAX];
	const char *p = key;

	(void)text_excerpt(text, len, shown);
	if (len >= sizeof(key))
		return err_set(e, -EINVAL, "key \"%s\" is too long for a lease", shown);
	memcpy(key, text, len);
	key[len] = '\0';

	if (!parse_half(&p, AF_INET, &subnet.v4, &v4_host_bits))
		return err_set(e, -EINVAL, "key \"%s\" is not a subnet like 10.1.2.0-24", shown);
	has_v6 = parse_char(&p, '&');
	if (has_v6 && !parse_half(&p, AF_INET6, &subnet.v6, &v6_host_bits))
		return err_set(e, -EINVAL,
			       "key \"%s\" has no IPv6 subnet like fd00:1::-64 behind &", shown);
	if (p != key + len)
		return err_set(e, -EINVAL, "key \"%s\" has text behind the subnet", shown);
	if (v4_host_bits || v6_host_bits)
		return err_set(e, -EINVAL, "key \"%s\" has host bits", shown);

	// 0.0.0.0-0 in front of an IPv6 subnet says that there is no IPv4 one; alone it is everything.
	if (subnet.v4.len == 0) {
		if (!has_v6 || !ip_is_unspecified(&subnet.v4.addr))
			return err_set(e, -EINVAL, "key \"%s\" is all of IPv4", shown);
		subnet.v4 = (struct ipnet){ 0 };
	}
	if (has_v6 && subnet.v6.len == 0)
		return err_set(e, -EINVAL, "key \"%s\" is all of IPv6", shown);
	*ret = subnet;
	return 0;
}

void subnet_format_key(const struct subnet *subnet, char ret[static LEASE_KEY_MAX])
{
	char v4[IP_STR_MAX] = "0.0.0.0", v6[IP_STR_MAX];

	if (ipnet_is_set(&subnet->v4))
		(void)ip_str(&subnet->v4.addr, v4);
	if (ipnet_is_set(&subnet->v6))
		(void)text_format(ret, LEASE_KEY_MAX, "%s-%u&%s-%u", v4, subnet->v4.len,
				  ip_str(&subnet->v6.addr, v6), subnet->v6.len);
	else
		(void)text_format(ret, LEASE_KEY_MAX, "%s-%u", v4, subnet->v4.len);
}

void lease_attrs_free(struct lease_attrs *attrs)
{
	free(attrs->backend_data);
	free(attrs->backend_v6_data);
	free(attrs->paths);
	free(attrs->extra);
	*attrs = (struct lease_attrs){ 0 };
}

void lease_attrs_copy(const struct lease_attrs *src, struct lease_attrs *ret)
{
	struct lease_attrs copy = *src;

	copy.backend_data = xstrdup(src->backend_data);
	copy.backend_v6_data = xstrdup(src->backend_v6_data);
	copy.paths = xstrdup(src->paths);
	copy.extra = xstrdup(src->extra);
	*ret = copy;
}

bool lease_attrs_same_data(const struct lease_attrs *a, const struct lease_attrs *b)
{
	return text_equal(a->backend_data, b->backend_data) &&
	       text_equal(a->backend_v6_data, b->backend_v6_data);
}

bool lease_attrs_equal(const struct lease_attrs *a, const struct lease_attrs *b)
{
	return ip_equal(&a->public_ip, &b->public_ip) && ip_equal(&a->public_ipv6, &b->public_ipv6) &&
	       strcmp(a->backend_type, b->backend_type) == 0 && lease_attrs_same_data(a, b) &&
	       text_equal(a->paths, b->paths) && text_equal(a->extra, b->extra);
}

// The zero address is flannel's "none": leases that lack a PublicIP carry it.
static int read_public_ip(const json_t *root, const char *name, int family, struct ip *ret,
			  struct err *e)
{
	struct ip ip = { 0 };
	char text[IP_STR_MAX];
	int r;

	r = json_get_ip(root, name, &ip, e);
	if (r < 0)
		return r;
	if (ip_is_set(&ip) && ip.family != family)
		return err_set(e, -EINVAL, "%s: %s is not an %s address", name, ip_str(&ip, text),
			       family == AF_INET ? "IPv4" : "IPv6");
	if (!ip_is_unspecified(&ip))
		*ret = ip;
	return 0;
}

static int read_backend_type(const json_t *root, struct lease_attrs *attrs, struct err *e)
{
	char shown[TEXT_EXCERPT_MAX];
	const char *type = "";
	int r;

	r = json_get_string(root, "BackendType", &type, e);
	if (r < 0)
		return r;
	r = text_copy(attrs->backend_type, sizeof(attrs->backend_type), type);
	if (r < 0)
		return err_set(e, -EINVAL, "BackendType: \"%s\" is too long: at most %zu bytes",
			       text_excerpt(type, strlen(type), shown),
			       sizeof(attrs->backend_type) - 1);
	return 0;
}

// Any JSON value but null, which says the same as leaving the member out.
static char *read_backend_data(const json_t *root, const char *name)
{
	const json_t *value = json_member(root, name);

	return value && !json_is_null(value) ? json_text(value) : NULL;
}

static bool is_known_member(const char *name)
{
	static const char *const known[] = { "PublicIP",    "PublicIPv6",    "BackendType",
					     "BackendData", "BackendV6Data", "WeftPaths" };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (json_name_matches(name, known[i]))
			return true;
	return false;
}

// What later versions and other programs keep in the value, so that our rewrite does not lose it.
static char *read_extra(json_t *root)
{
	_cleanup_json_ json_t *extra = NULL;
	const char *key;
	json_t *value;

	json_object_foreach(root, key, value) {
		if (is_known_member(key))
			continue;
		if (!extra)
			extra = json_object();
		if (json_object_set(extra, key, value) < 0)
			abort(); // out of memory: the key was read as UTF-8
	}
	return extra ? json_text(extra) : NULL;
}

static int read_attrs(json_t *root, struct lease_attrs *attrs, struct err *e)
{
	int r;

	r = read_public_ip(root, "PublicIP", AF_INET, &attrs->public_ip, e);
	if (r < 0)
		return r;
	if (!json_is_null(json_member(root, "PublicIPv6"))) {
		r = read_public_ip(root, "PublicIPv6", AF_INET6, &attrs->public_ipv6, e);
		if (r < 0)
			return r;
	}
	r = read_backend_type(root, attrs, e);
	if (r < 0)
		return r;
	attrs->backend_data = read_backend_data(root, "BackendData");
	attrs->backend_v6_data = read_backend_data(root, "BackendV6Data");
	attrs->paths = read_backend_data(root, "WeftPaths");
	attrs->extra = read_extra(root);
	return 0;
}

int lease_attrs_parse(const char *text, size_t len, struct lease_attrs *ret, struct err *e)
{
	_cleanup_(lease_attrs_free) struct lease_attrs attrs = { 0 };
	_cleanup_json_ json_t *root = NULL;
	int r;

	r = json_read(text, len, LEASE_VALUE_MAX, &root, e);
	if (r < 0)
		return r;
	if (!json_is_object(root))
		return err_set(e, -EINVAL, "a lease must be a JSON object");
	r = read_attrs(root, &attrs, e);
	if (r < 0)
		return r;
	*ret = attrs;
	attrs = (struct lease_attrs){ 0 };
	return 0;
}

static void put_json_string(struct strbuf *out, const char *text)
{
	_cleanup_json_ json_t *value = json_string(text);
	_cleanup_free_ char *quoted = NULL;

	quoted = value ? json_text(value) : xstrdup("\"\""); // not UTF-8: none that we were given
	(void)strbuf_puts(out, quoted);
}

// Strings we cannot lose: the parts were bounded when they came in, so the sum is not bounded again.
char *lease_attrs_format(const struct lease_attrs *attrs)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(SIZE_MAX);
	char ip[IP_STR_MAX] = "0.0.0.0", ipv6[IP_STR_MAX];

	if (ip_is_set(&attrs->public_ip))
		(void)ip_str(&attrs->public_ip, ip);
	(void)strbuf_printf(&out, "{\"PublicIP\":\"%s\"", ip);
	if (ip_is_set(&attrs->public_ipv6))
		(void)strbuf_printf(&out, ",\"PublicIPv6\":\"%s\"", ip_str(&attrs->public_ipv6, ipv6));
	else
		(void)strbuf_puts(&out, ",\"PublicIPv6\":null");
	if (attrs->backend_type[0] != '\0') {
		(void)strbuf_puts(&out, ",\"BackendType\":");
		put_json_string(&out, attrs->backend_type);
	}
	if (attrs->backend_data)
		(void)strbuf_printf(&out, ",\"BackendData\":%s", attrs->backend_data);
	if (attrs->backend_v6_data)
		(void)strbuf_printf(&out, ",\"BackendV6Data\":%s", attrs->backend_v6_data);
	if (attrs->paths)
		(void)strbuf_printf(&out, ",\"WeftPaths\":%s", attrs->paths);
	if (attrs->extra && strlen(attrs->extra) > 2) {
		(void)strbuf_putc(&out, ',');
		(void)strbuf_add(&out, attrs->extra + 1, strlen(attrs->extra) - 2);
	}
	(void)strbuf_putc(&out, '}');
	return strbuf_take(&out);
}

void lease_free(struct lease *lease)
{
	lease_attrs_free(&lease->attrs);
	*lease = (struct lease){ 0 };
}

void lease_copy(const struct lease *src, struct lease *ret)
{
	struct lease copy = *src;

	lease_attrs_copy(&src->attrs, &copy.attrs);
	*ret = copy;
}
