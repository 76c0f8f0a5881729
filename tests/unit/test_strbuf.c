// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/strbuf.
#include "unit.h"

#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <string.h>

static void test_grows(void **state)
{
	_cleanup_strbuf_ struct strbuf buf = STRBUF_INIT(100000);
	char want[20001];

	(void)state;
	assert_string_equal(strbuf_text(&buf), "");
	for (int i = 0; i < 2000; i++) {
		assert_int_equal(strbuf_puts(&buf, "abc"), 0);
		assert_int_equal(strbuf_putc(&buf, '-'), 0);
		assert_int_equal(strbuf_printf(&buf, "%06d", i), 0);
		memcpy(want + 10 * i, "abc-", 4);
		(void)text_format(want + 10 * i + 4, 7, "%06d", i);
		assert_string_equal(strbuf_text(&buf), want);
	}
	assert_int_equal(buf.len, 20000);
	assert_int_equal(strbuf_add(&buf, "x\0y", 3), 0);
	assert_int_equal(buf.len, 20003);
	assert_memory_equal(buf.data + 20000, "x\0y", 4);
}

static void test_maximum_is_exact_and_sticky(void **state)
{
	_cleanup_strbuf_ struct strbuf buf = STRBUF_INIT(5);

	(void)state;
	assert_int_equal(strbuf_puts(&buf, "12345"), 0);
	assert_int_equal(strbuf_puts(&buf, ""), 0);
	assert_int_equal(strbuf_putc(&buf, '6'), -E2BIG);
	assert_string_equal(strbuf_text(&buf), "12345");
	assert_true(buf.overflow);
	strbuf_consume(&buf, 3);
	assert_int_equal(strbuf_putc(&buf, '6'), -E2BIG); // still
	strbuf_reset(&buf);
	assert_false(buf.overflow);
	assert_int_equal(strbuf_putc(&buf, '6'), 0);
	assert_string_equal(strbuf_text(&buf), "6");
}

static void test_printf_overflow_adds_nothing(void **state)
{
	_cleanup_strbuf_ struct strbuf buf = STRBUF_INIT(10);

	(void)state;
	assert_int_equal(strbuf_printf(&buf, "%s", "12345678901"), -E2BIG); // with no memory yet
	assert_string_equal(strbuf_text(&buf), "");
	strbuf_reset(&buf);
	assert_int_equal(strbuf_printf(&buf, "%s", "1234"), 0);
	assert_int_equal(strbuf_printf(&buf, "%s", "1234567"), -E2BIG);
	assert_string_equal(strbuf_text(&buf), "1234");
	assert_int_equal(strbuf_printf(&buf, "%s", "1"), -E2BIG);
	strbuf_reset(&buf);
	assert_int_equal(strbuf_printf(&buf, "%s", "1234567890"), 0);
	assert_string_equal(strbuf_text(&buf), "1234567890");
}

static void test_zero_maximum(void **state)
{
	_cleanup_strbuf_ struct strbuf buf = STRBUF_INIT(0);

	(void)state;
	assert_int_equal(strbuf_puts(&buf, ""), 0);
	assert_int_equal(strbuf_putc(&buf, 'x'), -E2BIG);
	assert_string_equal(strbuf_text(&buf), "");
}

static void test_consume(void **state)
{
	_cleanup_strbuf_ struct strbuf buf = STRBUF_INIT(100);

	(void)state;
	strbuf_consume(&buf, 5); // of nothing
	assert_int_equal(strbuf_puts(&buf, "hello world"), 0);
	strbuf_consume(&buf, 6);
	assert_string_equal(strbuf_text(&buf), "world");
	assert_int_equal(buf.len, 5);
	strbuf_consume(&buf, 0);
	assert_string_equal(strbuf_text(&buf), "world");
	strbuf_consume(&buf, 500);
	assert_string_equal(strbuf_text(&buf), "");
	assert_int_equal(buf.len, 0);
}

static void test_take_and_free(void **state)
{
	struct strbuf buf = STRBUF_INIT(100);
	_cleanup_free_ char *empty = strbuf_take(&buf);
	_cleanup_free_ char *text = NULL;

	(void)state;
	assert_string_equal(empty, "");
	assert_int_equal(strbuf_puts(&buf, "mine"), 0);
	text = strbuf_take(&buf);
	assert_string_equal(text, "mine");
	assert_string_equal(strbuf_text(&buf), "");
	assert_int_equal(strbuf_puts(&buf, "again"), 0);
	strbuf_free(&buf);
	assert_null(buf.data);
	assert_int_equal(buf.max, 100);
	assert_int_equal(strbuf_puts(&buf, "once more"), 0);
	assert_string_equal(strbuf_text(&buf), "once more");
	strbuf_free(&buf);
}

static void test_text(void **state)
{
	char text[5] = "????";

	(void)state;
	assert_int_equal(text_format(text, sizeof(text), "%d", 1234), 0);
	assert_string_equal(text, "1234");
	assert_int_equal(text_format(text, sizeof(text), "%d", 56789), -ENOSPC);
	assert_string_equal(text, "5678");
	assert_int_equal(text_format(NULL, 0, "x"), -ENOSPC);
	assert_int_equal(text_copy(text, sizeof(text), "abcd"), 0);
	assert_string_equal(text, "abcd");
	assert_int_equal(text_copy(text, sizeof(text), "vwxyz"), -ENOSPC);
	assert_string_equal(text, "vwxy");
	assert_int_equal(text_copy(text, 0, "x"), -ENOSPC);
	assert_string_equal(text, "vwxy");
	assert_int_equal(text_copy(text, 1, ""), 0);
	assert_string_equal(text, "");
}

static void test_hex(void **state)
{
	static const unsigned char bytes[] = { 0x00, 0x0f, 0xa0, 0xff };
	char text[2 * sizeof(bytes) + 2];

	(void)state;
	text[sizeof(text) - 1] = 'x';
	text_hex(text, bytes, sizeof(bytes));
	assert_string_equal(text, "000fa0ff");
	assert_int_equal(text[sizeof(text) - 1], 'x');
	text_hex(text, bytes, 0);
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grows),
		cmocka_unit_test(test_maximum_is_exact_and_sticky),
		cmocka_unit_test(test_printf_overflow_adds_nothing),
		cmocka_unit_test(test_zero_maximum),
		cmocka_unit_test(test_consume),
		cmocka_unit_test(test_take_and_free),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_hex),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
