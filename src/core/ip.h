// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one IPv4 or IPv6 address as a value, its text and its arithmetic.
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

// Network byte order in `bytes`; the unused rest is zero, so that values compare by memcmp.
// family: AF_INET, AF_INET6, or AF_UNSPEC (0) for "none".
struct ip {
	uint8_t family;
	uint8_t bytes[16];
};

#define IP_STR_MAX INET6_ADDRSTRLEN

__extension__ typedef unsigned __int128 u128;

struct ip ip_from_bytes(int family, const void *bytes); // 4 or 16 bytes, network order
struct ip ip_from_value(int family, u128 value);	// truncated to the family's width
struct ip ip_v4(uint32_t host_order);
u128 ip_value(const struct ip *ip);
uint32_t ip_v4_value(const struct ip *ip);
unsigned int ip_width_bits(const struct ip *ip); // 32, 128, or 0 for none
unsigned int ip_width_bytes(const struct ip *ip);

// Strict: dotted quad without leading zeros (as Go's net.ParseIP since 1.17), RFC 4291 text without a zone.
// IPv4-mapped IPv6 text gives IPv4, as Go does. -EINVAL.
int ip_parse(const char *text, struct ip *ret);
// RFC 5952. Returns buf; none gives "none".
const char *ip_str(const struct ip *ip, char buf[static IP_STR_MAX]);

static inline bool ip_is_set(const struct ip *ip)
{
	return ip->family != AF_UNSPEC;
}
static inline bool ip_equal(const struct ip *a, const struct ip *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}
int ip_compare(const struct ip *a, const struct ip *b);
struct ip ip_add(const struct ip *ip, u128 delta); // wraps within the family's width
bool ip_is_unspecified(const struct ip *ip);	   // 0.0.0.0 or ::
bool ip_is_link_local(const struct ip *ip);
bool ip_is_global_unicast(const struct ip *ip); // Go's IsGlobalUnicast: RFC 1918 counts
// An address that can be the outer destination of a tunnel: set, unicast, not loopback, not 0/8, not limited broadcast.
bool ip_is_usable_endpoint(const struct ip *ip);
