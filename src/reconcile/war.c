// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a small table of the objects that were repaired lately; the least recent makes room.
#include "reconcile/war.h"

#include "core/mem.h"

#include <string.h>

#define WAR_ENTRIES 256
#define WAR_WINDOW_MS 60000u
#define WAR_REPAIRS 5
#define WAR_HOLD_FIRST_MS 30000u
#define WAR_HOLD_MAX_MS 600000u

struct war {
	size_t count;
	struct war_entry *entries; // allocated with the first repair: a quiet host has none
};

struct war *war_new(void)
{
	return xnew(struct war);
}

struct war *war_free(struct war *war)
{
	if (war) {
		free(war->entries);
		free(war);
	}
	return NULL;
}

// The identity of an object, without what a repair changes.
static bool same_object(const struct kernel_object *a, const struct kernel_object *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case KERNEL_LINK:
		return strcmp(a->link.name, b->link.name) == 0;
	case KERNEL_ADDR:
		return a->addr.ifindex == b->addr.ifindex && ip_equal(&a->addr.ip, &b->addr.ip);
	case KERNEL_NEIGH:
		return a->neigh.ifindex == b->neigh.ifindex && ip_equal(&a->neigh.ip, &b->neigh.ip);
	case KERNEL_FDB:
		return a->fdb.ifindex == b->fdb.ifindex && mac_equal(&a->fdb.mac, &b->fdb.mac);
	case KERNEL_NEXTHOP:
		return a->nexthop.id == b->nexthop.id;
	case KERNEL_ROUTE:
		return ipnet_equal(&a->route.dst, &b->route.dst);
	case KERNEL_WG_PEER:
		return a->wg_peer.ifindex == b->wg_peer.ifindex &&
		       wg_key_equal(&a->wg_peer.public_key, &b->wg_peer.public_key);
	case KERNEL_KIND_COUNT:
		break;
	}
	return false;
}

static struct war_entry *find_or_add(struct war *war, const struct kernel_object *object)
{
	if (!war->entries)
		war->entries = xnew0_array(struct war_entry, WAR_ENTRIES);
	struct war_entry *oldest = &war->entries[0];
	for (size_t i = 0; i < war->count; i++) {
		if (same_object(&war->entries[i].object, object))
			return &war->entries[i];
		if (war->entries[i].window_start_ms < oldest->window_start_ms)
			oldest = &war->entries[i];
	}
	if (war->count < WAR_ENTRIES)
		oldest = &war->entries[war->count++];
	memset(oldest, 0, sizeof(*oldest));
	oldest->object = *object;
	return oldest;
}

enum war_verdict war_entry_repair(struct war_entry *entry, uint64_t now_ms)
{
	if (now_ms < entry->hold_until_ms)
		return WAR_HELD;
	if (entry->repairs == 0 || now_ms - entry->window_start_ms > WAR_WINDOW_MS) {
		// A hold that ended long ago without a new repair was a peace.
		if (now_ms - entry->hold_until_ms > WAR_WINDOW_MS)
			entry->hold_ms = 0;
		entry->window_start_ms = now_ms;
		entry->repairs = 0;
	}
	if (++entry->repairs <= WAR_REPAIRS)
		return WAR_REPAIR;
	bool goes_on = entry->hold_ms != 0;
	entry->hold_ms = goes_on ? entry->hold_ms * 2 : WAR_HOLD_FIRST_MS;
	if (entry->hold_ms > WAR_HOLD_MAX_MS)
		entry->hold_ms = WAR_HOLD_MAX_MS;
	entry->hold_until_ms = now_ms + entry->hold_ms;
	// After the hold one repair is tried; undone again, the next hold is longer.
	entry->repairs = WAR_REPAIRS - 1;
	entry->window_start_ms = entry->hold_until_ms;
	return goes_on ? WAR_HELD : WAR_DECLARED;
}

enum war_verdict war_repair(struct war *war, const struct kernel_object *object, uint64_t now_ms)
{
	struct war_entry *entry = find_or_add(war, object);
	enum war_verdict verdict = war_entry_repair(entry, now_ms);
	if (verdict != WAR_HELD)
		entry->object = *object;
	return verdict;
}

const struct war_entry *war_next(const struct war *war, size_t *position, uint64_t now_ms)
{
	while (*position < war->count) {
		const struct war_entry *entry = &war->entries[(*position)++];
		if (now_ms < entry->hold_until_ms)
			return entry;
	}
	return NULL;
}

uint64_t war_next_end_ms(const struct war *war, uint64_t now_ms)
{
	uint64_t earliest = UINT64_MAX;
	size_t position = 0;
	const struct war_entry *entry;
	while ((entry = war_next(war, &position, now_ms)))
		if (entry->hold_until_ms < earliest)
			earliest = entry->hold_until_ms;
	return earliest;
}
