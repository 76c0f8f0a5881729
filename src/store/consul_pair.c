// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: keys of Consul, and reading its pairs.
//
// Ten thousand pairs come at once, and again whenever one of them changes. They are flat objects,
// and are read where they stand, without a tree; a value is not decoded before it is wanted.
#include "store/consul_json.h"

#include "core/base64.h"
#include "core/parse.h"
#include "core/text.h"
#include "store/kv_internal.h"

#include <errno.h>
#include <string.h>

// ---- keys ----

int consul_key_check(const char *key, size_t len, struct err *e)
{
	char shown[TEXT_EXCERPT_MAX];
	size_t i = 0;

	while (i < len) {
		size_t step = text_utf8_len(key + i, len - i);

		if (step == 0)
			break;
		i += step;
	}
	if (len < 2 || key[0] != '/' || i < len)
		return err_set(e, -EINVAL, "consul: no key of a store: \"%s\"",
			       text_excerpt(key, len, shown));
	return 0;
}

void consul_add_key_path(struct strbuf *path, const char *key, size_t len)
{
	const char *end = key + len;

	strbuf_puts(path, "/kv");
	for (; key < end; key++) {
		bool is_plain = (*key >= 'a' && *key <= 'z') || (*key >= 'A' && *key <= 'Z') ||
				(*key >= '0' && *key <= '9') ||
				(*key != '\0' && strchr("/-._~", *key));

		if (is_plain)
			strbuf_putc(path, *key);
		else
			strbuf_printf(path, "%%%02x", (unsigned char)*key);
	}
}

// ---- a scanner of flat objects ----

struct scanner {
	const char *at;
	const char *end;
};

static void skip_space(struct scanner *scanner)
{
	while (scanner->at < scanner->end && (*scanner->at == ' ' || *scanner->at == '\t' ||
					      *scanner->at == '\n' || *scanner->at == '\r'))
		scanner->at++;
}

static bool take_char(struct scanner *scanner, char c)
{
	skip_space(scanner);
	if (scanner->at >= scanner->end || *scanner->at != c)
		return false;
	scanner->at++;
	return true;
}

// A string or what stands between its quotes, as it is written.
struct slice {
	const char *text;
	size_t len;
	bool is_string;
	bool has_escapes;
};

static bool take_string(struct scanner *scanner, struct slice *ret)
{
	const char *start;
	const char *at;

	if (!take_char(scanner, '"'))
		return false;
	*ret = (struct slice){ .text = scanner->at, .is_string = true };
	start = scanner->at;
	for (at = start; at < scanner->end && *at != '"'; at++) {
		if (*at != '\\')
			continue;
		ret->has_escapes = true;
		at++;
	}
	if (at >= scanner->end)
		return false;
	ret->len = (size_t)(at - start);
	scanner->at = at + 1;
	return true;
}

// A number, true, false or null.
static bool take_word(struct scanner *scanner, struct slice *ret)
{
	const char *start;

	skip_space(scanner);
	start = scanner->at;
	while (scanner->at < scanner->end && *scanner->at != '\0' &&
	       !strchr(",}]\"{[: \t\r\n", *scanner->at))
		scanner->at++;
	*ret = (struct slice){ .text = start, .len = (size_t)(scanner->at - start) };
	return ret->len > 0;
}

static bool slice_is(const struct slice *slice, const char *text)
{
	return slice->len == strlen(text) && memcmp(slice->text, text, slice->len) == 0;
}

static bool slice_number(const struct slice *slice, int64_t *ret)
{
	char digits[24];

	if (slice->is_string || slice->len >= sizeof(digits))
		return false;
	memcpy(digits, slice->text, slice->len);
	digits[slice->len] = '\0';
	return parse_whole_i64(digits, ret) == 0 && *ret >= 0;
}

static void add_utf8(struct strbuf *out, uint32_t c)
{
	if (c < 0x80) {
		strbuf_putc(out, (char)c);
	} else if (c < 0x800) {
		strbuf_putc(out, (char)(0xc0 | c >> 6));
		strbuf_putc(out, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		strbuf_putc(out, (char)(0xe0 | c >> 12));
		strbuf_putc(out, (char)(0x80 | (c >> 6 & 0x3f)));
		strbuf_putc(out, (char)(0x80 | (c & 0x3f)));
	} else {
		strbuf_putc(out, (char)(0xf0 | c >> 18));
		strbuf_putc(out, (char)(0x80 | (c >> 12 & 0x3f)));
		strbuf_putc(out, (char)(0x80 | (c >> 6 & 0x3f)));
		strbuf_putc(out, (char)(0x80 | (c & 0x3f)));
	}
}

static bool take_hex4(const char **at, const char *end, uint32_t *ret)
{
	char digits[5];
	const char *cursor = digits;
	uint64_t number;

	if (end - *at < 4)
		return false;
	memcpy(digits, *at, 4);
	digits[4] = '\0';
	if (!parse_hex(&cursor, 4, &number) || !parse_end(cursor))
		return false;
	*at += 4;
	*ret = (uint32_t)number;
	return true;
}

// Behind "\u".
static bool add_unicode(struct strbuf *out, const char **at, const char *end)
{
	uint32_t c;
	uint32_t low;

	if (!take_hex4(at, end, &c))
		return false;
	if (c >= 0xd800 && c < 0xdc00) {
		if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
			return false;
		*at += 2;
		if (!take_hex4(at, end, &low) || low < 0xdc00 || low >= 0xe000)
			return false;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	} else if (c >= 0xdc00 && c < 0xe000) {
		return false;
	}
	add_utf8(out, c);
	return true;
}

static bool add_escape(struct strbuf *out, const char **at, const char *end)
{
	static const char names[] = "\"\\/bfnrt";
	static const char meant[] = "\"\\/\b\f\n\r\t";
	char name = *(*at)++;
	const char *found = name != '\0' ? strchr(names, name) : NULL;

	if (name == 'u')
		return add_unicode(out, at, end);
	return found && strbuf_putc(out, meant[found - names]) == 0;
}

static bool unescape(const struct slice *slice, struct strbuf *out)
{
	const char *at = slice->text;
	const char *end = at + slice->len;

	while (at < end) {
		if ((unsigned char)*at < ' ')
			return false;
		if (*at != '\\') {
			strbuf_putc(out, *at++);
			continue;
		}
		at++;
		if (at >= end || !add_escape(out, &at, end))
			return false;
	}
	return !out->overflow;
}

// ---- pairs ----

void consul_pair_free(struct consul_pair *pair)
{
	free(pair->raw_key);
	free(pair->shown_key);
	free(pair->value);
	*pair = (struct consul_pair){ 0 };
}

static bool set_key(struct consul_pair *pair, const struct slice *text)
{
	struct strbuf key = STRBUF_INIT(CONSUL_ELEMENT_MAX);

	free(pair->raw_key);
	free(pair->shown_key);
	pair->raw_key = pair->shown_key = NULL;
	strbuf_puts(&key, "/");
	if (!text->is_string || !unescape(text, &key) ||
	    consul_key_check(key.data, key.len, NULL) < 0) {
		strbuf_free(&key);
		return false;
	}
	pair->pair.raw_key_len = key.len;
	pair->raw_key = strbuf_take(&key);
	pair->shown_key = kv_key_shown(pair->raw_key, pair->pair.raw_key_len);
	pair->pair.raw_key = pair->raw_key;
	pair->pair.key = pair->shown_key ? pair->shown_key : pair->raw_key;
	return true;
}

bool consul_id_is_good(const char *text, size_t len)
{
	size_t i;

	if (len != CONSUL_ID_LEN)
		return false;
	for (i = 0; i < len; i++)
		if (text[i] != '-' && !(text[i] >= '0' && text[i] <= '9') &&
		    !(text[i] >= 'a' && text[i] <= 'f'))
			return false;
	return true;
}

static bool set_session(struct consul_pair *pair, const struct slice *text)
{
	if (!text->is_string || (text->len > 0 && !consul_id_is_good(text->text, text->len)))
		return false;
	memcpy(pair->session, text->text, text->len);
	pair->session[text->len] = '\0';
	return true;
}

static bool set_value(struct consul_pair *pair, const struct slice *text)
{
	if (text->has_escapes || (!text->is_string && !slice_is(text, "null")))
		return false;
	pair->value_text = text->text;
	pair->value_text_len = text->is_string ? text->len : 0;
	return true;
}

static bool set_member(struct consul_pair *pair, const struct slice *name, const struct slice *text)
{
	if (slice_is(name, "Key"))
		return set_key(pair, text);
	if (slice_is(name, "Value"))
		return set_value(pair, text);
	if (slice_is(name, "Session"))
		return set_session(pair, text);
	if (slice_is(name, "CreateIndex"))
		return slice_number(text, &pair->pair.create_revision);
	if (slice_is(name, "ModifyIndex"))
		return slice_number(text, &pair->pair.mod_revision);
	return true;
}

static bool take_pair(struct scanner *scanner, struct consul_pair *pair)
{
	struct slice name;
	struct slice text;

	if (!take_char(scanner, '{'))
		return false;
	do {
		if (!take_string(scanner, &name) || !take_char(scanner, ':'))
			return false;
		if (!take_string(scanner, &text) && !take_word(scanner, &text))
			return false;
		if (!set_member(pair, &name, &text))
			return false;
	} while (take_char(scanner, ','));
	return take_char(scanner, '}') && pair->raw_key && pair->pair.mod_revision > 0;
}

static bool read_pair(struct scanner *scanner, bool is_result, struct consul_pair *pair)
{
	struct slice name;

	if (!is_result)
		return take_pair(scanner, pair);
	return take_char(scanner, '{') && take_string(scanner, &name) && slice_is(&name, "KV") &&
	       take_char(scanner, ':') && take_pair(scanner, pair) && take_char(scanner, '}');
}

int consul_read_pair(const char *text, size_t len, bool is_result, struct consul_pair *ret,
		     struct err *e)
{
	_cleanup_consul_pair_ struct consul_pair pair = { 0 };
	struct scanner scanner = { text, text + len };
	char shown[TEXT_EXCERPT_MAX];
	bool is_good = read_pair(&scanner, is_result, &pair);

	skip_space(&scanner);
	if (!is_good || scanner.at != scanner.end)
		return err_set(e, -EPROTO, "answer: not a pair of Consul: \"%s\"",
			       text_excerpt(text, len, shown));
	*ret = pair;
	pair = (struct consul_pair){ 0 };
	return 0;
}

int consul_decode_value(struct consul_pair *pair, struct err *e)
{
	_cleanup_free_ char *value = NULL;
	size_t len = pair->value_text_len;

	if (len > base64_encoded_len(KV_VALUE_MAX)) {
		pair->pair.value_len = len / 4 * 3;
		return 0;
	}
	value = xmalloc(3 * len / 4 + 4);
	if (base64_decode(pair->value_text, len, value, &pair->pair.value_len) < 0)
		return err_set(e, -EPROTO, "answer: the value of %s is not base64", pair->pair.key);
	value[pair->pair.value_len] = '\0';
	pair->value = TAKE_PTR(value);
	pair->pair.value = pair->value;
	return 0;
}
