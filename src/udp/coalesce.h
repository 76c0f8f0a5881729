// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: joining packets of one flow that came together into superpackets for TUN.
//
// DOC: runs
//
// A batch of received packets becomes runs in the order of their first packets. A run is open while
// packets may be added: in a flow one at most, the last one, so that a flow's packets leave in the
// order in which they came. What cannot be joined is a run of one, and closes its flow's open run.
// Whoever hands a joined packet to the kernel says that its checksum is right, so each packet's own
// is verified before it is joined; a wrong one stays alone, and the kernel finds it.
#pragma once

#include "udp/packet.h"
#include "udp/vnet.h"

#include <sys/uio.h>

enum {
	COALESCE_PACKETS_MAX = 1024,
	COALESCE_SEGMENTS_MAX = 64,
	COALESCE_PIECES_MAX = COALESCE_SEGMENTS_MAX + 2,
	COALESCE_FLOWS = 64, // slots; two flows in one only join less
	COALESCE_HEADER_MAX = 128,
};

struct coalesce_packet {
	uint8_t *payload;
	uint16_t len;
	uint16_t next; // index, of the same run
};

struct coalesce_run {
	struct packet first;
	uint16_t header_len; // all before the payload; 0: not TCP or UDP, nothing is added
	uint16_t payload;    // of the first packet, and so of each but the last
	uint16_t count;
	uint16_t head, tail; // indices of packets
	uint32_t total;	     // bytes, one header and all payloads
	uint32_t sequence;   // TCP: that of the next packet
	bool tcp;
	bool verified; // the first packet's checksum
	bool push;     // the last packet's PSH
};

// Borrows the packets' bytes until it is emptied.
struct coalescer {
	bool join_tcp;
	bool join_udp;
	uint16_t run_count;
	uint16_t packet_count;
	uint16_t open[COALESCE_FLOWS]; // run + 1; 0: none
	struct coalesce_run runs[COALESCE_PACKETS_MAX];
	struct coalesce_packet packets[COALESCE_PACKETS_MAX];
	uint8_t saved[COALESCE_HEADER_MAX]; // the header that coalescer_emit changed last
};

void coalescer_empty(struct coalescer *c);
static inline bool coalescer_is_full(const struct coalescer *c)
{
	return c->packet_count == COALESCE_PACKETS_MAX;
}
// The packet is whole and its IP header's checksum right. Not when full.
void coalescer_add(struct coalescer *c, const struct packet *packet);

// What is to be written for the run of that index: ret[0] is vnet. Changes the first packet's header in place when
// there is more than one. Returns the number of pieces.
size_t coalescer_emit(struct coalescer *c, size_t index, uint8_t vnet[static VNET_HEADER],
		      struct iovec ret[static COALESCE_PIECES_MAX]);
// Puts the header back that coalescer_emit changed last, and writes the run's packets one by one.
void coalescer_part(struct coalescer *c, size_t index,
		    void (*write)(void *arg, const struct iovec *packet), void *arg);
