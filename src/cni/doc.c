// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: JSON documents in memory: looking up, building, writing. The reader is in doc_parse.c.
#include "cni/doc_internal.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

// Values and texts are taken from blocks and go with them.
struct doc_block {
	struct doc_block *next;
	size_t size, used;
	_Alignas(max_align_t) char data[];
};

#define DOC_BLOCK_SIZE 8192

void *doc_allocate(struct doc *doc, size_t size)
{
	size_t wanted = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
	struct doc_block *block = doc->blocks;
	void *memory;

	if (!block || block->size - block->used < wanted) {
		size_t room = wanted > DOC_BLOCK_SIZE ? wanted : DOC_BLOCK_SIZE;

		block = xmalloc(sizeof(*block) + room);
		*block = (struct doc_block){ .next = doc->blocks, .size = room };
		doc->blocks = block;
	}
	memory = block->data + block->used;
	block->used += wanted;
	return memory;
}

const char *doc_keep(struct doc *doc, const char *text, size_t len)
{
	char *copy = doc_allocate(doc, len + 1);

	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

void doc_free(struct doc *doc)
{
	struct doc_block *block = doc->blocks;

	while (block) {
		struct doc_block *next = block->next;

		free(block);
		block = next;
	}
	*doc = (struct doc){ 0 };
}

const struct doc_value *doc_get(const struct doc_value *object, const char *key)
{
	const struct doc_value *found = NULL;

	if (!object || object->kind != DOC_OBJECT)
		return NULL;
	for (const struct doc_value *at = object->first; at; at = at->next)
		if (text_equal(at->key, key))
			found = at;
	return found;
}

const struct doc_value *doc_get_kind(const struct doc_value *object, const char *key, enum doc_kind kind)
{
	const struct doc_value *value = doc_get(object, key);

	return value && value->kind == kind ? value : NULL;
}

const char *doc_get_text(const struct doc_value *object, const char *key)
{
	const struct doc_value *value = doc_get_kind(object, key, DOC_STRING);

	return value ? value->text : NULL;
}

bool doc_get_bool(const struct doc_value *object, const char *key, bool fallback)
{
	const struct doc_value *value = doc_get_kind(object, key, DOC_BOOL);

	return value ? value->truth : fallback;
}

int doc_get_u64(const struct doc_value *object, const char *key, uint64_t max, uint64_t *ret)
{
	const struct doc_value *value = doc_get(object, key);

	if (!value || value->kind == DOC_NULL)
		return -ENOENT;
	if (value->kind != DOC_NUMBER || parse_whole_u64(value->text, max, ret) < 0)
		return -EINVAL;
	return 0;
}

struct doc_value *doc_new(struct doc *doc, enum doc_kind kind)
{
	struct doc_value *value = doc_allocate(doc, sizeof(*value));

	*value = (struct doc_value){ .kind = kind };
	return value;
}

struct doc_value *doc_new_text(struct doc *doc, const char *text)
{
	struct doc_value *value = doc_new(doc, DOC_STRING);

	value->text = doc_keep(doc, text, strlen(text));
	return value;
}

struct doc_value *doc_new_u64(struct doc *doc, uint64_t number)
{
	struct doc_value *value = doc_new(doc, DOC_NUMBER);
	char text[24];

	(void)text_format(text, sizeof(text), "%" PRIu64, number);
	value->text = doc_keep(doc, text, strlen(text));
	return value;
}

struct doc_value *doc_new_bool(struct doc *doc, bool truth)
{
	struct doc_value *value = doc_new(doc, DOC_BOOL);

	value->truth = truth;
	return value;
}

struct doc_value *doc_copy(struct doc *doc,
			   const struct doc_value *value) // NOLINT(misc-no-recursion): bounded depth
{
	struct doc_value *copy = doc_new(doc, value->kind);
	struct doc_value **tail = &copy->first;

	copy->truth = value->truth;
	if (value->text)
		copy->text = doc_keep(doc, value->text, strlen(value->text));
	if (value->key)
		copy->key = doc_keep(doc, value->key, strlen(value->key));
	for (const struct doc_value *at = value->first; at; at = at->next) {
		*tail = doc_copy(doc, at);
		tail = &(*tail)->next;
	}
	return copy;
}

void doc_set(struct doc *doc, struct doc_value *object, const char *key, struct doc_value *value)
{
	struct doc_value **at = &object->first;

	while (*at)
		if (text_equal((*at)->key, key))
			*at = (*at)->next;
		else
			at = &(*at)->next;
	value->key = doc_keep(doc, key, strlen(key));
	value->next = NULL;
	*at = value;
}

void doc_append(struct doc_value *array, struct doc_value *value)
{
	struct doc_value **at = &array->first;

	while (*at)
		at = &(*at)->next;
	value->key = NULL;
	value->next = NULL;
	*at = value;
}

// Members that a later one of the same name hides do not count.
static bool hidden(const struct doc_value *member)
{
	for (const struct doc_value *at = member->next; at; at = at->next)
		if (text_equal(at->key, member->key))
			return true;
	return false;
}

static size_t count_members(const struct doc_value *object)
{
	size_t count = 0;

	for (const struct doc_value *at = object->first; at; at = at->next)
		count += !hidden(at);
	return count;
}

static bool object_equal(const struct doc_value *a, const struct doc_value *b) // NOLINT(misc-no-recursion)
{
	if (count_members(a) != count_members(b))
		return false;
	for (const struct doc_value *at = a->first; at; at = at->next) {
		const struct doc_value *other = doc_get(b, at->key);

		if (!hidden(at) && (!other || !doc_equal(at, other)))
			return false;
	}
	return true;
}

static bool array_equal(const struct doc_value *a, const struct doc_value *b) // NOLINT(misc-no-recursion)
{
	const struct doc_value *left = a->first, *right = b->first;

	for (; left && right; left = left->next, right = right->next)
		if (!doc_equal(left, right))
			return false;
	return !left && !right;
}

bool doc_equal(const struct doc_value *a, const struct doc_value *b) // NOLINT(misc-no-recursion)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case DOC_NULL:
		return true;
	case DOC_BOOL:
		return a->truth == b->truth;
	case DOC_NUMBER:
	case DOC_STRING:
		return text_equal(a->text, b->text);
	case DOC_ARRAY:
		return array_equal(a, b);
	case DOC_OBJECT:
		return object_equal(a, b);
	}
	return false;
}

// What Go's encoder never writes as it is: the two line ends of Unicode, which JavaScript once stumbled over.
static bool is_line_separator(const char *text)
{
	return memcmp(text, "\xe2\x80\xa8", 3) == 0 || memcmp(text, "\xe2\x80\xa9", 3) == 0;
}

int doc_write_text(const char *text, struct strbuf *out)
{
	(void)strbuf_putc(out, '"');
	for (const char *at = text; *at; at++) {
		unsigned char c = (unsigned char)*at;

		if (c == '"' || c == '\\')
			(void)strbuf_printf(out, "\\%c", c);
		else if (c == '\n')
			(void)strbuf_puts(out, "\\n");
		else if (c == '\r')
			(void)strbuf_puts(out, "\\r");
		else if (c == '\t')
			(void)strbuf_puts(out, "\\t");
		else if (c < 0x20 || c == '<' || c == '>' || c == '&')
			(void)strbuf_printf(out, "\\u%04x", c);
		else if (c == 0xe2 && strnlen(at, 3) == 3 && is_line_separator(at)) {
			(void)strbuf_printf(out, "\\u20%02x", (unsigned char)at[2] - 0x80);
			at += 2;
		} else
			(void)strbuf_putc(out, *at);
	}
	return strbuf_putc(out, '"');
}

// The member that comes after `last` by name, or the first when there is none yet.
static const struct doc_value *next_by_name(const struct doc_value *object, const struct doc_value *last)
{
	const struct doc_value *best = NULL;

	for (const struct doc_value *at = object->first; at; at = at->next)
		if ((!last || strcmp(at->key, last->key) > 0) &&
		    (!best || strcmp(at->key, best->key) <= 0))
			best = at;
	return best;
}

static void write_member(const struct doc_value *member, bool sorted, bool comma,
			 struct strbuf *out) // NOLINT(misc-no-recursion)
{
	if (comma)
		(void)strbuf_putc(out, ',');
	(void)doc_write_text(member->key, out);
	(void)strbuf_putc(out, ':');
	(void)doc_write(member, sorted, out);
}

static void write_object(const struct doc_value *object, bool sorted,
			 struct strbuf *out) // NOLINT(misc-no-recursion)
{
	bool comma = false;

	(void)strbuf_putc(out, '{');
	if (sorted)
		for (const struct doc_value *at = next_by_name(object, NULL); at;
		     at = next_by_name(object, at)) {
			write_member(at, sorted, comma, out);
			comma = true;
		}
	else
		for (const struct doc_value *at = object->first; at; at = at->next)
			if (!hidden(at)) {
				write_member(at, sorted, comma, out);
				comma = true;
			}
	(void)strbuf_putc(out, '}');
}

static void write_array(const struct doc_value *array, bool sorted,
			struct strbuf *out) // NOLINT(misc-no-recursion)
{
	(void)strbuf_putc(out, '[');
	for (const struct doc_value *at = array->first; at; at = at->next) {
		if (at != array->first)
			(void)strbuf_putc(out, ',');
		(void)doc_write(at, sorted, out);
	}
	(void)strbuf_putc(out, ']');
}

int doc_write(const struct doc_value *value, bool sorted, struct strbuf *out) // NOLINT(misc-no-recursion)
{
	switch (value->kind) {
	case DOC_NULL:
		(void)strbuf_puts(out, "null");
		break;
	case DOC_BOOL:
		(void)strbuf_puts(out, value->truth ? "true" : "false");
		break;
	case DOC_NUMBER:
		(void)strbuf_puts(out, value->text);
		break;
	case DOC_STRING:
		(void)doc_write_text(value->text, out);
		break;
	case DOC_ARRAY:
		write_array(value, sorted, out);
		break;
	case DOC_OBJECT:
		write_object(value, sorted, out);
		break;
	}
	return out->overflow ? -E2BIG : 0;
}
