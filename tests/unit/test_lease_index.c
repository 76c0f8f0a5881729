// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of fabric/lease_index, against a plain list of the same leases.
#include "unit.h"

#include "core/mem.h"
#include "fabric/lease_index.h"

#include <stdlib.h>

#define LEASES 3000
#define DISTINCT 1500 // so that keys repeat

static struct lease leases[LEASES];
static bool is_in[LEASES];

static void fill(void)
{
	for (size_t i = 0; i < LEASES; i++) {
		leases[i] = (struct lease){ 0 };
		leases[i].attrs.public_ip = ip_v4(0x0a000000 + (uint32_t)(i * 7919 % DISTINCT) * 3);
		is_in[i] = false;
	}
}

static void check_against_list(const struct lease_index *index)
{
	for (uint32_t value = 0x0a000000 - 1; value < 0x0a000000 + DISTINCT * 3 + 2; value++) {
		struct ip ip = ip_v4(value);
		const struct lease *best = NULL, *found;
		size_t equal = 0;

		for (size_t i = 0; i < LEASES; i++) {
			if (!is_in[i] || ip_compare(&leases[i].attrs.public_ip, &ip) > 0)
				continue;
			equal += ip_equal(&leases[i].attrs.public_ip, &ip);
			if (!best || ip_compare(&leases[i].attrs.public_ip, &best->attrs.public_ip) > 0)
				best = &leases[i];
		}
		found = lease_index_at_or_before(index, &ip);
		assert_int_equal(found != NULL, best != NULL);
		if (best)
			assert_true(ip_equal(&found->attrs.public_ip, &best->attrs.public_ip));
		for (size_t i = 0; i < equal; i++)
			assert_non_null(lease_index_equal(index, &ip, i));
		assert_null(lease_index_equal(index, &ip, equal));
	}
}

static void test_like_a_list(void **state)
{
	struct lease_index *index = lease_index_new(LEASE_INDEX_PUBLIC_IP);
	size_t count = 0;

	(void)state;
	fill();
	srandom(1);
	check_against_list(index);
	for (unsigned int round = 0; round < 3; round++) {
		for (size_t i = 0; i < LEASES * 2; i++) {
			size_t at = (size_t)random() % LEASES;

			// The second round empties it almost.
			if (is_in[at] == (round != 1 && random() % 8 != 0))
				continue;
			if (is_in[at])
				lease_index_remove(index, &leases[at]);
			else
				lease_index_add(index, &leases[at]);
			count += is_in[at] ? (size_t)-1 : 1;
			is_in[at] = !is_in[at];
		}
		assert_int_equal(lease_index_count(index), count);
		check_against_list(index);
	}
	lease_index_free(index);
}

static void test_ascending_and_descending(void **state)
{
	(void)state;
	for (unsigned int descending = 0; descending < 2; descending++) {
		struct lease_index *index = lease_index_new(LEASE_INDEX_PUBLIC_IP);

		fill();
		for (size_t i = 0; i < LEASES; i++) {
			size_t at = descending ? LEASES - 1 - i : i;

			leases[at].attrs.public_ip = ip_v4(0x0a000000 + (uint32_t)at);
			lease_index_add(index, &leases[at]);
		}
		for (size_t i = 0; i < LEASES; i++)
			assert_ptr_equal(lease_index_equal(index, &leases[i].attrs.public_ip, 0),
					 &leases[i]);
		for (size_t i = 0; i < LEASES; i++)
			lease_index_remove(index, &leases[i]);
		assert_int_equal(lease_index_count(index), 0);
		assert_null(lease_index_at_or_before(index, &leases[LEASES - 1].attrs.public_ip));
		lease_index_free(index);
	}
}

static void test_without_the_key(void **state)
{
	struct lease_index *index = lease_index_new(LEASE_INDEX_V6);
	struct lease lease = { 0 };

	(void)state;
	lease_index_add(index, &lease);
	assert_int_equal(lease_index_count(index), 0);
	lease_index_remove(index, &lease);
	assert_int_equal(lease_index_count(index), 0);
	lease_index_free(index);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_like_a_list),
		cmocka_unit_test(test_ascending_and_descending),
		cmocka_unit_test(test_without_the_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
