// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of udp/outer: which kernels are worked around.
#include "unit.h"

#include "core/mem.h"
#include "udp/outer.h"

static void test_kernels_that_spoil_equal_trains(void **state)
{
	(void)state;
	static const struct {
		const char *release;
		bool spoils;
	} cases[] = {
		{ "6.18.44", false },	   { "7.0.0", true },
		{ "7.0", true },	   { "7.0.12-arch1", true },
		{ "7.1.0", true },	   { "7.1", true },
		{ "7.1-rc3", true },	   { "7.1.4", true },
		{ "7.1.4-1-amd64", true }, { "7.1.5", false },
		{ "7.1.40", false },	   { "7.2.1", false },
		{ "7.10.1", false },	   { "7.01.1", false },
		{ "17.0.1", false },	   { "", false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(outer_spoils_equal_trains(cases[i].release) == cases[i].spoils, "%s",
		      cases[i].release);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kernels_that_spoil_equal_trains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
