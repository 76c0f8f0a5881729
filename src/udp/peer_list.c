// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the peers that weft-udp was told of, in the order of their subnets, from which tables are made.
#include "udp/peer_list.h"

#include "core/mem.h"

void peer_list_free(struct peer_list *list)
{
	free(list->items);
	*list = (struct peer_list){ 0 };
}

void peer_list_copy(const struct peer_list *from, struct peer_list *ret)
{
	*ret = (struct peer_list){ .count = from->count, .capacity = from->count };
	if (from->count > 0)
		ret->items = xmemdup(from->items, from->count * sizeof(from->items[0]));
}

// Where the subnet is, or would be.
static size_t place_of(const struct peer_list *list, const struct ipnet *subnet)
{
	size_t low = 0, high = list->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (ipnet_compare(&list->items[middle].subnet, subnet) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void peer_list_append(struct peer_list *list, const struct route_peer *peer)
{
	if (list->count == list->capacity) {
		list->capacity = list->capacity ? 2 * list->capacity : 64;
		list->items = xrealloc_array(list->items, list->capacity, sizeof(list->items[0]));
	}
	list->items[list->count++] = *peer;
}

void peer_list_apply(struct peer_list *list, const struct control_change *change)
{
	size_t at = place_of(list, &change->peer.subnet);
	bool there = at < list->count && ipnet_equal(&list->items[at].subnet, &change->peer.subnet);
	if (there && !change->remove) {
		list->items[at] = change->peer;
	} else if (there) {
		list->count--;
		memmove(&list->items[at], &list->items[at + 1],
			(list->count - at) * sizeof(list->items[0]));
	} else if (!change->remove) {
		peer_list_append(list, &change->peer);
		memmove(&list->items[at + 1], &list->items[at],
			(list->count - 1 - at) * sizeof(list->items[0]));
		list->items[at] = change->peer;
	}
}

static int compare(const void *a, const void *b)
{
	return ipnet_compare(&((const struct route_peer *)a)->subnet,
			     &((const struct route_peer *)b)->subnet);
}

void peer_list_sort(struct peer_list *list)
{
	if (list->count > 0)
		qsort(list->items, list->count, sizeof(list->items[0]), compare);
}
