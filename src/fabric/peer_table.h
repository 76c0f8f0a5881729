// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the peers: which leases of the store are good, which are rejected and why, and which are gone but held.
//
// DOC: one subnet, one place
//
// What is programmed is `good`; what the store has and is not used is in the list of odd ones. No two good leases overlap, and no two of
// different hosts have one public address. A good one is in one of three conditions:
//
//   fresh    the store has just this
//   stale    the store has something at its key that cannot be used, or that another host wrote over it: the last good value stays in
//            force, the other one is listed
//   held     gone from the store, kept until its time is over
//
// The first of two rivals keeps what it has; but who is stale or held gives way at once to a lease that is itself in order. A rejected rival
// is judged again when what was in its way goes. At a cold start nobody was first: the one written earlier is. More than half of the peers
// gone within one hold time is rather the store's doing than theirs: they are held for a lease's whole life, as they are when the store
// itself is another one than before.
//
// Every change of `good` is told once. Snapshots and events end in the same put and gone.
#pragma once

#include "core/lease_set.h"
#include "fabric/fabric.h"

typedef void peer_change_fn(void *arg, const struct lease *old, const struct lease *now);

struct peer_table;
struct peer_table *peer_table_new(uint64_t hold_ms, uint64_t long_hold_ms, peer_change_fn *fn,
				  void *arg);
struct peer_table *peer_table_free(struct peer_table *table);

// What peers are held against. base is the config that this host started with: a lease that fits it stays good when the store's config
// changes. own and own_attrs may be NULL. Called again when any of it changes; the peers are judged anew.
void peer_table_set_rules(struct peer_table *table, const struct netconf *base,
			  const struct netconf *conf, const struct subnet *own,
			  const struct lease_attrs *own_attrs);
// Peers of an earlier life. Taken over; they count as good until the store says otherwise.
void peer_table_seed(struct peer_table *table, struct lease_set *peers);

void peer_table_put(struct peer_table *table, struct lease *lease); // takes over what lease owns
void peer_table_bad(struct peer_table *table, const struct registry_bad *bad);
// Is it at the key under which the lease of its subnet belongs, rather than at another way to write it?
bool bad_is_at_usual_key(const struct registry_bad *bad);
void peer_table_bad_gone(struct peer_table *table, const char *key);
void peer_table_gone(struct peer_table *table, const struct subnet *subnet);
void peer_table_forget(struct peer_table *table, const struct subnet *subnet); // it turned out to be ours

// A snapshot: put and bad between begin and end; end treats what did not come as gone. One that fails is begun again.
void peer_table_snapshot_begin(struct peer_table *table);
void peer_table_snapshot_end(struct peer_table *table, bool store_changed);

// Removes those whose hold is over, some at a time. Returns when to call again (loop_now_ms clock; now_ms or before: there are more),
// or UINT64_MAX.
uint64_t peer_table_expire(struct peer_table *table, uint64_t now_ms);

const struct lease_set *peer_table_good(const struct peer_table *table);
size_t peer_table_count(const struct peer_table *table, enum fabric_peer_state state);
void peer_table_odd_each(const struct peer_table *table, fabric_odd_fn *fn, void *arg);
// Any lease of the store, good or rejected, that overlaps; NULL if none. For choosing our own subnet.
const struct lease *peer_table_find_overlap(const struct peer_table *table,
					    const struct subnet *subnet);
bool peer_table_has_v4(const struct peer_table *table);

// For choosing a subnet among many: what cannot be told from an index, gathered once.
struct occupied {
	struct subnet *list; // caller frees
	size_t count;
};
void peer_table_occupied(const struct peer_table *table, struct occupied *ret);
bool peer_table_is_free(const struct peer_table *table, const struct occupied *occupied,
			const struct subnet *subnet);

// Why this lease cannot be a peer in this network, by itself and beside our own lease; NULL: it can. buf holds the words.
const char *peer_judge(const struct netconf *conf, const struct subnet *own,
		       const struct lease_attrs *own_attrs, const struct lease *lease, char *buf,
		       size_t size);
