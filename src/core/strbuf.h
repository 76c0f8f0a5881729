// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a growing string with a mandatory maximum.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct strbuf {
	char *data; // NULL until something was added; always terminated otherwise
	size_t len;
	size_t capacity;
	size_t max;    // bytes, terminator not counted
	bool overflow; // an addition did not fit: nothing was added then, nor after
};

#define STRBUF_INIT(max_bytes) ((struct strbuf){ .max = (max_bytes) })

void strbuf_free(struct strbuf *buf); // usable again afterwards, with the same maximum
#define _cleanup_strbuf_ _cleanup_(strbuf_free)

// Each returns 0, or -E2BIG when the maximum would be passed (sticky, see overflow).
int strbuf_add(struct strbuf *buf, const void *data, size_t len);
int strbuf_puts(struct strbuf *buf, const char *text);
int strbuf_putc(struct strbuf *buf, char c);
int strbuf_printf(struct strbuf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

void strbuf_reset(struct strbuf *buf);		     // empties, keeps the memory
void strbuf_consume(struct strbuf *buf, size_t len); // drops len bytes from the front
const char *strbuf_text(const struct strbuf *buf);   // never NULL
char *strbuf_take(struct strbuf *buf);		     // caller frees; never NULL

// Bounded formatting into a caller's array; returns 0 or -ENOSPC (then still terminated).
int text_format(char *dst, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int text_copy(char *dst, size_t size, const char *src);
void text_hex(char *dst, const void *data, size_t len); // 2 * len small digits, terminated
