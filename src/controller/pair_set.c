// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: pairs in the order of their keys, of which many readers keep a view while it changes.
#include "controller/pair_set.h"

#include "core/mem.h"
#include "store/wire.h"

#include <string.h>

#define LEAF_PAIRS 64

struct leaf {
	unsigned int references;
	size_t count; // never 0
	struct pair *pairs[LEAF_PAIRS];
};

struct pair_set {
	unsigned int references;
	size_t count;
	size_t leaf_count;
	size_t leaf_capacity;
	struct leaf **leaves;
};

// ---- pairs ----

struct pair *pair_new(const struct kv_pair *from)
{
	size_t value_len = from->value ? from->value_len : 0;
	struct pair *pair = xcalloc(1, sizeof(*pair) + from->raw_key_len + 1 + value_len);

	pair->references = 1;
	pair->create_revision = from->create_revision;
	pair->mod_revision = from->mod_revision;
	pair->session = from->session;
	pair->key_len = from->raw_key_len;
	pair->value_len = from->value_len;
	pair->has_value = from->value != NULL;
	memcpy(pair->bytes, from->raw_key, from->raw_key_len);
	if (value_len > 0)
		memcpy(pair->bytes + from->raw_key_len + 1, from->value, value_len);
	return pair;
}

struct pair *pair_ref(struct pair *pair)
{
	pair->references++;
	return pair;
}

struct pair *pair_unref(struct pair *pair)
{
	if (pair && --pair->references == 0) {
		free(pair->text);
		free(pair);
	}
	return NULL;
}

bool pair_starts_with(const struct pair *pair, const char *prefix, size_t len)
{
	return pair->key_len >= len && memcmp(pair->bytes, prefix, len) == 0;
}

const char *pair_text(struct pair *pair, size_t *ret_len)
{
	const struct kv_pair view = {
		.raw_key = pair->bytes,
		.raw_key_len = pair->key_len,
		.value = pair->has_value ? pair->bytes + pair->key_len + 1 : NULL,
		.value_len = pair->value_len,
		.create_revision = pair->create_revision,
		.mod_revision = pair->mod_revision,
		.session = pair->session,
	};

	if (!pair->text) {
		pair->text = wire_pair_text(&view);
		pair->text_len = strlen(pair->text);
	}
	*ret_len = pair->text_len;
	return pair->text;
}

static int compare_key(const struct pair *pair, const char *key, size_t len)
{
	size_t shorter = pair->key_len < len ? pair->key_len : len;
	int order = memcmp(pair->bytes, key, shorter);

	if (order != 0)
		return order;
	return (pair->key_len > len) - (pair->key_len < len);
}

// ---- leaves ----

static struct leaf *leaf_unref(struct leaf *leaf)
{
	if (--leaf->references > 0)
		return NULL;
	for (size_t i = 0; i < leaf->count; i++)
		pair_unref(leaf->pairs[i]);
	free(leaf);
	return NULL;
}

static struct leaf *leaf_new(struct pair *const *pairs, size_t count)
{
	struct leaf *leaf = xnew(struct leaf);

	leaf->references = 1;
	leaf->count = count;
	for (size_t i = 0; i < count; i++)
		leaf->pairs[i] = pair_ref(pairs[i]);
	return leaf;
}

// The leaf, of which nobody else has a view.
static struct leaf *leaf_own(struct pair_set *set, size_t index)
{
	struct leaf *leaf = set->leaves[index];

	if (leaf->references > 1) {
		set->leaves[index] = leaf_new(leaf->pairs, leaf->count);
		leaf_unref(leaf);
	}
	return set->leaves[index];
}

static void insert_leaf(struct pair_set *set, size_t index, struct leaf *leaf)
{
	if (set->leaf_count == set->leaf_capacity) {
		set->leaf_capacity = set->leaf_capacity ? set->leaf_capacity * 2 : 8;
		set->leaves = xrealloc_array(set->leaves, set->leaf_capacity, sizeof(struct leaf *));
	}
	memmove(&set->leaves[index + 1], &set->leaves[index],
		(set->leaf_count - index) * sizeof(struct leaf *));
	set->leaves[index] = leaf;
	set->leaf_count++;
}

// ---- the set ----

struct pair_set *pair_set_new(void)
{
	struct pair_set *set = xnew(struct pair_set);

	set->references = 1;
	return set;
}

struct pair_set *pair_set_ref(struct pair_set *set)
{
	set->references++;
	return set;
}

struct pair_set *pair_set_unref(struct pair_set *set)
{
	if (!set || --set->references > 0)
		return NULL;
	for (size_t i = 0; i < set->leaf_count; i++)
		leaf_unref(set->leaves[i]);
	free(set->leaves);
	free(set);
	return NULL;
}

static struct pair_set *set_own(struct pair_set **set)
{
	struct pair_set *old = *set;
	struct pair_set *copy;

	if (old->references == 1)
		return old;
	copy = pair_set_new();
	copy->count = old->count;
	copy->leaf_count = copy->leaf_capacity = old->leaf_count;
	copy->leaves = xrealloc_array(NULL, old->leaf_count, sizeof(struct leaf *));
	for (size_t i = 0; i < old->leaf_count; i++) {
		old->leaves[i]->references++;
		copy->leaves[i] = old->leaves[i];
	}
	pair_set_unref(old);
	*set = copy;
	return copy;
}

// Where the key is, or would be: in the last leaf that does not begin behind it.
static struct pair_position find_place(const struct pair_set *set, const char *key, size_t len,
				       bool *ret_found)
{
	struct pair_position place = { 0 };
	size_t low = 0, high = set->leaf_count;
	const struct leaf *leaf;

	*ret_found = false;
	if (set->leaf_count == 0)
		return place;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (compare_key(set->leaves[middle]->pairs[0], key, len) <= 0)
			low = middle;
		else
			high = middle;
	}
	place.leaf = low;
	leaf = set->leaves[low];
	low = 0;
	high = leaf->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare_key(leaf->pairs[middle], key, len);

		if (order == 0)
			*ret_found = true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	place.slot = low;
	return place;
}

// A full leaf becomes two; the one at the end stays full, for a set is loaded in order.
static void split(struct pair_set *set, struct pair_position *place)
{
	struct leaf *leaf = leaf_own(set, place->leaf);
	bool at_end = place->leaf + 1 == set->leaf_count && place->slot == leaf->count;
	size_t kept = at_end ? leaf->count - 1 : leaf->count / 2;

	insert_leaf(set, place->leaf + 1, leaf_new(&leaf->pairs[kept], leaf->count - kept));
	while (leaf->count > kept)
		pair_unref(leaf->pairs[--leaf->count]);
	if (place->slot > kept) {
		place->leaf++;
		place->slot -= kept;
	}
}

void pair_set_put(struct pair_set **ref, struct pair *pair)
{
	struct pair_set *set = set_own(ref);
	bool found;
	struct pair_position place = find_place(set, pair->bytes, pair->key_len, &found);
	struct leaf *leaf;

	if (found) {
		leaf = leaf_own(set, place.leaf);
		pair_unref(leaf->pairs[place.slot]);
		leaf->pairs[place.slot] = pair_ref(pair);
		return;
	}
	set->count++;
	if (set->leaf_count == 0) {
		insert_leaf(set, 0, leaf_new(&pair, 1));
		return;
	}
	if (set->leaves[place.leaf]->count == LEAF_PAIRS)
		split(set, &place);
	leaf = leaf_own(set, place.leaf);
	memmove(&leaf->pairs[place.slot + 1], &leaf->pairs[place.slot],
		(leaf->count - place.slot) * sizeof(struct pair *));
	leaf->pairs[place.slot] = pair_ref(pair);
	leaf->count++;
}

bool pair_set_remove(struct pair_set **ref, const char *key, size_t len)
{
	bool found;
	struct pair_position place = find_place(*ref, key, len, &found);
	struct pair_set *set;
	struct leaf *leaf;

	if (!found)
		return false;
	set = set_own(ref);
	set->count--;
	leaf = leaf_own(set, place.leaf);
	pair_unref(leaf->pairs[place.slot]);
	leaf->count--;
	memmove(&leaf->pairs[place.slot], &leaf->pairs[place.slot + 1],
		(leaf->count - place.slot) * sizeof(struct pair *));
	if (leaf->count > 0)
		return true;
	leaf_unref(leaf);
	set->leaf_count--;
	memmove(&set->leaves[place.leaf], &set->leaves[place.leaf + 1],
		(set->leaf_count - place.leaf) * sizeof(struct leaf *));
	return true;
}

size_t pair_set_count(const struct pair_set *set)
{
	return set->count;
}

struct pair *pair_set_find(const struct pair_set *set, const char *key, size_t len)
{
	bool found;
	struct pair_position place = find_place(set, key, len, &found);

	return found ? set->leaves[place.leaf]->pairs[place.slot] : NULL;
}

struct pair_position pair_set_seek(const struct pair_set *set, const char *key, size_t len)
{
	bool found;

	return find_place(set, key, len, &found);
}

struct pair *pair_set_next(const struct pair_set *set, struct pair_position *position)
{
	if (position->leaf < set->leaf_count && position->slot == set->leaves[position->leaf]->count)
		*position = (struct pair_position){ .leaf = position->leaf + 1 };
	if (position->leaf >= set->leaf_count)
		return NULL;
	return set->leaves[position->leaf]->pairs[position->slot++];
}
