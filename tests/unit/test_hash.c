// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/hash.
#include "unit.h"

#include "core/hash.h"
#include "core/mem.h"

#include <string.h>

// The key and messages of the SipHash paper's appendix: bytes 0, 1, 2, ...; the 15-byte value is the paper's own.
static void test_siphash_vectors(void **state)
{
	static const struct {
		size_t len;
		uint64_t want;
	} cases[] = {
		{ 0, 0x726fdb47dd0e0e31 }, { 1, 0x74f839c593dc67fd },  { 7, 0xab0200f58b01d137 },
		{ 8, 0x93f5f5799a932462 }, { 15, 0xa129ca6149be45e5 }, { 63, 0x958a324ceb064572 },
	};
	static const uint64_t key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
	uint8_t data[64];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)i;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(hash_siphash(key, data, cases[i].len) == cases[i].want, "length %zu",
		      cases[i].len);
}

// Subnets are chosen and MACs derived from these: they may never change.
static void test_stable_is_for_ever(void **state)
{
	(void)state;
	assert_true(hash_stable("", 0) == 0xefd01f60ba992926);
	assert_true(hash_stable("10.1.2.3", 8) == 0xf63927748f535d54);
	assert_true(hash_stable("10.1.2.4", 8) == 0x41fa0eef256b2486);
}

static void test_stable_spreads_neighbours(void **state)
{
	unsigned int buckets[64] = { 0 };

	(void)state;
	// 6,400 consecutive IPv4 addresses over 64 buckets: 100 each, standard deviation 10.
	for (unsigned int i = 0; i < 6400; i++) {
		uint8_t addr[4] = { 10, 1, (uint8_t)(i >> 8), (uint8_t)i };

		buckets[hash_stable(addr, 4) % 64]++;
	}
	for (size_t i = 0; i < 64; i++)
		check(buckets[i] > 50 && buckets[i] < 150, "bucket %zu has %u", i, buckets[i]);
}

static void test_bytes_is_one_function(void **state)
{
	(void)state;
	assert_true(hash_bytes("abc", 3) == hash_bytes("abc", 3));
	assert_true(hash_bytes("abc", 3) != hash_bytes("abd", 3));
	assert_true(hash_bytes("abc", 3) != hash_bytes("abc", 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_siphash_vectors),
		cmocka_unit_test(test_stable_is_for_ever),
		cmocka_unit_test(test_stable_spreads_neighbours),
		cmocka_unit_test(test_bytes_is_one_function),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
