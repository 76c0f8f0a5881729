// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: peers changed by events: gathered for a moment, then what is wanted now against what was wanted before, in slices.
#include "reconcile/reconcile_internal.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

// Up to so many peers of a slice the set is searched for another lease of the same host; else the next pass sees to it.
#define HOST_SEARCHES_MAX 16

void changes_clear(struct reconcile *reconcile)
{
	for (size_t i = 0; i < reconcile->pending_count; i++)
		lease_free(&reconcile->pending[i].old);
	free(reconcile->pending);
	reconcile->pending = NULL;
	reconcile->pending_count = reconcile->pending_capacity = 0;
}

static void drop_first(struct reconcile *reconcile, size_t count)
{
	if (count == reconcile->pending_count) {
		changes_clear(reconcile);
		return;
	}
	for (size_t i = 0; i < count; i++)
		lease_free(&reconcile->pending[i].old);
	reconcile->pending_count -= count;
	memmove(reconcile->pending, reconcile->pending + count,
		reconcile->pending_count * sizeof(*reconcile->pending));
}

static bool is_pending(const struct reconcile *reconcile, const struct subnet *subnet)
{
	for (size_t i = reconcile->pending_count; i-- > 0;)
		if (subnet_equal(&reconcile->pending[i].subnet, subnet))
			return true;
	return false;
}

void reconcile_peer_changed(struct reconcile *reconcile, const struct lease *old,
			    const struct lease *now)
{
	const struct subnet *subnet = old ? &old->subnet : &now->subnet;
	reconcile->stats.changes++;
	// A pass is due that looks at everything; but one that looks for drift would take our change for it.
	if (reconcile->requested && !reconcile->pass && reconcile->requested_reason != RECONCILE_DRIFT)
		return;
	// Until the first pass has ended nothing is known to be in the kernel.
	if (!reconcile->synced && reconcile->pass && !reconcile->pass->dry_run) {
		if (old || !pass_take_in(reconcile, subnet))
			reconcile_request(reconcile, RECONCILE_CHANGE);
		return;
	}
	if (is_pending(reconcile, subnet))
		return; // what the kernel has is what was wanted before the first change
	if (reconcile->pending_count == PENDING_MAX) {
		changes_clear(reconcile);
		reconcile_request(reconcile, RECONCILE_CHANGE);
		return;
	}
	if (reconcile->pending_count == reconcile->pending_capacity) {
		reconcile->pending_capacity =
			reconcile->pending_capacity == 0 ? 8 : reconcile->pending_capacity * 2;
		reconcile->pending = xrealloc_array(reconcile->pending, reconcile->pending_capacity,
						    sizeof(*reconcile->pending));
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
	struct err err; // also if r is 0: what is missing (wanted.h)
};

static void expand(struct reconcile *reconcile, const struct lease *peer,
		   const struct underlay_path *paths, struct expanded *ret)
{
	ret->count = 0;
	ret->r = 0;
	ret->err.code = 0;
	if (!peer)
		return;
	struct want_result want;
	want_peer(reconcile, peer, paths, &want);
	ret->r = want.r;
	ret->err = want.r < 0 ? want.err : want.wanted.missing;
	for (size_t i = 0; i < want.wanted.count; i++) {
		if (route_over_nexthop(reconcile, &want.wanted.objects[i], &ret->objects[ret->count]))
			ret->count++;
		ret->objects[ret->count++] = want.wanted.objects[i];
	}
}

static const struct kernel_object *find_key(const struct expanded *expanded,
					    const struct kernel_object *object)
{
	for (size_t i = 0; i < expanded->count; i++)
		if (object_same_key(&expanded->objects[i], object))
			return &expanded->objects[i];
	return NULL;
}

static void add_change(struct reconcile *reconcile, enum netlink_verb verb,
		       const struct kernel_object *object, uint32_t peer)
{
	ops_add(&reconcile->ops, verb, object, peer, false);
	if (reconcile->pass && !reconcile->pass->dry_run)
		pass_touch_object(reconcile->pass, object);
}

// A device has one entry for a MAC: writing it with another remote moves the old one.
static bool has_mac(const struct expanded *expanded, const struct kernel_object *object)
{
	for (size_t i = 0; object->kind == KERNEL_FDB && i < expanded->count; i++)
		if (expanded->objects[i].kind == KERNEL_FDB &&
		    expanded->objects[i].fdb.ifindex == object->fdb.ifindex &&
		    mac_equal(&expanded->objects[i].fdb.mac, &object->fdb.mac))
			return true;
	return false;
}

// A replace would take the route or the MAC from whoever has it; what is there already only a pass can judge.
static bool is_new(const struct expanded *old, const struct kernel_object *object)
{
	return object->kind == KERNEL_ROUTE || (object->kind == KERNEL_FDB && !has_mac(old, object));
}

// A peer that had another key: its host waits to be heard with the new one.
static bool has_wg_peer(const struct expanded *old, uint32_t ifindex)
{
	for (size_t i = 0; i < old->count; i++)
		if (old->objects[i].kind == KERNEL_WG_PEER && old->objects[i].wg_peer.ifindex == ifindex)
			return true;
	return false;
}

static void add_creates(struct reconcile *reconcile, const struct expanded *old,
			const struct expanded *now, uint32_t peer)
{
	for (size_t i = 0; i < now->count; i++) {
		const struct kernel_object *object = &now->objects[i];
		const struct kernel_object *before = find_key(old, object);
		if (before && object_equals(before, object))
			continue;
		bool create = !before && is_new(old, object);
		struct kernel_object change = *object;
		if (object->kind == KERNEL_WG_PEER && !before) {
			if (wg_peers_known(reconcile, &object->wg_peer)) {
				reconcile_request(reconcile, RECONCILE_CHANGE);
				continue;
			}
			change.wg_peer.greet = has_wg_peer(old, object->wg_peer.ifindex);
		}
		add_change(reconcile, create ? NETLINK_CREATE : NETLINK_REPLACE, &change, peer);
	}
}

static bool is_superfluous(const struct expanded *now, const struct kernel_object *object)
{
	return !find_key(now, object) && !has_mac(now, object);
}

// Of a host that may have another lease: an object that also its other entries stand on.
static bool is_of_host(const struct kernel_object *object)
{
	return object->kind == KERNEL_FDB || object->kind == KERNEL_NEXTHOP ||
	       object->kind == KERNEL_WG_PEER;
}

// Backwards: a route goes before its nexthop.
static void add_deletes(struct reconcile *reconcile, const struct expanded *old,
			const struct expanded *now, bool shared)
{
	for (size_t i = old->count; i-- > 0;) {
		const struct kernel_object *object = &old->objects[i];
		if (object->kind == KERNEL_WG_PEER && has_wg_peer(now, object->wg_peer.ifindex) &&
		    is_superfluous(now, object)) {
			wg_peers_sweep_soon(reconcile);
			continue;
		}
		if (is_superfluous(now, object) && !(shared && is_of_host(object)))
			add_change(reconcile, NETLINK_DELETE, object, OP_NO_PEER);
	}
}

static bool deletes_of_host(const struct expanded *old, const struct expanded *now)
{
	for (size_t i = 0; i < old->count; i++)
		if (is_of_host(&old->objects[i]) && is_superfluous(now, &old->objects[i]))
			return true;
	return false;
}

static bool same_host(const struct lease *a, const struct lease *b)
{
	return ip_equal(&a->attrs.public_ip, &b->attrs.public_ip) &&
	       ip_equal(&a->attrs.public_ipv6, &b->attrs.public_ipv6);
}

struct change {
	const struct pending *pending;
	const struct lease *lease; // NULL: gone
	const struct underlay_path *old_paths;
	const struct underlay_path *paths;
	bool search; // for other leases of its host
};

static void change_peer(struct reconcile *reconcile, const struct change *change)
{
	static const struct expanded nothing;
	const struct pending *pending = change->pending;
	const struct trouble_entry *trouble = trouble_find(reconcile->trouble, &pending->subnet);
	// What failed is not there, whatever was wanted before.
	bool unsure = trouble && !trouble->ignored;
	struct expanded old, now;
	expand(reconcile, pending->has_old ? &pending->old : NULL, change->old_paths, &old);
	expand(reconcile, change->lease, change->paths, &now);
	uint32_t index = OP_NO_PEER;
	if (now.r < 0) {
		note_refusal(reconcile, &pending->subnet, now.r, &now.err);
	} else if (change->lease) {
		index = (uint32_t)reconcile->ops.peer_count;
		reconcile->ops.peers[reconcile->ops.peer_count++] = pending->subnet;
		if (now.err.code != 0) {
			reconcile->ops.peer_failed[index] = 1;
			note_refusal(reconcile, &pending->subnet, now.err.code, &now.err);
		}
	} else {
		trouble_clear(reconcile->trouble, &pending->subnet);
	}
	if (change->lease && reconcile->routes_are_left)
		reconcile_request(reconcile, RECONCILE_CHANGE);
	add_creates(reconcile, unsure ? &nothing : &old, &now, index);
	bool shared = deletes_of_host(&old, &now) &&
		      !(change->lease && same_host(change->lease, &pending->old)) &&
		      (!change->search || peer_shares_host(reconcile, &pending->old));
	add_deletes(reconcile, &old, &now, shared);
	if (shared)
		reconcile_request(reconcile, RECONCILE_CHANGE);
	if (reconcile->pass && !reconcile->pass->dry_run &&
	    !pass_touch_peer(reconcile->pass, &pending->subnet))
		reconcile_request(reconcile, RECONCILE_CHANGE);
}

void changes_flush(struct reconcile *reconcile)
{
	size_t count = reconcile->pending_count < SLICE_PEERS ? reconcile->pending_count : SLICE_PEERS;
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
		struct change change = { .pending = &reconcile->pending[i],
					 .search = count <= HOST_SEARCHES_MAX };
		change.old_paths = paths[at];
		at += change.pending->has_old;
		if (at < known && subnet_equal(&leases[at]->subnet, &change.pending->subnet)) {
			change.lease = leases[at];
			change.paths = paths[at++];
		}
		change_peer(reconcile, &change);
	}
	free(leases);
	free(paths);
	drop_first(reconcile, count);
	reconcile->changing = true;
	ops_apply(reconcile);
	reconcile->changing = false;
	if (reconcile->pending_count > 0)
		timer_start(reconcile->change_timer, 0);
}

void change_tick(void *arg)
{
	struct reconcile *reconcile = arg;
	// What finds the devices missing waits for the pass that makes them.
	if (reconcile->pending_count > 0 && reconcile->devices_ready)
		changes_flush(reconcile);
}
