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
// Does any subsystem (core/log_subsystem.h) say lines of this level?
bool log_enabled(enum log_level level);
enum log_format log_format_of(void);

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

// A call site that may be hit by hostile or repeating input: at most `burst` lines per 10 s, then one line that says how many were
// left out: before the next one of its kind, or, where none comes, by log_tell_left_out. State lives in the call site.
struct log_limit {
	const char *format; // of its lines; NULL: not told by log_tell_left_out
	struct log_limit *next;
	bool is_listed;
	uint64_t window_start_ms;
	unsigned int written;
	unsigned int suppressed;
};
bool log_limit_allow(struct log_limit *limit, unsigned int burst);
// Called now and then: tells of each call site whose 10 s are over how many lines it left out.
void log_tell_left_out(void);

struct log_stats {
	uint64_t lines[LOG_LEVEL_COUNT]; // written
	uint64_t left_out;		 // by limits of call sites
	uint64_t lost;			 // the reader was too slow
};
struct log_stats log_stats(void);

#define LOG_FIRST_(first, ...) first
#define log_rl(level, ...)                                                                    \
	do {                                                                                  \
		static struct log_limit limit_ = { .format = LOG_FIRST_(__VA_ARGS__, NULL) }; \
		if (log_enabled(level) && log_limit_allow(&limit_, 5))                        \
			log_write((level), __VA_ARGS__);                                      \
	} while (0)
