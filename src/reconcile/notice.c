// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which of the kernel's notifications call for a pass. Our own echoes do not: the monitor leaves out those that it knows (kernel/monitor.h),
// and those of devices and addresses show just what we want.
#include "reconcile/reconcile_internal.h"

#include "reconcile/device.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

static bool is_own_ifindex(const struct reconcile *reconcile, uint32_t ifindex)
{
	for (size_t i = 0; i < WANTED_DEVICES_MAX; i++)
		if (ifindex != 0 && reconcile->underlay.device_ifindex[i] == ifindex)
			return true;
	return false;
}

static bool is_underlay(const struct reconcile *reconcile, uint32_t ifindex)
{
	return ifindex != 0 && reconcile->underlay.ifindex == ifindex;
}

static bool link_matters(const struct reconcile *reconcile, const struct link *link, bool removed)
{
	struct wanted_devices wanted = { 0 };
	reconcile->source.devices(reconcile->arg, &wanted);
	for (size_t i = 0; i < wanted.count; i++) {
		uint32_t own = reconcile->underlay.device_ifindex[i];
		if (own != link->ifindex && strcmp(wanted.devices[i].link.name, link->name) != 0)
			continue;
		// The end of a device that we know to be replaced is no news.
		if (removed)
			return own == 0 || own == link->ifindex;
		return own != link->ifindex || !device_is_as_wanted(link, &wanted.devices[i].link);
	}
	return false;
}

static bool address_matters(const struct reconcile *reconcile, const struct addr *addr, bool removed)
{
	struct wanted_devices wanted = { 0 };
	reconcile->source.devices(reconcile->arg, &wanted);
	for (size_t i = 0; i < wanted.count; i++) {
		if (reconcile->underlay.device_ifindex[i] != addr->ifindex)
			continue;
		// One device may be listed for each family.
		if (removed ? ip_equal(&addr->ip, &wanted.devices[i].address)
			    : device_address_is_stray(&wanted.devices[i], addr))
			return true;
	}
	return false;
}

// Entries that are learned come and go by themselves.
static bool fdb_matters(const struct reconcile *reconcile, const struct fdb *fdb)
{
	struct wanted_devices wanted = { 0 };
	if (fdb->state & NUD_PERMANENT)
		return true;
	reconcile->source.devices(reconcile->arg, &wanted);
	for (size_t i = 0; i < wanted.count; i++)
		if (reconcile->underlay.device_ifindex[i] == fdb->ifindex)
			return !wanted.devices[i].link.vxlan.learning;
	return false;
}

static bool route_matters(const struct reconcile *reconcile, const struct route *route)
{
	if (route->table != RT_TABLE_MAIN || route->protocol == RTPROT_KERNEL)
		return false;
	return is_own_ifindex(reconcile, route->ifindex) ||
	       (route->protocol == KERNEL_PROTOCOL_WEFT && is_our_destination(reconcile, &route->dst));
}

static bool is_ours(const struct reconcile *reconcile, const struct kernel_event *event)
{
	const struct kernel_object *object = &event->object;
	switch (object->kind) {
	case KERNEL_LINK:
		return link_matters(reconcile, &object->link, event->removed);
	case KERNEL_ADDR:
		return address_matters(reconcile, &object->addr, event->removed);
	case KERNEL_NEIGH:
		return is_own_ifindex(reconcile, object->neigh.ifindex) &&
		       ip_is_global_unicast(&object->neigh.ip);
	case KERNEL_FDB:
		return is_own_ifindex(reconcile, object->fdb.ifindex) &&
		       fdb_matters(reconcile, &object->fdb);
	case KERNEL_NEXTHOP:
		return nexthop_table_has_id(reconcile->nexthops, object->nexthop.id);
	case KERNEL_ROUTE:
		return route_matters(reconcile, &object->route);
	case KERNEL_WG_PEER: // nobody tells of them: wg_look
	case KERNEL_KIND_COUNT:
		break;
	}
	return false;
}

// A device that goes down takes its routes, and ours over it, without a word about them.
static bool carries_routes(const struct reconcile *reconcile, uint32_t ifindex)
{
	return is_underlay(reconcile, ifindex) ||
	       nexthop_table_has_device(reconcile->nexthops, ifindex);
}

// May the way to a peer's public address be another than before?
static bool changes_paths(const struct reconcile *reconcile, const struct kernel_object *object)
{
	bool concerns =
		(object->kind == KERNEL_LINK && carries_routes(reconcile, object->link.ifindex)) ||
		(object->kind == KERNEL_ADDR && is_underlay(reconcile, object->addr.ifindex)) ||
		(object->kind == KERNEL_ROUTE && object->route.table == RT_TABLE_MAIN);
	return concerns && reconcile->source.needs_paths(reconcile->arg);
}

void reconcile_kernel_event(struct reconcile *reconcile, const struct kernel_event *event)
{
	const struct kernel_object *object = &event->object;
	if (event->port_id == netlink_port_id(reconcile->nl) ||
	    (!reconcile->synced && !reconcile->pass))
		return;
	if (is_ours(reconcile, event)) {
		reconcile_request(reconcile, RECONCILE_DRIFT);
		return;
	}
	if (changes_paths(reconcile, object))
		reconcile_request(reconcile, RECONCILE_CHANGE);
	// What was in the way may be gone.
	if (event->removed && object->kind == KERNEL_ROUTE &&
	    trouble_retry_route(reconcile->trouble, &object->route.dst, loop_now_ms()))
		reconcile_request(reconcile, RECONCILE_DRIFT);
}
