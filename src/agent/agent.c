// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what belongs to the host whatever networks it is in: the lock, netlink, the store's client, the API, signals.
#include "agent/agent_internal.h"

#include "agent/addresses.h"
#include "agent/docker_plugin.h"
#include "agent/host_identity.h"
#include "core/log.h"
#include "core/mem.h"
#include "store/owner.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define MONITOR_SLICE_EVENTS 2000

// ---- the kernel tells ----

static void on_kernel_event(void *arg, const struct kernel_event *event)
{
	struct agent *agent = arg;
	if (event->port_id == netlink_port_id(agent->nl))
		return;
	char text[KERNEL_OBJECT_STR_MAX];
	log_debug("kernel: %s %s", event->removed ? "removed" : "new or changed",
		  kernel_object_str(&event->object, text));
	for (struct network *network = agent->networks; network; network = network->next)
		network_kernel_event(network, event);
	for (struct network *network = agent->leaving; network; network = network->next)
		network_kernel_event(network, event);
	docker_plugin_kernel_event(agent->docker_plugin, event);
}

static void on_monitor_readable(void *arg, unsigned int events)
{
	struct agent *agent = arg;
	struct err e = { 0 };
	(void)events;
	int r = monitor_read(agent->monitor, MONITOR_SLICE_EVENTS, on_kernel_event, agent, &e);
	if (r < 0 && r != -ENOBUFS)
		log_rl(LOG_LEVEL_WARN, "agent: kernel notifications: %s", e.msg);
	for (struct network *network = agent->networks; r == -ENOBUFS && network;
	     network = network->next)
		if (network->backend && network->peers_known)
			reconcile_request(network->reconcile, RECONCILE_DRIFT);
}

// ---- the service manager ----

// One network that cannot be brought up must not keep the service, and with it the others, from being up.
static bool has_reason(const struct network *network)
{
	const struct err *why = NULL;
	(void)fabric_lease_state(network->fabric, &why);
	return network->config_error.code != 0 || network->bring_up_error.code != 0 ||
	       (why && why->code != 0);
}

// COMPAT: what is ordered behind this service reads the env files, so the service is up once they are there.
void agent_note_progress(struct agent *agent)
{
	if (agent->is_up || !networks_are_known(agent))
		return;
	for (const struct network *network = agent->networks; network; network = network->next)
		if (!network->env_written && !(agent->has_several && has_reason(network)))
			return;
	agent->is_up = true;
	notify_ready(agent->notify);
}

// ---- signals and timers ----

static void reload(struct agent *agent)
{
	// Before it was up for the first time the service cannot be up again.
	bool is_up = agent->is_up;

	log_info("agent: reading everything again");
	if (is_up)
		notify_reloading(agent->notify);
	for (struct network *network = agent->networks; network; network = network->next)
		network_reload(network);
	firewall_reload(agent);
	if (is_up)
		notify_ready(agent->notify);
}

static void on_network_ended(void *arg)
{
	struct agent *agent = arg;
	if (--agent->ending == 0)
		loop_stop(agent->loop);
}

// Who asks again does not wait for commands.
static void stop(struct agent *agent)
{
	bool is_asked_again = agent->ending > 0;
	for (struct network *network = agent->networks; !is_asked_again && network;
	     network = network->next)
		agent->ending += extension_end(network->extension, false, on_network_ended, agent);
	if (is_asked_again || agent->ending == 0)
		loop_stop(agent->loop);
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
	stop(agent);
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
	return 0;
}

// A controller that asks for a token guards what each host owns: it is shown who we are. By plain HTTP that is told nobody.
static int open_store(struct agent *agent, struct err *e)
{
	const struct options *options = agent->options;
	struct store_config config = options->store;
	_cleanup_free_ char *identity = NULL;
	bool is_guarded = config.token || (*options->listen && !options->insecure);
	int r = 0;
	// A controller's own agent asks the store itself; by its mark the controller keeps others off its lease and address.
	if (is_guarded)
		r = host_identity_open(options->state_dir, &identity, e);
	config.identity = identity;
	if (r == 0)
		r = kv_open(agent->loop, &config, &agent->kv, e);
	if (r < 0 || !identity)
		return r;
	owner_of(identity, agent->owner);
	explicit_bzero(identity, strlen(identity));
	return 0;
}

static int open_api(struct agent *agent, struct err *e)
{
	const struct options *options = agent->options;
	_cleanup_free_ char *path = xasprintf("%s/%s", options->run_dir, API_SOCKET_NAME);
	struct api_config config = { .socket_path = path,
				     .health_address = options->healthz_ip,
				     .health_port = (uint16_t)options->healthz_port };
	return api_new(agent->loop, &config, &agent_view_of_agent, &agent->scope, &agent->api, e);
}

int agent_new(struct loop *loop, const struct options *options, char *const *environment,
	      struct agent **ret, struct err *e)
{
	struct agent *agent = xnew(struct agent);
	agent->loop = loop;
	agent->options = options;
	agent->scope.agent = agent;
	agent->has_several = options->networks.count > 0 || options->watch_networks;
	agent->started_ms = loop_now_ms();
	struct err notice = { 0 };
	if (notify_new(environment, &agent->notify, &notice) < 0)
		log_warn("agent: %s", notice.msg);
	int r = open_kernel(agent, e);
	if (r == 0)
		r = open_api(agent, e);
	if (r == 0)
		r = open_store(agent, e);
	if (r == 0)
		r = addresses_host_open(agent, e);
	if (r == 0)
		r = docker_plugin_new(agent, &agent->docker_plugin, e);
	if (r == 0)
		mesh_open(agent);
	if (r == 0)
		r = networks_open(agent, e);
	if (r < 0) {
		agent_free(agent);
		return r;
	}
	agent->firewall = firewall_new(agent);
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
	networks_start(agent);
	notify_watchdog_start(agent->notify, agent->loop);
	loop_run(agent->loop);
	for (struct network *network = agent->networks; network; network = network->next)
		network_flush(network);
	if (agent->fatal < 0)
		*e = agent->fatal_err;
	return agent->fatal;
}

struct agent *agent_free(struct agent *agent)
{
	if (!agent)
		return NULL;
	for (struct network *network = agent->networks; network; network = network->next) {
		view_plan_end(network);
		wg_rotate_end(network);
	}
	// While those who wait for an address are there.
	for (struct network *network = agent->networks; network; network = network->next)
		addresses_close(network);
	agent->docker_plugin = docker_plugin_free(agent->docker_plugin);
	agent->api = api_free(agent->api);
	for (size_t i = 0; i < ARRAY_SIZE(agent->signals); i++)
		signal_watch_free(agent->signals[i]);
	fd_watch_free(agent->monitor_watch);
	monitor_close(agent->monitor);
	firewall_free(agent->firewall);
	networks_close(agent);
	addresses_host_close(agent);
	prober_free(agent->prober);
	kv_close(agent->kv);
	netlink_close(agent->nl);
	notify_free(agent->notify);
	free(agent);
	return NULL;
}
