// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the agent tells of itself: status, lease, peers, plan, readiness and metrics. The shapes are told in docs/api.md.
#include "agent/agent_internal.h"

#include "agent/metrics.h"
#include "agent/serve.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

// The store may be away for this long before the agent calls itself not ready: a leader election is no news.
#define STORE_GRACE_MS 30000

static void set_text(json_t *object, const char *name, const char *value)
{
	json_object_set_new(object, name, value ? json_string(value) : json_null());
}

static void set_ip(json_t *object, const char *name, const struct ip *ip)
{
	char text[IP_STR_MAX];
	set_text(object, name, ip_is_set(ip) ? ip_str(ip, text) : NULL);
}

static void set_net(json_t *object, const char *name, const struct ipnet *net)
{
	char text[IPNET_STR_MAX];
	set_text(object, name, ipnet_is_set(net) ? ipnet_str(net, text) : NULL);
}

static void set_number(json_t *object, const char *name, uint64_t value)
{
	json_object_set_new(object, name, json_integer((json_int_t)value));
}

json_t *view_lease(const struct agent *agent)
{
	json_t *object = json_object();
	const struct err *why = NULL;
	const struct lease *lease = fabric_lease(agent->fabric);
	enum fabric_lease_state state = fabric_lease_state(agent->fabric, &why);
	static const struct lease none = { 0 };
	const struct lease *shown = lease ? lease : &none;
	set_net(object, "subnet", &shown->subnet.v4);
	set_net(object, "ipv6_subnet", &shown->subnet.v6);
	set_ip(object, "public_ip", &shown->attrs.public_ip);
	set_ip(object, "public_ipv6", &shown->attrs.public_ipv6);
	set_text(object, "state", fabric_lease_state_names[state]);
	set_text(object, "error", why && why->code != 0 ? why->msg : "");
	json_object_set_new(object, "expires_in_s",
			    json_integer((json_int_t)fabric_lease_expires_in_s(agent->fabric)));
	json_object_set_new(object, "reservation",
			    json_boolean(lease && lease->session == 0 && state == FABRIC_LEASE_HELD));
	// 64 bits do not fit the numbers of many JSON readers.
	_cleanup_free_ char *session = xasprintf("%lld", (long long)shown->session);
	set_text(object, "session", session);
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
	set_net(object, "subnet", &lease->subnet.v4);
	set_net(object, "ipv6_subnet", &lease->subnet.v6);
	set_ip(object, "public_ip", &lease->attrs.public_ip);
	set_ip(object, "public_ipv6", &lease->attrs.public_ipv6);
	set_text(object, "backend_type", lease->attrs.backend_type);
	set_text(object, "mac", data_mac(lease, mac));
	return object;
}

json_t *view_peer(struct agent *agent, const struct lease *lease)
{
	json_t *object = describe_lease(lease);
	const struct trouble_entry *trouble =
		trouble_find(reconcile_trouble(agent->reconcile), &lease->subnet);
	struct wanted wanted = { .path = "", .why = "" };
	struct err e = { 0 };
	if (agent->backend)
		(void)reconcile_explain(agent->reconcile, lease, &wanted,
					&e); // the reason is shown as trouble
	const char *state = trouble ? (trouble->ignored ? "ignored" : "failed")
			    : reconcile_is_synced(agent->reconcile) ? "ok"
								    : "pending";
	set_text(object, "state", state);
	set_text(object, "path", wanted.path);
	set_text(object, "why", wanted.why);
	set_text(object, "error", trouble ? trouble->text : "");
	return object;
}

struct peers_iterator {
	size_t position;
	json_t *odd;  // rejected ones, complete
	json_t *held; // subnets of those that are gone but kept: member name subnet, value why
	size_t odd_position;
};

static void collect_odd(void *arg, enum fabric_peer_state state, const char *key,
			const struct lease *lease, const char *why)
{
	struct peers_iterator *iterator = arg;
	char text[SUBNET_STR_MAX];
	if (state == FABRIC_PEER_HELD && lease) {
		json_object_set_new(iterator->held, subnet_str(&lease->subnet, text),
				    json_string(why));
		return;
	}
	json_t *object = lease ? describe_lease(lease) : json_object();
	set_text(object, "state", fabric_peer_state_names[state]);
	set_text(object, "error", why);
	set_text(object, "key", key);
	json_array_append_new(iterator->odd, object);
}

static void *view_peers_open(void *arg)
{
	struct agent *agent = arg;
	struct peers_iterator *iterator = xnew(struct peers_iterator);
	iterator->odd = json_array();
	iterator->held = json_object();
	fabric_odd_each(agent->fabric, collect_odd, iterator);
	return iterator;
}

static json_t *view_peers_next(void *arg, void *opaque)
{
	struct agent *agent = arg;
	struct peers_iterator *iterator = opaque;
	if (iterator->odd_position < json_array_size(iterator->odd))
		return json_incref(json_array_get(iterator->odd, iterator->odd_position++));
	const struct lease *lease = lease_set_next(fabric_peers(agent->fabric), &iterator->position);
	if (!lease)
		return NULL;
	json_t *object = view_peer(agent, lease);
	char text[SUBNET_STR_MAX];
	json_t *held = json_object_get(iterator->held, subnet_str(&lease->subnet, text));
	if (held) {
		set_text(object, "state", fabric_peer_state_names[FABRIC_PEER_HELD]);
		set_text(object, "error", json_string_value(held));
	}
	return object;
}

static void view_peers_close(void *arg, void *opaque)
{
	struct peers_iterator *iterator = opaque;
	(void)arg;
	json_decref(iterator->odd);
	json_decref(iterator->held);
	free(iterator);
}

// ---- status ----

static json_t *view_network(const struct agent *agent)
{
	json_t *object = json_object();
	const struct netconf *conf = fabric_netconf(agent->fabric);
	static const struct netconf none = { 0 };
	const struct netconf *shown = conf ? conf : &none;
	set_text(object, "prefix", agent->options->store_flags.prefix);
	set_net(object, "network", &shown->v4.network);
	set_net(object, "ipv6_network", &shown->v6.network);
	set_number(object, "subnet_len",
		   shown->v4.enabled ? shown->v4.subnet_len : shown->v6.subnet_len);
	set_text(object, "error", agent->config_error.code != 0 ? agent->config_error.msg : "");
	return object;
}

static json_t *view_store(const struct agent *agent)
{
	json_t *object = json_object();
	const struct err *why = NULL;
	uint64_t since_ms = 0;
	bool up = fabric_store_up(agent->fabric, &why, &since_ms);
	const struct kv_stats *stats = kv_stats(agent->kv);
	set_text(object, "kind", kv_kind(agent->kv));
	set_text(object, "endpoint", kv_endpoint(agent->kv));
	json_object_set_new(object, "up", json_boolean(up));
	set_number(object, "since_s", (loop_now_ms() - since_ms) / 1000);
	set_text(object, "error", up || !why ? "" : why->msg);
	set_number(object, "requests", stats->requests);
	set_number(object, "failures", stats->failures);
	set_number(object, "events", stats->events);
	set_number(object, "watch_restarts", stats->watch_restarts);
	return object;
}

static json_t *view_backend(const struct agent *agent)
{
	json_t *object = json_object();
	json_t *list = json_array();
	const struct netconf *conf = fabric_netconf(agent->fabric);
	struct wanted_devices devices = { 0 };
	if (agent->backend)
		backend_devices(agent->backend, &devices);
	for (size_t i = 0; i < devices.count; i++) {
		const struct link *link = &devices.devices[i].link;
		char mac[MAC_STR_MAX];
		json_t *device = json_object();
		set_text(device, "name", link->name);
		set_number(device, "mtu", link->mtu_bytes);
		set_text(device, "mac", mac_str(&link->mac, mac));
		set_number(device, "vni", link->vxlan.vni);
		set_number(device, "port", link->vxlan.port);
		json_array_append_new(list, device);
	}
	set_text(object, "type",
		 agent->backend ? backend_type(agent->backend)
		 : conf		? conf->backend_type
				: NULL);
	json_object_set_new(object, "devices", list);
	const struct err *error = agent->bring_up_error.code != 0 ? &agent->bring_up_error
								  : &agent->device_error;
	set_text(object, "error", error->code != 0 ? error->msg : "");
	return object;
}

static json_t *view_interface(const struct agent *agent)
{
	if (!agent->chosen)
		return json_null();
	json_t *object = json_object();
	set_text(object, "name", agent->choice.name);
	set_ip(object, "ip", &agent->choice.ip4);
	set_ip(object, "ipv6", &agent->choice.ip6);
	set_number(object, "mtu", agent->choice.mtu_bytes);
	return object;
}

struct peer_counts {
	size_t total, programmed, failed, ignored, held, rejected;
};

static struct peer_counts count_peers(const struct agent *agent)
{
	const struct trouble *trouble = reconcile_trouble(agent->reconcile);
	struct peer_counts counts = {
		.total = lease_set_count(fabric_peers(agent->fabric)),
		.failed = trouble_count(trouble, false),
		.ignored = trouble_count(trouble, true),
		.held = fabric_peer_count(agent->fabric, FABRIC_PEER_HELD),
		.rejected = fabric_peer_count(agent->fabric, FABRIC_PEER_REJECTED),
	};
	size_t odd = counts.failed + counts.ignored;
	counts.programmed =
		reconcile_is_synced(agent->reconcile) && counts.total > odd ? counts.total - odd : 0;
	return counts;
}

static json_t *view_peer_counts(const struct agent *agent)
{
	struct peer_counts counts = count_peers(agent);
	json_t *object = json_object();
	set_number(object, "total", counts.total);
	set_number(object, "programmed", counts.programmed);
	set_number(object, "failed", counts.failed);
	set_number(object, "held", counts.held);
	set_number(object, "rejected", counts.rejected);
	set_number(object, "ignored", counts.ignored);
	return object;
}

static const char *const kind_names[KERNEL_KIND_COUNT] = {
	[KERNEL_LINK] = "link", [KERNEL_ADDR] = "address",    [KERNEL_NEIGH] = "neighbour",
	[KERNEL_FDB] = "fdb",	[KERNEL_NEXTHOP] = "nexthop", [KERNEL_ROUTE] = "route",
};

static json_t *view_repairs(const struct agent *agent)
{
	const struct reconcile_stats *stats = reconcile_stats(agent->reconcile);
	json_t *object = json_object();
	json_t *kinds = json_object();
	uint64_t total = 0;
	for (size_t kind = 0; kind < KERNEL_KIND_COUNT; kind++) {
		total += stats->repairs[kind];
		set_number(kinds, kind_names[kind], stats->repairs[kind]);
	}
	set_number(object, "total", total);
	json_object_set_new(object, "by_kind", kinds);
	set_text(object, "last", stats->last_repair);
	if (stats->last_repair_at_ms > 0)
		set_number(object, "last_age_s", (loop_now_ms() - stats->last_repair_at_ms) / 1000);
	return object;
}

static json_t *view_wars(const struct agent *agent)
{
	json_t *list = json_array();
	size_t position = 0;
	uint64_t now_ms = loop_now_ms();
	const struct war_entry *entry;
	while ((entry = war_next(reconcile_war(agent->reconcile), &position, now_ms))) {
		char text[KERNEL_OBJECT_STR_MAX];
		json_t *object = json_object();
		set_text(object, "object", kernel_object_str(&entry->object, text));
		set_number(object, "count", entry->repairs);
		set_number(object, "held_s", (entry->hold_until_ms - now_ms) / 1000);
		json_array_append_new(list, object);
	}
	return list;
}

static json_t *view_lines(const char *text)
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

static json_t *view_netlink(const struct agent *agent)
{
	const struct netlink_stats *stats = netlink_stats(agent->nl);
	json_t *object = json_object();
	set_number(object, "messages", stats->messages);
	set_number(object, "sends", stats->sends);
	set_number(object, "failed", stats->failed);
	set_number(object, "dumps", stats->dumps);
	return object;
}

// For a `weft` on a host that is the store itself: its file is in use.
static json_t *view_served(const struct server_access *access, const char *prefix)
{
	json_t *object = json_object();

	set_text(object, "store", "controller");
	json_object_set_new(object, "endpoints", json_pack("[s]", access->endpoint));
	set_text(object, "prefix", prefix);
	set_text(object, "pin", access->pin);
	set_text(object, "token_file", access->token_file);
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
	set_text(object, "store", agent->options->store.kind);
	json_object_set_new(object, "endpoints", endpoints);
	set_text(object, "prefix", store->prefix);
	set_text(object, "etcd_cafile", store->ca_file);
	set_text(object, "etcd_certfile", store->cert_file);
	set_text(object, "etcd_keyfile", store->key_file);
	set_text(object, "etcd_username", store->username);
	set_text(object, "consul_cafile", store->consul.ca_file);
	set_text(object, "consul_certfile", store->consul.cert_file);
	set_text(object, "consul_keyfile", store->consul.key_file);
	set_text(object, "consul_token_file", store->consul.token_file);
	set_text(object, "remote_cafile", store->remote_ca_file);
	set_text(object, "remote_certfile", store->remote_cert_file);
	set_text(object, "remote_keyfile", store->remote_key_file);
	set_text(object, "pin", store->pin);
	set_text(object, "token_file", store->token_file);
	return object;
}

static bool view_ready(void *arg, struct strbuf *reasons);

static json_t *view_status(void *arg)
{
	struct agent *agent = arg;
	_cleanup_strbuf_ struct strbuf reasons = STRBUF_INIT(8192);
	json_t *object = json_object();
	set_text(object, "version", WEFT_VERSION);
	set_number(object, "pid", (uint64_t)getpid());
	set_number(object, "uptime_s", (loop_now_ms() - agent->started_ms) / 1000);
	json_object_set_new(object, "ready", json_boolean(view_ready(agent, &reasons)));
	json_object_set_new(object, "reasons", view_lines(strbuf_text(&reasons)));
	json_object_set_new(object, "network", view_network(agent));
	json_object_set_new(object, "lease", view_lease(agent));
	json_object_set_new(object, "store", view_store(agent));
	json_object_set_new(object, "backend", view_backend(agent));
	json_object_set_new(object, "interface", view_interface(agent));
	json_object_set_new(object, "peers", view_peer_counts(agent));
	json_object_set_new(object, "repairs", view_repairs(agent));
	json_object_set_new(object, "wars", view_wars(agent));
	json_object_set_new(object, "restart_needed", view_lines(strbuf_text(&agent->restart_needed)));
	json_object_set_new(object, "netlink", view_netlink(agent));
	json_object_set_new(object, "settings", view_settings(agent));
	return object;
}

static json_t *view_own_lease(void *arg)
{
	return view_lease(arg);
}

// ---- readiness ----

static void ready_lease(const struct agent *agent, struct strbuf *reasons)
{
	const struct err *why = NULL;
	enum fabric_lease_state state = fabric_lease_state(agent->fabric, &why);
	const char *reason = why && why->code != 0 ? why->msg : "";
	if (state != FABRIC_LEASE_HELD)
		(void)strbuf_printf(reasons, "lease %s%s%s\n", fabric_lease_state_names[state],
				    *reason ? ": " : "", reason);
}

static void ready_store(const struct agent *agent, struct strbuf *reasons)
{
	const struct err *why = NULL;
	uint64_t since_ms = 0;
	if (fabric_store_up(agent->fabric, &why, &since_ms) || !why || why->code == 0)
		return;
	// Without a lease of our own nothing else matters.
	bool is_held = fabric_lease_state(agent->fabric, NULL) == FABRIC_LEASE_HELD;
	if (!is_held || loop_now_ms() - since_ms > STORE_GRACE_MS)
		(void)strbuf_printf(reasons, "store not reached for %llu s: %s\n",
				    (unsigned long long)((loop_now_ms() - since_ms) / 1000), why->msg);
}

static bool view_ready(void *arg, struct strbuf *reasons)
{
	struct agent *agent = arg;
	size_t before = reasons->len;
	if (agent->config_error.code != 0)
		(void)strbuf_printf(reasons, "%s\n", agent->config_error.msg);
	if (agent->bring_up_error.code != 0)
		(void)strbuf_printf(reasons, "%s\n", agent->bring_up_error.msg);
	if (agent->device_error.code != 0)
		(void)strbuf_printf(reasons, "%s\n", agent->device_error.msg);
	if (agent->env_error)
		(void)strbuf_printf(reasons, "%s\n", agent->env_error);
	ready_lease(agent, reasons);
	ready_store(agent, reasons);
	if (!reconcile_stats(agent->reconcile)->passes)
		(void)strbuf_puts(reasons, "the kernel is not programmed yet\n");
	return reasons->len == before;
}

// ---- plan ----

static void plan_change(void *arg, enum netlink_verb verb, const struct kernel_object *object)
{
	static const char *const verbs[] = {
		[NETLINK_CREATE] = "create", [NETLINK_REPLACE] = "replace", [NETLINK_DELETE] = "delete"
	};
	struct agent *agent = arg;
	char text[KERNEL_OBJECT_STR_MAX];
	if (agent->plan_total++ >= API_PLAN_CHANGES_MAX)
		return;
	json_array_append_new(agent->plan_changes, json_pack("{s:s, s:s, s:s}", "verb", verbs[verb],
							     "kind", kind_names[object->kind], "object",
							     kernel_object_str(object, text)));
}

static void plan_done(void *arg, int r, const struct err *e)
{
	struct agent *agent = arg;
	json_t *changes = TAKE_PTR(agent->plan_changes);
	json_t *plan = r < 0 ? NULL
			     : json_pack("{s:O, s:I}", "changes", changes, "total",
					 (json_int_t)agent->plan_total);
	json_decref(changes);
	agent->plan_done(agent->plan_done_arg, r, plan, e);
}

static void view_plan(void *arg, api_plan_fn *done, void *done_arg)
{
	struct agent *agent = arg;
	struct err e = { 0 };
	if (!agent->backend || !agent->peers_known) {
		err_set(&e, -EAGAIN, "nothing to plan yet: %s",
			agent->bring_up_error.code != 0
				? agent->bring_up_error.msg
				: "config, interface and peers are not all known");
		done(done_arg, e.code, NULL, &e);
		return;
	}
	json_decref(agent->plan_changes);
	agent->plan_changes = json_array();
	agent->plan_total = 0;
	agent->plan_done = done;
	agent->plan_done_arg = done_arg;
	int r = reconcile_plan(agent->reconcile, plan_change, plan_done, agent);
	if (r < 0) {
		err_set(&e, r, "another plan is being made");
		plan_done(agent, r, &e);
	}
}

// ---- metrics ----

static void metrics_peers(const struct agent *agent, struct strbuf *out)
{
	struct peer_counts counts = count_peers(agent);
	const struct {
		const char *state;
		size_t count;
	} states[] = { { "programmed", counts.programmed },
		       { "failed", counts.failed },
		       { "ignored", counts.ignored },
		       { "held", counts.held },
		       { "rejected", counts.rejected } };
	metric_family(out, METRIC_GAUGE, "weft_peers", "Peers by state.");
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		metric_sample(out, "weft_peers", &(struct metric_label){ "state", states[i].state },
			      1, (double)states[i].count);
}

static void metrics_reconcile(const struct agent *agent, struct strbuf *out)
{
	const struct reconcile_stats *stats = reconcile_stats(agent->reconcile);
	metric_family(out, METRIC_COUNTER, "weft_repairs_total",
		      "Kernel objects put back after another program changed them.");
	for (size_t kind = 0; kind < KERNEL_KIND_COUNT; kind++)
		metric_sample(out, "weft_repairs_total",
			      &(struct metric_label){ "kind", kind_names[kind] }, 1,
			      (double)stats->repairs[kind]);
	metric_single(out, METRIC_COUNTER, "weft_repair_wars_total",
		      "Objects that another program kept undoing.", (double)stats->wars);
	metric_single(out, METRIC_COUNTER, "weft_reconcile_passes_total",
		      "Comparisons of everything wanted with the kernel.", (double)stats->passes);
	metric_single(out, METRIC_GAUGE, "weft_reconcile_last_pass_seconds",
		      "How long the last of them took.", (double)stats->last_pass_ms / 1000);
	metric_single(out, METRIC_COUNTER, "weft_peer_changes_total",
		      "Peers added, changed or removed by events.", (double)stats->changes);
}

static void metrics_netlink(const struct agent *agent, struct strbuf *out)
{
	const struct netlink_stats *stats = netlink_stats(agent->nl);
	metric_single(out, METRIC_COUNTER, "weft_netlink_messages_total",
		      "Requests sent to the kernel.", (double)stats->messages);
	metric_single(out, METRIC_COUNTER, "weft_netlink_sends_total",
		      "System calls that carried them.", (double)stats->sends);
	metric_single(out, METRIC_COUNTER, "weft_netlink_failed_total",
		      "Requests that the kernel refused.", (double)stats->failed);
	metric_single(out, METRIC_COUNTER, "weft_netlink_dumps_total", "Kernel tables read.",
		      (double)stats->dumps);
}

static void metrics_store(const struct agent *agent, struct strbuf *out)
{
	const struct kv_stats *stats = kv_stats(agent->kv);
	metric_single(out, METRIC_GAUGE, "weft_store_up", "1 if the store is reached and watched.",
		      fabric_store_up(agent->fabric, NULL, NULL));
	metric_single(out, METRIC_COUNTER, "weft_store_requests_total", "Requests to the store.",
		      (double)stats->requests);
	metric_single(out, METRIC_COUNTER, "weft_store_failures_total",
		      "Requests to the store that failed.", (double)stats->failures);
	metric_single(out, METRIC_COUNTER, "weft_store_events_total",
		      "Changes that the store told.", (double)stats->events);
	metric_single(out, METRIC_COUNTER, "weft_store_watch_restarts_total",
		      "Watches begun again.", (double)stats->watch_restarts);
}

static void view_metrics(void *arg, struct strbuf *out)
{
	struct agent *agent = arg;
	_cleanup_strbuf_ struct strbuf reasons = STRBUF_INIT(8192);
	metric_family(out, METRIC_GAUGE, "weft_build_info", "Always 1; the label tells the version.");
	metric_sample(out, "weft_build_info", &(struct metric_label){ "version", WEFT_VERSION }, 1, 1);
	metric_single(out, METRIC_GAUGE, "weft_ready", "1 if /readyz says ready.",
		      view_ready(agent, &reasons));
	metric_single(out, METRIC_GAUGE, "weft_lease_held", "1 if the store confirms our lease.",
		      fabric_lease_state(agent->fabric, NULL) == FABRIC_LEASE_HELD);
	metric_single(out, METRIC_GAUGE, "weft_lease_expires_in_seconds",
		      "Until our lease ends if it is not renewed; -1: never or unknown.",
		      (double)fabric_lease_expires_in_s(agent->fabric));
	metrics_peers(agent, out);
	metrics_reconcile(agent, out);
	metrics_netlink(agent, out);
	metrics_store(agent, out);
	metric_process(out);
}

const struct agent_view agent_view_of_agent = {
	.status = view_status,
	.lease = view_own_lease,
	.peers_open = view_peers_open,
	.peers_next = view_peers_next,
	.peers_close = view_peers_close,
	.plan = view_plan,
	.ready = view_ready,
	.metrics = view_metrics,
};
