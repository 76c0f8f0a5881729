// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which subnet a host without one takes: hosts that start together begin to look at different places, so that they rarely collide.
#include "fabric/fabric_internal.h"

#include "core/hash.h"

#include <stdlib.h>
#include <string.h>

#define PROBES_MAX (1u << 20) // of an IPv6 network that has more subnets than could ever be taken

bool subnet_fits(const struct netconf *conf, const struct subnet *subnet)
{
	if (conf->v4.enabled ? !netconf_family_fits(&conf->v4, &subnet->v4) : ipnet_is_set(&subnet->v4))
		return false;
	return conf->v6.enabled ? netconf_family_fits(&conf->v6, &subnet->v6)
				: !ipnet_is_set(&subnet->v6);
}

// The first free one from `start` on; *ret_index is its place.
static bool choose_family(const struct netconf_family *family, const struct peer_table *peers,
			  const struct occupied *occupied, uint64_t start, uint64_t *ret_index,
			  struct ipnet *ret)
{
	uint64_t count = netconf_family_subnets(family);
	uint64_t probes = count < PROBES_MAX ? count : PROBES_MAX;
	struct ipnet first = ipnet_of(&family->subnet_min, family->subnet_len);

	for (uint64_t i = 0; i < probes; i++) {
		uint64_t index = (start % count + i) % count;
		struct ipnet net = ipnet_next(&first, index);
		struct subnet candidate = { 0 };

		if (net.addr.family == AF_INET)
			candidate.v4 = net;
		else
			candidate.v6 = net;
		if (!peer_table_is_free(peers, occupied, &candidate))
			continue;
		*ret_index = index;
		*ret = net;
		return true;
	}
	return false;
}

bool choose_subnet(const struct netconf *conf, const struct peer_table *peers,
		   const struct ip *public_ip, uint64_t skip, struct subnet *ret)
{
	uint64_t place = hash_stable(public_ip->bytes, ip_width_bytes(public_ip)) + skip;
	struct subnet subnet = { 0 };
	struct occupied occupied;
	bool found;

	peer_table_occupied(peers, &occupied);
	// The IPv6 subnet has the place of the IPv4 one: hosts that choose the same IPv4 subnet at the same moment then choose the same key, and
	// the store lets only one of them have it.
	found = (!conf->v4.enabled ||
		 choose_family(&conf->v4, peers, &occupied, place, &place, &subnet.v4)) &&
		(!conf->v6.enabled ||
		 choose_family(&conf->v6, peers, &occupied, place, &place, &subnet.v6));
	free(occupied.list);
	if (found)
		*ret = subnet;
	return found;
}
