// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the peers of one network that are probed, 64 bytes each, and whose turn it is: each once a round, in an order that is another one every
// round and on every host, so that agents that started together do not ask one peer together.
#pragma once

#include "core/lease.h"
#include "probe/window.h"

enum probe_way { PROBE_UNDERLAY, PROBE_OVERLAY, PROBE_WAY_COUNT };
extern const char *const probe_way_names[PROBE_WAY_COUNT];

// One family of one peer, by its subnet. Compares by memcmp.
struct target_key {
	uint8_t v4[4];
	uint8_t v6[16];
	uint8_t v4_len : 7; // 0: none
	uint8_t is_v6 : 1;  // which family is probed
	uint8_t v6_len;	    // 0: none
};

#define TARGET_MTU_UNKNOWN 0
#define TARGET_MTU_UNMEASURABLE 1 // it answers, but nothing of the sizes asked

struct target {
	struct target_key key;
	uint16_t path_mtu_bytes : 15; // or one of these
	uint16_t is_mtu_told : 1;     // for whoever tells of it
	struct window ways[PROBE_WAY_COUNT];
};

struct target_key target_key_of(const struct subnet *subnet, int family);
struct subnet target_key_subnet(const struct target_key *key);
int target_key_family(const struct target_key *key);

struct target_table;
struct target_table *target_table_new(void);
struct target_table *target_table_free(struct target_table *table);
size_t target_table_count(const struct target_table *table);
// Borrowed: until the next put, remove or next. NULL if absent.
struct target *target_table_find(const struct target_table *table, const struct target_key *key);
// A new one has its turn in this round. ret_is_new may be NULL.
struct target *target_table_put(struct target_table *table, const struct target_key *key,
				bool *ret_is_new);
bool target_table_remove(struct target_table *table, const struct target_key *gone);
// Whose turn it is; NULL: there is none. ret_round: which round it is, from 0.
struct target *target_table_next(struct target_table *table, uint64_t *ret_round);
// All, in no order; NULL behind the last. Into the place of one that is removed comes one from behind it.
struct target *target_table_at(const struct target_table *table, size_t position);
