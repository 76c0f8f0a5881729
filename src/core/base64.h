// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: base64 of RFC 4648 section 4, with padding.
#pragma once

#include <stddef.h>

size_t base64_encoded_len(size_t len);			     // without the terminator
void base64_encode(const void *data, size_t len, char *ret); // ret holds encoded_len + 1
char *base64_encode_new(const void *data, size_t len);	     // caller frees

// Strict: padding required, no white space, no stray bits. ret holds at least 3 * len / 4 bytes.
// 0, or -EINVAL with *ret undefined.
int base64_decode(const char *text, size_t len, void *ret, size_t *ret_len);
