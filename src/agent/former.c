// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: telling by kind, name and address what a former backend left.
#include "agent/former.h"

#include "core/mem.h"

#include <string.h>

static bool is_tunnel_of_flannel(const struct link *link)
{
	static const char *const kinds[] = { "vxlan", "ipip", "wireguard", "tun" };
	if (strncmp(link->name, "flannel", strlen("flannel")) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(link->kind, kinds[i]) == 0)
			return true;
	return false;
}

struct address_search {
	const struct subnet *own;
	bool found;
};

static void look_at_address(void *arg, const struct kernel_object *object)
{
	struct address_search *search = arg;
	const struct ipnet *net = object->addr.ip.family == AF_INET ? &search->own->v4
								    : &search->own->v6;
	search->found |= ipnet_is_set(net) && ip_equal(&object->addr.ip, &net->addr);
}

bool former_is_left(struct netlink *nl, const struct link *link, const struct subnet *own)
{
	struct address_search search = { .own = own };
	struct netlink_dump_filter filter = { .ifindex = link->ifindex };
	return is_tunnel_of_flannel(link) &&
	       netlink_dump_all(nl, KERNEL_ADDR, &filter, look_at_address, &search, NULL) == 0 &&
	       search.found;
}

struct link_search {
	struct link *links;
	size_t count;
};

static void look_at_link(void *arg, const struct kernel_object *object)
{
	struct link_search *search = arg;
	if (search->count < FORMER_MAX && is_tunnel_of_flannel(&object->link))
		search->links[search->count++] = object->link;
}

size_t former_find(struct netlink *nl, const struct subnet *own, struct link ret[static FORMER_MAX])
{
	struct link links[FORMER_MAX];
	struct link_search search = { .links = links };
	struct netlink_dump_filter filter = { 0 };
	size_t count = 0;
	if (netlink_dump_all(nl, KERNEL_LINK, &filter, look_at_link, &search, NULL) < 0)
		return 0;
	for (size_t i = 0; i < search.count; i++)
		if (former_is_left(nl, &links[i], own))
			ret[count++] = links[i];
	return count;
}
