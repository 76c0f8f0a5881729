// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: base64 of RFC 4648 section 4, with padding.
#include "core/base64.h"

#include "core/mem.h"

#include <errno.h>
#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#define NO 0xff // not a digit; also has the bits that no digit has
// clang-format off
static const uint8_t digit_values[256] = {
	[0 ... '+' - 1] = NO, ['+'] = 62, ['+' + 1 ... '/' - 1] = NO, ['/'] = 63,
	['0'] = 52, ['1'] = 53, ['2'] = 54, ['3'] = 55, ['4'] = 56, ['5'] = 57, ['6'] = 58, ['7'] = 59,
	['8'] = 60, ['9'] = 61, ['9' + 1 ... 'A' - 1] = NO,
	['A'] =  0, ['B'] =  1, ['C'] =  2, ['D'] =  3, ['E'] =  4, ['F'] =  5, ['G'] =  6, ['H'] =  7,
	['I'] =  8, ['J'] =  9, ['K'] = 10, ['L'] = 11, ['M'] = 12, ['N'] = 13, ['O'] = 14, ['P'] = 15,
	['Q'] = 16, ['R'] = 17, ['S'] = 18, ['T'] = 19, ['U'] = 20, ['V'] = 21, ['W'] = 22, ['X'] = 23,
	['Y'] = 24, ['Z'] = 25, ['Z' + 1 ... 'a' - 1] = NO, ['a'] = 26, ['b'] = 27, ['c'] = 28, ['d'] = 29,
	['e'] = 30, ['f'] = 31, ['g'] = 32, ['h'] = 33, ['i'] = 34, ['j'] = 35, ['k'] = 36, ['l'] = 37,
	['m'] = 38, ['n'] = 39, ['o'] = 40, ['p'] = 41, ['q'] = 42, ['r'] = 43, ['s'] = 44, ['t'] = 45,
	['u'] = 46, ['v'] = 47, ['w'] = 48, ['x'] = 49, ['y'] = 50, ['z'] = 51, ['z' + 1 ... 255] = NO,
};
// clang-format on

size_t base64_encoded_len(size_t len)
{
	return (len / 3 + (len % 3 > 0 ? 1 : 0)) * 4;
}

void base64_encode(const void *data, size_t len, char *ret)
{
	const uint8_t *byte = data;

	for (; len >= 3; len -= 3, byte += 3) {
		*ret++ = alphabet[byte[0] >> 2];
		*ret++ = alphabet[(byte[0] & 0x03) << 4 | byte[1] >> 4];
		*ret++ = alphabet[(byte[1] & 0x0f) << 2 | byte[2] >> 6];
		*ret++ = alphabet[byte[2] & 0x3f];
	}
	if (len > 0) {
		*ret++ = alphabet[byte[0] >> 2];
		*ret++ = alphabet[(byte[0] & 0x03) << 4 | (len > 1 ? byte[1] >> 4 : 0)];
		*ret++ = len > 1 ? alphabet[(byte[1] & 0x0f) << 2] : '=';
		*ret++ = '=';
	}
	*ret = '\0';
}

char *base64_encode_new(const void *data, size_t len)
{
	char *text = xmalloc(base64_encoded_len(len) + 1);

	base64_encode(data, len, text);
	return text;
}

// The last group, which may be padded. Returns its number of bytes, or 0 when it is not valid.
static size_t decode_last(const uint8_t *text, uint8_t *out)
{
	unsigned int a = digit_values[text[0]], b = digit_values[text[1]];
	unsigned int c = digit_values[text[2]], d = digit_values[text[3]];

	if ((a | b) > 63)
		return 0;
	if (text[3] == '=' && text[2] == '=') {
		if ((b & 0x0f) != 0)
			return 0;
		out[0] = (uint8_t)(a << 2 | b >> 4);
		return 1;
	}
	if (c > 63)
		return 0;
	if (text[3] == '=') {
		if ((c & 0x03) != 0)
			return 0;
		out[0] = (uint8_t)(a << 2 | b >> 4);
		out[1] = (uint8_t)(b << 4 | c >> 2);
		return 2;
	}
	if (d > 63)
		return 0;
	out[0] = (uint8_t)(a << 2 | b >> 4);
	out[1] = (uint8_t)(b << 4 | c >> 2);
	out[2] = (uint8_t)(c << 6 | d);
	return 3;
}

int base64_decode(const char *text, size_t len, void *ret, size_t *ret_len)
{
	const uint8_t *in = (const uint8_t *)text;
	uint8_t *out = ret;
	size_t tail;

	if (len % 4 != 0)
		return -EINVAL;
	if (len == 0) {
		*ret_len = 0;
		return 0;
	}
	for (; len > 4; len -= 4, in += 4, out += 3) {
		unsigned int a = digit_values[in[0]], b = digit_values[in[1]];
		unsigned int c = digit_values[in[2]], d = digit_values[in[3]];

		if ((a | b | c | d) > 63)
			return -EINVAL;
		out[0] = (uint8_t)(a << 2 | b >> 4);
		out[1] = (uint8_t)(b << 4 | c >> 2);
		out[2] = (uint8_t)(c << 6 | d);
	}
	tail = decode_last(in, out);
	if (tail == 0)
		return -EINVAL;
	*ret_len = (size_t)(out - (uint8_t *)ret) + tail;
	return 0;
}
