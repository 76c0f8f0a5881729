// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading JSON (RFC 8259) into a document.
#include "cni/doc_internal.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

struct reader {
	struct doc *doc;
	const char *at, *end;
	unsigned int depth;
	struct strbuf string; // of the string being decoded
};

static int read_value(struct reader *reader, struct doc_value *ret);

static void skip_space(struct reader *reader)
{
	while (reader->at < reader->end && memchr(" \t\r\n", *reader->at, 4))
		reader->at++;
}

// Past c, and the white space before it.
static bool take(struct reader *reader, char c)
{
	skip_space(reader);
	if (reader->at == reader->end || *reader->at != c)
		return false;
	reader->at++;
	return true;
}

static void add_code_point(struct strbuf *out, uint32_t code)
{
	if (code < 0x80) {
		(void)strbuf_putc(out, (char)code);
		return;
	}
	if (code < 0x800) {
		(void)strbuf_putc(out, (char)(0xc0 | code >> 6));
	} else {
		if (code < 0x10000) {
			(void)strbuf_putc(out, (char)(0xe0 | code >> 12));
		} else {
			(void)strbuf_putc(out, (char)(0xf0 | code >> 18));
			(void)strbuf_putc(out, (char)(0x80 | (code >> 12 & 0x3f)));
		}
		(void)strbuf_putc(out, (char)(0x80 | (code >> 6 & 0x3f)));
	}
	(void)strbuf_putc(out, (char)(0x80 | (code & 0x3f)));
}

// The four digits behind \u.
static int read_unit(struct reader *reader, uint32_t *ret)
{
	char digits[5];
	const char *cursor = digits;
	uint64_t value;

	if (reader->end - reader->at < 4)
		return -EINVAL;
	memcpy(digits, reader->at, 4);
	digits[4] = '\0';
	if (!parse_hex(&cursor, 4, &value) || cursor != digits + 4)
		return -EINVAL;
	reader->at += 4;
	*ret = (uint32_t)value;
	return 0;
}

static int read_code_point(struct reader *reader)
{
	uint32_t high, low;

	if (read_unit(reader, &high) < 0)
		return -EINVAL;
	if (high >= 0xd800 && high < 0xdc00) {
		if (reader->end - reader->at < 2 || memcmp(reader->at, "\\u", 2) != 0)
			return -EINVAL;
		reader->at += 2;
		if (read_unit(reader, &low) < 0 || low < 0xdc00 || low > 0xdfff)
			return -EINVAL;
		high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
	} else if (high == 0 || (high >= 0xdc00 && high <= 0xdfff)) {
		return -EINVAL;
	}
	add_code_point(&reader->string, high);
	return 0;
}

static int read_escape(struct reader *reader)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *found;

	if (reader->at == reader->end)
		return -EINVAL;
	if (*reader->at == 'u') {
		reader->at++;
		return read_code_point(reader);
	}
	found = *reader->at ? strchr(from, *reader->at) : NULL;
	if (!found)
		return -EINVAL;
	reader->at++;
	return strbuf_putc(&reader->string, to[found - from]);
}

// Behind the opening quote. The text is the document's.
static int read_string(struct reader *reader, const char **ret)
{
	strbuf_reset(&reader->string);
	while (reader->at < reader->end && *reader->at != '"') {
		size_t len;

		if ((unsigned char)*reader->at < 0x20)
			return -EINVAL;
		if (*reader->at == '\\') {
			reader->at++;
			if (read_escape(reader) < 0)
				return -EINVAL;
			continue;
		}
		len = text_utf8_len(reader->at, (size_t)(reader->end - reader->at));
		if (len == 0)
			return -EINVAL;
		(void)strbuf_add(&reader->string, reader->at, len);
		reader->at += len;
	}
	if (reader->at == reader->end)
		return -EINVAL;
	reader->at++;
	*ret = doc_keep(reader->doc, strbuf_text(&reader->string), reader->string.len);
	return 0;
}

static size_t count_digits(const struct reader *reader, const char *from)
{
	const char *at = from;

	while (at < reader->end && *at >= '0' && *at <= '9')
		at++;
	return (size_t)(at - from);
}

static int read_number(struct reader *reader, struct doc_value *ret)
{
	const char *at = reader->at;
	size_t digits;

	at += at < reader->end && *at == '-';
	digits = count_digits(reader, at);
	if (digits == 0 || (digits > 1 && *at == '0'))
		return -EINVAL;
	at += digits;
	if (at < reader->end && *at == '.') {
		digits = count_digits(reader, ++at);
		if (digits == 0)
			return -EINVAL;
		at += digits;
	}
	if (at < reader->end && (*at == 'e' || *at == 'E')) {
		at++;
		at += at < reader->end && (*at == '+' || *at == '-');
		digits = count_digits(reader, at);
		if (digits == 0)
			return -EINVAL;
		at += digits;
	}
	ret->kind = DOC_NUMBER;
	ret->text = doc_keep(reader->doc, reader->at, (size_t)(at - reader->at));
	reader->at = at;
	return 0;
}

static int read_word(struct reader *reader, struct doc_value *ret)
{
	static const struct {
		const char *text;
		struct doc_value value;
	} words[] = {
		{ "null", { .kind = DOC_NULL } },
		{ "true", { .kind = DOC_BOOL, .truth = true } },
		{ "false", { .kind = DOC_BOOL } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t len = strlen(words[i].text);

		if ((size_t)(reader->end - reader->at) >= len &&
		    memcmp(reader->at, words[i].text, len) == 0) {
			reader->at += len;
			ret->kind = words[i].value.kind;
			ret->truth = words[i].value.truth;
			return 0;
		}
	}
	return -EINVAL;
}

// One member or element, with its key in an object.
static int read_item(struct reader *reader, bool object, struct doc_value **ret) // NOLINT(misc-no-recursion)
{
	struct doc_value *item = doc_new(reader->doc, DOC_NULL);
	int r;

	if (object && (!take(reader, '"') || read_string(reader, &item->key) < 0 || !take(reader, ':')))
		return -EINVAL;
	r = read_value(reader, item);
	if (r < 0)
		return r;
	*ret = item;
	return 0;
}

// Behind the opening bracket.
static int read_items(struct reader *reader, struct doc_value *ret) // NOLINT(misc-no-recursion)
{
	bool object = ret->kind == DOC_OBJECT;
	struct doc_value **tail = &ret->first;
	char close = object ? '}' : ']';
	int r;

	if (take(reader, close))
		return 0;
	do {
		r = read_item(reader, object, tail);
		if (r < 0)
			return r;
		tail = &(*tail)->next;
	} while (take(reader, ','));
	return take(reader, close) ? 0 : -EINVAL;
}

static int read_value(struct reader *reader,
		      struct doc_value *ret) // NOLINT(misc-no-recursion): bounded by depth
{
	int r;

	skip_space(reader);
	if (reader->at == reader->end)
		return -EINVAL;
	switch (*reader->at) {
	case '{':
	case '[':
		ret->kind = *reader->at++ == '{' ? DOC_OBJECT : DOC_ARRAY;
		if (++reader->depth > DOC_DEPTH_MAX)
			return -E2BIG;
		r = read_items(reader, ret);
		reader->depth--;
		return r;
	case '"':
		reader->at++;
		ret->kind = DOC_STRING;
		return read_string(reader, &ret->text);
	case 'n':
	case 't':
	case 'f':
		return read_word(reader, ret);
	default:
		return read_number(reader, ret);
	}
}

int doc_parse(struct doc *doc, const char *text, size_t len, size_t *ret_offset)
{
	struct reader reader = {
		.doc = doc, .at = text, .end = text + len, .string = STRBUF_INIT(DOC_TEXT_MAX)
	};
	struct doc_value *root;
	int r;

	if (len > DOC_TEXT_MAX)
		return -E2BIG;
	root = doc_new(doc, DOC_NULL);
	r = read_value(&reader, root);
	if (r == 0)
		skip_space(&reader);
	if (r == 0 &&
	    (reader.at != reader.end || (root->kind != DOC_ARRAY && root->kind != DOC_OBJECT)))
		r = -EINVAL;
	strbuf_free(&reader.string);
	if (r < 0) {
		if (ret_offset)
			*ret_offset = (size_t)(reader.at - text);
		return r;
	}
	doc->root = root;
	return 0;
}
