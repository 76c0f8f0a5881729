// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: telling by the disk's word, or by kind, name and address, which devices a network left, and removing them.
#include "agent/former.h"

#include "backend/extension.h"
#include "core/log.h"
#include "core/mem.h"
#include "kernel/link.h"

#include <string.h>

#define HOLDERS_MAX 16 // links that have an address of one host's subnet

bool former_is_tunnel(const struct link *link)
{
	static const char *const kinds[] = { "vxlan", "ipip", "wireguard", "tun" };
	if (strncmp(link->name, "flannel", strlen("flannel")) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(link->kind, kinds[i]) == 0)
			return true;
	return false;
}

// ---- the first address of a subnet ----

struct address_search {
	const struct subnet *own;
	struct addr found[HOLDERS_MAX];
	size_t count;
};

static void look_at_address(void *arg, const struct kernel_object *object)
{
	struct address_search *search = arg;
	const struct ipnet *net = object->addr.ip.family == AF_INET ? &search->own->v4
								    : &search->own->v6;
	if (search->count < HOLDERS_MAX && ipnet_is_set(net) && ip_equal(&object->addr.ip, &net->addr))
		search->found[search->count++] = object->addr;
}

// ifindex 0: on all links. Without a subnet, or an answer, nothing is found.
static void find_addresses(const struct network *network, uint32_t ifindex, struct address_search *ret)
{
	struct netlink_dump_filter filter = { .ifindex = ifindex };
	struct err e = { 0 };
	*ret = (struct address_search){ .own = network_own_subnet(network) };
	if (ret->own &&
	    netlink_dump_all(network->agent->nl, KERNEL_ADDR, &filter, look_at_address, ret, &e) < 0)
		log_warn("%s: %s", network->who, e.msg);
}

static bool has_first_address(const struct network *network, const struct link *link)
{
	struct address_search search;
	if (!former_is_tunnel(link))
		return false;
	find_addresses(network, link->ifindex, &search);
	return search.count > 0;
}

// ---- whose it is ----

static bool is_known_by_mac(const struct network *network, const struct link *link)
{
	const struct mac *mac = state_mac_find(&network->state, link->name);
	return mac && mac_equal(mac, &link->mac) && strcmp(link->kind, "vxlan") == 0;
}

bool former_is_left(const struct network *network, const struct link *link)
{
	return is_known_by_mac(network, link) || has_first_address(network, link);
}

// Of a network that is not up yet only the address tells.
static bool has_device(const struct network *network, const struct link *link)
{
	return network->backend ? network_wants_device(network, link->name)
				: has_first_address(network, link);
}

static bool is_in_list(const struct network *list, const struct network *network,
		       const struct link *link)
{
	for (const struct network *other = list; other; other = other->next)
		if (other != network && has_device(other, link))
			return true;
	return false;
}

// A host gives a device of one name always the same MAC, so the disk may speak of one that is another network's by now.
static bool is_anothers(const struct network *network, const struct link *link)
{
	return is_in_list(network->agent->networks, network, link) ||
	       is_in_list(network->agent->leaving, network, link);
}

// ---- removing ----

static void delete_link(const struct network *network, const struct link *link, const char *why)
{
	struct err e = { 0 };
	if (link_delete(network->agent->nl, link->ifindex, &e) < 0)
		log_warn("%s: %s", network->who, e.msg);
	else
		log_info("%s: removed device %s%s", network->who, link->name, why);
}

static void note_deleted(void *arg, uint32_t tag, int error, const char *extack)
{
	(void)tag;
	(void)extack;
	*(int *)arg = error;
}

// The device is another network's now, and would send its packets from this address.
static void delete_address(const struct network *network, const struct link *link,
			   const struct addr *addr)
{
	struct kernel_object object = { .kind = KERNEL_ADDR, .addr = *addr };
	struct netlink_batch *batch = netlink_batch_new(network->agent->nl);
	char ip[IP_STR_MAX];
	int error = 0;
	netlink_batch_add(batch, NETLINK_DELETE, &object, 0);
	(void)netlink_batch_commit(batch, note_deleted, &error, NULL); // tells note_deleted, too
	netlink_batch_free(batch);
	if (error < 0)
		log_warn("%s: address %s of %s is not removed: %s", network->who,
			 ip_str(&addr->ip, ip), link->name, strerror(-error));
	else
		log_info("%s: removed address %s of %s, which is another network's", network->who,
			 ip_str(&addr->ip, ip), link->name);
}

static void remove_known_by_mac(const struct network *network)
{
	for (size_t i = 0; i < network->state.mac_count; i++) {
		const char *name = network->state.macs[i].device;
		struct link link;
		if (!network_wants_device(network, name) &&
		    link_get_by_name(network->agent->nl, name, &link, NULL) == 0 &&
		    is_known_by_mac(network, &link) && !is_anothers(network, &link))
			delete_link(network, &link, " of an earlier config");
	}
}

static void remove_with_address(const struct network *network)
{
	struct address_search search;
	// Commands of an earlier life may have made such a one, which is theirs.
	if (network->backend && extension_commands(network->backend))
		return;
	find_addresses(network, 0, &search);
	for (size_t i = 0; i < search.count; i++) {
		const struct addr *addr = &search.found[i];
		struct link link; // gone if it had both families' addresses
		if (link_get_by_index(network->agent->nl, addr->ifindex, &link, NULL) < 0 ||
		    !former_is_tunnel(&link) || network_wants_device(network, link.name))
			continue;
		if (is_anothers(network, &link))
			delete_address(network, &link, addr);
		else
			delete_link(network, &link, " of another backend");
	}
}

void former_remove(const struct network *network)
{
	remove_known_by_mac(network);
	remove_with_address(network);
}

void former_remove_all(struct network *network)
{
	struct wanted_devices devices = { 0 };
	if (network->backend)
		backend_devices(network->backend, &devices);
	for (size_t i = 0; i < devices.count; i++) {
		const struct link *own = &devices.devices[i].link;
		struct link link;
		if (link_get_by_name(network->agent->nl, own->name, &link, NULL) == 0 &&
		    strcmp(link.kind, own->kind) == 0 && mac_equal(&link.mac, &own->mac))
			delete_link(network, &link, "");
	}
	network->backend = backend_free(network->backend);
	former_remove(network);
}
