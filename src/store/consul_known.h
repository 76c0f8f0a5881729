// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what has been told of the keys with a prefix: a sorted set.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct consul_known_key {
	char *key; // raw, terminated
	size_t len;
	int64_t told; // mod_revision that the watch told; 0: none, though its owner may know of the key
	int64_t since; // it was there at this revision
};
struct consul_known {
	char *prefix;
	struct consul_known_key *keys; // in the order of their bytes
	size_t count;
	size_t capacity;
};

struct consul_known *consul_known_new(const char *prefix);
struct consul_known *consul_known_free(struct consul_known *known);
int consul_key_order(const char *a, size_t a_len, const char *b, size_t b_len);
bool consul_known_has_prefix(const struct consul_known *known, const char *key, size_t len);
// NULL: not there. Borrowed until the set changes.
struct consul_known_key *consul_known_find(const struct consul_known *known, const char *key,
					   size_t len);
// Of one that is there already, since only rises. Borrowed.
struct consul_known_key *consul_known_add(struct consul_known *known, const char *key, size_t len,
					  int64_t since);
