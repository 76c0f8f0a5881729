// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the choice of nexthop ids.
#include "reconcile/nexthop_table.h"
#include "unit.h"

#include "core/mem.h"

#include <malloc.h>
#include <string.h>

#define MANY 10000

static struct ip gateway(unsigned int i)
{
	return ip_v4(0x0a000000 + (i << 8));
}

static uint32_t id_of(struct nexthop_table *table, unsigned int i, uint32_t ifindex)
{
	struct ip ip = gateway(i);
	return nexthop_table_id(table, &ip, ifindex);
}

static uint32_t find(struct nexthop_table *table, unsigned int i, uint32_t ifindex)
{
	struct ip ip = gateway(i);
	return nexthop_table_find(table, &ip, ifindex);
}

static void test_each_gateway_has_its_own_id(void **state)
{
	(void)state;
	struct nexthop_table *table = nexthop_table_new();
	uint32_t *ids = xnew0_array(uint32_t, MANY);
	uint8_t *seen = xcalloc(NEXTHOP_ID_LAST - NEXTHOP_ID_FIRST + 1, 1);
	for (unsigned int i = 0; i < MANY; i++) {
		assert_int_equal(find(table, i, 7), 0);
		ids[i] = id_of(table, i, 7);
		assert_true(nexthop_id_is_ours(ids[i]));
		assert_false(seen[ids[i] - NEXTHOP_ID_FIRST]);
		seen[ids[i] - NEXTHOP_ID_FIRST] = 1;
	}
	for (unsigned int i = 0; i < MANY; i++) {
		assert_int_equal(id_of(table, i, 7), ids[i]);
		assert_int_equal(find(table, i, 7), ids[i]);
	}
	assert_int_equal(nexthop_table_count(table), MANY);
	assert_int_not_equal(id_of(table, 1, 8), ids[1]); // another device, another object
	free(seen);
	free(ids);
	nexthop_table_free(table);
}

static void test_the_same_ids_on_every_start(void **state)
{
	(void)state;
	struct nexthop_table *a = nexthop_table_new(), *b = nexthop_table_new();
	for (unsigned int i = 0; i < 100; i++)
		id_of(a, i, 7);
	for (unsigned int i = 100; i-- > 0;)
		assert_int_equal(id_of(b, i, 9), find(a, i, 7)); // the device's index may be another
	nexthop_table_free(a);
	nexthop_table_free(b);
}

static void test_what_a_scan_found_is_kept(void **state)
{
	(void)state;
	struct nexthop_table *table = nexthop_table_new();
	struct ip one = gateway(1), two = gateway(2);
	assert_true(nexthop_table_adopt(table, &one, 7, NEXTHOP_ID_FIRST + 5));
	assert_true(nexthop_table_adopt(table, &one, 7, NEXTHOP_ID_FIRST + 5));
	assert_int_equal(id_of(table, 1, 7), NEXTHOP_ID_FIRST + 5);
	assert_false(nexthop_table_adopt(table, &one, 7, NEXTHOP_ID_FIRST + 6)); // a spare one
	assert_false(nexthop_table_adopt(table, &two, 7, NEXTHOP_ID_FIRST + 5));
	assert_false(nexthop_table_adopt(table, &two, 7, NEXTHOP_ID_FIRST - 1));
	assert_false(nexthop_table_adopt(table, &two, 7, NEXTHOP_ID_LAST + 1));
	assert_int_equal(nexthop_table_count(table), 1);
	nexthop_table_free(table);
}

static void test_taken_ids(void **state)
{
	(void)state;
	struct nexthop_table *table = nexthop_table_new();
	uint32_t id = id_of(table, 1, 7);
	nexthop_table_block(table, id);
	nexthop_table_block(table, id);
	assert_int_equal(find(table, 1, 7), 0);
	uint32_t next = id_of(table, 1, 7);
	assert_int_not_equal(next, id);
	assert_int_not_equal(next, 0);
	assert_int_equal(nexthop_table_count(table), 2);
	nexthop_table_block(table, 5); // not of our range: nothing to us
	assert_int_equal(nexthop_table_count(table), 2);
	// A long row of taken ones.
	for (uint32_t i = 0; i < 1000; i++)
		nexthop_table_block(table, (id_of(table, 2, 7)));
	next = id_of(table, 2, 7);
	assert_true(nexthop_id_is_ours(next));
	nexthop_table_free(table);
}

// In a tree by id, as the kernel has it, neighbours come in order.
static void test_ids_are_in_the_order_of_gateways(void **state)
{
	(void)state;
	struct nexthop_table *table = nexthop_table_new();
	uint32_t last = 0;
	for (unsigned int step = 256; step >= 4; step /= 8)
		for (unsigned int i = 0; i < 1000; i++) {
			struct ip ip = ip_v4(0x0a000000 + step * 0x10000 + i * step);
			uint32_t id = nexthop_table_id(table, &ip, 7);
			assert_true(i == 0 || id > last);
			last = id;
		}
	nexthop_table_free(table);
}

static void test_the_end_of_the_range(void **state)
{
	(void)state;
	struct nexthop_table *table = nexthop_table_new();
	struct ip late = ip_v4(0x03fffff8); // its own id, for ever, is the last but one
	assert_int_equal(nexthop_table_id(table, &late, 7), NEXTHOP_ID_LAST - 1);
	nexthop_table_block(table, NEXTHOP_ID_LAST - 1);
	nexthop_table_block(table, NEXTHOP_ID_LAST);
	assert_int_equal(nexthop_table_id(table, &late, 7), NEXTHOP_ID_FIRST);
	nexthop_table_free(table);
}

static void test_removal(void **state)
{
	(void)state;
	struct nexthop_table *table = nexthop_table_new();
	for (unsigned int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < 1000; i++)
			id_of(table, i, 7);
		assert_int_equal(nexthop_table_count(table), 1000);
		for (unsigned int i = round; i < 1000; i += 2)
			nexthop_table_remove(table, find(table, i, 7));
		nexthop_table_remove(table, 0);
		nexthop_table_remove(table, NEXTHOP_ID_LAST);
		for (unsigned int i = 0; i < 1000; i++)
			assert_int_equal(find(table, i, 7) != 0, i < round || (i - round) % 2 == 1);
	}
	nexthop_table_free(table);
}

static void test_a_device_that_is_gone(void **state)
{
	(void)state;
	struct nexthop_table *table = nexthop_table_new();
	for (unsigned int i = 0; i < 100; i++) {
		id_of(table, i, 7);
		id_of(table, i, 8);
	}
	nexthop_table_block(table, NEXTHOP_ID_FIRST);
	nexthop_table_forget_device(table, 7);
	assert_int_equal(nexthop_table_count(table), 101);
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(find(table, i, 7), 0);
		assert_int_not_equal(find(table, i, 8), 0);
	}
	nexthop_table_free(table);
}

static void test_expiry(void **state)
{
	(void)state;
	struct nexthop_table *table = nexthop_table_new();
	struct ip adopted = gateway(2);
	for (unsigned int i = 0; i < 4; i++)
		id_of(table, i, 7);
	nexthop_table_block(table, NEXTHOP_ID_LAST);
	nexthop_table_expire(table); // all were used
	assert_int_equal(nexthop_table_count(table), 5);
	uint32_t kept = id_of(table, 1, 7);
	nexthop_table_adopt(table, &adopted, 7, find(table, 2, 7));
	nexthop_table_expire(table);
	assert_int_equal(nexthop_table_count(table), 2);
	assert_int_equal(find(table, 1, 7), kept);
	assert_int_not_equal(find(table, 2, 7), 0);
	assert_int_equal(find(table, 3, 7), 0);
	nexthop_table_free(table);
}

static size_t allocated_bytes(void)
{
	struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
}

static void test_memory(void **state)
{
	(void)state;
	size_t before = allocated_bytes();
	struct nexthop_table *table = nexthop_table_new();
	for (unsigned int i = 0; i < MANY; i++)
		id_of(table, i, 7);
	size_t each = (allocated_bytes() - before) / MANY;
	check(each <= 56, "%zu bytes for each gateway", each);
	for (unsigned int i = 10; i < MANY; i++)
		nexthop_table_remove(table, find(table, i, 7));
	check(allocated_bytes() - before < 16 * 1024, "%zu bytes stay for ten",
	      allocated_bytes() - before);
	nexthop_table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_gateway_has_its_own_id),
		cmocka_unit_test(test_the_same_ids_on_every_start),
		cmocka_unit_test(test_what_a_scan_found_is_kept),
		cmocka_unit_test(test_taken_ids),
		cmocka_unit_test(test_ids_are_in_the_order_of_gateways),
		cmocka_unit_test(test_the_end_of_the_range),
		cmocka_unit_test(test_removal),
		cmocka_unit_test(test_a_device_that_is_gone),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
