// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: who has the subnet of a lease on this host.
#include "agent/subnet_owner.h"

#include "agent/agent_internal.h"
#include "agent/docker_link.h"
#include "core/mem.h"
#include "io/file.h"
#include "kernel/link.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct search {
	const struct network *network;
	const struct ipnet *subnet;
	struct ip ip; // not set: nobody has one
	uint32_t ifindex;
};

static void look_at(void *arg, const struct kernel_object *object)
{
	struct search *search = arg;
	struct link link;

	if (ip_is_set(&search->ip) || !ipnet_contains(search->subnet, &object->addr.ip) ||
	    link_get_by_index(search->network->agent->nl, object->addr.ifindex, &link, NULL) < 0 ||
	    network_wants_device(search->network, link.name) || docker_bridge_is_ours(&link))
		return;
	search->ip = object->addr.ip;
	search->ifindex = object->addr.ifindex;
}

int subnet_owner_check(const struct network *network, const struct ipnet *subnet, struct err *e)
{
	const struct netlink_dump_filter filter = { .family = subnet->addr.family };
	struct search search = { .network = network, .subnet = subnet };
	char net[IPNET_STR_MAX], ip[IP_STR_MAX];
	struct link link;
	int r = netlink_dump_all(network->agent->nl, KERNEL_ADDR, &filter, look_at, &search, e);

	if (r < 0 || !ip_is_set(&search.ip))
		return r;
	r = link_get_by_index(network->agent->nl, search.ifindex, &link, e);
	if (r < 0)
		return r;
	return err_set(e, -EADDRINUSE,
		       "subnet %s belongs to %s, which has %s: take it from there, or use another network of weft (--ipam-opt net=NAME)",
		       ipnet_str(subnet, net), link.name, ip_str(&search.ip, ip));
}

static char *path_of(const char *run_dir, const struct ipnet *subnet)
{
	char ip[IP_STR_MAX];

	return xasprintf("%s/" SUBNET_OWNER_DIR "/%s-%u", run_dir, ip_str(&subnet->addr, ip),
			 subnet->len);
}

int subnet_owner_claim(const char *run_dir, const struct ipnet *subnet, const char *docker_id,
		       struct err *e)
{
	_cleanup_free_ char *path = path_of(run_dir, subnet);
	_cleanup_free_ char *text = xasprintf("docker-plugin %s\n", docker_id);

	return file_write_atomic(path, text, strlen(text), 0644, e);
}

void subnet_owner_release(const char *run_dir, const struct ipnet *subnet)
{
	_cleanup_free_ char *path = path_of(run_dir, subnet);

	(void)unlink(path);
}
