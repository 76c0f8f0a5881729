// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: two open-addressed indexes, by gateway and by id, over one array of slots.
#include "reconcile/nexthop_table.h"

#include "core/hash.h"
#include "core/mem.h"

#include <string.h>

#define CAPACITY_MIN 64u
// After so many ids that are taken the next one is drawn by lot, so that gateways chosen to collide gain nothing.
#define ID_PROBES 8
#define SMALLEST_SUBNET_BITS 2 // the address bits of a /30

struct slot {
	struct ip gateway; // family 0 and id 0: free; family 0: an id that is somebody else's
	bool used;	   // asked for since the last expiry
	uint32_t ifindex;
	uint32_t id;
};

struct nexthop_table {
	struct slot *slots;
	uint32_t *by_gateway; // slot number + 1, 0 empty
	uint32_t *by_id;
	size_t used; // slots ever used, freed ones included
	size_t live;
	size_t capacity; // of slots
	size_t places;	 // of each index: a power of two, at least a quarter more than slots
	uint32_t first;	 // of the ids
	uint32_t range;
};

static void allocate(struct nexthop_table *table, size_t capacity)
{
	table->capacity = capacity;
	table->places = CAPACITY_MIN * 2;
	while (table->places * 4 < capacity * 5)
		table->places *= 2;
	table->slots = xnew0_array(struct slot, capacity);
	table->by_gateway = xnew0_array(uint32_t, table->places);
	table->by_id = xnew0_array(uint32_t, table->places);
	table->used = 0;
}

struct nexthop_table *nexthop_table_new(void)
{
	struct nexthop_table *table = xnew(struct nexthop_table);
	allocate(table, CAPACITY_MIN);
	table->first = NEXTHOP_ID_FIRST;
	table->range = NEXTHOP_ID_LAST - NEXTHOP_ID_FIRST + 1;
	return table;
}

void nexthop_table_set_slot(struct nexthop_table *table, uint32_t slot)
{
	table->range = (NEXTHOP_ID_LAST - NEXTHOP_ID_FIRST + 1) / NEXTHOP_SLOTS;
	table->first = NEXTHOP_ID_FIRST + slot * table->range;
}

bool nexthop_table_has_id(const struct nexthop_table *table, uint32_t id)
{
	return id >= table->first && id - table->first < table->range;
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

struct gateway_key {
	uint8_t bytes[sizeof(struct ip) + sizeof(uint32_t)];
};

static struct gateway_key gateway_key(const struct ip *gateway, uint32_t ifindex)
{
	struct gateway_key key;
	memcpy(key.bytes, gateway, sizeof(*gateway));
	memcpy(key.bytes + sizeof(*gateway), &ifindex, sizeof(ifindex));
	return key;
}

static size_t gateway_hash(const struct ip *gateway, uint32_t ifindex)
{
	struct gateway_key key = gateway_key(gateway, ifindex);
	return (size_t)hash_bytes(&key, sizeof(key));
}

static size_t id_hash(uint32_t id)
{
	return (size_t)hash_bytes(&id, sizeof(id));
}

static uint32_t *place_by_gateway(const struct nexthop_table *table, const struct ip *gateway,
				  uint32_t ifindex)
{
	size_t mask = table->places - 1;
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
	size_t mask = table->places - 1;
	for (size_t i = id_hash(id) & mask;; i = (i + 1) & mask) {
		uint32_t number = table->by_id[i];
		if (number == 0 || table->slots[number - 1].id == id)
			return &table->by_id[i];
	}
}

static uint32_t *empty_place(const struct nexthop_table *table, uint32_t *index, size_t hash)
{
	size_t i = hash & (table->places - 1);
	while (index[i] != 0)
		i = (i + 1) & (table->places - 1);
	return &index[i];
}

// Neither its gateway nor its id is in the table: there is nothing to compare, and no other slot to be fetched.
static void index_slot(struct nexthop_table *table, size_t number)
{
	const struct slot *slot = &table->slots[number - 1];
	if (ip_is_set(&slot->gateway))
		*empty_place(table, table->by_gateway,
			     gateway_hash(&slot->gateway, slot->ifindex)) = (uint32_t)number;
	*empty_place(table, table->by_id, id_hash(slot->id)) = (uint32_t)number;
}

// Removal leaves dead slots (id 0) that stay findable by nobody; a rebuild drops them.
static void rebuild(struct nexthop_table *table, size_t capacity)
{
	struct nexthop_table old = *table;
	allocate(table, capacity < CAPACITY_MIN ? CAPACITY_MIN : capacity);
	for (size_t i = 0; i < old.used; i++) {
		if (old.slots[i].id == 0)
			continue;
		table->slots[table->used++] = old.slots[i];
		index_slot(table, table->used);
	}
	free(old.slots);
	free(old.by_gateway);
	free(old.by_id);
}

static void insert(struct nexthop_table *table, const struct ip *gateway, uint32_t ifindex,
		   uint32_t id, bool used)
{
	// By a quarter, not by doubling: a table of ten thousand is there for as long as the agent.
	if (table->used == table->capacity)
		rebuild(table, table->live + table->live / 4 + 1);
	table->slots[table->used++] =
		(struct slot){ .gateway = *gateway, .ifindex = ifindex, .id = id, .used = used };
	table->live++;
	index_slot(table, table->used);
}

static void shrink(struct nexthop_table *table)
{
	if (table->capacity > CAPACITY_MIN && table->live * 4 < table->capacity)
		rebuild(table, table->live * 2);
}

bool nexthop_table_adopt(struct nexthop_table *table, const struct ip *gateway, uint32_t ifindex,
			 uint32_t id)
{
	uint32_t number = *place_by_gateway(table, gateway, ifindex);
	if (number != 0) {
		table->slots[number - 1].used = true;
		return table->slots[number - 1].id == id;
	}
	if (!nexthop_table_has_id(table, id) || *place_by_id(table, id) != 0)
		return false;
	insert(table, gateway, ifindex, id, true);
	return true;
}

void nexthop_table_block(struct nexthop_table *table, uint32_t id)
{
	static const struct ip none;
	uint32_t number = *place_by_id(table, id);
	if (!nexthop_table_has_id(table, id) ||
	    (number != 0 && !ip_is_set(&table->slots[number - 1].gateway)))
		return;
	nexthop_table_remove(table, id);
	insert(table, &none, 0, id, true);
}

uint32_t nexthop_table_find(const struct nexthop_table *table, const struct ip *gateway,
			    uint32_t ifindex)
{
	uint32_t number = *place_by_gateway(table, gateway, ifindex);
	return number == 0 ? 0 : table->slots[number - 1].id;
}

// The same gateway tends to get the same id on every start, which makes two listings comparable. IPv4 gateways have them in their own
// order: the kernel keeps nexthops in a tree by id, and what comes in order finds its place there in the cache.
static uint32_t wish_of(const struct ip *gateway, uint32_t range)
{
	struct gateway_key key = gateway_key(gateway, 0);
	if (gateway->family == AF_INET)
		return (uint32_t)(ip_value(gateway) >> SMALLEST_SUBNET_BITS) % range;
	return (uint32_t)(hash_stable(&key, sizeof(key)) % range);
}

static uint32_t choose_id(const struct nexthop_table *table, const struct ip *gateway)
{
	const uint32_t range = table->range;
	uint32_t id = table->first + wish_of(gateway, range);
	for (uint32_t probes = 1; *place_by_id(table, id) != 0; probes++) {
		if (probes % ID_PROBES == 0) {
			struct gateway_key lot = gateway_key(gateway, probes);
			id = table->first + (uint32_t)(hash_bytes(&lot, sizeof(lot)) % range);
		} else {
			id = id == table->first + range - 1 ? table->first : id + 1;
		}
	}
	return id;
}

uint32_t nexthop_table_id(struct nexthop_table *table, const struct ip *gateway, uint32_t ifindex)
{
	uint32_t number = *place_by_gateway(table, gateway, ifindex);
	if (number != 0) {
		table->slots[number - 1].used = true;
		return table->slots[number - 1].id;
	}
	// With half of the range free an id is found soon.
	if (table->live >= table->range / 2)
		return 0;
	uint32_t id = choose_id(table, gateway);
	insert(table, gateway, ifindex, id, true);
	return id;
}

static void free_slot(struct nexthop_table *table, struct slot *slot)
{
	// A dead slot keeps its gateway out of reach: family 0 equals no gateway that is looked up.
	*slot = (struct slot){ 0 };
	table->live--;
}

void nexthop_table_remove(struct nexthop_table *table, uint32_t id)
{
	if (id == 0)
		return;
	uint32_t number = *place_by_id(table, id);
	if (number == 0)
		return;
	free_slot(table, &table->slots[number - 1]);
	shrink(table);
}

bool nexthop_table_has_device(const struct nexthop_table *table, uint32_t ifindex)
{
	for (size_t i = 0; i < table->used; i++)
		if (ip_is_set(&table->slots[i].gateway) && table->slots[i].ifindex == ifindex)
			return true;
	return false;
}

void nexthop_table_forget_device(struct nexthop_table *table, uint32_t ifindex)
{
	for (size_t i = 0; i < table->used; i++)
		if (ip_is_set(&table->slots[i].gateway) && table->slots[i].ifindex == ifindex)
			free_slot(table, &table->slots[i]);
	shrink(table);
}

void nexthop_table_expire(struct nexthop_table *table)
{
	for (size_t i = 0; i < table->used; i++) {
		struct slot *slot = &table->slots[i];
		if (slot->id != 0 && !slot->used)
			free_slot(table, slot);
		slot->used = false;
	}
	shrink(table);
}
