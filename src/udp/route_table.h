// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: to which host an address belongs: an unchanging table that is made anew for each change.
//
// DOC: the table
//
// IPv4: an array over the network with one entry for each subnet of the longest length among the
// peers (at most /24), so that a look-up is one load. Of what is longer than /24 an entry leads to a
// second array with one entry an address. IPv6: the same first array if it has at most 2^20 entries,
// else the subnets in order, to be halved. Subnets never overlap.
#pragma once

#include "core/err.h"
#include "core/ipnet.h"
#include "udp/bytes.h"

enum {
	ROUTE_NONE = 0,
	ROUTE_OWN = 1,	      // a subnet of this host
	ROUTE_FIRST_HOST = 2, // and the following: index of a host
	ROUTE_MTU_MIN = 576,  // what each must take (RFC 791)
};

struct route_family {
	struct ipnet network; // unset: this family is off
	struct ipnet own;     // unset: no lease of this family
	struct ip address;    // from which ICMP errors come; unset: none are sent
};

struct route_config {
	struct route_family v4, v6;
	uint16_t mtu; // of the device
};

struct route_peer {
	struct ipnet subnet;
	struct ip host;
	uint16_t port;
};

struct route_host {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address;
	socklen_t len;
};

struct route_table {
	struct route_config config;
	uint32_t *first4;
	uint32_t *second4;
	uint64_t size4; // addresses; 0: off
	uint32_t base4;
	uint8_t shift4;
	uint8_t shift6;
	bool flat6;
	u128 base6;
	u128 last6; // offset; below base6: off
	bool on6;
	uint32_t *first6;
	struct route_range6 *ranges6;
	size_t range6_count;
	struct route_host *hosts; // by index, the first two unused
	size_t host_count;
};

enum { ROUTE_SECOND = 1 << 30 }; // in first4: the rest is the number of a block of second4

// -EINVAL, -EEXIST: names the peer or subnet that is outside the network or overlaps another.
int route_table_new(const struct route_config *config, const struct route_peer *peers, size_t count,
		    struct route_table **ret, struct err *e);
struct route_table *route_table_free(struct route_table *table);

static inline uint32_t route_find4(const struct route_table *table, const uint8_t address[static 4])
{
	uint32_t offset = load32(address) - table->base4;
	if (offset >= table->size4)
		return ROUTE_NONE;
	uint32_t entry = table->first4[offset >> table->shift4];
	if (__builtin_expect(entry & ROUTE_SECOND, 0))
		entry = table->second4[((entry & (ROUTE_SECOND - 1)) << 8) | (offset & 0xff)];
	return entry;
}
uint32_t route_find6(const struct route_table *table, const uint8_t address[static 16]);

static inline uint32_t route_find(const struct route_table *table, int version, const uint8_t *address)
{
	return version == 4 ? route_find4(table, address) : route_find6(table, address);
}
bool route_host_is(const struct route_host *host, const struct sockaddr *address);
