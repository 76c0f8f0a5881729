// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: building wanted objects with the attributes that all of ours share.
#include "reconcile/wanted.h"

#include <assert.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

struct kernel_object *wanted_add(struct wanted *wanted, enum kernel_kind kind)
{
	assert(wanted->count < WANTED_OBJECTS_MAX);
	struct kernel_object *object = &wanted->objects[wanted->count++];
	memset(object, 0, sizeof(*object));
	object->kind = kind;
	return object;
}

void wanted_add_neigh(struct wanted *wanted, uint32_t ifindex, const struct ip *ip,
		      const struct mac *mac)
{
	wanted_add(wanted, KERNEL_NEIGH)->neigh =
		(struct neigh){ .ifindex = ifindex, .ip = *ip, .mac = *mac, .state = NUD_PERMANENT };
}

void wanted_add_fdb(struct wanted *wanted, uint32_t ifindex, const struct mac *mac,
		    const struct ip *remote)
{
	wanted_add(wanted, KERNEL_FDB)->fdb = (struct fdb){
		.ifindex = ifindex, .mac = *mac, .remote = *remote, .state = NUD_PERMANENT
	};
}

void wanted_add_route(struct wanted *wanted, const struct ipnet *dst, const struct ip *gateway,
		      uint32_t ifindex, bool onlink)
{
	wanted_add(wanted, KERNEL_ROUTE)->route = (struct route){
		.dst = *dst,
		.table = RT_TABLE_MAIN,
		.gateway = *gateway,
		.ifindex = ifindex,
		.protocol = KERNEL_PROTOCOL_WEFT,
		.scope = RT_SCOPE_UNIVERSE,
		.type = RTN_UNICAST,
		.onlink = onlink,
	};
}

void wanted_add_wg_peer(struct wanted *wanted, const struct wg_peer *peer)
{
	wanted_add(wanted, KERNEL_WG_PEER)->wg_peer = *peer;
}

void wanted_network_route(const struct wanted_device *device, uint32_t ifindex,
			  struct kernel_object *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->kind = KERNEL_ROUTE;
	ret->route = (struct route){
		.dst = device->network,
		.table = RT_TABLE_MAIN,
		.ifindex = ifindex,
		.protocol = KERNEL_PROTOCOL_WEFT,
		.scope = device->network.addr.family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
		.type = RTN_UNICAST,
	};
}
