// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the slots of one subnet, one for each address, and the queue of those that nobody has.
#include "ipam/slot_range.h"

#include "core/mem.h"

#include <string.h>

#define NONE UINT32_MAX

static uint32_t count_of(const struct ipnet *net, uint32_t max)
{
	u128 size = ipnet_size(net); // 0: more than there are numbers

	return size == 0 || size > max ? max : (uint32_t)size;
}

void slot_range_open(struct slot_range *range, const struct ipnet *net, uint32_t max)
{
	uint32_t count;

	*range = (struct slot_range){ .head = NONE, .tail = NONE };
	if (!ipnet_is_set(net))
		return;
	count = count_of(net, max);
	range->net = *net;
	range->slots = xnew0_array(struct slot, count);
	range->first = 2; // the network's own, where the tunnel's device sits, and the gateway's
	range->end = count;
	if (net->addr.family == AF_INET && count == ipnet_size(net))
		range->end = count - 1; // broadcast
	if (range->end < range->first)
		range->end = range->first;
	for (uint32_t i = 0; i < count; i++) {
		range->slots[i].ip = ip_add(&net->addr, i);
		range->slots[i].index = i;
	}
	for (uint32_t i = range->first; i < range->end; i++)
		slot_range_enqueue(range, &range->slots[i]);
}

void slot_range_close(struct slot_range *range)
{
	for (uint32_t i = range->first; i < range->end; i++)
		slot_drop_record(&range->slots[i]);
	free(range->slots);
	*range = (struct slot_range){ 0 };
}

struct slot *slot_range_find(const struct slot_range *range, const struct ip *ip)
{
	u128 index;

	if (!range->slots || !ipnet_contains(&range->net, ip))
		return NULL;
	index = ip_value(ip) - ip_value(&range->net.addr);
	return index >= range->first && index < range->end ? &range->slots[index] : NULL;
}

// ---- the queue ----

struct slot *slot_range_first(const struct slot_range *range)
{
	return range->slots && range->head != NONE ? &range->slots[range->head] : NULL;
}

struct slot *slot_range_after(const struct slot_range *range, const struct slot *slot)
{
	return slot->next != NONE ? &range->slots[slot->next] : NULL;
}

void slot_range_enqueue(struct slot_range *range, struct slot *slot)
{
	slot->previous = range->tail;
	slot->next = NONE;
	if (range->tail != NONE)
		range->slots[range->tail].next = slot->index;
	else
		range->head = slot->index;
	range->tail = slot->index;
}

void slot_range_dequeue(struct slot_range *range, struct slot *slot)
{
	if (slot->previous != NONE)
		range->slots[slot->previous].next = slot->next;
	else
		range->head = slot->next;
	if (slot->next != NONE)
		range->slots[slot->next].previous = slot->previous;
	else
		range->tail = slot->previous;
}

// ---- states ----

void slot_set_state(struct slot_range *range, struct slot *slot, enum slot_state state)
{
	range->kept -= slot->state == SLOT_KEPT;
	slot->state = state;
	range->kept += slot->state == SLOT_KEPT;
}

void slot_drop_record(struct slot *slot)
{
	if (slot->record)
		address_record_free(slot->record);
	free(slot->record);
	slot->record = NULL;
}
