// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the peers: which leases of the store are good, which are rejected and why, and which are gone but held.
//
// DOC: one lease, one place
//
// A lease of the store that can be read is in `good` or in `odd` (rejected). A good one that vanished stays in `good` and has an entry in `odd`
// that says until when it is held. Every change of `good` is told once, by the change function. A rejected lease is judged anew when a
// lease that may have been in its way goes.
#pragma once

#include "core/lease_set.h"
#include "fabric/fabric.h"

#define ODD_MAX 1024 // rejected ones that are kept with their reasons; more are only counted

typedef void peer_change_fn(void *arg, const struct lease *old, const struct lease *now);

struct peer_table;
struct peer_table *peer_table_new(peer_change_fn *fn, void *arg);
struct peer_table *peer_table_free(struct peer_table *table);

// What peers are held against. Called again when it changes; the peers are judged anew.
void peer_table_set_rules(struct peer_table *table, const struct netconf *conf, const struct lease *own, const struct lease_attrs *own_attrs);
// Peers of an earlier life. Taken over; they count as good until the store says otherwise.
void peer_table_seed(struct peer_table *table, struct lease_set *peers);

void peer_table_put(struct peer_table *table, struct lease *lease); // takes over what lease owns
void peer_table_bad(struct peer_table *table, const struct registry_bad *bad);
void peer_table_bad_gone(struct peer_table *table, const char *key);
void peer_table_gone(struct peer_table *table, const struct subnet *subnet, uint64_t hold_ms);

// A snapshot: put and bad between begin and end; end treats what did not come as gone. hold_ms: as usual; careful_ms: when more than half vanish.
void peer_table_snapshot_begin(struct peer_table *table);
void peer_table_snapshot_end(struct peer_table *table, uint64_t hold_ms, uint64_t careful_ms);

// Removes those whose hold is over. Returns when to call again (loop_now_ms clock), or UINT64_MAX.
uint64_t peer_table_expire(struct peer_table *table, uint64_t now_ms);

const struct lease_set *peer_table_good(const struct peer_table *table);
size_t peer_table_count(const struct peer_table *table, enum fabric_peer_state state);
void peer_table_odd_each(const struct peer_table *table, fabric_odd_fn *fn, void *arg);
// Any lease of the store, good or rejected, that overlaps; NULL if none. For choosing our own subnet.
const struct lease *peer_table_find_overlap(const struct peer_table *table, const struct subnet *subnet);
// A lease with this public address other than our own subnet's.
const struct lease *peer_table_find_public_ip(const struct peer_table *table, const struct ip *ip);
bool peer_table_has_v4(const struct peer_table *table);

// For choosing a subnet among many: what cannot be told from an index, gathered once.
struct occupied {
	struct subnet *list; // caller frees
	size_t count;
};
void peer_table_occupied(const struct peer_table *table, struct occupied *ret);
bool peer_table_is_free(const struct peer_table *table, const struct occupied *occupied, const struct subnet *subnet);

// Why this lease cannot be a peer in this network, by itself and beside our own lease; NULL: it can. buf holds the words.
const char *peer_judge(const struct netconf *conf, const struct lease *own, const struct lease_attrs *own_attrs, const struct lease *lease,
		       char *buf, size_t size);
