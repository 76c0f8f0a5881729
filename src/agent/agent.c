// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the wiring: who is told of what.
#include "agent/agent_internal.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <string.h>

#define MONITOR_SLICE_EVENTS 2000

// ---- the fabric tells ----

static void publish(struct agent *agent, const char *event, json_t *members)
{
	if (!api_has_watchers(agent->api)) {
		json_decref(members);
		return;
	}
	json_t *object = json_pack("{s:s}", "event", event);
	json_object_update(object, members);
	json_decref(members);
	api_publish(agent->api, object);
}

static void on_config(void *arg, const struct netconf *conf, const char *text)
{
	struct agent *agent = arg;
	log_info("agent: config %s", text);
	memset(&agent->config_error, 0, sizeof(agent->config_error));
	state_file_changed(agent->state_file, STATE_OWN);
	publish(agent, "config", json_pack("{s:s}", "config", text));
	if (agent->backend)
		take_config(agent, conf);
	else
		bring_up(agent);
}

static void on_config_error(void *arg, const struct err *e)
{
	struct agent *agent = arg;
	agent->config_error = *e;
	log_error("agent: %s", e->msg);
	notify_status(agent->notify, "%s", e->msg);
	publish(agent, "config", json_pack("{s:s}", "error", e->msg));
}

static void tell_lease(struct agent *agent, enum fabric_lease_state state,
		       const struct lease *lease, const struct err *why)
{
	char text[SUBNET_STR_MAX];
	const char *name = fabric_lease_state_names[state];
	const char *reason = why && why->code != 0 ? why->msg : "";
	if (state == FABRIC_LEASE_HELD)
		log_info("agent: lease %s is held", subnet_str(&lease->subnet, text));
	else
		log_warn("agent: lease %s: %s%s%s", lease ? subnet_str(&lease->subnet, text) : "none",
			 name, *reason ? ": " : "", reason);
	notify_status(agent->notify, "lease %s: %s%s%s",
		      lease ? subnet_str(&lease->subnet, text) : "none", name, *reason ? ": " : "",
		      reason);
	publish(agent, "lease", view_lease(agent));
}

static void on_lease(void *arg, enum fabric_lease_state state, const struct lease *lease,
		     const struct err *why)
{
	struct agent *agent = arg;
	tell_lease(agent, state, lease, why);
	state_file_changed(agent->state_file, STATE_OWN);
	if (!lease)
		return;
	// From the first confirmed lease on the peers are the store's, not a cache's.
	if (state != FABRIC_LEASE_CACHED && state != FABRIC_LEASE_NONE)
		reconcile_allow_sweep(agent->reconcile, true);
	if (!agent->backend)
		return;
	backend_set_subnet(agent->backend, &lease->subnet);
	write_subnet_env(agent);
	// The address of our device; why it could not be set the next pass tells.
	if (agent->peers_known && reconcile_devices(agent->reconcile, NULL) < 0)
		reconcile_request(agent->reconcile, RECONCILE_CHANGE);
}

static void on_peer_changed(void *arg, const struct lease *old, const struct lease *now)
{
	struct agent *agent = arg;
	if (log_enabled(LOG_LEVEL_DEBUG)) {
		char text[SUBNET_STR_MAX];
		log_debug("agent: peer %s %s", subnet_str(now ? &now->subnet : &old->subnet, text),
			  !old	? "added"
			  : now ? "changed"
				: "removed");
	}
	if (agent->backend)
		reconcile_peer_changed(agent->reconcile, old, now);
	state_file_changed(agent->state_file, STATE_PEERS);
	if (api_has_watchers(agent->api))
		publish(agent,
			!old  ? "peer-added"
			: now ? "peer-changed"
			      : "peer-removed",
			view_peer(agent, now ? now : old));
}

static void on_peers_reset(void *arg, bool is_partial)
{
	struct agent *agent = arg;
	bool goes_on = agent->peers_known && agent->peers_partial;
	enum reconcile_reason reason = agent->peers_known ? RECONCILE_CHANGE : RECONCILE_START;
	agent->peers_known = true;
	agent->peers_partial = is_partial;
	reconcile_expect_peers(agent->reconcile, is_partial);
	state_file_changed(agent->state_file, STATE_PEERS);
	if (agent->backend && !goes_on)
		reconcile_request(agent->reconcile, reason);
}

static const char *product(const char *kind)
{
	return strcmp(kind, "consul") == 0	 ? "Consul"
	       : strcmp(kind, "controller") == 0 ? "the controller"
						 : "etcd";
}

static void on_store(void *arg, bool up, const struct err *why)
{
	struct agent *agent = arg;
	const char *kind = agent->options->store.kind;
	_cleanup_free_ char *is_it_up = xasprintf("; is %s up there, and --%s right?",
						  product(kind), store_options_endpoints_flag(kind));
	if (up)
		log_info("agent: store %s is reached", kv_endpoint(agent->kv));
	else
		log_warn("agent: store is not reached: %s%s", err_msg(why),
			 agent->store_was_up ? "" : is_it_up);
	agent->store_was_up = agent->store_was_up || up;
	publish(agent, "store", json_pack("{s:b, s:s}", "up", up, "error", up ? "" : err_msg(why)));
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
	struct agent *agent = arg;
	ret->count = 0;
	if (agent->backend)
		backend_devices(agent->backend, ret);
}

static int source_peer(void *arg, const struct lease *peer, const struct underlay *underlay,
		       const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		       struct err *e)
{
	struct agent *agent = arg;
	return backend_want(agent->backend, peer, underlay, paths, ret, e);
}

static bool source_needs_paths(void *arg)
{
	struct agent *agent = arg;
	return agent->backend && backend_needs_paths(agent->backend);
}

static const struct lease_set *source_peers(void *arg)
{
	struct agent *agent = arg;
	return fabric_peers(agent->fabric);
}

static const struct underlay *source_underlay(void *arg)
{
	struct agent *agent = arg;
	return &agent->underlay;
}

static void on_repaired(void *arg, const struct kernel_object *object, bool war)
{
	struct agent *agent = arg;
	char text[KERNEL_OBJECT_STR_MAX];
	kernel_object_str(object, text);
	if (war)
		log_warn("reconcile: %s is undone by another program again and again: leaving it alone for a while",
			 text);
	else
		log_rl(LOG_LEVEL_INFO, "reconcile: repaired %s", text);
	publish(agent, war ? "war" : "repair", json_pack("{s:s}", "object", text));
}

static void on_device_error(void *arg, const struct err *e)
{
	struct agent *agent = arg;
	if (!e) {
		log_info("agent: recovered from: %s", agent->device_error.msg);
		memset(&agent->device_error, 0, sizeof(agent->device_error));
		return;
	}
	agent->device_error = *e;
	log_error("agent: %s", e->msg);
}

static const struct reconcile_source reconcile_source = {
	.devices = source_devices,
	.peer = source_peer,
	.needs_paths = source_needs_paths,
	.peers = source_peers,
	.underlay = source_underlay,
	.repaired = on_repaired,
	.device_error = on_device_error,
};

// ---- the kernel tells ----

static bool concerns_underlay(const struct agent *agent, const struct kernel_object *object)
{
	if (object->kind == KERNEL_LINK)
		return !agent->chosen || object->link.ifindex == agent->choice.ifindex ||
		       strcmp(object->link.name, agent->choice.name) == 0;
	if (object->kind == KERNEL_ADDR)
		return !agent->chosen || object->addr.ifindex == agent->choice.ifindex;
	return object->kind == KERNEL_ROUTE && object->route.dst.len == 0;
}

static void on_kernel_event(void *arg, const struct kernel_event *event)
{
	struct agent *agent = arg;
	if (event->port_id == netlink_port_id(agent->nl))
		return;
	if (agent->backend)
		reconcile_kernel_event(agent->reconcile, event);
	if (fabric_netconf(agent->fabric) && concerns_underlay(agent, &event->object))
		bring_up_again_soon(agent);
}

static void on_monitor_readable(void *arg, unsigned int events)
{
	struct agent *agent = arg;
	struct err e = { 0 };
	(void)events;
	int r = monitor_read(agent->monitor, MONITOR_SLICE_EVENTS, on_kernel_event, agent, &e);
	if (r == -ENOBUFS && agent->backend && agent->peers_known)
		reconcile_request(agent->reconcile, RECONCILE_DRIFT);
	else if (r < 0 && r != -ENOBUFS)
		log_rl(LOG_LEVEL_WARN, "agent: kernel notifications: %s", e.msg);
}

// ---- signals and timers ----

static void reload(struct agent *agent)
{
	// Before it was up for the first time the service cannot be up again.
	bool is_up = agent->env_written;

	log_info("agent: reading everything again");
	if (is_up)
		notify_reloading(agent->notify);
	fabric_refresh(agent->fabric);
	bring_up(agent);
	if (agent->backend && agent->peers_known)
		reconcile_request(agent->reconcile, RECONCILE_DRIFT);
	if (is_up)
		notify_ready(agent->notify);
}

static void on_signal(void *arg, int signal_number)
{
	struct agent *agent = arg;
	if (signal_number == SIGHUP) {
		reload(agent);
		return;
	}
	log_info("agent: stopping; the data plane and the lease stay");
	notify_stopping(agent->notify);
	loop_stop(agent->loop);
}

static void on_bring_up_timer(void *arg)
{
	bring_up(arg);
}

static void on_watchdog_timer(void *arg)
{
	struct agent *agent = arg;
	notify_watchdog(agent->notify);
	timer_start(agent->watchdog_timer, notify_watchdog_ms(agent->notify));
}

// ---- cached state ----

static const char *cached_config_text(void *arg)
{
	struct agent *agent = arg;
	return fabric_config_text(agent->fabric);
}

static const struct lease *cached_lease(void *arg)
{
	struct agent *agent = arg;
	return fabric_lease(agent->fabric);
}

static const struct lease_set *cached_peers(void *arg)
{
	struct agent *agent = arg;
	return fabric_peers(agent->fabric);
}

static const struct state_source state_source = {
	.config_text = cached_config_text,
	.lease = cached_lease,
	.peers = cached_peers,
};

static void read_previous_env(struct agent *agent)
{
	_cleanup_strbuf_ struct strbuf notices = STRBUF_INIT(4096);
	struct err e = { 0 };
	int r = subnet_env_read(agent->options->subnet_file, &agent->env, &notices, &e);
	if (r < 0 && r != -ENOENT)
		log_warn("agent: %s", e.msg);
	if (notices.len > 0)
		log_warn("agent: %s", strbuf_text(&notices));
}

static void make_fabric(struct agent *agent)
{
	const struct options *options = agent->options;
	const struct lease *cached = agent->state.has_lease ? &agent->state.lease : NULL;
	const struct subnet *previous = cached ? &cached->subnet : NULL;
	// Both are written together. Where they differ, flannel ran meanwhile: containers live in what it said.
	if (ipnet_is_set(&agent->env.subnet.v4) || ipnet_is_set(&agent->env.subnet.v6)) {
		previous = &agent->env.subnet;
		if (cached && !subnet_equal(previous, &cached->subnet))
			cached = NULL;
	}
	struct fabric_config config = {
		.previous = previous,
		.allow_subnet_change = options->allow_subnet_change,
		.lease_ttl_s = options->lease_ttl_s,
		.renew_margin_s = options->renew_margin_minutes * 60,
		.peer_hold_ms = options->peer_hold_ms,
	};
	agent->fabric = fabric_new(agent->loop, agent->registry, &config, &fabric_hooks, agent);
	if (agent->state.config_text)
		fabric_seed(agent->fabric, agent->state.config_text, cached,
			    TAKE_PTR(agent->state.peers));
}

// ---- life ----

static int open_kernel(struct agent *agent, struct err *e)
{
	int r = netlink_open(agent->options->without_features, &agent->nl, e);
	if (r == 0)
		r = monitor_open(&agent->monitor, e);
	if (r == 0)
		r = monitor_skip_own(agent->monitor, agent->nl, e);
	if (r < 0)
		return r;
	agent->monitor_watch =
		fd_watch_new(agent->loop, monitor_fd(agent->monitor), on_monitor_readable, agent);
	fd_watch_set(agent->monitor_watch, FD_READABLE);
	agent->reconcile = reconcile_new(agent->loop, agent->nl, &reconcile_source, agent,
					 agent->options->scan_interval_ms);
	return 0;
}

static int open_store(struct agent *agent, struct err *e)
{
	const struct options *options = agent->options;
	int r = kv_open(agent->loop, &options->store, &agent->kv, e);
	if (r == 0)
		r = registry_new(agent->kv, options->store_flags.prefix, &agent->registry, e);
	if (r < 0)
		return r;
	read_previous_env(agent);
	state_load(options->state_dir, options->store_flags.prefix, &agent->state);
	r = state_file_new(agent->loop, options->state_dir, options->store_flags.prefix,
			   &state_source, agent, &agent->state_file, e);
	for (size_t i = 0; r == 0 && i < agent->state.mac_count; i++)
		state_file_set_mac(agent->state_file, agent->state.macs[i].device,
				   &agent->state.macs[i].mac);
	if (r == 0)
		make_fabric(agent);
	return r;
}

static int open_api(struct agent *agent, struct err *e)
{
	const struct options *options = agent->options;
	_cleanup_free_ char *path = xasprintf("%s/%s", options->run_dir, API_SOCKET_NAME);
	struct api_config config = { .socket_path = path,
				     .health_address = options->healthz_ip,
				     .health_port = (uint16_t)options->healthz_port };
	return api_new(agent->loop, &config, &agent_view_of_agent, agent, &agent->api, e);
}

int agent_new(struct loop *loop, const struct options *options, char *const *environment,
	      struct agent **ret, struct err *e)
{
	struct agent *agent = xnew(struct agent);
	agent->loop = loop;
	agent->options = options;
	agent->started_ms = loop_now_ms();
	agent->restart_needed = STRBUF_INIT(4096);
	agent->bring_up_timer = timer_new(loop, on_bring_up_timer, agent);
	agent->watchdog_timer = timer_new(loop, on_watchdog_timer, agent);
	struct err notice = { 0 };
	if (notify_new(environment, &agent->notify, &notice) < 0)
		log_warn("agent: %s", notice.msg);
	int r = host_lock_take(&agent->lock, e);
	if (r == 0)
		r = open_kernel(agent, e);
	if (r == 0)
		r = open_api(agent, e);
	if (r == 0)
		r = open_store(agent, e);
	if (r < 0) {
		agent_free(agent);
		return r;
	}
	*ret = agent;
	return 0;
}

void agent_serves(struct agent *agent, const struct server_access *access)
{
	agent->serves = access;
}

int agent_run(struct agent *agent, struct err *e)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		agent->signals[i] = signal_watch_new(agent->loop, signals[i], on_signal, agent);
	fabric_start(agent->fabric);
	if (notify_watchdog_ms(agent->notify) > 0)
		timer_start(agent->watchdog_timer, notify_watchdog_ms(agent->notify));
	loop_run(agent->loop);
	struct err flush_error = { 0 };
	if (state_file_flush(agent->state_file, &flush_error) < 0)
		log_warn("agent: %s", flush_error.msg);
	if (agent->fatal < 0)
		*e = agent->fatal_err;
	return agent->fatal;
}

struct agent *agent_free(struct agent *agent)
{
	if (!agent)
		return NULL;
	api_free(agent->api);
	for (size_t i = 0; i < ARRAY_SIZE(agent->signals); i++)
		signal_watch_free(agent->signals[i]);
	timer_free(agent->bring_up_timer);
	timer_free(agent->watchdog_timer);
	fd_watch_free(agent->monitor_watch);
	monitor_close(agent->monitor);
	reconcile_free(agent->reconcile);
	state_file_free(agent->state_file);
	fabric_free(agent->fabric);
	registry_free(agent->registry);
	kv_close(agent->kv);
	backend_free(agent->backend);
	netlink_close(agent->nl);
	state_free(&agent->state);
	json_decref(agent->plan_changes);
	strbuf_free(&agent->restart_needed);
	free(agent->env_error);
	notify_free(agent->notify);
	host_lock_release(agent->lock);
	free(agent);
	return NULL;
}
