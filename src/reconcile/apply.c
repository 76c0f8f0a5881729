// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: from wanted objects to changes of the kernel: asking the backend, choosing nexthop ids, sending batches, judging results.
#include "reconcile/reconcile_internal.h"

#include "core/log.h"
#include "core/mem.h"
#include "reconcile/device.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

void ops_reset(struct ops *ops)
{
	free(ops->items);
	memset(ops, 0, sizeof(*ops));
}

void ops_add(struct ops *ops, enum netlink_verb verb, const struct kernel_object *object,
	     uint32_t peer, bool repair)
{
	if (ops->count == ops->capacity) {
		ops->capacity = ops->capacity == 0 ? 64 : ops->capacity * 2;
		ops->items = xrealloc_array(ops->items, ops->capacity, sizeof(*ops->items));
	}
	ops->items[ops->count++] =
		(struct op){ .verb = verb, .peer = peer, .repair = repair, .object = *object };
}

static bool is_gone(int error)
{
	return error == -ESRCH || error == -ENOENT || error == -ENODEV || error == -EADDRNOTAVAIL;
}

void count_repair(struct reconcile *reconcile, const struct kernel_object *object)
{
	struct reconcile_stats *stats = &reconcile->stats;
	stats->repairs[object->kind]++;
	stats->last_repair_at_ms = loop_now_ms();
	kernel_object_str(object, stats->last_repair);
	reconcile->source.repaired(reconcile->arg, object, false);
}

// Words for a failed change that name the object and, where there is one, the remedy.
static void describe_failure(const struct op *op, int error, const char *extack, struct err *ret)
{
	char text[KERNEL_OBJECT_STR_MAX];
	kernel_object_str(&op->object, text);
	if (error == -EEXIST && op->object.kind == KERNEL_ROUTE)
		err_set(ret, error,
			"%s: a route to it that is not weft's is in the way; remove it with 'ip route del'",
			text);
	else if (error == -EPERM)
		err_set(ret, error, "%s: not permitted; weftd needs CAP_NET_ADMIN", text);
	else
		err_set(ret, error, "%s: %s", text, extack[0] ? extack : strerror(-error));
}

static void on_success(struct reconcile *reconcile, const struct op *op)
{
	static const char *const verbs[] = {
		[NETLINK_CREATE] = "created", [NETLINK_REPLACE] = "set", [NETLINK_DELETE] = "deleted"
	};
	char text[KERNEL_OBJECT_STR_MAX];
	log_debug("%s: %s %s", reconcile->label, verbs[op->verb],
		  kernel_object_str(&op->object, text));
	if (op->repair)
		count_repair(reconcile, &op->object);
	if (op->verb == NETLINK_DELETE && op->object.kind == KERNEL_NEXTHOP)
		nexthop_table_remove(reconcile->nexthops, op->object.nexthop.id);
}

void op_done(struct reconcile *reconcile, const struct op *op, const struct subnet *peer, int error,
	     const char *extack)
{
	if (error == 0) {
		on_success(reconcile, op);
		return;
	}
	if (op->verb == NETLINK_DELETE && is_gone(error)) {
		if (op->object.kind == KERNEL_NEXTHOP)
			nexthop_table_remove(reconcile->nexthops, op->object.nexthop.id);
		return;
	}
	struct err e;
	describe_failure(op, error, extack, &e);
	if (!peer) {
		log_rl(LOG_LEVEL_WARN, "%s: %s", reconcile->label, e.msg);
		return;
	}
	// The device went while we worked: a pass puts the cause right first.
	if (error == -ENODEV || error == -ENETDOWN) {
		reconcile->device_failed = true;
		reconcile_request(reconcile, RECONCILE_DRIFT);
	}
	// Only a pass knows what is there already: it may be ours.
	if (error == -EEXIST && reconcile->changing) {
		trouble_clear(reconcile->trouble, peer);
		reconcile_request(reconcile, RECONCILE_CHANGE);
		return;
	}
	if (trouble_failed(reconcile->trouble, peer, e.msg, loop_now_ms()))
		log_rl(LOG_LEVEL_WARN, "%s: %s", reconcile->label, e.msg);
}

static void on_result(void *arg, uint32_t tag, int error, const char *extack)
{
	struct reconcile *reconcile = arg;
	const struct op *op = &reconcile->ops.items[tag];
	bool is_of_peer = op->peer != OP_NO_PEER;
	bool is_failure = error != 0 && !(op->verb == NETLINK_DELETE && is_gone(error));
	if (is_failure && is_of_peer && reconcile->ops.peer_failed[op->peer])
		return; // the first reason is the telling one
	if (is_failure && is_of_peer)
		reconcile->ops.peer_failed[op->peer] = 1;
	op_done(reconcile, op, is_of_peer ? &reconcile->ops.peers[op->peer] : NULL, error, extack);
}

void ops_apply(struct reconcile *reconcile)
{
	struct ops *ops = &reconcile->ops;
	wg_peers_apply(reconcile);
	for (size_t i = 0; i < ops->count; i++)
		netlink_batch_add(reconcile->batch, ops->items[i].verb, &ops->items[i].object,
				  (uint32_t)i);
	struct err e;
	if (ops->count > 0 && netlink_batch_commit(reconcile->batch, on_result, reconcile, &e) < 0)
		log_rl(LOG_LEVEL_WARN, "%s: %s", reconcile->label, e.msg);
	for (size_t i = 0; i < ops->peer_count; i++)
		if (!ops->peer_failed[i])
			trouble_clear(reconcile->trouble, &ops->peers[i]);
	ops->count = 0;
	ops->peer_count = 0;
	memset(ops->peer_failed, 0, sizeof(ops->peer_failed));
}

void look_up_paths(struct reconcile *reconcile, const struct lease *const *peers, size_t count,
		   struct underlay_path (*ret)[UNDERLAY_FAMILY_COUNT])
{
	for (size_t i = 0; i < count; i++)
		for (size_t f = 0; f < UNDERLAY_FAMILY_COUNT; f++)
			ret[i][f] = (struct underlay_path){ .error = -ENODATA };
	if (count == 0 || !reconcile->source.needs_paths(reconcile->arg))
		return;
	struct ip *destinations = xnew0_array(struct ip, count * UNDERLAY_FAMILY_COUNT);
	struct route_answer *answers = xnew0_array(struct route_answer, count * UNDERLAY_FAMILY_COUNT);
	int *errors = xnew0_array(int, count *UNDERLAY_FAMILY_COUNT);
	struct underlay_path **places =
		xnew0_array(struct underlay_path *, count * UNDERLAY_FAMILY_COUNT);
	size_t asked = 0;
	for (size_t i = 0; i < count; i++) {
		const struct ip *ips[UNDERLAY_FAMILY_COUNT] = { &peers[i]->attrs.public_ip,
								&peers[i]->attrs.public_ipv6 };
		for (size_t f = 0; f < UNDERLAY_FAMILY_COUNT; f++) {
			if (!ip_is_usable_endpoint(ips[f]))
				continue;
			destinations[asked] = *ips[f];
			places[asked++] = &ret[i][f];
		}
	}
	struct err e;
	int r = asked == 0 ? 0
			   : route_get_many(reconcile->nl, destinations, asked, answers, errors, &e);
	if (r < 0)
		log_rl(LOG_LEVEL_WARN, "%s: looking up the peers' routes: %s", reconcile->label, e.msg);
	for (size_t i = 0; i < asked; i++)
		*places[i] = (struct underlay_path){ .error = r < 0 ? r : errors[i],
						     .answer = answers[i] };
	free(destinations);
	free(answers);
	free(errors);
	free(places);
}

void note_refusal(struct reconcile *reconcile, const struct subnet *subnet, int r, const struct err *e)
{
	bool ignored = r == -EPROTONOSUPPORT;
	bool news = ignored ? trouble_ignored(reconcile->trouble, subnet, err_msg(e))
			    : trouble_refused(reconcile->trouble, subnet, err_msg(e), loop_now_ms());
	char text[SUBNET_STR_MAX];
	if (news)
		log_rl(LOG_LEVEL_WARN, "%s: peer %s %s: %s", reconcile->label,
		       subnet_str(subnet, text), ignored ? "ignored" : "not programmed", err_msg(e));
}

void want_peer(struct reconcile *reconcile, const struct lease *peer,
	       const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct want_result *ret)
{
	ret->wanted.count = ret->wanted.host_count = 0;
	ret->wanted.path = ret->wanted.why = "";
	ret->wanted.missing.code = 0;
	ret->r = reconcile->source.peer(reconcile->arg, peer, &reconcile->underlay, paths,
					&ret->wanted, &ret->err);
	if (ret->r < 0)
		ret->wanted.count = ret->wanted.host_count = 0;
}

bool route_over_nexthop(struct reconcile *reconcile, struct kernel_object *route,
			struct kernel_object *ret_nexthop)
{
	struct route *r = &route->route;
	// A plan may be for a device that is yet to be made.
	bool has_device = r->ifindex != 0 || (reconcile->pass && reconcile->pass->dry_run);
	if (route->kind != KERNEL_ROUTE || !ip_is_set(&r->gateway) || !has_device ||
	    !netlink_has(reconcile->nl, NETLINK_FEATURE_NEXTHOP))
		return false;
	uint32_t id = nexthop_table_id(reconcile->nexthops, &r->gateway, r->ifindex);
	if (id == 0)
		return false;
	memset(ret_nexthop, 0, sizeof(*ret_nexthop));
	ret_nexthop->kind = KERNEL_NEXTHOP;
	ret_nexthop->nexthop = (struct nexthop){ .id = id,
						 .ifindex = r->ifindex,
						 .gateway = r->gateway,
						 .protocol = KERNEL_PROTOCOL_WEFT,
						 .scope = RT_SCOPE_UNIVERSE,
						 .onlink = r->onlink };
	r->nexthop_id = id;
	r->onlink = false;
	return true;
}

bool peer_shares_host(const struct reconcile *reconcile, const struct lease *peer)
{
	const struct lease_set *peers = reconcile->source.peers(reconcile->arg);
	return (ip_is_set(&peer->attrs.public_ip) &&
		lease_set_find_public_ip(peers, &peer->attrs.public_ip)) ||
	       (ip_is_set(&peer->attrs.public_ipv6) &&
		lease_set_find_public_ip(peers, &peer->attrs.public_ipv6));
}

struct device_pass {
	struct reconcile *reconcile;
	bool dry_run;
	bool repair;
	bool changed;
};

static bool on_device_change(void *arg, enum netlink_verb verb, const struct kernel_object *object)
{
	struct device_pass *work = arg;
	struct reconcile *reconcile = work->reconcile;
	if (work->dry_run) {
		reconcile->plan_fn(reconcile->plan_arg, verb, object);
		return true;
	}
	if (work->repair && !repair_allowed(reconcile, object))
		return false;
	work->changed = true;
	char text[KERNEL_OBJECT_STR_MAX];
	log_info("%s: %s %s", reconcile->label, work->repair ? "repair" : "set",
		 kernel_object_str(object, text));
	if (work->repair)
		count_repair(reconcile, object);
	return true;
}

bool repair_allowed(struct reconcile *reconcile, const struct kernel_object *object)
{
	switch (war_repair(reconcile->war, object, loop_now_ms())) {
	case WAR_REPAIR:
		return true;
	case WAR_DECLARED:
		reconcile->stats.wars++;
		reconcile->source.repaired(reconcile->arg, object, true);
		return false;
	case WAR_HELD:
		break;
	}
	return false;
}

static int ensure_device(struct device_pass *work, const struct wanted_device *device,
			 uint32_t *ret_ifindex, struct err *e)
{
	struct reconcile *reconcile = work->reconcile;
	if (device->wg && wg_peers_launching(reconcile, device))
		return wg_peers_launch(reconcile, device, e);
	bool repair = work->repair;
	work->repair = repair && !(device->wg && reconcile->wg &&
				   wg_was_launched(reconcile->wg, device->link.name));
	int r = device_ensure(reconcile->nl, device, work->dry_run, on_device_change, work,
			      ret_ifindex, e);
	work->repair = repair;
	if (r == -EOPNOTSUPP && device->wg)
		return wg_peers_launch(reconcile, device, e);
	if (r == 0 && device->wg && *ret_ifindex != 0)
		r = wg_peers_attach(reconcile, device, *ret_ifindex, e);
	return r;
}

int ensure_devices(struct reconcile *reconcile, enum reconcile_reason reason, bool dry_run,
		   struct underlay *ret, bool *ret_changed, struct err *e)
{
	struct wanted_devices wanted = { 0 };
	reconcile->source.devices(reconcile->arg, &wanted);
	struct underlay underlay = *reconcile->source.underlay(reconcile->arg);
	struct device_pass work = { .reconcile = reconcile,
				    .dry_run = dry_run,
				    .repair = reconcile->synced && reason == RECONCILE_DRIFT };
	memset(underlay.device_ifindex, 0, sizeof(underlay.device_ifindex));
	for (size_t i = 0; i < wanted.count; i++) {
		int r = ensure_device(&work, &wanted.devices[i], &underlay.device_ifindex[i], e);
		if (r < 0)
			return r;
	}
	*ret = underlay;
	*ret_changed = work.changed;
	return 0;
}
