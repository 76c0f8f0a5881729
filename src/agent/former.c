// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: telling by kind, name and address what a former backend left, and removing it.
#include "agent/former.h"

#include "core/log.h"
#include "core/mem.h"
#include "kernel/link.h"

#include <string.h>

#define TUNNELS_MAX 16 // of all networks of the host

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
	return own && is_tunnel_of_flannel(link) &&
	       netlink_dump_all(nl, KERNEL_ADDR, &filter, look_at_address, &search, NULL) == 0 &&
	       search.found;
}

static bool is_wanted(const struct backend *backend, const char *name)
{
	struct wanted_devices wanted;
	backend_devices(backend, &wanted);
	for (size_t i = 0; i < wanted.count; i++)
		if (strcmp(wanted.devices[i].link.name, name) == 0)
			return true;
	return false;
}

struct link_search {
	struct link links[TUNNELS_MAX];
	size_t count;
};

static void look_at_link(void *arg, const struct kernel_object *object)
{
	struct link_search *search = arg;
	if (search->count < TUNNELS_MAX && is_tunnel_of_flannel(&object->link))
		search->links[search->count++] = object->link;
}

void former_remove(struct netlink *nl, const struct subnet *own, const struct backend *backend)
{
	struct link_search search = { .count = 0 };
	struct netlink_dump_filter filter = { 0 };
	struct err e = { 0 };
	if (netlink_dump_all(nl, KERNEL_LINK, &filter, look_at_link, &search, &e) < 0)
		log_warn("agent: %s", e.msg);
	for (size_t i = 0; i < search.count; i++) {
		const struct link *link = &search.links[i];
		if (is_wanted(backend, link->name) || !former_is_left(nl, link, own))
			continue;
		if (link_delete(nl, link->ifindex, &e) < 0)
			log_warn("agent: %s", e.msg);
		else
			log_info("agent: removed device %s of another backend", link->name);
	}
}
