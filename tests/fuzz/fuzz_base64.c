// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing core/base64 both ways.
#include "fuzz.h"

#include "core/base64.h"
#include "core/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *encoded = base64_encode_new(data, size), *again = NULL;
	_cleanup_free_ uint8_t *decoded = xmalloc(size), *back = xmalloc(size + 3);
	size_t len = SIZE_MAX;

	must(strlen(encoded) == base64_encoded_len(size));
	must(base64_decode(encoded, strlen(encoded), back, &len) == 0);
	must(len == size && memcmp(back, data, size) == 0);

	// Strict: there is one text for every value, so what decodes encodes to itself.
	if (base64_decode((const char *)data, size, decoded, &len) == 0) {
		must(len <= size / 4 * 3);
		again = base64_encode_new(decoded, len);
		must(strlen(again) == size && memcmp(again, data, size) == 0);
	}
	return 0;
}
