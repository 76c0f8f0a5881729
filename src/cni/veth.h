// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the pair of devices that leads into a container, from its making to both ends being up.
#pragma once

#include "cni/device.h"
#include "cni/netns.h"
#include "cni/result.h"

struct veth_wish {
	const char *ifname;	 // in the container
	const struct mac *mac;	 // of the container's end; NULL: the kernel's choice
	uint32_t mtu_bytes;	 // 0: the kernel's
	uint32_t master_ifindex; // 0: none
	bool hairpin, isolated;	 // of the bridge's port
};

struct veth {
	char host_name[IFNAMSIZ];
	uint32_t host_ifindex, pod_ifindex;
	struct mac host_mac, pod_mac;
};

// Makes the pair by one message with both names, both namespaces, MAC, MTU and master; the host's end is up then. host: a
// socket in the host's namespace, in which the caller is. When it fails, nothing is left.
int veth_create(struct rtnl *host, const struct netns *netns, const struct veth_wish *wish,
		struct veth *ret, struct fault *fault);

// What is done inside the container, in one send: addresses, up, routes. Comes back to the host's namespace.
struct pod_wish {
	const char *ifname;
	uint32_t ifindex;
	const struct result *result; // its ips and routes
	uint32_t mtu_bytes;	     // to be set, 0: it is as it should be
	bool dad;		     // duplicate address detection, and waiting for its end
	bool point_to_point;	     // routes to the gateways instead of to the whole network
};
int pod_configure(const struct netns *netns, const struct pod_wish *wish, struct mac *ret_mac,
		  struct fault *fault);

// The gateway of a family: of the first address that has one.
struct ip result_gateway(const struct result *result, int family);
