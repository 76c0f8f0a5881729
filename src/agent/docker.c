// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: telling that Docker runs with another subnet of the network than the lease: it reads its options only when it starts.
#include "agent/agent_internal.h"

#include "core/log.h"
#include "core/mem.h"

#include <net/if.h>
#include <string.h>

#define BRIDGE "docker0"

struct search {
	const struct network *network;
	struct ip foreign; // not set: there is none
};

static void look_at(void *arg, const struct kernel_object *object)
{
	struct search *search = arg;
	const struct subnet_env *env = &search->network->env;
	if (ipnet_contains(&env->network.v4, &object->addr.ip) &&
	    !ipnet_contains(&env->subnet.v4, &object->addr.ip))
		search->foreign = object->addr.ip;
}

static void find(const struct network *network, struct search *ret)
{
	struct netlink_dump_filter filter = { .family = AF_INET, .ifindex = if_nametoindex(BRIDGE) };
	*ret = (struct search){ .network = network };
	// Most hosts have no Docker, and are asked nothing more. An answer that does not come is looked for again with the next address that
	// changes.
	if (filter.ifindex != 0 && ipnet_is_set(&network->env.subnet.v4))
		(void)netlink_dump_all(network->agent->nl, KERNEL_ADDR, &filter, look_at, ret, NULL);
}

void docker_check(struct network *network)
{
	char ip[IP_STR_MAX], net[IPNET_STR_MAX];
	struct search search;
	find(network, &search);
	_cleanup_free_ char *now =
		ip_is_set(&search.foreign)
			? xasprintf("Docker runs with %s on " BRIDGE ", which is not of our lease %s: its "
				    "containers are not reached until `weft docker-opts` is run and Docker "
				    "restarted",
				    ip_str(&search.foreign, ip),
				    ipnet_str(&network->env.subnet.v4, net))
			: NULL;
	if (now && (!network->docker_trouble || strcmp(now, network->docker_trouble) != 0))
		log_warn("%s: %s", network->who, now);
	else if (!now && network->docker_trouble)
		log_info("%s: Docker runs with our lease again", network->who);
	free(network->docker_trouble);
	network->docker_trouble = TAKE_PTR(now);
}
