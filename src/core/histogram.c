// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how often something took how long, in buckets.
#include "core/histogram.h"

// From what a store on the same host needs to what a request may take before it is given up.
const uint64_t histogram_bounds_us[HISTOGRAM_BOUNDS] = {
	1000,	2500,	5000,	 10000,	  25000,   50000,    100000,
	250000, 500000, 1000000, 2500000, 5000000, 10000000,
};

void histogram_add(struct histogram *histogram, uint64_t duration_us)
{
	size_t i = 0;

	while (i < HISTOGRAM_BOUNDS && duration_us > histogram_bounds_us[i])
		i++;
	histogram->counts[i]++;
	histogram->sum_us += duration_us;
}
