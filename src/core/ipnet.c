// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: an IP prefix as a value, its text and its arithmetic.
#include "core/ipnet.h"

#include "core/parse.h"

#include <errno.h>
#include <string.h>

// The low bits that are the host's; all ones for len 0.
static u128 host_mask(unsigned int width, unsigned int len)
{
	unsigned int host_bits = width - len;

	// Shifting by the whole width is undefined in C.
	return host_bits >= 128 ? ~(u128)0 : ((u128)1 << host_bits) - 1;
}

int ipnet_parse(const char *text, struct ipnet *ret)
{
	const char *slash = strchr(text, '/');
	char addr_text[IP_STR_MAX];
	const char *cursor;
	struct ip addr;
	uint64_t len;

	if (!slash || (size_t)(slash - text) >= sizeof(addr_text))
		return -EINVAL;
	memcpy(addr_text, text, (size_t)(slash - text));
	addr_text[slash - text] = '\0';
	if (ip_parse(addr_text, &addr) < 0)
		return -EINVAL;
	cursor = slash + 1;
	if (!parse_u64(&cursor, ip_width_bits(&addr), &len) || !parse_end(cursor))
		return -EINVAL;
	*ret = ipnet_of(&addr, (unsigned int)len);
	return 0;
}

const char *ipnet_str(const struct ipnet *net, char buf[static IPNET_STR_MAX])
{
	unsigned int len = net->len;
	char *out;

	(void)ip_str(&net->addr, buf);
	if (!ipnet_is_set(net))
		return buf;
	out = buf + strlen(buf);
	*out++ = '/';
	if (len >= 100)
		*out++ = (char)('0' + len / 100 % 10);
	if (len >= 10)
		*out++ = (char)('0' + len / 10 % 10);
	*out++ = (char)('0' + len % 10);
	*out = '\0';
	return buf;
}

struct ipnet ipnet_of(const struct ip *ip, unsigned int len)
{
	unsigned int width = ip_width_bits(ip);
	struct ipnet net = { 0 };

	if (len > width)
		len = width;
	net.addr = ip_from_value(ip->family, ip_value(ip) & ~host_mask(width, len));
	net.len = (uint8_t)len;
	return net;
}

bool ipnet_is_set(const struct ipnet *net)
{
	return ip_is_set(&net->addr);
}

bool ipnet_equal(const struct ipnet *a, const struct ipnet *b)
{
	return ipnet_compare(a, b) == 0;
}

int ipnet_compare(const struct ipnet *a, const struct ipnet *b)
{
	int order = ip_compare(&a->addr, &b->addr);

	if (order != 0)
		return order;
	return (a->len > b->len) - (a->len < b->len);
}

bool ipnet_contains(const struct ipnet *net, const struct ip *ip)
{
	u128 difference;

	if (!ipnet_is_set(net) || net->addr.family != ip->family)
		return false;
	difference = ip_value(&net->addr) ^ ip_value(ip);
	return (difference & ~host_mask(ip_width_bits(ip), net->len)) == 0;
}

bool ipnet_contains_net(const struct ipnet *outer, const struct ipnet *inner)
{
	return outer->len <= inner->len && ipnet_contains(outer, &inner->addr);
}

bool ipnet_overlaps(const struct ipnet *a, const struct ipnet *b)
{
	return ipnet_contains_net(a, b) || ipnet_contains_net(b, a);
}

struct ip ipnet_last(const struct ipnet *net)
{
	u128 mask = host_mask(ip_width_bits(&net->addr), net->len);

	return ip_from_value(net->addr.family, ip_value(&net->addr) | mask);
}

u128 ipnet_size(const struct ipnet *net)
{
	if (!ipnet_is_set(net))
		return 0;
	return host_mask(ip_width_bits(&net->addr), net->len) + 1;
}

struct ipnet ipnet_next(const struct ipnet *net, u128 steps)
{
	struct ipnet next = *net;

	next.addr = ip_add(&net->addr, steps * ipnet_size(net));
	return next;
}
