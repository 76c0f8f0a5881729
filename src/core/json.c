// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how we read JSON from outside: bounded, with Go's decoding rules.
#include "core/json.h"

#include "core/text.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

// ---- reading ----

static void skip_space(const char **cursor, const char *end)
{
	while (*cursor < end && strchr(" \t\r\n", **cursor))
		++*cursor;
}

// One value, whose text is known to be right, is read from the cursor on.
static json_t *read_value(const char **cursor, const char *end)
{
	json_error_t error;
	json_t *value = json_loadb(*cursor, (size_t)(end - *cursor),
				   JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &error);

	*cursor += error.position;
	return value;
}

// jansson leaves the last of several members of one name in the place of the first. Here each stands
// where it was written, so that of the variants of a name the last is last.
static json_t *read_in_order(const char **cursor, const char *end)
{
	json_t *object;

	skip_space(cursor, end);
	if (**cursor != '{')
		return read_value(cursor, end);
	object = json_object();
	do {
		_cleanup_json_ json_t *name = NULL;

		++*cursor; // the brace or the comma
		skip_space(cursor, end);
		if (**cursor == '}')
			break; // it is empty
		name = read_value(cursor, end);
		skip_space(cursor, end);
		++*cursor; // the colon
		json_object_del(object, json_string_value(name));
		json_object_set_new(object, json_string_value(name), read_in_order(cursor, end));
		skip_space(cursor, end);
	} while (**cursor == ',');
	++*cursor;
	return object;
}

int json_read(const char *text, size_t len, size_t max, json_t **ret, struct err *e)
{
	const char *cursor = text;
	json_error_t error;
	json_t *value;

	if (len > max)
		return err_set(e, -E2BIG, "JSON of %zu bytes is too long: at most %zu", len, max);
	// "\u0000" (refused) and nesting (2,048) as jansson has them.
	value = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
	if (!value && json_error_code(&error) == json_error_duplicate_key) {
		value = json_loadb(text, len, JSON_DECODE_ANY, &error);
		if (json_is_object(value)) {
			json_decref(value);
			value = read_in_order(&cursor, text + len);
		}
	}
	if (!value)
		return err_set(e, -EINVAL, "not valid JSON: %s (line %d, column %d)", error.text,
			       error.line, error.column);
	*ret = value;
	return 0;
}

char *json_text(const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

	// Out of memory, or a value with bad UTF-8, which jansson lets nobody make by accident.
	if (!text)
		abort();
	return text;
}

// ---- members ----

// Cuts one letter off a name, folded: beside the case of ASCII, Unicode knows a long s and the sign
// of the kelvin.
static char fold_letter(const char **name)
{
	char c = **name;

	if ((unsigned char)c < 0x80) {
		(*name)++;
		return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	if (strncmp(*name, "\xc5\xbf", 2) == 0)
		c = 's';
	else if (strncmp(*name, "\xe2\x84\xaa", 3) == 0)
		c = 'k';
	*name += text_utf8_len(*name, strnlen(*name, 4));
	return c;
}

bool json_name_matches(const char *key, const char *name)
{
	while (*key && *name)
		if (fold_letter(&key) != fold_letter(&name))
			return false;
	return *key == *name;
}

json_t *json_member(const json_t *object, const char *name)
{
	json_t *value, *found = NULL;
	const char *key;

	json_object_foreach((json_t *)object, key, value) {
		if (json_name_matches(key, name))
			found = value;
	}
	return found;
}

// A value as a message shows it: scalars as JSON, containers by their kind.
static const char *value_excerpt(const json_t *value, char buf[static TEXT_EXCERPT_MAX])
{
	_cleanup_free_ char *text = NULL;

	if (json_is_object(value))
		return "an object";
	if (json_is_array(value))
		return "an array";
	text = json_text(value);
	return text_excerpt(text, strlen(text), buf);
}

static int wrong(const char *name, const json_t *value, const char *wanted, struct err *e)
{
	char buf[TEXT_EXCERPT_MAX];

	return err_set(e, -EINVAL, "%s: %s is not %s", name, value_excerpt(value, buf), wanted);
}

int json_get_bool(const json_t *object, const char *name, bool *ret, struct err *e)
{
	const json_t *value = json_member(object, name);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_boolean(value))
		return wrong(name, value, "true or false", e);
	*ret = json_is_true(value);
	return 0;
}

int json_get_int(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *ret,
		 struct err *e)
{
	const json_t *value = json_member(object, name);
	int64_t number;

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_integer(value))
		return wrong(name, value, "a whole number", e);
	number = json_integer_value(value);
	if (number < min)
		return err_set(e, -EINVAL, "%s: %lld is less than %lld", name, (long long)number,
			       (long long)min);
	if (number > max)
		return err_set(e, -EINVAL, "%s: %lld is more than %lld", name, (long long)number,
			       (long long)max);
	*ret = number;
	return 0;
}

int json_get_string(const json_t *object, const char *name, const char **ret, struct err *e)
{
	const json_t *value = json_member(object, name);

	if (!value || json_is_null(value))
		return 0;
	if (!json_is_string(value))
		return wrong(name, value, "a string", e);
	*ret = json_string_value(value);
	return 0;
}

int json_get_ip(const json_t *object, const char *name, struct ip *ret, struct err *e)
{
	const json_t *value = json_member(object, name);

	if (!value)
		return 0;
	if (!json_is_string(value) || ip_parse(json_string_value(value), ret) < 0)
		return wrong(name, value, "an IP address", e);
	return 0;
}

int json_get_ipnet(const json_t *object, const char *name, struct ipnet *ret, struct err *e)
{
	const json_t *value = json_member(object, name);

	if (!value)
		return 0;
	if (!json_is_string(value) || ipnet_parse(json_string_value(value), ret) < 0)
		return wrong(name, value, "a network like 10.1.0.0/16", e);
	return 0;
}
