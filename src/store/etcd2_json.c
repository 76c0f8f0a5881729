// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading the answers of etcd's v2 API while they arrive.
//
// DOC: a tree that is never one
//
// All answers are {"action":..,"node":{..},"prevNode":{..}} or {"errorCode":..,"message":..}; a node
// is {"key":..,"value":..,"modifiedIndex":..} or has "nodes":[..] below it, to any depth. Ten thousand
// leases come in one answer. Only one node is in memory at a time: it is told when its object closes.
// A node that has others below it is a directory with keys, which nobody asks for, and is not told;
// so what its text says behind "nodes" may overwrite what is kept.
//
// The grammar is kept as `expect`, the open brackets as a stack of what they belong to. Strings are
// decoded as they come; what is longer than its place is counted, and not kept. Members that we do not
// know are read and dropped.
#include "store/etcd2_json.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"
#include "store/kv.h"

#include <errno.h>
#include <string.h>

#define SCALAR_MAX 24

enum expect {
	EXPECT_VALUE,
	EXPECT_FIRST_VALUE, // or the end of the array
	EXPECT_FIRST_NAME,  // or the end of the object
	EXPECT_NAME,
	EXPECT_COLON,
	EXPECT_COMMA, // or the end of what is open
	EXPECT_STRING,
	EXPECT_ESCAPED,
	EXPECT_HEX,
	EXPECT_SCALAR,
	EXPECT_NOTHING,
};

enum place {
	PLACE_TOP,
	PLACE_NODE,
	PLACE_NODES,
	PLACE_OTHER_OBJECT,
	PLACE_OTHER_ARRAY,
};

enum member {
	MEMBER_OTHER,
	MEMBER_ACTION,
	MEMBER_NODE,
	MEMBER_PREVIOUS,
	MEMBER_ERROR_CODE,
	MEMBER_MESSAGE,
	MEMBER_CAUSE,
	MEMBER_KEY,
	MEMBER_TEXT,
	MEMBER_DIR,
	MEMBER_TTL,
	MEMBER_NODES,
	MEMBER_MODIFIED,
	MEMBER_CREATED,
};

static const struct {
	const char *name;
	enum place place;
	enum member member;
} members[] = {
	{ "action", PLACE_TOP, MEMBER_ACTION },
	{ "node", PLACE_TOP, MEMBER_NODE },
	{ "prevNode", PLACE_TOP, MEMBER_PREVIOUS },
	{ "errorCode", PLACE_TOP, MEMBER_ERROR_CODE },
	{ "message", PLACE_TOP, MEMBER_MESSAGE },
	{ "cause", PLACE_TOP, MEMBER_CAUSE },
	{ "key", PLACE_NODE, MEMBER_KEY },
	{ "value", PLACE_NODE, MEMBER_TEXT },
	{ "dir", PLACE_NODE, MEMBER_DIR },
	{ "ttl", PLACE_NODE, MEMBER_TTL },
	{ "nodes", PLACE_NODE, MEMBER_NODES },
	{ "modifiedIndex", PLACE_NODE, MEMBER_MODIFIED },
	{ "createdIndex", PLACE_NODE, MEMBER_CREATED },
};

struct etcd2_reader {
	etcd2_node_fn *fn;
	void *arg;

	enum expect expect;
	unsigned char places[ETCD2_DEPTH_MAX];
	size_t depth;
	enum member member; // whose value comes next
	bool in_name;	    // the string being read is a name
	unsigned int hex_left;
	unsigned int unit;  // of \uXXXX
	unsigned int high;  // the first of a pair; 0: none
	struct strbuf text; // of the string being read, where it has no place of its own
	struct strbuf *target;
	size_t text_len; // also of what was not kept

	struct strbuf key;
	struct strbuf value;
	struct etcd2_node node;
	bool node_open; // the node has not been told and has no others below it
	bool key_is_too_long;
	bool in_previous;
	struct etcd2_reply reply;
};

struct etcd2_reader *etcd2_reader_new(etcd2_node_fn *fn, void *arg)
{
	struct etcd2_reader *reader = xnew(struct etcd2_reader);

	reader->fn = fn;
	reader->arg = arg;
	reader->text = STRBUF_INIT(sizeof(reader->reply.message) - 1);
	reader->key = STRBUF_INIT(ETCD2_KEY_MAX);
	reader->value = STRBUF_INIT(KV_VALUE_MAX);
	return reader;
}

struct etcd2_reader *etcd2_reader_free(struct etcd2_reader *reader)
{
	if (!reader)
		return NULL;
	strbuf_free(&reader->text);
	strbuf_free(&reader->key);
	strbuf_free(&reader->value);
	free(reader);
	return NULL;
}

static int malformed(struct err *e, const char *what)
{
	return err_set(e, -EPROTO, "not an answer of etcd's v2 API: %s", what);
}

static enum place place_of(const struct etcd2_reader *reader)
{
	return (enum place)reader->places[reader->depth - 1];
}

static bool is_array(enum place place)
{
	return place == PLACE_NODES || place == PLACE_OTHER_ARRAY;
}

// ---- nodes ----

static void node_begin(struct etcd2_reader *reader)
{
	strbuf_reset(&reader->key);
	strbuf_reset(&reader->value);
	reader->node = (struct etcd2_node){ .is_previous = reader->in_previous };
	reader->node_open = true;
	reader->key_is_too_long = false;
}

static int node_end(struct etcd2_reader *reader, struct err *e)
{
	struct etcd2_node *node = &reader->node;
	int r;

	if (!reader->node_open)
		return 0;
	reader->node_open = false;
	if (reader->key_is_too_long) {
		log_rl(LOG_LEVEL_WARN, "etcd: ignore a key of more than %d bytes", ETCD2_KEY_MAX);
		return 0;
	}
	node->key = strbuf_text(&reader->key);
	node->key_len = reader->key.len;
	if (node->value)
		node->value = strbuf_text(&reader->value);
	r = reader->fn(reader->arg, node, &reader->reply);
	return r == 0 ? 0 : err_set(e, r, "ended by the reader");
}

// ---- brackets ----

static int open_bracket(struct etcd2_reader *reader, bool array, struct err *e)
{
	enum place place = array ? PLACE_OTHER_ARRAY : PLACE_OTHER_OBJECT;

	if (reader->depth == ETCD2_DEPTH_MAX)
		return malformed(e, "too deep");
	if (reader->depth == 0) {
		if (array)
			return malformed(e, "not an object");
		place = PLACE_TOP;
	} else if (!array && (reader->member == MEMBER_NODE || reader->member == MEMBER_PREVIOUS ||
			      place_of(reader) == PLACE_NODES)) {
		place = PLACE_NODE;
		if (reader->member == MEMBER_NODE)
			reader->reply.has_node = true;
		if (reader->member == MEMBER_PREVIOUS)
			reader->reply.has_previous = true;
		if (place_of(reader) != PLACE_NODES)
			reader->in_previous = reader->member == MEMBER_PREVIOUS;
		node_begin(reader);
	} else if (array && reader->member == MEMBER_NODES) {
		place = PLACE_NODES;
		reader->node_open = false;
	}
	reader->places[reader->depth++] = (unsigned char)place;
	reader->member = MEMBER_OTHER;
	reader->expect = array ? EXPECT_FIRST_VALUE : EXPECT_FIRST_NAME;
	return 0;
}

static int close_bracket(struct etcd2_reader *reader, bool array, struct err *e)
{
	enum place place = place_of(reader);

	if (is_array(place) != array)
		return malformed(e, "brackets do not match");
	reader->depth--;
	reader->expect = reader->depth > 0 ? EXPECT_COMMA : EXPECT_NOTHING;
	return place == PLACE_NODE ? node_end(reader, e) : 0;
}

// ---- strings ----

static void begin_string(struct etcd2_reader *reader, bool is_name)
{
	reader->in_name = is_name;
	reader->text_len = 0;
	reader->high = 0;
	reader->target = &reader->text;
	if (!is_name && reader->member == MEMBER_KEY)
		reader->target = &reader->key;
	else if (!is_name && reader->member == MEMBER_TEXT)
		reader->target = &reader->value;
	strbuf_reset(reader->target);
	reader->expect = EXPECT_STRING;
}

// What is too long for its place is cut there; text_len tells how much there was.
static void add_text(struct etcd2_reader *reader, const char *data, size_t len)
{
	size_t room = reader->target->max - reader->target->len;

	(void)strbuf_add(reader->target, data, len < room ? len : room);
	reader->text_len += len;
}

static void add_code_point(struct etcd2_reader *reader, unsigned int c)
{
	char bytes[4];
	size_t len = 0;

	if (c < 0x80) {
		bytes[len++] = (char)c;
	} else if (c < 0x800) {
		bytes[len++] = (char)(0xc0 | c >> 6);
		bytes[len++] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		bytes[len++] = (char)(0xe0 | c >> 12);
		bytes[len++] = (char)(0x80 | (c >> 6 & 0x3f));
		bytes[len++] = (char)(0x80 | (c & 0x3f));
	} else {
		bytes[len++] = (char)(0xf0 | c >> 18);
		bytes[len++] = (char)(0x80 | (c >> 12 & 0x3f));
		bytes[len++] = (char)(0x80 | (c >> 6 & 0x3f));
		bytes[len++] = (char)(0x80 | (c & 0x3f));
	}
	add_text(reader, bytes, len);
}

// Half of a pair that the other half does not follow stands for nothing.
static void end_pair(struct etcd2_reader *reader)
{
	if (reader->high == 0)
		return;
	reader->high = 0;
	add_code_point(reader, 0xfffd);
}

static void add_unit(struct etcd2_reader *reader, unsigned int unit)
{
	bool is_low = unit >= 0xdc00 && unit <= 0xdfff;

	if (reader->high != 0 && is_low) {
		unit = 0x10000 + ((reader->high - 0xd800) << 10) + (unit - 0xdc00);
		reader->high = 0;
		add_code_point(reader, unit);
		return;
	}
	end_pair(reader);
	if (unit >= 0xd800 && unit <= 0xdbff)
		reader->high = unit;
	else
		add_code_point(reader, is_low ? 0xfffd : unit);
}

static int run_escape(struct etcd2_reader *reader, char c, struct err *e)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *at = c != '\0' ? strchr(from, c) : NULL;

	if (c == 'u') {
		reader->expect = EXPECT_HEX;
		reader->hex_left = 4;
		reader->unit = 0;
		return 0;
	}
	if (!at)
		return malformed(e, "a bad escape");
	end_pair(reader);
	add_text(reader, &to[at - from], 1);
	reader->expect = EXPECT_STRING;
	return 0;
}

static int run_hex(struct etcd2_reader *reader, char c, struct err *e)
{
	static const char digits[] = "0123456789abcdef";
	char lower = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
	const char *at = lower != '\0' ? strchr(digits, lower) : NULL;

	if (!at)
		return malformed(e, "a bad escape");
	reader->unit = reader->unit << 4 | (unsigned int)(at - digits);
	if (--reader->hex_left > 0)
		return 0;
	add_unit(reader, reader->unit);
	reader->expect = EXPECT_STRING;
	return 0;
}

static void find_member(struct etcd2_reader *reader)
{
	const char *name = strbuf_text(&reader->text);
	size_t i;

	reader->member = MEMBER_OTHER;
	for (i = 0; i < ARRAY_SIZE(members); i++)
		if (members[i].place == place_of(reader) &&
		    reader->text_len == strlen(members[i].name) &&
		    memcmp(name, members[i].name, reader->text_len) == 0)
			reader->member = members[i].member;
}

static void copy_text(const struct etcd2_reader *reader, char *ret, size_t size)
{
	(void)text_copy(ret, size, strbuf_text(&reader->text));
}

static void end_string(struct etcd2_reader *reader)
{
	end_pair(reader);
	if (reader->in_name) {
		find_member(reader);
		reader->expect = EXPECT_COLON;
		return;
	}
	if (reader->member == MEMBER_KEY)
		reader->key_is_too_long = reader->text_len > ETCD2_KEY_MAX;
	if (reader->member == MEMBER_TEXT) {
		reader->node.value_len = reader->text_len;
		reader->node.value = reader->text_len <= KV_VALUE_MAX
					     ? ""
					     : NULL; // its place is known in the end
	}
	if (reader->member == MEMBER_ACTION)
		copy_text(reader, reader->reply.action, sizeof(reader->reply.action));
	if (reader->member == MEMBER_MESSAGE)
		copy_text(reader, reader->reply.message, sizeof(reader->reply.message));
	if (reader->member == MEMBER_CAUSE)
		copy_text(reader, reader->reply.cause, sizeof(reader->reply.cause));
	reader->member = MEMBER_OTHER;
	reader->expect = EXPECT_COMMA;
}

// Takes what stands for itself in one go.
static int run_string(struct etcd2_reader *reader, const char **cursor, const char *end, struct err *e)
{
	const char *start = *cursor;
	const char *p = start;

	while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= ' ')
		p++;
	if (p > start) {
		end_pair(reader);
		add_text(reader, start, (size_t)(p - start));
	}
	*cursor = p;
	if (p == end)
		return 0;
	++*cursor;
	if (*p == '\\')
		reader->expect = EXPECT_ESCAPED;
	else if (*p == '"')
		end_string(reader);
	else
		return malformed(e, "a control character in a string");
	return 0;
}

// ---- numbers and words ----

static int end_scalar(struct etcd2_reader *reader, struct err *e)
{
	const char *text = strbuf_text(&reader->text);
	int64_t *number = NULL;

	if (reader->member == MEMBER_ERROR_CODE)
		number = &reader->reply.error_code;
	else if (reader->member == MEMBER_TTL)
		number = &reader->node.ttl_s;
	else if (reader->member == MEMBER_MODIFIED)
		number = &reader->node.modified_index;
	else if (reader->member == MEMBER_CREATED)
		number = &reader->node.created_index;
	if (number && (parse_whole_i64(text, number) < 0 || *number < 0))
		return malformed(e, "a bad number");
	if (reader->member == MEMBER_TTL)
		reader->node.has_ttl = true;
	if (reader->member == MEMBER_DIR)
		reader->node.is_dir = strcmp(text, "true") == 0;
	reader->member = MEMBER_OTHER;
	reader->expect = EXPECT_COMMA;
	return 0;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_scalar(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' ||
	       c == '.' || c == 'E';
}

static int run_scalar(struct etcd2_reader *reader, const char **cursor, struct err *e)
{
	if (!is_scalar(**cursor))
		return end_scalar(reader, e);
	if (strbuf_putc(&reader->text, **cursor) < 0 || reader->text.len > SCALAR_MAX)
		return malformed(e, "a bad number");
	++*cursor;
	return 0;
}

// ---- all together ----

static int run_value(struct etcd2_reader *reader, const char **cursor, struct err *e)
{
	char c = **cursor;

	if (c == ']' && reader->expect == EXPECT_FIRST_VALUE) {
		++*cursor;
		return close_bracket(reader, true, e);
	}
	if (is_scalar(c) && reader->depth > 0) {
		strbuf_reset(&reader->text);
		reader->expect = EXPECT_SCALAR;
		return 0;
	}
	++*cursor;
	if (c == '"' && reader->depth > 0)
		begin_string(reader, false);
	else if (c == '{' || c == '[')
		return open_bracket(reader, c == '[', e);
	else
		return malformed(e, "no value where one should be");
	return 0;
}

static int run_mark(struct etcd2_reader *reader, char c, struct err *e)
{
	switch (reader->expect) {
	case EXPECT_FIRST_NAME:
	case EXPECT_NAME:
		if (c == '}' && reader->expect == EXPECT_FIRST_NAME)
			return close_bracket(reader, false, e);
		if (c != '"')
			break;
		begin_string(reader, true);
		return 0;
	case EXPECT_COLON:
		if (c != ':')
			break;
		reader->expect = EXPECT_VALUE;
		return 0;
	case EXPECT_COMMA:
		if (c == '}' || c == ']')
			return close_bracket(reader, c == ']', e);
		if (c != ',')
			break;
		reader->expect = is_array(place_of(reader)) ? EXPECT_VALUE : EXPECT_NAME;
		return 0;
	case EXPECT_VALUE:
	case EXPECT_FIRST_VALUE:
	case EXPECT_STRING:
	case EXPECT_ESCAPED:
	case EXPECT_HEX:
	case EXPECT_SCALAR:
	case EXPECT_NOTHING:
		break;
	}
	return malformed(e, "not JSON");
}

static int run(struct etcd2_reader *reader, const char **cursor, const char *end, struct err *e)
{
	switch (reader->expect) {
	case EXPECT_STRING:
		return run_string(reader, cursor, end, e);
	case EXPECT_ESCAPED:
		return run_escape(reader, *(*cursor)++, e);
	case EXPECT_HEX:
		return run_hex(reader, *(*cursor)++, e);
	case EXPECT_SCALAR:
		return run_scalar(reader, cursor, e);
	case EXPECT_VALUE:
	case EXPECT_FIRST_VALUE:
	case EXPECT_FIRST_NAME:
	case EXPECT_NAME:
	case EXPECT_COLON:
	case EXPECT_COMMA:
	case EXPECT_NOTHING:
		break;
	}
	if (is_space(**cursor)) {
		++*cursor;
		return 0;
	}
	if (reader->expect == EXPECT_VALUE || reader->expect == EXPECT_FIRST_VALUE)
		return run_value(reader, cursor, e);
	return run_mark(reader, *(*cursor)++, e);
}

int etcd2_reader_feed(struct etcd2_reader *reader, const char *data, size_t len, struct err *e)
{
	const char *cursor = data;
	const char *end = data + len;
	int r = 0;

	while (r == 0 && cursor < end)
		r = run(reader, &cursor, end, e);
	return r;
}

int etcd2_reader_end(const struct etcd2_reader *reader, struct etcd2_reply *ret, struct err *e)
{
	if (reader->expect == EXPECT_VALUE && reader->depth == 0)
		return err_set(e, -ENODATA, "the answer is empty");
	if (reader->expect != EXPECT_NOTHING)
		return malformed(e, "cut short");
	*ret = reader->reply;
	return 0;
}
