// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing core/json_stream: every way to cut the input gives one answer, and the answer is jansson's.
#include "fuzz.h"

#include "core/json_stream.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <jansson.h>

#define ELEMENT_MAX 200
#define REST_MAX 300

// Elements one behind the other, each terminated.
struct outcome {
	struct strbuf elements;
	struct strbuf rest;
	size_t count;
	struct err e;
};

static int collect(void *arg, const char *text, size_t len)
{
	struct outcome *outcome = arg;

	must(len >= 2 && len <= ELEMENT_MAX && text[0] == '{');
	must(strbuf_add(&outcome->elements, text, len) == 0);
	must(strbuf_putc(&outcome->elements, '\n') == 0);
	outcome->count++;
	return 0;
}

// Cuts the input into pieces whose sizes follow from step: 0 is the whole at once.
static void run(const uint8_t *data, size_t size, size_t step, struct outcome *ret)
{
	struct json_stream *stream = json_stream_new("kvs", ELEMENT_MAX, REST_MAX, collect, ret);
	const char *rest = NULL;
	size_t rest_len = 0, at = 0;
	int r = 0;

	ret->elements = STRBUF_INIT(SIZE_MAX);
	ret->rest = STRBUF_INIT(REST_MAX);
	while (r == 0 && at < size) {
		size_t len = step > 0 && step < size - at ? step : size - at;
		char *piece = xmemdup(data + at, len);

		r = json_stream_feed(stream, piece, len, &ret->e);
		free(piece);
		at += len;
	}
	r = json_stream_end(stream, &rest, &rest_len, &ret->e);
	must(r <= 0 && r == ret->e.code && (r < 0) == (ret->e.msg[0] != '\0'));
	if (r == 0)
		must(strbuf_add(&ret->rest, rest, rest_len) == 0);
	json_stream_free(stream);
}

static void outcome_free(struct outcome *outcome)
{
	strbuf_free(&outcome->elements);
	strbuf_free(&outcome->rest);
}

static void must_be_same(const struct outcome *a, const struct outcome *b)
{
	must(a->e.code == b->e.code && strcmp(a->e.msg, b->e.msg) == 0);
	must(a->count == b->count && a->elements.len == b->elements.len);
	must(memcmp(strbuf_text(&a->elements), strbuf_text(&b->elements), a->elements.len) == 0);
	must(a->rest.len == b->rest.len);
	must(memcmp(strbuf_text(&a->rest), strbuf_text(&b->rest), a->rest.len) == 0);
}

static bool is_wanted_shape(const json_t *document)
{
	const json_t *array = json_object_get(document, "kvs"), *element;
	size_t i;

	if (!json_is_object(document) || (array && !json_is_array(array)))
		return false;
	json_array_foreach(array, i, element)
		if (!json_is_object(element))
			return false;
	return true;
}

// The rest with its array filled again must be the document.
static void must_be_document(const json_t *document, const struct outcome *got)
{
	json_t *rest = json_loadb(strbuf_text(&got->rest), got->rest.len, 0, NULL);
	const char *line = strbuf_text(&got->elements);
	json_t *array = json_array();

	must(rest);
	for (size_t i = 0; i < got->count; i++) {
		json_error_t end; // whose position says how much was read
		json_t *element = json_loads(line, JSON_DISABLE_EOF_CHECK, &end);

		must(json_is_object(element));
		must(json_array_append_new(array, element) == 0);
		line += end.position;
		must(*line++ == '\n');
	}
	if (got->count > 0)
		must(json_object_set(rest, "kvs", array) == 0);
	must(json_equal(rest, (json_t *)document));
	json_decref(array);
	json_decref(rest);
}

// Where both may rightly differ: the name with escapes in it, or there more than once.
static bool is_doubtful(const uint8_t *data, size_t size)
{
	static const char name[] = "\"kvs\"";
	const uint8_t *end = data + size;
	const uint8_t *first = memmem(data, size, name, 5);

	return memmem(data, size, "\\u", 2) ||
	       (first && memmem(first + 5, (size_t)(end - first) - 5, name, 5));
}

static void compare_with_parser(const uint8_t *data, size_t size, const struct outcome *got)
{
	json_t *document = json_loadb((const char *)data, size, 0, NULL);

	if (document && !is_doubtful(data, size)) {
		if (got->e.code == 0)
			must_be_document(document, got);
		else
			must(got->e.code == -E2BIG || !is_wanted_shape(document));
	}
	json_decref(document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outcome whole = { 0 };

	if (size > 4096)
		return 0;
	run(data, size, 0, &whole);
	for (size_t step = 1; step < 8; step += 2) {
		struct outcome cut = { 0 };

		run(data, size, step, &cut);
		must_be_same(&whole, &cut);
		outcome_free(&cut);
	}
	compare_with_parser(data, size, &whole);
	outcome_free(&whole);
	return 0;
}
