// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what is shown of a key, which in a store may be any bytes.
#include "core/strbuf.h"
#include "core/text.h"
#include "store/kv_internal.h"

#include <string.h>

static bool is_plain(const char *key, size_t len)
{
	size_t i = 0;

	if (len > KV_KEY_SHOWN_MAX)
		return false;
	while (i < len) {
		size_t step = text_utf8_len(key + i, len - i);

		if (step == 0 || (unsigned char)key[i] < ' ' || key[i] == 0x7f)
			return false;
		i += step;
	}
	return true;
}

char *kv_key_shown(const char *key, size_t len)
{
	struct strbuf shown = STRBUF_INIT(4 * KV_KEY_SHOWN_MAX + 8);
	size_t i = 0;

	if (is_plain(key, len))
		return NULL;
	while (i < len && i < KV_KEY_SHOWN_MAX) {
		size_t step = text_utf8_len(key + i, len - i);

		if (step == 0 || (unsigned char)key[i] < ' ' || key[i] == 0x7f) {
			strbuf_printf(&shown, "\\x%02x", (unsigned char)key[i]);
			step = 1;
		} else {
			strbuf_add(&shown, key + i, step);
		}
		i += step;
	}
	if (i < len)
		strbuf_puts(&shown, "...");
	return strbuf_take(&shown);
}

size_t kv_key_len(const char *key, size_t len)
{
	return len > 0 ? len : strlen(key);
}
