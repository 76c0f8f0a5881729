// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking many addresses at once by ICMP whether they answer, how soon, and what time it is there. Synchronous: for commands.
#pragma once

#include "cli/icmp.h"
#include "core/err.h"

#define PROBE_TARGETS_MAX 1024
#define PROBE_ROUNDS_MAX 8

struct probe_target {
	struct ip to;
	size_t size;	    // of the whole packet, IP header included; 0: the smallest
	bool dont_fragment; // and do not let this host's own idea of the path cut it

	// what came of it
	unsigned int sent, received;
	uint64_t best_rtt_us; // of those that came back
	bool has_offset;
	int64_t offset_ms; // timestamp: how far its clock is before ours, within half a day
};

// Asks each `rounds` times, the next round when all have answered or a second is over; one that has answered none of three rounds is not
// asked again. -EPERM: CAP_NET_RAW is needed.
int probe_run(enum icmp_kind kind, struct probe_target *targets, size_t count, unsigned int rounds,
	      struct err *e);

// Does the host say that nobody listens at this UDP port? False: it says nothing, or somebody does.
bool probe_port_is_closed(const struct ip *to, uint16_t port);
