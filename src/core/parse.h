// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: cursor parsers for untrusted text. Each reads at *cursor, moves it past what it took and returns
// true, or moves nothing, writes nothing and returns false.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool parse_char(const char **cursor, char c);
bool parse_literal(const char **cursor, const char *literal);
bool parse_u64(const char **cursor, uint64_t max, uint64_t *ret); // decimal digits only
bool parse_hex(const char **cursor, size_t digits_max, uint64_t *ret);
bool parse_end(const char *cursor);

// Whole-string forms: 0 or -EINVAL / -ERANGE.
int parse_whole_u64(const char *text, uint64_t max, uint64_t *ret);
int parse_whole_i64(const char *text, int64_t *ret);
// Go literal syntax of flag.Int: optional sign, 0x, 0o, 0b, leading 0 octal, underscores between digits.
int parse_go_int(const char *text, int64_t min, int64_t max, int64_t *ret);
// Go strconv.ParseBool: 1 t T TRUE true True 0 f F FALSE false False.
int parse_go_bool(const char *text, bool *ret);
// Go time.ParseDuration, non-negative: "1h30m", "3s", "250ms"; a bare number but 0 is refused.
// In milliseconds, rounded up, so that what is not zero stays so.
int parse_go_duration_ms(const char *text, uint64_t *ret);
