// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of repair: what another program undoes is put back, noticed by notification and by looking, and a war is recognised.
#include "netns.h"
#include "reconcile/reconcile_internal.h"
#include "reconcile_world.h"
#include "unit.h"

#include "core/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REPAIR_MS 1000 // what an operator is promised

static const struct world_options plain = { 0 };
static const struct world_options deaf = { .deaf = true };

static struct world *open_settled(const struct world_options *options, unsigned int peers)
{
	struct world *world = world_open(options);
	world_fill(world, 1, peers);
	world_start(world);
	world_settle(world);
	memset(world->repaired, 0, sizeof(world->repaired));
	return world;
}

// $NH is the nexthop of the first peer.
static void tamper(const char *command)
{
	char line[512];
	assert_int_equal(text_format(line, sizeof(line),
				     "NH=$(ip route show 10.1.1.0/24 | sed -n 's/.*nhid \\([0-9]*\\).*/\\1/p')\n%s",
				     command),
			 0);
	netns_run("sh", "-c", line, NULL);
}

static const struct {
	const char *command;
	enum kernel_kind kind; // what is repaired; KERNEL_KIND_COUNT: does not matter
} acts[] = {
	{ "ip route del 10.1.1.0/24", KERNEL_ROUTE },
	{ "ip -o route show proto 157 | while read dst rest; do ip route del $dst; done", KERNEL_ROUTE },
	{ "ip route replace 10.1.1.0/24 via 10.1.2.0 dev flannel.1 onlink proto 157", KERNEL_ROUTE },
	{ "ip route replace 10.1.1.0/24 dev flannel.1 proto static", KERNEL_ROUTE },
	{ "ip route add 10.1.77.0/24 via 10.1.1.0 dev flannel.1 onlink proto 157", KERNEL_ROUTE },
	{ "ip route add 10.1.77.0/24 dev flannel.1 proto 157", KERNEL_ROUTE },
	{ "ip route add 10.1.77.0/24 via 192.168.9.7 dev e0 proto 157 metric 7", KERNEL_ROUTE },
	{ "ip neigh del 10.1.1.0 dev flannel.1", KERNEL_NEIGH },
	{ "ip neigh flush dev flannel.1 nud permanent", KERNEL_NEIGH },
	{ "ip neigh replace 10.1.1.0 lladdr 02:99:00:00:00:01 dev flannel.1 nud permanent",
	  KERNEL_NEIGH },
	{ "ip neigh change 10.1.1.0 lladdr 02:11:22:00:00:01 dev flannel.1 nud stale", KERNEL_NEIGH },
	{ "ip neigh add 10.1.88.0 lladdr 02:99:00:00:00:01 dev flannel.1 nud permanent", KERNEL_NEIGH },
	{ "bridge fdb del 02:11:22:00:00:01 dev flannel.1", KERNEL_FDB },
	{ "bridge fdb replace 02:11:22:00:00:01 dev flannel.1 dst 172.16.99.99 self permanent",
	  KERNEL_FDB },
	{ "bridge fdb replace 02:11:22:00:00:01 dev flannel.1 dst 172.16.0.2 self dynamic", KERNEL_FDB },
	{ "bridge fdb append 02:99:00:00:00:01 dev flannel.1 dst 172.16.99.99 self permanent",
	  KERNEL_FDB },
	{ "ip nexthop del id $NH", KERNEL_NEXTHOP },
	{ "ip nexthop replace id $NH via 10.1.2.0 dev flannel.1 onlink proto 157", KERNEL_NEXTHOP },
	{ "ip nexthop add id 1459617999 via 10.1.77.0 dev flannel.1 onlink proto 157", KERNEL_NEXTHOP },
	{ "ip nexthop flush proto 157", KERNEL_NEXTHOP },
	{ "ip addr del 10.0.1.0/32 dev flannel.1", KERNEL_ADDR },
	{ "ip addr add 10.0.7.1/24 dev flannel.1", KERNEL_ADDR },
	{ "ip link set flannel.1 down", KERNEL_LINK },
	{ "ip link set flannel.1 down; ip link set flannel.1 up", KERNEL_KIND_COUNT },
	{ "ip link set flannel.1 address 02:99:00:00:00:07", KERNEL_LINK },
	{ "ip link set flannel.1 mtu 1300", KERNEL_LINK },
	{ "ip link del flannel.1", KERNEL_LINK },
	{ "ip link del flannel.1; ip link add flannel.1 type vxlan id 1 local 192.168.9.1 dev e0 dstport 4789",
	  KERNEL_LINK },
};

static void test_each_act_is_undone_when_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(acts); i++) {
		struct world *world = open_settled(&plain, 5);
		_cleanup_free_ char *before = world_snapshot(world);
		tamper(acts[i].command);
		uint64_t took = world_await_snapshot(world, before);
		print_message("%4lu ms: %s\n", (unsigned long)took, acts[i].command);
		check(took <= REPAIR_MS, "%s: repaired after %lu ms", acts[i].command,
		      (unsigned long)took);
		world_run(world, 0);
		check(acts[i].kind == KERNEL_KIND_COUNT || world->repaired[acts[i].kind] > 0,
		      "%s: not counted", acts[i].command);
		check(world->wars == 0 &&
			      trouble_count(reconcile_trouble(world->reconcile), false) == 0,
		      "%s: trouble", acts[i].command);
		world_close(world);
	}
}

static void test_each_act_is_undone_when_looked_for(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(acts); i++) {
		struct world *world = open_settled(&deaf, 5);
		_cleanup_free_ char *before = world_snapshot(world);
		tamper(acts[i].command);
		uint64_t messages = world_messages(world);
		world_pass(world, RECONCILE_DRIFT);
		_cleanup_free_ char *after = world_snapshot(world);
		check(strcmp(before, after) == 0, "%s: wanted:\n%s\nthere is:\n%s", acts[i].command,
		      before, after);
		check(world_messages(world) - messages > 1, "%s: nothing sent", acts[i].command);
		messages = world_messages(world);
		world_pass(world, RECONCILE_DRIFT);
		check(world_messages(world) - messages == 1, "%s: the pass after it has work left",
		      acts[i].command);
		world_close(world);
	}
}

static void test_the_scan_interval_finds_what_was_not_told(void **state)
{
	struct world_options options = { .deaf = true, .scan_interval_ms = 50 };
	(void)state;
	struct world *world = open_settled(&options, 5);
	_cleanup_free_ char *before = world_snapshot(world);
	tamper("ip neigh flush dev flannel.1 nud permanent");
	assert_in_range(world_await_snapshot(world, before), 0, REPAIR_MS);
	assert_int_equal(world->repaired[KERNEL_NEIGH], 5);
	world_close(world);
}

static void test_the_scan_interval_grows_with_the_network(void **state)
{
	(void)state;
	assert_int_equal(scan_pause_ms(30000, 0), 30000);
	assert_int_equal(scan_pause_ms(30000, 999), 30000);
	assert_int_equal(scan_pause_ms(30000, 1000), 60000);
	assert_int_equal(scan_pause_ms(30000, 10000), 330000);
}

static void test_a_device_made_anew_leaks_no_nexthop(void **state)
{
	(void)state;
	struct world *world = open_settled(&plain, 50);
	_cleanup_free_ char *before = world_snapshot(world);
	for (int i = 0; i < 4; i++) {
		tamper("ip link del flannel.1");
		world_await_snapshot(world, before);
	}
	assert_int_equal(world_count(world, "nexthop "), 50);
	assert_int_equal(world->wars, 0);
	world_close(world);
}

static void test_both_families_come_back(void **state)
{
	struct world_options options = { .config = WORLD_DUAL_CONFIG };
	(void)state;
	static const char *const commands[] = {
		"ip link set flannel-v6.1 down; ip link set flannel-v6.1 up",
		"ip link del flannel-v6.1",
		"ip -o -6 route show proto 157 | while read dst rest; do ip -6 route del $dst; done",
		"ip addr add fd10:0:0:1::5/64 dev flannel-v6.1",
		"ip addr del fd10:0:0:1::/128 dev flannel-v6.1",
	};
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		struct world *world = open_settled(&options, 5);
		_cleanup_free_ char *before = world_snapshot(world);
		tamper(commands[i]);
		uint64_t took = world_await_snapshot(world, before);
		check(took <= REPAIR_MS, "%s: repaired after %lu ms", commands[i], (unsigned long)took);
		world_close(world);
	}
}

static void test_without_nexthop_objects(void **state)
{
	struct world_options options = { .without = 1u << NETLINK_FEATURE_NEXTHOP };
	(void)state;
	struct world *world = open_settled(&options, 5);
	_cleanup_free_ char *before = world_snapshot(world);
	tamper("ip link set flannel.1 down; ip link set flannel.1 up");
	assert_in_range(world_await_snapshot(world, before), 0, REPAIR_MS);
	tamper("ip route replace 10.1.1.0/24 via 10.1.2.0 dev flannel.1 onlink");
	assert_in_range(world_await_snapshot(world, before), 0, REPAIR_MS);
	world_close(world);
}

static void test_the_kernel_may_hide_gateways(void **state)
{
	(void)state;
	struct world *world = open_settled(&plain, 5);
	netns_run("sysctl", "-qw", "net.ipv4.nexthop_compat_mode=0", NULL);
	uint64_t messages = world_messages(world);
	world_pass(world, RECONCILE_DRIFT);
	assert_int_equal(world_messages(world) - messages, 1);
	tamper("ip -o route show proto 157 | while read dst rest; do ip route del $dst; done");
	world_pass(world, RECONCILE_DRIFT);
	assert_int_equal(world_count(world, "route "), 5);
	world_close(world);
}

// ---- wars ----

static void fight(struct world *world, const char *command, int times)
{
	for (int i = 0; i < times; i++) {
		tamper(command);
		world_pass(world, RECONCILE_DRIFT);
	}
}

static void test_the_sixth_time_is_war(void **state)
{
	static const struct {
		const char *command;
		const char *object;
	} wars[] = {
		{ "ip route del 10.1.1.0/24", "route 10.1.1.0/24 " },
		{ "ip neigh replace 10.1.1.0 lladdr 02:99:00:00:00:01 dev flannel.1 nud permanent",
		  "neighbour 10.1.1.0 " },
		{ "bridge fdb replace 02:11:22:00:00:01 dev flannel.1 dst 172.16.99.99 self permanent",
		  "fdb 02:11:22:00:00:01 " },
		{ "ip addr add 10.0.7.1/24 dev flannel.1", "address 10.0.7.1/24 " },
		{ "ip link set flannel.1 mtu 1300", "link flannel.1 " },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wars); i++) {
		struct world *world = open_settled(&deaf, 5);
		_cleanup_free_ char *before = world_snapshot(world);
		fight(world, wars[i].command, 5);
		_cleanup_free_ char *repaired = world_snapshot(world);
		check(strcmp(before, repaired) == 0, "%s: not repaired five times:\n%s",
		      wars[i].command, repaired);
		assert_int_equal(world->wars, 0);
		tamper(wars[i].command);
		_cleanup_free_ char *undone = world_snapshot(world);
		world_pass(world, RECONCILE_DRIFT);
		world_pass(world, RECONCILE_DRIFT);
		_cleanup_free_ char *held = world_snapshot(world);
		check(strcmp(undone, held) == 0, "%s: not left alone:\n%s\nthen:\n%s",
		      wars[i].command, undone, held);
		check(world->wars == 1, "%s: told %zu times", wars[i].command, world->wars);
		check(strncmp(world->war_object, wars[i].object, strlen(wars[i].object)) == 0,
		      "%s: %s", wars[i].command, world->war_object);
		check(world_repairs(world) == 5, "%s: %zu repairs", wars[i].command,
		      world_repairs(world));
		size_t position = 0;
		assert_non_null(war_next(reconcile_war(world->reconcile), &position, loop_now_ms()));
		assert_null(war_next(reconcile_war(world->reconcile), &position, loop_now_ms()));
		// When the hold ends it is looked at, whatever else there is to do.
		assert_true(timer_is_pending(world->reconcile->retry_timer));
		// The others are repaired all the same.
		tamper("ip neigh del 10.1.3.0 dev flannel.1");
		world_pass(world, RECONCILE_DRIFT);
		assert_true(world_has(world, "neighbour 10.1.3.0 "));
		world_close(world);
	}
}

static bool device_is_wrong(struct world *world)
{
	return world->device_error[0] != '\0';
}

static void test_a_device_at_war(void **state)
{
	(void)state;
	struct world *world = open_settled(&deaf, 5);
	fight(world, "ip link del flannel.1", 5);
	tamper("ip link del flannel.1");
	reconcile_request(world->reconcile, RECONCILE_DRIFT);
	assert_true(world_await(world, device_is_wrong, 3000));
	assert_string_equal(world->device_error,
			    "flannel.1 is left alone for a while: another program keeps changing it");
	assert_int_equal(world->wars, 1);
	assert_int_equal(world_count(world, "link "), 0);
	world_close(world);
}

static void test_a_renamed_device(void **state)
{
	(void)state;
	struct world *world = open_settled(&plain, 5);
	tamper("ip link set flannel.1 down; ip link set flannel.1 name mine");
	assert_true(world_await(world, device_is_wrong, 3000));
	assert_string_equal(
		world->device_error,
		"making device flannel.1: File exists: A VXLAN device with the specified VNI already exists");
	// Changes wait for the device.
	struct lease lease = world_lease(world, 6);
	world_put(world, &lease);
	world_run(world, 20);
	assert_false(reconcile_is_synced(world->reconcile));
	tamper("ip link set mine name flannel.1");
	world_await_changes(world);
	world_settle(world);
	assert_int_equal(world_count(world, "route "), 6);
	assert_int_equal(world->device_errors, 1);
	assert_string_equal(world->device_error, "");
	world_close(world);
}

static void test_a_war_is_none_of_an_events_business(void **state)
{
	(void)state;
	struct world *world = open_settled(&deaf, 5);
	fight(world, "ip route del 10.1.1.0/24", 6);
	assert_int_equal(world->wars, 1);
	struct lease lease = world_lease(world, 9);
	world_put(world, &lease);
	world_await_changes(world);
	assert_int_equal(world_count(world, "route "), 5); // without the one that is fought over
	world_close(world);
}

static void test_drift_beside_a_change_is_not_counted(void **state)
{
	(void)state;
	for (int order = 0; order < 2; order++) {
		struct world *world = open_settled(&deaf, 5);
		tamper("ip neigh del 10.1.1.0 dev flannel.1");
		reconcile_request(world->reconcile, order == 0 ? RECONCILE_DRIFT : RECONCILE_CHANGE);
		reconcile_request(world->reconcile, order == 0 ? RECONCILE_CHANGE : RECONCILE_DRIFT);
		world_settle(world);
		assert_int_equal(world_count(world, "neighbour "), 5);
		assert_int_equal(world_repairs(world), 0);
		world_close(world);
	}
}

// The peer is not at fault, so it does not wait for its turn to be tried again.
static bool has_no_trouble(struct world *world)
{
	return trouble_count(reconcile_trouble(world->reconcile), false) == 0;
}

static void test_a_peer_that_fails_for_the_device(void **state)
{
	(void)state;
	struct world *world = open_settled(&deaf, 5);
	netns_run("ip", "link", "set", "flannel.1", "down", NULL);
	struct lease lease = world_lease(world, 6);
	world_put(world, &lease);
	world_await_changes(world);
	assert_false(has_no_trouble(world));
	assert_true(world_await(world, has_no_trouble, 900)); // before its first back-off ends
	assert_int_equal(world_count(world, "route "), 6);
	world_close(world);
}

static void test_what_we_change_is_no_repair(void **state)
{
	(void)state;
	struct world *world = open_settled(&plain, 5);
	// A notification makes a pass due that looks for drift; the change comes before it.
	struct kernel_event event = {
		.removed = true, .object = { .kind = KERNEL_NEXTHOP, .nexthop = { .id = 0x57000001 } }
	};
	reconcile_kernel_event(world->reconcile, &event);
	uint64_t passes = reconcile_stats(world->reconcile)->passes;
	struct lease lease = world_lease(world, 6);
	world_put(world, &lease);
	world_await_passes(world, passes + 1);
	world_await_changes(world);
	world_settle(world);
	assert_int_equal(world_count(world, "route "), 6);
	assert_int_equal(world_repairs(world), 0);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_act_is_undone_when_told),
		cmocka_unit_test(test_each_act_is_undone_when_looked_for),
		cmocka_unit_test(test_the_scan_interval_finds_what_was_not_told),
		cmocka_unit_test(test_the_scan_interval_grows_with_the_network),
		cmocka_unit_test(test_a_device_made_anew_leaks_no_nexthop),
		cmocka_unit_test(test_both_families_come_back),
		cmocka_unit_test(test_without_nexthop_objects),
		cmocka_unit_test(test_the_kernel_may_hide_gateways),
		cmocka_unit_test(test_the_sixth_time_is_war),
		cmocka_unit_test(test_a_device_at_war),
		cmocka_unit_test(test_a_renamed_device),
		cmocka_unit_test(test_a_war_is_none_of_an_events_business),
		cmocka_unit_test(test_a_peer_that_fails_for_the_device),
		cmocka_unit_test(test_drift_beside_a_change_is_not_counted),
		cmocka_unit_test(test_what_we_change_is_no_repair),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
