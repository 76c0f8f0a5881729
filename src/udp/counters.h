// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the packet path counts: packets, calls, and each reason for which a packet is dropped.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum counter {
	// From TUN to the wire.
	COUNTER_TUN_READS, // packets and superpackets
	COUNTER_TUN_BYTES,
	COUNTER_SENT_DATAGRAMS,
	COUNTER_SENT_BYTES,
	COUNTER_SENDS, // messages given to the kernel
	COUNTER_SEND_CALLS,
	COUNTER_SENT_SINGLY, // trains that the kernel did not take whole
	// From the wire to TUN.
	COUNTER_RECEIVED_DATAGRAMS,
	COUNTER_RECEIVED_BYTES,
	COUNTER_RECEIVES, // messages, each one or several datagrams
	COUNTER_RECEIVE_CALLS,
	COUNTER_TUN_WRITES,
	COUNTER_JOINED,	       // datagrams that were not the first of a run
	COUNTER_JOINS_REFUSED, // runs that TUN did not take whole
	COUNTER_WAITS,	       // times that a worker slept
	COUNTER_ICMP_SENT,
	// Dropped on the way to the wire.
	COUNTER_DROP_TUN_MALFORMED,
	COUNTER_DROP_NO_ROUTE,
	COUNTER_DROP_TO_SELF, // to our own subnet, where nobody has that address
	COUNTER_DROP_TO_MANY, // multicast and broadcast
	COUNTER_DROP_TOO_BIG,
	COUNTER_DROP_TTL_OUT,
	COUNTER_DROP_SEND_FULL,
	COUNTER_DROP_SEND_ERROR,
	COUNTER_DROP_ICMP_LIMIT, // ICMP errors not sent, for there were too many
	// Dropped on the way from the wire.
	COUNTER_DROP_SHORT,
	COUNTER_DROP_VERSION,
	COUNTER_DROP_HEADER,
	COUNTER_DROP_LENGTH,
	COUNTER_DROP_CHECKSUM,
	COUNTER_DROP_TRUNCATED, // longer than any packet
	COUNTER_DROP_SPOOFED,	// the sender does not have the lease of the packet's source
	COUNTER_DROP_NOT_OURS,	// the packet's destination is elsewhere
	COUNTER_DROP_TTL_IN,
	COUNTER_DROP_TUN_WRITE,
	COUNTER_COUNT
};

const char *counter_name(enum counter counter);

// Written by one thread, read by another.
struct counters {
	_Atomic uint64_t values[COUNTER_COUNT];
};

static inline void counter_add(struct counters *counters, enum counter counter, uint64_t count)
{
	// Not an atomic addition, which would lock the bus: there is one writer.
	uint64_t value = atomic_load_explicit(&counters->values[counter], memory_order_relaxed);
	atomic_store_explicit(&counters->values[counter], value + count, memory_order_relaxed);
}
