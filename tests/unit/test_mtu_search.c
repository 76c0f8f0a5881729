// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the search for the MTU of a path, against paths that are made up.
#include "unit.h"

#include "io/loop.h"
#include "probe/mtu_search.h"

// What a search over a path of this MTU gives; loses every loss_of-th probe by chance (0: none). 0: nothing.
static unsigned int search_over(uint16_t floor, uint16_t ceiling, unsigned int mtu,
				unsigned int loss_of, unsigned int *ret_probes)
{
	struct mtu_search search;
	enum mtu_step step = MTU_ASK;

	*ret_probes = 0;
	mtu_search_begin(&search, floor, ceiling);
	while (step == MTU_ASK) {
		bool is_lost = loss_of > 0 && random_below(loss_of) == 0;

		check(search.size >= floor && search.size <= ceiling, "it asks for %u", search.size);
		check(++*ret_probes < 200, "it has no end for %u in %u to %u", mtu, floor, ceiling);
		step = mtu_search_step(&search, search.size <= mtu && !is_lost, false);
	}
	return step == MTU_FOUND ? search.good : 0;
}

static void test_every_mtu(void **state)
{
	unsigned int probes;

	(void)state;
	for (unsigned int mtu = 560; mtu <= 1510; mtu++) {
		unsigned int found = search_over(576, 1500, mtu, 0, &probes);

		check(found == (mtu < 576    ? 0
				: mtu > 1500 ? 1500
					     : mtu),
		      "%u reads as %u", mtu, found);
		check(mtu < 1500 || probes == 1, "%u takes %u", mtu, probes);
		check(probes <= 3 + 1 + 10 * MTU_TRIES + MTU_TRIES, "%u takes %u", mtu, probes);
	}
	assert_int_equal(search_over(1280, 1280, 1280, 0, &probes), 1280);
	assert_int_equal(search_over(1280, 1280, 1279, 0, &probes), 0);
	assert_int_equal(search_over(1280, 1281, 1280, 0, &probes), 1280);
	assert_int_equal(search_over(1, UINT16_MAX - 1, 40000, 0, &probes), 40000);
}

// A tenth of all packets is lost: without the last question for what was lost by chance one path in two hundred would read as narrower.
static void test_lossy_paths(void **state)
{
	enum { SEARCHES = 20000 };
	unsigned int wrong = 0, none = 0, probes;

	(void)state;
	for (int i = 0; i < SEARCHES; i++) {
		unsigned int found = search_over(576, 1500, 1400, 10, &probes);

		none += found == 0;
		wrong += found != 0 && found != 1400;
	}
	check(wrong < SEARCHES / 1000, "%u of %d are wrong", wrong, SEARCHES);
	check(none < SEARCHES / 200, "%u of %d find nothing", none, SEARCHES);
}

static void test_sure_loss(void **state)
{
	struct mtu_search search;

	(void)state;
	mtu_search_begin(&search, 576, 1500);
	assert_int_equal(search.size, 1500);
	assert_int_equal(mtu_search_step(&search, false, false), MTU_ASK);
	assert_int_equal(search.size, 1500);
	assert_int_equal(mtu_search_step(&search, false, true), MTU_ASK);
	assert_int_equal(search.size, 576);
	assert_int_equal(mtu_search_step(&search, true, false), MTU_ASK);
	assert_int_equal(search.size, 1038);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_mtu),
		cmocka_unit_test(test_lossy_paths),
		cmocka_unit_test(test_sure_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
