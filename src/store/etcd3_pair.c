// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading pairs and events of etcd's JSON gateway.
#include "core/base64.h"
#include "core/mem.h"
#include "core/parse.h"
#include "store/etcd3_json.h"

#include <errno.h>
#include <string.h>

void etcd3_pair_free(struct etcd3_pair *pair)
{
	free(pair->raw_key);
	free(pair->shown_key);
	free(pair->value);
	*pair = (struct etcd3_pair){ 0 };
}

// The decoded bytes, with a terminator. False: not base64.
static bool decode(const char *text, size_t len, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *data = xmalloc(3 * len / 4 + 4);

	if (base64_decode(text, len, data, ret_len) < 0)
		return false;
	data[*ret_len] = '\0';
	*ret = TAKE_PTR(data);
	return true;
}

static bool set_key(struct etcd3_pair *pair, const char *text, size_t len)
{
	if (!decode(text, len, &pair->raw_key, &pair->pair.raw_key_len))
		return false;
	pair->shown_key = kv_key_shown(pair->raw_key, pair->pair.raw_key_len);
	pair->pair.raw_key = pair->raw_key;
	pair->pair.key = pair->shown_key ? pair->shown_key : pair->raw_key;
	return true;
}

// The value of a pair that is too large to be handed on is not even decoded.
static bool set_value(struct etcd3_pair *pair, const char *text, size_t len)
{
	if (len > base64_encoded_len(KV_VALUE_MAX)) {
		pair->pair.value_len = len / 4 * 3;
		return true;
	}
	if (!decode(text, len, &pair->value, &pair->pair.value_len))
		return false;
	pair->pair.value = pair->value;
	return true;
}

// ---- a pair as etcd writes it ----
//
// Ten thousand of them come at a start, and all look alike: a flat object of known members that are
// strings without escapes. Those are read where they stand, some ten times as fast as by way of a
// tree. Whatever looks otherwise, right or wrong, is left to the parser.

struct slice {
	const char *text;
	size_t len;
};

static bool take_string(const char **cursor, const char *end, struct slice *ret)
{
	const char *start = *cursor + 1;
	const char *quote;

	if (*cursor >= end || **cursor != '"')
		return false;
	quote = memchr(start, '"', (size_t)(end - start));
	if (!quote || memchr(start, '\\', (size_t)(quote - start)))
		return false;
	*ret = (struct slice){ start, (size_t)(quote - start) };
	*cursor = quote + 1;
	return true;
}

static bool take_char(const char **cursor, const char *end, char c)
{
	if (*cursor >= end || **cursor != c)
		return false;
	++*cursor;
	return true;
}

static bool slice_is(const struct slice *slice, const char *text)
{
	return slice->len == strlen(text) && memcmp(slice->text, text, slice->len) == 0;
}

static bool slice_number(const struct slice *slice, int64_t *ret)
{
	char digits[24];

	if (slice->len >= sizeof(digits))
		return false;
	memcpy(digits, slice->text, slice->len);
	digits[slice->len] = '\0';
	return parse_whole_i64(digits, ret) == 0;
}

static bool take_member(const char **cursor, const char *end, struct etcd3_pair *pair,
			struct slice *key, struct slice *value)
{
	struct slice name;
	struct slice text;
	int64_t version;

	if (!take_string(cursor, end, &name) || !take_char(cursor, end, ':'))
		return false;
	(void)take_char(cursor, end, ' ');
	if (!take_string(cursor, end, &text))
		return false;
	if (slice_is(&name, "key"))
		*key = text;
	else if (slice_is(&name, "value"))
		*value = text;
	else if (slice_is(&name, "create_revision"))
		return slice_number(&text, &pair->pair.create_revision);
	else if (slice_is(&name, "mod_revision"))
		return slice_number(&text, &pair->pair.mod_revision);
	else if (slice_is(&name, "lease"))
		return slice_number(&text, &pair->pair.session);
	else
		return slice_is(&name, "version") && slice_number(&text, &version);
	return true;
}

static bool read_usual_pair(const char *text, size_t len, struct etcd3_pair *ret)
{
	_cleanup_etcd3_pair_ struct etcd3_pair pair = { 0 };
	struct slice key = { .text = "" };
	struct slice value = { .text = "" };
	const char *end = text + len;

	if (!take_char(&text, end, '{'))
		return false;
	do {
		(void)take_char(&text, end, ' ');
		if (!take_member(&text, end, &pair, &key, &value))
			return false;
	} while (take_char(&text, end, ','));
	if (!take_char(&text, end, '}') || text != end)
		return false;
	if (!set_key(&pair, key.text, key.len) || !set_value(&pair, value.text, value.len))
		return false;
	*ret = pair;
	pair = (struct etcd3_pair){ 0 };
	return true;
}

// ---- any pair ----

static int read_bytes(const json_t *object, const char *name, struct etcd3_pair *pair,
		      bool (*set)(struct etcd3_pair *pair, const char *text, size_t len),
		      struct err *e)
{
	const json_t *member = json_object_get(object, name);

	if (member && !json_is_string(member))
		return err_set(e, -EPROTO, "answer: \"%s\" is not a string", name);
	if (!set(pair, member ? json_string_value(member) : "", json_string_length(member)))
		return err_set(e, -EPROTO, "answer: \"%s\" is not base64", name);
	return 0;
}

static int read_pair_object(const json_t *object, struct etcd3_pair *ret, struct err *e)
{
	_cleanup_etcd3_pair_ struct etcd3_pair pair = { 0 };
	int r;

	if (!json_is_object(object))
		return err_set(e, -EPROTO, "answer: a pair is not an object");
	r = read_bytes(object, "key", &pair, set_key, e);
	if (r == 0)
		r = read_bytes(object, "value", &pair, set_value, e);
	if (r == 0)
		r = etcd3_read_int(object, "create_revision", &pair.pair.create_revision, e);
	if (r == 0)
		r = etcd3_read_int(object, "mod_revision", &pair.pair.mod_revision, e);
	if (r == 0)
		r = etcd3_read_int(object, "lease", &pair.pair.session, e);
	if (r < 0)
		return r;
	*ret = pair;
	pair = (struct etcd3_pair){ 0 };
	return 0;
}

static int read_element(const char *text, size_t len, json_t **ret, struct err *e)
{
	return json_read(text, len, ETCD3_ELEMENT_MAX, ret, e) < 0
		       ? err_set(e, -EPROTO, "answer: not JSON")
		       : 0;
}

int etcd3_read_pair(const char *text, size_t len, struct etcd3_pair *ret, struct err *e)
{
	_cleanup_json_ json_t *object = NULL;
	int r;

	if (read_usual_pair(text, len, ret))
		return 0;
	r = read_element(text, len, &object, e);
	return r < 0 ? r : read_pair_object(object, ret, e);
}

int etcd3_read_event(const char *text, size_t len, bool *ret_is_delete, struct etcd3_pair *ret,
		     struct err *e)
{
	_cleanup_json_ json_t *event = NULL;
	const char *type;
	int r = read_element(text, len, &event, e);

	if (r < 0)
		return r;
	type = etcd3_read_text(event, "type");
	if (type[0] && strcmp(type, "PUT") != 0 && strcmp(type, "DELETE") != 0)
		return err_set(e, -EPROTO, "answer: an event of unknown type");
	r = read_pair_object(json_object_get(event, "kv"), ret, e);
	if (r == 0)
		*ret_is_delete = strcmp(type, "DELETE") == 0;
	return r;
}

int etcd3_read_response(const char *text, size_t len, kv_pair_fn *each, void *arg, struct err *e)
{
	_cleanup_json_ json_t *response = NULL;
	const json_t *pairs;
	const json_t *object;
	size_t i;
	int r = read_element(text, len, &response, e);

	if (r < 0)
		return r;
	pairs = json_object_get(json_object_get(response, "response_range"), "kvs");
	json_array_foreach(pairs, i, object) {
		_cleanup_etcd3_pair_ struct etcd3_pair pair = { 0 };

		r = read_pair_object(object, &pair, e);
		if (r < 0)
			return r;
		each(arg, &pair.pair);
	}
	return 0;
}
