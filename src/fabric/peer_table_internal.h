// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts of the table of peers share: peer_table.c, peer_rival.c, peer_view.c.
#pragma once

#include "fabric/hold_queue.h"
#include "fabric/lease_index.h"
#include "fabric/odd_list.h"
#include "fabric/peer_table.h"

// What a good lease's mark says: its condition, and a number: of the last snapshot that had it or, while it is held, of its hold.
#define MARK_HELD (1u << 31)
#define MARK_STALE (1u << 30)
#define MARK_NEW (1u << 29) // came with the snapshot of that number
#define MARK_NUMBER (MARK_NEW - 1)

struct peer_table {
	peer_change_fn *fn;
	void *arg;
	uint64_t hold_ms;
	uint64_t long_hold_ms;

	bool has_rules;
	struct netconf base;
	struct netconf conf;
	bool has_own;
	struct subnet own;
	bool has_own_attrs;
	struct lease_attrs own_attrs;

	struct lease_set *good;
	struct lease_index *index[LEASE_INDEX_KEY_COUNT];
	struct odd_list odd;

	size_t held;
	struct hold_queue short_holds;
	struct hold_queue long_holds;
	uint32_t hold_serial;

	bool in_snapshot;
	uint32_t generation;
};

static inline bool peer_is_held(const struct lease *lease)
{
	return lease->mark & MARK_HELD;
}

static inline bool peer_gives_way(const struct lease *lease)
{
	return lease->mark & (MARK_HELD | MARK_STALE);
}

// ---- peer_rival.c ----
struct rivals {
	struct lease **leases;
	size_t count;
	struct lease *winner; // the one that does not give way; NULL: all do
	const char *what;     // it has
};
// Who of the good ones has something that this lease claims. ret starts zero; its leases are for the caller to free.
void peer_find_rivals(const struct peer_table *table, const struct lease *lease, struct rivals *ret);
bool peer_is_same_host(const struct lease *a, const struct lease *b);
const struct lease *peer_find_overlap(const struct peer_table *table,
				      const struct subnet *subnet); // good ones only
