// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of moments as text, against what Go and libc write.
#include "unit.h"

#include "core/mem.h"
#include "core/timestamp.h"

#include <errno.h>
#include <time.h>

static const struct {
	int64_t ms;
	const char *text;
} moments[] = {
	{ 0, "1970-01-01T00:00:00Z" },
	{ 1, "1970-01-01T00:00:00.001Z" },
	{ -1, "1969-12-31T23:59:59.999Z" },
	{ 1456790399500, "2016-02-29T23:59:59.5Z" },
	{ 1456790400120, "2016-03-01T00:00:00.12Z" },
	{ 951782400000, "2000-02-29T00:00:00Z" },
	{ -2203891200000, "1900-03-01T00:00:00Z" },
	{ 253402300799999, "9999-12-31T23:59:59.999Z" },
	{ TIMESTAMP_ZERO_MS, "0001-01-01T00:00:00Z" },
};

static void test_both_ways(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(moments); i++) {
		char text[TIMESTAMP_MAX];
		int64_t ms;

		timestamp_format(moments[i].ms, text);
		assert_string_equal(text, moments[i].text);
		check(timestamp_parse(text, &ms) == 0 && ms == moments[i].ms, "%s", text);
	}
}

static void test_as_libc_has_it(void **state)
{
	(void)state;
	for (int64_t s = -4000000000; s < 8000000000; s += 12345677) {
		char text[TIMESTAMP_MAX], wanted[TIMESTAMP_MAX];
		time_t time = s;
		struct tm tm;

		assert_non_null(gmtime_r(&time, &tm));
		assert_true(strftime(wanted, sizeof(wanted), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0);
		timestamp_format(s * 1000, text);
		assert_string_equal(text, wanted);
	}
}

static void test_parse(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {
		{ "2016-02-29T23:59:59.123456789Z", 1456790399123 },
		{ "2016-02-29T23:59:59+02:00", 1456783199000 },
		{ "2016-02-29T23:59:59.5-07:30", 1456817399500 },
	};
	static const char *const bad[] = {
		"",
		"2016",
		"2016-02-30T00:00:00Z",
		"2015-02-29T00:00:00Z",
		"2016-02-29 23:59:59Z",
		"2016-13-01T00:00:00Z",
		"2016-00-01T00:00:00Z",
		"0000-01-01T00:00:00Z",
		"2016-02-29T24:00:00Z",
		"2016-02-29T23:59:59",
		"2016-02-29T23:59:59.Z",
		"2016-02-29T23:59:59Zx",
		"2016-02-29T23:59:59+0200",
		"2016-02-29T23:59:59+24:00",
		"+016-02-29T23:59:59Z",
		"2016-2-29T23:59:59Z",
	};
	int64_t ms = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check(timestamp_parse(bad[i], &ms) == -EINVAL && ms == 7, "%s", bad[i]);
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		check(timestamp_parse(good[i].text, &ms) == 0 && ms == good[i].ms, "%s", good[i].text);
}

static void test_http(void **state)
{
	static const char *const bad[] = { "",
					   "Sun",
					   "Sun, 6 Nov 1994 08:49:37 GMT",
					   "Sunday, 06-Nov-94 08:49:37 GMT",
					   "Sun, 06 Nov 1994 08:49:37",
					   "Sun, 31 Nov 1994 08:49:37 GMT" };
	int64_t ms = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check(timestamp_parse_http(bad[i], &ms) == -EINVAL && ms == 7, "%s", bad[i]);
	assert_int_equal(timestamp_parse_http("Sun, 06 Nov 1994 08:49:37 GMT", &ms), 0);
	assert_int_equal(ms, 784111777000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_as_libc_has_it),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_http),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
