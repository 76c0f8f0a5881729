// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the peers of one network that are probed, and whose turn it is.
//
// DOC: rounds
//
// The targets are one array, of which the first `turn` had their turn in this round. The next one is drawn among the rest and swapped to the
// border, so that a round is a random order without a list of its own; a new one is put behind the rest. The index has the position of each,
// by open addressing, at most half full.
#include "probe/target_table.h"

#include "core/hash.h"
#include "core/mem.h"
#include "io/loop.h"

#include <assert.h>
#include <string.h>

#define CAPACITY_FIRST 16

static_assert(sizeof(struct target) <= 64, "what a peer's measurements may cost");

const char *const probe_way_names[PROBE_WAY_COUNT] = {
	[PROBE_UNDERLAY] = "underlay",
	[PROBE_OVERLAY] = "overlay",
};

struct target_table {
	struct target *targets;
	size_t count;
	size_t capacity; // of targets
	size_t turn;
	uint64_t round;
	uint32_t *slots;   // position + 1, or 0
	size_t slot_count; // a power of two
};

struct target_key target_key_of(const struct subnet *subnet, int family)
{
	struct target_key key;

	memset(&key, 0, sizeof(key));
	if (ipnet_is_set(&subnet->v4)) {
		memcpy(key.v4, subnet->v4.addr.bytes, sizeof(key.v4));
		key.v4_len = subnet->v4.len & 0x7f;
	}
	if (ipnet_is_set(&subnet->v6)) {
		memcpy(key.v6, subnet->v6.addr.bytes, sizeof(key.v6));
		key.v6_len = subnet->v6.len;
	}
	key.is_v6 = family == AF_INET6;
	return key;
}

struct subnet target_key_subnet(const struct target_key *key)
{
	struct subnet subnet = { 0 };

	if (key->v4_len > 0)
		subnet.v4 = (struct ipnet){ ip_from_bytes(AF_INET, key->v4), key->v4_len };
	if (key->v6_len > 0)
		subnet.v6 = (struct ipnet){ ip_from_bytes(AF_INET6, key->v6), key->v6_len };
	return subnet;
}

int target_key_family(const struct target_key *key)
{
	return key->is_v6 ? AF_INET6 : AF_INET;
}

// ---- the index ----

static size_t home_slot(const struct target_table *table, const struct target_key *key)
{
	return hash_bytes(key, sizeof(*key)) & (table->slot_count - 1);
}

// Where the key is, or the free slot where it would be.
static size_t find_slot(const struct target_table *table, const struct target_key *key)
{
	size_t slot = home_slot(table, key);

	while (table->slots[slot] != 0 &&
	       memcmp(&table->targets[table->slots[slot] - 1].key, key, sizeof(*key)) != 0)
		slot = (slot + 1) & (table->slot_count - 1);
	return slot;
}

// Without a gap that a search would end at: what follows and may stand here moves up.
static void clear_slot(struct target_table *table, size_t slot)
{
	size_t mask = table->slot_count - 1;

	for (size_t next = (slot + 1) & mask; table->slots[next] != 0; next = (next + 1) & mask) {
		size_t home = home_slot(table, &table->targets[table->slots[next] - 1].key);

		if (((next - home) & mask) < ((next - slot) & mask))
			continue;
		table->slots[slot] = table->slots[next];
		slot = next;
	}
	table->slots[slot] = 0;
}

static void grow(struct target_table *table)
{
	table->capacity = table->capacity > 0 ? table->capacity + table->capacity / 2 : CAPACITY_FIRST;
	table->targets = xrealloc_array(table->targets, table->capacity, sizeof(*table->targets));
	if (table->slot_count >= 2 * table->capacity)
		return;
	free(table->slots);
	table->slot_count = table->slot_count > 0 ? 2 * table->slot_count : 2 * CAPACITY_FIRST;
	while (table->slot_count < 2 * table->capacity)
		table->slot_count *= 2;
	table->slots = xnew0_array(uint32_t, table->slot_count);
	for (size_t i = 0; i < table->count; i++)
		table->slots[find_slot(table, &table->targets[i].key)] = (uint32_t)i + 1;
}

static void swap(struct target_table *table, size_t a, size_t b)
{
	struct target kept = table->targets[a];
	size_t slot_a, slot_b;

	if (a == b)
		return;
	slot_a = find_slot(table, &table->targets[a].key);
	slot_b = find_slot(table, &table->targets[b].key);
	table->targets[a] = table->targets[b];
	table->targets[b] = kept;
	table->slots[slot_a] = (uint32_t)b + 1;
	table->slots[slot_b] = (uint32_t)a + 1;
}

// ---- the table ----

struct target_table *target_table_new(void)
{
	struct target_table *table = xnew(struct target_table);

	grow(table);
	return table;
}

struct target_table *target_table_free(struct target_table *table)
{
	if (!table)
		return NULL;
	free(table->targets);
	free(table->slots);
	free(table);
	return NULL;
}

size_t target_table_count(const struct target_table *table)
{
	return table->count;
}

struct target *target_table_find(const struct target_table *table, const struct target_key *key)
{
	uint32_t position = table->slots[find_slot(table, key)];

	return position > 0 ? &table->targets[position - 1] : NULL;
}

struct target *target_table_put(struct target_table *table, const struct target_key *key,
				bool *ret_is_new)
{
	struct target *target = target_table_find(table, key);

	if (ret_is_new)
		*ret_is_new = !target;
	if (target)
		return target;
	if (table->count == table->capacity)
		grow(table);
	target = &table->targets[table->count];
	*target = (struct target){ .key = *key };
	table->slots[find_slot(table, key)] = (uint32_t)++table->count;
	return target;
}

bool target_table_remove(struct target_table *table, const struct target_key *gone)
{
	const struct target_key copy = *gone, *key = &copy; // gone may be that of a target, which moves
	uint32_t found = table->slots[find_slot(table, key)];
	size_t position = (size_t)found - 1;

	if (found == 0)
		return false;
	// Through the border, so that nobody changes sides.
	if (position < table->turn) {
		swap(table, position, --table->turn);
		position = table->turn;
	}
	swap(table, position, table->count - 1);
	clear_slot(table, find_slot(table, key));
	table->count--;
	return true;
}

struct target *target_table_next(struct target_table *table, uint64_t *ret_round)
{
	if (table->count == 0)
		return NULL;
	if (table->turn == table->count) {
		table->turn = 0;
		table->round++;
	}
	swap(table, table->turn, table->turn + random_below(table->count - table->turn));
	*ret_round = table->round;
	return &table->targets[table->turn++];
}

struct target *target_table_at(const struct target_table *table, size_t position)
{
	return position < table->count ? &table->targets[position] : NULL;
}
