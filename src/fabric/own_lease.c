// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: our own lease once there is one: keeping it, getting it back.
//
// DOC: states of our lease
//
// States: NONE and CACHED lead to HELD by settle(), which compares the store's value at our key with what we say of ourselves: absent ->
// create; ours -> take its revision and session, update it if it says something else; another's -> FOREIGN. A DELETE of our key leads to LOST
// and settle(); the subnet is not changed without allow_subnet_change once this host is known to have had one.
#include "fabric/own_lease.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

void own_set_state(struct fabric *fabric, enum fabric_lease_state state, const struct err *why)
{
	static const struct err none = { 0 };
	const struct err *reason = why ? why : &none;
	bool same = state == fabric->state && !fabric->lease_changed &&
		    strcmp(reason->msg, fabric->why.msg) == 0;
	fabric->state = state;
	fabric->why = *reason;
	fabric->lease_changed = false;
	log_debug("fabric: the lease is %s%s%s", fabric_lease_state_names[state],
		  *reason->msg ? ": " : "", reason->msg);
	if (!same)
		fabric->hooks.lease(fabric->arg, state, fabric->has_lease ? &fabric->lease : NULL,
				    &fabric->why);
}

void own_retry_later(struct fabric *fabric)
{
	timer_start(fabric->retry_timer, backoff_next_ms(&fabric->retry_backoff) + 1);
}

void own_take(struct fabric *fabric, const struct lease *lease)
{
	bool same_subnet = fabric->has_lease && subnet_equal(&fabric->lease.subnet, &lease->subnet);
	struct lease copy;

	// The next state is told even if it is the same: the agent keeps the lease on disk.
	fabric->lease_changed = fabric->lease_changed || !same_subnet ||
				fabric->lease.session != lease->session ||
				!lease_attrs_equal(&fabric->lease.attrs, &lease->attrs);
	lease_copy(lease, &copy);
	lease_free(&fabric->lease);
	fabric->lease = copy;
	fabric->has_lease = true;
	if (same_subnet)
		return;
	peer_table_forget(fabric->peers, &fabric->lease.subnet);
	fabric_tell_rules(fabric);
}

void own_set_at_key(struct fabric *fabric, const struct lease *lease)
{
	lease_free(&fabric->at_key);
	fabric->has_at_key = lease != NULL;
	fabric->key_is_junk = false;
	if (lease)
		lease_copy(lease, &fabric->at_key);
}

void own_set_candidate(struct fabric *fabric, const struct lease *lease)
{
	lease_free(&fabric->candidate);
	fabric->has_candidate = lease != NULL;
	fabric->candidate_until_ms = 0;
	if (lease)
		lease_copy(lease, &fabric->candidate);
}

// The store has it as we say it; does it still fit the config?
static void tell_kept(struct fabric *fabric)
{
	struct err why;
	char text[SUBNET_STR_MAX];

	fabric->was_held = true;
	fabric->collisions = 0;
	backoff_reset(&fabric->retry_backoff);
	if (subnet_fits(&fabric->conf, &fabric->lease.subnet)) {
		own_set_state(fabric, FABRIC_LEASE_HELD, NULL);
		return;
	}
	err_set(&why, -EINVAL,
		"subnet %s does not fit the changed config; it is kept until weftd is restarted with --allow-subnet-change",
		subnet_str(&fabric->lease.subnet, text));
	own_set_state(fabric, FABRIC_LEASE_UNFIT, &why);
}

void own_hold(struct fabric *fabric, const struct lease *lease, bool fresh)
{
	// A key that was deleted by hand leaves its session behind.
	if (fresh && fabric->was_held && fabric->lease.session != lease->session)
		registry_close_session(fabric->registry, fabric->lease.session);
	fabric->confirmed_at_ms = loop_boottime_ms();
	own_take(fabric, lease);
	own_set_at_key(fabric, lease);
	own_set_candidate(fabric, NULL);
	tell_kept(fabric);
	timer_stop(fabric->retry_timer);
	if (lease->session == 0) {
		fabric->expires_at_ms = 0; // a reservation
		timer_stop(fabric->renew_timer);
	} else if (fresh) {
		fabric->expires_at_ms = loop_boottime_ms() + (uint64_t)fabric_ttl_s(fabric) * 1000;
		timer_start(fabric->renew_timer, own_renew_period_ms(fabric));
	} else {
		own_renew(fabric); // how long it still lives is not known
	}
}

// ---- settling: our key in the store against what we say of ourselves ----

static void on_written(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct fabric *fabric = arg;
	fabric->busy = false;
	if (r == 0) {
		own_hold(fabric, lease, true);
	} else if ((r == -EEXIST || r == -ESTALE) && lease) {
		own_set_at_key(fabric, lease);
		fabric->again = true;
	} else if (r == -ENOENT) {
		own_set_at_key(fabric, NULL);
		fabric->again = true;
	} else {
		if (fabric->state != FABRIC_LEASE_HELD)
			own_set_state(fabric, fabric->state, e);
		log_rl(LOG_LEVEL_WARN, "fabric: the lease is not written: %s", err_msg(e));
		// Lost answers and unreadable keys: what is there now decides.
		own_retry_later(fabric);
		own_read_again_if_moved(fabric, r);
	}
	if (fabric->again)
		own_step(fabric);
}

// Nobody may get a lease by a config that was replaced or frozen, however late his request arrives. A lease
// that is there is kept and rewritten all the same.
int own_create(struct fabric *fabric, const struct subnet *subnet, registry_lease_fn *fn)
{
	const struct registry_create_terms terms = {
		.ttl_s = fabric_ttl_s(fabric),
		.config_revision = fabric->conf_is_absent ? 0 : fabric->conf_revision,
	};
	if (fabric->is_frozen) {
		own_set_state(fabric, fabric->state, &fabric->frozen);
		own_retry_later(fabric);
		return -EBUSY;
	}
	fabric->busy = true;
	registry_lease_create(fabric->registry, subnet, &fabric->attrs, &terms, fn, fabric);
	return 0;
}

void own_read_again_if_moved(struct fabric *fabric, int r)
{
	if (r == -EBUSY && fabric->watch)
		fabric_read_again(fabric, "the config changed while a lease was created");
}

static bool attrs_are_stored(const struct fabric *fabric)
{
	const struct lease_attrs *a = &fabric->attrs, *b = &fabric->at_key.attrs;
	return ip_equal(&a->public_ip, &b->public_ip) && ip_equal(&a->public_ipv6, &b->public_ipv6) &&
	       strcmp(a->backend_type, b->backend_type) == 0 && lease_attrs_same_data(a, b) &&
	       text_equal(a->paths, b->paths) &&
	       registry_lease_is_marked(fabric->registry, &fabric->at_key);
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

// Another subnet is to be taken.
static void abandon(struct fabric *fabric, const struct err *why)
{
	timer_stop(fabric->renew_timer);
	lease_free(&fabric->lease);
	fabric->has_lease = false;
	fabric->has_previous = false;
	own_set_at_key(fabric, NULL);
	fabric_tell_rules(fabric);
	own_set_state(fabric, FABRIC_LEASE_NONE, why);
}

// Our subnet's key is another's, or an overlapping one is.
static void is_foreign(struct fabric *fabric, const struct lease *other)
{
	struct err why;
	own_describe_other(other, &why, "our subnet is held by another host");
	if (fabric->config.allow_subnet_change) {
		abandon(fabric, &why);
		own_acquire(fabric);
		return;
	}
	timer_stop(fabric->renew_timer);
	own_set_state(fabric, FABRIC_LEASE_FOREIGN, &why);
	own_retry_later(fabric);
}

void own_settle(struct fabric *fabric)
{
	const struct lease *overlap;
	if (fabric->key_is_junk) {
		struct err why;
		err_set(&why, -EBADMSG,
			"the value at our subnet's key was overwritten with something unreadable; delete the key to mend it");
		own_set_state(fabric, FABRIC_LEASE_FOREIGN, &why);
		own_retry_later(fabric);
	} else if (fabric->has_at_key && !own_is_ours(fabric, &fabric->at_key)) {
		is_foreign(fabric, &fabric->at_key);
	} else if (fabric->has_at_key && attrs_are_stored(fabric)) {
		if (!own_is_kept(fabric) || fabric->lease.mod_revision != fabric->at_key.mod_revision ||
		    fabric->lease.session != fabric->at_key.session) {
			struct lease copy;
			lease_copy(&fabric->at_key, &copy);
			own_hold(fabric, &copy, false);
			lease_free(&copy);
		}
	} else if (fabric->has_at_key) {
		update_stored(fabric);
	} else if ((overlap = peer_table_find_overlap(fabric->peers, &fabric->lease.subnet))) {
		is_foreign(fabric, overlap);
	} else {
		(void)own_create(fabric, &fabric->lease.subnet, on_written);
	}
}

static void abandon_unfit(struct fabric *fabric)
{
	char text[SUBNET_STR_MAX];
	struct err why;

	err_set(&why, -EINVAL, "subnet %s does not fit the config; taking another one",
		subnet_str(&fabric->lease.subnet, text));
	if (fabric->has_at_key && own_is_ours(fabric, &fabric->at_key))
		own_set_candidate(fabric, &fabric->at_key); // which is to be deleted
	abandon(fabric, &why);
}

void own_step(struct fabric *fabric)
{
	fabric->again = true;
	if (fabric->busy || !fabric->joined || !fabric->snapshot_done || !fabric->has_conf ||
	    fabric->rests)
		return;
	fabric->again = false;
	fabric_tell_rules(fabric); // the agent may have joined anew
	if (!fabric->has_lease) {
		own_acquire(fabric);
	} else if (!subnet_fits(&fabric->conf, &fabric->lease.subnet) &&
		   fabric->config.allow_subnet_change && !fabric->was_held) {
		abandon_unfit(fabric);
		own_acquire(fabric);
	} else {
		own_settle(fabric);
	}
}

void own_config_changed(struct fabric *fabric)
{
	if (fabric->has_lease && own_is_kept(fabric))
		tell_kept(fabric);
}

static void retry_tick(void *arg)
{
	struct fabric *fabric = arg;

	if (!fabric->proving)
		own_step(fabric);
	else if (loop_now_ms() < fabric->proof_until_ms)
		timer_start(fabric->retry_timer, fabric->proof_until_ms - loop_now_ms());
	else
		own_prove(fabric); // the watch is silent, and the create was not refused
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
	return !fabric->has_lease && fabric->joined &&
	       (own_has_address(fabric, lease) || own_is_ours(fabric, lease));
}

void own_snapshot_begin(struct fabric *fabric)
{
	own_set_at_key(fabric, NULL);
	own_set_candidate(fabric, NULL);
}

// Of several that may be ours one that surely is counts, then the one that the disk knows. The others are another host's.
static void choose_candidate(struct fabric *fabric, const struct lease *lease)
{
	const struct lease *old = fabric->has_candidate ? &fabric->candidate : NULL;
	bool same_key = old && subnet_equal(&old->subnet, &lease->subnet);
	bool better = !old || same_key || (own_is_ours(fabric, lease) && !own_is_ours(fabric, old)) ||
		      (own_is_ours(fabric, lease) && own_is_on_disk(fabric, lease));
	struct lease others = { 0 };

	if (old && !same_key)
		lease_copy(better ? old : lease, &others);
	if (better)
		own_set_candidate(fabric, lease);
	if (old && !same_key)
		peer_table_put(fabric->peers, &others);
}

void own_seen(struct fabric *fabric, const struct lease *lease)
{
	if (!fabric->has_lease) {
		choose_candidate(fabric, lease);
	} else if (fabric->state != FABRIC_LEASE_HELD ||
		   lease->mod_revision > fabric->lease.mod_revision || !fabric->snapshot_done) {
		own_set_at_key(fabric, lease);
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
		own_set_candidate(fabric, NULL);
	// We may have it again already when the watch tells that it had gone.
	if (is_key && !(own_is_kept(fabric) && revision < fabric->lease.mod_revision)) {
		struct err why;
		char text[SUBNET_STR_MAX];
		own_set_at_key(fabric, NULL);
		timer_stop(fabric->renew_timer);
		err_set(&why, -ENOENT, "the lease %s was deleted from the store; getting it again",
			subnet_str(subnet, text));
		own_set_state(fabric, FABRIC_LEASE_LOST, &why);
	}
	if (fabric->snapshot_done)
		own_step(fabric);
}

void own_junk(struct fabric *fabric, const struct registry_bad *bad)
{
	if (!fabric->has_lease || !bad_is_at_usual_key(bad) ||
	    !subnet_equal(&fabric->lease.subnet, &bad->subnet) ||
	    (own_is_kept(fabric) && fabric->snapshot_done &&
	     bad->mod_revision <= fabric->lease.mod_revision))
		return;
	own_set_at_key(fabric, NULL);
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
	// By the address it was told which leases may be ours.
	bool moved = !first && !fabric->has_lease && fabric->has_conf &&
		     !(ip_equal(&copy.public_ip, &fabric->attrs.public_ip) &&
		       ip_equal(&copy.public_ipv6, &fabric->attrs.public_ipv6));
	lease_attrs_free(&fabric->attrs);
	fabric->attrs = copy;
	fabric->joined = true;
	fabric->again = true; // whatever is under way now does not know of it
	if (!fabric->renew_timer) {
		fabric->renew_timer = timer_new(fabric->loop, own_renew_tick, fabric);
		fabric->retry_timer = timer_new(fabric->loop, retry_tick, fabric);
		fabric->retry_backoff = (struct backoff){
			.base_ms = 200,
			.max_ms = fabric->config.retry_max_ms ? fabric->config.retry_max_ms : 5000
		};
	}
	// The hooks must not be called from within this call.
	if (moved)
		fabric_read_again(fabric, "our public address changed");
	else
		timer_start(first ? fabric->start_timer : fabric->retry_timer, 0);
}

void own_free(struct fabric *fabric)
{
	timer_free(fabric->renew_timer);
	timer_free(fabric->retry_timer);
	lease_attrs_free(&fabric->attrs);
	lease_free(&fabric->lease);
	own_set_at_key(fabric, NULL);
	own_set_candidate(fabric, NULL);
	lease_free(&fabric->proof);
}
