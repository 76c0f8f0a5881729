// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: our own lease: getting it, keeping it, getting it back.
//
// DOC: whose lease is it
//
// A lease is ours if it is what we wrote ourselves (our session, or unchanged since), or if two of three agree with this host: the public
// address, the backend's data (VTEP MAC or key), the subnet that this host's disk remembers (subnet.env or the cached state). One alone is
// not enough: copies of one machine image have one MAC, and a second host may have been given our address by mistake. Nor does the disk
// count where it remembers that we wrote something else there.
//
// What is left are leases with our public address and without any other sign: a live host's, or what a predecessor on this host left. A
// live weft renews every ten minutes (a third of the TTL if that is shorter), so a lease whose remaining time is below that by more than the
// jitter has no live weft behind it, and is taken over, as flannel would at once. A fresher one is left alone: we stay up without a lease,
// name it, and look again.
//
// States: NONE and CACHED lead to HELD by settle(), which compares the store's value at our key with what we say of ourselves: absent ->
// create; ours -> take its revision and session, update it if it says something else; another's -> FOREIGN. A DELETE of our key leads to LOST
// and settle(); the subnet is not changed without allow_subnet_change once this host is known to have had one.
#include "fabric/fabric_internal.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define RENEW_PERIOD_MAX_S 600
#define PROOF_MAX_MS 2000
#define COLLISIONS_AT_ONCE 64 // then with back-off, lest a store that always says "exists" is asked for ever

static void set_state(struct fabric *fabric, enum fabric_lease_state state, const struct err *why)
{
	static const struct err none = {0};
	const struct err *reason = why ? why : &none;
	bool same = state == fabric->state && strcmp(reason->msg, fabric->why.msg) == 0;
	fabric->state = state;
	fabric->why = *reason;
	if (state == FABRIC_LEASE_HELD) {
		fabric->was_held = true;
		fabric->collisions = 0;
		backoff_reset(&fabric->retry_backoff);
	}
	if (!same)
		fabric->hooks.lease(fabric->arg, state, fabric->has_lease ? &fabric->lease : NULL, &fabric->why);
}

static void retry_later(struct fabric *fabric)
{
	timer_start(fabric->retry_timer, backoff_next_ms(&fabric->retry_backoff) + 1);
}

static void take_lease(struct fabric *fabric, const struct lease *lease)
{
	bool same_subnet = fabric->has_lease && subnet_equal(&fabric->lease.subnet, &lease->subnet);
	struct lease copy;
	lease_copy(lease, &copy);
	lease_free(&fabric->lease);
	fabric->lease = copy;
	fabric->has_lease = true;
	if (same_subnet)
		return;
	peer_table_forget(fabric->peers, &fabric->lease.subnet);
	fabric_tell_rules(fabric);
}

static void set_at_key(struct fabric *fabric, const struct lease *lease)
{
	lease_free(&fabric->at_key);
	fabric->has_at_key = lease != NULL;
	fabric->key_is_junk = false;
	if (lease)
		lease_copy(lease, &fabric->at_key);
}

static void set_candidate(struct fabric *fabric, const struct lease *lease)
{
	lease_free(&fabric->candidate);
	fabric->has_candidate = lease != NULL;
	if (lease)
		lease_copy(lease, &fabric->candidate);
}

// ---- identity ----

static bool same_text(const char *a, const char *b)
{
	return (!a || !b) ? a == b : strcmp(a, b) == 0;
}

static const struct ip *own_address(const struct fabric *fabric)
{
	return fabric->conf.v4.enabled ? &fabric->attrs.public_ip : &fabric->attrs.public_ipv6;
}

static bool has_our_address(const struct fabric *fabric, const struct lease *lease)
{
	const struct ip *ip = own_address(fabric);
	return ip_is_set(ip) && ip_equal(ip, fabric->conf.v4.enabled ? &lease->attrs.public_ip : &lease->attrs.public_ipv6);
}

static bool same_data(const struct lease_attrs *a, const struct lease_attrs *b)
{
	return same_text(a->backend_data, b->backend_data) && same_text(a->backend_v6_data, b->backend_v6_data);
}

// Some backends have no identity of their own: their data says nothing.
static bool has_our_data(const struct fabric *fabric, const struct lease *lease)
{
	return (fabric->attrs.backend_data || fabric->attrs.backend_v6_data) && same_data(&fabric->attrs, &lease->attrs);
}

static bool is_at_our_subnet(const struct fabric *fabric, const struct lease *lease)
{
	return fabric->has_lease && subnet_equal(&fabric->lease.subnet, &lease->subnet);
}

static bool is_what_we_wrote(const struct fabric *fabric, const struct lease *lease)
{
	const struct lease *last = &fabric->lease;

	if (!is_at_our_subnet(fabric, lease))
		return false;
	return (last->session != 0 && last->session == lease->session) ||
	       (fabric->was_held && last->mod_revision == lease->mod_revision && lease_attrs_equal(&last->attrs, &lease->attrs));
}

static bool disk_says_ours(const struct fabric *fabric, const struct lease *lease)
{
	if (fabric->was_held || !fabric->has_previous || !subnet_equal(&fabric->previous, &lease->subnet))
		return false;
	return !is_at_our_subnet(fabric, lease) || same_data(&fabric->lease.attrs, &lease->attrs);
}

static bool is_ours(const struct fabric *fabric, const struct lease *lease)
{
	bool address = has_our_address(fabric, lease);
	bool data = has_our_data(fabric, lease);
	bool disk = disk_says_ours(fabric, lease);
	// Without data the address must do at our own key: a flannel-like rewrite of it.
	bool rewrite = address && is_at_our_subnet(fabric, lease) && same_data(&fabric->attrs, &lease->attrs);

	return is_what_we_wrote(fabric, lease) || (address && data) || (data && disk) || (address && disk) || rewrite;
}

static void describe_other(const struct lease *other, struct err *ret, const char *what)
{
	char subnet[SUBNET_STR_MAX], ip[IP_STR_MAX];
	const struct lease_attrs *attrs = &other->attrs;
	const char *data = attrs->backend_data ? attrs->backend_data : attrs->backend_v6_data ? attrs->backend_v6_data : "no data";
	err_set(ret, -EADDRINUSE, "%s: lease %s, public address %s, %.80s", what, subnet_str(&other->subnet, subnet),
		ip_str(ip_is_set(&attrs->public_ip) ? &attrs->public_ip : &attrs->public_ipv6, ip), data);
}

// ---- renewal ----

static int64_t renew_period_s(const struct fabric *fabric)
{
	int64_t third_s = fabric_ttl_s(fabric) / 3;
	return third_s > RENEW_PERIOD_MAX_S ? RENEW_PERIOD_MAX_S : third_s;
}

static uint64_t renew_period_ms(const struct fabric *fabric)
{
	uint64_t period_ms = (uint64_t)renew_period_s(fabric) * 1000;
	if (period_ms == 0)
		period_ms = 300; // a TTL of a second or two: tests
	return period_ms - period_ms / 5 + random_below(period_ms * 2 / 5 + 1);
}

static void on_renewed(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e);

// The store confirms it, whether or not it fits the config.
static bool is_kept(const struct fabric *fabric)
{
	return fabric->state == FABRIC_LEASE_HELD || fabric->state == FABRIC_LEASE_UNFIT;
}

static void renew(struct fabric *fabric)
{
	if (fabric->has_lease && fabric->lease.session != 0 && is_kept(fabric))
		registry_lease_renew(fabric->registry, fabric->lease.session, on_renewed, fabric);
}

static uint64_t renew_retry_ms(const struct fabric *fabric)
{
	// The nearer the end, the more often; the margin is where we stop being patient.
	uint64_t now_ms = loop_boottime_ms();
	uint64_t margin_ms = (uint64_t)fabric->config.renew_margin_s * 1000;
	uint64_t left_ms = fabric->expires_at_ms > now_ms ? fabric->expires_at_ms - now_ms : 0;
	uint64_t pause_ms = left_ms > margin_ms ? 5000 : 1000;
	return pause_ms > left_ms / 4 && left_ms > 0 ? left_ms / 4 + 100 : pause_ms;
}

static void on_renewed(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct fabric *fabric = arg;
	if (!fabric->has_lease || fabric->lease.session != session)
		return;
	if (r == 0) {
		fabric->expires_at_ms = loop_boottime_ms() + (uint64_t)ttl_s * 1000;
		timer_start(fabric->renew_timer, renew_period_ms(fabric));
		return;
	}
	if (r != -ENOENT) {
		log_rl(LOG_LEVEL_WARN, "fabric: the lease is not renewed: %s", err_msg(e));
		timer_start(fabric->renew_timer, renew_retry_ms(fabric));
		return;
	}
	struct err why;
	err_set(&why, -ENOENT, "the lease expired or was revoked; getting the same subnet again");
	fabric->lease.session = 0;
	fabric->expires_at_ms = 0;
	set_at_key(fabric, NULL);
	set_state(fabric, FABRIC_LEASE_LOST, &why);
	own_step(fabric);
	// The watch did not tell: the store may be another one, of the same name and of a later revision.
	if (fabric->watch) {
		fabric->store_was_changed = true;
		fabric_read_again(fabric, "our session ended, and the watch did not say so");
	}
}

void own_verify_soon(struct fabric *fabric)
{
	if (fabric->has_lease && fabric->lease.session != 0 && is_kept(fabric))
		timer_start(fabric->renew_timer, random_below(1000) + 1);
}

static void renew_tick(void *arg)
{
	renew(arg);
}

static void hold_lease(struct fabric *fabric, const struct lease *lease, bool fresh)
{
	// A key that was deleted by hand leaves its session behind.
	if (fresh && fabric->was_held && fabric->lease.session != lease->session)
		registry_close_session(fabric->registry, fabric->lease.session);
	take_lease(fabric, lease);
	set_at_key(fabric, lease);
	set_candidate(fabric, NULL);
	set_state(fabric, FABRIC_LEASE_HELD, NULL);
	timer_stop(fabric->retry_timer);
	if (lease->session == 0) {
		fabric->expires_at_ms = 0; // a reservation
		timer_stop(fabric->renew_timer);
	} else if (fresh) {
		fabric->expires_at_ms = loop_boottime_ms() + (uint64_t)fabric_ttl_s(fabric) * 1000;
		timer_start(fabric->renew_timer, renew_period_ms(fabric));
	} else {
		renew(fabric); // how long it still lives is not known
	}
}

// ---- settling: our key in the store against what we say of ourselves ----

static void on_written(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct fabric *fabric = arg;
	fabric->busy = false;
	if (r == 0) {
		hold_lease(fabric, lease, true);
	} else if ((r == -EEXIST || r == -ESTALE) && lease) {
		set_at_key(fabric, lease);
		fabric->again = true;
	} else if (r == -ENOENT) {
		set_at_key(fabric, NULL);
		fabric->again = true;
	} else {
		if (fabric->state != FABRIC_LEASE_HELD)
			set_state(fabric, fabric->state, e);
		log_rl(LOG_LEVEL_WARN, "fabric: the lease is not written: %s", err_msg(e));
		// Lost answers and unreadable keys: what is there now decides.
		retry_later(fabric);
	}
	if (fabric->again)
		own_step(fabric);
}

static bool attrs_are_stored(const struct fabric *fabric)
{
	const struct lease_attrs *a = &fabric->attrs, *b = &fabric->at_key.attrs;
	return ip_equal(&a->public_ip, &b->public_ip) && ip_equal(&a->public_ipv6, &b->public_ipv6) &&
	       strcmp(a->backend_type, b->backend_type) == 0 && same_data(a, b);
}

static void update_stored(struct fabric *fabric)
{
	struct lease_attrs attrs;
	lease_attrs_copy(&fabric->attrs, &attrs);
	free(attrs.extra);
	// Members that others put into the value are theirs and stay.
	attrs.extra = xstrdup(fabric->at_key.attrs.extra);
	fabric->busy = true;
	registry_lease_update(fabric->registry, &fabric->at_key, &attrs, on_written, fabric);
	lease_attrs_free(&attrs);
}

static void acquire(struct fabric *fabric);

// Another subnet is to be taken.
static void abandon(struct fabric *fabric, const struct err *why)
{
	timer_stop(fabric->renew_timer);
	lease_free(&fabric->lease);
	fabric->has_lease = false;
	fabric->has_previous = false;
	set_at_key(fabric, NULL);
	fabric_tell_rules(fabric);
	set_state(fabric, FABRIC_LEASE_NONE, why);
}

// Our subnet's key is another's, or an overlapping one is.
static void is_foreign(struct fabric *fabric, const struct lease *other)
{
	struct err why;
	describe_other(other, &why, "our subnet is held by another host");
	if (fabric->config.allow_subnet_change) {
		abandon(fabric, &why);
		acquire(fabric);
		return;
	}
	timer_stop(fabric->renew_timer);
	set_state(fabric, FABRIC_LEASE_FOREIGN, &why);
	retry_later(fabric);
}

static void settle(struct fabric *fabric)
{
	const struct lease *overlap;
	if (fabric->key_is_junk) {
		struct err why;
		err_set(&why, -EBADMSG, "the value at our subnet's key was overwritten with something unreadable; delete the key to mend it");
		set_state(fabric, FABRIC_LEASE_FOREIGN, &why);
		retry_later(fabric);
	} else if (fabric->has_at_key && !is_ours(fabric, &fabric->at_key)) {
		is_foreign(fabric, &fabric->at_key);
	} else if (fabric->has_at_key && attrs_are_stored(fabric)) {
		if (!is_kept(fabric) || fabric->lease.mod_revision != fabric->at_key.mod_revision ||
		    fabric->lease.session != fabric->at_key.session) {
			struct lease copy;
			lease_copy(&fabric->at_key, &copy);
			hold_lease(fabric, &copy, false);
			lease_free(&copy);
		}
	} else if (fabric->has_at_key) {
		update_stored(fabric);
	} else if ((overlap = peer_table_find_overlap(fabric->peers, &fabric->lease.subnet))) {
		is_foreign(fabric, overlap);
	} else {
		fabric->busy = true;
		registry_lease_create(fabric->registry, &fabric->lease.subnet, &fabric->attrs, fabric_ttl_s(fabric), on_written, fabric);
	}
}

// ---- acquiring a first one ----

static void wait_without(struct fabric *fabric, enum fabric_lease_state state, const struct err *why)
{
	set_state(fabric, state, why);
	retry_later(fabric);
}

static void on_yielded(void *arg, int r, const struct err *e)
{
	struct fabric *fabric = arg;

	fabric->busy = false;
	set_candidate(fabric, NULL);
	if (r < 0 && r != -ESTALE && r != -ENOENT)
		wait_without(fabric, FABRIC_LEASE_NONE, e);
	else
		own_step(fabric);
}

// The watch has told everything that was written before our key: a key of another name may have claimed some of it first.
static void prove(struct fabric *fabric)
{
	struct lease lease = fabric->proof;
	const struct lease *other = peer_table_find_overlap(fabric->peers, &lease.subnet);
	char a[SUBNET_STR_MAX], b[SUBNET_STR_MAX];

	fabric->proof = (struct lease){ 0 };
	fabric->proving = false;
	if (other && other->mod_revision < lease.mod_revision) {
		log_info("fabric: give subnet %s back: lease %s was first", subnet_str(&lease.subnet, a), subnet_str(&other->subnet, b));
		fabric->collisions++;
		registry_lease_delete(fabric->registry, &lease.subnet, lease.mod_revision, on_yielded, fabric);
	} else {
		fabric->busy = false;
		hold_lease(fabric, &lease, true);
		if (fabric->again)
			own_step(fabric);
	}
	lease_free(&lease);
}

void own_watched(struct fabric *fabric, int64_t revision)
{
	fabric->seen_revision = revision;
	if (fabric->proving && revision >= fabric->proof.mod_revision)
		prove(fabric);
}

static void on_created(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct fabric *fabric = arg;

	if (r == 0) {
		lease_copy(lease, &fabric->proof);
		fabric->proving = true;
		fabric->proof_until_ms = loop_now_ms() + PROOF_MAX_MS;
		if (fabric->seen_revision >= lease->mod_revision)
			prove(fabric);
		else
			timer_start(fabric->retry_timer, PROOF_MAX_MS);
		return;
	}
	fabric->busy = false;
	if (r == -EEXIST) {
		struct lease copy;

		if (lease && is_ours(fabric, lease)) {
			set_candidate(fabric, lease);
		} else if (lease) {
			lease_copy(lease, &copy);
			peer_table_put(fabric->peers, &copy);
		}
		if (++fabric->collisions > COLLISIONS_AT_ONCE)
			retry_later(fabric);
		else
			fabric->again = true;
	} else {
		wait_without(fabric, FABRIC_LEASE_NONE, e);
	}
	if (fabric->again)
		own_step(fabric);
}

static void create_first(struct fabric *fabric, const struct subnet *subnet)
{
	fabric->busy = true;
	registry_lease_create(fabric->registry, subnet, &fabric->attrs, fabric_ttl_s(fabric), on_created, fabric);
}

static void adopt(struct fabric *fabric)
{
	struct lease lease = fabric->candidate;
	memset(&fabric->candidate, 0, sizeof(fabric->candidate));
	fabric->has_candidate = false;
	take_lease(fabric, &lease);
	// From here on it is ours by its session, or by the word of the disk: settle writes what we say of ourselves.
	fabric->previous = lease.subnet;
	fabric->has_previous = true;
	set_at_key(fabric, &lease);
	lease_free(&lease);
	settle(fabric);
}

static void on_unfit_deleted(void *arg, int r, const struct err *e)
{
	struct fabric *fabric = arg;
	fabric->busy = false;
	if (r < 0 && r != -ESTALE && r != -ENOENT) {
		wait_without(fabric, FABRIC_LEASE_NONE, e);
		return;
	}
	set_candidate(fabric, NULL);
	own_step(fabric);
}

// The candidate is ours.
static void take_candidate(struct fabric *fabric)
{
	const struct lease *lease = &fabric->candidate;
	bool kept = disk_says_ours(fabric, lease) && !fabric->config.allow_subnet_change;
	if (!kept && !subnet_fits(&fabric->conf, &lease->subnet)) {
		// Containers live in it only if the disk says that it was this host's.
		fabric->busy = true;
		registry_lease_delete(fabric->registry, &lease->subnet, lease->mod_revision, on_unfit_deleted, fabric);
	} else {
		adopt(fabric);
	}
}

static void on_candidate_ttl(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct fabric *fabric = arg;
	(void)session;
	fabric->busy = false;
	if (!fabric->has_candidate || fabric->has_lease) {
		own_step(fabric);
		return;
	}
	if (r < 0 && r != -ENOENT) {
		wait_without(fabric, FABRIC_LEASE_NONE, e);
		return;
	}
	// A live weft's lease never has less left than the TTL less one period with its jitter, and 2 s for the store's rounding.
	if (r == 0 && ttl_s > fabric_ttl_s(fabric) - renew_period_s(fabric) * 5 / 4 - 2) {
		struct err why;
		describe_other(&fabric->candidate, &why, "our public address is used by another host");
		wait_without(fabric, FABRIC_LEASE_FOREIGN, &why);
		return;
	}
	take_candidate(fabric);
}

static void use_candidate(struct fabric *fabric)
{
	const struct lease *lease = &fabric->candidate;
	// Without a session it is a reservation for whoever has the address.
	if (is_ours(fabric, lease) || lease->session == 0) {
		take_candidate(fabric);
	} else {
		fabric->busy = true;
		registry_lease_ttl(fabric->registry, lease->session, on_candidate_ttl, fabric);
	}
}

static void acquire_previous_or_new(struct fabric *fabric)
{
	struct subnet subnet;
	const struct lease *other = NULL;
	bool usable = fabric->has_previous && subnet_fits(&fabric->conf, &fabric->previous);
	if (usable && !(other = peer_table_find_overlap(fabric->peers, &fabric->previous))) {
		create_first(fabric, &fabric->previous);
		return;
	}
	if (other && !fabric->config.allow_subnet_change) {
		struct err why;
		describe_other(other, &why, "this host's previous subnet is held by another host (--allow-subnet-change takes a new one)");
		wait_without(fabric, FABRIC_LEASE_FOREIGN, &why);
		return;
	}
	if (choose_subnet(&fabric->conf, fabric->peers, own_address(fabric), fabric->collisions, &subnet)) {
		fabric->found_full = false;
		create_first(fabric, &subnet);
		return;
	}
	struct err why;
	char net[IPNET_STR_MAX];
	const struct netconf_family *family = fabric->conf.v4.enabled ? &fabric->conf.v4 : &fabric->conf.v6;
	err_set(&why, -ENOSPC, "no subnet is free: network %s has room for %" PRIu64 " subnets of length %u, and %zu leases; use a larger Network or SubnetLen",
		ipnet_str(&family->network, net), netconf_family_subnets(family), family->subnet_len,
		lease_set_count(peer_table_good(fabric->peers)));
	fabric->found_full = true;
	wait_without(fabric, FABRIC_LEASE_NONE, &why);
}

static void acquire(struct fabric *fabric)
{
	if (!fabric->conf.v4.enabled && peer_table_has_v4(fabric->peers)) {
		struct err why;
		err_set(&why, -EINVAL, "the network is IPv6-only, but there are leases with IPv4 subnets: hosts of flannel cannot be in it; delete their leases or enable IPv4");
		wait_without(fabric, FABRIC_LEASE_NONE, &why);
		return;
	}
	if (fabric->has_candidate)
		use_candidate(fabric);
	else
		acquire_previous_or_new(fabric);
}

static void abandon_unfit(struct fabric *fabric)
{
	char text[SUBNET_STR_MAX];
	struct err why;

	err_set(&why, -EINVAL, "subnet %s does not fit the config; taking another one", subnet_str(&fabric->lease.subnet, text));
	if (fabric->has_at_key && is_ours(fabric, &fabric->at_key))
		set_candidate(fabric, &fabric->at_key); // which is to be deleted
	abandon(fabric, &why);
}

void own_step(struct fabric *fabric)
{
	fabric->again = true;
	if (fabric->busy || !fabric->joined || !fabric->snapshot_done || !fabric->has_conf)
		return;
	fabric->again = false;
	fabric_tell_rules(fabric); // the agent may have joined anew
	if (!fabric->has_lease) {
		acquire(fabric);
	} else if (!subnet_fits(&fabric->conf, &fabric->lease.subnet) && fabric->config.allow_subnet_change && !fabric->was_held) {
		abandon_unfit(fabric);
		acquire(fabric);
	} else {
		settle(fabric);
		own_config_changed(fabric);
	}
}

void own_config_changed(struct fabric *fabric)
{
	if (!fabric->has_lease || !is_kept(fabric))
		return;
	if (subnet_fits(&fabric->conf, &fabric->lease.subnet)) {
		set_state(fabric, FABRIC_LEASE_HELD, NULL);
	} else {
		struct err why;
		char text[SUBNET_STR_MAX];
		err_set(&why, -EINVAL, "subnet %s does not fit the changed config; it is kept until weftd is restarted with --allow-subnet-change",
			subnet_str(&fabric->lease.subnet, text));
		set_state(fabric, FABRIC_LEASE_UNFIT, &why);
	}
}

static void retry_tick(void *arg)
{
	struct fabric *fabric = arg;

	if (!fabric->proving)
		own_step(fabric);
	else if (loop_now_ms() < fabric->proof_until_ms)
		timer_start(fabric->retry_timer, fabric->proof_until_ms - loop_now_ms());
	else
		prove(fabric); // the watch is silent, and the create was not refused
}

void own_retry_soon(struct fabric *fabric)
{
	if (fabric->found_full || fabric->state == FABRIC_LEASE_FOREIGN)
		own_step(fabric);
}

// ---- what the store says ----

bool lease_is_own(const struct fabric *fabric, const struct lease *lease)
{
	if (fabric->has_lease && subnet_equal(&fabric->lease.subnet, &lease->subnet))
		return true;
	return !fabric->has_lease && fabric->joined && (has_our_address(fabric, lease) || is_ours(fabric, lease));
}

void own_snapshot_begin(struct fabric *fabric)
{
	set_at_key(fabric, NULL);
	set_candidate(fabric, NULL);
	lease_free(&fabric->proof);
}

void own_seen(struct fabric *fabric, const struct lease *lease)
{
	if (!fabric->has_lease) {
		// Of several one that is surely ours counts, then the one that the disk knows.
		const struct lease *old = fabric->has_candidate ? &fabric->candidate : NULL;
		if (!old || subnet_equal(&old->subnet, &lease->subnet) || (is_ours(fabric, lease) && !is_ours(fabric, old)) ||
		    (is_ours(fabric, lease) && disk_says_ours(fabric, lease)))
			set_candidate(fabric, lease);
	} else if (fabric->state != FABRIC_LEASE_HELD || lease->mod_revision > fabric->lease.mod_revision || !fabric->snapshot_done) {
		set_at_key(fabric, lease);
	} else {
		return; // our own write, told back
	}
	if (fabric->snapshot_done)
		own_step(fabric);
}

void own_gone(struct fabric *fabric, const struct subnet *subnet, int64_t revision)
{
	bool is_key = fabric->has_lease && subnet_equal(&fabric->lease.subnet, subnet);
	if (fabric->has_candidate && subnet_equal(&fabric->candidate.subnet, subnet))
		set_candidate(fabric, NULL);
	// We may have it again already when the watch tells that it had gone.
	if (is_key && !(is_kept(fabric) && revision < fabric->lease.mod_revision)) {
		struct err why;
		char text[SUBNET_STR_MAX];
		set_at_key(fabric, NULL);
		timer_stop(fabric->renew_timer);
		err_set(&why, -ENOENT, "the lease %s was deleted from the store; getting it again", subnet_str(subnet, text));
		set_state(fabric, FABRIC_LEASE_LOST, &why);
	}
	if (fabric->snapshot_done)
		own_step(fabric);
}

void own_junk(struct fabric *fabric, const struct registry_bad *bad)
{
	if (!fabric->has_lease || !bad_is_at_usual_key(bad) || !subnet_equal(&fabric->lease.subnet, &bad->subnet) ||
	    (is_kept(fabric) && fabric->snapshot_done && bad->mod_revision <= fabric->lease.mod_revision))
		return;
	set_at_key(fabric, NULL);
	fabric->key_is_junk = true;
	if (fabric->snapshot_done)
		own_step(fabric);
}

// ---- for the outside ----

void fabric_join(struct fabric *fabric, const struct lease_attrs *attrs)
{
	bool first = !fabric->joined;
	struct lease_attrs copy;
	lease_attrs_copy(attrs, &copy);
	lease_attrs_free(&fabric->attrs);
	fabric->attrs = copy;
	fabric->joined = true;
	fabric->again = true; // whatever is under way now does not know of it
	if (!fabric->renew_timer) {
		fabric->renew_timer = timer_new(fabric->loop, renew_tick, fabric);
		fabric->retry_timer = timer_new(fabric->loop, retry_tick, fabric);
		fabric->retry_backoff = (struct backoff){.base_ms = 200, .max_ms = fabric->config.retry_max_ms ? fabric->config.retry_max_ms : 5000};
	}
	// The hooks must not be called from within this call.
	timer_start(first ? fabric->start_timer : fabric->retry_timer, 0);
}

void own_free(struct fabric *fabric)
{
	timer_free(fabric->renew_timer);
	timer_free(fabric->retry_timer);
	lease_attrs_free(&fabric->attrs);
	lease_free(&fabric->lease);
	set_at_key(fabric, NULL);
	set_candidate(fabric, NULL);
	lease_free(&fabric->proof);
}
