// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a growing string with a mandatory maximum.
#include "core/strbuf.h"

#include "core/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CAPACITY 64

void strbuf_free(struct strbuf *buf)
{
	free(buf->data);
	*buf = STRBUF_INIT(buf->max);
}

static int overflowed(struct strbuf *buf)
{
	buf->overflow = true;
	return -E2BIG;
}

// Room for len more bytes and the terminator; the maximum holds for text, not for capacity.
static int reserve(struct strbuf *buf, size_t len)
{
	size_t need, capacity;

	if (buf->overflow || len > buf->max - buf->len || buf->len + len == SIZE_MAX)
		return overflowed(buf);
	need = buf->len + len + 1;
	if (need <= buf->capacity)
		return 0;
	capacity = buf->capacity > 0 ? buf->capacity : FIRST_CAPACITY;
	while (capacity < need)
		capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
	if (buf->max < SIZE_MAX && capacity > buf->max + 1)
		capacity = buf->max + 1;
	buf->data = xrealloc_array(buf->data, capacity, 1);
	buf->capacity = capacity;
	return 0;
}

int strbuf_add(struct strbuf *buf, const void *data, size_t len)
{
	int r;

	r = reserve(buf, len);
	if (r < 0)
		return r;
	if (len > 0)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
	return 0;
}

int strbuf_puts(struct strbuf *buf, const char *text)
{
	return strbuf_add(buf, text, strlen(text));
}

int strbuf_putc(struct strbuf *buf, char c)
{
	return strbuf_add(buf, &c, 1);
}

int strbuf_printf(struct strbuf *buf, const char *format, ...)
{
	size_t room = buf->capacity - buf->len;
	va_list args;
	int n, r;

	if (buf->overflow)
		return -E2BIG;
	va_start(args, format);
	n = vsnprintf(room > 0 ? buf->data + buf->len : NULL, room, format, args);
	va_end(args);
	if (n < 0)
		n = 0;
	if ((size_t)n >= room) {
		r = reserve(buf, (size_t)n);
		if (r < 0) {
			if (buf->data)
				buf->data[buf->len] = '\0';
			return r;
		}
		va_start(args, format);
		(void)vsnprintf(buf->data + buf->len, (size_t)n + 1, format, args);
		va_end(args);
	}
	buf->len += (size_t)n;
	return 0;
}

void strbuf_reset(struct strbuf *buf)
{
	buf->len = 0;
	buf->overflow = false;
	if (buf->data)
		buf->data[0] = '\0';
}

void strbuf_consume(struct strbuf *buf, size_t len)
{
	if (len >= buf->len)
		len = buf->len;
	if (len == 0)
		return;
	buf->len -= len;
	memmove(buf->data, buf->data + len, buf->len + 1);
}

const char *strbuf_text(const struct strbuf *buf)
{
	return buf->data ? buf->data : "";
}

char *strbuf_take(struct strbuf *buf)
{
	char *text = buf->data ? buf->data : xstrdup("");

	*buf = STRBUF_INIT(buf->max);
	return text;
}

int text_format(char *dst, size_t size, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(dst, size, format, args);
	va_end(args);
	return n < 0 || (size_t)n >= size ? -ENOSPC : 0;
}

void text_hex(char *dst, const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *bytes = data;

	for (size_t i = 0; i < len; i++) {
		dst[2 * i] = digits[bytes[i] >> 4];
		dst[2 * i + 1] = digits[bytes[i] & 15];
	}
	dst[2 * len] = '\0';
}

int text_copy(char *dst, size_t size, const char *src)
{
	size_t len = strlen(src);
	size_t used;

	if (size == 0)
		return -ENOSPC;
	used = len < size ? len : size - 1;
	memcpy(dst, src, used);
	dst[used] = '\0';
	return used < len ? -ENOSPC : 0;
}
