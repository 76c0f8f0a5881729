// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the virtio-net header that stands before each packet of a TUN device.
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { VNET_HEADER = 10 }; // without num_buffers, which TUN never uses

enum vnet_gso {
	VNET_GSO_NONE = 0,
	VNET_GSO_TCPV4 = 1,
	VNET_GSO_TCPV6 = 4,
	VNET_GSO_UDP_L4 = 5,
	VNET_GSO_ECN = 0x80, // added to the TCP ones
};

struct vnet {
	bool needs_checksum; // the checksum's field has the pseudo header's sum
	uint8_t gso;	     // enum vnet_gso
	uint16_t header_len; // a hint only: the kernel says how much is linear, which may be more
	uint16_t segment;    // payload of each packet of a superpacket
	uint16_t sum_start;
	uint16_t sum_offset;
};

// Little-endian on every machine: tun_open asks for that.
static inline struct vnet vnet_load(const uint8_t at[static VNET_HEADER])
{
	uint16_t words[4];
	memcpy(words, at + 2, sizeof(words));
	return (struct vnet){ .needs_checksum = at[0] & 1,
			      .gso = at[1],
			      .header_len = le16toh(words[0]),
			      .segment = le16toh(words[1]),
			      .sum_start = le16toh(words[2]),
			      .sum_offset = le16toh(words[3]) };
}

static inline void vnet_store(const struct vnet *vnet, uint8_t at[static VNET_HEADER])
{
	uint16_t words[4] = { htole16(vnet->header_len), htole16(vnet->segment),
			      htole16(vnet->sum_start), htole16(vnet->sum_offset) };
	at[0] = vnet->needs_checksum;
	at[1] = vnet->gso;
	memcpy(at + 2, words, sizeof(words));
}
