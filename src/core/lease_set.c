// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a set of leases keyed by subnet.
#include "core/lease_set.h"

#include "core/mem.h"

#include <stdint.h>

#define SLOTS_MIN 16

// Open addressing over pointers: a slot costs 8 bytes, and a lease never moves while it is in the set.
// A removed lease leaves a grave, so that a walk may remove what it was just given; putting leases in
// sweeps the graves out and fits the table to what is left.
struct lease_set {
	struct lease **slots;
	size_t slot_count; // a power of two, or 0
	size_t count;
	size_t graves;
};

static struct lease grave_mark;
#define GRAVE (&grave_mark)

static bool is_lease(const struct lease *slot)
{
	return slot && slot != GRAVE;
}

struct lease_set *lease_set_new(void)
{
	return xnew(struct lease_set);
}

static void lease_delete(struct lease *lease)
{
	lease_free(lease);
	free(lease);
}

struct lease_set *lease_set_free(struct lease_set *set)
{
	if (!set)
		return NULL;
	for (size_t i = 0; i < set->slot_count; i++)
		if (is_lease(set->slots[i]))
			lease_delete(set->slots[i]);
	free(set->slots);
	free(set);
	return NULL;
}

size_t lease_set_count(const struct lease_set *set)
{
	return set->count;
}

// The slot of the lease, or slot_count.
static size_t slot_find(const struct lease_set *set, const struct subnet *subnet)
{
	size_t mask = set->slot_count - 1;

	if (set->slot_count == 0)
		return 0;
	// Ends: at least a quarter of the slots is empty.
	for (size_t i = subnet_hash(subnet) & mask; set->slots[i]; i = (i + 1) & mask)
		if (set->slots[i] != GRAVE && subnet_equal(&set->slots[i]->subnet, subnet))
			return i;
	return set->slot_count;
}

// The lease must not be in the set.
static void slot_fill(struct lease_set *set, struct lease *lease)
{
	size_t mask = set->slot_count - 1;
	size_t i = subnet_hash(&lease->subnet) & mask;

	while (is_lease(set->slots[i]))
		i = (i + 1) & mask;
	if (set->slots[i] == GRAVE)
		set->graves--;
	set->slots[i] = lease;
}

// Makes room for one more.
static void slots_reserve(struct lease_set *set)
{
	struct lease **old = set->slots;
	size_t old_count = set->slot_count;
	size_t slot_count = SLOTS_MIN;

	if ((set->count + set->graves + 1) * 4 <= set->slot_count * 3)
		return;
	while ((set->count + 1) * 3 > slot_count * 2)
		slot_count *= 2;
	set->slots = xnew0_array(struct lease *, slot_count);
	set->slot_count = slot_count;
	set->graves = 0;
	for (size_t i = 0; i < old_count; i++)
		if (is_lease(old[i]))
			slot_fill(set, old[i]);
	free(old);
}

struct lease *lease_set_find(const struct lease_set *set, const struct subnet *subnet)
{
	size_t i = slot_find(set, subnet);

	return i < set->slot_count ? set->slots[i] : NULL;
}

struct lease *lease_set_put(struct lease_set *set, struct lease *lease)
{
	struct lease *stored = lease_set_find(set, &lease->subnet);

	if (stored) {
		if (stored == lease)
			return stored;
		lease_free(stored);
		*stored = *lease;
	} else {
		slots_reserve(set);
		stored = xmemdup(lease, sizeof(*lease));
		slot_fill(set, stored);
		set->count++;
	}
	*lease = (struct lease){ 0 };
	return stored;
}

bool lease_set_remove(struct lease_set *set, const struct subnet *subnet)
{
	size_t i = slot_find(set, subnet);
	struct lease *lease;

	if (i >= set->slot_count)
		return false;
	lease = set->slots[i]; // subnet may point into it
	set->slots[i] = GRAVE;
	set->graves++;
	set->count--;
	lease_delete(lease);
	return true;
}

struct lease *lease_set_find_overlap(const struct lease_set *set, const struct subnet *subnet)
{
	struct lease *lease;
	size_t position = 0;

	while ((lease = lease_set_next(set, &position)))
		if (subnet_overlaps(&lease->subnet, subnet))
			return lease;
	return NULL;
}

static int subnet_compare(const struct subnet *a, const struct subnet *b)
{
	int order = ipnet_compare(&a->v4, &b->v4);

	return order != 0 ? order : ipnet_compare(&a->v6, &b->v6);
}

struct lease *lease_set_find_public_ip(const struct lease_set *set, const struct ip *ip)
{
	struct lease *lease, *first = NULL;
	size_t position = 0;

	if (!ip_is_set(ip))
		return NULL;
	while ((lease = lease_set_next(set, &position))) {
		const struct ip *own = ip->family == AF_INET6 ? &lease->attrs.public_ipv6
							      : &lease->attrs.public_ip;

		if (ip_equal(own, ip) && (!first || subnet_compare(&lease->subnet, &first->subnet) < 0))
			first = lease;
	}
	return first;
}

struct lease *lease_set_next(const struct lease_set *set, size_t *position)
{
	while (*position < set->slot_count) {
		struct lease *slot = set->slots[(*position)++];

		if (is_lease(slot))
			return slot;
	}
	return NULL;
}
