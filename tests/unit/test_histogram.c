// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Durations in buckets, and how Prometheus is told of them.
#include "core/histogram.h"
#include "core/mem.h"
#include "io/metrics.h"

#include "unit.h"

#include <string.h>

static void test_buckets(void **state)
{
	struct histogram histogram = { 0 };

	(void)state;
	histogram_add(&histogram, 0);
	histogram_add(&histogram, 1000); // an upper end belongs to its bucket
	histogram_add(&histogram, 1001);
	histogram_add(&histogram, 10000000);
	histogram_add(&histogram, 10000001);
	assert_int_equal(histogram.counts[0], 2);
	assert_int_equal(histogram.counts[1], 1);
	assert_int_equal(histogram.counts[HISTOGRAM_BOUNDS - 1], 1);
	assert_int_equal(histogram.counts[HISTOGRAM_BOUNDS], 1);
	assert_int_equal(histogram.sum_us, 20002002);
	for (size_t i = 1; i < HISTOGRAM_BOUNDS; i++)
		assert_true(histogram_bounds_us[i] > histogram_bounds_us[i - 1]);
}

// Prometheus counts in each bucket what is in those below it as well.
static void test_text(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(8192);
	const struct metric_label label = { "op", "range" };
	struct histogram histogram = { 0 };

	(void)state;
	histogram_add(&histogram, 500);
	histogram_add(&histogram, 2000);
	histogram_add(&histogram, 60000000);
	metric_family(&out, METRIC_HISTOGRAM, "x_seconds", "How long.");
	metric_histogram(&out, "x_seconds", &label, 1, &histogram);
	assert_non_null(strstr(strbuf_text(&out), "# TYPE x_seconds histogram\n"
						  "x_seconds_bucket{op=\"range\",le=\"0.001\"} 1\n"
						  "x_seconds_bucket{op=\"range\",le=\"0.0025\"} 2\n"
						  "x_seconds_bucket{op=\"range\",le=\"0.005\"} 2\n"));
	assert_non_null(strstr(strbuf_text(&out), "x_seconds_bucket{op=\"range\",le=\"10\"} 2\n"
						  "x_seconds_bucket{op=\"range\",le=\"+Inf\"} 3\n"
						  "x_seconds_sum{op=\"range\"} 60.0025\n"
						  "x_seconds_count{op=\"range\"} 3\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
