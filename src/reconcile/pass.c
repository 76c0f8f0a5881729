// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one pass over everything: scan, comparison, sweep; each in slices.
#include "reconcile/reconcile_internal.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

#define SCAN_SLICE_OBJECTS 1500
#define SCAN_SLICED_TRIES 3
#define SCAN_RESTARTS_MAX 20
#define SWEEP_SLICE 1500
#define SWEEP_LOOK_SLICE 100000

struct pass *pass_free(struct pass *pass)
{
	if (pass) {
		netlink_dump_free(pass->dump);
		have_free(pass->have);
		free(pass->subnets);
		free(pass->touched);
		free(pass);
	}
	return NULL;
}

// A neighbour, an FDB entry, a nexthop and a route for each peer and family, if all is as it should be; room for two families where there is
// no device.
static size_t expected_objects(const struct reconcile *reconcile)
{
	size_t families = 0;
	for (size_t i = 0; i < WANTED_DEVICES_MAX; i++)
		families += reconcile->underlay.device_ifindex[i] != 0;
	return lease_set_count(reconcile->source.peers(reconcile->arg)) * (families ? families : 1) * 4;
}

void pass_begin(struct reconcile *reconcile, enum reconcile_reason reason, bool dry_run)
{
	struct pass *pass = reconcile->pass = xnew(struct pass);
	pass->reason = reason;
	pass->dry_run = dry_run;
	pass->started_ms = loop_now_ms();
	pass->have = have_new(expected_objects(reconcile));
	pass->sweep_kind = KERNEL_ROUTE;
	reconcile->routes_are_left = false;
}

// ---- scan ----

static bool is_own_device(const struct reconcile *reconcile, uint32_t ifindex)
{
	for (size_t i = 0; i < WANTED_DEVICES_MAX; i++)
		if (ifindex != 0 && reconcile->underlay.device_ifindex[i] == ifindex)
			return true;
	return false;
}

static bool is_routed_by_device(const struct reconcile *reconcile, const struct ipnet *dst)
{
	struct wanted_devices wanted = { 0 };
	reconcile->source.devices(reconcile->arg, &wanted);
	for (size_t i = 0; i < wanted.count; i++)
		if ((wanted.devices[i].routes_network || wanted.devices[i].has_route) &&
		    ipnet_contains_net(&wanted.devices[i].network, dst))
			return true;
	return false;
}

static bool is_left_route(const struct reconcile *reconcile, const struct route *route)
{
	return route->protocol == RTPROT_BOOT && ip_is_set(&route->gateway) &&
	       !is_own_device(reconcile, route->ifindex) &&
	       is_routed_by_device(reconcile, &route->dst);
}

static void scan_object(void *arg, const struct kernel_object *object)
{
	struct reconcile *reconcile = arg;
	const struct nexthop *nexthop = &object->nexthop;
	if (object->kind == KERNEL_NEXTHOP) {
		bool is_old = reconcile->has_neighbours && // of another slot: made before the host had other networks, say
			      nexthop->protocol == KERNEL_PROTOCOL_WEFT &&
			      is_own_device(reconcile, nexthop->ifindex);
		if (!nexthop_table_has_id(reconcile->nexthops, nexthop->id)) {
			if (is_old)
				have_add(reconcile->pass->have, object);
			return;
		}
		if (nexthop->protocol != KERNEL_PROTOCOL_WEFT || nexthop->other) {
			nexthop_table_block(reconcile->nexthops, nexthop->id);
			return;
		}
		nexthop_table_adopt(reconcile->nexthops, &nexthop->gateway, nexthop->ifindex,
				    nexthop->id);
	}
	if (object->kind == KERNEL_ROUTE && !reconcile->routes_are_left)
		reconcile->routes_are_left = is_left_route(reconcile, &object->route);
	have_add(reconcile->pass->have, object);
}

// The dumps of a scan, in order. Routes of protocol boot are looked at because flannel's are of it, all nexthops because an id of our range may
// be another program's.
static int start_dump(struct reconcile *reconcile, size_t number, struct err *e)
{
	static const struct {
		enum kernel_kind kind;
		int family;
		uint8_t protocol;
		bool per_device;
	} dumps[] = {
		{ KERNEL_NEIGH, AF_INET, 0, true },
		{ KERNEL_NEIGH, AF_INET6, 0, true },
		{ KERNEL_FDB, AF_UNSPEC, 0, true },
		{ KERNEL_ROUTE, AF_INET, 0, true },
		{ KERNEL_ROUTE, AF_INET6, 0, true },
		{ KERNEL_ROUTE, AF_INET, KERNEL_PROTOCOL_WEFT, false },
		{ KERNEL_ROUTE, AF_INET6, KERNEL_PROTOCOL_WEFT, false },
		{ KERNEL_ROUTE, AF_INET, RTPROT_BOOT, false },
		{ KERNEL_ROUTE, AF_INET6, RTPROT_BOOT, false },
		{ KERNEL_NEXTHOP, AF_UNSPEC, 0, false },
	};
	size_t device = number / ARRAY_SIZE(dumps), kind = number % ARRAY_SIZE(dumps);
	if (device >= WANTED_DEVICES_MAX)
		return -ENOENT;
	uint32_t ifindex = reconcile->underlay.device_ifindex[device];
	if (dumps[kind].per_device ? ifindex == 0 : device > 0)
		return 0;
	if (dumps[kind].kind == KERNEL_NEXTHOP && !netlink_has(reconcile->nl, NETLINK_FEATURE_NEXTHOP))
		return 0;
	struct netlink_dump_filter filter = {
		.family = dumps[kind].family,
		.ifindex = dumps[kind].per_device ? ifindex : 0,
		.table = RT_TABLE_MAIN,
		.protocol = dumps[kind].protocol,
	};
	return netlink_dump_start(reconcile->nl, dumps[kind].kind, &filter, &reconcile->pass->dump, e);
}

// Who is in trouble comes last: of two peers that want the same, the one that has it keeps it.
static void begin_comparison(struct reconcile *reconcile)
{
	struct pass *pass = reconcile->pass;
	const struct lease_set *peers = reconcile->source.peers(reconcile->arg);
	size_t front = 0, back = lease_set_count(peers), position = 0;
	const struct lease *lease;
	pass->subnet_count = back;
	pass->subnet_capacity = back + 1;
	pass->subnets = xnew0_array(struct subnet, pass->subnet_capacity);
	while ((lease = lease_set_next(peers, &position)))
		pass->subnets[trouble_find(reconcile->trouble, &lease->subnet) ? --back : front++] =
			lease->subnet;
	pass->phase = PASS_PEERS;
}

// 1: more; PASS_BUSY; negative: this scan cannot be finished.
static int scan_step(struct reconcile *reconcile, struct err *e)
{
	struct pass *pass = reconcile->pass;
	while (!pass->dump) {
		int r = start_dump(reconcile, pass->dump_next, e);
		if (r == -ENOENT) {
			r = wg_peers_scan(reconcile, e);
			if (r != 0)
				return r;
			begin_comparison(reconcile);
			return 1;
		}
		if (r == -EBUSY && reconcile->has_neighbours)
			return PASS_BUSY; // one of them reads
		pass->dump_next++;
		if (r < 0)
			return r;
	}
	// Between slices peers change, and their nexthops with them; a table that is read in one go is only disturbed by others.
	size_t slice = pass->scan_restarts < SCAN_SLICED_TRIES ? SCAN_SLICE_OBJECTS : SIZE_MAX;
	int r = netlink_dump_step(pass->dump, slice, scan_object, reconcile, e);
	if (r > 0)
		return r;
	pass->dump = netlink_dump_free(pass->dump);
	if (r != -EINTR)
		return r < 0 ? r : 1;
	if (++pass->scan_restarts > SCAN_RESTARTS_MAX)
		return err_set(e, -EAGAIN, "the kernel's tables change too fast to be read");
	// Once more, and only this one. What was read of it stays: who changed it either is us, or is told of.
	pass->disturbed = true;
	pass->dump_next--;
	return 1;
}

// ---- comparison ----

struct peer_compare {
	struct reconcile *reconcile;
	const struct lease *peer;
	uint32_t index;
	bool silent; // changed during the pass: only mark
	bool repair;
	struct err conflict;
};

// Is the route ours to overwrite? On our device everything but the kernel's own is; elsewhere what has our protocol number, and what flannel
// left: protocol boot, to this peer's whole subnet, through its public address.
static bool route_is_ours(const struct peer_compare *compare, const struct have_entry *entry)
{
	if (entry->protocol == KERNEL_PROTOCOL_WEFT ||
	    is_own_device(compare->reconcile, entry->ifindex))
		return entry->protocol != RTPROT_KERNEL;
	struct ip gateway = ip_from_bytes(entry->family, entry->value);
	if (!compare->peer)
		return false;
	const struct lease_attrs *attrs = &compare->peer->attrs;
	return entry->protocol == RTPROT_BOOT && !entry->foreign &&
	       (ip_equal(&gateway, &attrs->public_ip) || ip_equal(&gateway, &attrs->public_ipv6));
}

static void refuse(struct peer_compare *compare, const struct have_entry *entry, const char *whose)
{
	char text[KERNEL_OBJECT_STR_MAX];
	struct kernel_object other;
	have_entry_object(entry, &other);
	err_set(&compare->conflict, -EEXIST, "%s is in the way%s", kernel_object_str(&other, text),
		whose);
}

// Does the object belong to another peer, or to another program? Says so.
// rival: what the kernel has with the same MAC and another remote, or NULL.
static bool is_refused(struct peer_compare *compare, const struct have_entry *entry,
		       const struct have_entry *rival, const struct kernel_object *object)
{
	if (rival && (rival->claimed || rival->seen || (entry && entry->moved))) {
		refuse(compare, rival, ": another peer has the same MAC");
		return true;
	}
	if (entry && entry->claimed && !have_entry_equals(entry, object)) {
		refuse(compare, entry, ": another peer wants it, too");
		return true;
	}
	if (entry && object->kind == KERNEL_ROUTE && !have_entry_equals(entry, object) &&
	    !route_is_ours(compare, entry)) {
		refuse(compare, entry, " and not weft's; remove it with 'ip route del'");
		return true;
	}
	return false;
}

// Of two peers with one MAC, or key, that is not in the kernel yet, the second must see that the first has it.
static void claim_new_mac(struct pass *pass, const struct have_entry *entry,
			  const struct kernel_object *object)
{
	if (!entry && (object->kind == KERNEL_FDB || object->kind == KERNEL_WG_PEER))
		have_claim_new(pass->have, object);
}

// It wants a MAC that the kernel has with another remote, or a key that it has with other addresses: that may be another peer's, which is
// compared later.
static bool wants_a_rivals(const struct pass *pass, const struct wanted *wanted)
{
	for (size_t i = 0; i < wanted->count; i++) {
		const struct kernel_object *object = &wanted->objects[i];
		const struct have_entry *entry = have_find(pass->have, object);
		if (!entry && have_find_other_remote(pass->have, object))
			return true;
		if (entry && object->kind == KERNEL_WG_PEER && !have_entry_equals(entry, object))
			return true;
	}
	return false;
}

static void compare_object(struct peer_compare *compare, const struct kernel_object *object)
{
	struct reconcile *reconcile = compare->reconcile;
	struct have_entry *entry = have_find(reconcile->pass->have, object);
	if (entry)
		entry->seen = true;
	if (compare->silent)
		return;
	struct have_entry *rival = have_find_other_remote(reconcile->pass->have, object);
	if (is_refused(compare, entry, rival, object))
		return;
	bool equal = entry && have_entry_equals(entry, object);
	bool claimed = entry && entry->claimed;
	if (entry && !claimed)
		have_entry_claim(entry, object);
	if (equal)
		return;
	if (reconcile->pass->dry_run) {
		reconcile->plan_fn(reconcile->plan_arg, entry ? NETLINK_REPLACE : NETLINK_CREATE,
				   object);
		claim_new_mac(reconcile->pass, entry, object);
		return;
	}
	bool held = compare->repair && !repair_allowed(reconcile, object);
	if (rival) {
		rival->moved = true; // we make one entry for a MAC, and a replace moves it
		rival->seen |= held;
	}
	if (held)
		return;
	enum netlink_verb verb = object->kind == KERNEL_ROUTE && !entry ? NETLINK_CREATE
									: NETLINK_REPLACE;
	ops_add(&reconcile->ops, verb, object, compare->index, compare->repair);
	claim_new_mac(reconcile->pass, entry, object);
}

static bool was_touched(const struct pass *pass, const struct subnet *subnet)
{
	for (size_t i = 0; i < pass->touched_count; i++)
		if (subnet_equal(&pass->touched[i], subnet))
			return true;
	return false;
}

static bool others_are_to_blame(const struct reconcile *reconcile)
{
	const struct pass *pass = reconcile->pass;
	return reconcile->synced && pass->reason == RECONCILE_DRIFT && !pass->devices_changed &&
	       !pass->disturbed;
}

// Is it worth noting (again) that the backend refuses the peer, or a part of it?
static bool is_news(const struct trouble_entry *trouble, bool waits, const struct err *why)
{
	return !waits || (trouble->refused &&
			  strncmp(trouble->text, err_msg(why), sizeof(trouble->text) - 1) != 0);
}

// Where each peer has a route of ours, it takes the place of the one that flannel left. Where one route leads to them all, a peer's own would
// go before it, and take packets past the device that encrypts them, say.
static void find_left_routes(const struct peer_compare *compare)
{
	if (!compare->reconcile->pass->devices_route)
		return;
	const struct ipnet *subnets[] = { &compare->peer->subnet.v4, &compare->peer->subnet.v6 };
	for (size_t i = 0; i < ARRAY_SIZE(subnets); i++) {
		struct kernel_object key = { .kind = KERNEL_ROUTE, .route.dst = *subnets[i] };
		struct have_entry *entry = ipnet_is_set(subnets[i])
						   ? have_find(compare->reconcile->pass->have, &key)
						   : NULL;
		if (entry && entry->protocol == RTPROT_BOOT && route_is_ours(compare, entry) &&
		    is_routed_by_device(compare->reconcile, subnets[i]))
			entry->left = true;
	}
}

static void compare_peer(struct reconcile *reconcile, const struct lease *peer,
			 const struct underlay_path *paths)
{
	struct pass *pass = reconcile->pass;
	const struct trouble_entry *trouble = trouble_find(reconcile->trouble, &peer->subnet);
	bool waits = trouble && !trouble->ignored && loop_now_ms() < trouble->retry_at_ms;
	struct want_result want = { 0 };
	want_peer(reconcile, peer, paths, &want);
	if (want.r < 0) {
		if (!pass->dry_run && is_news(trouble, waits, &want.err))
			note_refusal(reconcile, &peer->subnet, want.r, &want.err);
		return;
	}
	struct peer_compare compare = {
		.reconcile = reconcile,
		.peer = peer,
		.index = (uint32_t)reconcile->ops.peer_count,
		.silent = (waits && !trouble->refused && !pass->dry_run) || pass->overrun ||
			  was_touched(pass, &peer->subnet),
		.repair = others_are_to_blame(reconcile) && !trouble,
	};
	if (!pass->late && !compare.silent && wants_a_rivals(pass, &want.wanted)) {
		pass->subnets[pass->late_count++] = peer->subnet;
		return;
	}
	for (size_t i = 0; i < want.wanted.count; i++) {
		struct kernel_object nexthop;
		if (route_over_nexthop(reconcile, &want.wanted.objects[i], &nexthop))
			compare_object(&compare, &nexthop);
		compare_object(&compare, &want.wanted.objects[i]);
	}
	find_left_routes(&compare);
	if (compare.silent || pass->dry_run)
		return;
	reconcile->ops.peers[reconcile->ops.peer_count++] = peer->subnet;
	if (compare.conflict.code == 0 && want.wanted.missing.code != 0) {
		reconcile->ops.peer_failed[compare.index] = 1;
		if (is_news(trouble, waits, &want.wanted.missing))
			note_refusal(reconcile, &peer->subnet, want.wanted.missing.code,
				     &want.wanted.missing);
	}
	if (compare.conflict.code == 0)
		return;
	reconcile->ops.peer_failed[compare.index] = 1;
	if (trouble_failed(reconcile->trouble, &peer->subnet, compare.conflict.msg, loop_now_ms()))
		log_rl(LOG_LEVEL_WARN, "%s: peer %s not programmed: %s", reconcile->label,
		       subnet_str(&peer->subnet, (char[SUBNET_STR_MAX]){ 0 }), compare.conflict.msg);
}

// Routes that are not a peer's but a device's: to the whole network.
static void compare_device_routes(struct reconcile *reconcile)
{
	struct pass *pass = reconcile->pass;
	struct wanted_devices wanted = { 0 };
	if (pass->routes_compared)
		return;
	pass->routes_compared = true;
	reconcile->source.devices(reconcile->arg, &wanted);
	for (size_t i = 0; i < wanted.count; i++) {
		pass->devices_route |= wanted.devices[i].routes_network || wanted.devices[i].has_route;
		struct kernel_object route;
		struct peer_compare compare = { .reconcile = reconcile,
						.index = OP_NO_PEER,
						.repair = others_are_to_blame(reconcile) };
		if (!wanted.devices[i].routes_network)
			continue;
		wanted_network_route(&wanted.devices[i], reconcile->underlay.device_ifindex[i], &route);
		compare_object(&compare, &route);
		if (compare.conflict.code != 0)
			log_rl(LOG_LEVEL_WARN, "%s: %s", reconcile->label, compare.conflict.msg);
	}
}

// As pass_step, but never 0.
static int peers_step(struct reconcile *reconcile)
{
	struct pass *pass = reconcile->pass;
	const struct lease_set *set = reconcile->source.peers(reconcile->arg);
	const struct lease *peers[SLICE_PEERS];
	size_t count = 0;
	compare_device_routes(reconcile);
	while (count < SLICE_PEERS && pass->subnet_next < pass->subnet_count) {
		peers[count] = lease_set_find(set, &pass->subnets[pass->subnet_next++]);
		count += peers[count] != NULL;
	}
	struct underlay_path(*paths)[UNDERLAY_FAMILY_COUNT] = xcalloc(SLICE_PEERS, sizeof(*paths));
	look_up_paths(reconcile, peers, count, paths);
	for (size_t i = 0; i < count; i++)
		compare_peer(reconcile, peers[i], paths[i]);
	free(paths);
	ops_apply(reconcile);
	if (pass->subnet_next < pass->subnet_count)
		return 1;
	if (reconcile->more_peers && !pass->dry_run)
		return PASS_WAITS;
	if (pass->late || pass->late_count == 0) {
		pass->phase = PASS_SWEEP;
		return 1;
	}
	pass->late = true;
	pass->subnet_count = pass->late_count;
	pass->subnet_next = 0;
	return 1;
}

// ---- sweep ----

// Is the device one on which each peer's own public address is the gateway, and the route to a subnet of its network?
static bool is_on_ipip(const struct reconcile *reconcile, const struct have_entry *entry)
{
	struct wanted_devices wanted = { 0 };
	struct ip dst = ip_from_bytes(entry->family, entry->key);
	reconcile->source.devices(reconcile->arg, &wanted);
	for (size_t i = 0; i < wanted.count; i++)
		if (reconcile->underlay.device_ifindex[i] == entry->ifindex)
			return strcmp(wanted.devices[i].link.kind, "ipip") == 0 &&
			       ipnet_contains(&wanted.devices[i].network, &dst);
	return false;
}

// flannel's routes have no protocol number of their own, but a shape: x.y.z.0/n via x.y.z.0 on the device, onlink; on an ipip device via the
// peer's public address.
static bool is_left_by_flannel(const struct reconcile *reconcile, const struct have_entry *entry)
{
	return entry->protocol == RTPROT_BOOT && !entry->foreign && entry->onlink &&
	       is_own_device(reconcile, entry->ifindex) &&
	       (memcmp(entry->key, entry->value, sizeof(entry->key)) == 0 ||
		is_on_ipip(reconcile, entry));
}

// The route to the whole network, which goes with its device.
static bool is_device_route(const struct reconcile *reconcile, const struct have_entry *entry,
			    const struct ipnet *dst)
{
	struct wanted_devices wanted = { 0 };
	reconcile->source.devices(reconcile->arg, &wanted);
	for (size_t i = 0; i < wanted.count; i++)
		if (wanted.devices[i].has_route && entry->number == 0 &&
		    reconcile->underlay.device_ifindex[i] == entry->ifindex &&
		    ipnet_equal(&wanted.devices[i].network, dst))
			return true;
	return false;
}

static bool is_our_route(const struct reconcile *reconcile, const struct have_entry *entry)
{
	struct ipnet dst = { .addr = ip_from_bytes(entry->family, entry->key),
			     .len = entry->prefix_len };
	if (is_device_route(reconcile, entry, &dst))
		return false;
	return entry->protocol == KERNEL_PROTOCOL_WEFT &&
	       (is_own_device(reconcile, entry->ifindex) || is_our_destination(reconcile, &dst));
}

static bool is_ours_to_sweep(const struct reconcile *reconcile, const struct have_entry *entry)
{
	switch ((enum kernel_kind)entry->kind) {
	case KERNEL_NEIGH:
	case KERNEL_FDB:
		return !entry->foreign; // only permanent entries are a program's; others come and go by themselves
	case KERNEL_NEXTHOP:
		return entry->protocol == KERNEL_PROTOCOL_WEFT;
	case KERNEL_WG_PEER:
		return true; // on our device, and nobody else's business
	case KERNEL_ROUTE:
		return entry->left || is_our_route(reconcile, entry) ||
		       is_left_by_flannel(reconcile, entry);
	case KERNEL_LINK:
	case KERNEL_ADDR:
	case KERNEL_KIND_COUNT:
		break;
	}
	return false;
}

// With a nexthop the kernel removes the routes that stand on it. In our slot another network's may be one if slots were dealt
// out otherwise before a restart: it goes when they have moved.
static void spare_nexthops_of_others(const struct reconcile *reconcile)
{
	const struct have *have = reconcile->pass->have;
	const struct have_entry *entry;
	size_t position = 0;
	while ((entry = have_next(have, &position))) {
		struct kernel_object key = { .kind = KERNEL_NEXTHOP };
		if (entry->kind != KERNEL_ROUTE || entry->number == 0 ||
		    is_ours_to_sweep(reconcile, entry))
			continue;
		key.nexthop.id = entry->number;
		struct have_entry *nexthop = have_find(have, &key);
		if (nexthop)
			nexthop->seen = true;
	}
}

// Routes, then nexthops, then the rest.
static bool next_sweep_kind(const struct reconcile *reconcile)
{
	struct pass *pass = reconcile->pass;
	static const enum kernel_kind after[KERNEL_KIND_COUNT] = {
		[KERNEL_ROUTE] = KERNEL_NEXTHOP,
		[KERNEL_NEXTHOP] = KERNEL_NEIGH,
		[KERNEL_NEIGH] = KERNEL_FDB,
		[KERNEL_FDB] = KERNEL_WG_PEER,
	};
	pass->sweep_kind = after[pass->sweep_kind];
	pass->sweep_position = 0;
	if (pass->sweep_kind == KERNEL_NEXTHOP && reconcile->has_neighbours)
		spare_nexthops_of_others(reconcile);
	return pass->sweep_kind != KERNEL_LINK;
}

static void sweep_entry(struct reconcile *reconcile, const struct have_entry *entry)
{
	struct pass *pass = reconcile->pass;
	// An entry that was moved is what the repair of its MAC was about: it is gone, or one of several.
	bool repair = others_are_to_blame(reconcile) && !entry->moved;
	struct kernel_object object;
	have_entry_object(entry, &object);
	if (pass->dry_run)
		reconcile->plan_fn(reconcile->plan_arg, NETLINK_DELETE, &object);
	else if (!repair || repair_allowed(reconcile, &object))
		ops_add(&reconcile->ops, NETLINK_DELETE, &object, OP_NO_PEER, repair);
}

static bool sweep_step(struct reconcile *reconcile)
{
	struct pass *pass = reconcile->pass;
	for (size_t looked_at = 0;
	     reconcile->ops.count < SWEEP_SLICE && looked_at < SWEEP_LOOK_SLICE; looked_at++) {
		const struct have_entry *entry = have_next(pass->have, &pass->sweep_position);
		if (!entry) {
			ops_apply(reconcile);
			return next_sweep_kind(reconcile);
		}
		if (entry->kind == pass->sweep_kind && !entry->seen &&
		    is_ours_to_sweep(reconcile, entry))
			sweep_entry(reconcile, entry);
	}
	ops_apply(reconcile);
	return true;
}

// ---- the pass ----

static void give_up(struct reconcile *reconcile, const struct err *e)
{
	struct pass *pass = reconcile->pass;
	bool dry_run = pass->dry_run;
	reconcile->pass = pass_free(pass);
	if (dry_run)
		reconcile->plan_done(reconcile->plan_arg, e->code, e);
	else
		log_rl(LOG_LEVEL_WARN, "%s: %s", reconcile->label, e->msg);
}

// A peer's end is not always told one by one: there may be so many that a pass was asked for in their place.
static void forget_trouble_of_gone(struct reconcile *reconcile)
{
	const struct lease_set *peers = reconcile->source.peers(reconcile->arg);
	const struct trouble_entry *entry;
	size_t position = 0;
	while ((entry = trouble_next(reconcile->trouble, &position))) {
		struct subnet subnet = entry->subnet;
		if (lease_set_find(peers, &subnet))
			continue;
		trouble_clear(reconcile->trouble, &subnet);
		position--; // another one has its place
	}
}

static void complete(struct reconcile *reconcile)
{
	struct pass *pass = reconcile->pass;
	bool dry_run = pass->dry_run;
	if (!dry_run) {
		if (reconcile->sweep_allowed && !pass->overrun)
			nexthop_table_expire(reconcile->nexthops);
		reconcile->stats.passes++;
		reconcile->stats.last_pass_ms = loop_now_ms() - pass->started_ms;
		if (!reconcile->synced && !pass->overrun)
			log_info("%s: the kernel is as wanted: %zu peers, in %llu ms",
				 reconcile->label,
				 lease_set_count(reconcile->source.peers(reconcile->arg)),
				 (unsigned long long)reconcile->stats.last_pass_ms);
		reconcile->synced |= !pass->overrun;
		forget_trouble_of_gone(reconcile);
	}
	reconcile->pass = pass_free(pass);
	ops_reset(&reconcile->ops);
	if (!dry_run)
		wg_peers_settle(reconcile);
	mem_trim();
	if (dry_run)
		reconcile->plan_done(reconcile->plan_arg, 0, NULL);
}

static int step(struct reconcile *reconcile)
{
	struct pass *pass = reconcile->pass;
	struct err e = { 0 };
	int r;
	switch (pass->phase) {
	case PASS_SCAN:
		r = scan_step(reconcile, &e);
		if (r < 0)
			give_up(reconcile, &e);
		return r;
	case PASS_PEERS:
		return peers_step(reconcile);
	case PASS_SWEEP:
		pass->sweeps = reconcile->sweep_allowed && !pass->overrun;
		if (pass->sweeps && sweep_step(reconcile))
			return 1;
		break;
	}
	complete(reconcile);
	return 0;
}

int pass_step(struct reconcile *reconcile)
{
	struct pass *pass = reconcile->pass;
	// Changes go first: else the pass would make what they would then find in their way.
	if (pass->phase != PASS_SCAN && reconcile->pending_count > 0 && reconcile->devices_ready) {
		changes_flush(reconcile);
		return 1;
	}
	if (!pass->dry_run)
		return step(reconcile);
	struct underlay real = reconcile->underlay;
	reconcile->underlay = pass->underlay;
	int r = step(reconcile);
	reconcile->underlay = real;
	return r;
}

bool pass_take_in(struct reconcile *reconcile, const struct subnet *subnet)
{
	struct pass *pass = reconcile->pass;
	if (pass->phase == PASS_SCAN)
		return true; // it is in the set when the comparison begins
	if (pass->phase != PASS_PEERS || pass->late)
		return false;
	if (pass->subnet_count == pass->subnet_capacity) {
		pass->subnet_capacity = pass->subnet_capacity * 2;
		pass->subnets = xrealloc_array(pass->subnets, pass->subnet_capacity,
					       sizeof(*pass->subnets));
	}
	pass->subnets[pass->subnet_count++] = *subnet;
	// Reading comes first: the sooner it pauses, the sooner the store begins with what is next.
	timer_start(reconcile->pass_timer, GATHER_MS);
	return true;
}

void pass_touch_object(struct pass *pass, const struct kernel_object *object)
{
	struct have_entry *entry = have_find(pass->have, object);
	if (entry)
		entry->seen = true;
}

bool pass_touch_peer(struct pass *pass, const struct subnet *subnet)
{
	pass->disturbed |= pass->phase == PASS_SCAN;
	if (pass->touched_count == TOUCHED_MAX) {
		pass->overrun = true;
		return false;
	}
	if (!pass->touched)
		pass->touched = xnew0_array(struct subnet, TOUCHED_MAX);
	pass->touched[pass->touched_count++] = *subnet;
	return true;
}
