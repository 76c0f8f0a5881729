// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what Docker's networks of ours have in the kernel: a bridge each, with the gateway's address, and a pair for each endpoint.
#include "agent/docker_link.h"

#include "core/strbuf.h"
#include "kernel/bridge.h"
#include "kernel/link.h"

#include <errno.h>
#include <string.h>

#define HOST_PREFIX "vethw"
#define CONTAINER_PREFIX "vethc"

// ---- names ----

static void name_of(const char *prefix, const char *id, char ret[static IFNAMSIZ])
{
	(void)text_format(ret, IFNAMSIZ, "%s%.10s", prefix, id);
}

void docker_bridge_name(const char *network_id, char ret[static IFNAMSIZ])
{
	name_of(DOCKER_BRIDGE_PREFIX, network_id, ret);
}

void docker_host_end_name(const char *endpoint_id, char ret[static IFNAMSIZ])
{
	name_of(HOST_PREFIX, endpoint_id, ret);
}

void docker_container_end_name(const char *endpoint_id, char ret[static IFNAMSIZ])
{
	name_of(CONTAINER_PREFIX, endpoint_id, ret);
}

bool docker_bridge_is_ours(const struct link *link)
{
	const size_t len = strlen(DOCKER_BRIDGE_PREFIX);

	return strcmp(link->kind, "bridge") == 0 &&
	       strncmp(link->name, DOCKER_BRIDGE_PREFIX, len) == 0 &&
	       strspn(link->name + len, "0123456789abcdef") == IFNAMSIZ - 1 - len;
}

struct mac docker_mac_of(const struct ip *ip)
{
	struct mac mac = { { 0x02, 0x42 } };

	memcpy(mac.bytes + 2, ip->bytes, 4);
	return mac;
}

// ---- the bridge ----

static void on_result(void *arg, uint32_t tag, int error, const char *extack)
{
	int *ret = arg;

	(void)tag, (void)extack;
	*ret = error;
}

// done: what the kernel says where there is nothing to do.
static int change_address(struct netlink *nl, enum netlink_verb verb, int done,
			  const struct docker_network *network, uint32_t ifindex, struct err *e)
{
	struct kernel_object object = {
		.kind = KERNEL_ADDR,
		.addr = { .ifindex = ifindex, .ip = network->gateway, .len = network->pool.len },
	};
	struct netlink_batch *batch = netlink_batch_new(nl);
	char ip[IP_STR_MAX], name[IFNAMSIZ];
	int result = 0, r;

	netlink_batch_add(batch, verb, &object, 0);
	r = netlink_batch_commit(batch, on_result, &result, e);
	netlink_batch_free(batch);
	if (r < 0 || result == 0 || result == done)
		return r;
	docker_bridge_name(network->id, name);
	return err_set(e, result, "address %s of bridge %s: %s", ip_str(&network->gateway, ip),
		       name, strerror(-result));
}

static int find_or_make(struct netlink *nl, const struct link *wanted, struct link *ret, struct err *e)
{
	int r = link_get_by_name(nl, wanted->name, ret, e);

	if (r == -ENODEV)
		r = bridge_create(nl, wanted, e);
	else if (r == 0 && strcmp(ret->kind, "bridge") != 0)
		r = err_set(e, -EEXIST, "device %s is there, and no bridge: remove it", wanted->name);
	return r < 0 ? r : link_get_by_name(nl, wanted->name, ret, e);
}

int docker_bridge_keep(struct netlink *nl, const struct docker_network *network, uint32_t mtu_bytes,
		       uint32_t *ret_ifindex, struct err *e)
{
	struct link wanted = { .mac = docker_mac_of(&network->gateway), .mtu_bytes = mtu_bytes };
	struct link link;
	int r;

	docker_bridge_name(network->id, wanted.name);
	r = find_or_make(nl, &wanted, &link, e);
	if (r == 0 && link.mtu_bytes != mtu_bytes)
		r = link_set_mtu(nl, link.ifindex, mtu_bytes, e);
	r = r < 0 ? r : change_address(nl, NETLINK_CREATE, -EEXIST, network, link.ifindex, e);
	if (r == 0 && !link.up)
		r = link_set_up(nl, link.ifindex, true, e);
	if (r == 0)
		*ret_ifindex = link.ifindex;
	return r;
}

int docker_bridge_silence(struct netlink *nl, const struct docker_network *network, struct err *e)
{
	char name[IFNAMSIZ];
	struct link link;
	int r;

	docker_bridge_name(network->id, name);
	r = link_get_by_name(nl, name, &link, e);
	if (r < 0)
		return r == -ENODEV ? 0 : r;
	return change_address(nl, NETLINK_DELETE, -EADDRNOTAVAIL, network, link.ifindex, e);
}

static int remove_named(struct netlink *nl, const char *name, struct err *e)
{
	struct link link;
	int r = link_get_by_name(nl, name, &link, e);

	r = r < 0 ? r : link_delete(nl, link.ifindex, e);
	return r == -ENODEV ? 0 : r;
}

int docker_bridge_remove(struct netlink *nl, const char *network_id, struct err *e)
{
	char name[IFNAMSIZ];

	docker_bridge_name(network_id, name);
	return remove_named(nl, name, e);
}

// ---- pairs ----

int docker_pair_keep(struct netlink *nl, const char *endpoint_id, uint32_t bridge_ifindex,
		     uint32_t mtu_bytes, struct err *e)
{
	struct link wanted = { .master_ifindex = bridge_ifindex, .mtu_bytes = mtu_bytes };
	char peer[IFNAMSIZ];
	struct link link;
	int r;

	docker_host_end_name(endpoint_id, wanted.name);
	docker_container_end_name(endpoint_id, peer);
	r = link_get_by_name(nl, wanted.name, &link, e);
	if (r == 0 && link.master_ifindex == bridge_ifindex &&
	    link_get_by_name(nl, peer, &link, NULL) == 0)
		return 0;
	// One of an earlier attempt, of which the other end is in a container, or on a bridge that has gone.
	r = remove_named(nl, wanted.name, e);
	return r < 0 ? r : veth_create(nl, &wanted, peer, e);
}

int docker_pair_remove(struct netlink *nl, const char *endpoint_id, struct err *e)
{
	char name[IFNAMSIZ];

	docker_host_end_name(endpoint_id, name);
	return remove_named(nl, name, e);
}
