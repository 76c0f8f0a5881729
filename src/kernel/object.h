// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the kernel objects that weft programs, as plain values in our words.
#pragma once

#include "core/ip.h"
#include "core/ipnet.h"
#include "core/mac.h"
#include "kernel/wg.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

// rt_protos number of everything that we route (ARCHITECTURE.md); packaging names it "weft".
#define KERNEL_PROTOCOL_WEFT 157

enum kernel_kind {
	KERNEL_LINK,
	KERNEL_ADDR,
	KERNEL_NEIGH,
	KERNEL_FDB,
	KERNEL_NEXTHOP,
	KERNEL_ROUTE,
	KERNEL_WG_PEER, // not by rtnetlink: reconcile/wg.h
	KERNEL_KIND_COUNT
};

struct vxlan_link {
	uint32_t vni;
	uint32_t underlay_ifindex; // IFLA_VXLAN_LINK
	struct ip local;
	struct ip group; // multicast group or default remote; AF_UNSPEC for ours
	uint16_t port;	 // host order; 0 in a create: the kernel's default (8472)
	bool learning;
	bool proxy;
	bool l2miss;
	bool l3miss;
	bool gbp;
};

struct ipip_link {
	struct ip local;
	struct ip remote; // AF_UNSPEC: the route's gateway
};

#define LINK_KIND_MAX 16

struct link {
	uint32_t ifindex;
	char name[IFNAMSIZ];
	char kind[LINK_KIND_MAX]; // IFLA_INFO_KIND; "" for a plain device
	struct mac mac;		  // all zero where the device has no 48-bit address
	uint32_t mtu_bytes;
	uint32_t master_ifindex;
	bool up;      // IFF_UP, administratively
	bool running; // IFF_RUNNING / operational
	bool loopback;
	struct vxlan_link vxlan; // meaningful only if kind is "vxlan"
	struct ipip_link ipip;	 // meaningful only if kind is "ipip"
};

struct addr {
	uint32_t ifindex;
	struct ip ip; // IFA_LOCAL, or IFA_ADDRESS where there is no local
	uint8_t len;
	uint8_t scope;	// RT_SCOPE_*
	uint32_t flags; // IFA_F_*, from IFA_FLAGS
};

struct neigh {
	uint32_t ifindex;
	struct ip ip;
	struct mac mac;
	uint16_t state; // NUD_*
};

struct fdb {
	uint32_t ifindex;
	struct mac mac;
	struct ip remote; // NDA_DST: the outer destination
	uint16_t state;	  // NUD_*
	bool other; // a port, VNI, interface or nexthop group of its own: nothing that we make
};

struct nexthop {
	uint32_t id;
	uint32_t ifindex;
	struct ip gateway; // AF_UNSPEC: device only, blackhole or group (other is set then)
	uint8_t protocol;
	uint8_t scope;
	bool onlink;
	bool other; // a group, a blackhole, an fdb nexthop or an encapsulation: nothing that we make
};

struct route {
	struct ipnet dst;
	uint32_t table;
	uint32_t metric; // 0 in a request: the kernel's, which is 1024 for IPv6, and so dumps show it
	uint32_t nexthop_id; // 0: classic route with gateway/ifindex
	struct ip gateway;   // AF_UNSPEC: none. Dumps fill it also for routes over a nexthop object
	uint32_t ifindex;    // 0: let the kernel find the device
	uint8_t protocol;    // RTPROT_*
	uint8_t scope;
	uint8_t type; // RTN_*
	bool onlink;
	bool multipath; // several nexthops (dumps only); gateway and ifindex are of none of them
	bool other; // an encapsulation or a destination of a source or TOS only: nothing that we make
	struct ip prefsrc;
};

// One object, for dumps and notifications.
struct kernel_object {
	enum kernel_kind kind;
	union {
		struct link link;
		struct addr addr;
		struct neigh neigh;
		struct fdb fdb;
		struct nexthop nexthop;
		struct route route;
		struct wg_peer wg_peer;
	};
};

#define KERNEL_OBJECT_STR_MAX 192
// "route 10.1.2.0/24 via 10.1.2.0 dev 7 onlink", for logs and plans.
const char *kernel_object_str(const struct kernel_object *object,
			      char buf[static KERNEL_OBJECT_STR_MAX]);
