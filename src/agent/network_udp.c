// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: between a network whose backend is udp and weft-udp: when it runs, and what it is told.
#include "agent/agent_internal.h"

#include "core/mem.h"

#include <string.h>

static const struct lease_set *hook_peers(void *arg)
{
	const struct network *network = arg;
	return network->is_leaving ? network->no_peers : fabric_peers(network->fabric);
}

static size_t hook_want(void *arg, const struct lease *peer, struct wanted_host *ret)
{
	const struct network *network = arg;
	// It does not ask for the way to anybody.
	static const struct underlay_path paths[UNDERLAY_FAMILY_COUNT];
	struct wanted wanted = { 0 };
	if (backend_want(network->backend, peer, &network->underlay, paths, &wanted, NULL) < 0)
		return 0;
	memcpy(ret, wanted.hosts, wanted.host_count * sizeof(ret[0]));
	return wanted.host_count;
}

static void hook_changed(void *arg, bool is_up)
{
	struct network *network = arg;
	if (is_up && network->peers_known)
		reconcile_request(network->reconcile, RECONCILE_CHANGE);
}

static const struct udp_process_hooks hooks = {
	.peers = hook_peers,
	.want = hook_want,
	.changed = hook_changed,
};

// Its log is ours.
static const char *const *flags_of(const struct options *options)
{
	static const char *const levels[LOG_LEVEL_COUNT] = { "--log-level=error", "--log-level=warn",
							     "--log-level=info", "--log-level=debug" };
	static const char *const formats[LOG_FORMAT_COUNT] = { "--log-format=text",
							       "--log-format=json" };
	static const char *flags[3];
	flags[0] = levels[options->log_level];
	flags[1] = formats[options->log_format];
	return flags;
}

static bool all_are_known(const struct network *network)
{
	return network->peers_known && !network->peers_partial && network->peers_are_the_stores;
}

void network_udp_update(struct network *network)
{
	const struct options *options = network->agent->options;
	struct backend_process wanted;
	if (!backend_process(network->backend, &wanted))
		return;
	if (!network->udp) {
		network->udp = udp_process_new(network->agent->loop, options->run_dir,
					       flags_of(options), &hooks, network);
		udp_process_peers_reset(network->udp, all_are_known(network));
	}
	udp_process_set(network->udp, &wanted);
}

bool network_udp_is_awaited(const struct network *network)
{
	struct backend_process wanted;
	return backend_process(network->backend, &wanted) &&
	       !(network->udp && udp_process_is_up(network->udp));
}

void network_udp_peers_reset(struct network *network)
{
	if (network->udp)
		udp_process_peers_reset(network->udp, all_are_known(network));
}

void network_udp_end_former(struct network *network)
{
	struct backend_process wanted;
	// Of several networks another one may have it: then its device tells (former.c).
	if (!network->agent->has_several && !backend_process(network->backend, &wanted))
		udp_process_end_former(network->agent->loop, network->agent->options->run_dir);
}
