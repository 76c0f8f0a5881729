// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: cutting a stream of the gateway into its messages.
//
// DOC: a line while it arrives
//
//   HEAD: up to the second brace, which is where the inner object begins
//   INNER: goes to json_stream, but for a brace with nothing but spaces behind it, which is held
//          back until something follows: the one before the newline closes the line and not the
//          inner object
//
// A message that catches up on a long outage may hold thousands of events; it is never in memory as
// a whole.
#include "store/etcd3_lines.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"
#include "store/etcd3_json.h"

#include <errno.h>
#include <string.h>

#define HEAD_MAX 64
#define HELD_MAX 65536

struct etcd3_lines {
	json_element_fn *element;
	etcd3_message_fn *message;
	void *arg;
	struct json_stream *inner; // NULL: in the head
	bool is_error;
	struct strbuf head;
	struct strbuf held;
	int stopped; // by the element function
};

struct etcd3_lines *etcd3_lines_new(json_element_fn *element, etcd3_message_fn *message, void *arg)
{
	struct etcd3_lines *lines = xnew(struct etcd3_lines);

	lines->element = element;
	lines->message = message;
	lines->arg = arg;
	lines->head = STRBUF_INIT(HEAD_MAX);
	lines->held = STRBUF_INIT(HELD_MAX);
	return lines;
}

struct etcd3_lines *etcd3_lines_free(struct etcd3_lines *lines)
{
	if (!lines)
		return NULL;
	json_stream_free(lines->inner);
	strbuf_free(&lines->head);
	strbuf_free(&lines->held);
	free(lines);
	return NULL;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void skip_space(const char **cursor)
{
	while (is_space(**cursor))
		++*cursor;
}

static int got_element(void *arg, const char *text, size_t len)
{
	struct etcd3_lines *lines = arg;

	lines->stopped = lines->element(lines->arg, text, len);
	return lines->stopped;
}

// The head is {"result": or {"error": .
static int open_inner(struct etcd3_lines *lines, struct err *e)
{
	const char *cursor = strbuf_text(&lines->head);
	bool good;

	skip_space(&cursor);
	good = parse_char(&cursor, '{');
	skip_space(&cursor);
	lines->is_error = parse_literal(&cursor, "\"error\"");
	good = good && (lines->is_error || parse_literal(&cursor, "\"result\""));
	skip_space(&cursor);
	good = good && parse_char(&cursor, ':');
	skip_space(&cursor);
	if (!good || !parse_end(cursor))
		return err_set(e, -EPROTO, "not a message of etcd's gateway");
	strbuf_reset(&lines->head);
	lines->inner =
		json_stream_new("events", ETCD3_ELEMENT_MAX, ETCD3_ANSWER_MAX, got_element, lines);
	return 0;
}

// Takes bytes up to the inner object's brace.
static int run_head(struct etcd3_lines *lines, const char **cursor, const char *end, struct err *e)
{
	while (*cursor < end) {
		char c = **cursor;

		if (c == '{' && strchr(strbuf_text(&lines->head), '{'))
			return open_inner(lines, e);
		++*cursor;
		if (c == '\n' && strspn(strbuf_text(&lines->head), " \t\r") == lines->head.len) {
			strbuf_reset(&lines->head);
			continue;
		}
		if (c == '\n' || c == '\0' || strbuf_putc(&lines->head, c) < 0)
			return err_set(e, -EPROTO, "not a message of etcd's gateway");
	}
	return 0;
}

static int feed_inner(struct etcd3_lines *lines, const char *data, size_t len, struct err *e)
{
	int r = json_stream_feed(lines->inner, data, len, e);

	if (r == 0)
		return 0;
	return lines->stopped ? lines->stopped
			      : err_set(e, -EPROTO, "not a message of etcd's gateway");
}

// Holds back the last brace if only spaces follow it.
static int feed_but_tail(struct etcd3_lines *lines, const char *data, size_t len, struct err *e)
{
	size_t text = len; // without the spaces behind it
	size_t fed = 0;
	int r = 0;

	while (text > 0 && is_space(data[text - 1]))
		text--;
	if (text > 0 || lines->held.len == 0) {
		fed = text > 0 && data[text - 1] == '}' ? text - 1 : len;
		r = feed_inner(lines, strbuf_text(&lines->held), lines->held.len, e);
		if (r == 0)
			r = feed_inner(lines, data, fed, e);
		strbuf_reset(&lines->held);
	}
	if (r == 0 && strbuf_add(&lines->held, data + fed, len - fed) < 0)
		r = err_set(e, -EPROTO, "not a message of etcd's gateway");
	return r;
}

static int close_inner(struct etcd3_lines *lines, struct err *e)
{
	const char *held = strbuf_text(&lines->held);
	const char *rest;
	size_t len;
	int r;

	if (held[0] != '}')
		return err_set(e, -EPROTO, "not a message of etcd's gateway");
	if (json_stream_end(lines->inner, &rest, &len, e) < 0)
		return err_set(e, -EPROTO, "not a message of etcd's gateway");
	r = lines->message(lines->arg, lines->is_error, rest, len);
	lines->inner = json_stream_free(lines->inner);
	strbuf_reset(&lines->held);
	return r;
}

static int run_inner(struct etcd3_lines *lines, const char **cursor, const char *end, struct err *e)
{
	const char *newline = memchr(*cursor, '\n', (size_t)(end - *cursor));
	const char *stop = newline ? newline : end;
	int r = feed_but_tail(lines, *cursor, (size_t)(stop - *cursor), e);

	*cursor = newline ? newline + 1 : end;
	return r == 0 && newline ? close_inner(lines, e) : r;
}

int etcd3_lines_feed(struct etcd3_lines *lines, const char *data, size_t len, struct err *e)
{
	const char *cursor = data;
	const char *end = data + len;
	int r = 0;

	while (r == 0 && cursor < end)
		r = lines->inner ? run_inner(lines, &cursor, end, e)
				 : run_head(lines, &cursor, end, e);
	return r;
}
