// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: Docker's network driver: networks are bridges, endpoints pairs of devices.
#include "agent/docker_plugin_internal.h"

#include "agent/addresses.h"
#include "agent/docker_link.h"
#include "agent/subnet_owner.h"
#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>
#include <time.h>

// ---- networks ----

static struct network *network_of_pool(const struct docker_plugin *plugin, const struct ipnet *pool,
				       struct err *e)
{
	char text[IPNET_STR_MAX];

	for (struct network *network = plugin->agent->networks; network; network = network->next) {
		const struct subnet *subnet = network_own_subnet(network);

		if (subnet && ipnet_equal(&subnet->v4, pool))
			return docker_serving_network(plugin, network->name, e);
	}
	(void)err_set(e, -EINVAL,
		      "subnet %s is not of a lease of this host: make the network with --ipam-driver weft",
		      ipnet_str(pool, text));
	return NULL;
}

static int check_gateway(const struct docker_request *request, struct err *e)
{
	const struct ip gateway = ip_add(&request->pool.addr, 1);
	char a[IP_STR_MAX], b[IP_STR_MAX];

	if (ip_equal(&request->gateway, &gateway))
		return 0;
	return err_set(e, -EINVAL, "gateway %s: the lease's is %s", ip_str(&request->gateway, a),
		       ip_str(&gateway, b));
}

static int check_new(const struct docker_plugin *plugin, const struct network *network,
		     const struct docker_request *request, struct err *e)
{
	const char *owner = docker_plugin_owner(plugin, network);
	char text[IPNET_STR_MAX];
	int r = check_gateway(request, e);

	if (r == 0 && owner && strcmp(owner, request->network) != 0)
		r = err_set(e, -EADDRINUSE, "subnet %s belongs to Docker's network %.12s",
			    ipnet_str(&request->pool, text), owner);
	return r < 0 ? r : subnet_owner_check(network, &request->pool, e);
}

static void forget(struct docker_plugin *plugin, const char *id)
{
	struct docker_network **link = &plugin->networks;
	struct docker_network *gone;

	while (*link && strcmp((*link)->id, id) != 0)
		link = &(*link)->next;
	gone = *link;
	if (!gone)
		return;
	*link = gone->next;
	subnet_owner_release(plugin->agent->options->run_dir, &gone->pool);
	docker_network_free(gone);
}

static int remember(struct docker_plugin *plugin, const struct network *network,
		    const struct docker_request *request, struct err *e)
{
	struct docker_network *made;

	forget(plugin, request->network);
	made = xnew(struct docker_network);
	(void)text_copy(made->id, sizeof(made->id), request->network);
	(void)text_copy(made->net, sizeof(made->net), network->name);
	made->pool = request->pool;
	made->gateway = request->gateway;
	made->next = plugin->networks;
	plugin->networks = made;
	return docker_networks_save(plugin->state_path, plugin->networks, e);
}

static int make_network(struct docker_plugin *plugin, const struct docker_request *request,
			struct err *e)
{
	struct network *network = network_of_pool(plugin, &request->pool, e);
	uint32_t ifindex;
	int r = network ? check_new(plugin, network, request, e) : -EINVAL;

	if (r < 0)
		return r;
	r = remember(plugin, network, request, e);
	r = r < 0 ? r
		  : docker_bridge_keep(plugin->agent->nl, plugin->networks, network->env.mtu_bytes,
				       &ifindex, e);
	r = r < 0 ? r
		  : subnet_owner_claim(plugin->agent->options->run_dir, &request->pool,
				       request->network, e);
	if (r == 0)
		return 0;
	(void)docker_bridge_remove(plugin->agent->nl, request->network, NULL);
	forget(plugin, request->network);
	(void)docker_networks_save(plugin->state_path, plugin->networks, NULL);
	return r;
}

void docker_serve_create_network(struct docker_plugin *plugin, struct http_exchange *exchange,
				 const struct docker_request *request)
{
	char text[IPNET_STR_MAX];
	struct err e;

	if (make_network(plugin, request, &e) < 0) {
		docker_refuse(exchange, "%s", err_msg(&e));
		return;
	}
	log_info("docker: network %.12s has subnet %s", request->network,
		 ipnet_str(&request->pool, text));
	docker_answer(exchange, json_object());
}

void docker_serve_delete_network(struct docker_plugin *plugin, struct http_exchange *exchange,
				 const struct docker_request *request)
{
	struct err e;
	int r = docker_bridge_remove(plugin->agent->nl, request->network, &e);

	if (r == 0) {
		forget(plugin, request->network);
		r = docker_networks_save(plugin->state_path, plugin->networks, &e);
	}
	if (r < 0) {
		docker_refuse(exchange, "%s", err_msg(&e));
		return;
	}
	log_info("docker: network %.12s is removed", request->network);
	docker_answer(exchange, json_object());
}

// ---- endpoints ----

// Of an endpoint's request: the two networks, ours with a lease that is still the pool's.
static int find_networks(struct docker_plugin *plugin, const struct docker_request *request,
			 struct docker_network **ret_docker, struct network **ret_network,
			 struct err *e)
{
	struct docker_network *docker = docker_networks_find(plugin->networks, request->network);
	struct network *network;

	if (!docker)
		return err_set(e, -ENOENT,
			       "network %.12s is not known: docker network rm it and make it again",
			       request->network);
	network = docker_serving_network(plugin, docker->net, e);
	if (!network)
		return -EAGAIN;
	*ret_docker = docker;
	*ret_network = network;
	return docker_check_pool(network, &docker->pool, e);
}

static int keep_devices(const struct docker_plugin *plugin, const struct docker_network *docker,
			const struct network *network, const char *endpoint, struct err *e)
{
	uint32_t mtu_bytes = network->env.mtu_bytes, bridge;
	int r = docker_bridge_keep(plugin->agent->nl, docker, mtu_bytes, &bridge, e);

	return r < 0 ? r : docker_pair_keep(plugin->agent->nl, endpoint, bridge, mtu_bytes, e);
}

static int own_address(struct network *network, const struct docker_request *request, struct err *e)
{
	_cleanup_free_ char *name = xasprintf(DOCKER_OWNER "-%s", request->network);
	char host_end[IFNAMSIZ];
	struct allocator_request owner = {
		.key = { name, request->endpoint, DOCKER_IFNAME },
		.host_if = host_end,
		.since_s = time(NULL),
	};
	struct refusal why;

	docker_host_end_name(request->endpoint, host_end);
	if (ipam_rename(network->ipam, &request->address, DOCKER_OWNER, &owner, &why) < 0)
		return err_set(e, -EADDRINUSE, "%s", why.msg);
	return 0;
}

void docker_serve_create_endpoint(struct docker_plugin *plugin, struct http_exchange *exchange,
				  const struct docker_request *request)
{
	struct mac mac = docker_mac_of(&request->address);
	struct docker_network *docker = NULL;
	struct network *network = NULL;
	const char *asked = "";
	char text[MAC_STR_MAX];
	struct err e;
	int r = find_networks(plugin, request, &docker, &network, &e);

	r = r < 0 ? r : keep_devices(plugin, docker, network, request->endpoint, &e);
	r = r < 0 ? r : own_address(network, request, &e);
	if (r < 0) {
		(void)docker_pair_remove(plugin->agent->nl, request->endpoint, NULL);
		docker_refuse(exchange, "%s", err_msg(&e));
		return;
	}
	(void)json_get_string(json_member(request->body, "Interface"), "MacAddress", &asked, NULL);
	// Docker takes what it asked for itself as an attempt to overrule it.
	docker_answer(exchange, *asked ? json_pack("{s:{}}", "Interface")
				       : json_pack("{s:{s:s}}", "Interface", "MacAddress",
						   mac_str(&mac, text)));
}

void docker_serve_join(struct docker_plugin *plugin, struct http_exchange *exchange,
		       const struct docker_request *request)
{
	char name[IFNAMSIZ], gateway[IP_STR_MAX];
	struct docker_network *docker = NULL;
	struct network *network = NULL;
	struct err e;
	int r = find_networks(plugin, request, &docker, &network, &e);

	r = r < 0 ? r : keep_devices(plugin, docker, network, request->endpoint, &e);
	if (r < 0) {
		docker_refuse(exchange, "%s", err_msg(&e));
		return;
	}
	docker_container_end_name(request->endpoint, name);
	docker_answer(exchange, json_pack("{s:{s:s, s:s}, s:s}", "InterfaceName", "SrcName", name,
					  "DstPrefix", DOCKER_IFNAME, "Gateway",
					  ip_str(&docker->gateway, gateway)));
}

void docker_serve_delete_endpoint(struct docker_plugin *plugin, struct http_exchange *exchange,
				  const struct docker_request *request)
{
	struct err e;

	if (docker_pair_remove(plugin->agent->nl, request->endpoint, &e) < 0)
		docker_refuse(exchange, "%s", err_msg(&e));
	else
		docker_answer(exchange, json_object());
}
