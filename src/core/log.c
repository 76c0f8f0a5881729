// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the log on standard error, as text or as JSON lines.
#include "core/log.h"

#include "core/text.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
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

static const struct {
	const char *text;
	const char *json;
} level_names[] = {
	[LOG_LEVEL_ERROR] = { "ERROR", "error" },
	[LOG_LEVEL_WARN] = { "WARN", "warn" },
	[LOG_LEVEL_INFO] = { "INFO", "info" },
	[LOG_LEVEL_DEBUG] = { "DEBUG", "debug" },
};
static_assert(sizeof(level_names) / sizeof(level_names[0]) == LOG_LEVEL_COUNT, "a name per level");

static enum log_level max_level = LOG_LEVEL_INFO;
static enum log_format line_format = LOG_FORMAT_TEXT;
static atomic_uint lost_lines; // worker threads log too

struct line {
	char data[LINE_MAX_BYTES];
	size_t len;
};

void log_setup(enum log_level level, enum log_format format)
{
	max_level = level;
	line_format = format;
}

bool log_enabled(enum log_level level)
{
	return level <= max_level;
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
	char head[96];
	char stamp[32];
	int n;

	line->len = 0;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &utc);
	(void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	if (line_format == LOG_FORMAT_JSON)
		n = snprintf(head, sizeof(head), "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"msg\":\"",
			     stamp, now.tv_nsec / 1000000, level_names[level].json);
	else
		n = snprintf(head, sizeof(head), "%s.%03ldZ %s ", stamp, now.tv_nsec / 1000000,
			     level_names[level].text);
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

void log_write(enum log_level level, const char *format, ...)
{
	int saved_errno = errno;
	char text[TEXT_MAX];
	struct line line;
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);

	report_lost();
	line_build(&line, level, text);
	if (!line_write(&line))
		atomic_fetch_add(&lost_lines, 1);
	errno = saved_errno;
}

bool log_limit_allow(struct log_limit *limit, unsigned int burst)
{
	struct timespec now = { 0 };
	unsigned int suppressed;
	uint64_t now_ms;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	if (limit->window_start_ms == 0 || now_ms - limit->window_start_ms >= LIMIT_WINDOW_MS) {
		suppressed = limit->suppressed;
		*limit = (struct log_limit){ .window_start_ms = now_ms };
		if (suppressed > 0)
			log_info("log: %u lines like the next were left out", suppressed);
	}
	if (limit->written >= burst) {
		limit->suppressed++;
		return false;
	}
	limit->written++;
	return true;
}
