// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: subnet.env, written as flannel does and read with the dotenv syntax that flannel reads.
#include "agent/subnet_env.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"
#include "io/file.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define FILE_MAX (64 * 1024)
#define VALUE_MAX 1024

static void format_family(const char *infix, const struct ipnet *network,
			  const struct ipnet *subnet, struct strbuf *out)
{
	char text[IPNET_STR_MAX], address[IP_STR_MAX];
	struct ip gateway = ip_add(&subnet->addr, 1);

	if (!ipnet_is_set(network) || !ipnet_is_set(subnet))
		return;
	(void)strbuf_printf(out, "FLANNEL_%sNETWORK=%s\n", infix, ipnet_str(network, text));
	(void)strbuf_printf(out, "FLANNEL_%sSUBNET=%s/%u\n", infix, ip_str(&gateway, address),
			    subnet->len);
}

void subnet_env_format(const struct subnet_env *env, struct strbuf *out)
{
	format_family("", &env->network.v4, &env->subnet.v4, out);
	format_family("IPV6_", &env->network.v6, &env->subnet.v6, out);
	(void)strbuf_printf(out, "FLANNEL_MTU=%" PRIu32 "\n", env->mtu_bytes);
	(void)strbuf_printf(out, "FLANNEL_IPMASQ=%s\n", env->ip_masq ? "true" : "false");
}

int subnet_env_write(const char *path, const struct subnet_env *env, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(FILE_MAX);

	subnet_env_format(env, &text);
	return file_write_atomic(path, strbuf_text(&text), text.len, 0, e);
}

// ---- reading ----

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && is_blank(*p))
		p++;
	return p;
}

// The value that starts at p: quoted, or up to a comment or the end of the line. -E2BIG; -EINVAL: a
// quote is not closed.
static int read_value(const char *p, const char *end, struct strbuf *ret)
{
	char quote = p < end && (*p == '"' || *p == '\'') ? *p : '\0';
	int r = 0;

	if (quote != '\0') {
		for (p++; p < end && *p != quote && r == 0; p++) {
			if (quote == '"' && *p == '\\' && p + 1 < end)
				p++;
			r = strbuf_putc(ret, *p);
		}
		return r == 0 && p == end ? -EINVAL : r;
	}
	for (const char *q = p; q < end; q++)
		if (*q == '#' && (q == p || is_blank(q[-1])))
			end = q;
	while (end > p && is_blank(end[-1]))
		end--;
	return strbuf_add(ret, p, (size_t)(end - p));
}

static void notice(struct strbuf *notices, const char *name, const char *text, const char *why)
{
	char shown[TEXT_EXCERPT_MAX];

	if (notices)
		(void)strbuf_printf(notices, "%s: \"%s\" %s\n", name,
				    text_excerpt(text, strlen(text), shown), why);
}

static const char *cut_element(char **rest)
{
	char *element = *rest;
	size_t len = strcspn(element, ",");

	*rest = element[len] == ',' ? element + len + 1 : NULL;
	element[len] = '\0';
	element += strspn(element, " \t");
	for (len = strlen(element); len > 0 && is_blank(element[len - 1]); len--)
		element[len - 1] = '\0';
	return element;
}

// A comma list: unusable elements are dropped, and of what is left exactly one counts, as in flannel.
static void read_net(const char *name, char *value, int family, struct ipnet *ret,
		     struct strbuf *notices)
{
	struct ipnet found = { 0 }, net;
	unsigned int count = 0;
	char *rest = value;

	while (rest) {
		const char *element = cut_element(&rest);

		if (ipnet_parse(element, &net) < 0 || net.addr.family != family) {
			notice(notices, name, element,
			       family == AF_INET ? "is not an IPv4 subnet" : "is not an IPv6 subnet");
			continue;
		}
		found = net;
		count++;
	}
	if (count == 1)
		*ret = found;
	else if (count > 1)
		notice(notices, name, "...", "lists several subnets: none is used");
}

static void take_value(const char *name, char *value, struct subnet_env *ret, struct strbuf *notices)
{
	static const struct {
		const char *name;
		int family;
		size_t offset;
	} nets[] = {
		{ "FLANNEL_NETWORK", AF_INET, offsetof(struct subnet_env, network.v4) },
		{ "FLANNEL_SUBNET", AF_INET, offsetof(struct subnet_env, subnet.v4) },
		{ "FLANNEL_IPV6_NETWORK", AF_INET6, offsetof(struct subnet_env, network.v6) },
		{ "FLANNEL_IPV6_SUBNET", AF_INET6, offsetof(struct subnet_env, subnet.v6) },
	};
	uint64_t mtu;

	for (size_t i = 0; i < ARRAY_SIZE(nets); i++) {
		struct ipnet *member = (void *)((char *)ret + nets[i].offset);

		if (strcmp(name, nets[i].name) != 0)
			continue;
		*member = (struct ipnet){ 0 };
		read_net(name, value, nets[i].family, member, notices);
		return;
	}
	if (strcmp(name, "FLANNEL_MTU") == 0) {
		if (parse_whole_u64(value, 1 << 16, &mtu) < 0)
			notice(notices, name, value, "is not an MTU");
		else
			ret->mtu_bytes = (uint32_t)mtu;
	} else if (strcmp(name, "FLANNEL_IPMASQ") == 0 && parse_go_bool(value, &ret->ip_masq) < 0) {
		notice(notices, name, value, "is neither true nor false");
	}
}

static bool is_name_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static void read_line(const char *p, const char *end, struct subnet_env *ret, struct strbuf *notices)
{
	_cleanup_strbuf_ struct strbuf value = STRBUF_INIT(VALUE_MAX);
	_cleanup_free_ char *text = NULL;
	const char *name_end;
	char name[64];

	p = skip_blanks(p, end);
	if (end - p > 7 && memcmp(p, "export", 6) == 0 && is_blank(p[6]))
		p = skip_blanks(p + 6, end);
	if (p == end || *p == '#')
		return;
	for (name_end = p; name_end < end && is_name_char(*name_end);)
		name_end++;
	if (name_end == p || (size_t)(name_end - p) >= sizeof(name))
		return;
	memcpy(name, p, (size_t)(name_end - p));
	name[name_end - p] = '\0';
	p = skip_blanks(name_end, end);
	if (p == end || *p != '=')
		return;
	if (read_value(skip_blanks(p + 1, end), end, &value) < 0) {
		notice(notices, name, "...", "is not closed by its quote, or too long");
		return;
	}
	text = strbuf_take(&value);
	take_value(name, text, ret, notices);
}

void subnet_env_parse(const char *text, size_t len, struct subnet_env *ret, struct strbuf *notices)
{
	const char *end = text + len;

	*ret = (struct subnet_env){ 0 };
	while (text < end) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));

		if (!line_end)
			line_end = end;
		read_line(text, line_end, ret, notices);
		text = line_end < end ? line_end + 1 : end;
	}
}

int subnet_env_read(const char *path, struct subnet_env *ret, struct strbuf *notices, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = file_read(path, FILE_MAX, &text, &len, e);
	if (r < 0)
		return r;
	subnet_env_parse(text, len, ret, notices);
	return 0;
}
