// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one network of this host: its fabric, backend, reconciler and files, wired together: who is told of what.
#include "agent/agent_internal.h"

#include "agent/addresses.h"
#include "agent/former.h"
#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

// Of a network that leaves. The first may be of a pass that began before it was known that nothing is wanted any more.
#define LEAVING_SWEEPS 2

// ---- the fabric tells ----

static void publish(struct network *network, const char *event, json_t *members)
{
	if (!api_has_watchers(network->agent->api)) {
		json_decref(members);
		return;
	}
	json_t *object = json_pack("{s:s}", "event", event);
	json_object_update(object, members);
	json_decref(members);
	if (network->agent->has_several)
		json_object_set_new(object, "network", json_string(network->name));
	api_publish(network->agent->api, object);
}

static void on_config(void *arg, const struct netconf *conf, const char *text)
{
	struct network *network = arg;
	_cleanup_free_ char *shown = netconf_text_shown(text);
	log_info("%s: config %s", network->who, shown);
	memset(&network->config_error, 0, sizeof(network->config_error));
	state_file_changed(network->state_file, STATE_OWN);
	publish(network, "config", json_pack("{s:s}", "config", shown));
	if (network->backend)
		take_config(network, conf);
	else
		bring_up(network);
}

static void on_config_error(void *arg, const struct err *e)
{
	struct network *network = arg;
	network->config_error = *e;
	log_error("%s: %s", network->who, e->msg);
	notify_status(network->agent->notify, "%s%s", network->status_head, e->msg);
	publish(network, "config", json_pack("{s:s}", "error", e->msg));
	agent_note_progress(network->agent);
}

static void tell_lease(struct network *network, enum fabric_lease_state state,
		       const struct lease *lease, const struct err *why)
{
	char text[SUBNET_STR_MAX];
	const char *name = fabric_lease_state_names[state];
	const char *reason = why && why->code != 0 ? why->msg : "";
	if (state == FABRIC_LEASE_HELD)
		log_info("%s: lease %s is held", network->who, subnet_str(&lease->subnet, text));
	else
		log_warn("%s: lease %s: %s%s%s", network->who,
			 lease ? subnet_str(&lease->subnet, text) : "none", name,
			 *reason ? ": " : "", reason);
	notify_status(network->agent->notify, "%slease %s: %s%s%s", network->status_head,
		      lease ? subnet_str(&lease->subnet, text) : "none", name, *reason ? ": " : "",
		      reason);
	publish(network, "lease", view_lease(network));
	agent_note_progress(network->agent);
}

static void on_lease(void *arg, enum fabric_lease_state state, const struct lease *lease,
		     const struct err *why)
{
	struct network *network = arg;
	tell_lease(network, state, lease, why);
	addresses_lease(network, state, lease, why && why->code != 0 ? why->msg : NULL);
	state_file_changed(network->state_file, STATE_OWN);
	wg_rotate_note_lease(network);
	if (!lease)
		return;
	// From the first confirmed lease on the peers are the store's, not a cache's.
	if (state != FABRIC_LEASE_CACHED && state != FABRIC_LEASE_NONE) {
		bool is_news = !network->peers_are_the_stores;
		network->peers_are_the_stores = true;
		reconcile_allow_sweep(network->reconcile, true);
		if (is_news)
			network_udp_peers_reset(network);
	}
	if (!network->backend)
		return;
	backend_set_subnet(network->backend, &lease->subnet);
	network_udp_update(network);
	write_subnet_env(network);
	extension_lease_known(network->extension);
	// The address of our device; why it could not be set the next pass tells.
	if (network->peers_known && reconcile_devices(network->reconcile, NULL) < 0)
		reconcile_request(network->reconcile, RECONCILE_CHANGE);
}

static void on_peer_changed(void *arg, const struct lease *old, const struct lease *now)
{
	struct network *network = arg;
	if (log_enabled(LOG_LEVEL_DEBUG)) {
		char text[SUBNET_STR_MAX];
		log_debug("%s: peer %s %s", network->who,
			  subnet_str(now ? &now->subnet : &old->subnet, text),
			  !old	? "added"
			  : now ? "changed"
				: "removed");
	}
	extension_peer_changed(network->extension, old, now);
	if (network->backend)
		reconcile_peer_changed(network->reconcile, old, now);
	if (network->udp)
		udp_process_peer_changed(network->udp, now ? &now->subnet : &old->subnet);
	mesh_peer_changed(network, old, now);
	state_file_changed(network->state_file, STATE_PEERS);
	if (api_has_watchers(network->agent->api))
		publish(network,
			!old  ? "peer-added"
			: now ? "peer-changed"
			      : "peer-removed",
			view_peer(network, now ? now : old));
}

static void on_peers_reset(void *arg, bool is_partial)
{
	struct network *network = arg;
	bool goes_on = network->peers_known && network->peers_partial;
	enum reconcile_reason reason = network->peers_known ? RECONCILE_CHANGE : RECONCILE_START;
	network->peers_known = true;
	network->peers_partial = is_partial;
	reconcile_expect_peers(network->reconcile, is_partial);
	network_udp_peers_reset(network);
	mesh_peers_reset(network, is_partial);
	state_file_changed(network->state_file, STATE_PEERS);
	extension_peers_reset(network->extension, is_partial);
	if (network->backend && !goes_on)
		reconcile_request(network->reconcile, reason);
}

static const char *product(const char *kind)
{
	return strcmp(kind, "consul") == 0	 ? "Consul"
	       : strcmp(kind, "controller") == 0 ? "the controller"
						 : "etcd";
}

static void on_store(void *arg, bool up, const struct err *why)
{
	struct network *network = arg;
	const char *kind = network->agent->options->store.kind;
	_cleanup_free_ char *is_it_up = xasprintf("; is %s up there, and --%s right?",
						  product(kind), store_options_endpoints_flag(kind));
	if (up)
		log_info("%s: store %s is reached", network->who, kv_endpoint(network->agent->kv));
	else
		log_warn("%s: store is not reached: %s%s", network->who, err_msg(why),
			 network->store_was_up ? "" : is_it_up);
	network->store_was_up = network->store_was_up || up;
	if (up && network->ipam)
		ipam_store_is_back(network->ipam);
	publish(network, "store", json_pack("{s:b, s:s}", "up", up, "error", up ? "" : err_msg(why)));
}

static const struct fabric_hooks fabric_hooks = {
	.config = on_config,
	.config_error = on_config_error,
	.lease = on_lease,
	.peer_changed = on_peer_changed,
	.peers_reset = on_peers_reset,
	.store = on_store,
};

// ---- the reconciler asks and tells ----

static void source_devices(void *arg, struct wanted_devices *ret)
{
	struct network *network = arg;
	ret->count = 0;
	if (network->backend)
		backend_devices(network->backend, ret);
	for (size_t i = 0; i < ret->count; i++)
		ret->devices[i].is_awaited = network_udp_is_awaited(network);
}

static int source_peer(void *arg, const struct lease *peer, const struct underlay *underlay,
		       const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		       struct err *e)
{
	struct network *network = arg;
	struct err why = { 0 };
	int r = backend_want(network->backend, peer, underlay, paths, ret, e);
	if (r < 0 || extension_peer_state(network->extension, peer, &why) >= 0 ||
	    why.code == -EINPROGRESS)
		return r;
	return err_set(e, why.code, "%s", why.msg);
}

static bool source_needs_paths(void *arg)
{
	struct network *network = arg;
	return network->backend && backend_needs_paths(network->backend);
}

static const struct lease_set *source_peers(void *arg)
{
	struct network *network = arg;
	return network->is_leaving ? network->no_peers : fabric_peers(network->fabric);
}

static const struct underlay *source_underlay(void *arg)
{
	struct network *network = arg;
	return &network->underlay;
}

// By the config that the backend was opened with, as the routes are.
static bool source_owns(void *arg, const struct ipnet *dst)
{
	struct network *network = arg;
	const struct netconf *conf = network->backend ? backend_netconf(network->backend) : NULL;
	return conf && (ipnet_contains_net(&conf->v4.network, dst) ||
			ipnet_contains_net(&conf->v6.network, dst));
}

static void on_repaired(void *arg, const struct kernel_object *object, bool war)
{
	struct network *network = arg;
	const char *label = network->agent->has_several ? network->who : "reconcile";
	char text[KERNEL_OBJECT_STR_MAX];
	kernel_object_str(object, text);
	if (war)
		log_warn("%s: %s is undone by another program again and again: leaving it alone for a while",
			 label, text);
	else
		log_rl(LOG_LEVEL_INFO, "%s: repaired %s", label, text);
	publish(network, war ? "war" : "repair", json_pack("{s:s}", "object", text));
}

static void on_device_error(void *arg, const struct err *e)
{
	struct network *network = arg;
	if (!e) {
		if (network->device_error.code != -EINPROGRESS)
			log_info("%s: recovered from: %s", network->who, network->device_error.msg);
		memset(&network->device_error, 0, sizeof(network->device_error));
		return;
	}
	network->device_error = *e;
	// What cannot be made need not be removed, and must not keep the rest.
	if (network->is_leaving) {
		network->sweeps = LEAVING_SWEEPS;
		timer_start(network->bring_up_timer, 0);
	}
	// Of a device that is on its way nobody need be told.
	if (e->code != -EINPROGRESS)
		log_error("%s: %s", network->who, e->msg);
}

static void on_swept(void *arg)
{
	struct network *network = arg;
	if (!network->is_leaving)
		return;
	if (++network->sweeps < LEAVING_SWEEPS)
		reconcile_request(network->reconcile, RECONCILE_CHANGE);
	else
		timer_start(network->bring_up_timer, 0);
}

static const struct reconcile_source reconcile_source = {
	.devices = source_devices,
	.peer = source_peer,
	.needs_paths = source_needs_paths,
	.peers = source_peers,
	.underlay = source_underlay,
	.owns = source_owns,
	.repaired = on_repaired,
	.device_error = on_device_error,
	.swept = on_swept,
};

bool network_wants_device(const struct network *network, const char *name)
{
	struct wanted_devices devices = { 0 };
	if (network->backend)
		backend_devices(network->backend, &devices);
	for (size_t i = 0; i < devices.count; i++)
		if (strcmp(devices.devices[i].link.name, name) == 0)
			return true;
	return false;
}

const struct subnet *network_own_subnet(const struct network *network)
{
	const struct lease *lease = network->fabric ? fabric_lease(network->fabric) : NULL;
	if (lease)
		return &lease->subnet;
	return network->env_written || ipnet_is_set(&network->env.subnet.v4) ||
			       ipnet_is_set(&network->env.subnet.v6)
		       ? &network->env.subnet
		       : NULL;
}

// ---- the kernel tells ----

static bool concerns_underlay(const struct network *network, const struct kernel_object *object)
{
	if (object->kind == KERNEL_LINK)
		return !network->chosen || object->link.ifindex == network->choice.ifindex ||
		       strcmp(object->link.name, network->choice.name) == 0;
	if (object->kind == KERNEL_ADDR)
		return !network->chosen || object->addr.ifindex == network->choice.ifindex;
	return object->kind == KERNEL_ROUTE && object->route.dst.len == 0;
}

void network_kernel_event(struct network *network, const struct kernel_event *event)
{
	if (event->object.kind == KERNEL_ADDR && network->env_written)
		docker_check(network);
	if (network->backend)
		reconcile_kernel_event(network->reconcile, event);
	if (!network->is_leaving && fabric_netconf(network->fabric) &&
	    concerns_underlay(network, &event->object))
		bring_up_again_soon(network);
}

void network_reload(struct network *network)
{
	fabric_refresh(network->fabric);
	bring_up(network);
	if (network->backend && network->peers_known)
		reconcile_request(network->reconcile, RECONCILE_DRIFT);
}

static void on_bring_up_timer(void *arg)
{
	struct network *network = arg;
	if (!network->is_leaving) {
		bring_up(network);
		return;
	}
	if (network->backend && (network->sweeps < LEAVING_SWEEPS || network->extension_ends))
		return;
	former_remove_all(network);
	log_info("%s: it has nothing on this host any more", network->who);
	network_left(network);
}

// ---- cached state ----

static const char *cached_config_text(void *arg)
{
	struct network *network = arg;
	return fabric_config_text(network->fabric);
}

static const struct lease *cached_lease(void *arg)
{
	struct network *network = arg;
	return fabric_lease(network->fabric);
}

static const struct lease_set *cached_peers(void *arg)
{
	struct network *network = arg;
	return fabric_peers(network->fabric);
}

static const struct state_source state_source = {
	.config_text = cached_config_text,
	.lease = cached_lease,
	.peers = cached_peers,
};

static void read_previous_env(struct network *network)
{
	_cleanup_strbuf_ struct strbuf notices = STRBUF_INIT(4096);
	struct err e = { 0 };
	int r = subnet_env_read(network->subnet_file, &network->env, &notices, &e);
	if (r < 0 && r != -ENOENT)
		log_warn("%s: %s", network->who, e.msg);
	if (notices.len > 0)
		log_warn("%s: %s", network->who, strbuf_text(&notices));
}

static void make_fabric(struct network *network)
{
	const struct options *options = network->agent->options;
	const struct lease *cached = network->state.has_lease ? &network->state.lease : NULL;
	const struct subnet *previous = cached ? &cached->subnet : NULL;
	// Both are written together. Where they differ, flannel ran meanwhile: containers live in what it said.
	if (ipnet_is_set(&network->env.subnet.v4) || ipnet_is_set(&network->env.subnet.v6)) {
		previous = &network->env.subnet;
		if (cached && !subnet_equal(previous, &cached->subnet))
			cached = NULL;
	}
	network->was_here = previous != NULL;
	struct fabric_config config = {
		.previous = previous,
		.allow_subnet_change = options->allow_subnet_change,
		.lease_ttl_s = options->lease_ttl_s,
		.renew_margin_s = options->renew_margin_minutes * 60,
		.peer_hold_ms = options->peer_hold_ms,
		.rests_without_config = options->watch_networks,
	};
	network->fabric = fabric_new(network->agent->loop, network->registry, &config,
				     &fabric_hooks, network);
	if (network->state.config_text)
		fabric_seed(network->fabric, network->state.config_text, cached,
			    TAKE_PTR(network->state.peers));
}

// ---- life ----

static int open_files(struct network *network, struct err *e)
{
	struct agent *agent = network->agent;
	read_previous_env(network);
	state_load(network->state_dir, network->prefix, &network->state);
	int r = state_file_new(agent->loop, network->state_dir, network->prefix, &state_source,
			       network, &network->state_file, e);
	for (size_t i = 0; r == 0 && i < network->state.mac_count; i++)
		state_file_set_mac(network->state_file, network->state.macs[i].device,
				   &network->state.macs[i].mac);
	return r;
}

static void set_names(struct network *network, const char *name)
{
	const struct options *options = network->agent->options;
	network->name = xstrdup(name);
	if (!*name) {
		network->who = xstrdup("agent");
		network->status_head = xstrdup("");
		network->prefix = xstrdup(options->store_flags.prefix);
		network->state_dir = xstrdup(options->state_dir);
		network->subnet_file = xstrdup(options->subnet_file);
		return;
	}
	network->who = xasprintf("network %s", name);
	network->status_head = xasprintf("network %s: ", name);
	network->prefix = xasprintf("%s/%s", options->store_flags.prefix, name);
	network->state_dir = xasprintf("%s/" NETWORKS_STATE_DIR "/%s", options->state_dir, name);
	network->subnet_file = xasprintf("%s/%s.env", options->subnet_dir, name);
}

int network_new(struct agent *agent, const char *name, struct network **ret, struct err *e)
{
	struct network *network = xnew(struct network);
	network->agent = agent;
	network->scope = (struct view_scope){ agent, network };
	set_names(network, name);
	network->restart_needed = STRBUF_INIT(4096);
	network->bring_up_timer = timer_new(agent->loop, on_bring_up_timer, network);
	network->reconcile = reconcile_new(agent->loop, agent->nl, &reconcile_source, network,
					   agent->options->scan_interval_ms);
	network->raise_timer = timer_new(agent->loop, path_mtu_raise, network);
	network->probes = agent->prober ? probe_group_new(agent->prober, network) : NULL;
	int r = registry_new(agent->kv, network->prefix, &network->registry, e);
	if (r == 0 && *agent->owner)
		registry_set_owner(network->registry, agent->owner);
	if (r == 0)
		r = open_files(network, e);
	if (r < 0) {
		network_free(network);
		return r;
	}
	make_fabric(network);
	addresses_open(network);
	*ret = network;
	return 0;
}

void network_start(struct network *network)
{
	fabric_start(network->fabric);
}

void network_flush(struct network *network)
{
	struct err e = { 0 };
	if (network->state_file && state_file_flush(network->state_file, &e) < 0)
		log_warn("%s: %s", network->who, e.msg);
}

static void on_extension_over(void *arg)
{
	struct network *network = arg;
	network->extension_ends = false;
	timer_start(network->bring_up_timer, 0);
}

void network_leave(struct network *network)
{
	log_info("%s: it is not in the store any more: removing its devices and routes", network->who);
	network->is_leaving = true;
	network->no_peers = lease_set_new();
	view_plan_end(network);
	addresses_close(network);
	wg_rotate_end(network);
	network->probes = probe_group_free(network->probes);
	network->state_file = state_file_delete(network->state_file);
	network->fabric = fabric_free(network->fabric);
	network->registry = registry_free(network->registry);
	timer_stop(network->bring_up_timer);
	if (network->udp)
		udp_process_stop(network->udp);
	timer_stop(network->raise_timer);
	if (!network->backend) {
		timer_start(network->bring_up_timer, 0);
		return;
	}
	network->extension_ends = extension_end(network->extension, true, on_extension_over, network);
	reconcile_expect_peers(network->reconcile, false);
	reconcile_allow_sweep(network->reconcile, true);
	reconcile_request(network->reconcile, RECONCILE_CHANGE);
}

struct network *network_free(struct network *network)
{
	if (!network)
		return NULL;
	view_plan_end(network);
	addresses_close(network);
	wg_rotate_end(network);
	probe_group_free(network->probes);
	timer_free(network->gone_timer);
	timer_free(network->raise_timer);
	timer_free(network->bring_up_timer);
	udp_process_free(network->udp);
	extension_free(network->extension);
	reconcile_free(network->reconcile);
	state_file_free(network->state_file);
	fabric_free(network->fabric);
	registry_free(network->registry);
	backend_free(network->backend);
	lease_set_free(network->no_peers);
	state_free(&network->state);
	json_decref(network->plan_changes);
	strbuf_free(&network->restart_needed);
	free(network->env_error);
	free(network->docker_trouble);
	free(network->name);
	free(network->who);
	free(network->status_head);
	free(network->prefix);
	free(network->state_dir);
	free(network->subnet_file);
	free(network);
	return NULL;
}
