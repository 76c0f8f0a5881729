// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/mac.
#include "unit.h"

#include "core/mac.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

static void test_parse_and_print(void **state)
{
	struct mac mac, upper;
	char text[MAC_STR_MAX];

	(void)state;
	assert_int_equal(mac_parse("ee:07:00:a1:Bc:fF", &mac), 0);
	assert_string_equal(mac_str(&mac, text), "ee:07:00:a1:bc:ff");
	assert_int_equal(mac_parse("EE:07:00:A1:BC:FF", &upper), 0);
	assert_true(mac_equal(&mac, &upper));
	upper.bytes[5] ^= 1;
	assert_false(mac_equal(&mac, &upper));
}

static void test_refused(void **state)
{
	static const char *const cases[] = {
		"",
		"ee:07:00:a1:bc",
		"ee:07:00:a1:bc:ff:00",
		"ee:07:00:a1:bc:f",
		"ee:7:00:a1:bc:ff",
		"ee-07-00-a1-bc-ff",
		"ee0700a1bcff",
		"ee:07:00:a1:bc:fg",
		"ee:07:00:a1:bc:ff ",
		" ee:07:00:a1:bc:ff",
		"eee:07:00:a1:bc:ff",
		"ee:07:00:a1:bc:",
		":07:00:a1:bc:ff:00",
		"ee::07:00:a1:bc:ff",
		"ee:07:00:a1:bc:fff",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mac mac = { { 1, 2, 3, 4, 5, 6 } };

		check(mac_parse(cases[i], &mac) == -EINVAL, "\"%s\" was taken", cases[i]);
		assert_int_equal(mac.bytes[0], 1);
		assert_int_equal(mac.bytes[5], 6);
	}
}

static void test_usable(void **state)
{
	static const struct {
		const char *text;
		bool want;
	} cases[] = {
		{ "00:00:00:00:00:00", false }, { "ff:ff:ff:ff:ff:ff", false },
		{ "01:00:5e:00:00:01", false }, { "33:33:00:00:00:01", false },
		{ "00:00:00:00:00:01", true },	{ "02:00:00:00:00:00", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mac mac;

		assert_int_equal(mac_parse(cases[i].text, &mac), 0);
		check(mac_is_usable(&mac) == cases[i].want, "%s", cases[i].text);
	}
}

static void test_derive(void **state)
{
	struct mac first, again, other;
	char text[MAC_STR_MAX];

	(void)state;
	first = mac_derive("host-1", 6);
	again = mac_derive("host-1", 6);
	other = mac_derive("host-2", 6);
	assert_true(mac_equal(&first, &again));
	assert_false(mac_equal(&first, &other));
	// Published in the store: the same in every version.
	assert_string_equal(mac_str(&first, text), "de:86:90:6f:9c:17");
	for (unsigned int i = 0; i < 1000; i++) {
		struct mac mac = mac_derive(&i, sizeof(i));

		check(mac_is_usable(&mac) && (mac.bytes[0] & 0x03) == 0x02, "seed %u gives %s", i,
		      mac_str(&mac, text));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_print),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_usable),
		cmocka_unit_test(test_derive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
