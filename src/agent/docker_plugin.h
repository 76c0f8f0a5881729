// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: Docker's plugin: `docker network create -d weft --ipam-driver weft NAME` makes a network of the lease's subnet, whose containers'
// addresses are records in the store.
//
// DOC: from a network to a container
//
//   network create   RequestPool: the lease's subnet, if nobody else on this host has it -> RequestAddress of the gateway
//                    -> CreateNetwork: a bridge with the gateway's address; noted in the state directory, for Docker tells once
//   run              RequestAddress: an address, its owner not known yet -> CreateEndpoint: it is the endpoint's; a pair on the
//                    bridge -> Join: Docker takes the pair's other end into the container
//   rm               Leave -> DeleteEndpoint: the pair goes -> ReleaseAddress
//   network rm       DeleteNetwork: bridge and note go -> ReleasePool
//
// Pools need no memory: their ids say all. Devices are known by the ids of networks and endpoints. So an agent that was started anew
// goes on where the former one ended.
#pragma once

#include "agent/agent_internal.h"

struct docker_plugin;
// NULL in *ret: it is not asked for.
int docker_plugin_new(struct agent *agent, struct docker_plugin **ret, struct err *e);
struct docker_plugin *docker_plugin_free(struct docker_plugin *plugin); // what Docker has stays
// The lease, or what a bridge has in the kernel, may be others than before. plugin NULL: nothing.
void docker_plugin_follow(struct docker_plugin *plugin, struct network *network);
void docker_plugin_kernel_event(struct docker_plugin *plugin, const struct kernel_event *event);
void docker_plugin_addresses_ready(struct docker_plugin *plugin, struct network *network);
const char *docker_plugin_trouble(const struct docker_plugin *plugin,
				  const struct network *network); // NULL: none
// Does a network of Docker's have the subnet? Its id, or NULL.
const char *docker_plugin_owner(const struct docker_plugin *plugin, const struct network *network);
