// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how often something took how long, in buckets that never change and so take no memory as it goes on.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BOUNDS 13

// Upper ends of the buckets, rising; a duration that is equal to one is in its bucket.
extern const uint64_t histogram_bounds_us[HISTOGRAM_BOUNDS];

struct histogram {
	uint64_t counts[HISTOGRAM_BOUNDS + 1]; // of each bucket alone; the last one has no upper end
	uint64_t sum_us;
};

void histogram_add(struct histogram *histogram, uint64_t duration_us);
