// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what Docker's networks of ours have in the kernel: a bridge each, with the gateway's address, and a pair for each endpoint.
#pragma once

#include "agent/docker_networks.h"
#include "kernel/netlink.h"

#include <net/if.h>

// By the ids, so that nothing need be remembered: "weft-" or "vethw", and ten digits.
#define DOCKER_BRIDGE_PREFIX "weft-"
void docker_bridge_name(const char *network_id, char ret[static IFNAMSIZ]);
void docker_host_end_name(const char *endpoint_id, char ret[static IFNAMSIZ]);
void docker_container_end_name(const char *endpoint_id,
			       char ret[static IFNAMSIZ]); // until Docker renames it
bool docker_bridge_is_ours(const struct link *link);
struct mac docker_mac_of(const struct ip *ip); // of who has this address: as Docker derives it

// Makes what of it is missing. *ret_ifindex: the bridge.
int docker_bridge_keep(struct netlink *nl, const struct docker_network *network, uint32_t mtu_bytes,
		       uint32_t *ret_ifindex, struct err *e);
// Takes the gateway's address away: the subnet is another host's.
int docker_bridge_silence(struct netlink *nl, const struct docker_network *network,
			  struct err *e);					     // gone is fine
int docker_bridge_remove(struct netlink *nl, const char *network_id, struct err *e); // gone is fine
int docker_pair_keep(struct netlink *nl, const char *endpoint_id, uint32_t bridge_ifindex,
		     uint32_t mtu_bytes, struct err *e);
int docker_pair_remove(struct netlink *nl, const char *endpoint_id, struct err *e); // gone is fine
