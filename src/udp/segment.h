// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: cutting a superpacket of TUN into the packets that go over the wire, without copying payload.
#pragma once

#include "udp/packet.h"
#include "udp/vnet.h"

enum { SEGMENT_HEADER_MAX = 128 };

// What all segments have in common; borrows the packet's bytes.
struct superpacket {
	const uint8_t *data;
	uint16_t l4;	     // where TCP's or UDP's header begins
	uint16_t header_len; // all that is repeated in each segment
	uint16_t segment;    // payload of each but the last
	uint32_t payload_len;
	uint32_t count;
	bool tcp;
	uint8_t version;
	// Sums of the headers without what differs from segment to segment.
	uint64_t ip_sum;
	uint64_t l4_sum;
};

// Computes the header's length itself; vnet is judged by the packet and not trusted. False: they do
// not fit together.
bool superpacket_open(const struct vnet *vnet, const struct packet *packet, struct superpacket *ret);
// Once, when nothing changes the packet's headers any more (the TTL) and before the first segment.
void superpacket_sum(struct superpacket *super);

// Writes the header of segment index, all checksums done, and tells where its payload is. Returns the payload's length.
uint32_t superpacket_segment(const struct superpacket *super, uint32_t index,
			     uint8_t header[static SEGMENT_HEADER_MAX], const uint8_t **ret_payload);

// For a packet that is none: fills in the checksum that the kernel left to us. False: outside the packet.
bool segment_finish_checksum(const struct vnet *vnet, const struct packet *packet);
