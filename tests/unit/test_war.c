// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of when undoing becomes a war, and when a war is over.
#include "reconcile/war.h"
#include "unit.h"

#include "core/mem.h"

#include <string.h>

static struct kernel_object route(unsigned int i)
{
	return (struct kernel_object){ .kind = KERNEL_ROUTE,
				       .route = { .dst = { ip_v4(0x0a000000 + (i << 8)), 24 },
						  .nexthop_id = i } };
}

static enum war_verdict repair(struct war *war, unsigned int i, uint64_t now_ms)
{
	struct kernel_object object = route(i);
	return war_repair(war, &object, now_ms);
}

static size_t at_war(struct war *war, uint64_t now_ms)
{
	size_t position = 0, count = 0;
	while (war_next(war, &position, now_ms))
		count++;
	return count;
}

static uint64_t declare(struct war *war, unsigned int i, uint64_t now_ms)
{
	for (int k = 0; k < 5; k++)
		assert_int_equal(repair(war, i, now_ms++), WAR_REPAIR);
	assert_int_equal(repair(war, i, now_ms), WAR_DECLARED);
	return now_ms;
}

static void test_the_sixth_within_a_minute(void **state)
{
	(void)state;
	struct war *war = war_new();
	assert_int_equal(at_war(war, 0), 0);
	assert_true(war_next_end_ms(war, 0) == UINT64_MAX);
	uint64_t now_ms = declare(war, 1, 100000);
	assert_int_equal(at_war(war, now_ms), 1);
	assert_int_equal(war_next_end_ms(war, now_ms), now_ms + 30000);
	assert_int_equal(repair(war, 1, now_ms + 1), WAR_HELD);
	assert_int_equal(repair(war, 1, now_ms + 29999), WAR_HELD);
	assert_int_equal(repair(war, 2, now_ms + 1), WAR_REPAIR); // others are not concerned
	assert_int_equal(at_war(war, now_ms + 30000), 0);
	war_free(war);
}

static void test_now_and_then_is_no_war(void **state)
{
	(void)state;
	struct war *war = war_new();
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(repair(war, 1, 100000 + i * 13000ull), WAR_REPAIR);
	war_free(war);
}

static void test_holds_grow_and_it_is_said_once(void **state)
{
	static const unsigned int holds[] = { 60000, 120000, 240000, 480000, 600000, 600000 };
	(void)state;
	struct war *war = war_new();
	uint64_t now_ms = declare(war, 1, 100000) + 30000;
	for (size_t i = 0; i < ARRAY_SIZE(holds); i++) {
		assert_int_equal(repair(war, 1, now_ms), WAR_REPAIR); // one try
		assert_int_equal(repair(war, 1, now_ms + 10), WAR_HELD);
		now_ms += 10 + holds[i];
		assert_int_equal(repair(war, 1, now_ms - 1), WAR_HELD);
		assert_int_equal(war_next_end_ms(war, now_ms - 1), now_ms);
	}
	war_free(war);
}

static void test_peace(void **state)
{
	(void)state;
	struct war *war = war_new();
	uint64_t now_ms = declare(war, 1, 100000) + 30000;
	assert_int_equal(repair(war, 1, now_ms), WAR_REPAIR);
	// For more than a minute nobody undid it: the next war is a new one.
	declare(war, 1, now_ms + 61000);
	assert_int_equal(war_next_end_ms(war, now_ms + 61010), now_ms + 61005 + 30000);
	war_free(war);
}

static void test_identity(void **state)
{
	struct ip ip = ip_v4(0x0a000100);
	struct mac mac = { { 2, 0, 0, 0, 0, 1 } };
	struct kernel_object pairs[][2] = {
		{ { .kind = KERNEL_LINK, .link = { .name = "flannel.1", .ifindex = 3 } },
		  { .kind = KERNEL_LINK, .link = { .name = "flannel.1" } } },
		{ { .kind = KERNEL_ADDR, .addr = { .ifindex = 3, .ip = ip, .len = 24 } },
		  { .kind = KERNEL_ADDR, .addr = { .ifindex = 3, .ip = ip } } },
		{ { .kind = KERNEL_NEIGH, .neigh = { .ifindex = 3, .ip = ip, .mac = mac } },
		  { .kind = KERNEL_NEIGH, .neigh = { .ifindex = 3, .ip = ip } } },
		{ { .kind = KERNEL_FDB, .fdb = { .ifindex = 3, .mac = mac, .remote = ip } },
		  { .kind = KERNEL_FDB, .fdb = { .ifindex = 3, .mac = mac } } },
		{ { .kind = KERNEL_NEXTHOP, .nexthop = { .id = 5, .gateway = ip } },
		  { .kind = KERNEL_NEXTHOP, .nexthop = { .id = 5 } } },
		{ { .kind = KERNEL_ROUTE, .route = { .dst = { ip, 24 }, .nexthop_id = 5 } },
		  { .kind = KERNEL_ROUTE, .route = { .dst = { ip, 24 } } } },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct war *war = war_new();
		for (int k = 0; k < 5; k++)
			assert_int_equal(war_repair(war, &pairs[i][k % 2], 1000), WAR_REPAIR);
		check(war_repair(war, &pairs[i][1], 1000) == WAR_DECLARED,
		      "case %zu: not the same object", i);
		struct kernel_object other = { .kind = pairs[i][0].kind };
		check(war_repair(war, &other, 1000) == WAR_REPAIR, "case %zu: any object", i);
		war_free(war);
	}
}

static void test_a_crowd_does_not_hide_a_war(void **state)
{
	(void)state;
	struct war *war = war_new();
	uint64_t now_ms = declare(war, 1, 100000);
	for (unsigned int i = 2; i < 5000; i++)
		assert_int_equal(repair(war, i, now_ms + i), WAR_REPAIR);
	assert_int_equal(at_war(war, now_ms + 5000), 1);
	assert_int_equal(repair(war, 1, now_ms + 5000), WAR_HELD);
	war_free(war);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_sixth_within_a_minute),
		cmocka_unit_test(test_now_and_then_is_no_war),
		cmocka_unit_test(test_holds_grow_and_it_is_said_once),
		cmocka_unit_test(test_peace),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_a_crowd_does_not_hide_a_war),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
