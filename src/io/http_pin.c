// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading pins.
#include "io/http_pin.h"

#include "core/base64.h"
#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define DIGEST_BYTES 32

static bool read_digest(const char **cursor, unsigned char ret[static DIGEST_BYTES])
{
	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		char digits[3] = { (*cursor)[0], (*cursor)[0] ? (*cursor)[1] : '\0' };
		const char *at = digits;
		uint64_t byte;

		if (!parse_hex(&at, 2, &byte) || at != digits + 2)
			return false;
		ret[i] = (unsigned char)byte;
		*cursor += 2;
	}
	return true;
}

int http_pin_read(const char *text, char **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf pins = STRBUF_INIT(HTTP_PINS_MAX * 64);
	unsigned char digest[DIGEST_BYTES];
	char shown[TEXT_EXCERPT_MAX];
	const char *cursor = text;
	size_t count = 0;

	do {
		if (!parse_literal(&cursor, "sha256:") || !read_digest(&cursor, digest) ||
		    count++ == HTTP_PINS_MAX)
			return err_set(e, -EINVAL, "\"%s\" is not sha256: and 64 hex digits",
				       text_excerpt(text, strlen(text), shown));
		_cleanup_free_ char *encoded = base64_encode_new(digest, sizeof(digest));
		(void)strbuf_printf(&pins, "%ssha256//%s", count > 1 ? ";" : "", encoded);
	} while (parse_char(&cursor, ','));
	if (!parse_end(cursor))
		return err_set(e, -EINVAL, "\"%s\": something follows the 64 hex digits",
			       text_excerpt(text, strlen(text), shown));
	*ret = strbuf_take(&pins);
	return 0;
}
