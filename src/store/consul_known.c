// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what has been told of the keys with a prefix.
#include "store/consul_known.h"

#include "core/mem.h"

#include <string.h>

struct consul_known *consul_known_new(const char *prefix)
{
	struct consul_known *known = xnew(struct consul_known);

	known->prefix = xstrdup(prefix);
	return known;
}

struct consul_known *consul_known_free(struct consul_known *known)
{
	size_t i;

	if (!known)
		return NULL;
	for (i = 0; i < known->count; i++)
		free(known->keys[i].key);
	free(known->keys);
	free(known->prefix);
	free(known);
	return NULL;
}

int consul_key_order(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

bool consul_known_has_prefix(const struct consul_known *known, const char *key, size_t len)
{
	size_t prefix_len = strlen(known->prefix);

	return len >= prefix_len && memcmp(key, known->prefix, prefix_len) == 0;
}

// Of the first that is not before the key.
static size_t find_place(const struct consul_known *known, const char *key, size_t len)
{
	size_t low = 0;
	size_t high = known->count;

	// They mostly come in their order.
	if (high > 0 &&
	    consul_key_order(known->keys[high - 1].key, known->keys[high - 1].len, key, len) < 0)
		return high;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct consul_known_key *at = &known->keys[middle];

		if (consul_key_order(at->key, at->len, key, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_at(const struct consul_known *known, size_t place, const char *key, size_t len)
{
	return place < known->count && known->keys[place].len == len &&
	       memcmp(known->keys[place].key, key, len) == 0;
}

struct consul_known_key *consul_known_find(const struct consul_known *known, const char *key, size_t len)
{
	size_t place = find_place(known, key, len);

	return is_at(known, place, key, len) ? &known->keys[place] : NULL;
}

struct consul_known_key *consul_known_add(struct consul_known *known, const char *key, size_t len,
					  int64_t since)
{
	size_t place = find_place(known, key, len);
	struct consul_known_key *at;

	if (!is_at(known, place, key, len)) {
		if (known->count == known->capacity) {
			known->capacity = known->capacity > 0 ? 2 * known->capacity : 8;
			known->keys =
				xrealloc_array(known->keys, known->capacity, sizeof(*known->keys));
		}
		memmove(&known->keys[place + 1], &known->keys[place],
			(known->count - place) * sizeof(*known->keys));
		known->keys[place] =
			(struct consul_known_key){ .key = xnew0_array(char, len + 1), .len = len };
		memcpy(known->keys[place].key, key, len);
		known->count++;
	}
	at = &known->keys[place];
	if (at->since < since)
		at->since = since;
	return at;
}
