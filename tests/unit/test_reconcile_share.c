// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of a host with other networks: what has our mark and is theirs is left alone.
#include "reconcile_world.h"
#include "unit.h"

#include "core/mem.h"
#include "netns.h"
#include "reconcile/reconcile_internal.h"

#include <stdlib.h>
#include <string.h>

#define SLOT 3u
#define SLOT_IDS ((NEXTHOP_ID_LAST - NEXTHOP_ID_FIRST + 1) / NEXTHOP_SLOTS)
#define SLOT_FIRST (NEXTHOP_ID_FIRST + SLOT * SLOT_IDS)

static bool owns(void *arg, const struct ipnet *dst)
{
	struct ipnet network;
	(void)arg;
	assert_int_equal(ipnet_parse("10.0.0.0/8", &network), 0);
	return ipnet_contains_net(&network, dst);
}

static struct world *shared_world(void)
{
	static const struct world_options plain = { .scan_interval_ms = 0 };
	struct world *world = world_open(&plain);
	world->reconcile->source.owns = owns;
	reconcile_share_host(world->reconcile, SLOT, "a");
	return world;
}

static void add_nexthop(uint32_t id, const char *via)
{
	_cleanup_free_ char *text = xasprintf("%u", id);
	netns_run("ip", "nexthop", "add", "id", text, "via", via, "dev", "e0", "onlink", "proto",
		  "157", NULL);
}

static void add_route(const char *dst, uint32_t id)
{
	_cleanup_free_ char *text = xasprintf("%u", id);
	netns_run("ip", "route", "add", dst, "nhid", text, "proto", "157", NULL);
}

static bool has_nexthop(struct world *world, uint32_t id)
{
	_cleanup_free_ char *line = xasprintf("nexthop %u ", id);
	return world_has(world, line);
}

static void test_theirs_are_not_swept(void **state)
{
	(void)state;
	struct world *world = shared_world();
	world_fill(world, 1, 3);
	add_nexthop(NEXTHOP_ID_FIRST + 1, "192.168.9.7"); // of slot 0
	add_route("172.30.1.0/24", NEXTHOP_ID_FIRST + 1);
	netns_run("ip", "route", "add", "172.30.2.0/24", "via", "192.168.9.7", "proto", "157", NULL);
	// Ours, and of nobody that is known.
	add_nexthop(SLOT_FIRST + 1, "192.168.9.8");
	add_route("10.200.1.0/24", SLOT_FIRST + 1);
	netns_run("ip", "route", "add", "10.200.2.0/24", "via", "192.168.9.8", "proto", "157", NULL);
	world_start(world);
	assert_true(world_has(world, "route 172.30.1.0/24"));
	assert_true(world_has(world, "route 172.30.2.0/24"));
	assert_true(has_nexthop(world, NEXTHOP_ID_FIRST + 1));
	assert_false(world_has(world, "route 10.200."));
	assert_false(has_nexthop(world, SLOT_FIRST + 1));
	assert_int_equal(world_count(world, "route 10."), 3);
	assert_int_equal(world_count(world, "nexthop "), 4);
	world_close(world);
}

static void test_a_nexthop_of_our_slot_that_they_stand_on(void **state)
{
	(void)state;
	struct world *world = shared_world();
	world_fill(world, 1, 2);
	add_nexthop(SLOT_FIRST + 1, "192.168.9.7");
	add_route("172.30.1.0/24", SLOT_FIRST + 1);
	world_start(world);
	assert_true(world_has(world, "route 172.30.1.0/24"));
	assert_true(has_nexthop(world, SLOT_FIRST + 1));
	// They have moved.
	netns_run("ip", "route", "del", "172.30.1.0/24", NULL);
	world_pass(world, RECONCILE_DRIFT);
	assert_false(has_nexthop(world, SLOT_FIRST + 1));
	world_close(world);
}

// As of an earlier life that was alone on the host.
static void test_what_is_on_our_device_moves_into_our_slot(void **state)
{
	static const struct world_options plain = { .scan_interval_ms = 0 };
	(void)state;
	struct world *world = world_open(&plain);
	world_fill(world, 1, 3);
	world_start(world);
	world_close(world);
	world = world_open(&(struct world_options){ .keep_kernel = true });
	world->reconcile->source.owns = owns;
	reconcile_share_host(world->reconcile, SLOT, "a");
	world_fill(world, 1, 3);
	world_start(world);
	world_settle(world);
	assert_int_equal(world_count(world, "route 10."), 3);
	assert_int_equal(world_count(world, "nexthop "), 3);
	for (unsigned int i = 1; i <= 3; i++) {
		uint32_t id = nexthop_table_find(world->reconcile->nexthops,
						 &world_subnet(world, i)->v4.addr,
						 world->reconcile->underlay.device_ifindex[0]);
		assert_in_range(id, SLOT_FIRST, SLOT_FIRST + SLOT_IDS - 1);
		assert_true(has_nexthop(world, id));
	}
	world_close(world);
}

static void test_their_changes_cause_no_pass(void **state)
{
	(void)state;
	struct world *world = shared_world();
	world_fill(world, 1, 2);
	world_start(world);
	world_settle(world);
	uint64_t passes = reconcile_stats(world->reconcile)->passes, events = world->events;
	add_nexthop(NEXTHOP_ID_FIRST + 1, "192.168.9.7");
	add_route("172.30.1.0/24", NEXTHOP_ID_FIRST + 1);
	world_settle(world);
	assert_true(world->events > events);
	assert_int_equal(reconcile_stats(world->reconcile)->passes, passes);
	netns_run("ip", "route", "add", "10.200.2.0/24", "via", "192.168.9.8", "proto", "157", NULL);
	world_await_passes(world, passes + 1);
	assert_false(world_has(world, "route 10.200."));
	world_close(world);
}

static bool is_scanned(struct world *world)
{
	return world->reconcile->pass && world->reconcile->pass->phase == PASS_SCAN;
}

// Another network reads a long table.
static void test_a_scan_waits_for_its_turn(void **state)
{
	(void)state;
	struct world *world = shared_world();
	struct netlink_dump *dump = NULL;
	struct err e;
	world_fill(world, 1, 3);
	assert_int_equal(netlink_dump_start(world->nl, KERNEL_LINK, NULL, &dump, &e), 0);
	reconcile_allow_sweep(world->reconcile, true);
	reconcile_request(world->reconcile, RECONCILE_START);
	assert_true(world_await(world, is_scanned, 1000));
	world_run(world, 50);
	assert_true(is_scanned(world));
	netlink_dump_free(dump);
	world_await_passes(world, 1);
	assert_int_equal(world_count(world, "route 10."), 3);
	world_close(world);
}

static void count_object(void *arg, const struct kernel_object *object)
{
	size_t *count = arg;
	(void)object;
	(*count)++;
}

// What is small is read at once all the same.
static void test_a_whole_table_beside_a_long_dump(void **state)
{
	(void)state;
	struct world *world = shared_world();
	struct netlink_dump *dump = NULL;
	size_t of_dump = 0, whole = 0;
	struct err e;
	assert_int_equal(netlink_dump_start(world->nl, KERNEL_LINK, NULL, &dump, &e), 0);
	assert_int_equal(netlink_dump_step(dump, 1, count_object, &of_dump, &e), 1);
	assert_int_equal(netlink_dump_all(world->nl, KERNEL_LINK, NULL, count_object, &whole, &e), 0);
	while (netlink_dump_step(dump, 1, count_object, &of_dump, &e) > 0)
		;
	assert_true(whole >= 2);
	assert_int_equal(of_dump, whole);
	netlink_dump_free(dump);
	// The common socket is free again.
	assert_int_equal(netlink_dump_start(world->nl, KERNEL_LINK, NULL, &dump, &e), 0);
	netlink_dump_free(dump);
	world_close(world);
}

static unsigned int sweeps;

static void on_swept(void *arg)
{
	(void)arg;
	sweeps++;
}

static void test_a_sweep_is_told(void **state)
{
	(void)state;
	struct world *world = shared_world();
	world->reconcile->source.swept = on_swept;
	sweeps = 0;
	world_fill(world, 1, 3);
	world_pass(world, RECONCILE_START); // sweeping is not allowed yet
	assert_int_equal(sweeps, 0);
	world_start(world);
	world_settle(world);
	assert_true(sweeps >= 1);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_theirs_are_not_swept),
		cmocka_unit_test(test_a_nexthop_of_our_slot_that_they_stand_on),
		cmocka_unit_test(test_what_is_on_our_device_moves_into_our_slot),
		cmocka_unit_test(test_their_changes_cause_no_pass),
		cmocka_unit_test(test_a_scan_waits_for_its_turn),
		cmocka_unit_test(test_a_whole_table_beside_a_long_dump),
		cmocka_unit_test(test_a_sweep_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
