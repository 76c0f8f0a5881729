// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: comparing text that may be missing; making text of unknown origin fit to be shown.
#include "core/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define EXCERPT_BYTES 40

bool text_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

size_t text_utf8_len(const char *text, size_t len)
{
	const unsigned char *byte = (const unsigned char *)text;
	uint32_t point, least;
	size_t need;

	if (len == 0)
		return 0;
	if (byte[0] < 0x80)
		return 1;
	if ((byte[0] & 0xe0) == 0xc0) {
		need = 2;
		least = 0x80;
		point = byte[0] & 0x1f;
	} else if ((byte[0] & 0xf0) == 0xe0) {
		need = 3;
		least = 0x800;
		point = byte[0] & 0x0f;
	} else if ((byte[0] & 0xf8) == 0xf0) {
		need = 4;
		least = 0x10000;
		point = byte[0] & 0x07;
	} else {
		return 0;
	}
	if (need > len)
		return 0;
	for (size_t i = 1; i < need; i++) {
		if (!is_continuation(byte[i]))
			return 0;
		point = point << 6 | (byte[i] & 0x3f);
	}
	// Overlong forms, surrogates and what lies beyond Unicode.
	if (point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
		return 0;
	return need;
}

// Is text the beginning of a sequence that only the end of the buffer cut short?
static bool is_cut_off(const char *text, size_t len)
{
	unsigned char first = (unsigned char)text[0];
	size_t need = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;

	if (len >= need)
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_continuation((unsigned char)text[i]))
			return false;
	return true;
}

void text_sanitize(char *text)
{
	size_t len = strlen(text);
	size_t i = 0;

	while (i < len) {
		size_t step = text_utf8_len(text + i, len - i);

		if (step == 0 && is_cut_off(text + i, len - i)) {
			text[i] = '\0';
			return;
		}
		if (step == 0 || (unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
		else if (step == 2 && text[i] == '\xc2' && (unsigned char)text[i + 1] < 0xa0)
			text[i] = text[i + 1] = '?'; // C1 controls: some terminals obey them
		i += step > 0 ? step : 1;
	}
}

const char *text_excerpt(const char *text, size_t len, char buf[static TEXT_EXCERPT_MAX])
{
	size_t used = len < EXCERPT_BYTES ? len : EXCERPT_BYTES;

	if (!text)
		used = len = 0;
	for (size_t i = 0; i < used; i++)
		buf[i] = text[i] != '\0' ? text[i] : '?';
	buf[used] = '\0';
	text_sanitize(buf);
	if (used < len)
		memcpy(buf + strlen(buf), "...", 4);
	return buf;
}
