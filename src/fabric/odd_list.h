// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the store has under the leases that is not used, with the reasons; bounded, because anybody may write there.
#pragma once

#include "core/lease.h"

#define ODD_MAX 1024 // kept with their reasons; more are only counted

enum odd_kind {
	ODD_UNREADABLE, // the key or the value is none of a lease's
	ODD_RULE,	// breaks a rule by itself, or beside our own lease
	ODD_RIVAL,	// would be good, but for another peer that has its subnet or address
};

struct odd {
	enum odd_kind kind;
	bool has_subnet;
	bool is_usual;	    // the key is the one under which that subnet's lease belongs
	struct lease lease; // unreadable: only the subnet, if that
	char *key;
	char *why;
	uint32_t generation; // of the snapshot that last had it
};

struct odd_list {
	struct odd *odds;
	size_t count;
	size_t capacity;
	size_t uncounted; // beyond ODD_MAX
};

void odd_list_clear(struct odd_list *list); // leaves it zero
struct odd *odd_list_find(const struct odd_list *list, const struct subnet *subnet); // at its usual key
struct odd *odd_list_find_key(const struct odd_list *list, const char *key);
void odd_list_remove(struct odd_list *list,
		     struct odd *odd); // NULL: nothing. Moves another one into its place.
// Takes over what lease owns. One of the same subnet is replaced. True: there is no such one with that reason yet, so it is worth a log line.
bool odd_list_put(struct odd_list *list, enum odd_kind kind, struct lease *lease, const char *why,
		  uint32_t generation);
// subnet NULL: the key says none.
bool odd_list_put_unreadable(struct odd_list *list, const char *key, const struct subnet *subnet,
			     int64_t mod_revision, const char *why, uint32_t generation);
// Oldest first, so that of several that wait for the same the first one gets it.
void odd_list_sort(struct odd_list *list);
