// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a store has below a prefix, and the last changes of it: one watch for all who want to know.
//
// DOC: what a mirror promises
//
// The pairs are those of the store at one revision, which never falls unless the store is another one.
// Of a revision that changed several keys they have all or nothing. Changes themselves are there as they
// come.
// Changes are numbered as they come and kept for a while, so that a reader goes on where it stopped, by
// number or, after it was away, by revision. When the mirror lost its own watch it reads everything
// again and tells the difference as changes: a reader sees each key's last state, and every deletion,
// as if nothing had been.
#pragma once

#include "controller/pair_set.h"
#include "core/err.h"

#define MIRROR_CHANGES_MAX 16384	    // kept; a power of two
#define MIRROR_BYTES_MAX (32 * 1024 * 1024) // that they may take, whatever their number

struct change {
	bool is_delete; // then the pair has a key and the deletion's mod_revision
	struct pair *pair;
};

struct mirror_hooks {
	void (*changed)(void *arg); // there are more changes, all of a revision, or the revision is higher
	void (*state)(void *arg); // mirror_is_up or mirror_pairs answers otherwise than before
	void (*replaced)(void *arg); // another store: changes from before are gone, revisions start anew
};

struct mirror;
// Borrows kv. All keys that start with prefix.
struct mirror *mirror_new(struct kv *kv, const char *prefix, const struct mirror_hooks *hooks,
			  void *arg);
struct mirror *mirror_free(struct mirror *mirror);

// NULL until everything was read once. Borrowed: take a reference to keep a view.
struct pair_set *mirror_pairs(const struct mirror *mirror);
// As of when the pairs are true. Not whole: there are changes of a later revision, and the rest of it is to come.
struct kv_header mirror_header(const struct mirror *mirror);
bool mirror_is_whole(const struct mirror *mirror);
// False: what is here may be out of date, and why.
bool mirror_is_up(const struct mirror *mirror, const struct err **ret_why);

// The number of the first change from this revision on, or of the one that comes next. False: changes
// since then are not kept any more.
bool mirror_find(const struct mirror *mirror, int64_t from, uint64_t *ret_number);
// NULL: there is none of this number yet. Not for numbers that mirror_has_dropped.
const struct change *mirror_change(const struct mirror *mirror, uint64_t number);
bool mirror_has_dropped(const struct mirror *mirror, uint64_t number);
