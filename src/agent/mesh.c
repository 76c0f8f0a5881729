// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which peers are probed, and where: at their public addresses, and through the network at the address that the peer's kernel has there.
#include "agent/agent_internal.h"

#include "core/log.h"

#include <errno.h>

#define MESH_PERIOD_MS 5000
#define MESH_TIMEOUT_MS 3000

static const struct ipnet *family_of(const struct subnet *subnet, int family)
{
	return family == AF_INET6 ? &subnet->v6 : &subnet->v4;
}

static int underlay_address(const struct lease *lease, int family, struct ip *ret)
{
	const struct ip *ip = family == AF_INET6 ? &lease->attrs.public_ipv6 : &lease->attrs.public_ip;

	if (!ip_is_usable_endpoint(ip))
		return -ENOENT;
	*ret = *ip;
	return 0;
}

// What our device has in our subnet its device has in its own: all of a network's hosts are made alike, flannel's too. A backend without a device
// leaves a host without an address there.
static int overlay_address(const struct network *network, const struct lease *lease, int family,
			   struct ip *ret)
{
	const struct subnet *own = network_own_subnet(network);
	const struct ipnet *net = family_of(&lease->subnet, family);
	struct wanted_devices devices = { 0 };

	// Before its routes are there a packet would leave by the default route.
	if (!own || !network->backend || !reconcile_is_synced(network->reconcile) ||
	    trouble_find(reconcile_trouble(network->reconcile), &lease->subnet))
		return -ENOENT;
	backend_devices(network->backend, &devices);
	for (size_t i = 0; i < devices.count; i++) {
		const struct ip *address = &devices.devices[i].address;
		const struct ipnet *home = family_of(own, family);
		struct ip there;

		if (!ip_is_set(address) || address->family != family || !ipnet_contains(home, address))
			continue;
		there = ip_add(&net->addr, ip_value(address) - ip_value(&home->addr));
		if (!ipnet_contains(net, &there))
			continue;
		*ret = there;
		return 0;
	}
	return -ENOENT;
}

int mesh_address(void *arg, const struct target_key *key, enum probe_way way, struct ip *ret)
{
	const struct network *network = arg;
	const struct subnet subnet = target_key_subnet(key);
	const struct lease *lease = lease_set_find(fabric_peers(network->fabric), &subnet);
	int family = target_key_family(key);

	// Without a type it is a reservation whose host has not been here yet.
	if (!lease || lease->attrs.backend_type[0] == '\0')
		return -ENOENT;
	return way == PROBE_UNDERLAY ? underlay_address(lease, family, ret)
				     : overlay_address(network, lease, family, ret);
}

void mesh_open(struct agent *agent)
{
	static struct prober_mtu mtu = { .range = path_mtu_range, .found = path_mtu_found };
	const struct prober_config config = { .rate = (unsigned int)agent->options->mesh_probes,
					      .period_ms = MESH_PERIOD_MS,
					      .timeout_ms = MESH_TIMEOUT_MS,
					      .mtu = &mtu };

	mtu.recheck_ms = agent->options->probe_mtu_interval_ms;

	if (config.rate > 0 &&
	    prober_new(agent->loop, &config, mesh_address, &agent->prober, &agent->mesh_error) < 0)
		log_warn("mesh: peers are not probed: %s; --mesh-probes=0 goes without",
			 agent->mesh_error.msg);
}

static bool is_moved(const struct lease *old, const struct lease *now)
{
	return !ip_equal(&old->attrs.public_ip, &now->attrs.public_ip) ||
	       !ip_equal(&old->attrs.public_ipv6, &now->attrs.public_ipv6);
}

void mesh_peer_changed(struct network *network, const struct lease *old, const struct lease *now)
{
	if (!network->probes)
		return;
	if (now)
		probe_group_put(network->probes, &now->subnet, old && is_moved(old, now));
	else
		probe_group_remove(network->probes, &old->subnet);
	// One that is gone may have been the narrowest.
	if (path_mtu_is_auto(network))
		path_mtu_follow(network);
}

static bool is_peer(void *arg, const struct subnet *subnet)
{
	const struct network *network = arg;

	return lease_set_find(fabric_peers(network->fabric), subnet) != NULL;
}

void mesh_peers_reset(struct network *network, bool is_partial)
{
	const struct lease_set *peers = fabric_peers(network->fabric);
	const struct lease *lease;
	size_t position = 0;

	if (!network->probes)
		return;
	while ((lease = lease_set_next(peers, &position)))
		probe_group_put(network->probes, &lease->subnet, false);
	if (!is_partial)
		probe_group_retain(network->probes, is_peer);
}
