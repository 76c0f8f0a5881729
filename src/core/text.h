// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: comparing text that may be missing; making text of unknown origin fit to be shown.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define TEXT_EXCERPT_MAX 48

// NULL is equal to NULL alone.
bool text_equal(const char *a, const char *b);

// Bytes of the valid UTF-8 sequence that text starts with: 1 to 4, or 0 when the first byte starts none within len.
size_t text_utf8_len(const char *text, size_t len);

// Replaces control characters and bytes that are not UTF-8 by '?', in place; drops a sequence cut off by the end.
void text_sanitize(char *text);

// A sanitized copy of at most 40 bytes, "..." behind it when some are left out. Returns buf; NULL text gives "".
const char *text_excerpt(const char *text, size_t len, char buf[static TEXT_EXCERPT_MAX]);
