// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/lease_set, against a plain array as the model.
#include "unit.h"

#include "core/lease_set.h"
#include "core/mem.h"

#include <malloc.h>
#include <string.h>

static struct subnet subnet_number(unsigned int i)
{
	struct ip addr = ip_v4(0x0a000000 + (i << 8));

	return (struct subnet){ .v4 = ipnet_of(&addr, 24) };
}

static struct lease lease_number(unsigned int i)
{
	struct lease lease = { .subnet = subnet_number(i), .mod_revision = i };

	lease.attrs.public_ip = ip_v4(0xc0000000 + i);
	lease.attrs.backend_data = xasprintf("{\"n\":%u}", i);
	return lease;
}

static struct lease_set *set_of(unsigned int count)
{
	struct lease_set *set = lease_set_new();

	for (unsigned int i = 0; i < count; i++) {
		struct lease lease = lease_number(i);

		(void)lease_set_put(set, &lease);
	}
	return set;
}

static void test_put_find_remove(void **state)
{
	_cleanup_(lease_set_freep) struct lease_set *set = lease_set_new();
	static const struct lease zero;
	struct subnet subnet = subnet_number(3);
	struct lease lease = lease_number(3), *stored;

	(void)state;
	assert_int_equal(lease_set_count(set), 0);
	assert_null(lease_set_find(set, &subnet));
	assert_false(lease_set_remove(set, &subnet));

	stored = lease_set_put(set, &lease);
	assert_memory_equal(&lease, &zero, sizeof(zero)); // taken over
	assert_ptr_equal(lease_set_find(set, &subnet), stored);
	assert_string_equal(stored->attrs.backend_data, "{\"n\":3}");
	assert_int_equal(lease_set_count(set), 1);

	lease = lease_number(3);
	lease.mod_revision = 77;
	stored = lease_set_put(set, &lease); // replaced
	assert_int_equal(stored->mod_revision, 77);
	assert_int_equal(lease_set_count(set), 1);
	assert_ptr_equal(lease_set_find(set, &subnet), stored);
	assert_ptr_equal(lease_set_put(set, stored), stored); // itself: nothing happens
	assert_string_equal(stored->attrs.backend_data, "{\"n\":3}");

	assert_true(lease_set_remove(set, &stored->subnet)); // its own key goes with it
	assert_null(lease_set_find(set, &subnet));
	assert_false(lease_set_remove(set, &subnet));
	assert_int_equal(lease_set_count(set), 0);
	assert_null(lease_set_free(NULL));
}

static void test_pointers_stay(void **state)
{
	_cleanup_(lease_set_freep) struct lease_set *set = set_of(1);
	struct subnet subnet = subnet_number(0);
	struct lease *first = lease_set_find(set, &subnet);

	(void)state;
	for (unsigned int i = 1; i < 5000; i++) {
		struct lease lease = lease_number(i);

		(void)lease_set_put(set, &lease);
	}
	assert_ptr_equal(lease_set_find(set, &subnet), first);
	assert_string_equal(first->attrs.backend_data, "{\"n\":0}");
}

// A fixed pseudo-random walk over 300 subnets; after each step the set is what the array says.
static void test_against_model(void **state)
{
	_cleanup_(lease_set_freep) struct lease_set *set = lease_set_new();
	enum { SUBNETS = 300, STEPS = 20000 };
	int64_t model[SUBNETS];
	uint32_t random = 1;
	size_t count = 0;

	(void)state;
	for (size_t i = 0; i < SUBNETS; i++)
		model[i] = -1;
	for (unsigned int step = 0; step < STEPS; step++) {
		unsigned int i;
		struct subnet subnet;

		random = random * 1664525 + 1013904223;
		i = (random >> 8) % SUBNETS;
		subnet = subnet_number(i);
		// phases of mostly putting and mostly removing
		if ((random >> 28) < (step / 2000 % 2 == 0 ? 11U : 4U)) {
			struct lease lease = lease_number(i);

			lease.mod_revision = step;
			(void)lease_set_put(set, &lease);
			count += model[i] < 0;
			model[i] = step;
		} else {
			assert_int_equal(lease_set_remove(set, &subnet), model[i] >= 0);
			count -= model[i] >= 0;
			model[i] = -1;
		}
		assert_int_equal(lease_set_count(set), count);
		for (i = 0; step % 100 == 0 && i < SUBNETS; i++) {
			const struct lease *lease;

			subnet = subnet_number(i);
			lease = lease_set_find(set, &subnet);
			assert_int_equal(lease != NULL, model[i] >= 0);
			if (lease)
				assert_int_equal(lease->mod_revision, model[i]);
		}
	}
}

static void test_walk_sees_each_once(void **state)
{
	_cleanup_(lease_set_freep) struct lease_set *set = set_of(1000);
	bool seen[1000] = { false };
	size_t position = 0, count = 0;
	struct lease *lease;

	(void)state;
	while ((lease = lease_set_next(set, &position))) {
		assert_false(seen[lease->mod_revision]);
		seen[lease->mod_revision] = true;
		count++;
	}
	assert_int_equal(count, 1000);
	assert_null(lease_set_next(set, &position)); // and stays at the end
}

static void test_walk_may_remove(void **state)
{
	_cleanup_(lease_set_freep) struct lease_set *set = set_of(1000);
	bool seen[1000] = { false };
	size_t position = 0, count = 0;
	struct lease *lease;

	(void)state;
	while ((lease = lease_set_next(set, &position))) {
		assert_false(seen[lease->mod_revision]);
		seen[lease->mod_revision] = true;
		count++;
		if (lease->mod_revision % 3 != 0)
			assert_true(lease_set_remove(set, &lease->subnet));
	}
	assert_int_equal(count, 1000);
	assert_int_equal(lease_set_count(set), 334);
	for (unsigned int i = 0; i < 1000; i++) {
		struct subnet subnet = subnet_number(i);

		assert_int_equal(lease_set_find(set, &subnet) != NULL, i % 3 == 0);
	}
	for (position = 0, count = 0; lease_set_next(set, &position); count++)
		;
	assert_int_equal(count, 334); // what was removed does not come back
}

static void test_empty_walk(void **state)
{
	_cleanup_(lease_set_freep) struct lease_set *set = lease_set_new();
	struct subnet subnet = subnet_number(1);
	struct ip ip = ip_v4(1);
	size_t position = 0;

	(void)state;
	assert_null(lease_set_next(set, &position));
	assert_null(lease_set_find_overlap(set, &subnet));
	assert_null(lease_set_find_public_ip(set, &ip));
}

// The mark of a removed lease is not a lease of the empty subnet. Where it lies is chance: 64 tries.
static void test_removed_is_not_empty(void **state)
{
	const struct subnet empty = { 0 };

	(void)state;
	for (unsigned int try = 0; try < 64; try++) {
		_cleanup_(lease_set_freep) struct lease_set *set = lease_set_new();

		for (unsigned int i = 0; i < 11; i++) {
			struct lease lease = lease_number(try * 11 + i);

			(void)lease_set_put(set, &lease);
		}
		for (unsigned int i = 0; i < 11; i++) {
			struct subnet subnet = subnet_number(try * 11 + i);

			assert_true(lease_set_remove(set, &subnet));
		}
		assert_null(lease_set_find(set, &empty));
	}
}

static void test_find_overlap(void **state)
{
	_cleanup_(lease_set_freep) struct lease_set *set = set_of(100);
	struct subnet subnet = subnet_number(100);
	const struct lease *found;

	(void)state;
	assert_null(lease_set_find_overlap(set, &subnet));
	assert_int_equal(ipnet_parse("10.0.50.128/25", &subnet.v4), 0);
	found = lease_set_find_overlap(set, &subnet);
	assert_non_null(found);
	assert_int_equal(found->mod_revision, 50);
}

static void test_find_public_ip(void **state)
{
	_cleanup_(lease_set_freep) struct lease_set *set = set_of(500);
	struct ip wanted = ip_v4(0xc0000000 + 77), none = { 0 }, v6;
	struct subnet subnet_0;
	const struct lease *found;

	(void)state;
	found = lease_set_find_public_ip(set, &wanted);
	assert_non_null(found);
	assert_int_equal(found->mod_revision, 77);

	// of several the first in subnet order, whatever the order in the table
	for (unsigned int i = 499; i >= 100; i--) {
		struct subnet subnet = subnet_number(i);

		lease_set_find(set, &subnet)->attrs.public_ip = ip_v4(42);
		wanted = ip_v4(42);
		found = lease_set_find_public_ip(set, &wanted);
		assert_int_equal(found->mod_revision, i);
	}

	assert_int_equal(ip_parse("fd99::2", &v6), 0);
	assert_null(lease_set_find_public_ip(set, &v6));
	for (unsigned int i = 9; i >= 8; i--) {
		struct subnet subnet = subnet_number(i);

		lease_set_find(set, &subnet)->attrs.public_ipv6 = v6;
	}
	found = lease_set_find_public_ip(set, &v6);
	assert_non_null(found);
	assert_int_equal(found->mod_revision, 8);
	// most have no IPv6 and one has no IPv4: none is not an address to be found by
	subnet_0 = subnet_number(0);
	lease_set_find(set, &subnet_0)->attrs.public_ip = none;
	assert_null(lease_set_find_public_ip(set, &none));
}

// The agent promises less than 500 bytes a peer, of which this is the larger part.
static void test_memory_per_lease(void **state)
{
#if !defined(__SANITIZE_ADDRESS__)
	size_t before = mallinfo2().uordblks;
	_cleanup_(lease_set_freep) struct lease_set *set = lease_set_new();

	for (unsigned int i = 0; i < 10000; i++) {
		struct lease lease = lease_number(i);

		free(lease.attrs.backend_data);
		lease.attrs.backend_data = xstrdup("{\"VNI\":12345,\"VtepMAC\":\"aa:bb:cc:dd:ee:ff\"}");
		(void)lease_set_put(set, &lease);
	}
	check((mallinfo2().uordblks - before) / 10000 <= 260, "%zu bytes a lease",
	      (mallinfo2().uordblks - before) / 10000);
#endif
	(void)state;
}

// A set that breathes must not grow.
static void test_churn_does_not_grow(void **state)
{
#if !defined(__SANITIZE_ADDRESS__)
	_cleanup_(lease_set_freep) struct lease_set *set = set_of(100);
	size_t after_warm_up = 0;

	for (unsigned int i = 100; i < 100000; i++) {
		struct lease lease = lease_number(i % 60000);
		struct subnet old = subnet_number((i - 100) % 60000);

		assert_true(lease_set_remove(set, &old));
		(void)lease_set_put(set, &lease);
		if (i == 20000)
			after_warm_up = mallinfo2().uordblks;
	}
	assert_int_equal(lease_set_count(set), 100);
	check(mallinfo2().uordblks <= after_warm_up + 8192, "grew from %zu to %zu", after_warm_up,
	      mallinfo2().uordblks);
#endif
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put_find_remove),
		cmocka_unit_test(test_pointers_stay),
		cmocka_unit_test(test_against_model),
		cmocka_unit_test(test_walk_sees_each_once),
		cmocka_unit_test(test_walk_may_remove),
		cmocka_unit_test(test_empty_walk),
		cmocka_unit_test(test_removed_is_not_empty),
		cmocka_unit_test(test_find_overlap),
		cmocka_unit_test(test_find_public_ip),
		cmocka_unit_test(test_memory_per_lease),
		cmocka_unit_test(test_churn_does_not_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
