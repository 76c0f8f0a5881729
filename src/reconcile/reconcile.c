// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: when to work: requests for passes, changed peers, kernel notifications, retries.
#include "reconcile/reconcile_internal.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define PASS_DELAY_MS 2	     // notifications come in bunches
#define PASS_PAUSE_MIN_MS 20 // between two passes; at least twice as long as the last one took
#define DEVICE_RETRY_MS 2000
#define DEVICE_LAUNCH_MS 20 // a process that has it is coming up
#define SCAN_RETRY_MS 500
#define TURN_MS 2	// another network's dump comes first
#define SCAN_PEERS 1000 // for each so many the periodic look comes later by its interval

static void pass_tick(void *arg);
static void scan_tick(void *arg);
static void retry_tick(void *arg);

struct reconcile *reconcile_new(struct loop *loop, struct netlink *nl,
				const struct reconcile_source *source, void *arg,
				uint64_t scan_interval_ms)
{
	struct reconcile *reconcile = xnew(struct reconcile);
	reconcile->loop = loop;
	reconcile->nl = nl;
	reconcile->source = *source;
	reconcile->arg = arg;
	reconcile->scan_interval_ms = scan_interval_ms;
	reconcile->pass_timer = timer_new(loop, pass_tick, reconcile);
	reconcile->scan_timer = timer_new(loop, scan_tick, reconcile);
	reconcile->retry_timer = timer_new(loop, retry_tick, reconcile);
	reconcile->change_timer = timer_new(loop, change_tick, reconcile);
	reconcile->nexthops = nexthop_table_new();
	reconcile->trouble = trouble_new();
	reconcile->war = war_new();
	reconcile->batch = netlink_batch_new(nl);
	reconcile->label = xstrdup("reconcile");
	return reconcile;
}

struct reconcile *reconcile_free(struct reconcile *reconcile)
{
	if (!reconcile)
		return NULL;
	timer_free(reconcile->pass_timer);
	timer_free(reconcile->scan_timer);
	timer_free(reconcile->retry_timer);
	timer_free(reconcile->change_timer);
	wg_peers_free(reconcile);
	pass_free(reconcile->pass);
	changes_clear(reconcile);
	ops_reset(&reconcile->ops);
	netlink_batch_free(reconcile->batch);
	nexthop_table_free(reconcile->nexthops);
	trouble_free(reconcile->trouble);
	war_free(reconcile->war);
	free(reconcile->label);
	free(reconcile);
	return NULL;
}

void reconcile_share_host(struct reconcile *reconcile, uint32_t slot, const char *network)
{
	free(reconcile->label);
	reconcile->label = xasprintf("network %s", network);
	reconcile->has_neighbours = true;
	nexthop_table_set_slot(reconcile->nexthops, slot);
}

bool is_our_destination(const struct reconcile *reconcile, const struct ipnet *dst)
{
	return !reconcile->has_neighbours || reconcile->source.owns(reconcile->arg, dst);
}

// ---- passes ----

static uint64_t pause_before_pass_ms(const struct reconcile *reconcile)
{
	uint64_t pause = reconcile->stats.last_pass_ms * 2;
	if (pause < PASS_PAUSE_MIN_MS)
		pause = PASS_PAUSE_MIN_MS;
	uint64_t since = loop_now_ms() - reconcile->pass_ended_ms;
	if (reconcile->pass_ended_ms == 0 || since >= pause)
		return PASS_DELAY_MS;
	return pause - since;
}

static void schedule_pass(struct reconcile *reconcile)
{
	if (!reconcile->pass && !timer_is_pending(reconcile->pass_timer) &&
	    (reconcile->requested || reconcile->plan_requested))
		timer_start(reconcile->pass_timer, pause_before_pass_ms(reconcile));
}

void reconcile_request(struct reconcile *reconcile, enum reconcile_reason reason)
{
	// Drift may be blamed on others only if nothing of our own doing asked for the same pass.
	if (!reconcile->requested || reason < reconcile->requested_reason)
		reconcile->requested_reason = reason;
	reconcile->requested = true;
	// What we know of may be what the devices waited for.
	if (!reconcile->pass && !reconcile->devices_ready && reason != RECONCILE_DRIFT)
		timer_stop(reconcile->pass_timer);
	schedule_pass(reconcile);
}

void reconcile_expect_peers(struct reconcile *reconcile, bool more)
{
	reconcile->more_peers = more;
	if (!more && reconcile->pass)
		timer_start(reconcile->pass_timer, 0);
}

void reconcile_allow_sweep(struct reconcile *reconcile, bool allowed)
{
	const struct pass *pass = reconcile->pass;
	bool is_coming = pass && !pass->dry_run && pass->phase != PASS_SWEEP;
	if (allowed && !reconcile->sweep_allowed && !is_coming)
		reconcile_request(reconcile, RECONCILE_CHANGE);
	reconcile->sweep_allowed = allowed;
}

static void tell_device_error(struct reconcile *reconcile, const struct err *e)
{
	if (!e && !reconcile->device_error_told)
		return;
	reconcile->device_error_told = e != NULL;
	reconcile->source.device_error(reconcile->arg, e);
}

static int make_devices(struct reconcile *reconcile, enum reconcile_reason reason,
			bool *ret_changed, struct err *e)
{
	struct underlay underlay;
	int r = ensure_devices(reconcile, reason, false, &underlay, ret_changed, e);
	reconcile->devices_ready = r == 0;
	if (r < 0)
		return r;
	for (size_t i = 0; i < WANTED_DEVICES_MAX; i++) {
		uint32_t before = reconcile->underlay.device_ifindex[i];
		if (before != 0 && before != underlay.device_ifindex[i])
			nexthop_table_forget_device(reconcile->nexthops, before);
	}
	reconcile->underlay = underlay;
	return 0;
}

int reconcile_devices(struct reconcile *reconcile, struct err *e)
{
	bool changed = false;
	return make_devices(reconcile, RECONCILE_START, &changed, e);
}

static void begin_plan(struct reconcile *reconcile)
{
	reconcile->plan_requested = false;
	pass_begin(reconcile, RECONCILE_CHANGE, true);
	bool changed = false;
	struct err e = { 0 };
	int r = ensure_devices(reconcile, RECONCILE_CHANGE, true, &reconcile->pass->underlay,
			       &changed, &e);
	if (r == 0)
		return;
	reconcile->pass = pass_free(reconcile->pass);
	reconcile_plan_done_fn *done = reconcile->plan_done;
	reconcile->plan_fn = NULL;
	done(reconcile->plan_arg, r, &e);
}

static void begin_requested(struct reconcile *reconcile)
{
	enum reconcile_reason reason = reconcile->requested_reason;
	bool changed = false;
	struct err e = { 0 };
	int r = make_devices(reconcile, reason, &changed, &e);
	if (r < 0) {
		if (r != -EINPROGRESS)
			tell_device_error(reconcile, &e);
		timer_start(reconcile->pass_timer,
			    r == -EINPROGRESS ? DEVICE_LAUNCH_MS : DEVICE_RETRY_MS);
		if (reconcile->plan_requested)
			begin_plan(reconcile);
		return;
	}
	tell_device_error(reconcile, NULL);
	// Who failed because of the device need not wait any longer.
	if (changed || reconcile->device_failed)
		trouble_retry_first_failures(reconcile->trouble, loop_now_ms());
	reconcile->device_failed = false;
	reconcile->requested = false;
	pass_begin(reconcile, reason, false);
	reconcile->pass->devices_changed = changed;
}

uint64_t scan_pause_ms(uint64_t interval_ms, size_t peers)
{
	return interval_ms * (1 + peers / SCAN_PEERS);
}

static void pass_over(struct reconcile *reconcile)
{
	uint64_t now_ms = reconcile->pass_ended_ms = loop_now_ms();
	uint64_t retry_at = trouble_next_retry_ms(reconcile->trouble),
		 peace_at = war_next_end_ms(reconcile->war, now_ms);
	if (peace_at < retry_at)
		retry_at = peace_at;
	if (retry_at != UINT64_MAX)
		timer_start(reconcile->retry_timer, retry_at > now_ms ? retry_at - now_ms : 1);
	else
		timer_stop(reconcile->retry_timer);
	if (reconcile->scan_interval_ms > 0)
		timer_start(reconcile->scan_timer,
			    scan_pause_ms(reconcile->scan_interval_ms,
					  lease_set_count(reconcile->source.peers(reconcile->arg))));
	schedule_pass(reconcile);
}

static void pass_tick(void *arg)
{
	struct reconcile *reconcile = arg;
	if (!reconcile->pass) {
		if (reconcile->requested)
			begin_requested(reconcile);
		else if (reconcile->plan_requested)
			begin_plan(reconcile);
		if (!reconcile->pass)
			return;
	}
	enum reconcile_reason reason = reconcile->pass->reason;
	bool dry_run = reconcile->pass->dry_run;
	bool sweeps = reconcile->pass->sweeps;
	int r = pass_step(reconcile);
	if (r == PASS_WAITS)
		return;
	if (r == PASS_BUSY) {
		timer_start(reconcile->pass_timer, TURN_MS);
		return;
	}
	if (r > 0) {
		timer_start(reconcile->pass_timer, 0);
		return;
	}
	if (dry_run) {
		reconcile->plan_fn = NULL;
	} else if (r < 0) {
		reconcile_request(reconcile, reason);
		timer_start(reconcile->pass_timer, SCAN_RETRY_MS);
	}
	pass_over(reconcile);
	if (r == 0 && sweeps && reconcile->source.swept)
		reconcile->source.swept(reconcile->arg);
}

static void scan_tick(void *arg)
{
	reconcile_request(arg, RECONCILE_DRIFT);
}

// For those who failed nothing is a repair; what others undid meanwhile is.
static void retry_tick(void *arg)
{
	reconcile_request(arg, RECONCILE_DRIFT);
}

int reconcile_plan(struct reconcile *reconcile, reconcile_plan_fn *fn, reconcile_plan_done_fn *done,
		   void *arg)
{
	if (reconcile->plan_fn)
		return -EBUSY;
	reconcile->plan_fn = fn;
	reconcile->plan_done = done;
	reconcile->plan_arg = arg;
	reconcile->plan_requested = true;
	schedule_pass(reconcile);
	return 0;
}

// ---- views ----

bool reconcile_is_synced(const struct reconcile *reconcile)
{
	return reconcile->synced && reconcile->pending_count == 0;
}

const struct reconcile_stats *reconcile_stats(const struct reconcile *reconcile)
{
	return &reconcile->stats;
}

const struct trouble *reconcile_trouble(const struct reconcile *reconcile)
{
	return reconcile->trouble;
}

const struct war *reconcile_war(const struct reconcile *reconcile)
{
	return reconcile->war;
}

const char *reconcile_engine(const struct reconcile *reconcile)
{
	return reconcile->wg ? wg_engine(reconcile->wg) : NULL;
}

bool reconcile_heard(const struct reconcile *reconcile, const struct wanted *wanted,
		     struct wg_heard *ret)
{
	bool found = false;
	for (size_t i = 0; reconcile->wg && i < wanted->count; i++) {
		struct wg_heard heard;
		if (wanted->objects[i].kind != KERNEL_WG_PEER ||
		    !wg_contacts_find(reconcile->wg_contacts, &wanted->objects[i].wg_peer,
				      loop_now_ms(), &heard))
			continue;
		if (!found || heard.silent_ms > ret->silent_ms ||
		    (heard.silent_ms == ret->silent_ms && heard.handshake_s < ret->handshake_s))
			*ret = heard;
		found = true;
	}
	return found;
}

size_t reconcile_silent_peers(const struct reconcile *reconcile)
{
	return reconcile->wg ? wg_contacts_silent(reconcile->wg_contacts) : 0;
}

int reconcile_explain(struct reconcile *reconcile, const struct lease *peer, struct wanted *ret,
		      struct err *e)
{
	struct underlay_path paths[1][UNDERLAY_FAMILY_COUNT];
	look_up_paths(reconcile, &peer, 1, paths);
	struct want_result want;
	want_peer(reconcile, peer, paths[0], &want);
	if (want.r < 0) {
		if (e)
			*e = want.err;
		return want.r;
	}
	*ret = want.wanted;
	return 0;
}
