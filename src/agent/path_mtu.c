// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the paths to the peers carry, and the MTU that follows from it.
//
// DOC: when the MTU follows
//
// With MTU "auto" in the config the interface counts as having the smallest MTU of the paths that are known, so that each backend derives its
// devices' MTU and FLANNEL_MTU from it as from an interface's. A narrower path counts at once, for packets are being lost; a wider one after it
// was the narrowest for the time between two looks at a path, so that a path which changes to and fro does not take containers along. A start
// takes up what the last life wrote into the env file, and measures again. Without "auto" a path that is too narrow is told of, once a peer.
#include "agent/agent_internal.h"

#include "core/log.h"

#define FLOOR_V4_BYTES 576  // RFC 791: what every host must take
#define FLOOR_V6_BYTES 1280 // RFC 8200 section 5

bool path_mtu_is_auto(const struct network *network)
{
	const struct netconf *conf = network->fabric ? fabric_netconf(network->fabric) : NULL;

	return network->probes && conf && conf->mtu_auto;
}

bool path_mtu_range(void *arg, const struct target_key *key, uint16_t *ret_floor, uint16_t *ret_ceiling)
{
	const struct network *network = arg;
	uint32_t floor = target_key_family(key) == AF_INET6 ? FLOOR_V6_BYTES : FLOOR_V4_BYTES;
	uint32_t ceiling = network->choice.mtu_bytes < ECHO_PACKET_MAX ? network->choice.mtu_bytes
								       : ECHO_PACKET_MAX;

	if (!network->backend || floor > ceiling ||
	    !(network->agent->options->probe_mtu || path_mtu_is_auto(network)))
		return false;
	*ret_floor = (uint16_t)floor;
	*ret_ceiling = (uint16_t)ceiling;
	return true;
}

bool path_mtu_is_known(const struct target *target)
{
	return target->path_mtu_bytes != TARGET_MTU_UNKNOWN &&
	       target->path_mtu_bytes != TARGET_MTU_UNMEASURABLE;
}

const struct target *path_mtu_narrowest(const struct network *network)
{
	size_t count = network->probes ? probe_group_count(network->probes) : 0;
	const struct target *narrowest = NULL;

	for (size_t i = 0; i < count; i++) {
		const struct target *target = probe_group_at(network->probes, i);

		if (path_mtu_is_known(target) &&
		    (!narrowest || target->path_mtu_bytes < narrowest->path_mtu_bytes))
			narrowest = target;
	}
	return narrowest;
}

// ---- the MTU that follows ----

static const char *peer_text(const struct target *target, char buf[static IPNET_STR_MAX])
{
	const struct subnet subnet = target_key_subnet(&target->key);

	return ipnet_str(target_key_family(&target->key) == AF_INET6 ? &subnet.v6 : &subnet.v4, buf);
}

// What the backend puts around a packet.
static uint32_t overhead(const struct network *network)
{
	uint32_t inner = backend_mtu_bytes(network->backend);

	return network->underlay.mtu_bytes > inner ? network->underlay.mtu_bytes - inner : 0;
}

// No narrower than containers need; 0: nothing is known.
static uint32_t wanted_limit(const struct network *network, const struct target *narrowest)
{
	bool has_v6 = backend_netconf(network->backend)->v6.enabled;
	uint32_t least = overhead(network) + (has_v6 ? FLOOR_V6_BYTES : FLOOR_V4_BYTES);

	if (!narrowest)
		return 0;
	return narrowest->path_mtu_bytes > least ? narrowest->path_mtu_bytes : least;
}

uint32_t path_mtu_limit(const struct network *network, uint32_t interface_mtu_bytes)
{
	uint32_t limit = network->path_limit_bytes;

	return limit > 0 && limit < interface_mtu_bytes ? limit : interface_mtu_bytes;
}

static void apply(struct network *network)
{
	network->underlay.mtu_bytes = path_mtu_limit(network, network->choice.mtu_bytes);
	backend_set_underlay(network->backend, &network->underlay, &network->choice.public_ip,
			     &network->choice.public_ipv6);
	network_udp_update(network);
	write_subnet_env(network);
	if (network->peers_known)
		reconcile_request(network->reconcile, RECONCILE_CHANGE);
}

static void set_limit(struct network *network, uint32_t limit, const struct target *narrowest)
{
	uint32_t before = backend_mtu_bytes(network->backend);
	char text[IPNET_STR_MAX];

	network->path_limit_bytes = limit;
	apply(network);
	log_info("%s: MTU %u in place of %u, for the path to %s carries %u", network->who,
		 backend_mtu_bytes(network->backend), before,
		 narrowest ? peer_text(narrowest, text) : "every peer",
		 narrowest ? narrowest->path_mtu_bytes : network->choice.mtu_bytes);
}

static bool lacks_probes(const struct network *network)
{
	const struct netconf *conf = fabric_netconf(network->fabric);

	if (network->probes || !conf || !conf->mtu_auto)
		return false;
	log_warn("%s: MTU \"auto\": without probes of peers, as --mesh-probes allows them, it is that of the interface",
		 network->who);
	return true;
}

void path_mtu_follow(struct network *network)
{
	const struct target *narrowest;
	uint32_t limit, wanted, now = network->underlay.mtu_bytes;

	if (!network->backend || !network->chosen || lacks_probes(network))
		return;
	if (!path_mtu_is_auto(network)) {
		timer_stop(network->raise_timer);
		if (network->path_limit_bytes > 0)
			set_limit(network, 0, NULL);
		return;
	}
	narrowest = path_mtu_narrowest(network);
	limit = wanted_limit(network, narrowest);
	wanted = limit > 0 && limit < network->choice.mtu_bytes ? limit : network->choice.mtu_bytes;
	if (wanted < now) {
		timer_stop(network->raise_timer);
		set_limit(network, limit, narrowest);
	} else if (wanted == now) {
		timer_stop(network->raise_timer);
	} else if (!timer_is_pending(network->raise_timer)) {
		timer_start(network->raise_timer, network->agent->options->probe_mtu_interval_ms);
	}
}

// What is the narrowest now may be wider than what began the time, but nothing was as narrow as the MTU in between.
void path_mtu_raise(void *arg)
{
	struct network *network = arg;
	const struct target *narrowest;

	if (!network->backend || !path_mtu_is_auto(network))
		return;
	narrowest = path_mtu_narrowest(network);
	set_limit(network, wanted_limit(network, narrowest), narrowest);
}

// The backend is opened and its devices are not made yet.
void path_mtu_resume(struct network *network)
{
	uint32_t former = network->env.mtu_bytes;

	if (lacks_probes(network))
		return;
	if (!path_mtu_is_auto(network) || former == 0 || former >= backend_mtu_bytes(network->backend))
		return;
	network->path_limit_bytes = former + overhead(network);
	network->underlay.mtu_bytes = path_mtu_limit(network, network->underlay.mtu_bytes);
}

// ---- what is told ----

void path_mtu_found(void *arg, struct target *target)
{
	struct network *network = arg;
	uint32_t needed = network->backend ? backend_outer_mtu_bytes(network->backend) : 0;
	char text[IPNET_STR_MAX];

	log_debug("%s: the path to %s carries %u", network->who, peer_text(target, text),
		  target->path_mtu_bytes);
	if (!path_mtu_is_known(target))
		return;
	if (target->path_mtu_bytes >= needed) {
		target->is_mtu_told = 0;
	} else if (!path_mtu_is_auto(network) && !target->is_mtu_told) {
		target->is_mtu_told = 1;
		log_warn("%s: the path to %s carries packets of %u bytes, and ours have up to %u: set Backend.MTU to \"auto\", or mend the path",
			 network->who, peer_text(target, text), target->path_mtu_bytes, needed);
	}
	path_mtu_follow(network);
}
