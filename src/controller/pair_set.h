// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: pairs in the order of their keys, of which many readers keep a view while it changes.
//
// DOC: views
//
// A set and its leaves are shared by reference: who takes a reference has a view that never changes,
// for the price of a counter. A change copies what is shared on its way, which is the list of leaves
// and one leaf of LEAF_PAIRS pointers; the pairs themselves are never copied. So that thousands of
// agents can be sent the set at once, each as it was when it asked, in little more memory than one.
#pragma once

#include "store/kv.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pair {
	unsigned int references;
	int64_t create_revision;
	int64_t mod_revision;
	int64_t session;
	char *text; // the pair as it is sent (wire.h), made when it is first asked for
	size_t text_len;
	size_t key_len;
	size_t value_len;
	bool has_value; // false: it is too large to be handed on, or the pair stands for a deletion
	char bytes[];	// the key, terminated, and the value
};

struct pair *pair_new(const struct kv_pair *from); // copies it
struct pair *pair_ref(struct pair *pair);
struct pair *pair_unref(struct pair *pair);					// NULL
bool pair_starts_with(const struct pair *pair, const char *prefix, size_t len); // its key
const char *pair_text(struct pair *pair, size_t *ret_len);

struct pair_set;
struct pair_set *pair_set_new(void);
struct pair_set *pair_set_ref(struct pair_set *set);
struct pair_set *pair_set_unref(struct pair_set *set); // NULL

// Both may replace *ref by a copy, if somebody else has a view of it.
void pair_set_put(struct pair_set **ref, struct pair *pair); // takes a reference of its own
bool pair_set_remove(struct pair_set **ref, const char *key, size_t len);

size_t pair_set_count(const struct pair_set *set);
struct pair *pair_set_find(const struct pair_set *set, const char *key, size_t len);

struct pair_position {
	size_t leaf;
	size_t slot;
};
// The first pair whose key is not before this one.
struct pair_position pair_set_seek(const struct pair_set *set, const char *key, size_t len);
// The pair at the position, which goes on to the next; NULL at the end.
struct pair *pair_set_next(const struct pair_set *set, struct pair_position *position);
