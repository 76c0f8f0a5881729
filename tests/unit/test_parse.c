// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/parse.
#include "unit.h"

#include "core/mem.h"
#include "core/parse.h"

#include <errno.h>
#include <string.h>

static void test_cursor(void **state)
{
	const char *text = "ab=12,ffz", *p = text;
	uint64_t value = 0;

	(void)state;
	assert_false(parse_literal(&p, "abc"));
	assert_false(parse_char(&p, 'b'));
	assert_false(parse_char(&p, '\0'));
	assert_ptr_equal(p, text);
	assert_true(parse_literal(&p, "ab"));
	assert_true(parse_char(&p, '='));
	assert_false(parse_u64(&p, 11, &value)); // too large: nothing moves
	assert_string_equal(p, "12,ffz");
	assert_int_equal(value, 0);
	assert_true(parse_u64(&p, 12, &value));
	assert_int_equal(value, 12);
	assert_false(parse_u64(&p, 99, &value));
	assert_true(parse_char(&p, ','));
	assert_false(parse_hex(&p, 1, &value)); // more digits than wanted
	assert_string_equal(p, "ffz");
	assert_true(parse_hex(&p, 2, &value));
	assert_int_equal(value, 0xff);
	assert_false(parse_hex(&p, 2, &value));
	assert_false(parse_end(p));
	assert_true(parse_char(&p, 'z'));
	assert_true(parse_end(p));
	assert_false(parse_char(&p, '\0')); // never past the end
	assert_true(parse_end(p));
}

static void test_hex_width(void **state)
{
	const char *p = "ffffffffffffffff";
	const char *long_one = "10000000000000000";
	uint64_t value = 1;

	(void)state;
	assert_true(parse_hex(&p, 99, &value));
	assert_true(value == UINT64_MAX);
	assert_false(parse_hex(&long_one, 99, &value));
	assert_true(value == UINT64_MAX);
}

static void test_whole_u64(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		int r;
		uint64_t want;
	} cases[] = {
		{ "0", 0, 0, 0 },
		{ "00012", 12, 0, 12 },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999", UINT64_MAX, -ERANGE, 0 },
		{ "65536", 65535, -ERANGE, 0 },
		{ "", 9, -EINVAL, 0 },
		{ "+1", 9, -EINVAL, 0 },
		{ "-1", 9, -EINVAL, 0 },
		{ " 1", 9, -EINVAL, 0 },
		{ "1 ", 9, -EINVAL, 0 },
		{ "0x1", 9, -EINVAL, 0 },
		{ "99999999999999999999999z", UINT64_MAX, -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 4711;

		check(parse_whole_u64(cases[i].text, cases[i].max, &value) == cases[i].r, "\"%s\"",
		      cases[i].text);
		check(value == (cases[i].r == 0 ? cases[i].want : 4711), "\"%s\"", cases[i].text);
	}
}

static void test_whole_i64(void **state)
{
	static const struct {
		const char *text;
		int r;
		int64_t want;
	} cases[] = {
		{ "0", 0, 0 },
		{ "-0", 0, 0 },
		{ "-1", 0, -1 },
		{ "9223372036854775807", 0, INT64_MAX },
		{ "9223372036854775808", -ERANGE, 0 },
		{ "-9223372036854775808", 0, INT64_MIN },
		{ "-9223372036854775809", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "-", -EINVAL, 0 },
		{ "--1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t value = 4711;

		check(parse_whole_i64(cases[i].text, &value) == cases[i].r, "\"%s\"", cases[i].text);
		check(value == (cases[i].r == 0 ? cases[i].want : 4711), "\"%s\"", cases[i].text);
	}
}

// Each accepted and refused form is what Go's strconv.ParseInt(s, 0, 64) says.
static void test_go_int(void **state)
{
	static const struct {
		const char *text;
		int r;
		int64_t want;
	} cases[] = {
		{ "0", 0, 0 },
		{ "60", 0, 60 },
		{ "+60", 0, 60 },
		{ "-60", 0, -60 },
		{ "0x3c", 0, 60 },
		{ "0X3C", 0, 60 },
		{ "-0x3c", 0, -60 },
		{ "074", 0, 60 },
		{ "0o74", 0, 60 },
		{ "0O74", 0, 60 },
		{ "0b111100", 0, 60 },
		{ "0B11", 0, 3 },
		{ "1_000", 0, 1000 },
		{ "0x_3c", 0, 60 },
		{ "0_74", 0, 60 },
		{ "00", 0, 0 },
		{ "0_0", 0, 0 },
		{ "1_0_0", 0, 100 },
		{ "9223372036854775807", 0, INT64_MAX },
		{ "-9223372036854775808", 0, INT64_MIN },
		{ "0x7fffffffffffffff", 0, INT64_MAX },
		{ "9223372036854775808", -ERANGE, 0 },
		{ "-9223372036854775809", -ERANGE, 0 },
		{ "0x10000000000000000", -ERANGE, 0 },
		{ "99999999999999999999", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "+", -EINVAL, 0 },
		{ "-", -EINVAL, 0 },
		{ "0x", -EINVAL, 0 },
		{ "0b", -EINVAL, 0 },
		{ "0x_", -EINVAL, 0 },
		{ "_1", -EINVAL, 0 },
		{ "1_", -EINVAL, 0 },
		{ "1__0", -EINVAL, 0 },
		{ "0x1_", -EINVAL, 0 },
		{ "08", -EINVAL, 0 },
		{ "0o8", -EINVAL, 0 },
		{ "0b2", -EINVAL, 0 },
		{ "0xg", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1.5", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
		{ "--1", -EINVAL, 0 },
		{ "+-1", -EINVAL, 0 },
		{ "0-1", -EINVAL, 0 },
		{ "a", -EINVAL, 0 },
		{ "0_x1", -EINVAL, 0 },
		{ "99999999999999999999z", -EINVAL, 0 },
	};
	int64_t value;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		value = 4711;
		check(parse_go_int(cases[i].text, INT64_MIN, INT64_MAX, &value) == cases[i].r,
		      "\"%s\"", cases[i].text);
		check(value == (cases[i].r == 0 ? cases[i].want : 4711), "\"%s\"", cases[i].text);
	}
	value = 4711;
	assert_int_equal(parse_go_int("1440", 1, 1439, &value), -ERANGE);
	assert_int_equal(parse_go_int("0", 1, 1439, &value), -ERANGE);
	assert_int_equal(value, 4711);
	assert_int_equal(parse_go_int("1439", 1, 1439, &value), 0);
	assert_int_equal(parse_go_int("1", 1, 1439, &value), 0);
}

static void test_go_bool(void **state)
{
	static const char *const yes[] = { "1", "t", "T", "TRUE", "true", "True" };
	static const char *const no[] = { "0", "f", "F", "FALSE", "false", "False" };
	static const char *const neither[] = { "",  "yes",   "tRUE", "TRue", "on",
					       "2", "true ", " 1",   "00" };
	bool value;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		value = false;
		check(parse_go_bool(yes[i], &value) == 0 && value, "%s", yes[i]);
		value = true;
		check(parse_go_bool(no[i], &value) == 0 && !value, "%s", no[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(neither); i++) {
		value = true;
		check(parse_go_bool(neither[i], &value) == -EINVAL && value, "\"%s\"", neither[i]);
	}
}

static void test_go_duration(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t want_ms;
	} cases[] = {
		{ "0", 0, 0 },
		{ "+0", 0, 0 },
		{ "3s", 0, 3000 },
		{ "+3s", 0, 3000 },
		{ "250ms", 0, 250 },
		{ "1h30m", 0, 5400000 },
		{ "1.5h", 0, 5400000 },
		{ ".5s", 0, 500 },
		{ "1.s", 0, 1000 },
		{ "1m2s3ms", 0, 62003 },
		{ "2s1h", 0, 3602000 },
		{ "0s", 0, 0 },
		{ "1us", 0, 1 },
		{ "1ns", 0, 1 }, // up, so that it stays more than nothing
		{ "1000001ns", 0, 2 },
		{ "1500\xc2\xb5s", 0, 2 },
		{ "1000\xce\xbcs", 0, 1 },
		{ "0.12345678901234567890123h", 0, 444445 },
		{ "2562047h47m16s854ms", 0, 9223372036854 },
		{ "2562047h47m16s855ms", -ERANGE, 0 },
		{ "9223372037s", -ERANGE, 0 },
		{ "36028797018963968s", -ERANGE, 0 }, // 0 in 64 bits of nanoseconds
		{ "99999999999999999999s", -ERANGE, 0 },
		{ "9223372036854775807h", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "+", -EINVAL, 0 },
		{ "3", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ ".s", -EINVAL, 0 },
		{ "3x", -EINVAL, 0 },
		{ "3 s", -EINVAL, 0 },
		{ "3s ", -EINVAL, 0 },
		{ "-3s", -EINVAL, 0 },
		{ "3S", -EINVAL, 0 },
		{ "3d", -EINVAL, 0 },
		{ "1s2", -EINVAL, 0 },
		{ "1.2.3s", -EINVAL, 0 },
		{ "00", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 4711;

		check(parse_go_duration_ms(cases[i].text, &value) == cases[i].r, "\"%s\"",
		      cases[i].text);
		check(value == (cases[i].r == 0 ? cases[i].want_ms : 4711), "\"%s\" gives %llu",
		      cases[i].text, (unsigned long long)value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cursor),	    cmocka_unit_test(test_hex_width),
		cmocka_unit_test(test_whole_u64),   cmocka_unit_test(test_whole_i64),
		cmocka_unit_test(test_go_int),	    cmocka_unit_test(test_go_bool),
		cmocka_unit_test(test_go_duration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
