// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: ten thousand peers: counts and memory are checked, times are printed.
#include "netns.h"
#include "reconcile_world.h"
#include "unit.h"

#include "core/mem.h"

#include <malloc.h>
#include <string.h>

#define PEERS 10000
#define SHARE_BYTES 60 // what reconcile may keep of a peer that is fine

static size_t allocated_bytes(void)
{
	struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
}

static void timed_pass(struct world *world, enum reconcile_reason reason, const char *what)
{
	loop_longest_hold_ms(world->loop);
	world_pass(world, reason);
	print_message("%s: %lu ms, longest hold %lu ms\n", what,
		      (unsigned long)reconcile_stats(world->reconcile)->last_pass_ms,
		      (unsigned long)loop_longest_hold_ms(world->loop));
	world_settle(world);
}

static void timed_repair(struct world *world, const char *what, const char *command, const char *whole)
{
	netns_run("sh", "-c", command, NULL);
	uint64_t start = loop_now_ms();
	loop_longest_hold_ms(world->loop);
	world_settle(world);
	print_message("%s: at rest after %lu ms, longest hold %lu ms\n", what,
		      (unsigned long)(loop_now_ms() - start),
		      (unsigned long)loop_longest_hold_ms(world->loop));
	_cleanup_free_ char *now = world_snapshot(world);
	check(strcmp(now, whole) == 0, "%s: not repaired", what);
}

static void test_ten_thousand_peers(void **state)
{
	(void)state;
	struct world *world = world_open(&(struct world_options){ 0 });
	world_start(world);
	world_settle(world);
	world_fill(world, 1, PEERS);
	size_t before = allocated_bytes();
	uint64_t messages = world_messages(world), sends = netlink_stats(world->nl)->sends;
	timed_pass(world, RECONCILE_START, "first pass");
	// The look at the device, and four for each peer.
	assert_int_equal(world_messages(world) - messages, 1 + 4 * PEERS);
	assert_in_range(netlink_stats(world->nl)->sends - sends, 1, 60);
	size_t share = (allocated_bytes() - before) / PEERS;
	print_message("%zu bytes kept for each peer\n", share);
#if !defined(__SANITIZE_ADDRESS__) // whose allocator tells mallinfo nothing
	assert_in_range(share, 1, SHARE_BYTES);
#endif
	assert_int_equal(world->lost, 0);

	messages = world_messages(world);
	timed_pass(world, RECONCILE_DRIFT, "second pass");
	assert_int_equal(world_messages(world) - messages, 1);
	_cleanup_free_ char *whole = world_snapshot(world);
	timed_repair(world, "set down and up",
		     "ip link set flannel.1 down; ip link set flannel.1 up", whole);
	timed_repair(world, "deleted", "ip link del flannel.1", whole);
	print_message("lost notifications: %lu\n", (unsigned long)world->lost);

	for (unsigned int i = 1; i <= PEERS; i++)
		lease_set_remove(world->peers, world_subnet(world, i));
	timed_pass(world, RECONCILE_CHANGE, "all go");
	assert_int_equal(world_count(world, "route "), 0);
	assert_int_equal(world_count(world, "nexthop "), 0);
	assert_int_equal(world_count(world, "neighbour "), 0);
	assert_int_equal(world_count(world, "fdb "), 0);
	world_close(world);
}

static size_t troubles(struct world *world)
{
	return trouble_count(reconcile_trouble(world->reconcile), false);
}

// Every peer fails, and every peer is fine again: neither may cost more than a pass.
static void test_ten_thousand_in_trouble(void **state)
{
	(void)state;
	struct world *world = world_open(&(struct world_options){ 0 });
	world_start(world);
	world_settle(world);
	for (unsigned int i = 1; i <= PEERS; i++) {
		struct lease lease = world_lease(world, i);
		world_set_mac(&lease, "junk");
		lease_set_put(world->peers, &lease);
	}
	size_t before = allocated_bytes();
	timed_pass(world, RECONCILE_CHANGE, "all fail");
	assert_int_equal(troubles(world), PEERS);
	world_fill(world, 1, PEERS);
	uint64_t start = loop_now_ms();
	loop_longest_hold_ms(world->loop);
	while (troubles(world) > 0) {
		if (loop_now_ms() - start > 20000)
			fail_msg("%zu are still in trouble", troubles(world));
		loop_turn(world->loop, 5);
	}
	world_settle(world);
	print_message("all recover: longest hold %lu ms\n",
		      (unsigned long)loop_longest_hold_ms(world->loop));
	assert_int_equal(world_count(world, "route "), PEERS);
	assert_in_range((allocated_bytes() - before) / PEERS, 0, SHARE_BYTES);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ten_thousand_peers),
		cmocka_unit_test(test_ten_thousand_in_trouble),
	};
	mem_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
