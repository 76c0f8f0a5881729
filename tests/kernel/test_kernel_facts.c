// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: proofs of what weft takes for granted of a kernel, one function for each. When one of them fails on some kernel,
// the comment above it says which design stands on it.

#include "core/mem.h"
#include "kernel/link.h"
#include "kernel/monitor.h"
#include "netns.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct netlink *nl;
static struct monitor *monitor;
static uint32_t device;

static struct kernel_event events[8192];
static size_t event_count;
static int last_error;
static size_t dumped;

static void check(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%d: %s", r, e->msg);
}

static void set_up(void)
{
	struct link link = {
		.name = "flannel.1",
		.mac = { { 2, 0, 0, 0, 0, 1 } },
		.mtu_bytes = 1450,
		.vxlan = { .vni = 1, .local = ip_v4(0x0a630001) },
	};
	struct err e = { 0 };

	netns_enter();
	check(netlink_open(0, &nl, &e), &e);
	check(link_create_vxlan(nl, &link, &e), &e);
	check(link_get_by_name(nl, "flannel.1", &link, &e), &e);
	device = link.ifindex;
	check(link_set_up(nl, device, true, &e), &e);
	check(monitor_open(&monitor, &e), &e);
}

static void tear_down(void)
{
	monitor = monitor_close(monitor);
	nl = netlink_close(nl);
}

static void note(void *arg, const struct kernel_event *event)
{
	(void)arg;
	assert_true(event_count < ARRAY_SIZE(events));
	events[event_count++] = *event;
}

static void read_events(void)
{
	struct err e = { 0 };

	event_count = 0;
	check(monitor_read(monitor, SIZE_MAX, note, NULL, &e), &e);
}

// Not of IPv6, which has routes and neighbours of its own making on every device.
static size_t removals(enum kernel_kind kind)
{
	size_t found = 0;

	for (size_t i = 0; i < event_count; i++) {
		const struct kernel_object *object = &events[i].object;

		if (!events[i].removed || object->kind != kind ||
		    (kind == KERNEL_ROUTE && object->route.dst.addr.family != AF_INET) ||
		    (kind == KERNEL_NEIGH && object->neigh.ip.family != AF_INET))
			continue;
		found++;
	}
	return found;
}

static void keep_error(void *arg, uint32_t tag, int error, const char *extack)
{
	(void)arg, (void)tag, (void)extack;
	last_error = error;
}

static int request(enum netlink_verb verb, struct kernel_object object)
{
	struct netlink_batch *batch = netlink_batch_new(nl);
	struct err e = { 0 };

	netlink_batch_add(batch, verb, &object, 0);
	check(netlink_batch_commit(batch, keep_error, NULL, &e), &e);
	netlink_batch_free(batch);
	return last_error;
}

static void count_object(void *arg, const struct kernel_object *object)
{
	(void)arg, (void)object;
	dumped++;
}

static size_t count(enum kernel_kind kind)
{
	struct netlink_dump_filter filter = { .family = AF_INET, .ifindex = device };
	struct err e = { 0 };

	dumped = 0;
	check(netlink_dump_all(nl, kind, &filter, count_object, NULL, &e), &e);
	return dumped;
}

static struct kernel_object object_of(enum kernel_kind kind)
{
	struct ip gateway = ip_v4(0x0b000700);
	struct mac mac = { { 2, 0, 0, 0, 0, 7 } };
	struct kernel_object object = { .kind = kind };

	switch (kind) {
	case KERNEL_NEIGH:
		object.neigh = (struct neigh){ device, gateway, mac, 0 };
		break;
	case KERNEL_FDB:
		object.fdb = (struct fdb){ .ifindex = device, .mac = mac, .remote = ip_v4(0x0a630007) };
		break;
	case KERNEL_NEXTHOP:
		object.nexthop = (struct nexthop){
			.id = 7, .ifindex = device, .gateway = gateway, .onlink = true
		};
		break;
	case KERNEL_ROUTE:
		object.route = (struct route){ .dst = ipnet_of(&gateway, 24), .nexthop_id = 7 };
		break;
	case KERNEL_LINK:
	case KERNEL_ADDR:
	case KERNEL_WG_PEER:
	case KERNEL_KIND_COUNT:
		fail_msg("no example");
	}
	return object;
}

static void program_peer(void)
{
	for (enum kernel_kind kind = KERNEL_NEIGH; kind <= KERNEL_ROUTE; kind++)
		assert_int_equal(request(NETLINK_REPLACE, object_of(kind)), 0);
}

// Why any event on our device schedules a scan of it: what goes when it is set down is not told.
static void test_down_removes_routes_and_nexthops_silently(void **state)
{
	struct err e = { 0 };

	(void)state;
	set_up();
	program_peer();
	read_events();
	check(link_set_up(nl, device, false, &e), &e);
	assert_int_equal(count(KERNEL_NEXTHOP), 0);
	assert_int_equal(count(KERNEL_ROUTE), 0);
	read_events();
	assert_int_equal(removals(KERNEL_ROUTE), 0);
	assert_int_equal(removals(KERNEL_NEXTHOP), 0);
	assert_true(event_count > 0); // the link itself is told
	// FDB entries stay, neighbours go with a word each.
	assert_int_equal(count(KERNEL_FDB), 1);
	assert_int_equal(count(KERNEL_NEIGH), 0);
	assert_int_equal(removals(KERNEL_NEIGH), 1);
	tear_down();
}

// Why routes are deleted before their nexthops: a nexthop takes its routes along, and for those there is no word of ours
// to match them with.
static void test_nexthop_takes_its_routes_along(void **state)
{
	(void)state;
	set_up();
	program_peer();
	assert_int_equal(request(NETLINK_DELETE, object_of(KERNEL_NEXTHOP)), 0);
	assert_int_equal(count(KERNEL_ROUTE), 0);
	assert_int_equal(request(NETLINK_DELETE, object_of(KERNEL_ROUTE)), -EINVAL); // the id is gone
	tear_down();
}

// Why a peer whose nexthop was lost is programmed nexthop first.
static void test_route_needs_its_nexthop(void **state)
{
	(void)state;
	set_up();
	assert_int_equal(request(NETLINK_REPLACE, object_of(KERNEL_ROUTE)), -EINVAL);
	assert_int_equal(request(NETLINK_REPLACE, object_of(KERNEL_NEXTHOP)), 0);
	assert_int_equal(request(NETLINK_REPLACE, object_of(KERNEL_ROUTE)), 0);
	tear_down();
}

// Why a peer with a new address is moved with one FDB replace: the MAC keeps one entry.
static void test_fdb_replace_moves_the_remote(void **state)
{
	struct kernel_object moved = object_of(KERNEL_FDB);

	(void)state;
	set_up();
	assert_int_equal(request(NETLINK_REPLACE, object_of(KERNEL_FDB)), 0);
	moved.fdb.remote = ip_v4(0x0a630099);
	assert_int_equal(request(NETLINK_REPLACE, moved), 0);
	assert_int_equal(count(KERNEL_FDB), 1);
	tear_down();
}

// Why deleting a device needs no clean-up before it.
static void test_deleting_the_device_takes_all(void **state)
{
	struct err e = { 0 };

	(void)state;
	set_up();
	program_peer();
	check(link_delete(nl, device, &e), &e);
	for (enum kernel_kind kind = KERNEL_NEIGH; kind <= KERNEL_ROUTE; kind++)
		assert_int_equal(count(kind), 0);
	tear_down();
}

// Why the MAC and the MTU of our device can be put right without making it anew.
static void test_mac_and_mtu_change_while_up(void **state)
{
	struct mac mac = { { 2, 0, 0, 0, 0, 9 } };
	struct link link;
	struct err e = { 0 };

	(void)state;
	set_up();
	program_peer();
	check(link_set_mac(nl, device, &mac, &e), &e);
	check(link_set_mtu(nl, device, 1400, &e), &e);
	check(link_get_by_index(nl, device, &link, &e), &e);
	assert_true(link.up && mac_equal(&link.mac, &mac));
	assert_int_equal(link.mtu_bytes, 1400);
	for (enum kernel_kind kind = KERNEL_FDB; kind <= KERNEL_ROUTE; kind++)
		assert_int_equal(count(kind), 1);
	// A new MAC costs the neighbours, permanent ones too: a scan of the device has to follow.
	assert_int_equal(count(KERNEL_NEIGH), 0);
	tear_down();
}

// Why the permanent neighbours of ten thousand peers need no sysctl: the limit (1024) counts only the others.
static void test_permanent_neighbours_have_no_limit(void **state)
{
	struct netlink_batch *batch;
	struct err e = { 0 };

	(void)state;
	set_up();
	monitor = monitor_close(monitor);
	batch = netlink_batch_new(nl);
	for (uint32_t i = 0; i < 3000; i++) {
		struct kernel_object object = object_of(KERNEL_NEIGH);

		object.neigh.ip = ip_v4(0x0c000000 + i);
		netlink_batch_add(batch, NETLINK_CREATE, &object, i);
	}
	last_error = 0;
	check(netlink_batch_commit(batch, keep_error, NULL, &e), &e);
	netlink_batch_free(batch);
	assert_int_equal(netlink_stats(nl)->failed, 0);
	assert_int_equal(count(KERNEL_NEIGH), 3000);
	tear_down();
}

// Why the address must come before the routes in a plan and why deleting it is drift: a route that names it as its
// source goes with it.
static void test_address_takes_routes_with_its_source_along(void **state)
{
	struct kernel_object addr = { .kind = KERNEL_ADDR,
				      .addr = { .ip = ip_v4(0x0af40100), .len = 32 } };
	struct kernel_object route = object_of(KERNEL_ROUTE);

	(void)state;
	set_up();
	addr.addr.ifindex = device;
	program_peer();
	assert_int_equal(request(NETLINK_CREATE, addr), 0);
	route.route.dst = ipnet_of(&route.route.dst.addr, 23);
	route.route.prefsrc = addr.addr.ip;
	assert_int_equal(request(NETLINK_CREATE, route), 0);
	assert_int_equal(count(KERNEL_ROUTE), 2);
	assert_int_equal(request(NETLINK_DELETE, addr), 0);
	assert_int_equal(count(KERNEL_ROUTE), 1);
	tear_down();
}

static double batch_seconds(struct netlink_batch *batch)
{
	struct timespec from, to;
	struct err e = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &from);
	check(netlink_batch_commit(batch, keep_error, NULL, &e), &e);
	clock_gettime(CLOCK_MONOTONIC, &to);
	return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

static double program_routes(uint32_t peers, bool classic)
{
	struct netlink_batch *batch = netlink_batch_new(nl);
	double seconds;

	for (uint32_t i = 0; !classic && i < peers; i++) {
		struct kernel_object nexthop = object_of(KERNEL_NEXTHOP);

		nexthop.nexthop.id = 1 + i;
		nexthop.nexthop.gateway = ip_v4(0x0b000000 + (i << 8));
		netlink_batch_add(batch, NETLINK_REPLACE, &nexthop, 0);
	}
	for (uint32_t i = 0; i < peers; i++) {
		struct kernel_object route = object_of(KERNEL_ROUTE);
		struct ip gateway = ip_v4(0x0b000000 + (i << 8));

		route.route.dst = ipnet_of(&gateway, 24);
		route.route.nexthop_id = classic ? 0 : 1 + i;
		route.route.gateway = gateway;
		route.route.ifindex = device;
		route.route.onlink = true;
		netlink_batch_add(batch, NETLINK_REPLACE, &route, 0);
	}
	seconds = batch_seconds(batch);
	netlink_batch_free(batch);
	assert_int_equal(count(KERNEL_ROUTE), peers);
	return seconds;
}

// Why routes go over nexthop objects: classic ones with distinct gateways on one device get slower with their number.
// The figures are printed; they are not judged, since a busy machine may bend them.
static void test_classic_routes_are_slower(void **state)
{
	double classic, nexthop;

	(void)state;
	set_up();
	monitor = monitor_close(monitor);
	classic = program_routes(4000, true);
	tear_down();
	set_up();
	monitor = monitor_close(monitor);
	nexthop = program_routes(4000, false);
	tear_down();
	print_message("4000 routes: classic %.3f s, over nexthop objects %.3f s\n", classic, nexthop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_down_removes_routes_and_nexthops_silently),
		cmocka_unit_test(test_nexthop_takes_its_routes_along),
		cmocka_unit_test(test_route_needs_its_nexthop),
		cmocka_unit_test(test_fdb_replace_moves_the_remote),
		cmocka_unit_test(test_deleting_the_device_takes_all),
		cmocka_unit_test(test_mac_and_mtu_change_while_up),
		cmocka_unit_test(test_permanent_neighbours_have_no_limit),
		cmocka_unit_test(test_address_takes_routes_with_its_source_along),
		cmocka_unit_test(test_classic_routes_are_slower),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
