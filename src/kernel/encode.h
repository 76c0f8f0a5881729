// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: from our objects to the bytes of rtnetlink requests. No socket, no library: any program may send what comes out.
#pragma once

#include "kernel/netlink.h"

// No request that we make is longer.
#define ENCODE_REQUEST_MAX 512

// Each writes one whole request, without a sequence number, and returns its length (a multiple of four).
// buffer has ENCODE_REQUEST_MAX bytes. All but look-ups and dumps ask for an acknowledgement.

// Addresses, neighbours, FDB entries, nexthops and routes. Neighbours and FDB entries are always permanent; protocol 0
// means KERNEL_PROTOCOL_WEFT, route table 0 main, route type 0 unicast. A delete names what tells ours from another's of
// the same key: gateway or nexthop, protocol and metric of a route, the remote of an FDB entry.
size_t encode_object(enum netlink_verb verb, const struct kernel_object *object, void *buffer);

size_t encode_vxlan_create(const struct link *link, void *buffer);
size_t encode_ipip_create(const struct link *link, void *buffer);
size_t encode_ipip_change(uint32_t ifindex, const struct link *link,
			  void *buffer); // all of its settings, MTU included
size_t encode_wireguard_create(const struct link *link, void *buffer);
size_t encode_link_delete(uint32_t ifindex, void *buffer);
size_t encode_link_set_up(uint32_t ifindex, bool up, void *buffer);
size_t encode_link_set_mtu(uint32_t ifindex, uint32_t mtu_bytes, void *buffer);
size_t encode_link_set_mac(uint32_t ifindex, const struct mac *mac, void *buffer);

// Look-ups: answered by one object or by an error. name NULL: by index.
size_t encode_link_get(const char *name, uint32_t ifindex, void *buffer);
size_t encode_link_stats_get(const char *name, void *buffer);
size_t encode_route_get(const struct ip *destination, void *buffer);
size_t encode_nexthop_get(uint32_t id, void *buffer);

// A dump. strict: the socket has strict checking, so filters stand where a strict kernel looks for them.
size_t encode_dump(enum kernel_kind kind, const struct netlink_dump_filter *filter, bool strict,
		   void *buffer);
