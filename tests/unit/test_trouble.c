// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the list of peers that are not as they should be.
#include "reconcile/trouble.h"
#include "unit.h"

#include "core/mem.h"

#include <malloc.h>
#include <string.h>

#define MANY 3000

static struct subnet subnet(unsigned int i)
{
	return (struct subnet){ .v4 = { .addr = ip_v4(0x0a000000 + (i << 8)), .len = 24 },
				.v6 = { .addr = { .family = AF_INET6,
						  .bytes = { 0xfd, 0, (uint8_t)(i >> 8), (uint8_t)i } },
					.len = 64 } };
}

static bool failed(struct trouble *trouble, unsigned int i, const char *text, uint64_t now_ms)
{
	struct subnet it = subnet(i);
	return trouble_failed(trouble, &it, text, now_ms);
}

static const struct trouble_entry *find(struct trouble *trouble, unsigned int i)
{
	struct subnet it = subnet(i);
	return trouble_find(trouble, &it);
}

static void clear(struct trouble *trouble, unsigned int i)
{
	struct subnet it = subnet(i);
	trouble_clear(trouble, &it);
}

static void test_back_off(void **state)
{
	static const unsigned int delays[] = { 1000,  2000,  4000,  8000, 16000,
					       32000, 60000, 60000, 60000 };
	(void)state;
	struct trouble *trouble = trouble_new();
	assert_true(trouble_next_retry_ms(trouble) == UINT64_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(delays); i++) {
		assert_int_equal(failed(trouble, 1, "no", 5000), i == 0); // news once
		assert_int_equal(find(trouble, 1)->retry_at_ms, 5000 + delays[i]);
		assert_int_equal(find(trouble, 1)->attempts, i + 1);
	}
	assert_true(failed(trouble, 1, "another reason", 5000));
	assert_string_equal(find(trouble, 1)->text, "another reason");
	failed(trouble, 2, "no", 100);
	assert_int_equal(trouble_next_retry_ms(trouble), 1100);
	clear(trouble, 2);
	assert_int_equal(trouble_next_retry_ms(trouble), 65000);
	// Fine in between: it begins anew.
	clear(trouble, 1);
	clear(trouble, 1);
	assert_null(find(trouble, 1));
	assert_true(failed(trouble, 1, "no", 0));
	assert_int_equal(find(trouble, 1)->retry_at_ms, 1000);
	trouble_free(trouble);
}

static void test_refused(void **state)
{
	(void)state;
	struct trouble *trouble = trouble_new();
	struct subnet one = subnet(1);
	assert_true(trouble_refused(trouble, &one, "not here", 5000));
	assert_false(trouble_refused(trouble, &one, "not here", 5000));
	assert_true(find(trouble, 1)->refused);
	assert_int_equal(find(trouble, 1)->retry_at_ms, 7000);
	failed(trouble, 1, "not here", 5000); // now the kernel says so
	assert_false(find(trouble, 1)->refused);
	trouble_refused(trouble, &one, "not here", 5000);
	assert_true(trouble_ignored(trouble, &one, "not for us"));
	assert_false(find(trouble, 1)->refused);
	trouble_refused(trouble, &one, "not here", 5000);
	assert_false(find(trouble, 1)->ignored);
	trouble_free(trouble);
}

static void test_ignored(void **state)
{
	(void)state;
	struct trouble *trouble = trouble_new();
	struct subnet one = subnet(1);
	failed(trouble, 2, "no", 0);
	assert_true(trouble_ignored(trouble, &one, "not for us"));
	assert_false(trouble_ignored(trouble, &one, "not for us"));
	assert_int_equal(trouble_count(trouble, true), 1);
	assert_int_equal(trouble_count(trouble, false), 1);
	clear(trouble, 2);
	assert_true(trouble_next_retry_ms(trouble) == UINT64_MAX); // nothing to retry
	assert_true(failed(trouble, 1, "now for us, but", 0));
	assert_int_equal(trouble_count(trouble, true), 0);
	assert_int_equal(find(trouble, 1)->attempts, 1);
	trouble_free(trouble);
}

static void test_a_long_text_is_cut(void **state)
{
	char text[2 * TROUBLE_TEXT_MAX];
	(void)state;
	struct trouble *trouble = trouble_new();
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_true(failed(trouble, 1, text, 0));
	assert_int_equal(strlen(find(trouble, 1)->text), TROUBLE_TEXT_MAX - 1);
	assert_false(failed(trouble, 1, text, 0)); // no news every time
	trouble_free(trouble);
}

static void test_early_retries(void **state)
{
	(void)state;
	struct trouble *trouble = trouble_new();
	struct subnet ignored = subnet(4), third = subnet(3);
	assert_false(trouble_retry_first_failures(trouble, 7));
	assert_false(trouble_retry_route(trouble, &third.v4, 7));
	failed(trouble, 1, "no", 0);
	failed(trouble, 2, "no", 0);
	failed(trouble, 2, "no", 0);
	failed(trouble, 3, "no", 0);
	failed(trouble, 3, "no", 0);
	trouble_ignored(trouble, &ignored, "no");
	assert_true(trouble_retry_first_failures(trouble, 7));
	assert_int_equal(find(trouble, 1)->retry_at_ms, 7);
	assert_int_equal(find(trouble, 2)->retry_at_ms, 2000);
	assert_true(find(trouble, 4)->retry_at_ms == UINT64_MAX);
	assert_true(trouble_retry_route(trouble, &third.v6, 8));
	assert_int_equal(find(trouble, 3)->retry_at_ms, 8);
	assert_int_equal(find(trouble, 2)->retry_at_ms, 2000);
	assert_false(trouble_retry_route(trouble, &ignored.v4, 9));
	trouble_free(trouble);
}

static void expect_every(struct trouble *trouble, unsigned int count, bool (*is_there)(unsigned int))
{
	size_t position = 0, there = 0;
	for (unsigned int i = 0; i < count; i++) {
		const struct trouble_entry *entry = find(trouble, i);
		check((entry != NULL) == is_there(i), "%u", i);
		there += entry != NULL;
		if (entry)
			assert_int_equal(entry->retry_at_ms, 1000 + i);
	}
	assert_int_equal(trouble_count(trouble, false), there);
	while (trouble_next(trouble, &position))
		there--;
	assert_int_equal(there, 0);
}

static bool all(unsigned int i)
{
	(void)i;
	return true;
}

static bool no_thirds(unsigned int i)
{
	return i % 3 != 0;
}

static bool few(unsigned int i)
{
	return i % 3 != 0 && i > MANY - 10;
}

static bool none(unsigned int i)
{
	(void)i;
	return false;
}

static size_t allocated_bytes(void)
{
	struct mallinfo2 info = mallinfo2();
	return info.uordblks + info.hblkhd;
}

static void test_many_come_and_go(void **state)
{
	(void)state;
	struct trouble *trouble = trouble_new();
	size_t before = allocated_bytes();
	for (int round = 0; round < 2; round++) {
		for (unsigned int i = 0; i < MANY; i++)
			failed(trouble, i, "no", i);
		expect_every(trouble, MANY, all);
		for (unsigned int i = 0; i < MANY; i += 3)
			clear(trouble, i);
		expect_every(trouble, MANY, no_thirds);
		for (unsigned int i = 0; i <= MANY - 10; i++)
			clear(trouble, i);
		expect_every(trouble, MANY, few);
		for (unsigned int i = MANY; i-- > 0;)
			clear(trouble, i);
		expect_every(trouble, MANY, none);
		assert_in_range(allocated_bytes() - before, 0, 16 * 1024);
	}
	trouble_free(trouble);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_back_off),      cmocka_unit_test(test_ignored),
		cmocka_unit_test(test_refused),	      cmocka_unit_test(test_a_long_text_is_cut),
		cmocka_unit_test(test_early_retries), cmocka_unit_test(test_many_come_and_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
