// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the table of scanned objects: open addressing, linear probing, grown by doubling.
#include "reconcile/have.h"

#include "core/hash.h"
#include "core/mem.h"

#include <assert.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

#define IP6_RT_PRIO_USER 1024 // what the kernel stores for an IPv6 route without a metric

struct have {
	struct have_entry *entries; // kind 0 with family 0 and no key is an empty slot: see slot_is_empty
	size_t capacity;	    // power of two
	size_t count;
	size_t of_kind[KERNEL_KIND_COUNT];
};

static bool slot_is_empty(const struct have_entry *entry)
{
	return entry->kind == KERNEL_LINK; // links are never stored, and the enum starts with them
}

static uint32_t route_metric(const struct route *route)
{
	return route->metric == 0 && route->dst.addr.family == AF_INET6 ? IP6_RT_PRIO_USER
									: route->metric;
}

static void entry_from_neigh(const struct neigh *neigh, struct have_entry *ret)
{
	ret->family = neigh->ip.family;
	ret->ifindex = neigh->ifindex;
	ret->foreign = !(neigh->state & NUD_PERMANENT);
	memcpy(ret->key, neigh->ip.bytes, sizeof(ret->key));
	memcpy(ret->value, neigh->mac.bytes, sizeof(neigh->mac.bytes));
}

static void entry_from_fdb(const struct fdb *fdb, struct have_entry *ret)
{
	ret->family = fdb->remote.family;
	ret->ifindex = fdb->ifindex;
	ret->foreign = fdb->other || !(fdb->state & NUD_PERMANENT);
	memcpy(ret->key, fdb->mac.bytes, sizeof(fdb->mac.bytes));
	memcpy(ret->value, fdb->remote.bytes, sizeof(ret->value));
}

static void entry_from_nexthop(const struct nexthop *nexthop, struct have_entry *ret)
{
	ret->family = nexthop->gateway.family;
	ret->ifindex = nexthop->ifindex;
	ret->number = nexthop->id;
	ret->protocol = nexthop->protocol;
	ret->onlink = nexthop->onlink;
	ret->foreign = nexthop->other;
	memcpy(ret->value, nexthop->gateway.bytes, sizeof(ret->value));
}

static void entry_from_route(const struct route *route, struct have_entry *ret)
{
	ret->family = route->dst.addr.family;
	ret->prefix_len = route->dst.len;
	ret->ifindex = route->ifindex;
	ret->number = route->nexthop_id;
	ret->metric = route_metric(route);
	ret->protocol = route->protocol;
	ret->onlink = route->onlink;
	ret->foreign = route->multipath || route->type != RTN_UNICAST;
	memcpy(ret->key, route->dst.addr.bytes, sizeof(ret->key));
	memcpy(ret->value, route->gateway.bytes, sizeof(ret->value));
}

static uint32_t hash32(const void *data, size_t len)
{
	return (uint32_t)hash_bytes(data, len);
}

// What a peer of WireGuard has does not fit, and is only compared: two numbers stand for it.
static void entry_from_wg_peer(const struct wg_peer *peer, struct have_entry *ret)
{
	static_assert(WG_KEY_BYTES == sizeof(ret->key) + sizeof(ret->value), "the key's halves");
	struct {
		struct ip ip;
		uint32_t len;
	} parts[WG_ALLOWED_MAX + 1];
	memset(parts, 0, sizeof(parts));
	for (size_t i = 0; i < peer->allowed_count; i++) {
		parts[i].ip = peer->allowed[i].addr;
		parts[i].len = peer->allowed[i].len;
	}
	parts[WG_ALLOWED_MAX].len = peer->keepalive_s;
	ret->ifindex = peer->ifindex;
	memcpy(ret->key, peer->public_key.bytes, sizeof(ret->key));
	memcpy(ret->value, peer->public_key.bytes + sizeof(ret->key), sizeof(ret->value));
	ret->number = hash32(parts, sizeof(parts));
	memset(parts, 0, sizeof(parts));
	parts[0].ip = peer->endpoint;
	parts[0].len = peer->port;
	ret->metric = hash32(parts, sizeof(parts[0]));
	ret->onlink = peer->alive;
	ret->foreign = peer->odd;
}

static bool entry_from_object(const struct kernel_object *object, struct have_entry *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->kind = (uint8_t)object->kind;
	switch (object->kind) {
	case KERNEL_NEIGH:
		entry_from_neigh(&object->neigh, ret);
		return true;
	case KERNEL_FDB:
		entry_from_fdb(&object->fdb, ret);
		return true;
	case KERNEL_NEXTHOP:
		entry_from_nexthop(&object->nexthop, ret);
		return true;
	case KERNEL_ROUTE:
		entry_from_route(&object->route, ret);
		return true;
	case KERNEL_WG_PEER:
		entry_from_wg_peer(&object->wg_peer, ret);
		return true;
	case KERNEL_LINK:
	case KERNEL_ADDR:
	case KERNEL_KIND_COUNT:
		break;
	}
	return false;
}

static bool same_key(const struct have_entry *a, const struct have_entry *b)
{
	if (a->kind != b->kind)
		return false;
	switch ((enum kernel_kind)a->kind) {
	case KERNEL_NEIGH:
		return a->ifindex == b->ifindex && a->family == b->family &&
		       memcmp(a->key, b->key, sizeof(a->key)) == 0;
	case KERNEL_FDB:
		return a->ifindex == b->ifindex && a->family == b->family &&
		       memcmp(a->key, b->key, sizeof(a->key)) == 0 &&
		       memcmp(a->value, b->value, sizeof(a->value)) == 0;
	case KERNEL_NEXTHOP:
		return a->number == b->number;
	case KERNEL_ROUTE:
		return a->family == b->family && a->prefix_len == b->prefix_len &&
		       a->metric == b->metric && memcmp(a->key, b->key, sizeof(a->key)) == 0;
	case KERNEL_WG_PEER:
		return a->ifindex == b->ifindex && memcmp(a->key, b->key, sizeof(a->key)) == 0 &&
		       memcmp(a->value, b->value, sizeof(a->value)) == 0;
	case KERNEL_LINK:
	case KERNEL_ADDR:
	case KERNEL_KIND_COUNT:
		break;
	}
	return false;
}

static size_t key_hash(const struct have_entry *entry)
{
	struct {
		uint8_t key[16];
		uint32_t number;
		uint8_t kind, family, prefix_len, zero;
	} seed = { .kind = entry->kind };
	if (entry->kind == KERNEL_NEXTHOP) {
		seed.number = entry->number;
	} else {
		memcpy(seed.key, entry->key, sizeof(seed.key));
		seed.family = entry->family;
		seed.prefix_len = entry->prefix_len;
	}
	return (size_t)hash_bytes(&seed, sizeof(seed));
}

struct have *have_new(size_t expected)
{
	struct have *have = xnew(struct have);
	have->capacity = 1024;
	while (have->capacity * 2 < expected * 3)
		have->capacity *= 2;
	have->entries = xnew0_array(struct have_entry, have->capacity);
	return have;
}

struct have *have_free(struct have *have)
{
	if (have) {
		free(have->entries);
		free(have);
	}
	return NULL;
}

size_t have_count(const struct have *have)
{
	return have->count;
}

static struct have_entry *find_slot(const struct have *have, const struct have_entry *wanted)
{
	size_t mask = have->capacity - 1;
	size_t i = key_hash(wanted) & mask;
	while (!slot_is_empty(&have->entries[i]) && !same_key(&have->entries[i], wanted))
		i = (i + 1) & mask;
	return &have->entries[i];
}

static void grow(struct have *have)
{
	struct have old = *have;
	have->capacity = old.capacity * 2;
	have->entries = xnew0_array(struct have_entry, have->capacity);
	for (size_t i = 0; i < old.capacity; i++)
		if (!slot_is_empty(&old.entries[i]))
			*find_slot(have, &old.entries[i]) = old.entries[i];
	free(old.entries);
}

struct have_entry *have_add(struct have *have, const struct kernel_object *object)
{
	struct have_entry entry;
	if ((object->kind == KERNEL_ROUTE && object->route.other) || !entry_from_object(object, &entry))
		return NULL;
	if (have->count * 3 >= have->capacity * 2)
		grow(have);
	struct have_entry *slot = find_slot(have, &entry);
	if (!slot_is_empty(slot))
		return slot;
	*slot = entry;
	have->count++;
	have->of_kind[entry.kind]++;
	return slot;
}

struct have_entry *have_find(const struct have *have, const struct kernel_object *object)
{
	struct have_entry wanted;
	// At a first start there is nothing to be found, and each look would miss the cache.
	if (have->of_kind[object->kind] == 0 || !entry_from_object(object, &wanted))
		return NULL;
	struct have_entry *slot = find_slot(have, &wanted);
	return slot_is_empty(slot) ? NULL : slot;
}

struct have_entry *have_find_other_remote(const struct have *have, const struct kernel_object *object)
{
	struct have_entry wanted, *found = NULL;
	size_t mask = have->capacity - 1;
	if (object->kind != KERNEL_FDB || have->of_kind[KERNEL_FDB] == 0 ||
	    !entry_from_object(object, &wanted))
		return NULL;
	// Only the MAC is hashed, so all of its entries are in one run.
	for (size_t i = key_hash(&wanted) & mask; !slot_is_empty(&have->entries[i]);
	     i = (i + 1) & mask) {
		struct have_entry *entry = &have->entries[i];
		if (entry->kind != KERNEL_FDB || entry->ifindex != wanted.ifindex ||
		    entry->family != wanted.family ||
		    memcmp(entry->key, wanted.key, sizeof(entry->key)) != 0 ||
		    same_key(entry, &wanted))
			continue;
		if (!found || entry->claimed)
			found = entry;
	}
	return found;
}

bool have_entry_equals(const struct have_entry *entry, const struct kernel_object *object)
{
	struct have_entry wanted;
	if (!entry_from_object(object, &wanted) || !same_key(entry, &wanted) || entry->foreign)
		return false;
	switch (object->kind) {
	case KERNEL_NEIGH:
		return memcmp(entry->value, wanted.value, sizeof(entry->value)) == 0;
	case KERNEL_FDB:
		return true;
	case KERNEL_NEXTHOP:
		return entry->protocol == wanted.protocol && entry->ifindex == wanted.ifindex &&
		       entry->family == wanted.family && entry->onlink == wanted.onlink &&
		       memcmp(entry->value, wanted.value, sizeof(entry->value)) == 0;
	case KERNEL_ROUTE:
		if (entry->protocol != wanted.protocol || entry->number != wanted.number)
			return false;
		// Over a nexthop object the rest is the object's.
		return wanted.number != 0 ||
		       (entry->ifindex == wanted.ifindex && entry->onlink == wanted.onlink &&
			memcmp(entry->value, wanted.value, sizeof(entry->value)) == 0);
	case KERNEL_WG_PEER:
		// Of a peer that is heard the device knows better where it is: behind a NAT, say.
		return entry->number == wanted.number &&
		       (entry->metric == wanted.metric || entry->onlink);
	case KERNEL_LINK:
	case KERNEL_ADDR:
	case KERNEL_KIND_COUNT:
		break;
	}
	return false;
}

void have_entry_claim(struct have_entry *entry, const struct kernel_object *object)
{
	struct have_entry wanted;
	if (!entry_from_object(object, &wanted))
		return;
	wanted.seen = wanted.claimed = true;
	wanted.moved = entry->moved;
	wanted.foreign = false;
	*entry = wanted;
}

void have_claim_new(struct have *have, const struct kernel_object *object)
{
	struct have_entry *entry = have_add(have, object);
	if (entry)
		entry->seen = entry->claimed = true;
}

bool object_same_key(const struct kernel_object *a, const struct kernel_object *b)
{
	struct have_entry x, y;
	return entry_from_object(a, &x) && entry_from_object(b, &y) && same_key(&x, &y);
}

bool object_equals(const struct kernel_object *a, const struct kernel_object *b)
{
	struct have_entry x;
	return entry_from_object(a, &x) && have_entry_equals(&x, b);
}

struct have_entry *have_next(const struct have *have, size_t *position)
{
	while (*position < have->capacity) {
		struct have_entry *entry = &have->entries[(*position)++];
		if (!slot_is_empty(entry))
			return entry;
	}
	return NULL;
}

void have_entry_object(const struct have_entry *entry, struct kernel_object *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->kind = (enum kernel_kind)entry->kind;
	static const uint8_t zero[sizeof(entry->value)];
	struct ip value = { 0 };
	if (memcmp(entry->value, zero, sizeof(zero)) != 0)
		value = ip_from_bytes(entry->family, entry->value);
	switch (ret->kind) {
	case KERNEL_NEIGH:
		ret->neigh = (struct neigh){ .ifindex = entry->ifindex,
					     .ip = ip_from_bytes(entry->family, entry->key),
					     .state = NUD_PERMANENT };
		memcpy(ret->neigh.mac.bytes, entry->value, sizeof(ret->neigh.mac.bytes));
		break;
	case KERNEL_FDB:
		ret->fdb = (struct fdb){ .ifindex = entry->ifindex,
					 .remote = value,
					 .state = NUD_PERMANENT };
		memcpy(ret->fdb.mac.bytes, entry->key, sizeof(ret->fdb.mac.bytes));
		break;
	case KERNEL_NEXTHOP:
		ret->nexthop = (struct nexthop){ .id = entry->number,
						 .ifindex = entry->ifindex,
						 .gateway = value,
						 .protocol = entry->protocol,
						 .onlink = entry->onlink };
		break;
	case KERNEL_ROUTE:
		ret->route = (struct route){ .dst = { .addr = ip_from_bytes(entry->family, entry->key),
						      .len = entry->prefix_len },
					     .table = RT_TABLE_MAIN,
					     .metric = entry->metric,
					     .nexthop_id = entry->number,
					     .gateway = value,
					     .ifindex = entry->ifindex,
					     .protocol = entry->protocol,
					     .scope = RT_SCOPE_NOWHERE, // a delete: of any scope
					     .type = RTN_UNICAST,
					     .onlink = entry->onlink };
		break;
	case KERNEL_WG_PEER:
		ret->wg_peer = (struct wg_peer){ .ifindex = entry->ifindex };
		memcpy(ret->wg_peer.public_key.bytes, entry->key, sizeof(entry->key));
		memcpy(ret->wg_peer.public_key.bytes + sizeof(entry->key), entry->value,
		       sizeof(entry->value));
		break;
	case KERNEL_LINK:
	case KERNEL_ADDR:
	case KERNEL_KIND_COUNT:
		break;
	}
}
