// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/json_stream.
#include "unit.h"

#include "core/json_stream.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define ELEMENT_MAX 40
#define REST_MAX 60

// What came of a document: "element|element|", and the rest or the error.
struct outcome {
	struct strbuf elements;
	char rest[REST_MAX + 1];
	int code;
	char msg[ERR_MSG_MAX];
	size_t stop_at; // 0: take all
	size_t count;
};

static int collect(void *arg, const char *text, size_t len)
{
	struct outcome *outcome = arg;

	assert_int_equal(strbuf_add(&outcome->elements, text, len), 0);
	assert_int_equal(strbuf_putc(&outcome->elements, '|'), 0);
	return ++outcome->count == outcome->stop_at ? -ECANCELED : 0;
}

// Every feed is a copy in memory of exactly its size, so that a sanitizer sees a read beyond it.
static int feed(struct json_stream *stream, const char *data, size_t len, struct err *e)
{
	_cleanup_free_ char *copy = malloc(len > 0 ? len : 1);

	memcpy(copy, data, len);
	return json_stream_feed(stream, copy, len, e);
}

static void cut(const char *text, size_t len, size_t first, size_t step, struct outcome *ret)
{
	struct json_stream *stream = json_stream_new("kvs", ELEMENT_MAX, REST_MAX, collect, ret);
	size_t at = first < len ? first : len, rest_len = 0;
	struct err e = { 0 };
	const char *rest;

	ret->elements = STRBUF_INIT(100000);
	ret->code = feed(stream, text, at, &e);
	while (ret->code == 0 && at < len) {
		size_t n = step < len - at ? step : len - at;

		ret->code = feed(stream, text + at, n, &e);
		at += n;
	}
	if (ret->code == 0)
		ret->code = json_stream_end(stream, &rest, &rest_len, &e);
	else
		assert_int_equal(json_stream_feed(stream, "}", 1, NULL), ret->code); // it stays
	if (ret->code == 0)
		memcpy(ret->rest, rest, rest_len);
	ret->rest[rest_len] = '\0';
	memcpy(ret->msg, e.msg, sizeof(ret->msg));
	json_stream_free(stream);
}

static const struct {
	const char *text;
	const char *elements;
	const char *rest; // NULL: refused
	const char *message;
} cases[] = {
	{ "{\"kvs\":[{\"a\":1},{\"b\":[{}]}],\"count\":\"2\"}", "{\"a\":1}|{\"b\":[{}]}|",
	  "{\"kvs\":[],\"count\":\"2\"}" },
	{ " \t\r\n{ \"kvs\" : [ {} , {} ] } \n", "{}|{}|", "{ \"kvs\" : [] }" },
	{ "{}", "", "{}" },
	{ "{\"kvs\":[]}", "", "{\"kvs\":[]}" },
	{ "{\"kvs\":[ ]}", "", "{\"kvs\":[]}" },
	{ "{\"header\":{\"revision\":\"7\"},\"count\":\"0\"}", "",
	  "{\"header\":{\"revision\":\"7\"},\"count\":\"0\"}" },
	// not the array: other depths, other names, other kinds, the name as a value
	{ "{\"a\":{\"kvs\":[{}]},\"b\":[\"kvs\"]}", "", "{\"a\":{\"kvs\":[{}]},\"b\":[\"kvs\"]}" },
	{ "{\"kv\":[{}],\"kvss\":[{}],\"Kvs\":[{}]}", "", "{\"kv\":[{}],\"kvss\":[{}],\"Kvs\":[{}]}" },
	{ "{\"kvs\":null,\"x\":[{}]}", "", "{\"kvs\":null,\"x\":[{}]}" },
	{ "{\"kvs\":\"kvs\",\"x\":[{}]}", "", "{\"kvs\":\"kvs\",\"x\":[{}]}" },
	{ "{\"kvs\":{\"kvs\":[{}]}}", "", "{\"kvs\":{\"kvs\":[{}]}}" },
	{ "{\"kvs\":[{}],\"x\":\"kvs\"}", "{}|", "{\"kvs\":[],\"x\":\"kvs\"}" },
	{ "{\"x\":\"kvs\",\"y\":[{}]}", "", "{\"x\":\"kvs\",\"y\":[{}]}" },
	{ "{\"\\u006bvs\":[{}]}", "", "{\"\\u006bvs\":[{}]}" },
	// brackets and quotes in strings
	{ "{\"kvs\":[{\"a\":\"}]{[\\\"\"}]}", "{\"a\":\"}]{[\\\"\"}|", "{\"kvs\":[]}" },
	{ "{\"kvs\":[{\"a\":\"\\\\\"},{\"b\":\"\\\\\\\"}\"}]}",
	  "{\"a\":\"\\\\\"}|{\"b\":\"\\\\\\\"}\"}|", "{\"kvs\":[]}" },
	{ "{\"x\":\"]}\\\"\",\"kvs\":[{}]}", "{}|", "{\"x\":\"]}\\\"\",\"kvs\":[]}" },
	{ "{\"x\\\"\":1,\"kvs\":[{}]}", "{}|", "{\"x\\\"\":1,\"kvs\":[]}" },
	// exactly at the limits: 40 and 60 bytes
	{ "{\"kvs\":[{\"a\":\"01234567890123456789012345678901\"}]}",
	  "{\"a\":\"01234567890123456789012345678901\"}|", "{\"kvs\":[]}" },
	{ "{\"kvs\":[],\"a\":\"0123456789012345678901234567890123456789012\"}", "",
	  "{\"kvs\":[],\"a\":\"0123456789012345678901234567890123456789012\"}" },
	// one byte more
	{ "{\"kvs\":[{},{\"a\":\"012345678901234567890123456789012\"}]}", "{}|", NULL,
	  "an element of \"kvs\" is too long: more than 40 bytes" },
	{ "{\"kvs\":[{}],\"a\":\"01234567890123456789012345678901234567890123\"}", "{}|", NULL,
	  "answer too long: more than 60 bytes beside \"kvs\"" },
	{ "{\"kvs\":[{}],\"a\":\"0123456789012345678901234567890123456789012345\",\"kvs\":[{}]}",
	  "{}|", NULL, "answer too long: more than 60 bytes beside \"kvs\"" },
	// not JSON, or not what we wanted
	{ "", "", NULL, "not valid JSON: it ends in the middle" },
	{ " ", "", NULL, "not valid JSON: it ends in the middle" },
	{ "{", "", NULL, "not valid JSON: it ends in the middle" },
	{ "{\"kvs\":[{}", "{}|", NULL, "not valid JSON: it ends in the middle" },
	{ "{\"kvs\":[{\"a\":\"", "", NULL, "not valid JSON: it ends in the middle" },
	{ "{\"kvs\":[{}]", "{}|", NULL, "not valid JSON: it ends in the middle" },
	{ "[]", "", NULL, "not valid JSON: it does not start with {" },
	{ "x", "", NULL, "not valid JSON: it does not start with {" },
	{ "{} {}", "", NULL, "not valid JSON: text behind the end" },
	{ "{}x", "", NULL, "not valid JSON: text behind the end" },
	{ "{\"kvs\":[{}{}]}", "{}|", NULL,
	  "not valid JSON: an array of objects has something else in it" },
	{ "{\"kvs\":[{},]}", "{}|", NULL,
	  "not valid JSON: an array of objects has something else in it" },
	{ "{\"kvs\":[,{}]}", "", NULL, "not valid JSON: an array of objects has something else in it" },
	{ "{\"kvs\":[{},,{}]}", "{}|", NULL,
	  "not valid JSON: an array of objects has something else in it" },
	{ "{\"kvs\":[1]}", "", NULL, "not valid JSON: an array of objects has something else in it" },
	{ "{\"kvs\":[[]]}", "", NULL, "not valid JSON: an array of objects has something else in it" },
	{ "{\"kvs\":[{}],\"kvs\":[{}]}", "{}|", NULL, "not valid JSON: the array is there twice" },
	// broken, but cut by a rule all the same; the next parser refuses the rest
	{ "{\"kvs\"[{}]}", "", "{\"kvs\"[{}]}" },
	{ "{\"kvs\"{\"a\":[{}]}}", "", "{\"kvs\"{\"a\":[{}]}}" },
	{ "{]", "", "{]" },
	{ "{[\"kvs\":[{}]]}", "", "{[\"kvs\":[{}]]}" },
};

static void expect(size_t i, const struct outcome *got, const char *how, size_t at)
{
	check(strcmp(strbuf_text(&got->elements), cases[i].elements) == 0,
	      "%s, %s %zu: elements %s", cases[i].text, how, at, strbuf_text(&got->elements));
	check((got->code == 0) == (cases[i].rest != NULL), "%s, %s %zu: %d %s", cases[i].text, how,
	      at, got->code, got->msg);
	if (cases[i].rest)
		check(strcmp(got->rest, cases[i].rest) == 0, "%s, %s %zu: rest %s", cases[i].text,
		      how, at, got->rest);
	else
		check(strcmp(got->msg, cases[i].message) == 0, "%s, %s %zu: %s", cases[i].text, how,
		      at, got->msg);
}

static void test_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct outcome got = { 0 };

		cut(cases[i].text, strlen(cases[i].text), SIZE_MAX, 1, &got);
		expect(i, &got, "whole", 0);
		strbuf_free(&got.elements);
	}
}

static void test_every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].text);

		for (size_t at = 0; at <= len; at++) {
			struct outcome two = { 0 }, many = { 0 };

			cut(cases[i].text, len, at, SIZE_MAX, &two);
			expect(i, &two, "split at", at);
			strbuf_free(&two.elements);
			cut(cases[i].text, len, 0, at + 1, &many);
			expect(i, &many, "in pieces of", at + 1);
			strbuf_free(&many.elements);
		}
	}
}

static void test_reader_stops_it(void **state)
{
	static const char text[] = "{\"kvs\":[{},{},{}]}";

	(void)state;
	for (size_t step = 1; step < sizeof(text); step++) {
		struct outcome got = { .stop_at = 2 };

		cut(text, strlen(text), 0, step, &got);
		assert_int_equal(got.code, -ECANCELED);
		assert_int_equal(got.count, 2);
		strbuf_free(&got.elements);
	}
}

static int count_element(void *arg, const char *text, size_t len)
{
	(void)text;
	(void)len;
	++*(size_t *)arg;
	return 0;
}

static double cpu_seconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// A string of backslashes must not make the search for its end quadratic: at 8 MB that would take hours.
static void test_backslashes_stay_linear(void **state)
{
	size_t len = 8 * 1024 * 1024, count = 0, rest_len;
	_cleanup_free_ char *text = xmalloc(len);
	struct json_stream *stream;
	double begin;
	const char *rest;

	(void)state;
	memset(text, '\\', len);
	memcpy(text, "{\"kvs\":[{\"a\":\"", 14);
	memcpy(text + len - 5, "\"}]} ", 5);
	stream = json_stream_new("kvs", len, 1000, count_element, &count);
	begin = cpu_seconds();
	assert_int_equal(json_stream_feed(stream, text, len, NULL), 0);
	assert_true(cpu_seconds() - begin < 20);
	(void)json_stream_end(stream, &rest, &rest_len, NULL);
	json_stream_free(stream);
}

static void test_free_of_nothing(void **state)
{
	(void)state;
	assert_null(json_stream_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_reader_stops_it),
		cmocka_unit_test(test_backslashes_stay_linear),
		cmocka_unit_test(test_free_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
