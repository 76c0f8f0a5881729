// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/err and core/text.
#include "unit.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

static void test_set(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(err_set(&e, -ENOENT, "no %s for %d", "route", 7), -ENOENT);
	assert_int_equal(e.code, -ENOENT);
	assert_string_equal(e.msg, "no route for 7");
	assert_string_equal(err_msg(&e), "no route for 7");
	assert_int_equal(err_set(NULL, -EPERM, "nobody reads this"), -EPERM);
}

static void test_set_with_its_own_text(void **state)
{
	struct err e = { 0 };

	(void)state;
	(void)err_set(&e, -EIO, "inner");
	(void)err_set(&e, -EINVAL, "outer (%s)", e.msg);
	assert_string_equal(e.msg, "outer (inner)");
}

static void test_wrap(void **state)
{
	struct err e = { 0 };

	(void)state;
	(void)err_set(&e, -ENOSPC, "no subnet is free");
	assert_int_equal(err_wrap(&e, "network %s", "blue"), -ENOSPC);
	assert_string_equal(e.msg, "network blue: no subnet is free");
	assert_int_equal(e.code, -ENOSPC);

	assert_int_equal(err_wrap(NULL, "context"), -EIO);

	// a code without a text, and nothing at all
	e = (struct err){ .code = -ENOENT };
	assert_int_equal(err_wrap(&e, "open"), -ENOENT);
	assert_string_equal(e.msg, "open: No such file or directory");
	e = (struct err){ 0 };
	assert_int_equal(err_wrap(&e, "open"), -EIO);
	assert_string_equal(e.msg, "open: Input/output error");
}

static void test_long_text_is_cut(void **state)
{
	struct err e = { 0 };
	char text[1000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	(void)err_set(&e, -EINVAL, "%s", text);
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
	(void)err_wrap(&e, "context");
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);
	assert_memory_equal(e.msg, "context: xxx", 12);
	(void)err_wrap(&e, "%s", text);
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 1);

	// never in the middle of a character
	for (size_t i = 0; i + 1 < sizeof(text) - 1; i += 2)
		memcpy(text + i, "\xc3\xa9", 2);
	(void)err_set(&e, -EINVAL, "%s", text);
	assert_int_equal(strlen(e.msg), ERR_MSG_MAX - 2);
	assert_int_equal(text_utf8_len(e.msg + strlen(e.msg) - 2, 2), 2);
}

static void test_hostile_text_is_cleaned(void **state)
{
	struct err e = { 0 };

	(void)state;
	(void)err_set(&e, -EINVAL,
		      "a\nb\x1b[31mc\x7f"
		      "d\xff"
		      "e\xc3\xa9\xc2\x9b");
	assert_string_equal(e.msg, "a?b?[31mc?d?e\xc3\xa9??");
	(void)err_wrap(&e, "x\ry");
	assert_string_equal(e.msg, "x?y: a?b?[31mc?d?e\xc3\xa9??");
}

static void test_msg_is_never_null(void **state)
{
	struct err e = { .code = -EPERM };

	(void)state;
	assert_string_equal(err_msg(&e), "Operation not permitted");
	e.code = 0;
	assert_string_equal(err_msg(&e), "no error");
	assert_string_equal(err_msg(NULL), "unknown error");
}

static void test_utf8(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		size_t want;
	} cases[] = {
		{ "a", 1, 1 },
		{ "", 0, 0 },
		{ "\xc2\x80", 2, 2 },
		{ "\xc3\xa9", 1, 0 }, // cut
		{ "\xc0\xaf", 2, 0 }, // overlong
		{ "\xc1\xbf", 2, 0 },
		{ "\xe2\x82\xac", 3, 3 },
		{ "\xe0\x80\xaf", 3, 0 }, // overlong
		{ "\xed\xa0\x80", 3, 0 }, // surrogate
		{ "\xed\xbf\xbf", 3, 0 },
		{ "\xee\x80\x80", 3, 3 },
		{ "\xf0\x9f\x98\x80", 4, 4 },
		{ "\xf0\x8f\xbf\xbf", 4, 0 }, // overlong
		{ "\xf4\x8f\xbf\xbf", 4, 4 },
		{ "\xf4\x90\x80\x80", 4, 0 }, // beyond Unicode
		{ "\xf8\x88\x80\x80\x80", 5, 0 },
		{ "\x80", 1, 0 },
		{ "\xe2\x28\xa1", 3, 0 },
		{ "\xff", 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(text_utf8_len(cases[i].text, cases[i].len) == cases[i].want, "case %zu", i);
}

static void test_excerpt(void **state)
{
	char long_text[] = "0123456789012345678901234567890123456789+";
	char buf[TEXT_EXCERPT_MAX];

	(void)state;
	assert_string_equal(text_excerpt("short", 5, buf), "short");
	assert_string_equal(text_excerpt(long_text, 40, buf),
			    "0123456789012345678901234567890123456789");
	assert_string_equal(text_excerpt(long_text, 41, buf),
			    "0123456789012345678901234567890123456789...");
	assert_string_equal(text_excerpt("a\0b\nc", 5, buf), "a?b?c");
	assert_string_equal(text_excerpt(NULL, 5, buf), "");
	// a character that the cut would split is left out whole
	long_text[39] = '\xc3';
	long_text[40] = '\xa9';
	assert_string_equal(text_excerpt(long_text, 41, buf),
			    "012345678901234567890123456789012345678...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_set_with_its_own_text),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_long_text_is_cut),
		cmocka_unit_test(test_hostile_text_is_cleaned),
		cmocka_unit_test(test_msg_is_never_null),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_excerpt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
