// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: Docker's IPAM driver: pools are leases' subnets, addresses are the address service's.
#include "agent/docker_plugin_internal.h"

#include "agent/addresses.h"
#include "agent/subnet_owner.h"
#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <time.h>

// ---- pools ----

static int check_free(struct docker_plugin *plugin, const struct network *network,
		      const struct ipnet *subnet, struct err *e)
{
	const char *owner = docker_plugin_owner(plugin, network);
	char net[IPNET_STR_MAX];

	if (owner)
		return err_set(e, -EADDRINUSE,
			       "subnet %s belongs to Docker's network %.12s: use that one, or another network of weft (--ipam-opt net=NAME)",
			       ipnet_str(subnet, net), owner);
	return subnet_owner_check(network, subnet, e);
}

struct route_search {
	const struct ipnet *subnet;
	struct ipnet found; // not set: none
};

static void look_at_route(void *arg, const struct kernel_object *object)
{
	struct route_search *search = arg;
	const struct ipnet *dst = &object->route.dst;

	if (dst->len != 0 && ipnet_overlaps(dst, search->subnet))
		search->found = *dst;
}

// Docker asks again and again, without an end, for a pool that no route of the host overlaps, unless its user named the pool. The route
// of a backend to the whole network (wireguard, udp) is one that does.
static int check_routes(struct netlink *nl, const struct ipnet *subnet, struct err *e)
{
	const struct netlink_dump_filter filter = { .family = AF_INET, .table = RT_TABLE_MAIN };
	struct route_search search = { .subnet = subnet };
	char net[IPNET_STR_MAX], dst[IPNET_STR_MAX];
	int r = netlink_dump_all(nl, KERNEL_ROUTE, &filter, look_at_route, &search, e);

	if (r < 0 || !ipnet_is_set(&search.found))
		return r;
	return err_set(e, -EADDRINUSE,
		       "the host has a route to %s, with which Docker takes a subnet only by name: add --subnet %s",
		       ipnet_str(&search.found, dst), ipnet_str(subnet, net));
}

void docker_serve_request_pool(struct docker_plugin *plugin, struct http_exchange *exchange,
			       const struct docker_request *request)
{
	char id[DOCKER_POOL_ID_MAX], pool[IPNET_STR_MAX], asked[IPNET_STR_MAX];
	struct err e;
	const struct network *network = docker_serving_network(plugin, request->net, &e);
	const struct ipnet *subnet = network ? &network_own_subnet(network)->v4 : NULL;

	if (!subnet || check_free(plugin, network, subnet, &e) < 0) {
		docker_refuse(exchange, "%s", err_msg(&e));
		return;
	}
	(void)ipnet_str(subnet, pool);
	if (ipnet_is_set(&request->pool) && !ipnet_equal(&request->pool, subnet)) {
		docker_refuse(exchange, "--subnet %s: this host's subnet is %s; leave it out",
			      ipnet_str(&request->pool, asked), pool);
		return;
	}
	if (!ipnet_is_set(&request->pool) && check_routes(plugin->agent->nl, subnet, &e) < 0) {
		docker_refuse(exchange, "%s", err_msg(&e));
		return;
	}
	docker_pool_id(request->net, subnet, id);
	docker_answer(exchange, json_pack("{s:s, s:s, s:{}}", "PoolID", id, "Pool", pool, "Data"));
}

// ---- addresses ----

struct pending_address {
	struct http_exchange *exchange;
	unsigned int len;
};

static void answer_address(struct http_exchange *exchange, const struct ip *ip, unsigned int len)
{
	_cleanup_free_ char *address = NULL;
	char text[IP_STR_MAX];

	address = xasprintf("%s/%u", ip_str(ip, text), len);
	docker_answer(exchange, json_pack("{s:s, s:{}}", "Address", address, "Data"));
}

static void on_granted(void *arg, const struct ipam_grant *grant, const struct refusal *why)
{
	struct pending_address *pending = arg;

	if (grant)
		answer_address(pending->exchange, &grant->ips[FAMILY_V4], pending->len);
	else
		docker_refuse(pending->exchange, "%s%s%s", why->msg, *why->details ? ": " : "",
			      why->details);
	free(pending);
}

static struct ip gateway_of(const struct ipnet *pool)
{
	return ip_add(&pool->addr, 1);
}

// Docker tells what an address is for only when it has it: until then its owner is a number.
static void give(struct docker_plugin *plugin, struct network *network,
		 struct http_exchange *exchange, const struct docker_request *request)
{
	_cleanup_free_ char *number = xasprintf("request-%llu-%llu",
						(unsigned long long)loop_boottime_ms(),
						(unsigned long long)++plugin->serial);
	const struct allocator_request add = {
		.key = { DOCKER_OWNER, number, DOCKER_IFNAME },
		.since_s = time(NULL),
		.ips = { [FAMILY_V4] = request->address },
		.skips_rest = true,
	};
	struct pending_address *pending = xnew(struct pending_address);

	pending->exchange = exchange;
	pending->len = request->pool.len;
	ipam_add(network->ipam, &add, IPAM_BEST, on_granted, pending);
}

void docker_serve_request_address(struct docker_plugin *plugin, struct http_exchange *exchange,
				  const struct docker_request *request)
{
	const struct ip gateway = gateway_of(&request->pool);
	char a[IP_STR_MAX], b[IP_STR_MAX];
	struct err e;
	struct network *network = docker_serving_network(plugin, request->net, &e);

	if (!network || docker_check_pool(network, &request->pool, &e) < 0)
		docker_refuse(exchange, "%s", err_msg(&e));
	else if (!request->is_gateway)
		give(plugin, network, exchange, request);
	else if (ip_is_set(&request->address) && !ip_equal(&request->address, &gateway))
		docker_refuse(exchange, "--gateway %s: the lease's is %s; leave it out",
			      ip_str(&request->address, a), ip_str(&gateway, b));
	else
		answer_address(exchange, &gateway, request->pool.len);
}

// ---- giving back ----

// False: it is not known yet what there is to release.
static bool release(struct network *network, const struct ip *ip)
{
	struct owner_key key;

	if (!network->ipam)
		return false;
	if (!ipam_owner_of(network->ipam, ip, &key))
		return ipam_is_ready(network->ipam);
	// What it has not from us stays.
	if (strncmp(key.name, DOCKER_OWNER, strlen(DOCKER_OWNER)) == 0)
		(void)ipam_del(network->ipam, &key, NULL, 0);
	return true;
}

static void keep_for_later(struct docker_plugin *plugin, const struct docker_request *request)
{
	struct docker_release *later;

	if (plugin->release_count >= DOCKER_RELEASES_MAX) {
		log_rl(LOG_LEVEL_WARN, "docker: too many addresses are given back while none is known");
		return;
	}
	later = xnew(struct docker_release);
	(void)text_copy(later->net, sizeof(later->net), request->net);
	later->ip = request->address;
	later->next = plugin->releases;
	plugin->releases = later;
	plugin->release_count++;
}

void docker_serve_release_address(struct docker_plugin *plugin, struct http_exchange *exchange,
				  const struct docker_request *request)
{
	struct refusal why;
	struct network *network = ipam_api_network(plugin->agent, request->net, &why);

	if (!network || !release(network, &request->address))
		keep_for_later(plugin, request);
	docker_answer(exchange, json_object());
}

void docker_plugin_addresses_ready(struct docker_plugin *plugin, struct network *network)
{
	struct docker_release **link = plugin ? &plugin->releases : NULL;

	while (link && *link) {
		struct docker_release *later = *link;

		if (strcmp(later->net, network->name) != 0 || !release(network, &later->ip)) {
			link = &later->next;
			continue;
		}
		*link = later->next;
		free(later);
		plugin->release_count--;
	}
}
