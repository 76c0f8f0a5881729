// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one IPv4 or IPv6 address as a value, its text and its arithmetic.
#include "core/ip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static unsigned int family_width_bytes(int family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

struct ip ip_from_bytes(int family, const void *bytes)
{
	unsigned int width = family_width_bytes(family);
	struct ip ip = { 0 };

	if (width > 0) {
		ip.family = (uint8_t)family;
		memcpy(ip.bytes, bytes, width);
	}
	return ip;
}

struct ip ip_from_value(int family, u128 value)
{
	unsigned int width = family_width_bytes(family);
	struct ip ip = { 0 };

	if (width > 0)
		ip.family = (uint8_t)family;
	for (unsigned int i = width; i > 0; i--) {
		ip.bytes[i - 1] = (uint8_t)value;
		value >>= 8;
	}
	return ip;
}

struct ip ip_v4(uint32_t host_order)
{
	return ip_from_value(AF_INET, host_order);
}

u128 ip_value(const struct ip *ip)
{
	unsigned int width = ip_width_bytes(ip);
	u128 value = 0;

	for (unsigned int i = 0; i < width; i++)
		value = value << 8 | ip->bytes[i];
	return value;
}

uint32_t ip_v4_value(const struct ip *ip)
{
	return ip->family == AF_INET ? (uint32_t)ip_value(ip) : 0;
}

unsigned int ip_width_bits(const struct ip *ip)
{
	return ip_width_bytes(ip) * 8;
}

unsigned int ip_width_bytes(const struct ip *ip)
{
	return family_width_bytes(ip->family);
}

// The first 12 bytes of ::ffff:0:0/96 and of what lies in it.
static bool is_mapped(const uint8_t bytes[static 16])
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(bytes, prefix, sizeof(prefix)) == 0;
}

// inet_pton is as strict as we need in glibc and in musl: no leading zeros, no zone, "::" stands
// for at least one group.
int ip_parse(const char *text, struct ip *ret)
{
	uint8_t bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		*ret = ip_from_bytes(AF_INET, bytes);
	else if (inet_pton(AF_INET6, text, bytes) != 1)
		return -EINVAL;
	else if (is_mapped(bytes))
		*ret = ip_from_bytes(AF_INET, bytes + 12);
	else
		*ret = ip_from_bytes(AF_INET6, bytes);
	return 0;
}

static char *put_decimal(char *out, uint8_t value)
{
	if (value >= 100)
		*out++ = (char)('0' + value / 100);
	if (value >= 10)
		*out++ = (char)('0' + value / 10 % 10);
	*out++ = (char)('0' + value % 10);
	return out;
}

static char *put_v4(char *out, const uint8_t *bytes)
{
	for (unsigned int i = 0; i < 4; i++) {
		if (i > 0)
			*out++ = '.';
		out = put_decimal(out, bytes[i]);
	}
	return out;
}

static char *put_group(char *out, unsigned int value)
{
	static const char digits[] = "0123456789abcdef";
	bool started = false;

	for (int shift = 12; shift >= 0; shift -= 4) {
		unsigned int digit = value >> shift & 0xf;

		if (digit != 0 || started || shift == 0) {
			*out++ = digits[digit];
			started = true;
		}
	}
	return out;
}

// The longest run of at least two zero groups, the first of equals. *ret_start 8: none.
static void longest_zero_run(const unsigned int groups[static 8], unsigned int *ret_start,
			     unsigned int *ret_len)
{
	unsigned int best_start = 8, best_len = 1, len = 0;

	for (unsigned int i = 0; i < 8; i++) {
		len = groups[i] == 0 ? len + 1 : 0;
		if (len > best_len) {
			best_len = len;
			best_start = i + 1 - len;
		}
	}
	*ret_start = best_start;
	*ret_len = best_start < 8 ? best_len : 0;
}

// Not inet_ntop: that writes ::1.2.3.4 for what RFC 5952 and Go write as ::102:304.
static char *put_v6(char *out, const uint8_t *bytes)
{
	unsigned int groups[8], run, run_len;

	if (is_mapped(bytes)) {
		memcpy(out, "::ffff:", 7);
		return put_v4(out + 7, bytes + 12);
	}
	for (unsigned int i = 0; i < 8; i++)
		groups[i] = (unsigned int)bytes[2 * i] << 8 | bytes[2 * i + 1];
	longest_zero_run(groups, &run, &run_len);
	for (unsigned int i = 0; i < 8; i++) {
		if (i == run) {
			*out++ = ':';
			*out++ = ':';
			i += run_len - 1;
			continue;
		}
		if (i > 0 && i != run + run_len)
			*out++ = ':';
		out = put_group(out, groups[i]);
	}
	return out;
}

const char *ip_str(const struct ip *ip, char buf[static IP_STR_MAX])
{
	char *end;

	if (ip->family == AF_INET) {
		end = put_v4(buf, ip->bytes);
	} else if (ip->family == AF_INET6) {
		end = put_v6(buf, ip->bytes);
	} else {
		memcpy(buf, "none", 4);
		end = buf + 4;
	}
	*end = '\0';
	return buf;
}

int ip_compare(const struct ip *a, const struct ip *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

struct ip ip_add(const struct ip *ip, u128 delta)
{
	return ip_from_value(ip->family, ip_value(ip) + delta);
}

bool ip_is_unspecified(const struct ip *ip)
{
	return ip_is_set(ip) && ip_value(ip) == 0;
}

bool ip_is_link_local(const struct ip *ip)
{
	if (ip->family == AF_INET)
		return ip->bytes[0] == 169 && ip->bytes[1] == 254;
	return ip->family == AF_INET6 && ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80;
}

static bool is_loopback(const struct ip *ip)
{
	if (ip->family == AF_INET)
		return ip->bytes[0] == 127;
	return ip->family == AF_INET6 && ip_value(ip) == 1;
}

static bool is_multicast(const struct ip *ip)
{
	if (ip->family == AF_INET)
		return (ip->bytes[0] & 0xf0) == 0xe0;
	return ip->family == AF_INET6 && ip->bytes[0] == 0xff;
}

static bool is_limited_broadcast(const struct ip *ip)
{
	return ip->family == AF_INET && ip_v4_value(ip) == UINT32_MAX;
}

bool ip_is_global_unicast(const struct ip *ip)
{
	return ip_is_set(ip) && !ip_is_unspecified(ip) && !is_loopback(ip) && !is_multicast(ip) &&
	       !ip_is_link_local(ip) && !is_limited_broadcast(ip);
}

bool ip_is_usable_endpoint(const struct ip *ip)
{
	if (!ip_is_set(ip) || ip_is_unspecified(ip) || is_loopback(ip) || is_multicast(ip) ||
	    is_limited_broadcast(ip))
		return false;
	return ip->family != AF_INET || ip->bytes[0] != 0;
}
