// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the agent tells of one network: status, lease, peers and readiness. The shapes are told in docs/api.md.
#include "agent/addresses.h"
#include "agent/docker_plugin.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>
#include <time.h>

void view_set_text(json_t *object, const char *name, const char *value)
{
	json_object_set_new(object, name, value ? json_string(value) : json_null());
}

void view_set_ip(json_t *object, const char *name, const struct ip *ip)
{
	char text[IP_STR_MAX];
	view_set_text(object, name, ip_is_set(ip) ? ip_str(ip, text) : NULL);
}

void view_set_net(json_t *object, const char *name, const struct ipnet *net)
{
	char text[IPNET_STR_MAX];
	view_set_text(object, name, ipnet_is_set(net) ? ipnet_str(net, text) : NULL);
}

void view_set_number(json_t *object, const char *name, uint64_t value)
{
	json_object_set_new(object, name, json_integer((json_int_t)value));
}

json_t *view_lease(const struct network *network)
{
	json_t *object = json_object();
	const struct err *why = NULL;
	const struct lease *lease = fabric_lease(network->fabric);
	enum fabric_lease_state state = fabric_lease_state(network->fabric, &why);
	static const struct lease none = { 0 };
	const struct lease *shown = lease ? lease : &none;
	view_set_net(object, "subnet", &shown->subnet.v4);
	view_set_net(object, "ipv6_subnet", &shown->subnet.v6);
	view_set_ip(object, "public_ip", &shown->attrs.public_ip);
	view_set_ip(object, "public_ipv6", &shown->attrs.public_ipv6);
	view_set_text(object, "state", fabric_lease_state_names[state]);
	view_set_text(object, "error", why && why->code != 0 ? why->msg : "");
	json_object_set_new(object, "expires_in_s",
			    json_integer((json_int_t)fabric_lease_expires_in_s(network->fabric)));
	json_object_set_new(object, "reservation",
			    json_boolean(lease && lease->session == 0 && state == FABRIC_LEASE_HELD));
	// 64 bits do not fit the numbers of many JSON readers.
	_cleanup_free_ char *session = xasprintf("%lld", (long long)shown->session);
	view_set_text(object, "session", session);
	return object;
}

// ---- peers ----

static const char *data_mac(const struct lease *lease, char ret[static MAC_STR_MAX])
{
	const char *data = lease->attrs.backend_data ? lease->attrs.backend_data
						     : lease->attrs.backend_v6_data;
	const char *text = NULL;
	struct mac mac;
	_cleanup_json_ json_t *object = NULL;
	if (!data || json_read(data, strlen(data), LEASE_VALUE_MAX, &object, NULL) < 0 ||
	    !json_is_object(object) || json_get_string(object, "VtepMAC", &text, NULL) < 0 ||
	    !text || mac_parse(text, &mac) < 0)
		return NULL;
	return mac_str(&mac, ret);
}

static json_t *describe_lease(const struct lease *lease)
{
	char mac[MAC_STR_MAX];
	json_t *object = json_object();
	view_set_net(object, "subnet", &lease->subnet.v4);
	view_set_net(object, "ipv6_subnet", &lease->subnet.v6);
	view_set_ip(object, "public_ip", &lease->attrs.public_ip);
	view_set_ip(object, "public_ipv6", &lease->attrs.public_ipv6);
	view_set_text(object, "backend_type", lease->attrs.backend_type);
	view_set_text(object, "mac", data_mac(lease, mac));
	return object;
}

// Of a peer of WireGuard. One that is called and does not answer is in trouble, whoever's fault that is.
static void set_heard(json_t *object, const struct network *network, const struct wanted *wanted,
		      bool is_fine)
{
	struct wg_heard heard;
	char text[256], age[32] = "";
	if (!reconcile_heard(network->reconcile, wanted, &heard))
		return;
	int64_t age_s = time(NULL) - heard.handshake_s;
	json_object_set_new(object, "handshake_age_s",
			    heard.handshake_s == 0 ? json_null()
						   : json_integer(age_s > 0 ? age_s : 0));
	if (!is_fine || heard.silent_ms == 0)
		return;
	if (heard.handshake_s != 0)
		(void)text_format(age, sizeof(age), "for %lld s", (long long)age_s);
	(void)text_format(
		text, sizeof(text),
		"no handshake%s%s, though packets wait for one: is its weftd or flanneld up, its UDP port open, and PSK the same here and there?",
		*age ? " " : "", age);
	view_set_text(object, "state", "silent");
	view_set_text(object, "error", text);
}

json_t *view_peer(struct network *network, const struct lease *lease)
{
	json_t *object = describe_lease(lease);
	const struct trouble_entry *trouble =
		trouble_find(reconcile_trouble(network->reconcile), &lease->subnet);
	struct wanted wanted = { .path = "", .why = "" };
	struct err e = { 0 };
	if (network->backend)
		(void)reconcile_explain(network->reconcile, lease, &wanted,
					&e); // the reason is shown as trouble
	bool is_pending = !reconcile_is_synced(network->reconcile) ||
			  extension_peer_state(network->extension, lease, NULL) == -EINPROGRESS;
	const char *state = trouble	 ? (trouble->ignored ? "ignored" : "failed")
			    : is_pending ? "pending"
					 : "ok";
	view_set_text(object, "state", state);
	view_set_text(object, "path", wanted.path);
	view_set_text(object, "why", wanted.why);
	view_set_text(object, "error", trouble ? trouble->text : "");
	view_path_mtu_of_peer(object, network, lease);
	set_heard(object, network, &wanted, trouble == NULL);
	return object;
}

struct network_peers {
	size_t position;
	json_t *odd;  // rejected ones, complete
	json_t *held; // subnets of those that are gone but kept: member name subnet, value why
	size_t odd_position;
};

static void collect_odd(void *arg, enum fabric_peer_state state, const char *key,
			const struct lease *lease, const char *why)
{
	struct network_peers *iterator = arg;
	char text[SUBNET_STR_MAX];
	if (state == FABRIC_PEER_HELD && lease) {
		json_object_set_new(iterator->held, subnet_str(&lease->subnet, text),
				    json_string(why));
		return;
	}
	json_t *object = lease ? describe_lease(lease) : json_object();
	view_set_text(object, "state", fabric_peer_state_names[state]);
	view_set_text(object, "error", why);
	view_set_text(object, "key", key);
	json_array_append_new(iterator->odd, object);
}

struct network_peers *network_peers_open(struct network *network)
{
	struct network_peers *iterator = xnew(struct network_peers);
	iterator->odd = json_array();
	iterator->held = json_object();
	fabric_odd_each(network->fabric, collect_odd, iterator);
	return iterator;
}

json_t *network_peers_next(struct network *network, struct network_peers *iterator)
{
	if (iterator->odd_position < json_array_size(iterator->odd))
		return json_incref(json_array_get(iterator->odd, iterator->odd_position++));
	const struct lease *lease = lease_set_next(fabric_peers(network->fabric), &iterator->position);
	if (!lease)
		return NULL;
	json_t *object = view_peer(network, lease);
	char text[SUBNET_STR_MAX];
	json_t *held = json_object_get(iterator->held, subnet_str(&lease->subnet, text));
	if (held) {
		view_set_text(object, "state", fabric_peer_state_names[FABRIC_PEER_HELD]);
		view_set_text(object, "error", json_string_value(held));
	}
	return object;
}

struct network_peers *network_peers_close(struct network_peers *iterator)
{
	if (!iterator)
		return NULL;
	json_decref(iterator->odd);
	json_decref(iterator->held);
	free(iterator);
	return NULL;
}

// ---- status ----

static json_t *view_config(const struct network *network)
{
	json_t *object = json_object();
	const struct netconf *conf = fabric_netconf(network->fabric);
	static const struct netconf none = { 0 };
	const struct netconf *shown = conf ? conf : &none;
	view_set_text(object, "prefix", network->prefix);
	view_set_net(object, "network", &shown->v4.network);
	view_set_net(object, "ipv6_network", &shown->v6.network);
	view_set_number(object, "subnet_len",
			shown->v4.enabled ? shown->v4.subnet_len : shown->v6.subnet_len);
	view_set_text(object, "error",
		      network->config_error.code != 0 ? network->config_error.msg : "");
	return object;
}

json_t *view_store(const struct network *network)
{
	json_t *object = json_object();
	const struct err *why = NULL;
	uint64_t since_ms = 0;
	bool up = fabric_store_up(network->fabric, &why, &since_ms);
	const struct kv_stats *stats = kv_stats(network->agent->kv);
	view_set_text(object, "kind", kv_kind(network->agent->kv));
	view_set_text(object, "endpoint", kv_endpoint(network->agent->kv));
	json_object_set_new(object, "up", json_boolean(up));
	view_set_number(object, "since_s", (loop_now_ms() - since_ms) / 1000);
	view_set_text(object, "error", up || !why ? "" : why->msg);
	view_set_number(object, "requests", stats->requests);
	view_set_number(object, "failures", stats->failures);
	view_set_number(object, "events", stats->events);
	view_set_number(object, "watch_restarts", stats->watch_restarts);
	return object;
}

// of_commands: room for one that is not kept.
static const struct err *backend_error(const struct network *network, struct err *of_commands)
{
	if (network->bring_up_error.code != 0)
		return &network->bring_up_error;
	if (view_udp_error(network)->code != 0)
		return view_udp_error(network);
	return extension_error(network->extension, of_commands) < 0 ? of_commands
								    : &network->device_error;
}

static json_t *view_backend(const struct network *network)
{
	json_t *object = json_object();
	json_t *list = json_array();
	const struct netconf *conf = fabric_netconf(network->fabric);
	struct wanted_devices devices = { 0 };
	if (network->backend)
		backend_devices(network->backend, &devices);
	for (size_t i = 0; i < devices.count; i++) {
		const struct link *link = &devices.devices[i].link;
		char mac[MAC_STR_MAX];
		// One of both families stands there twice.
		if (i > 0 && strcmp(link->name, devices.devices[i - 1].link.name) == 0)
			continue;
		json_t *device = json_object();
		view_set_text(device, "name", link->name);
		view_set_number(device, "mtu", link->mtu_bytes);
		view_set_text(device, "mac",
			      mac_is_usable(&link->mac) ? mac_str(&link->mac, mac) : NULL);
		view_set_number(device, "vni", link->vxlan.vni);
		view_set_number(device, "port",
				devices.devices[i].wg ? devices.devices[i].wg->listen_port
						      : link->vxlan.port);
		json_array_append_new(list, device);
	}
	view_set_text(object, "type",
		      network->backend ? backend_type(network->backend)
		      : conf	       ? conf->backend_type
				       : NULL);
	json_object_set_new(object, "devices", list);
	view_set_text(object, "engine", reconcile_engine(network->reconcile));
	struct err of_commands = { 0 };
	const struct err *error = backend_error(network, &of_commands);
	view_set_text(object, "error", error->code != 0 ? error->msg : "");
	view_udp_fill(object, network);
	return object;
}

static json_t *view_interface(const struct network *network)
{
	if (!network->chosen)
		return json_null();
	json_t *object = json_object();
	view_set_text(object, "name", network->choice.name);
	view_set_ip(object, "ip", &network->choice.ip4);
	view_set_ip(object, "ipv6", &network->choice.ip6);
	view_set_number(object, "mtu", network->choice.mtu_bytes);
	return object;
}

struct peer_counts count_peers(const struct network *network)
{
	const struct trouble *trouble = reconcile_trouble(network->reconcile);
	struct peer_counts counts = {
		.total = lease_set_count(fabric_peers(network->fabric)),
		.failed = trouble_count(trouble, false),
		.ignored = trouble_count(trouble, true),
		.held = fabric_peer_count(network->fabric, FABRIC_PEER_HELD),
		.rejected = fabric_peer_count(network->fabric, FABRIC_PEER_REJECTED),
		.silent = reconcile_silent_peers(network->reconcile),
	};
	size_t odd = counts.failed + counts.ignored + extension_peers_pending(network->extension);
	counts.programmed = reconcile_is_synced(network->reconcile) && counts.total > odd
				    ? counts.total - odd
				    : 0;
	return counts;
}

static json_t *view_peer_counts(const struct network *network)
{
	struct peer_counts counts = count_peers(network);
	json_t *object = json_object();
	view_set_number(object, "total", counts.total);
	view_set_number(object, "programmed", counts.programmed);
	view_set_number(object, "failed", counts.failed);
	view_set_number(object, "held", counts.held);
	view_set_number(object, "rejected", counts.rejected);
	view_set_number(object, "ignored", counts.ignored);
	view_set_number(object, "silent", counts.silent);
	return object;
}

const char *const kind_names[KERNEL_KIND_COUNT] = {
	[KERNEL_LINK] = "link",
	[KERNEL_ADDR] = "address",
	[KERNEL_NEIGH] = "neighbour",
	[KERNEL_FDB] = "fdb",
	[KERNEL_NEXTHOP] = "nexthop",
	[KERNEL_ROUTE] = "route",
	[KERNEL_WG_PEER] = "wireguard-peer",
};

static json_t *view_repairs(const struct network *network)
{
	const struct reconcile_stats *stats = reconcile_stats(network->reconcile);
	json_t *object = json_object();
	json_t *kinds = json_object();
	uint64_t total = 0;
	for (size_t kind = 0; kind < KERNEL_KIND_COUNT; kind++) {
		total += stats->repairs[kind];
		view_set_number(kinds, kind_names[kind], stats->repairs[kind]);
	}
	view_set_number(object, "total", total);
	json_object_set_new(object, "by_kind", kinds);
	view_set_text(object, "last", stats->last_repair);
	if (stats->last_repair_at_ms > 0)
		view_set_number(object, "last_age_s",
				(loop_now_ms() - stats->last_repair_at_ms) / 1000);
	return object;
}

static json_t *view_wars(const struct network *network)
{
	json_t *list = json_array();
	size_t position = 0;
	uint64_t now_ms = loop_now_ms();
	const struct war_entry *entry;
	while ((entry = war_next(reconcile_war(network->reconcile), &position, now_ms))) {
		char text[KERNEL_OBJECT_STR_MAX];
		json_t *object = json_object();
		view_set_text(object, "object", kernel_object_str(&entry->object, text));
		view_set_number(object, "count", entry->repairs);
		view_set_number(object, "held_s", (entry->hold_until_ms - now_ms) / 1000);
		json_array_append_new(list, object);
	}
	return list;
}

json_t *view_lines(const char *text)
{
	json_t *list = json_array();
	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n");
		if (len > 0)
			json_array_append_new(list, json_stringn(line, len));
		line += len + (line[len] == '\n');
	}
	return list;
}

static const char *view_docker(const struct network *network)
{
	const char *plugin = docker_plugin_trouble(network->agent->docker_plugin, network);

	return network->docker_trouble ? network->docker_trouble : plugin ? plugin : "";
}

void view_network_fill(json_t *object, struct network *network)
{
	_cleanup_strbuf_ struct strbuf reasons = STRBUF_INIT(8192);
	if (*network->name)
		view_set_text(object, "name", network->name);
	json_object_set_new(object, "ready", json_boolean(view_network_ready(network, &reasons)));
	json_object_set_new(object, "reasons", view_lines(strbuf_text(&reasons)));
	json_object_set_new(object, "network", view_config(network));
	json_object_set_new(object, "lease", view_lease(network));
	json_object_set_new(object, "store", view_store(network));
	json_object_set_new(object, "backend", view_backend(network));
	json_object_set_new(object, "interface", view_interface(network));
	json_object_set_new(object, "path_mtu", view_path_mtu(network));
	json_object_set_new(object, "peers", view_peer_counts(network));
	json_object_set_new(object, "addresses", addresses_view(network));
	json_object_set_new(object, "repairs", view_repairs(network));
	json_object_set_new(object, "wars", view_wars(network));
	view_set_text(object, "docker", view_docker(network));
	json_object_set_new(object, "restart_needed",
			    view_lines(strbuf_text(&network->restart_needed)));
}

// ---- readiness ----

static void ready_lease(const struct network *network, struct strbuf *reasons)
{
	const struct err *why = NULL;
	enum fabric_lease_state state = fabric_lease_state(network->fabric, &why);
	const char *reason = why && why->code != 0 ? why->msg : "";
	if (state != FABRIC_LEASE_HELD)
		(void)strbuf_printf(reasons, "lease %s%s%s\n", fabric_lease_state_names[state],
				    *reason ? ": " : "", reason);
}

static void ready_store(const struct network *network, struct strbuf *reasons)
{
	const struct err *why = NULL;
	uint64_t since_ms = 0;
	if (fabric_store_up(network->fabric, &why, &since_ms) || !why || why->code == 0)
		return;
	// Without a lease of our own nothing else matters.
	bool is_held = fabric_lease_state(network->fabric, NULL) == FABRIC_LEASE_HELD;
	if (!is_held || loop_now_ms() - since_ms > network->agent->options->store_grace_ms)
		(void)strbuf_printf(reasons, "store not reached for %llu s: %s\n",
				    (unsigned long long)((loop_now_ms() - since_ms) / 1000), why->msg);
}

// A peer that a backend refuses or that is not for it is not the kernel's fault, and one that fails is its own.
static void ready_data_plane(const struct network *network, struct strbuf *reasons)
{
	const struct trouble *trouble = reconcile_trouble(network->reconcile);
	size_t total = lease_set_count(fabric_peers(network->fabric));
	const struct trouble_entry *entry, *first = NULL;
	size_t position = 0, failed = 0;
	if (network->device_error.code != 0)
		(void)strbuf_printf(reasons, "data plane broken: %s\n", network->device_error.msg);
	while ((entry = trouble_next(trouble, &position))) {
		if (entry->ignored || entry->refused)
			continue;
		failed++;
		first = first ? first : entry;
	}
	if (failed > 0 && failed == total)
		(void)strbuf_printf(reasons, "data plane broken: no peer can be programmed: %s\n",
				    first->text);
}

bool view_network_ready(struct network *network, struct strbuf *reasons)
{
	size_t before = reasons->len;
	// While a network is frozen a host with a lease lacks nothing.
	bool is_well = network->config_error.code == -EBUSY &&
		       fabric_lease_state(network->fabric, NULL) == FABRIC_LEASE_HELD;
	if (network->config_error.code != 0 && !is_well)
		(void)strbuf_printf(reasons, "%s\n", network->config_error.msg);
	if (network->bring_up_error.code != 0)
		(void)strbuf_printf(reasons, "%s\n", network->bring_up_error.msg);
	ready_data_plane(network, reasons);
	view_udp_ready(network, reasons);
	struct err of_commands = { 0 };
	if (extension_start_error(network->extension, &of_commands) < 0)
		(void)strbuf_printf(reasons, "%s\n", of_commands.msg);
	if (network->env_error)
		(void)strbuf_printf(reasons, "%s\n", network->env_error);
	if (!network->agent->has_several)
		(void)firewall_ready(network->agent, reasons);
	ready_lease(network, reasons);
	ready_store(network, reasons);
	if (!reconcile_stats(network->reconcile)->passes)
		(void)strbuf_puts(reasons, "the kernel is not programmed yet\n");
	return reasons->len == before;
}
