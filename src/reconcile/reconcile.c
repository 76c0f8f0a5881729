// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: when to work: requests for passes, changed peers, kernel notifications, retries.
#include "reconcile/reconcile_internal.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

#define GATHER_MS 5	      // changes of peers that come within this are one batch
#define PASS_DELAY_MS 2	      // notifications come in bunches
#define PASS_PAUSE_MIN_MS 20  // between two passes; at least twice as long as the last one took
#define DEVICE_RETRY_MS 2000

static void pass_tick(void *arg);
static void scan_tick(void *arg);
static void retry_tick(void *arg);
static void change_tick(void *arg);

struct reconcile *reconcile_new(struct loop *loop, struct netlink *nl, const struct reconcile_source *source, void *arg,
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
	return reconcile;
}

static void flush_changes(struct reconcile *reconcile);

static void pending_clear(struct reconcile *reconcile)
{
	for (size_t i = 0; i < reconcile->pending_count; i++)
		lease_free(&reconcile->pending[i].old);
	free(reconcile->pending);
	reconcile->pending = NULL;
	reconcile->pending_count = reconcile->pending_capacity = 0;
}

struct reconcile *reconcile_free(struct reconcile *reconcile)
{
	if (!reconcile)
		return NULL;
	timer_free(reconcile->pass_timer);
	timer_free(reconcile->scan_timer);
	timer_free(reconcile->retry_timer);
	timer_free(reconcile->change_timer);
	pass_free(reconcile->pass);
	pending_clear(reconcile);
	ops_reset(&reconcile->ops);
	netlink_batch_free(reconcile->batch);
	nexthop_table_free(reconcile->nexthops);
	trouble_free(reconcile->trouble);
	war_free(reconcile->war);
	free(reconcile);
	return NULL;
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
	if (!reconcile->pass && !timer_is_pending(reconcile->pass_timer) && (reconcile->requested || reconcile->plan_requested))
		timer_start(reconcile->pass_timer, pause_before_pass_ms(reconcile));
}

void reconcile_request(struct reconcile *reconcile, enum reconcile_reason reason)
{
	// Drift may be blamed on others only if nothing of our own doing asked for the same pass.
	if (!reconcile->requested || reason < reconcile->requested_reason)
		reconcile->requested_reason = reason;
	reconcile->requested = true;
	schedule_pass(reconcile);
}

void reconcile_allow_sweep(struct reconcile *reconcile, bool allowed)
{
	if (allowed && !reconcile->sweep_allowed)
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

int reconcile_devices(struct reconcile *reconcile, struct err *e)
{
	bool changed = false;
	int r = ensure_devices(reconcile, RECONCILE_START, false, &changed, e);
	reconcile->devices_ready = r == 0;
	return r;
}

static void begin_requested(struct reconcile *reconcile)
{
	enum reconcile_reason reason = reconcile->requested_reason;
	reconcile->requested = false;
	bool changed = false;
	struct err e = {0};
	if (ensure_devices(reconcile, reason, false, &changed, &e) < 0) {
		tell_device_error(reconcile, &e);
		reconcile->requested = true;
		reconcile->requested_reason = reason;
		timer_start(reconcile->pass_timer, DEVICE_RETRY_MS);
		return;
	}
	tell_device_error(reconcile, NULL);
	pass_begin(reconcile, reason, false);
	reconcile->pass->devices_changed = changed;
}

static void begin_plan(struct reconcile *reconcile)
{
	reconcile->plan_requested = false;
	bool changed = false;
	struct err e = {0};
	int r = ensure_devices(reconcile, RECONCILE_CHANGE, true, &changed, &e);
	if (r < 0) {
		reconcile_plan_done_fn *done = reconcile->plan_done;
		reconcile->plan_fn = NULL;
		done(reconcile->plan_arg, r, &e);
		return;
	}
	pass_begin(reconcile, RECONCILE_CHANGE, true);
}

static void pass_over(struct reconcile *reconcile)
{
	reconcile->pass_ended_ms = loop_now_ms();
	uint64_t retry_at = trouble_next_retry_ms(reconcile->trouble);
	if (retry_at != UINT64_MAX)
		timer_start(reconcile->retry_timer, retry_at > reconcile->pass_ended_ms ? retry_at - reconcile->pass_ended_ms : 1);
	if (reconcile->scan_interval_ms > 0)
		timer_start(reconcile->scan_timer, reconcile->scan_interval_ms);
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
	bool dry_run = reconcile->pass->dry_run;
	if (pass_step(reconcile)) {
		timer_start(reconcile->pass_timer, 0);
		return;
	}
	if (dry_run)
		reconcile->plan_fn = NULL;
	pass_over(reconcile);
}

static void scan_tick(void *arg)
{
	reconcile_request(arg, RECONCILE_DRIFT);
}

static void retry_tick(void *arg)
{
	reconcile_request(arg, RECONCILE_CHANGE);
}

int reconcile_plan(struct reconcile *reconcile, reconcile_plan_fn *fn, reconcile_plan_done_fn *done, void *arg)
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

// ---- changed peers ----

static struct pending *find_pending(const struct reconcile *reconcile, const struct subnet *subnet)
{
	// Few, but for a mass change, which is a pass instead.
	for (size_t i = reconcile->pending_count; i-- > 0;)
		if (subnet_equal(&reconcile->pending[i].subnet, subnet))
			return &reconcile->pending[i];
	return NULL;
}

void reconcile_peer_changed(struct reconcile *reconcile, const struct lease *old, const struct lease *now)
{
	const struct subnet *subnet = old ? &old->subnet : &now->subnet;
	reconcile->stats.changes++;
	if (reconcile->requested && !reconcile->pass)
		return; // a pass is due, which looks at everything
	if (find_pending(reconcile, subnet))
		return; // what the kernel has is what was wanted before the first change
	if (reconcile->pending_count == SLICE_PEERS) {
		if (!reconcile->devices_ready || (old && !now)) {
			// Many that go at once are cheaper to compare as a whole.
			pending_clear(reconcile);
			reconcile_request(reconcile, RECONCILE_CHANGE);
			return;
		}
		flush_changes(reconcile);
	}
	if (reconcile->pending_count == reconcile->pending_capacity) {
		reconcile->pending_capacity = reconcile->pending_capacity == 0 ? 8 : reconcile->pending_capacity * 2;
		reconcile->pending = xrealloc_array(reconcile->pending, reconcile->pending_capacity, sizeof(*reconcile->pending));
	}
	struct pending *pending = &reconcile->pending[reconcile->pending_count++];
	memset(pending, 0, sizeof(*pending));
	pending->subnet = *subnet;
	pending->has_old = old != NULL;
	if (old)
		lease_copy(old, &pending->old);
	if (!timer_is_pending(reconcile->change_timer))
		timer_start(reconcile->change_timer, GATHER_MS);
}

// Everything that one peer's lease wants, nexthops included, in the order of creation.
struct expanded {
	struct kernel_object objects[WANTED_OBJECTS_MAX * 2];
	size_t count;
	int r;
	struct err err;
};

static void expand(struct reconcile *reconcile, const struct lease *peer, const struct underlay_path *paths, struct expanded *ret)
{
	ret->count = 0;
	ret->r = 0;
	if (!peer)
		return;
	struct want_result want;
	want_peer(reconcile, peer, paths, &want);
	ret->r = want.r;
	ret->err = want.err;
	for (size_t i = 0; i < want.wanted.count; i++) {
		if (route_over_nexthop(reconcile, &want.wanted.objects[i], &ret->objects[ret->count]))
			ret->count++;
		ret->objects[ret->count++] = want.wanted.objects[i];
	}
}

static const struct kernel_object *find_key(const struct expanded *expanded, const struct kernel_object *object)
{
	for (size_t i = 0; i < expanded->count; i++)
		if (object_same_key(&expanded->objects[i], object))
			return &expanded->objects[i];
	return NULL;
}

static void add_change(struct reconcile *reconcile, enum netlink_verb verb, const struct kernel_object *object, uint32_t peer)
{
	ops_add(&reconcile->ops, verb, object, peer, false);
	if (reconcile->pass && !reconcile->pass->dry_run)
		pass_touch_object(reconcile->pass, object);
}

static void add_creates(struct reconcile *reconcile, const struct expanded *old, const struct expanded *now, uint32_t peer)
{
	for (size_t i = 0; i < now->count; i++) {
		const struct kernel_object *object = &now->objects[i];
		const struct kernel_object *before = find_key(old, object);
		if (before && object_equals(before, object))
			continue;
		bool create = object->kind == KERNEL_ROUTE && !before;
		add_change(reconcile, create ? NETLINK_CREATE : NETLINK_REPLACE, object, peer);
	}
}

// Backwards: a route goes before its nexthop.
static void add_deletes(struct reconcile *reconcile, const struct expanded *old, const struct expanded *now, bool shared)
{
	for (size_t i = old->count; i-- > 0;) {
		const struct kernel_object *object = &old->objects[i];
		if (find_key(now, object))
			continue;
		if (!shared || (object->kind != KERNEL_FDB && object->kind != KERNEL_NEXTHOP))
			add_change(reconcile, NETLINK_DELETE, object, OP_NO_PEER);
	}
}

static void note_refusal(struct reconcile *reconcile, const struct subnet *subnet, const struct expanded *now)
{
	bool ignored = now->r == -EPROTONOSUPPORT;
	bool news = ignored ? trouble_ignored(reconcile->trouble, subnet, err_msg(&now->err))
			    : trouble_failed(reconcile->trouble, subnet, err_msg(&now->err), loop_now_ms());
	char text[SUBNET_STR_MAX];
	if (news)
		log_rl(LOG_LEVEL_WARN, "reconcile: peer %s %s: %s", subnet_str(subnet, text),
		       ignored ? "ignored" : "not programmed", err_msg(&now->err));
}

static void change_peer(struct reconcile *reconcile, const struct pending *pending, const struct lease *lease,
			const struct underlay_path *old_paths, const struct underlay_path *paths)
{
	struct expanded old, now;
	expand(reconcile, pending->has_old ? &pending->old : NULL, old_paths, &old);
	expand(reconcile, lease, paths, &now);
	uint32_t index = OP_NO_PEER;
	if (now.r < 0) {
		note_refusal(reconcile, &pending->subnet, &now);
	} else if (lease) {
		index = (uint32_t)reconcile->ops.peer_count;
		reconcile->ops.peers[reconcile->ops.peer_count++] = pending->subnet;
	} else {
		trouble_clear(reconcile->trouble, &pending->subnet);
	}
	add_creates(reconcile, &old, &now, index);
	bool shared = old.count > 0 && peer_shares_host(reconcile, &pending->old) &&
		      !(lease && ip_equal(&lease->attrs.public_ip, &pending->old.attrs.public_ip));
	add_deletes(reconcile, &old, &now, shared);
	if (shared)
		reconcile_request(reconcile, RECONCILE_CHANGE);
	if (reconcile->pass && !reconcile->pass->dry_run)
		pass_touch_peer(reconcile->pass, &pending->subnet);
}

static void flush_changes(struct reconcile *reconcile)
{
	size_t count = reconcile->pending_count;
	const struct lease_set *peers = reconcile->source.peers(reconcile->arg);
	const struct lease **leases = xnew0_array(const struct lease *, count * 2);
	struct underlay_path(*paths)[UNDERLAY_FAMILY_COUNT] = xcalloc(count * 2, sizeof(*paths));
	size_t known = 0;
	for (size_t i = 0; i < count; i++) {
		const struct lease *lease = lease_set_find(peers, &reconcile->pending[i].subnet);
		if (reconcile->pending[i].has_old)
			leases[known++] = &reconcile->pending[i].old;
		if (lease)
			leases[known++] = lease;
	}
	look_up_paths(reconcile, leases, known, paths);
	for (size_t i = 0, at = 0; i < count; i++) {
		struct pending *pending = &reconcile->pending[i];
		const struct underlay_path *old_paths = paths[at];
		at += pending->has_old;
		const struct lease *lease = at < known && subnet_equal(&leases[at]->subnet, &pending->subnet) ? leases[at] : NULL;
		change_peer(reconcile, pending, lease, old_paths, paths[at < known ? at : 0]);
		at += lease != NULL;
	}
	free(leases);
	free(paths);
	pending_clear(reconcile);
	ops_apply(reconcile);
}

static void change_tick(void *arg)
{
	struct reconcile *reconcile = arg;
	if (reconcile->pending_count > 0 && reconcile->devices_ready)
		flush_changes(reconcile);
}

// ---- notifications ----

static bool is_wanted_name(const struct reconcile *reconcile, const char *name)
{
	struct wanted_devices wanted = {0};
	reconcile->source.devices(reconcile->arg, &wanted);
	for (size_t i = 0; i < wanted.count; i++)
		if (strcmp(wanted.devices[i].link.name, name) == 0)
			return true;
	return false;
}

static bool is_own_ifindex(const struct reconcile *reconcile, uint32_t ifindex)
{
	for (size_t i = 0; i < WANTED_DEVICES_MAX; i++)
		if (ifindex != 0 && reconcile->underlay.device_ifindex[i] == ifindex)
			return true;
	return false;
}

static bool route_event_matters(const struct reconcile *reconcile, const struct route *route)
{
	if (route->table != RT_TABLE_MAIN || route->protocol == RTPROT_KERNEL)
		return false;
	return route->protocol == KERNEL_PROTOCOL_WEFT || is_own_ifindex(reconcile, route->ifindex);
}

void reconcile_kernel_event(struct reconcile *reconcile, const struct kernel_event *event)
{
	const struct kernel_object *object = &event->object;
	bool ours = false;
	if (event->port_id == netlink_port_id(reconcile->nl))
		return;
	switch (object->kind) {
	case KERNEL_LINK:
		ours = is_own_ifindex(reconcile, object->link.ifindex) || is_wanted_name(reconcile, object->link.name);
		break;
	case KERNEL_ADDR:
		ours = is_own_ifindex(reconcile, object->addr.ifindex);
		break;
	case KERNEL_NEIGH:
		ours = is_own_ifindex(reconcile, object->neigh.ifindex) && ip_is_global_unicast(&object->neigh.ip);
		break;
	case KERNEL_FDB:
		ours = is_own_ifindex(reconcile, object->fdb.ifindex);
		break;
	case KERNEL_NEXTHOP:
		ours = nexthop_id_is_ours(object->nexthop.id);
		break;
	case KERNEL_ROUTE:
		ours = route_event_matters(reconcile, &object->route);
		if (!ours && object->route.table == RT_TABLE_MAIN && reconcile->source.needs_paths(reconcile->arg))
			reconcile_request(reconcile, RECONCILE_CHANGE);
		break;
	case KERNEL_KIND_COUNT:
		break;
	}
	if (ours && reconcile->synced)
		reconcile_request(reconcile, RECONCILE_DRIFT);
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

int reconcile_explain(struct reconcile *reconcile, const struct lease *peer, struct wanted *ret, struct err *e)
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
