// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what an IP packet says of itself, checked against the bytes that are there.
#pragma once

#include "udp/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PACKET_V4_HEADER = 20,
	PACKET_V6_HEADER = 40,
	PACKET_TCP_HEADER = 20,
	PACKET_UDP_HEADER = 8,
	PACKET_MAX = 65535,
};

enum packet_fault {
	PACKET_FINE,
	PACKET_SHORT,	 // less than a header
	PACKET_VERSION,	 // neither 4 nor 6
	PACKET_HEADER,	 // header length that cannot be
	PACKET_LENGTH,	 // says that it is longer than what is there
	PACKET_CHECKSUM, // of the IPv4 header
};

// Borrows the bytes. What follows the packet's own length in them is not part of it.
struct packet {
	uint8_t *data;
	uint32_t len;
	uint32_t l4;	  // where the header after IP's begins; of IPv6, after the fixed one
	uint8_t version;  // 4 or 6
	uint8_t protocol; // of IPv6, the first next header
	bool fragment;	  // of IPv4: one of several parts
	bool later;	  // a fragment other than the first
};

// Everything but the header's checksum, which packet_checksum_fits tells.
enum packet_fault packet_parse(uint8_t *data, size_t len, struct packet *ret);
bool packet_checksum_fits(const struct packet *packet);

static inline uint8_t packet_ttl(const struct packet *packet)
{
	return packet->data[packet->version == 4 ? 8 : 7];
}
// By one, with IPv4's checksum patched as RFC 1624 has it. The TTL must be above 0.
void packet_decrement_ttl(const struct packet *packet);

static inline const uint8_t *packet_source(const struct packet *packet)
{
	return packet->data + (packet->version == 4 ? 12 : 8);
}
static inline const uint8_t *packet_destination(const struct packet *packet)
{
	return packet->data + (packet->version == 4 ? 16 : 24);
}
static inline bool packet_may_not_be_cut(const struct packet *packet) // DF
{
	return packet->version == 6 || (packet->data[6] & 0x40);
}
bool packet_to_many(const struct packet *packet); // multicast or limited broadcast

// The sum of the pseudo header for len bytes of protocol, not folded.
uint64_t packet_pseudo_sum(const struct packet *packet, uint8_t protocol, uint32_t len);
