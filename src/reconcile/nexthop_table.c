// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: two open-addressed indexes, by gateway and by id, over one array of slots.
#include "reconcile/nexthop_table.h"

#include "core/hash.h"
#include "core/mem.h"

#include <string.h>

struct slot {
	struct ip gateway; // family 0: free
	uint32_t ifindex;
	uint32_t id;
};

struct nexthop_table {
	struct slot *slots;
	uint32_t *by_gateway; // slot number + 1, 0 empty
	uint32_t *by_id;
	size_t used;	 // slots ever used, freed ones included
	size_t live;
	size_t capacity; // of slots; both indexes have twice as many places
};

struct nexthop_table *nexthop_table_new(void)
{
	struct nexthop_table *table = xnew(struct nexthop_table);
	table->capacity = 64;
	table->slots = xnew0_array(struct slot, table->capacity);
	table->by_gateway = xnew0_array(uint32_t, table->capacity * 2);
	table->by_id = xnew0_array(uint32_t, table->capacity * 2);
	return table;
}

struct nexthop_table *nexthop_table_free(struct nexthop_table *table)
{
	if (table) {
		free(table->slots);
		free(table->by_gateway);
		free(table->by_id);
		free(table);
	}
	return NULL;
}

size_t nexthop_table_count(const struct nexthop_table *table)
{
	return table->live;
}

static size_t gateway_hash(const struct ip *gateway, uint32_t ifindex)
{
	uint8_t seed[sizeof(*gateway) + sizeof(ifindex)];
	memcpy(seed, gateway, sizeof(*gateway));
	memcpy(seed + sizeof(*gateway), &ifindex, sizeof(ifindex));
	return (size_t)hash_stable(seed, sizeof(seed));
}

static uint32_t *place_by_gateway(const struct nexthop_table *table, const struct ip *gateway, uint32_t ifindex)
{
	size_t mask = table->capacity * 2 - 1;
	for (size_t i = gateway_hash(gateway, ifindex) & mask;; i = (i + 1) & mask) {
		uint32_t number = table->by_gateway[i];
		if (number == 0)
			return &table->by_gateway[i];
		const struct slot *slot = &table->slots[number - 1];
		if (slot->ifindex == ifindex && ip_equal(&slot->gateway, gateway))
			return &table->by_gateway[i];
	}
}

static uint32_t *place_by_id(const struct nexthop_table *table, uint32_t id)
{
	size_t mask = table->capacity * 2 - 1;
	for (size_t i = (size_t)hash_stable(&id, sizeof(id)) & mask;; i = (i + 1) & mask) {
		uint32_t number = table->by_id[i];
		if (number == 0 || table->slots[number - 1].id == id)
			return &table->by_id[i];
	}
}

// Removal leaves dead slots (id 0) that stay findable by nobody; a rebuild drops them.
static void rebuild(struct nexthop_table *table, size_t capacity)
{
	struct nexthop_table old = *table;
	table->capacity = capacity;
	table->slots = xnew0_array(struct slot, capacity);
	table->by_gateway = xnew0_array(uint32_t, capacity * 2);
	table->by_id = xnew0_array(uint32_t, capacity * 2);
	table->used = 0;
	for (size_t i = 0; i < old.used; i++) {
		if (old.slots[i].id == 0)
			continue;
		table->slots[table->used++] = old.slots[i];
		*place_by_gateway(table, &old.slots[i].gateway, old.slots[i].ifindex) = (uint32_t)table->used;
		*place_by_id(table, old.slots[i].id) = (uint32_t)table->used;
	}
	free(old.slots);
	free(old.by_gateway);
	free(old.by_id);
}

static void insert(struct nexthop_table *table, const struct ip *gateway, uint32_t ifindex, uint32_t id)
{
	if (table->used == table->capacity)
		rebuild(table, table->live * 2 > table->capacity ? table->capacity * 2 : table->capacity);
	table->slots[table->used++] = (struct slot){.gateway = *gateway, .ifindex = ifindex, .id = id};
	table->live++;
	*place_by_gateway(table, gateway, ifindex) = (uint32_t)table->used;
	*place_by_id(table, id) = (uint32_t)table->used;
}

bool nexthop_table_adopt(struct nexthop_table *table, const struct ip *gateway, uint32_t ifindex, uint32_t id)
{
	uint32_t known = nexthop_table_find(table, gateway, ifindex);
	if (known != 0)
		return known == id;
	if (!nexthop_id_is_ours(id) || *place_by_id(table, id) != 0)
		return false;
	insert(table, gateway, ifindex, id);
	return true;
}

uint32_t nexthop_table_find(const struct nexthop_table *table, const struct ip *gateway, uint32_t ifindex)
{
	uint32_t number = *place_by_gateway(table, gateway, ifindex);
	return number == 0 ? 0 : table->slots[number - 1].id;
}

uint32_t nexthop_table_id(struct nexthop_table *table, const struct ip *gateway, uint32_t ifindex)
{
	uint32_t known = nexthop_table_find(table, gateway, ifindex);
	if (known != 0)
		return known;
	const uint32_t range = NEXTHOP_ID_LAST - NEXTHOP_ID_FIRST + 1;
	if (table->live >= range / 2)
		return 0;
	// The same gateway tends to get the same id on every start, which makes two listings comparable.
	uint32_t id = NEXTHOP_ID_FIRST + (uint32_t)(gateway_hash(gateway, 0) % range);
	while (*place_by_id(table, id) != 0)
		id = id == NEXTHOP_ID_LAST ? NEXTHOP_ID_FIRST : id + 1;
	insert(table, gateway, ifindex, id);
	return id;
}

void nexthop_table_remove(struct nexthop_table *table, uint32_t id)
{
	if (id == 0)
		return;
	uint32_t number = *place_by_id(table, id);
	if (number == 0)
		return;
	// A dead slot keeps its gateway out of reach: family 0 equals no gateway that is looked up.
	table->slots[number - 1] = (struct slot){0};
	table->live--;
	if (table->live == 0)
		rebuild(table, 64);
}

void nexthop_table_forget_device(struct nexthop_table *table, uint32_t ifindex)
{
	for (size_t i = 0; i < table->used; i++) {
		if (table->slots[i].id != 0 && table->slots[i].ifindex == ifindex) {
			table->slots[i] = (struct slot){0};
			table->live--;
		}
	}
	rebuild(table, table->capacity);
}
