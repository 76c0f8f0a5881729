// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: moments of the calendar as text: RFC 3339 as Go writes it, and the Date of HTTP. A moment is a
// number of milliseconds since 1970, UTC.
#pragma once

#include <stdint.h>

#define TIMESTAMP_MAX 40		      // bytes with the terminator
#define TIMESTAMP_ZERO_MS (-62135596800000LL) // the year 1, which is how Go says that there is none

int64_t timestamp_now_ms(void);
// "2026-01-02T03:04:05.67Z": RFC3339Nano, a fraction without zeros at its end. Years 1 to 9999; others are clamped.
void timestamp_format(int64_t ms, char ret[static TIMESTAMP_MAX]);
// With any offset; digits beyond the millisecond are dropped. -EINVAL.
int timestamp_parse(const char *text, int64_t *ret_ms);
// "Sun, 06 Nov 1994 08:49:37 GMT", the one form that is written today. -EINVAL.
int timestamp_parse_http(const char *text, int64_t *ret_ms);
