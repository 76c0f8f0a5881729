// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what others may ask the table of peers.
#include "fabric/peer_table_internal.h"

#include "core/mem.h"

const struct lease_set *peer_table_good(const struct peer_table *table)
{
	return table->good;
}

size_t peer_table_count(const struct peer_table *table, enum fabric_peer_state state)
{
	switch (state) {
	case FABRIC_PEER_GOOD:
		return lease_set_count(table->good) - table->held;
	case FABRIC_PEER_HELD:
		return table->held;
	case FABRIC_PEER_REJECTED:
		return table->odd.count + table->odd.uncounted;
	case FABRIC_PEER_STATE_COUNT:
		break;
	}
	return 0;
}

void peer_table_odd_each(const struct peer_table *table, fabric_odd_fn *fn, void *arg)
{
	const struct lease *lease;
	char key[LEASE_KEY_MAX];
	size_t position = 0;

	for (size_t i = 0; i < table->odd.count; i++) {
		const struct odd *odd = &table->odd.odds[i];

		fn(arg, FABRIC_PEER_REJECTED, odd->key, odd->has_subnet ? &odd->lease : NULL, odd->why);
	}
	while (table->held > 0 && (lease = lease_set_next(table->good, &position))) {
		if (!peer_is_held(lease))
			continue;
		subnet_format_key(&lease->subnet, key);
		fn(arg, FABRIC_PEER_HELD, key, lease, "gone from the store, kept for a while");
	}
}

// A key that claims the whole network, or something outside it, must not keep others from their subnets.
static bool takes_room(const struct peer_table *table, const struct odd *odd)
{
	const struct subnet *subnet = &odd->lease.subnet;
	const struct ipnet *v4 = &table->conf.v4.network, *v6 = &table->conf.v6.network;

	if (!odd->has_subnet || !table->has_rules ||
	    (table->has_own && subnet_equal(&table->own, subnet)))
		return false;
	return (subnet->v4.len > v4->len && ipnet_contains_net(v4, &subnet->v4)) ||
	       (subnet->v6.len > v6->len && ipnet_contains_net(v6, &subnet->v6));
}

const struct lease *peer_table_find_overlap(const struct peer_table *table, const struct subnet *subnet)
{
	for (size_t i = 0; i < table->odd.count; i++)
		if (takes_room(table, &table->odd.odds[i]) &&
		    subnet_overlaps(&table->odd.odds[i].lease.subnet, subnet))
			return &table->odd.odds[i].lease;
	return peer_find_overlap(table, subnet);
}

bool peer_table_has_v4(const struct peer_table *table)
{
	for (size_t i = 0; i < table->odd.count; i++)
		if (table->odd.odds[i].has_subnet && ipnet_is_set(&table->odd.odds[i].lease.subnet.v4))
			return true;
	return lease_index_count(table->index[LEASE_INDEX_V4]) > 0;
}

void peer_table_occupied(const struct peer_table *table, struct occupied *ret)
{
	ret->list = xnew0_array(struct subnet, table->odd.count + 1);
	ret->count = 0;
	for (size_t i = 0; i < table->odd.count; i++)
		if (takes_room(table, &table->odd.odds[i]))
			ret->list[ret->count++] = table->odd.odds[i].lease.subnet;
}

bool peer_table_is_free(const struct peer_table *table, const struct occupied *occupied,
			const struct subnet *subnet)
{
	for (size_t i = 0; i < occupied->count; i++)
		if (subnet_overlaps(&occupied->list[i], subnet))
			return false;
	return !peer_find_overlap(table, subnet);
}
