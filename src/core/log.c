// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the log on standard error, as text or as JSON lines.
#include "core/log.h"

#include "core/log_subsystem.h"
#include "core/text.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX 2048
// A pipe that polls as writable takes this much without blocking, and whole.
#define LINE_MAX_BYTES PIPE_BUF
#define LIMIT_WINDOW_MS 10000

static const char *const level_texts[] = {
	[LOG_LEVEL_ERROR] = "ERROR",
	[LOG_LEVEL_WARN] = "WARN",
	[LOG_LEVEL_INFO] = "INFO",
	[LOG_LEVEL_DEBUG] = "DEBUG",
};
static_assert(sizeof(level_texts) / sizeof(level_texts[0]) == LOG_LEVEL_COUNT, "a name per level");

static enum log_format line_format = LOG_FORMAT_TEXT;
// Worker threads log too.
static atomic_uint lost_lines; // that were not told yet
static atomic_ullong written_lines[LOG_LEVEL_COUNT];
static atomic_ullong lost_total;
static atomic_ullong left_out_total;

// Call sites that have left out lines, which were not told yet.
static pthread_mutex_t limits_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct log_limit *limits;

struct line {
	char data[LINE_MAX_BYTES];
	size_t len;
};

void log_setup(enum log_level level, enum log_format format)
{
	log_set_all(level);
	line_format = format;
}

enum log_format log_format_of(void)
{
	return line_format;
}

struct log_stats log_stats(void)
{
	struct log_stats stats = { .left_out = left_out_total, .lost = lost_total };

	for (size_t i = 0; i < LOG_LEVEL_COUNT; i++)
		stats.lines[i] = written_lines[i];
	return stats;
}

// Leaves room for what ends the line.
static bool line_add(struct line *line, const char *data, size_t len)
{
	if (len > sizeof(line->data) - 3 - line->len)
		return false;
	memcpy(line->data + line->len, data, len);
	line->len += len;
	return true;
}

static bool line_add_escaped(struct line *line, const char *text, size_t len)
{
	unsigned char c = (unsigned char)text[0];
	bool json = line_format == LOG_FORMAT_JSON;
	char escape[8];
	int n;

	if (len == 0)
		return json ? line_add(line, "\\ufffd", 6) : line_add(line, "?", 1);
	if (json && (c == '"' || c == '\\'))
		n = snprintf(escape, sizeof(escape), "\\%c", c);
	else if (c == '\n')
		n = snprintf(escape, sizeof(escape), "\\n");
	else if (c == '\t')
		n = snprintf(escape, sizeof(escape), "\\t");
	else if (c < 0x20 || c == 0x7f)
		n = snprintf(escape, sizeof(escape), json ? "\\u%04x" : "\\x%02x", c);
	else if (c == 0xc2 && (unsigned char)text[1] < 0xa0) // C1 controls
		n = snprintf(escape, sizeof(escape), "\\u%04x", (unsigned char)text[1]);
	else
		return line_add(line, text, len);
	return line_add(line, escape, (size_t)n);
}

static void line_add_text(struct line *line, const char *text)
{
	size_t len = strlen(text);
	size_t i = 0;

	while (i < len) {
		size_t step = text_utf8_len(text + i, len - i);

		if (!line_add_escaped(line, text + i, step))
			return;
		i += step > 0 ? step : 1;
	}
}

static void line_build(struct line *line, enum log_level level, const char *text)
{
	struct timespec now = { 0 };
	struct tm utc = { 0 };
	char head[128];
	char stamp[32];
	int n;

	line->len = 0;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &utc);
	(void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	if (line_format == LOG_FORMAT_JSON)
		n = snprintf(head, sizeof(head),
			     "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"subsystem\":\"%s\",\"msg\":\"",
			     stamp, now.tv_nsec / 1000000, log_level_names[level],
			     log_subsystem_names[log_subsystem_of(text)]);
	else
		n = snprintf(head, sizeof(head), "%s.%03ldZ %s ", stamp, now.tv_nsec / 1000000,
			     level_texts[level]);
	(void)line_add(line, head, (size_t)n);
	line_add_text(line, text);
	if (line_format == LOG_FORMAT_JSON) {
		memcpy(line->data + line->len, "\"}", 2);
		line->len += 2;
	}
	line->data[line->len++] = '\n';
}

// A reader that is slow, stuck or gone must never stop the agent, so nothing here may block or
// raise SIGPIPE: sockets (journald) are sent to without waiting, the rest is polled first.
static bool line_write(const struct line *line)
{
	struct pollfd ready = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t n;

	n = send(STDERR_FILENO, line->data, line->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n >= 0)
		return true;
	if (errno != ENOTSOCK)
		return false;
	if (poll(&ready, 1, 0) != 1 || (ready.revents & (POLLERR | POLLNVAL)) != 0 ||
	    (ready.revents & POLLOUT) == 0)
		return false;
	return write(STDERR_FILENO, line->data, line->len) >= 0;
}

static void report_lost(void)
{
	unsigned int lost = atomic_exchange(&lost_lines, 0);
	struct line line;
	char text[64];

	if (lost == 0)
		return;
	(void)snprintf(text, sizeof(text), "log: %u lines lost, reader too slow", lost);
	line_build(&line, LOG_LEVEL_WARN, text);
	if (!line_write(&line))
		atomic_fetch_add(&lost_lines, lost);
}

static void write_line(enum log_level level, const char *text)
{
	struct line line;

	report_lost();
	line_build(&line, level, text);
	if (line_write(&line)) {
		atomic_fetch_add(&written_lines[level], 1);
	} else {
		atomic_fetch_add(&lost_lines, 1);
		atomic_fetch_add(&lost_total, 1);
	}
}

void log_write(enum log_level level, const char *format, ...)
{
	int saved_errno = errno;
	char text[TEXT_MAX];
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);

	if (level <= log_level_of(log_subsystem_of(text)))
		write_line(level, text);
	errno = saved_errno;
}

static uint64_t now_ms(void)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool is_over(const struct log_limit *limit, uint64_t at_ms)
{
	return limit->window_start_ms == 0 || at_ms - limit->window_start_ms >= LIMIT_WINDOW_MS;
}

static void leave_out(struct log_limit *limit)
{
	limit->suppressed++;
	atomic_fetch_add(&left_out_total, 1);
	if (limit->is_listed || !limit->format)
		return;
	limit->is_listed = true;
	limit->next = limits;
	limits = limit;
}

bool log_limit_allow(struct log_limit *limit, unsigned int burst)
{
	unsigned int suppressed = 0;
	bool is_allowed;

	(void)pthread_mutex_lock(&limits_mutex);
	if (is_over(limit, now_ms())) {
		suppressed = limit->suppressed;
		limit->window_start_ms = now_ms();
		limit->written = limit->suppressed = 0;
	}
	is_allowed = limit->written < burst;
	if (is_allowed)
		limit->written++;
	else
		leave_out(limit);
	(void)pthread_mutex_unlock(&limits_mutex);
	if (suppressed > 0)
		log_info("log: %u lines like the next were left out", suppressed);
	return is_allowed;
}

// The next call site that has something to tell; it is out of the list then.
static const char *take_left_out(unsigned int *ret_count)
{
	struct log_limit **link = &limits;
	struct log_limit *limit;

	while ((limit = *link) && !is_over(limit, now_ms()))
		link = &limit->next;
	if (!limit)
		return NULL;
	*link = limit->next;
	limit->is_listed = false;
	*ret_count = limit->suppressed;
	limit->suppressed = 0;
	return limit->format;
}

void log_tell_left_out(void)
{
	const char *format;
	unsigned int count = 0;

	do {
		(void)pthread_mutex_lock(&limits_mutex);
		format = take_left_out(&count);
		(void)pthread_mutex_unlock(&limits_mutex);
		if (format && count > 0)
			log_info("log: %u more lines were left out: \"%s\"", count, format);
	} while (format);
}
