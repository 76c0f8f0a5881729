// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a backend wants to be in the kernel, as plain values: its devices, and the entries of one peer.
#pragma once

#include "core/err.h"
#include "core/lease.h"
#include "kernel/object.h"
#include "kernel/route.h"

#define WANTED_DEVICES_MAX \
	4 // one for each family; one that carries both is there twice; those of two backends (auto)
#define WANTED_OBJECTS_MAX 8 // neighbour, FDB entry and route for each family, and room

// A device of ours and its address. One that has an address of each family stands here twice. ifindex of link is not used: the name is the identity.
struct wanted_device {
	struct link link;  // name, kind, mac, mtu_bytes, vxlan
	struct ip address; // AF_UNSPEC: none yet
	uint8_t address_len;
	const struct wg_settings *wg; // of a WireGuard device; borrowed
	bool routes_network; // one route to all of network is over the device, and no route to each peer
	struct ipnet network; // other IPv4 addresses inside it are removed from the device; on an IPv6 device all but link-local are
	bool is_awaited; // a process is making it, and it is not to be touched before that has ended
	bool has_route;	 // to network: of a device that carries all of it
};

struct wanted_devices {
	struct wanted_device devices[WANTED_DEVICES_MAX];
	size_t count;
};

// What a peer's entries depend on besides its lease. device_ifindex[i] belongs to wanted_devices.devices[i].
struct underlay {
	uint32_t ifindex;
	char name[IFNAMSIZ];
	uint32_t mtu_bytes;
	struct ip ip4;
	struct ip ip6;
	uint32_t device_ifindex[WANTED_DEVICES_MAX];
};

// The way to a peer's public address in one family, as the host's routes have it now.
struct underlay_path {
	int error; // negative errno of the look-up; -ENODATA: not asked
	struct route_answer answer;
};

enum { UNDERLAY_V4, UNDERLAY_V6, UNDERLAY_FAMILY_COUNT };

// What a process that carries the packets itself is told of a peer.
struct wanted_host {
	struct ipnet subnet;
	struct ip host;
	uint16_t port;
};

// The entries of one peer. Routes carry gateway and ifindex; whether they stand on nexthop objects is reconcile's affair.
struct wanted {
	struct kernel_object objects[WANTED_OBJECTS_MAX];
	size_t count;
	struct wanted_host hosts[UNDERLAY_FAMILY_COUNT]; // none where the kernel carries the packets
	size_t host_count;
	const char *path; // how packets get there, for people: "vxlan", "direct"; "mixed": why says which family how
	const char *why; // why that path; "" if there was no choice. Static text
	struct err missing; // code other than 0: why one of the families has no entries, while the other has
};

struct kernel_object *wanted_add(struct wanted *wanted, enum kernel_kind kind); // zeroed
void wanted_add_neigh(struct wanted *wanted, uint32_t ifindex, const struct ip *ip,
		      const struct mac *mac);
void wanted_add_fdb(struct wanted *wanted, uint32_t ifindex, const struct mac *mac,
		    const struct ip *remote);
void wanted_add_wg_peer(struct wanted *wanted, const struct wg_peer *peer);
// The route of routes_network.
void wanted_network_route(const struct wanted_device *device, uint32_t ifindex,
			  struct kernel_object *ret);
void wanted_add_route(struct wanted *wanted, const struct ipnet *dst, const struct ip *gateway,
		      uint32_t ifindex, bool onlink);
