// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/base64.
#include "unit.h"

#include "core/base64.h"
#include "core/mem.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static void test_known(void **state)
{
	static const struct {
		const char *plain;
		const char *text;
	} cases[] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
		{ "\xff\xff\xfe", "///+" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].plain);
		_cleanup_free_ char *text = base64_encode_new(cases[i].plain, len);
		uint8_t plain[16];
		size_t plain_len = 99;

		assert_string_equal(text, cases[i].text);
		assert_int_equal(base64_encoded_len(len), strlen(cases[i].text));
		assert_int_equal(base64_decode(text, strlen(text), plain, &plain_len), 0);
		assert_int_equal(plain_len, len);
		assert_memory_equal(plain, cases[i].plain, len);
	}
}

static void test_every_byte_and_length(void **state)
{
	uint8_t data[256], back[256];
	char text[400];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 167 + 13);
	for (size_t len = 0; len <= sizeof(data); len++) {
		size_t back_len = 0;

		base64_encode(data, len, text);
		assert_int_equal(strlen(text), base64_encoded_len(len));
		assert_int_equal(base64_decode(text, strlen(text), back, &back_len), 0);
		assert_int_equal(back_len, len);
		assert_memory_equal(back, data, len);
	}
}

static void test_refused(void **state)
{
	static const char *const cases[] = {
		"Z",	    "Zg",	"Zg=",	    "Zg===",
		"====",	    "=g==",	"Z===",	    "Zh==",
		"Zm9=",	    "Zm9v\n",	" Zg=",	    "Zm9vZg",
		"Zg==Zm9v", "Zm9vZ===", "Zm-_",	    "Zm9v\xff\xff\xff\xff",
		"Z=9v",	    "Zg=v",	"Zm9!YmFy",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t plain[32];
		size_t len = 77;

		check(base64_decode(cases[i], strlen(cases[i]), plain, &len) == -EINVAL,
		      "\"%s\" was taken", cases[i]);
		assert_int_equal(len, 77);
	}
}

static void test_incomplete_group_refused(void **state)
{
	(void)state;
	for (size_t len = 1; len < 12; len++) {
		uint8_t plain[12];
		size_t plain_len;

		assert_int_equal(base64_decode("AAAAAAAAAAAA", len, plain, &plain_len),
				 len % 4 == 0 ? 0 : -EINVAL);
	}
}

static void test_every_foreign_byte_refused(void **state)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	(void)state;
	for (int c = 0; c < 256; c++) {
		bool in = c != 0 && strchr(alphabet, c) != NULL;

		for (size_t at = 0; at < 8; at++) {
			char text[] = "AAAAAAAA";
			uint8_t plain[8];
			size_t len;

			text[at] = (char)c;
			check((base64_decode(text, 8, plain, &len) == 0) ==
				      (in || (at == 7 && c == '=')),
			      "byte 0x%02x at %zu", (unsigned int)c, at);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_every_byte_and_length),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_incomplete_group_refused),
		cmocka_unit_test(test_every_foreign_byte_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
