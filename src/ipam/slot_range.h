// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the slots of one subnet, one for each address, and the queue of those that nobody has.
#pragma once

#include "ipam/allocator.h"

struct slot_range {
	struct ipnet net;
	struct slot *slots; // by the number of the address in its subnet; NULL: no subnet
	uint32_t first,
		end; // those that containers get: not the network's, the gateway's and the broadcast address
	uint32_t head, tail; // of the queue
	size_t kept;	     // how many are SLOT_KEPT
};

void slot_range_open(struct slot_range *range, const struct ipnet *net, uint32_t max);
void slot_range_close(struct slot_range *range); // leaves it zero
struct slot *slot_range_find(const struct slot_range *range,
			     const struct ip *ip);	       // NULL: none that containers get
struct slot *slot_range_first(const struct slot_range *range); // of the queue; NULL: it is empty
struct slot *slot_range_after(const struct slot_range *range, const struct slot *slot);
void slot_range_enqueue(struct slot_range *range, struct slot *slot); // as the last
void slot_range_dequeue(struct slot_range *range, struct slot *slot);
void slot_set_state(struct slot_range *range, struct slot *slot, enum slot_state state);
void slot_drop_record(struct slot *slot);
