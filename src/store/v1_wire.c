// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the forms of the HTTP API of flannel 0.5 to 0.7.
#include "store/v1_wire.h"

#include "core/parse.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

void v1_lease_free(struct v1_lease *lease)
{
	lease_attrs_free(&lease->attrs);
	*lease = (struct v1_lease){ 0 };
}

bool v1_is_network_name(const char *name)
{
	size_t len = strlen(name);
	size_t step;

	if (len == 0 || len > V1_NETWORK_MAX || strcmp(name, V1_NO_NETWORK) == 0 ||
	    strcmp(name, "subnets") == 0)
		return false;
	for (; len > 0; name += step, len -= step) {
		step = text_utf8_len(name, len);
		if (step == 0 || (unsigned char)*name <= ' ' || *name == 0x7f || *name == '/')
			return false;
	}
	return true;
}

// ---- reading ----

int v1_read_attrs(const json_t *object, struct lease_attrs *ret, struct err *e)
{
	_cleanup_(lease_attrs_free) struct lease_attrs attrs = { 0 };
	_cleanup_free_ char *text = NULL;
	int r;

	if (!json_is_object(object))
		return err_set(e, -EINVAL, "must be a JSON object");
	text = json_text(object);
	r = lease_attrs_parse(text, strlen(text), &attrs, e);
	if (r < 0)
		return r;
	if (!ip_is_usable_endpoint(&attrs.public_ip))
		return err_set(e, -EINVAL, "PublicIP: absent, or none that packets can be sent to");
	attrs.public_ipv6 = (struct ip){ 0 };
	free(TAKE_PTR(attrs.backend_v6_data));
	free(TAKE_PTR(attrs.paths));
	free(TAKE_PTR(attrs.extra));
	*ret = attrs;
	attrs = (struct lease_attrs){ 0 };
	return 0;
}

int v1_read_subnet(const json_t *lease, struct ipnet *ret, struct err *e)
{
	struct ipnet subnet = { 0 };
	int r;

	if (!json_is_object(lease))
		return err_set(e, -EINVAL, "a lease must be a JSON object");
	r = json_get_ipnet(lease, "Subnet", &subnet, e);
	if (r < 0)
		return r;
	if (!ipnet_is_set(&subnet) || subnet.addr.family != AF_INET || subnet.len == 0)
		return err_set(e, -EINVAL, "Subnet: absent, or not one of IPv4");
	*ret = subnet;
	return 0;
}

static int read_expiration(const json_t *lease, int64_t *ret_ms, struct err *e)
{
	const char *text = NULL;
	char shown[TEXT_EXCERPT_MAX];
	int64_t ms = TIMESTAMP_ZERO_MS;
	int r = json_get_string(lease, "Expiration", &text, e);

	if (r < 0)
		return r;
	if (text && timestamp_parse(text, &ms) < 0)
		return err_set(e, -EINVAL, "Expiration: \"%s\" is no time",
			       text_excerpt(text, strlen(text), shown));
	*ret_ms = ms;
	return 0;
}

int v1_read_lease(const json_t *object, struct v1_lease *ret, struct err *e)
{
	struct v1_lease lease = { 0 };
	int r = v1_read_subnet(object, &lease.subnet, e);

	if (r == 0)
		r = read_expiration(object, &lease.expires_ms, e);
	if (r == 0)
		r = v1_read_attrs(json_member(object, "Attrs"), &lease.attrs, e);
	if (r == 0)
		*ret = lease;
	return r;
}

int v1_parse_subnet(const char *text, struct ipnet *ret, struct err *e)
{
	struct subnet subnet;
	int r = subnet_parse_key(text, strlen(text), &subnet, e);

	if (r < 0)
		return r;
	if (ipnet_is_set(&subnet.v6) || !ipnet_is_set(&subnet.v4))
		return err_set(e, -EINVAL, "not a subnet of IPv4 alone");
	*ret = subnet.v4;
	return 0;
}

// ---- cursors ----

#define MARK_DIGITS 5
#define MARK_LIMIT 100000

uint64_t v1_cursor_mark(uint64_t cluster_id)
{
	return cluster_id % MARK_LIMIT;
}

void v1_cursor(int64_t revision, uint64_t cluster_id, char ret[static V1_CURSOR_MAX])
{
	(void)text_format(ret, V1_CURSOR_MAX, "%lld%05u", (long long)revision,
			  (unsigned int)v1_cursor_mark(cluster_id));
}

bool v1_read_cursor(const char *text, int64_t *ret_revision, uint64_t *ret_mark)
{
	size_t len = strlen(text);
	char digits[V1_CURSOR_MAX];
	uint64_t revision, mark;

	if (len <= MARK_DIGITS || len >= sizeof(digits))
		return false;
	memcpy(digits, text, len - MARK_DIGITS);
	digits[len - MARK_DIGITS] = '\0';
	if (parse_whole_u64(digits, INT64_MAX - 1, &revision) < 0 ||
	    parse_whole_u64(text + len - MARK_DIGITS, MARK_LIMIT - 1, &mark) < 0)
		return false;
	*ret_revision = (int64_t)revision;
	*ret_mark = mark;
	return true;
}

// ---- writing ----

void v1_add_lease(struct strbuf *out, const struct ipnet *subnet, const struct lease_attrs *attrs,
		  int64_t expires_ms)
{
	_cleanup_free_ char *text = attrs ? lease_attrs_format(attrs)
					  : xstrdup("{\"PublicIP\":\"0.0.0.0\"}");
	char net[IPNET_STR_MAX], expires[TIMESTAMP_MAX];

	timestamp_format(expires_ms, expires);
	strbuf_printf(out, "{\"Subnet\":\"%s\",\"Attrs\":%s,\"Expiration\":\"%s\"}",
		      ipnet_str(subnet, net), text, expires);
}
