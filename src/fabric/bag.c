// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the bag: open addressing; an entry with count 0 is a gap that searches pass over and rebuilding drops.
#include "fabric/bag.h"

#include "core/mem.h"

#include <assert.h>

struct entry {
	uint64_t key; // 0: never used
	uint64_t count;
};

struct bag {
	struct entry *entries;
	size_t capacity; // power of two
	size_t used;	 // gaps included
	size_t live;
};

struct bag *bag_new(void)
{
	struct bag *bag = xnew(struct bag);
	bag->capacity = 64;
	bag->entries = xnew0_array(struct entry, bag->capacity);
	return bag;
}

struct bag *bag_free(struct bag *bag)
{
	if (bag) {
		free(bag->entries);
		free(bag);
	}
	return NULL;
}

static struct entry *find(const struct bag *bag, uint64_t key)
{
	size_t mask = bag->capacity - 1;
	size_t i = (size_t)key & mask;
	while (bag->entries[i].key != 0 && bag->entries[i].key != key)
		i = (i + 1) & mask;
	return &bag->entries[i];
}

static uint64_t usable(uint64_t key)
{
	return key == 0 ? 1 : key;
}

static void rebuild(struct bag *bag)
{
	struct bag old = *bag;
	bag->capacity = old.live * 4 > old.capacity ? old.capacity * 2 : old.capacity;
	bag->entries = xnew0_array(struct entry, bag->capacity);
	bag->used = bag->live;
	for (size_t i = 0; i < old.capacity; i++)
		if (old.entries[i].count > 0)
			*find(bag, old.entries[i].key) = old.entries[i];
	free(old.entries);
}

void bag_add(struct bag *bag, uint64_t key)
{
	key = usable(key);
	if ((bag->used + 1) * 2 > bag->capacity)
		rebuild(bag);
	struct entry *entry = find(bag, key);
	bag->used += entry->key == 0;
	bag->live += entry->count == 0;
	entry->key = key;
	entry->count++;
}

void bag_remove(struct bag *bag, uint64_t key)
{
	struct entry *entry = find(bag, usable(key));
	assert(entry->count > 0);
	entry->count--;
	bag->live -= entry->count == 0;
}

bool bag_has(const struct bag *bag, uint64_t key)
{
	return find(bag, usable(key))->count > 0;
}
