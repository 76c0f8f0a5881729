// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the peers that weft-udp was told of, in the order of their subnets, from which tables are made.
#pragma once

#include "udp/control.h"

struct peer_list {
	struct route_peer *items;
	size_t count, capacity;
};

void peer_list_free(struct peer_list *list); // leaves it empty
void peer_list_copy(const struct peer_list *from, struct peer_list *ret);
// A peer with the same subnet is replaced; removing what is not there is nothing.
void peer_list_apply(struct peer_list *list, const struct control_change *change);
// At the end, whatever the order: for whole sets. peer_list_sort comes before the next peer_list_apply.
void peer_list_append(struct peer_list *list, const struct route_peer *peer);
void peer_list_sort(struct peer_list *list);
