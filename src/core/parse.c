// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: cursor parsers for untrusted text, and the value syntax of Go's flags.
#include "core/parse.h"

#include <errno.h>
#include <string.h>

bool parse_char(const char **cursor, char c)
{
	if (**cursor != c || c == '\0')
		return false;
	(*cursor)++;
	return true;
}

bool parse_literal(const char **cursor, const char *literal)
{
	size_t len = strlen(literal);

	if (strncmp(*cursor, literal, len) != 0)
		return false;
	*cursor += len;
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

// 0 to 15, or -1.
static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool parse_u64(const char **cursor, uint64_t max, uint64_t *ret)
{
	const char *p = *cursor;
	uint64_t value = 0;

	if (!is_digit(*p))
		return false;
	for (; is_digit(*p); p++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return false;
	}
	if (value > max)
		return false;
	*cursor = p;
	*ret = value;
	return true;
}

bool parse_hex(const char **cursor, size_t digits_max, uint64_t *ret)
{
	const char *p = *cursor;
	uint64_t value = 0;
	size_t digits = 0;

	for (; hex_value(*p) >= 0; p++, digits++) {
		if (digits >= digits_max || digits >= 16)
			return false;
		value = value << 4 | (uint64_t)hex_value(*p);
	}
	if (digits == 0)
		return false;
	*cursor = p;
	*ret = value;
	return true;
}

bool parse_end(const char *cursor)
{
	return *cursor == '\0';
}

int parse_whole_u64(const char *text, uint64_t max, uint64_t *ret)
{
	const char *p = text;

	if (*text == '\0')
		return -EINVAL;
	for (; *p != '\0'; p++)
		if (!is_digit(*p))
			return -EINVAL;
	p = text;
	return parse_u64(&p, max, ret) ? 0 : -ERANGE;
}

static int signed_value(bool negative, uint64_t magnitude, int64_t *ret)
{
	if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
		return -ERANGE;
	*ret = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
	return 0;
}

int parse_whole_i64(const char *text, int64_t *ret)
{
	bool negative = parse_char(&text, '-');
	uint64_t magnitude;
	int r;

	r = parse_whole_u64(text, UINT64_MAX, &magnitude);
	if (r < 0)
		return r;
	return signed_value(negative, magnitude, ret);
}

// Takes the prefix of a Go integer literal; a leading 0 is octal and stays, it is a digit.
static unsigned int go_base(const char **cursor)
{
	static const struct {
		char letter;
		unsigned int base;
	} prefixes[] = { { 'x', 16 }, { 'o', 8 }, { 'b', 2 } };
	const char *p = *cursor;

	if (*p != '0')
		return 10;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if ((p[1] | 0x20) == prefixes[i].letter) {
			*cursor = p + 2;
			return prefixes[i].base;
		}
	}
	return p[1] == '\0' ? 10 : 8;
}

// Digits of one base with single underscores between them; one may also follow a prefix.
static int go_digits(const char *p, unsigned int base, bool after_prefix, uint64_t *ret)
{
	bool underscore_allowed = after_prefix;
	bool digit_last = false;
	bool overflow = false;
	uint64_t value = 0;

	for (; *p != '\0'; p++) {
		int digit = hex_value(*p);

		if (*p == '_') {
			if (!underscore_allowed)
				return -EINVAL;
			underscore_allowed = digit_last = false;
			continue;
		}
		if (digit < 0 || (unsigned int)digit >= base)
			return -EINVAL;
		overflow |= __builtin_mul_overflow(value, (uint64_t)base, &value);
		overflow |= __builtin_add_overflow(value, (uint64_t)digit, &value);
		underscore_allowed = digit_last = true;
	}
	if (!digit_last)
		return -EINVAL;
	if (overflow)
		return -ERANGE;
	*ret = value;
	return 0;
}

int parse_go_int(const char *text, int64_t min, int64_t max, int64_t *ret)
{
	bool negative = *text == '-';
	const char *digits, *p = text;
	uint64_t magnitude;
	unsigned int base;
	int64_t value = 0;
	int r;

	if (*p == '-' || *p == '+')
		p++;
	digits = p;
	base = go_base(&digits);
	r = go_digits(digits, base, digits != p, &magnitude);
	if (r == 0)
		r = signed_value(negative, magnitude, &value);
	if (r < 0)
		return r;
	if (value < min || value > max)
		return -ERANGE;
	*ret = value;
	return 0;
}

int parse_go_bool(const char *text, bool *ret)
{
	static const char *const words[2][6] = {
		{ "0", "f", "F", "FALSE", "false", "False" },
		{ "1", "t", "T", "TRUE", "true", "True" },
	};

	for (unsigned int value = 0; value < 2; value++) {
		for (size_t i = 0; i < 6; i++) {
			if (strcmp(text, words[value][i]) == 0) {
				*ret = value == 1;
				return 0;
			}
		}
	}
	return -EINVAL;
}

static bool duration_unit(const char **cursor, uint64_t *ret_ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		// "ms" before "m"; both ways to write the micro sign
		{ "ns", 1 },	       { "us", 1000 },	       { "\xc2\xb5s", 1000 },
		{ "\xce\xbcs", 1000 }, { "ms", 1000000 },      { "s", 1000000000 },
		{ "m", 60000000000 },  { "h", 3600000000000 },
	};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (parse_literal(cursor, units[i].name)) {
			*ret_ns = units[i].ns;
			return true;
		}
	}
	return false;
}

// One "1.5h" at *cursor, in nanoseconds.
static int duration_part(const char **cursor, uint64_t *ret_ns)
{
	uint64_t whole = 0, fraction = 0, scale = 1, unit;
	const char *p = *cursor;
	bool digits = is_digit(*p);

	if (digits && !parse_u64(&p, INT64_MAX, &whole))
		return -ERANGE;
	if (parse_char(&p, '.')) {
		for (; is_digit(*p); p++) {
			digits = true;
			// Beyond nanoseconds of an hour nothing changes any more.
			if (scale < 100000000000000) {
				fraction = fraction * 10 + (uint64_t)(*p - '0');
				scale *= 10;
			}
		}
	}
	if (!digits || !duration_unit(&p, &unit))
		return -EINVAL;
	if (__builtin_mul_overflow(whole, unit, &whole))
		return -ERANGE;
	// A fraction of 10^14 times an hour of nanoseconds needs 128 bits.
	if (__builtin_add_overflow(whole, (uint64_t)((unsigned __int128)fraction * unit / scale),
				   ret_ns))
		return -ERANGE;
	*cursor = p;
	return 0;
}

int parse_go_duration_ms(const char *text, uint64_t *ret)
{
	uint64_t total_ns = 0, part_ns = 0;
	const char *p = text;
	int r;

	(void)parse_char(&p, '+');
	if (strcmp(p, "0") == 0) {
		*ret = 0;
		return 0;
	}
	if (parse_end(p))
		return -EINVAL;
	while (!parse_end(p)) {
		r = duration_part(&p, &part_ns);
		if (r < 0)
			return r;
		if (__builtin_add_overflow(total_ns, part_ns, &total_ns) || total_ns > INT64_MAX)
			return -ERANGE;
	}
	*ret = total_ns / 1000000 + (total_ns % 1000000 > 0 ? 1 : 0);
	return 0;
}
