// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of peers changed by events: what is sent for each kind of change, beside a running pass, and in masses.
#include "netns.h"
#include "reconcile/reconcile_internal.h"
#include "reconcile_world.h"
#include "unit.h"

#include "core/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct world_options plain = { 0 };

static struct world *open_settled(const struct world_options *options, unsigned int peers)
{
	struct world *world = world_open(options);
	world_fill(world, 1, peers);
	world_start(world);
	world_settle(world);
	return world;
}

// Lets the change be applied; the number of requests that it took.
static uint64_t apply(struct world *world)
{
	uint64_t messages = world_messages(world);
	world_await_changes(world);
	return world_messages(world) - messages;
}

static void expect_no_trouble(struct world *world)
{
	size_t position = 0;
	const struct trouble_entry *entry =
		trouble_next(reconcile_trouble(world->reconcile), &position);
	check(!entry, "trouble: %s", entry ? entry->text : "");
}

static void test_a_peer_comes_and_goes(void **state)
{
	(void)state;
	struct world *world = open_settled(&plain, 3);
	_cleanup_free_ char *before = world_snapshot(world);
	uint64_t sends = netlink_stats(world->nl)->sends;
	struct lease lease = world_lease(world, 9);
	world_put(world, &lease);
	assert_int_equal(apply(world), 4);
	assert_true(world_has(world, "neighbour 10.1.9.0 lladdr 02:11:22:00:00:09 dev 1000"));
	assert_true(world_has(world, "fdb 02:11:22:00:00:09 dst 172.16.0.10 dev 1000"));
	assert_true(world_has(world, "route 10.1.9.0/24 nexthop "));
	world_remove(world, world_subnet(world, 9));
	assert_int_equal(apply(world), 4);
	world_await_snapshot(world, before);
	assert_int_equal(netlink_stats(world->nl)->sends - sends, 2);
	assert_int_equal(reconcile_stats(world->reconcile)->changes, 2);
	assert_int_equal(world_repairs(world), 0);
	world_close(world);
}

static void test_an_unchanged_peer_costs_nothing(void **state)
{
	(void)state;
	struct world *world = open_settled(&plain, 3);
	struct lease lease = world_lease(world, 1);
	lease.mod_revision = 99;
	lease.attrs.extra = xstrdup("{\"x\":1}");
	world_put(world, &lease);
	assert_int_equal(apply(world), 0);
	// There and back again before it was looked at.
	lease = world_lease(world, 2);
	world_set_mac(&lease, "02:99:00:00:00:02");
	world_put(world, &lease);
	lease = world_lease(world, 2);
	world_put(world, &lease);
	assert_int_equal(apply(world), 0);
	// Come and gone.
	lease = world_lease(world, 9);
	world_put(world, &lease);
	world_remove(world, world_subnet(world, 9));
	assert_int_equal(apply(world), 0);
	world_close(world);
}

static void test_another_public_address(void **state)
{
	(void)state;
	struct world *world = open_settled(&plain, 3);
	struct lease lease = world_lease(world, 1);
	lease.attrs.public_ip = ip_v4(0xac106363);
	world_put(world, &lease);
	assert_int_equal(apply(world), 1); // the FDB entry moves
	assert_true(world_has(world, "fdb 02:11:22:00:00:01 dst 172.16.99.99 "));
	assert_int_equal(world_count(world, "fdb "), 3);
	world_close(world);
}

static void test_another_mac(void **state)
{
	(void)state;
	struct world *world = open_settled(&plain, 3);
	struct lease lease = world_lease(world, 1);
	world_set_mac(&lease, "02:99:00:00:00:01");
	world_put(world, &lease);
	assert_int_equal(apply(world), 3); // neighbour, new entry, old entry
	assert_true(world_has(world, "fdb 02:99:00:00:00:01 dst 172.16.0.2 "));
	assert_true(world_has(world, "neighbour 10.1.1.0 lladdr 02:99:00:00:00:01 "));
	assert_int_equal(world_count(world, "fdb "), 3);
	world_close(world);
}

static void test_a_peer_that_becomes_unfit_and_fit_again(void **state)
{
	(void)state;
	struct world *world = open_settled(&plain, 3);
	_cleanup_free_ char *before = world_snapshot(world);
	struct lease lease = world_lease(world, 1);
	world_set_mac(&lease, "not a mac");
	world_put(world, &lease);
	assert_int_equal(apply(world), 4);
	assert_int_equal(world_count(world, "route "), 2);
	assert_non_null(world_trouble(world, world_subnet(world, 1)));
	lease = world_lease(world, 1);
	(void)text_copy(lease.attrs.backend_type, sizeof(lease.attrs.backend_type), "host-gw");
	world_put(world, &lease);
	assert_int_equal(apply(world), 0);
	assert_int_equal(trouble_count(reconcile_trouble(world->reconcile), true), 1);
	lease = world_lease(world, 1);
	world_put(world, &lease);
	assert_int_equal(apply(world), 4);
	world_await_snapshot(world, before);
	expect_no_trouble(world);
	world_close(world);
}

// ---- two leases of one host ----

static struct lease second_lease(const struct world *world, unsigned int i, unsigned int host)
{
	struct lease lease = world_lease(world, host);
	lease.subnet = *world_subnet(world, i);
	return lease;
}

static void test_a_host_keeps_its_entry_for_another_lease(void **state)
{
	(void)state;
	struct world *world = open_settled(&plain, 3);
	struct lease lease = second_lease(world, 9, 1);
	world_put(world, &lease);
	world_await_changes(world);
	assert_int_equal(world_count(world, "fdb "), 3);
	assert_int_equal(world_count(world, "neighbour "), 4);
	world_remove(world, world_subnet(world, 1));
	world_await_changes(world);
	assert_true(world_has(world, "fdb 02:11:22:00:00:01 dst 172.16.0.2 "));
	world_settle(world);
	assert_true(world_has(world, "fdb 02:11:22:00:00:01 dst 172.16.0.2 "));
	assert_int_equal(world_count(world, "neighbour "), 3);
	assert_int_equal(world_count(world, "nexthop "), 3);
	world_remove(world, world_subnet(world, 9));
	world_await_changes(world);
	world_settle(world);
	assert_int_equal(world_count(world, "fdb "), 2);
	world_close(world);
}

static void test_a_host_moves_to_another_subnet(void **state)
{
	(void)state;
	for (int both_at_once = 0; both_at_once < 2; both_at_once++) {
		struct world *world = open_settled(&plain, 3);
		world_remove(world, world_subnet(world, 1));
		if (!both_at_once)
			world_await_changes(world);
		struct lease lease = second_lease(world, 9, 1);
		world_put(world, &lease);
		world_await_changes(world);
		world_settle(world);
		assert_true(world_has(world, "fdb 02:11:22:00:00:01 dst 172.16.0.2 "));
		assert_true(world_has(world, "neighbour 10.1.9.0 lladdr 02:11:22:00:00:01 "));
		assert_int_equal(world_count(world, "fdb "), 3);
		assert_int_equal(world_count(world, "route "), 3);
		expect_no_trouble(world);
		world_close(world);
	}
}

// ---- beside a pass ----

static bool pass_is_at_work(struct world *world)
{
	return netlink_stats(world->nl)->dumps > 0;
}

// The same changes at every moment of a pass that has something to do for each peer.
static void test_changes_during_a_pass(void **state)
{
	(void)state;
	for (int turns = 0; turns < 40; turns += 3) {
		struct world_options again = { .keep_kernel = true };
		struct world *world = open_settled(&plain, 1200);
		world_close(world);
		world = world_open(&again);
		world_fill(world, 1, 800); // the rest is to be swept
		reconcile_allow_sweep(world->reconcile, true);
		uint64_t failed = netlink_stats(world->nl)->failed;
		reconcile_request(world->reconcile, RECONCILE_START);
		assert_true(world_await(world, pass_is_at_work, 1000));
		for (int i = 0; i < turns; i++)
			loop_turn(world->loop, 0);
		for (unsigned int i = 700; i < 750; i++)
			world_remove(world, world_subnet(world, i));
		for (unsigned int i = 1100; i < 1150; i++) { // whose entries are still there
			struct lease lease = world_lease(world, i);
			world_put(world, &lease);
		}
		for (unsigned int i = 2000; i < 2050; i++) {
			struct lease lease = world_lease(world, i);
			world_put(world, &lease);
		}
		for (unsigned int i = 1; i < 400; i += 8) {
			struct lease lease = world_lease(world, i);
			lease.attrs.public_ip = ip_v4(0xac200000 + i);
			world_put(world, &lease);
		}
		world_await_passes(world, 1);
		world_await_changes(world);
		world_settle(world);
		// Only what an earlier life left may be met, a route and an FDB entry each: the pass makes nothing that waits to be made.
		assert_in_range(netlink_stats(world->nl)->failed - failed, 0, 2 * 50);
		assert_int_equal(world_count(world, "neighbour "), 850);
		assert_int_equal(world_count(world, "fdb "), 850);
		assert_int_equal(world_count(world, "nexthop "), 850);
		assert_int_equal(world_count(world, "route "), 850);
		assert_int_equal(world_count(world, "fdb 02:11:22:00:00:01 dst 172.32.0.1 "), 1);
		expect_no_trouble(world);
		uint64_t messages = world_messages(world);
		world_pass(world, RECONCILE_DRIFT);
		check(world_messages(world) - messages == 1, "after %d turns: %lu requests were left",
		      turns, (unsigned long)(world_messages(world) - messages - 1));
		assert_int_equal(world_repairs(world), 0);
		world_close(world);
	}
}

// The kernel leaves entries out of a dump while the table changes: that is nobody's doing.
static void test_churn_is_no_drift(void **state)
{
	(void)state;
	struct world *world = open_settled(&plain, 3000);
	for (unsigned int i = 0; i < 150; i++) {
		if (i % 2 == 0) {
			struct lease lease = world_lease(world, 4000 + i);
			world_put(world, &lease);
		} else {
			world_remove(world, world_subnet(world, 4000 + i - 1));
		}
		if (!world->reconcile->pass)
			reconcile_request(world->reconcile, RECONCILE_DRIFT);
		world_run(world, 6);
	}
	world_settle(world);
	assert_int_equal(world_repairs(world), 0);
	assert_int_equal(world_count(world, "route "), 3000);
	expect_no_trouble(world);
	world_close(world);
}

static void test_an_entry_of_an_earlier_life_is_not_foreign(void **state)
{
	struct world_options again = { .keep_kernel = true };
	(void)state;
	struct world *world = open_settled(&plain, 5);
	world_close(world);
	// No sweep: the fifth peer's entries are there and nobody knows them.
	world = world_open(&again);
	world_fill(world, 1, 4);
	world_pass(world, RECONCILE_START);
	struct lease lease = world_lease(world, 5);
	world_set_mac(&lease, "02:99:00:00:00:05");
	world_put(world, &lease);
	world_await_changes(world);
	world_await_passes(world, 2);
	assert_true(world_has(world, "neighbour 10.1.5.0 lladdr 02:99:00:00:00:05 "));
	assert_int_equal(world_count(world, "route "), 5);
	expect_no_trouble(world);
	world_close(world);
}

static void test_a_change_does_not_hide_a_route_in_the_way(void **state)
{
	struct world_options deaf = { .deaf = true }; // or a notification would set it right
	(void)state;
	struct world *world = world_open(&deaf);
	netns_run("ip", "route", "add", "10.1.1.0/24", "via", "192.168.9.7", "dev", "e0", NULL);
	world_fill(world, 1, 3);
	world_start(world);
	assert_non_null(world_trouble(world, world_subnet(world, 1)));
	struct lease lease = world_lease(world, 1);
	world_set_mac(&lease, "02:99:00:00:00:01");
	world_put(world, &lease);
	world_await_changes(world);
	world_settle(world);
	assert_non_null(world_trouble(world, world_subnet(world, 1)));
	assert_true(world_has(world, "route 10.1.1.0/24 via 192.168.9.7"));
	assert_int_equal(netns_json_count("ip", "-j", "route", "show", "10.1.1.0/24", NULL), 1);
	// And the foreign route outlives the peer.
	world_remove(world, world_subnet(world, 1));
	world_await_changes(world);
	world_settle(world);
	assert_true(world_has(world, "route 10.1.1.0/24 via 192.168.9.7"));
	expect_no_trouble(world);
	world_close(world);
}

static void test_a_mac_stays_with_the_peer_that_was_first(void **state)
{
	char mac[MAC_STR_MAX], line[128];
	(void)state;
	struct world *world = open_settled(&plain, 20);
	for (unsigned int i = 1; i <= 20; i++) {
		struct lease lease = world_lease(world, 50 + i);
		(void)snprintf(mac, sizeof(mac), "02:11:22:00:00:%02x", i);
		world_set_mac(&lease, mac);
		world_put(world, &lease);
	}
	world_await_changes(world);
	world_settle(world);
	for (int pass = 0; pass < 8; pass++)
		world_pass(world, RECONCILE_DRIFT);
	for (unsigned int i = 1; i <= 20; i++) {
		(void)snprintf(line, sizeof(line),
			       "fdb 02:11:22:00:00:%02x dst 172.16.0.%u dev 1000", i, i + 1);
		check(world_has(world, line), "%s", line);
		assert_null(world_trouble(world, world_subnet(world, i)));
		assert_non_null(world_trouble(world, world_subnet(world, 50 + i)));
	}
	assert_int_equal(world_count(world, "fdb "), 20);
	assert_int_equal(world_repairs(world), 0);
	assert_int_equal(world->wars, 0);
	// The first one goes: the other one's turn, at its next try.
	world_remove(world, world_subnet(world, 1));
	world_await_changes(world);
	world_run(world, 1100);
	world_pass(world, RECONCILE_CHANGE);
	assert_true(world_has(world, "fdb 02:11:22:00:00:01 dst 172.16.0.52 dev 1000"));
	assert_null(world_trouble(world, world_subnet(world, 51)));
	world_close(world);
}

// ---- masses ----

static void test_five_thousand_at_once(void **state)
{
	(void)state;
	struct world *world = open_settled(&plain, 10);
	loop_longest_hold_ms(world->loop);
	uint64_t start = loop_now_ms();
	for (unsigned int i = 11; i <= 5010; i++) {
		struct lease lease = world_lease(world, i);
		world_put(world, &lease);
	}
	uint64_t longest = loop_now_ms() - start;
	uint64_t passes = reconcile_stats(world->reconcile)->passes;
	world_await_passes(world, passes + 1);
	world_await_changes(world);
	print_message("5,000 come: %lu ms, longest hold %lu ms\n",
		      (unsigned long)(loop_now_ms() - start),
		      (unsigned long)loop_longest_hold_ms(world->loop));
	print_message("handing them over took %lu ms\n", (unsigned long)longest);
	assert_int_equal(world_count(world, "route "), 5010);
	assert_int_equal(world_count(world, "fdb "), 5010);

	for (unsigned int i = 1; i <= 1500; i++) {
		struct lease lease = world_lease(world, i);
		char mac[MAC_STR_MAX];
		assert_int_equal(
			text_format(mac, sizeof(mac), "02:98:00:00:%02x:%02x", i / 256, i % 256), 0);
		world_set_mac(&lease, mac);
		world_put(world, &lease);
	}
	start = loop_now_ms();
	world_await_changes(world);
	print_message("1,500 change their MAC: %lu ms, longest hold %lu ms\n",
		      (unsigned long)(loop_now_ms() - start),
		      (unsigned long)loop_longest_hold_ms(world->loop));
	world_settle(world);
	assert_int_equal(world_count(world, "fdb "), 5010);

	start = loop_now_ms();
	for (unsigned int i = 11; i <= 5010; i++)
		world_remove(world, world_subnet(world, i));
	passes = reconcile_stats(world->reconcile)->passes;
	world_await_passes(world, passes + 1);
	world_await_changes(world);
	print_message("5,000 go: %lu ms, longest hold %lu ms\n",
		      (unsigned long)(loop_now_ms() - start),
		      (unsigned long)loop_longest_hold_ms(world->loop));
	world_settle(world);
	assert_int_equal(world_count(world, "route "), 10);
	assert_int_equal(world_count(world, "nexthop "), 10);
	assert_int_equal(world_count(world, "fdb "), 10);
	assert_int_equal(world_count(world, "neighbour "), 10);
	assert_int_equal(world_repairs(world), 0);
	world_close(world);
}

// ---- direct routing ----

#define DIRECT_CONFIG \
	"{\"Network\":\"10.0.0.0/8\",\"SubnetLen\":24,\"Backend\":{\"Type\":\"vxlan\",\"DirectRouting\":true}}"

static bool first_is_direct(struct world *world)
{
	return world_count(world, "neighbour 10.1.1.0 ") == 0;
}

static bool first_is_encapsulated(struct world *world)
{
	return !first_is_direct(world);
}

static void test_direct_routing_follows_the_routes(void **state)
{
	struct world_options options = { .config = DIRECT_CONFIG };
	(void)state;
	struct world *world = world_open(&options);
	for (unsigned int i = 1; i <= 3; i++) { // the first two are neighbours, and have one address
		struct lease lease = world_lease(world, i);
		if (i < 3)
			lease.attrs.public_ip = ip_v4(0xc0a80909);
		lease_set_put(world->peers, &lease);
	}
	world_start(world);
	assert_int_equal(world_count(world, "neighbour "), 1);
	assert_int_equal(world_count(world, "fdb "), 1);
	assert_int_equal(world_count(world, "nexthop "), 2); // one for both
	assert_int_equal(netns_json_count("ip", "-j", "route", "show", "via", "192.168.9.9", NULL), 2);
	struct wanted wanted = { 0 };
	struct err e;
	assert_int_equal(reconcile_explain(world->reconcile,
					   lease_set_find(world->peers, world_subnet(world, 1)),
					   &wanted, &e),
			 0);
	assert_string_equal(wanted.path, "direct");
	uint64_t messages = world_messages(world);
	world_pass(world, RECONCILE_DRIFT);
	assert_int_equal(world_messages(world) - messages, 1 + 3); // the device, and the way to each

	netns_run("ip", "route", "add", "192.168.9.9/32", "via", "192.168.9.250", "dev", "e0", NULL);
	assert_true(world_await(world, first_is_encapsulated, 1000));
	world_settle(world);
	assert_int_equal(world_count(world, "neighbour "), 3);
	assert_int_equal(netns_json_count("ip", "-j", "route", "show", "via", "192.168.9.9", NULL), 0);
	netns_run("ip", "route", "del", "192.168.9.9/32", NULL);
	assert_true(world_await(world, first_is_direct, 1000));
	world_settle(world);
	assert_int_equal(world_count(world, "neighbour "), 1);
	assert_int_equal(world_count(world, "fdb "), 1);
	assert_int_equal(world_repairs(world), 0);

	// One lease of the host goes, and the nexthop stays for the other.
	world_remove(world, world_subnet(world, 1));
	world_await_changes(world);
	world_settle(world);
	assert_int_equal(world_count(world, "nexthop "), 2);
	assert_int_equal(netns_json_count("ip", "-j", "route", "show", "via", "192.168.9.9", NULL), 1);
	// The interface goes down and up: routes over it vanish without a word.
	_cleanup_free_ char *before = world_snapshot(world);
	netns_run("ip", "link", "set", "e0", "down", NULL);
	netns_run("ip", "link", "set", "e0", "up", NULL);
	assert_in_range(world_await_snapshot(world, before), 0, 2000);
	world_close(world);
}

static bool somebody_is_in_trouble(struct world *world)
{
	return trouble_count(reconcile_trouble(world->reconcile), false) > 0;
}

static bool nobody_is_in_trouble(struct world *world)
{
	return trouble_count(reconcile_trouble(world->reconcile), false) == 0;
}

// With a pass asked for, nobody handles the change itself.
static void test_a_peer_in_trouble_goes_unseen(void **state)
{
	(void)state;
	struct world *world = world_open(&(struct world_options){ 0 });
	world_fill(world, 1, 3);
	world_start(world);
	struct lease lease = world_lease(world, 9);
	char net[IPNET_STR_MAX];
	netns_run("ip", "route", "add", ipnet_str(&lease.subnet.v4, net), "via", "192.168.9.77",
		  "dev", "e0", "proto", "static", NULL);
	world_put(world, &lease);
	assert_true(world_await(world, somebody_is_in_trouble, 3000));
	world_settle(world);
	reconcile_request(world->reconcile, RECONCILE_CHANGE);
	world_remove(world, world_subnet(world, 9));
	assert_true(world_await(world, nobody_is_in_trouble, 3000));
	world_settle(world);
	uint64_t passes = reconcile_stats(world->reconcile)->passes;
	world_run(world, 1500); // longer than its first pause
	assert_int_equal(reconcile_stats(world->reconcile)->passes, passes);
	world_close(world);
}

static bool has_thousand_routes(struct world *world)
{
	return world_count(world, "route 10.") >= 1000;
}

static bool has_passed(struct world *world)
{
	return reconcile_stats(world->reconcile)->passes > 0;
}

// The store still answers while the kernel is programmed.
static void test_peers_come_while_the_first_pass_runs(void **state)
{
	(void)state;
	struct world *world = world_open(&(struct world_options){ 0 });
	reconcile_allow_sweep(world->reconcile, true);
	const char *stray = "10.200.7.0/24";
	netns_run("ip", "route", "add", stray, "via", "192.168.9.7", "dev", "e0", "proto", "157", NULL);
	world_fill(world, 1, 1);
	reconcile_expect_peers(world->reconcile, true);
	reconcile_request(world->reconcile, RECONCILE_START);
	for (unsigned int i = 2; i <= 1000; i++) {
		struct lease lease = world_lease(world, i);
		world_put(world, &lease);
		if (i % 100 == 0)
			world_run(world, 1);
	}
	assert_true(world_await(world, has_thousand_routes, 3000));
	// Some change while more are awaited, before and after they were compared.
	struct lease changed = world_lease(world, 5);
	world_set_mac(&changed, "02:99:00:00:00:05");
	world_put(world, &changed);
	world_remove(world, world_subnet(world, 6));
	world_run(world, 100);
	assert_int_equal(reconcile_stats(world->reconcile)->passes, 0);
	assert_false(reconcile_is_synced(world->reconcile));
	assert_int_equal(netns_json_count("ip", "-j", "route", "show", stray, NULL), 1);
	uint64_t messages = world_messages(world);
	world_run(world, 100);
	assert_int_equal(world_messages(world), messages); // it waits, and does not look again and again
	reconcile_expect_peers(world->reconcile, false);
	assert_true(world_await(world, has_passed, 3000));
	world_settle(world);
	assert_int_equal(netns_json_count("ip", "-j", "route", "show", stray, NULL), 0);
	assert_int_equal(world_count(world, "route 10."), 999);
	assert_int_equal(world_count(world, "neighbour "), 999);
	assert_int_equal(world_count(world, "nexthop "), 999);
	assert_true(world_has(world, "neighbour 10.1.5.0 lladdr 02:99:00:00:00:05 "));
	assert_int_equal(world_repairs(world), 0);
	expect_no_trouble(world);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_peer_comes_and_goes),
		cmocka_unit_test(test_an_unchanged_peer_costs_nothing),
		cmocka_unit_test(test_another_public_address),
		cmocka_unit_test(test_another_mac),
		cmocka_unit_test(test_a_peer_that_becomes_unfit_and_fit_again),
		cmocka_unit_test(test_a_host_keeps_its_entry_for_another_lease),
		cmocka_unit_test(test_a_host_moves_to_another_subnet),
		cmocka_unit_test(test_changes_during_a_pass),
		cmocka_unit_test(test_churn_is_no_drift),
		cmocka_unit_test(test_an_entry_of_an_earlier_life_is_not_foreign),
		cmocka_unit_test(test_a_change_does_not_hide_a_route_in_the_way),
		cmocka_unit_test(test_a_mac_stays_with_the_peer_that_was_first),
		cmocka_unit_test(test_a_peer_in_trouble_goes_unseen),
		cmocka_unit_test(test_peers_come_while_the_first_pass_runs),
		cmocka_unit_test(test_five_thousand_at_once),
		cmocka_unit_test(test_direct_routing_follows_the_routes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
