// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of what is kept of a peer's last probes.
#include "unit.h"

#include "probe/window.h"

#include <string.h>

static struct window_summary sum_of(const struct window *window)
{
	struct window_summary sum;

	window_sum(window, &sum);
	return sum;
}

static void test_empty(void **state)
{
	struct window window = { 0 };
	struct window_summary sum = sum_of(&window);

	(void)state;
	assert_int_equal(sizeof(window), 20);
	assert_int_equal(sum.state, WINDOW_UNKNOWN);
	assert_int_equal(sum.sent, 0);
	assert_int_equal(sum.average_us, 0);
	assert_int_equal(sum.p90_us, 0);
}

// Every time comes back within 3 %, from a microsecond to what is lost anyway.
static void test_steps(void **state)
{
	(void)state;
	for (uint32_t us = 1; us < 3000000; us += us / 40 + 1) {
		struct window window = { 0 };
		struct window_summary sum;

		window_add_reply(&window, us);
		sum = sum_of(&window);
		check(sum.min_us >= us - us / 32 && sum.min_us <= us + us / 32, "%u reads as %u",
		      us, sum.min_us);
		assert_int_equal(sum.average_us, us);
		assert_int_equal(sum.p90_us, sum.min_us);
	}
}

static void test_extremes(void **state)
{
	struct window window = { 0 };

	(void)state;
	window_add_reply(&window, 0);
	assert_int_equal(sum_of(&window).average_us, 1);
	assert_int_equal(sum_of(&window).min_us, 1);
	memset(&window, 0, sizeof(window));
	window_add_reply(&window, UINT32_MAX);
	assert_int_equal(sum_of(&window).state, WINDOW_OK);
	assert_true(sum_of(&window).min_us >= 3000000);
}

static void test_figures(void **state)
{
	struct window window = { 0 };
	struct window_summary sum;

	(void)state;
	for (uint32_t i = 1; i <= 10; i++)
		window_add_reply(&window, i);
	sum = sum_of(&window);
	assert_int_equal(sum.sent, 10);
	assert_int_equal(sum.min_us, 1);
	assert_int_equal(sum.p90_us, 9);
	// What is older than the window is forgotten, but for the average.
	for (int i = 0; i < WINDOW_PROBES; i++)
		window_add_reply(&window, 30);
	sum = sum_of(&window);
	assert_int_equal(sum.sent, WINDOW_PROBES);
	assert_int_equal(sum.min_us, 30);
	assert_in_range(sum.average_us, 10, 29);
}

static void test_states(void **state)
{
	struct window window = { 0 };

	(void)state;
	window_add_loss(&window);
	assert_int_equal(sum_of(&window).state, WINDOW_UNREACHABLE); // nothing else is known
	window_add_reply(&window, 100);
	assert_int_equal(sum_of(&window).state, WINDOW_LOSSY);
	assert_int_equal(sum_of(&window).lost_in_a_row, 0);
	for (int i = 1; i < WINDOW_DOWN; i++) {
		window_add_loss(&window);
		assert_int_equal(sum_of(&window).state, WINDOW_LOSSY);
		assert_int_equal(sum_of(&window).lost_in_a_row, i);
	}
	window_add_loss(&window);
	assert_int_equal(sum_of(&window).state, WINDOW_UNREACHABLE);
	assert_int_equal(sum_of(&window).lost, WINDOW_DOWN + 1);
	window_add_reply(&window, 100);
	assert_int_equal(sum_of(&window).state, WINDOW_LOSSY);
	for (int i = 1; i < WINDOW_PROBES; i++)
		window_add_reply(&window, 100);
	assert_int_equal(sum_of(&window).state, WINDOW_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),	 cmocka_unit_test(test_steps),
		cmocka_unit_test(test_extremes), cmocka_unit_test(test_figures),
		cmocka_unit_test(test_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
