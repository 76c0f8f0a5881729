// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how we read JSON from outside: bounded, with Go's decoding rules.
#include "core/json.h"

#include "core/text.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

int json_read(const char *text, size_t len, size_t max, json_t **ret, struct err *e)
{
	json_error_t error;
	json_t *value;

	if (len > max)
		return err_set(e, -E2BIG, "JSON of %zu bytes is too long: at most %zu", len, max);
	// Duplicates (the last wins), "\u0000" (refused) and nesting (2,048) as jansson has them.
	value = json_loadb(text, len, JSON_DECODE_ANY, &error);
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

json_t *json_member(const json_t *object, const char *name)
{
	json_t *value, *found;
	const char *key;

	found = json_object_get(object, name);
	if (found)
		return found;
	json_object_foreach((json_t *)object, key, value) {
		if (strcasecmp(key, name) == 0)
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
