// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: cutting a long JSON answer into its elements while it arrives.
#include "core/json_stream.h"

#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <string.h>

/*
 * DOC: a tokenizer that knows only as much JSON as it needs to cut.
 *
 *   START --{--> REST --"--> REST_STRING --"--> REST ... --} of depth 0--> DONE
 *   REST --[ behind the array's name--> FIRST --{--> ELEMENT --} of depth 0--> AFTER
 *   FIRST --]--> REST      AFTER --]--> REST      AFTER --,--> NEXT --{--> ELEMENT
 *
 * Whatever stands outside the elements goes to `rest`. Elements and rest are cut by their brackets
 * and strings alone; that they are valid JSON is for the parser that reads them afterwards.
 * A byte is looked at once, and runs inside strings are skipped by memchr. What is reported does not
 * depend on how the text was cut into feeds: text is flushed before any error found behind it.
 */
enum state {
	STATE_START,
	STATE_REST,
	STATE_REST_STRING,
	STATE_FIRST,
	STATE_ELEMENT,
	STATE_ELEMENT_STRING,
	STATE_AFTER,
	STATE_NEXT,
	STATE_DONE,
};

// Where we are in a member of the top-level object.
enum member {
	MEMBER_NAME,	    // the next string is a name
	MEMBER_VALUE,	    // anything
	MEMBER_ARRAY_COLON, // behind the array's name
	MEMBER_ARRAY_VALUE, // behind the array's name and colon
};

struct json_stream {
	char *array_name;
	size_t element_max;
	json_element_fn *fn;
	void *arg;

	enum state state;
	enum member member;
	bool in_name; // the string being read is a name of the top-level object
	bool escaped; // the next byte of the string is behind a backslash
	bool array_seen;
	size_t depth;	   // open brackets in the rest or in the element
	size_t name_start; // in rest, of the name being read
	struct strbuf rest;
	struct strbuf element; // the part of an element that earlier feeds brought
	struct err failed;     // code 0: not failed
};

struct json_stream *json_stream_new(const char *array_name, size_t element_max, size_t rest_max,
				    json_element_fn *fn, void *arg)
{
	struct json_stream *stream = xnew(struct json_stream);

	stream->array_name = xstrdup(array_name);
	stream->element_max = element_max;
	stream->fn = fn;
	stream->arg = arg;
	stream->rest = STRBUF_INIT(rest_max);
	stream->element = STRBUF_INIT(element_max);
	return stream;
}

struct json_stream *json_stream_free(struct json_stream *stream)
{
	if (!stream)
		return NULL;
	free(stream->array_name);
	strbuf_free(&stream->rest);
	strbuf_free(&stream->element);
	free(stream);
	return NULL;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static int fail(struct json_stream *stream, const char *what)
{
	return err_set(&stream->failed, -EINVAL, "not valid JSON: %s", what);
}

static int rest_add(struct json_stream *stream, const char *from, const char *to)
{
	int r;

	r = strbuf_add(&stream->rest, from, (size_t)(to - from));
	if (r < 0)
		return err_set(&stream->failed, r,
			       "answer too long: more than %zu bytes beside \"%s\"",
			       stream->rest.max, stream->array_name);
	return 0;
}

static int element_add(struct json_stream *stream, const char *from, const char *to)
{
	int r;

	r = strbuf_add(&stream->element, from, (size_t)(to - from));
	if (r < 0)
		return err_set(&stream->failed, r,
			       "an element of \"%s\" is too long: more than %zu bytes",
			       stream->array_name, stream->element_max);
	return 0;
}

// Returns the byte behind the closing quote with *ret_closed, or end.
static const char *string_skip(struct json_stream *stream, const char *p, const char *end,
			       bool *ret_closed)
{
	const char *quote = NULL;

	*ret_closed = false;
	while (p < end) {
		const char *backslash;

		if (stream->escaped) {
			stream->escaped = false;
			p++;
			continue;
		}
		// Searched once per quote, not once per backslash: hostile text must stay linear.
		if (!quote || quote < p)
			quote = memchr(p, '"', (size_t)(end - p));
		if (!quote)
			quote = end;
		backslash = memchr(p, '\\', (size_t)(quote - p));
		if (backslash) {
			stream->escaped = true;
			p = backslash + 1;
		} else if (quote == end) {
			return end;
		} else {
			*ret_closed = true;
			return quote + 1;
		}
	}
	return end;
}

// An element is complete; [from, to) is the part that this feed brought.
static int element_end(struct json_stream *stream, const char *from, const char *to)
{
	const char *text = from;
	size_t len = (size_t)(to - from);
	int r;

	// An element that came in one piece is handed on without a copy.
	if (stream->element.len > 0 || len > stream->element_max) {
		r = element_add(stream, from, to);
		if (r < 0)
			return r;
		text = stream->element.data;
		len = stream->element.len;
	}
	stream->state = STATE_AFTER;
	r = stream->fn(stream->arg, text, len);
	if (r != 0)
		return err_set(&stream->failed, r, "stopped at an element of \"%s\"",
			       stream->array_name);
	strbuf_reset(&stream->element);
	return 0;
}

static int element_run(struct json_stream *stream, const char **cursor, const char *end)
{
	const char *start = *cursor, *p = start;
	bool closed;

	while (p < end) {
		if (stream->state == STATE_ELEMENT_STRING) {
			p = string_skip(stream, p, end, &closed);
			if (closed)
				stream->state = STATE_ELEMENT;
			continue;
		}
		switch (*p++) {
		case '"':
			stream->state = STATE_ELEMENT_STRING;
			break;
		case '{':
		case '[':
			stream->depth++;
			break;
		case '}':
		case ']':
			if (--stream->depth > 0)
				break;
			stream->depth = 1; // back in the top-level object
			*cursor = p;
			return element_end(stream, start, p);
		}
	}
	*cursor = end;
	return element_add(stream, start, end);
}

// Between the elements: only white space, one comma between two, and the closing bracket.
static int gap_run(struct json_stream *stream, const char **cursor, const char *end)
{
	const char *p = *cursor;

	while (p < end && is_space(*p))
		p++;
	*cursor = p;
	if (p == end)
		return 0;
	if (*p == ']' && stream->state != STATE_NEXT) {
		stream->state = STATE_REST; // which takes the bracket
		stream->depth++;
	} else if (*p == ',' && stream->state == STATE_AFTER) {
		stream->state = STATE_NEXT;
		*cursor = p + 1;
	} else if (*p == '{' && stream->state != STATE_AFTER) {
		stream->state = STATE_ELEMENT;
		stream->depth = 0; // element_run counts this bracket
	} else {
		return fail(stream, "an array of objects has something else in it");
	}
	return 0;
}

// The string that ends the rest, closing quote included, was a name of the top-level object: is it the array's?
static int name_end(struct json_stream *stream)
{
	const char *name = stream->rest.data + stream->name_start;
	size_t len = stream->rest.len - stream->name_start - 1;

	stream->in_name = false;
	stream->member = MEMBER_VALUE;
	if (len != strlen(stream->array_name) || memcmp(name, stream->array_name, len) != 0)
		return 0;
	if (stream->array_seen)
		return fail(stream, "the array is there twice");
	stream->member = MEMBER_ARRAY_COLON;
	return 0;
}

// The bytes between the array's name and the bracket that opens it. Returns true for that bracket.
static bool array_opens(struct json_stream *stream, char c)
{
	enum member member = stream->member;

	if ((member != MEMBER_ARRAY_COLON && member != MEMBER_ARRAY_VALUE) || is_space(c))
		return false;
	stream->member = MEMBER_VALUE;
	if (member == MEMBER_ARRAY_COLON && c == ':')
		stream->member = MEMBER_ARRAY_VALUE;
	return member == MEMBER_ARRAY_VALUE && c == '[';
}

// One byte of the rest outside strings. Returns false when it is the last one for now.
static bool rest_byte(struct json_stream *stream, char c)
{
	if (array_opens(stream, c)) {
		stream->array_seen = true;
		stream->state = STATE_FIRST;
		return false;
	}
	switch (c) {
	case '"':
		stream->in_name = stream->depth == 1 && stream->member == MEMBER_NAME;
		stream->state = STATE_REST_STRING;
		break;
	case ',':
		if (stream->depth == 1)
			stream->member = MEMBER_NAME;
		break;
	case '{':
	case '[':
		stream->depth++;
		break;
	case '}':
	case ']':
		if (--stream->depth == 0) {
			stream->state = STATE_DONE;
			return false;
		}
		break;
	}
	return true;
}

static int rest_run(struct json_stream *stream, const char **cursor, const char *end)
{
	const char *start = *cursor, *p = start;
	bool more = true, closed;
	int r;

	while (p < end && more) {
		if (stream->state == STATE_REST_STRING) {
			p = string_skip(stream, p, end, &closed);
			if (!closed)
				break;
			stream->state = STATE_REST;
			if (!stream->in_name)
				continue;
			r = rest_add(stream, start, p);
			if (r < 0)
				return r;
			start = p;
			r = name_end(stream);
			if (r < 0)
				return r;
			continue;
		}
		more = rest_byte(stream, *p++);
		if (stream->state == STATE_REST_STRING)
			stream->name_start = stream->rest.len + (size_t)(p - start);
	}
	*cursor = p;
	return rest_add(stream, start, p);
}

// Outside the document there is only white space.
static int outside_run(struct json_stream *stream, const char **cursor, const char *end)
{
	const char *p = *cursor;

	while (p < end && is_space(*p))
		p++;
	*cursor = p;
	if (p == end)
		return 0;
	if (stream->state == STATE_DONE)
		return fail(stream, "text behind the end");
	if (*p != '{')
		return fail(stream, "it does not start with {");
	*cursor = p + 1;
	stream->state = STATE_REST;
	stream->member = MEMBER_NAME;
	stream->depth = 1;
	return rest_add(stream, p, p + 1);
}

static int run(struct json_stream *stream, const char **cursor, const char *end)
{
	switch (stream->state) {
	case STATE_START:
	case STATE_DONE:
		return outside_run(stream, cursor, end);
	case STATE_REST:
	case STATE_REST_STRING:
		return rest_run(stream, cursor, end);
	case STATE_FIRST:
	case STATE_AFTER:
	case STATE_NEXT:
		return gap_run(stream, cursor, end);
	case STATE_ELEMENT:
	case STATE_ELEMENT_STRING:
		return element_run(stream, cursor, end);
	}
	abort();
}

static int result(const struct json_stream *stream, struct err *e)
{
	if (e && stream->failed.code != 0)
		*e = stream->failed;
	return stream->failed.code;
}

int json_stream_feed(struct json_stream *stream, const char *data, size_t len, struct err *e)
{
	const char *cursor = data;
	const char *end = data + len;

	if (stream->failed.code != 0)
		return result(stream, e);
	while (cursor < end)
		if (run(stream, &cursor, end) != 0)
			break;
	return result(stream, e);
}

int json_stream_end(struct json_stream *stream, const char **ret_rest, size_t *ret_len, struct err *e)
{
	if (stream->failed.code == 0 && stream->state != STATE_DONE)
		(void)fail(stream, "it ends in the middle");
	if (stream->failed.code != 0)
		return result(stream, e);
	*ret_rest = strbuf_text(&stream->rest);
	*ret_len = stream->rest.len;
	return 0;
}
