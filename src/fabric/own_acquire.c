// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: getting a lease for a host that has none: one that is ours already, the one of an earlier life, or a new one.
#include "fabric/own_lease.h"

#include "core/log.h"

#include <errno.h>
#include <inttypes.h>

#define PROOF_MAX_MS 2000
#define COLLISIONS_AT_ONCE \
	64 // then with back-off, lest a store that always says "exists" is asked for ever

static void wait_without(struct fabric *fabric, enum fabric_lease_state state, const struct err *why)
{
	own_set_state(fabric, state, why);
	own_retry_later(fabric);
}

static void on_yielded(void *arg, int r, const struct err *e)
{
	struct fabric *fabric = arg;

	fabric->busy = false;
	own_set_candidate(fabric, NULL);
	if (r < 0 && r != -ESTALE && r != -ENOENT)
		wait_without(fabric, FABRIC_LEASE_NONE, e);
	else
		own_step(fabric);
}

// The watch has told everything that was written before our key: a key of another name may have claimed some of it first.
void own_prove(struct fabric *fabric)
{
	struct lease lease = fabric->proof;
	const struct lease *other = peer_table_find_overlap(fabric->peers, &lease.subnet);
	char a[SUBNET_STR_MAX], b[SUBNET_STR_MAX];

	fabric->proof = (struct lease){ 0 };
	fabric->proving = false;
	if (other && other->mod_revision < lease.mod_revision) {
		log_info("fabric: give subnet %s back: lease %s was first",
			 subnet_str(&lease.subnet, a), subnet_str(&other->subnet, b));
		fabric->collisions++;
		registry_lease_delete(fabric->registry, &lease.subnet, lease.mod_revision,
				      on_yielded, fabric);
	} else {
		fabric->busy = false;
		own_hold(fabric, &lease, true);
		if (fabric->again)
			own_step(fabric);
	}
	lease_free(&lease);
}

void own_watched(struct fabric *fabric, int64_t revision)
{
	fabric->seen_revision = revision;
	if (fabric->proving && revision >= fabric->proof.mod_revision)
		own_prove(fabric);
}

// A snapshot in place of the watch: it shows what was there first, and whether our key still is.
void own_snapshot_end(struct fabric *fabric, int64_t revision)
{
	const struct lease *seen = fabric->has_candidate ? &fabric->candidate : NULL;

	if (fabric->proving && revision >= fabric->proof.mod_revision &&
	    !(seen && subnet_equal(&seen->subnet, &fabric->proof.subnet))) {
		registry_close_session(fabric->registry, fabric->proof.session);
		lease_free(&fabric->proof);
		fabric->proving = false;
		fabric->busy = false;
	}
	own_watched(fabric, revision);
	own_step(fabric);
}

static void on_created(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct fabric *fabric = arg;

	if (r == 0) {
		lease_copy(lease, &fabric->proof);
		fabric->proving = true;
		fabric->proof_until_ms = loop_now_ms() + PROOF_MAX_MS;
		if (fabric->seen_revision >= lease->mod_revision)
			own_prove(fabric);
		else
			timer_start(fabric->retry_timer, PROOF_MAX_MS);
		return;
	}
	fabric->busy = false;
	if (r == -EEXIST) {
		struct lease copy;

		if (lease && own_is_ours(fabric, lease)) {
			own_set_candidate(fabric, lease);
		} else if (lease) {
			lease_copy(lease, &copy);
			peer_table_put(fabric->peers, &copy);
		}
		if (++fabric->collisions > COLLISIONS_AT_ONCE)
			own_retry_later(fabric);
		else
			fabric->again = true;
	} else {
		wait_without(fabric, FABRIC_LEASE_NONE, e);
		own_read_again_if_moved(fabric, r);
	}
	if (fabric->again)
		own_step(fabric);
}

static void adopt(struct fabric *fabric)
{
	struct lease lease = fabric->candidate;
	fabric->candidate = (struct lease){ 0 };
	fabric->has_candidate = false;
	own_take(fabric, &lease);
	// From here on it is ours by its session, or by the word of the disk: settle writes what we say of ourselves.
	fabric->previous = lease.subnet;
	fabric->has_previous = true;
	own_set_at_key(fabric, &lease);
	lease_free(&lease);
	own_settle(fabric);
}

static void on_unfit_deleted(void *arg, int r, const struct err *e)
{
	struct fabric *fabric = arg;
	fabric->busy = false;
	if (r < 0 && r != -ESTALE && r != -ENOENT) {
		wait_without(fabric, FABRIC_LEASE_NONE, e);
		return;
	}
	own_set_candidate(fabric, NULL);
	own_step(fabric);
}

// The candidate is ours.
static void take_candidate(struct fabric *fabric)
{
	const struct lease *lease = &fabric->candidate;
	bool kept = own_is_on_disk(fabric, lease) && !fabric->config.allow_subnet_change;
	if (!kept && !subnet_fits(&fabric->conf, &lease->subnet) && fabric->is_frozen) {
		wait_without(fabric, FABRIC_LEASE_NONE, &fabric->frozen);
	} else if (!kept && !subnet_fits(&fabric->conf, &lease->subnet)) {
		// Containers live in it only if the disk says that it was this host's.
		fabric->busy = true;
		registry_lease_delete(fabric->registry, &lease->subnet, lease->mod_revision,
				      on_unfit_deleted, fabric);
	} else {
		adopt(fabric);
	}
}

// How much less than this a live weft's lease never has left: a period with its jitter, and 2 s for the
// store's rounding.
static int64_t alive_above_s(const struct fabric *fabric)
{
	return fabric_ttl_s(fabric) - own_longest_period_s(fabric) * 5 / 4 - 2;
}

// Until it must have been renewed there is nothing to learn by asking; what happens to its key the watch tells.
static void await_candidate(struct fabric *fabric)
{
	uint64_t now_ms = loop_boottime_ms(), until_ms = fabric->candidate_until_ms;

	timer_start(fabric->retry_timer,
		    (until_ms > now_ms ? until_ms - now_ms : 0) + random_below(1000));
}

static void leave_candidate_alone(struct fabric *fabric, int64_t ttl_s)
{
	int64_t pause_s = ttl_s - alive_above_s(fabric) + 1;
	struct err why;

	fabric->candidate_until_ms = loop_boottime_ms() + (uint64_t)pause_s * 1000;
	own_describe_other(&fabric->candidate, &why, "our public address is used by another host");
	own_set_state(fabric, FABRIC_LEASE_FOREIGN, &why);
	own_step(fabric); // which waits for it, unless something happened meanwhile
}

static void on_candidate_ttl(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct fabric *fabric = arg;
	bool still_asked = fabric->has_candidate && !fabric->has_lease &&
			   fabric->candidate.session == session;

	fabric->busy = false;
	if (!still_asked)
		own_step(fabric);
	else if (r < 0 && r != -ENOENT)
		wait_without(fabric, FABRIC_LEASE_NONE, e);
	else if (r == 0 && ttl_s > alive_above_s(fabric))
		leave_candidate_alone(fabric, ttl_s);
	else
		take_candidate(fabric);
}

static void use_candidate(struct fabric *fabric)
{
	const struct lease *lease = &fabric->candidate;

	// Without a session it is a reservation for whoever has the address.
	if (own_is_ours(fabric, lease) || lease->session == 0) {
		take_candidate(fabric);
	} else if (loop_boottime_ms() >= fabric->candidate_until_ms) {
		fabric->busy = true;
		registry_lease_ttl(fabric->registry, lease->session, on_candidate_ttl, fabric);
	} else {
		await_candidate(fabric);
	}
}

static void acquire_previous_or_new(struct fabric *fabric)
{
	struct subnet subnet;
	const struct lease *other = NULL;
	bool usable = fabric->has_previous && subnet_fits(&fabric->conf, &fabric->previous);
	if (usable && !(other = peer_table_find_overlap(fabric->peers, &fabric->previous))) {
		(void)own_create(fabric, &fabric->previous, on_created);
		return;
	}
	if (other && !fabric->config.allow_subnet_change) {
		struct err why;
		own_describe_other(
			other, &why,
			"this host's previous subnet is held by another host (--allow-subnet-change takes a new one)");
		wait_without(fabric, FABRIC_LEASE_FOREIGN, &why);
		return;
	}
	if (registry_chooses(fabric->registry)) {
		fabric->busy = true;
		registry_lease_acquire(fabric->registry, &fabric->attrs, on_created, fabric);
		return;
	}
	if (choose_subnet(&fabric->conf, fabric->peers, own_address(fabric), fabric->collisions,
			  &subnet)) {
		fabric->found_full = false;
		(void)own_create(fabric, &subnet, on_created);
		return;
	}
	struct err why;
	char net[IPNET_STR_MAX];
	const struct netconf_family *family = fabric->conf.v4.enabled ? &fabric->conf.v4
								      : &fabric->conf.v6;
	err_set(&why, -ENOSPC,
		"no subnet is free: network %s has room for %" PRIu64
		" subnets of length %u, and %zu leases; use a larger Network or SubnetLen",
		ipnet_str(&family->network, net), netconf_family_subnets(family),
		family->subnet_len, lease_set_count(peer_table_good(fabric->peers)));
	fabric->found_full = true;
	wait_without(fabric, FABRIC_LEASE_NONE, &why);
}

void own_acquire(struct fabric *fabric)
{
	if (!fabric->conf.v4.enabled && peer_table_has_v4(fabric->peers)) {
		struct err why;
		err_set(&why, -EINVAL,
			"the network is IPv6-only, but there are leases with IPv4 subnets: hosts of flannel cannot be in it; delete their leases or enable IPv4");
		wait_without(fabric, FABRIC_LEASE_NONE, &why);
		return;
	}
	if (fabric->has_candidate)
		use_candidate(fabric);
	else
		acquire_previous_or_new(fabric);
}
