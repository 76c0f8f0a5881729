// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the agent tells of the host: that of its only network, or of all that it has. The shapes are told in docs/api.md.
#include "agent/agent_internal.h"

#include "agent/addresses.h"
#include "agent/serve.h"
#include "core/json.h"
#include "core/mem.h"
#include "reconcile/nexthop_table.h"

#include <string.h>
#include <unistd.h>

#define REASONS_MAX 8192

// The network that is asked about; NULL: all of several.
static struct network *network_of(const struct view_scope *scope)
{
	if (scope->network || scope->agent->has_several)
		return scope->network;
	return scope->agent->networks;
}

static void *view_select(void *arg, const char *name)
{
	const struct view_scope *scope = arg;
	struct network *network = scope->agent->has_several ? networks_find(scope->agent, name) : NULL;
	return network ? &network->scope : NULL;
}

static json_t *view_netlink(const struct agent *agent)
{
	const struct netlink_stats *stats = netlink_stats(agent->nl);
	json_t *object = json_object();
	view_set_number(object, "messages", stats->messages);
	view_set_number(object, "sends", stats->sends);
	view_set_number(object, "failed", stats->failed);
	view_set_number(object, "dumps", stats->dumps);
	return object;
}

// For a `weft` on a host that is the store itself: its file is in use.
static json_t *view_served(const struct server_access *access, const char *prefix)
{
	json_t *object = json_object();

	view_set_text(object, "store", "controller");
	json_object_set_new(object, "endpoints", json_pack("[s]", access->endpoint));
	view_set_text(object, "prefix", prefix);
	view_set_text(object, "pin", access->pin);
	view_set_text(object, "token_file", access->token_file);
	return object;
}

// So that `weft` speaks to the same store; the password and the token stay here.
static json_t *view_settings(const struct agent *agent)
{
	const struct store_options *store = &agent->options->store_flags;
	json_t *object, *endpoints;

	if (agent->serves)
		return view_served(agent->serves, store->prefix);
	object = json_object();
	endpoints = json_array();
	for (size_t i = 0; agent->options->store.endpoints && agent->options->store.endpoints[i]; i++)
		json_array_append_new(endpoints, json_string(agent->options->store.endpoints[i]));
	view_set_text(object, "store", agent->options->store.kind);
	json_object_set_new(object, "endpoints", endpoints);
	view_set_text(object, "prefix", store->prefix);
	view_set_text(object, "etcd_cafile", store->ca_file);
	view_set_text(object, "etcd_certfile", store->cert_file);
	view_set_text(object, "etcd_keyfile", store->key_file);
	view_set_text(object, "etcd_username", store->username);
	view_set_text(object, "consul_cafile", store->consul.ca_file);
	view_set_text(object, "consul_certfile", store->consul.cert_file);
	view_set_text(object, "consul_keyfile", store->consul.key_file);
	view_set_text(object, "consul_token_file", store->consul.token_file);
	view_set_text(object, "remote_cafile", store->remote_ca_file);
	view_set_text(object, "remote_certfile", store->remote_cert_file);
	view_set_text(object, "remote_keyfile", store->remote_key_file);
	view_set_text(object, "pin", store->pin);
	view_set_text(object, "token_file", store->token_file);
	return object;
}

// ---- readiness ----

static bool host_ready(const struct agent *agent, struct strbuf *reasons)
{
	size_t before = reasons->len;
	(void)firewall_ready(agent, reasons);
	if (!networks_are_known(agent))
		(void)strbuf_puts(reasons, "the store has not said yet which networks there are\n");
	for (struct network *network = agent->networks; network; network = network->next) {
		_cleanup_strbuf_ struct strbuf own = STRBUF_INIT(REASONS_MAX);
		if (view_network_ready(network, &own))
			continue;
		for (const char *line = strbuf_text(&own); *line;) {
			size_t len = strcspn(line, "\n");
			(void)strbuf_printf(reasons, "network %s: %.*s\n", network->name, (int)len,
					    line);
			line += len + (line[len] == '\n');
		}
	}
	return reasons->len == before;
}

static bool view_ready(void *arg, struct strbuf *reasons)
{
	const struct view_scope *scope = arg;
	struct network *network = network_of(scope);
	return network ? view_network_ready(network, reasons) : host_ready(scope->agent, reasons);
}

// ---- status ----

// The store as the network sees it that it treats worst.
static json_t *host_store(const struct agent *agent)
{
	const struct network *worst = agent->networks;
	for (const struct network *network = worst; network; network = network->next)
		if (!fabric_store_up(network->fabric, NULL, NULL))
			worst = network;
	if (worst)
		return view_store(worst);
	return json_pack("{s:s, s:s, s:b}", "kind", kv_kind(agent->kv), "endpoint",
			 kv_endpoint(agent->kv), "up", networks_are_known(agent));
}

static void host_fill(json_t *object, const struct agent *agent)
{
	_cleanup_strbuf_ struct strbuf reasons = STRBUF_INIT(REASONS_MAX * NEXTHOP_SLOTS);
	json_t *list = json_array();
	json_object_set_new(object, "ready", json_boolean(host_ready(agent, &reasons)));
	json_object_set_new(object, "reasons", view_lines(strbuf_text(&reasons)));
	json_object_set_new(object, "store", host_store(agent));
	for (struct network *network = agent->networks; network; network = network->next) {
		json_t *item = json_object();
		view_network_fill(item, network);
		json_array_append_new(list, item);
	}
	json_object_set_new(object, "networks", list);
}

static json_t *view_status(void *arg)
{
	const struct view_scope *scope = arg;
	const struct agent *agent = scope->agent;
	struct network *network = network_of(scope);
	json_t *object = json_object();
	view_set_text(object, "version", WEFT_VERSION);
	view_set_number(object, "pid", (uint64_t)getpid());
	view_set_number(object, "uptime_s", (loop_now_ms() - agent->started_ms) / 1000);
	if (network)
		view_network_fill(object, network);
	else
		host_fill(object, agent);
	json_object_set_new(object, "firewall", firewall_view(agent));
	json_object_set_new(object, "netlink", view_netlink(agent));
	json_object_set_new(object, "settings", view_settings(agent));
	return object;
}

static json_t *view_own_lease(void *arg)
{
	const struct view_scope *scope = arg;
	struct network *only = network_of(scope);
	if (only)
		return view_lease(only);
	json_t *list = json_array();
	for (const struct network *network = scope->agent->networks; network; network = network->next) {
		json_t *lease = view_lease(network);
		view_set_text(lease, "network", network->name);
		json_array_append_new(list, lease);
	}
	return json_pack("{s:o}", "leases", list);
}

// ---- peers ----

// Networks may come and go while a long list is being read, so they are remembered by number.
struct peers_iterator {
	uint64_t *serials;
	size_t count;
	size_t at;
	struct network_peers *peers; // of the one at hand
};

static void *view_peers_open(void *arg)
{
	const struct view_scope *scope = arg;
	const struct network *only = network_of(scope);
	struct peers_iterator *iterator = xnew(struct peers_iterator);
	size_t count = 0;
	for (const struct network *network = scope->agent->networks; network; network = network->next)
		count++;
	iterator->serials = xnew0_array(uint64_t, count + 1);
	for (const struct network *network = scope->agent->networks; network; network = network->next)
		if (!only || network == only)
			iterator->serials[iterator->count++] = network->serial;
	return iterator;
}

static json_t *view_peers_next(void *arg, void *opaque)
{
	const struct view_scope *scope = arg;
	struct peers_iterator *iterator = opaque;
	for (; iterator->at < iterator->count; iterator->at++) {
		struct network *network =
			networks_by_serial(scope->agent, iterator->serials[iterator->at]);
		json_t *peer = NULL;
		if (network && !iterator->peers)
			iterator->peers = network_peers_open(network);
		if (network)
			peer = network_peers_next(network, iterator->peers);
		if (peer && scope->agent->has_several)
			view_set_text(peer, "network", network->name);
		if (peer)
			return peer;
		iterator->peers = network_peers_close(iterator->peers);
	}
	return NULL;
}

static void view_peers_close(void *arg, void *opaque)
{
	struct peers_iterator *iterator = opaque;
	(void)arg;
	network_peers_close(iterator->peers);
	free(iterator->serials);
	free(iterator);
}

const struct agent_view agent_view_of_agent = {
	.select = view_select,
	.status = view_status,
	.lease = view_own_lease,
	.peers_open = view_peers_open,
	.peers_next = view_peers_next,
	.peers_close = view_peers_close,
	.mesh = view_mesh,
	.mesh_open = view_mesh_open,
	.mesh_next = view_mesh_next,
	.mesh_close = view_mesh_close,
	.plan = view_plan,
	.ipam = ipam_api_serve,
	.rotate = wg_rotate,
	.ready = view_ready,
	.metrics = view_metrics,
};
