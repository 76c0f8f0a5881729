// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the table of probed peers: its index, and that each has one turn a round.
#include "unit.h"

#include "core/mem.h"
#include "io/loop.h"
#include "probe/target_table.h"

#include <string.h>

#define MANY 3000

static struct target_key key_of(uint32_t number)
{
	struct ip ip = ip_v4(0x0a000000 + (number << 8));
	struct subnet subnet = { .v4 = ipnet_of(&ip, 24) };

	return target_key_of(&subnet, AF_INET);
}

static uint32_t number_of(const struct target *target)
{
	struct subnet subnet = target_key_subnet(&target->key);

	return (ip_v4_value(&subnet.v4.addr) - 0x0a000000) >> 8;
}

static void test_key(void **state)
{
	struct subnet subnet = { 0 }, again;
	struct target_key v4, v6;

	(void)state;
	assert_true(sizeof(struct target) <= 64);
	assert_int_equal(ipnet_parse("10.1.2.0/24", &subnet.v4), 0);
	assert_int_equal(ipnet_parse("fd00::7/128", &subnet.v6), 0);
	v4 = target_key_of(&subnet, AF_INET);
	v6 = target_key_of(&subnet, AF_INET6);
	assert_memory_not_equal(&v4, &v6, sizeof(v4));
	again = target_key_subnet(&v6);
	assert_true(subnet_equal(&subnet, &again));
	assert_int_equal(target_key_family(&v4), AF_INET);
	assert_int_equal(target_key_family(&v6), AF_INET6);
	memset(&subnet.v4, 0, sizeof(subnet.v4));
	v4 = target_key_of(&subnet, AF_INET);
	again = target_key_subnet(&v4);
	assert_true(subnet_equal(&subnet, &again));
}

// Puts and removals at random against a plain list, with turns in between.
static void test_index(void **state)
{
	static bool is_there[MANY];
	struct target_table *table = target_table_new();
	size_t count = 0;

	(void)state;
	for (int i = 0; i < 20 * MANY; i++) {
		uint32_t number = (uint32_t)random_below(MANY);
		struct target_key key = key_of(number);
		struct target *target = target_table_find(table, &key);
		bool is_new = false;
		uint64_t round;

		check((target != NULL) == is_there[number], "%u is %sthere", number,
		      target ? "" : "not ");
		if (is_there[number] && random_below(2) == 0) {
			assert_true(target_table_remove(table, random_below(2) ? &target->key : &key));
			assert_false(target_table_remove(table, &key));
			is_there[number] = false;
			count--;
			continue;
		}
		target = target_table_put(table, &key, &is_new);
		assert_int_equal(is_new, !is_there[number]);
		assert_int_equal(number_of(target), number);
		count += is_new;
		is_there[number] = true;
		assert_non_null(target_table_next(table, &round));
		assert_int_equal(target_table_count(table), count);
	}
	for (size_t i = 0; i < count; i++)
		is_there[number_of(target_table_at(table, i))] = false;
	assert_null(target_table_at(table, count));
	for (uint32_t number = 0; number < MANY; number++)
		check(!is_there[number], "%u is not listed", number);
	target_table_free(table);
}

static void test_rounds(void **state)
{
	enum { COUNT = 200, ROUNDS = 5 };
	struct target_table *table = target_table_new();
	uint32_t order[ROUNDS][COUNT];
	uint64_t round = 7;

	(void)state;
	assert_null(target_table_next(table, &round));
	for (uint32_t i = 0; i < COUNT; i++) {
		struct target_key key = key_of(i);

		target_table_put(table, &key, NULL);
	}
	for (int r = 0; r < ROUNDS; r++) {
		bool is_done[COUNT] = { false };

		for (size_t i = 0; i < COUNT; i++) {
			uint32_t number = number_of(target_table_next(table, &round));

			assert_int_equal(round, r);
			check(!is_done[number], "round %d: %u has a second turn", r, number);
			is_done[number] = true;
			order[r][i] = number;
		}
		assert_true(r == 0 || memcmp(order[r], order[r - 1], sizeof(order[r])) != 0);
	}
	target_table_free(table);
}

// Who comes in the middle of a round has his turn in it; who goes takes nobody's.
static void test_changes_in_a_round(void **state)
{
	enum { COUNT = 100 };
	struct target_table *table = target_table_new();
	int turns[COUNT + 1] = { 0 };
	uint64_t round = 0;
	struct target_key key;

	(void)state;
	for (uint32_t i = 0; i < COUNT; i++) {
		key = key_of(i);
		target_table_put(table, &key, NULL);
	}
	for (int i = 0; i < COUNT / 2; i++)
		turns[number_of(target_table_next(table, &round))]++;
	key = key_of(COUNT);
	target_table_put(table, &key, NULL);
	for (uint32_t i = 0; i < COUNT; i += 4) {
		key = key_of(i);
		assert_true(target_table_remove(table, &key));
		turns[i] = 1;
	}
	for (;;) {
		struct target *target = target_table_next(table, &round);

		if (round > 0)
			break;
		turns[number_of(target)]++;
	}
	for (int i = 0; i <= COUNT; i++)
		check(turns[i] == 1, "%d has %d turns", i, turns[i]);
	target_table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_rounds),
		cmocka_unit_test(test_changes_in_a_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
