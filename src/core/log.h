// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the log on standard error, as text or as JSON lines.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_COUNT
};

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON, LOG_FORMAT_COUNT };

void log_setup(enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);

// One line "subsystem: verb nouns". Control characters and newlines of the text are escaped.
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                           \
	do {                                                     \
		if (log_enabled(LOG_LEVEL_DEBUG))                \
			log_write(LOG_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)

// A call site that may be hit by hostile or repeating input: at most `burst` lines per 10 s, then one line
// that says how many were left out. State lives in the call site.
struct log_limit {
	uint64_t window_start_ms;
	unsigned int written;
	unsigned int suppressed;
};
bool log_limit_allow(struct log_limit *limit, unsigned int burst);
#define log_rl(level, ...)                                             \
	do {                                                           \
		static struct log_limit limit_;                        \
		if (log_enabled(level) && log_limit_allow(&limit_, 5)) \
			log_write((level), __VA_ARGS__);               \
	} while (0)
