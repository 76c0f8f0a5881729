// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the commands of the start and the end, the environment of all of them, and who is told how they went.
#include "agent/extension.h"

#include "agent/agent_internal.h"
#include "agent/peer_commands.h"
#include "backend/extension.h"
#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define RETRY_FIRST_MS 1000
#define RETRY_MAX_MS 60000
#define PATH_DEFAULT "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

enum phase {
	PHASE_PRE,   // PreStartupCommand
	PHASE_LEASE, // waiting for it
	PHASE_POST,  // PostStartupCommand
	PHASE_PEERS,
	PHASE_DROP, // removing all peers
	PHASE_SHUTDOWN,
	PHASE_OVER,
};

static const char *const phase_commands[] = {
	[PHASE_PRE] = "PreStartupCommand", [PHASE_POST] = "PostStartupCommand", [PHASE_SHUTDOWN] = "ShutdownCommand"
};

struct extension {
	struct network *network;
	enum phase phase;
	struct child *running; // of the start or the end
	struct timer *timer;   // the next step, and the next try of it
	struct backoff backoff;
	struct err error; // of the start; code 0: none
	struct peer_commands *peers;
	void (*done)(void *arg);
	void *done_arg;
};

// ---- the environment ----

#define ENVIRONMENT_MAX 512 // variables of ours and of the agent's

struct environment {
	char *items[ENVIRONMENT_MAX + 1]; // as environ
	size_t count;
};

static void environment_free(struct environment *environment)
{
	for (size_t i = 0; i < environment->count; i++)
		free(environment->items[i]);
}

static void set(struct environment *environment, const char *name, const char *value)
{
	if (environment->count < ENVIRONMENT_MAX)
		environment->items[environment->count++] = xasprintf("%s=%s", name, value);
}

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

// Settings of ours may be passwords, and what the service manager gave us is for us alone. What we set comes first, and once.
static bool is_inherited(const char *variable)
{
	static const char *const ours[] = {
		"WEFT_",       "FLANNELD_",    "CONSUL_",     "NOTIFY_",      "WATCHDOG_",
		"LISTEN_",     "CREDENTIALS_", "NETWORK=",    "IPV6NETWORK=", "SUBNET=",
		"IPV6SUBNET=", "PUBLIC_IP=",   "PUBLIC_IPV6="
	};
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (starts_with(variable, ours[i]))
			return false;
	return true;
}

static void inherit(struct environment *environment)
{
	bool has_path = false;
	for (char **variable = environ; variable && *variable; variable++) {
		if (!is_inherited(*variable) || environment->count >= ENVIRONMENT_MAX)
			continue;
		environment->items[environment->count++] = xstrdup(*variable);
		has_path |= starts_with(*variable, "PATH=");
	}
	if (!has_path && environment->count < ENVIRONMENT_MAX)
		environment->items[environment->count++] = xstrdup(PATH_DEFAULT);
}

static void set_net(struct environment *environment, const char *name, const struct ipnet *net)
{
	char text[IPNET_STR_MAX];
	set(environment, name, ipnet_is_set(net) ? ipnet_str(net, text) : "");
}

static void set_ip(struct environment *environment, const char *name, const struct ip *ip)
{
	char text[IP_STR_MAX];
	set(environment, name, ip_is_set(ip) ? ip_str(ip, text) : "");
}

static void set_host(struct environment *environment, const struct subnet *subnet,
		     const struct ip *public_ip, const struct ip *public_ipv6)
{
	set_net(environment, "SUBNET", &subnet->v4);
	set_net(environment, "IPV6SUBNET", &subnet->v6);
	set_ip(environment, "PUBLIC_IP", public_ip);
	set_ip(environment, "PUBLIC_IPV6", public_ipv6);
}

static void set_own(const struct extension *extension, struct environment *environment)
{
	static const struct subnet none = { 0 };
	const struct network *network = extension->network;
	const struct netconf *conf = backend_netconf(network->backend);
	const struct lease *lease = network->fabric ? fabric_lease(network->fabric) : NULL;
	struct lease_attrs attrs;
	backend_attrs(network->backend, &attrs);
	set_net(environment, "NETWORK", &conf->v4.network);
	set_net(environment, "IPV6NETWORK", &conf->v6.network);
	set_host(environment, lease ? &lease->subnet : &none, &attrs.public_ip, &attrs.public_ipv6);
	lease_attrs_free(&attrs);
}

// ---- one command ----

static int start(const struct extension *extension, const char *text, struct environment *environment,
		 const char *input, child_fn *fn, void *arg, struct child **ret, struct err *e)
{
	_cleanup_free_ char *line = xasprintf("%s\n", input);
	const struct agent *agent = extension->network->agent;
	inherit(environment);
	struct child_request request = { .argv = { "/bin/sh", "-c", text },
					 .environment = environment->items,
					 .input = line,
					 .timeout_ms = agent->options->extension_timeout_ms };
	return child_start(agent->loop, &request, fn, arg, ret, e);
}

// ---- peers ----

static int start_of_peer(void *arg, enum peer_command which, const struct subnet *subnet,
			 const struct peer_facts *facts, child_fn *fn, void *fn_arg,
			 struct child **ret, struct err *e)
{
	struct extension *extension = arg;
	const struct extension_commands *commands = extension_commands(extension->network->backend);
	const char *text = which == PEER_COMMAND_ADD ? commands->subnet_add : commands->subnet_remove;
	_cleanup_(environment_free) struct environment environment = { 0 };
	if (!text)
		return 1;
	set_host(&environment, subnet, &facts->public_ip, &facts->public_ipv6);
	return start(extension, text, &environment, facts->input, fn, fn_arg, ret, e);
}

// What the reconciler says of a peer it asks us (extension_peer_state), so it is told to ask again.
static void on_peer_command(void *arg, const struct subnet *subnet)
{
	const struct extension *extension = arg;
	const struct network *network = extension->network;
	const struct lease *lease =
		network->is_leaving ? NULL : lease_set_find(fabric_peers(network->fabric), subnet);
	if (lease)
		reconcile_peer_changed(network->reconcile, lease, lease);
}

static void on_peers_idle(void *arg)
{
	struct extension *extension = arg;
	if (extension->phase == PHASE_DROP)
		timer_start(extension->timer, 0);
}

static const struct peer_commands_hooks peer_hooks = {
	.start = start_of_peer,
	.changed = on_peer_command,
	.idle = on_peers_idle,
};

static void want(struct extension *extension, const struct lease *peer)
{
	char *input = NULL;
	// Why it is none of ours the backend says, to whom it is of interest.
	if (extension_peer_input(peer, &input, NULL) < 0)
		peer_commands_drop(extension->peers, &peer->subnet);
	else
		peer_commands_want(extension->peers, &peer->subnet, &peer->attrs.public_ip,
				   &peer->attrs.public_ipv6, input);
}

void extension_peers_reset(struct extension *extension, bool is_partial)
{
	const struct lease *peer;
	size_t position = 0;
	if (!extension || extension->phase >= PHASE_DROP)
		return;
	const struct lease_set *peers = fabric_peers(extension->network->fabric);
	peer_commands_begin(extension->peers);
	while ((peer = lease_set_next(peers, &position)))
		want(extension, peer);
	if (!is_partial)
		peer_commands_end(extension->peers);
}

void extension_peer_changed(struct extension *extension, const struct lease *old,
			    const struct lease *now)
{
	if (!extension || extension->phase >= PHASE_DROP)
		return;
	if (now)
		want(extension, now);
	else
		peer_commands_drop(extension->peers, &old->subnet);
}

// ---- start and end ----

static void go_on(struct extension *extension);

static void enter(struct extension *extension, enum phase phase)
{
	extension->phase = phase;
	timer_start(extension->timer, 0);
}

static const char *phase_text(const struct extension *extension)
{
	const struct extension_commands *commands = extension_commands(extension->network->backend);
	switch (extension->phase) {
	case PHASE_PRE:
		return commands->pre_startup;
	case PHASE_POST:
		return commands->post_startup;
	case PHASE_SHUTDOWN:
		return commands->shutdown;
	case PHASE_LEASE:
	case PHASE_PEERS:
	case PHASE_DROP:
	case PHASE_OVER:
		break;
	}
	return NULL;
}

static void recovered(struct extension *extension)
{
	if (extension->error.code != 0)
		log_info("%s: recovered from: %s", extension->network->who, extension->error.msg);
	extension->error.code = 0;
	backoff_reset(&extension->backoff);
	agent_note_progress(extension->network->agent);
}

static void failed(struct extension *extension, const struct err *e)
{
	struct network *network = extension->network;
	struct err error = *e;
	(void)err_wrap(&error, "%s", phase_commands[extension->phase]);
	if (extension->phase == PHASE_SHUTDOWN) {
		log_error("%s: %s", network->who, error.msg);
		enter(extension, PHASE_OVER);
		return;
	}
	if (extension->error.code == 0 || strcmp(extension->error.msg, error.msg) != 0) {
		log_error("%s: %s", network->who, error.msg);
		notify_status(network->agent->notify, "%s%s", network->status_head, error.msg);
	}
	extension->error = error;
	agent_note_progress(network->agent);
	timer_start(extension->timer, backoff_next_late_ms(&extension->backoff));
}

static void succeeded(struct extension *extension)
{
	struct network *network = extension->network;
	switch (extension->phase) {
	case PHASE_PRE:
		recovered(extension);
		extension->phase = PHASE_LEASE;
		bring_up_join(network);
		// That of an earlier life may be here already.
		if (fabric_lease(network->fabric))
			extension_lease_known(extension);
		break;
	case PHASE_POST:
		recovered(extension);
		extension->phase = PHASE_PEERS;
		peer_commands_resume(extension->peers);
		break;
	case PHASE_SHUTDOWN:
		enter(extension, PHASE_OVER);
		break;
	case PHASE_LEASE:
	case PHASE_PEERS:
	case PHASE_DROP:
	case PHASE_OVER:
		break;
	}
}

static int take_output(struct extension *extension, const char *output, bool is_whole, struct err *e)
{
	if (!is_whole)
		return err_set(e, -EFBIG,
			       "it wrote more than %d bytes, which is too much to be its host's BackendData",
			       CHILD_SAID_MAX);
	return extension_set_output(extension->network->backend, output, e);
}

static void on_command_end(void *arg, int r, const char *output, bool is_whole, const struct err *e)
{
	struct extension *extension = arg;
	struct err error = *e;
	if (r == 0 && extension->phase == PHASE_PRE)
		r = take_output(extension, output, is_whole, &error);
	else if (*output)
		log_debug("extension: %s wrote: %.200s", phase_commands[extension->phase], output);
	extension->running = child_free(extension->running);
	if (r < 0)
		failed(extension, &error);
	else
		succeeded(extension);
}

static void run_phase(struct extension *extension)
{
	_cleanup_(environment_free) struct environment environment = { 0 };
	const char *text = phase_text(extension);
	struct err e = { 0 };
	if (!text) {
		// Without PreStartupCommand there is no BackendData, as in flannel.
		succeeded(extension);
		return;
	}
	set_own(extension, &environment);
	if (start(extension, text, &environment, "", on_command_end, extension, &extension->running,
		  &e) < 0)
		failed(extension, &e);
}

static void on_timer(void *arg)
{
	go_on(arg);
}

static void go_on(struct extension *extension)
{
	switch (extension->phase) {
	case PHASE_PRE:
	case PHASE_POST:
	case PHASE_SHUTDOWN:
		run_phase(extension);
		break;
	case PHASE_DROP:
		enter(extension, PHASE_SHUTDOWN);
		break;
	case PHASE_OVER:
		extension->done(extension->done_arg);
		break;
	case PHASE_LEASE:
	case PHASE_PEERS:
		break;
	}
}

void extension_lease_known(struct extension *extension)
{
	if (extension && extension->phase == PHASE_LEASE)
		enter(extension, PHASE_POST);
}

bool extension_end(struct extension *extension, bool is_leaving, void (*done)(void *arg), void *arg)
{
	bool is_begun = extension && (extension->phase != PHASE_PRE || extension->running ||
				      extension->error.code != 0);
	if (!is_begun || extension->done)
		return false;
	extension->done = done;
	extension->done_arg = arg;
	extension->running = child_free(extension->running);
	extension->error.code = 0;
	timer_stop(extension->timer);
	if (is_leaving) {
		extension->phase = PHASE_DROP;
		peer_commands_drop_all(extension->peers);
		return true;
	}
	extension->peers = peer_commands_free(extension->peers);
	enter(extension, PHASE_SHUTDOWN);
	return true;
}

// ---- views ----

bool extension_may_join(const struct extension *extension)
{
	return !extension || extension->phase != PHASE_PRE;
}

int extension_start_error(const struct extension *extension, struct err *e)
{
	if (!extension || extension->error.code == 0)
		return 0;
	return err_set(e, extension->error.code, "%s", extension->error.msg);
}

int extension_error(const struct extension *extension, struct err *e)
{
	int r = extension_start_error(extension, e);
	return r < 0 || !extension || !extension->peers
		       ? r
		       : peer_commands_remove_error(extension->peers, e);
}

int extension_peer_state(const struct extension *extension, const struct lease *peer, struct err *e)
{
	return extension && extension->peers ? peer_commands_state(extension->peers, &peer->subnet, e)
					     : 0;
}

size_t extension_peers_pending(const struct extension *extension)
{
	return extension && extension->peers ? peer_commands_pending(extension->peers) : 0;
}

// ---- life ----

struct extension *extension_new(struct network *network)
{
	if (!extension_commands(network->backend))
		return NULL;
	struct extension *extension = xnew(struct extension);
	*extension = (struct extension){
		.network = network, .backoff = { .base_ms = RETRY_FIRST_MS, .max_ms = RETRY_MAX_MS }
	};
	extension->timer = timer_new(network->agent->loop, on_timer, extension);
	extension->peers = peer_commands_new(network->agent->loop, &peer_hooks, extension);
	if (network->peers_known)
		extension_peers_reset(extension, network->peers_partial);
	enter(extension, PHASE_PRE);
	return extension;
}

struct extension *extension_free(struct extension *extension)
{
	if (extension) {
		child_free(extension->running);
		peer_commands_free(extension->peers);
		timer_free(extension->timer);
		free(extension);
	}
	return NULL;
}
