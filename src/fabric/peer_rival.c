// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: finding who of the good peers has what another lease claims.
#include "fabric/peer_table_internal.h"

#include "core/mem.h"

#include <string.h>

// One host may hold two subnets for a while, as after a change of SubnetLen.
bool peer_is_same_host(const struct lease *a, const struct lease *b)
{
	return strcmp(a->attrs.backend_type, b->attrs.backend_type) == 0 &&
	       lease_attrs_same_data(&a->attrs, &b->attrs);
}

// The search ends at the first one that does not give way. One is listed once for each thing that both claim.
static bool rivals_add(const struct peer_table *table, struct rivals *rivals,
		       const struct lease *lease, struct lease *rival, const char *what)
{
	bool is_older = table->in_snapshot && (rival->mark & MARK_NEW) &&
			(rival->mark & MARK_NUMBER) == table->generation &&
			lease->mod_revision < rival->mod_revision;

	rivals->leases = xrealloc_array(rivals->leases, rivals->count + 1, sizeof(struct lease *));
	rivals->leases[rivals->count++] = rival;
	rivals->what = what;
	if (!peer_gives_way(rival) && !is_older)
		rivals->winner = rival;
	return !rivals->winner;
}

// Good leases never overlap, so the one that starts last before the end of net overlaps if any does.
static struct lease *overlap_before(const struct lease_index *index, const struct ipnet *net,
				    struct ip *end)
{
	struct lease *found = lease_index_at_or_before(index, end);
	const struct ipnet *other;

	if (!found)
		return NULL;
	other = net->addr.family == AF_INET ? &found->subnet.v4 : &found->subnet.v6;
	return ipnet_overlaps(other, net) ? found : NULL;
}

static bool find_overlaps(const struct peer_table *table, const struct lease *lease,
			  enum lease_index_key key, struct rivals *rivals)
{
	const struct ipnet *net = key == LEASE_INDEX_V4 ? &lease->subnet.v4 : &lease->subnet.v6;
	struct ip end = ipnet_last(net);
	struct lease *rival;

	if (!ipnet_is_set(net))
		return true;
	while ((rival = overlap_before(table->index[key], net, &end))) {
		const struct ip *start = lease_index_key(key, rival);

		if (!subnet_equal(&rival->subnet, &lease->subnet) &&
		    !rivals_add(table, rivals, lease, rival, "overlaps"))
			return false;
		if (ip_compare(start, &net->addr) <= 0)
			return true;
		end = ip_from_value(start->family, ip_value(start) - 1);
	}
	return true;
}

static bool find_same_address(const struct peer_table *table, const struct lease *lease,
			      enum lease_index_key key, struct rivals *rivals)
{
	const struct ip *ip = lease_index_key(key, lease);
	struct lease *rival;

	for (size_t i = 0; ip_is_set(ip) && (rival = lease_index_equal(table->index[key], ip, i)); i++)
		if (!subnet_equal(&rival->subnet, &lease->subnet) && !peer_is_same_host(rival, lease) &&
		    !rivals_add(table, rivals, lease, rival, "has the public address of"))
			return false;
	return true;
}

void peer_find_rivals(const struct peer_table *table, const struct lease *lease, struct rivals *ret)
{
	(void)(find_overlaps(table, lease, LEASE_INDEX_V4, ret) &&
	       find_overlaps(table, lease, LEASE_INDEX_V6, ret) &&
	       find_same_address(table, lease, LEASE_INDEX_PUBLIC_IP, ret) &&
	       find_same_address(table, lease, LEASE_INDEX_PUBLIC_IPV6, ret));
}

const struct lease *peer_find_overlap(const struct peer_table *table, const struct subnet *subnet)
{
	const struct lease *found = NULL;
	struct ip end;

	if (ipnet_is_set(&subnet->v4)) {
		end = ipnet_last(&subnet->v4);
		found = overlap_before(table->index[LEASE_INDEX_V4], &subnet->v4, &end);
	}
	if (!found && ipnet_is_set(&subnet->v6)) {
		end = ipnet_last(&subnet->v6);
		found = overlap_before(table->index[LEASE_INDEX_V6], &subnet->v6, &end);
	}
	return found;
}
