// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the Consul store against servers that answer nonsense, and of its decoders.
#include "unit.h"

#include "core/mem.h"
#include "fake_store.h"
#include "store/consul_json.h"
#include "store/consul_known.h"
#include "store/consul_sessions.h"

#include <errno.h>
#include <string.h>

#define ANSWER(words) "HTTP/1.1 " words "\r\nX-Consul-Index: 7\r\nConnection: close\r\n\r\n"
#define OK ANSWER("200 OK")
#define ID "01234567-89ab-cdef-0123-456789abcdef"
#define PAIR(key, index) \
	"{\"Key\":\"" key "\",\"Value\":\"dg==\",\"CreateIndex\":2,\"ModifyIndex\":" index "}"
// The question for the store's revision, which comes before others.
#define REVISION(path) "/v1/kv/" path ".weft-no-such-key", ANSWER("404 Not Found")

static struct kv *open_fake(const struct fake_answer *answers)
{
	return fake_store_open((struct store_config){ .kind = "consul",
						      .request_timeout_ms = 500,
						      .dead_man_ms = 600 },
			       answers, NULL);
}

struct answer_case {
	const char *raw;
	int range; // what a range ends with
	int txn;
	int open; // of a session
};

static const struct answer_case answer_cases[] = {
	{ "", -EPIPE, -EINPROGRESS, -EINPROGRESS },
	{ "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 100\r\n\r\n[", -EPIPE,
	  -EINPROGRESS, -EINPROGRESS },
	{ OK, -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "hello", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "{}", -EPROTO, -EPROTO, -EPROTO },
	{ OK "null", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "[]", 0, -EINPROGRESS, -EPROTO },
	{ OK "[1]", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "[{}]", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "[" PAIR("p/a", "3") "]", 0, -EINPROGRESS, -EPROTO },
	{ OK "[" PAIR("p/a", "3") "", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "[" PAIR("p/a", "3") "]]", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "[" PAIR("p/a", "0") "]", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "[" PAIR("p/a", "-3") "]", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "[" PAIR("p/a", "99999999999999999999") "]", -EPROTO, -EINPROGRESS, -EPROTO },
	// Not asked for, out of order, twice.
	{ OK "[" PAIR("q/a", "3") "]", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "[" PAIR("p/b", "3") "," PAIR("p/a", "3") "]", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "[" PAIR("p/a", "3") "," PAIR("p/a", "3") "]", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "[{\"Key\":\"p/a\",\"Value\":\"*\",\"ModifyIndex\":3}]", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "[{\"Key\":\"p/a\",\"Session\":\"x\",\"ModifyIndex\":3}]", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "{\"Results\":[],\"Errors\":null}", -EPROTO, -EPROTO, -EPROTO },
	{ OK "{\"Results\":[{\"KV\":" PAIR("p/a", "3") "}],\"Errors\":null}", -EPROTO, 0, -EPROTO },
	{ OK "{\"Results\":[{\"KV\":{}}],\"Errors\":null}", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "{\"ID\":\"" ID "\"}", -EPROTO, -EPROTO, 0 },
	{ OK "{\"ID\":\"x\"}", -EPROTO, -EPROTO, -EPROTO },
	{ "HTTP/1.1 200 OK\r\nX-Consul-Index: 0\r\nConnection: close\r\n\r\n[]", -EPROTO,
	  -EINPROGRESS, -EPROTO },
	{ "HTTP/1.1 200 OK\r\nX-Consul-Index: many\r\nConnection: close\r\n\r\n[]", -EPROTO,
	  -EINPROGRESS, -EPROTO },
	{ "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[]", -EPROTO, -EINPROGRESS, -EPROTO },
	{ ANSWER("404 Not Found"), 0, -EPROTO, -EPROTO },
	{ ANSWER("403 Forbidden") "Permission denied", -EACCES, -EACCES, -EACCES },
	{ ANSWER("409 Conflict"), -EPROTO, -EPROTO, -EPROTO },
	{ ANSWER("409 Conflict") "{\"Errors\":[]}", -EPROTO, -EPROTO, -EPROTO },
	{ ANSWER("409 Conflict") "{\"Errors\":[{\"OpIndex\":99,\"What\":\"no\"}]}", -EPROTO,
	  -EPROTO, -EPROTO },
	{ ANSWER("409 Conflict") "{\"Errors\":[{\"OpIndex\":\"x\",\"What\":5}]}", -EPROTO, -EPROTO,
	  -EPROTO },
	{ ANSWER("409 Conflict") "{\"Errors\":[{\"OpIndex\":1,\"What\":\"Permission denied\"}]}",
	  -EPROTO, -EACCES, -EPROTO },
	// For ever.
	{ ANSWER("409 Conflict") "{\"Errors\":[{\"OpIndex\":1,\"What\":\"failed session check for key, "
				 "current session \\\"" ID "\\\" != \\\"\\\"\"}]}",
	  -EPROTO, -EAGAIN, -EPROTO },
	{ ANSWER("500 Error") "No cluster leader", -EAGAIN, -EAGAIN, -EAGAIN },
	{ ANSWER("500 Error") "leadership lost while committing log", -EAGAIN, -EINPROGRESS,
	  -EINPROGRESS },
	{ ANSWER("500 Error") "Invalid Session TTL '2', must be between [", -ERANGE, -ERANGE, -ERANGE },
	{ ANSWER("500 Error") "Invalid Session TTL '2', must be between [9s=24h]", -ERANGE, -ERANGE,
	  -ERANGE },
	{ ANSWER("500 Error") "Missing node registration", -ENODEV, -ENODEV, -ENODEV },
	{ ANSWER("413 Large") "too much", -E2BIG, -E2BIG, -E2BIG },
	{ ANSWER("429 Slow") "", -EAGAIN, -EAGAIN, -EAGAIN },
	{ ANSWER("502 Bad Gateway") "<html>", -EAGAIN, -EINPROGRESS, -EINPROGRESS },
	{ "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
	  -EPROTO, -EPROTO, -EPROTO },
};

static void test_answers(void **state)
{
	struct fake_answer answers[] = { { REVISION("p/") }, { "/", NULL, 0 }, { 0 } };
	struct kv_answer answer;
	struct kv *kv;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(answer_cases); i++) {
		const struct answer_case *c = &answer_cases[i];

		answers[1].raw = c->raw;
		kv = open_fake(answers);
		do_range(kv, "/p/", true, &answer);
		check(answer.r == c->range, "range %s: %d %s", c->raw, answer.r, answer.err.msg);
		kv_answer_free(&answer);
		do_write(kv, "/p/a", "v", 0, 0, &answer);
		check(answer.r == c->txn, "txn %s: %d %s", c->raw, answer.r, answer.err.msg);
		check(answer.succeeded == (c->txn == 0), "%s", c->raw);
		kv_answer_free(&answer);
		do_session_open(kv, 60, &answer);
		check(answer.r == c->open, "open %s: %d %s", c->raw, answer.r, answer.err.msg);
		kv_answer_free(&answer);
		fake_store_close(kv);
	}
}

static void test_keys_that_cannot_be(void **state)
{
	static const char *const keys[] = { "", "a", "/", "/a\xff", "/\xc3" };
	static const struct fake_answer answers[] = { { 0 } };
	struct kv *kv = open_fake(answers);
	struct kv_answer answer;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		do_write(kv, keys[i], "v", -1, 0, &answer);
		check(answer.r == -EINVAL, "%s: %d", keys[i], answer.r);
		kv_answer_free(&answer);
	}
	do_range(kv, "p", true, &answer);
	assert_int_equal(answer.r, -EINVAL);
	kv_answer_free(&answer);
	assert_int_equal(fake_http_count(fakes[0]), 0);
	// Neither call is answered any more.
	start_range(kv, "p", true, &answer);
	kv_close(kv);
	assert_false(answer.done);
}

// ---- watches ----

// Each breaks the watch, and is tried again.
static const char *const watch_cases[] = {
	OK "hello",
	OK "[" PAIR("q/a", "3") "]",
	OK "[" PAIR("p/b", "3") "," PAIR("p/a", "3") "]",
	OK "[" PAIR("p/a", "3") "," PAIR("p/b", "3"),
	OK "[{\"Key\":\"p/a\",\"Value\":\"*\",\"ModifyIndex\":3}]",
	"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[]",
	ANSWER("500 Error") "No cluster leader",
	ANSWER("403 Forbidden") "Permission denied",
};

static void test_watch_of_nonsense(void **state)
{
	static const char *const prefixes[] = { "/p/", NULL };
	struct fake_answer answers[] = { { REVISION("p/") }, { "/", NULL, 0 }, { 0 } };
	struct watch_log log = { 0 };
	struct kv *kv;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(watch_cases); i++) {
		answers[1].raw = watch_cases[i];
		kv = open_fake(answers);
		watch_log_start(&log, kv, prefixes, 1, 0);
		turn_until(loop, log.downs == 1 && fake_http_count(fakes[0]) >= 4);
		check(log.events == 0 && log.ups == 0 && log.losts == 0 && log.downs == 1, "%s",
		      watch_cases[i]);
		watch_log_free(&log);
		fake_store_close(kv);
	}
}

// An index that falls, though the store went on: deletions were forgotten. The set is read anew, and what is
// in it told once.
static void test_watch_index_falls(void **state)
{
	static const char *const prefixes[] = { "/p/", NULL };
	static const struct fake_answer answers[] = {
		{ REVISION("p/") },
		{ "/v1/kv/p/?consistent&recurse&index=7&",
		  "HTTP/1.1 200 OK\r\nX-Consul-Index: 5\r\nConnection: close\r\n\r\n[" PAIR("p/a",
											    "3") "]" },
		{ "/v1/kv/p/", OK "[" PAIR("p/a", "3") "]" },
		{ 0 }
	};
	struct watch_log log = { 0 };
	struct kv *kv = open_fake(answers);
	struct kv_answer answer;

	(void)state;
	do_range(kv, "/p/", true, &answer);
	kv_answer_free(&answer);
	watch_log_start(&log, kv, prefixes, 3, 0);
	turn_until(loop, fake_http_count(fakes[0]) >= 10);
	assert_string_equal(strbuf_text(&log.text), "PUT /p/a=v\n");
	assert_int_equal(log.downs + log.losts, 0);
	watch_log_free(&log);
	kv_close(kv);
}

// ---- decoders ----

static void test_pair(void **state)
{
	static const struct {
		const char *text;
		const char *key; // NULL: it is none
		const char *value;
	} cases[] = {
		{ PAIR("a", "3"), "/a", "v" },
		{ " { \"ModifyIndex\" : 3 , \"Value\" : null, \"Key\" : \"\" } ", NULL, NULL },
		{ " { \"ModifyIndex\" : 3 , \"Value\" : null, \"Key\" : \"b\" } ", "/b", "" },
		{ PAIR("\\u00fc\\ud83d\\ude00\\u003c\\/", "3"), "/\xc3\xbc\xf0\x9f\x98\x80</", "v" },
		{ PAIR("\\n", "3"), "/\\x0a", "v" },
		{ PAIR("\\u0000", "3"), "/\\x00", "v" },
		{ PAIR("\\ud83d", "3"), NULL, NULL },
		{ PAIR("\\ude00", "3"), NULL, NULL },
		{ PAIR("\\ud83d\\u0041", "3"), NULL, NULL },
		{ PAIR("\\x", "3"), NULL, NULL },
		{ PAIR("a\xff", "3"), NULL, NULL },
		{ PAIR("a", "\"3\""), NULL, NULL },
		{ PAIR("a", "{}"), NULL, NULL },
		{ PAIR("a", "3") "x", NULL, NULL },
		{ "{\"Key\":\"a\\", NULL, NULL },
		{ "{}", NULL, NULL },
		{ "", NULL, NULL },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct consul_pair pair = { 0 };
		int r = consul_read_pair(cases[i].text, strlen(cases[i].text), false, &pair, NULL);

		check(r == (cases[i].key ? 0 : -EPROTO), "%s: %d", cases[i].text, r);
		if (r == 0) {
			assert_string_equal(pair.pair.key, cases[i].key);
			assert_int_equal(consul_decode_value(&pair, NULL), 0);
			assert_string_equal(pair.value, cases[i].value);
		}
		consul_pair_free(&pair);
	}
}

static void test_ttl(void **state)
{
	static const char words[] = "Invalid Session TTL '2', must be between [1m0s=24h0m0s]";
	int64_t ttl_s = 0;

	(void)state;
	assert_int_equal(consul_nearest_ttl(words, 2, &ttl_s), 0);
	assert_int_equal(ttl_s, 60);
	assert_int_equal(consul_nearest_ttl(words, 100000, &ttl_s), 0);
	assert_int_equal(ttl_s, CONSUL_TTL_MAX_S);
	assert_int_equal(consul_nearest_ttl("between [x=24h]", 2, &ttl_s), -EPROTO);
	assert_int_equal(consul_nearest_ttl("between [48h=24h]", 2, &ttl_s), -EPROTO);
	assert_int_equal(consul_nearest_ttl("", 2, &ttl_s), -EPROTO);
}

#define SESSIONS 100000

static void test_sessions(void **state)
{
	struct consul_sessions *sessions = consul_sessions_new();
	int64_t number = consul_session_number(sessions, ID);
	const char *id;
	char text[CONSUL_ID_LEN + 1];
	int i;

	(void)state;
	assert_true(number > 0);
	assert_int_equal(consul_session_number(sessions, ID), number);
	assert_int_equal(consul_session_id(sessions, number, &id), 0);
	assert_string_equal(id, ID);
	assert_int_equal(consul_session_id(sessions, number + 1, &id), -ENOENT);
	assert_int_equal(consul_session_id(sessions, 0, &id), -ENOENT);
	// Bounded, and the latest are kept.
	for (i = 0; i < SESSIONS; i++) {
		assert_int_equal(text_format(text, sizeof(text), "%08d-0000-0000-0000-000000000000", i),
				 0);
		number = consul_session_number(sessions, text);
	}
	assert_int_equal(consul_session_id(sessions, number, &id), 0);
	assert_string_equal(id, text);
	number = consul_session_number(sessions, "00000000-0000-0000-0000-000000000000");
	assert_int_equal(consul_session_id(sessions, number, &id), 0);
	consul_sessions_free(sessions);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAKE_STORE_TEST(test_answers),
		FAKE_STORE_TEST(test_keys_that_cannot_be),
		FAKE_STORE_TEST(test_watch_of_nonsense),
		FAKE_STORE_TEST(test_watch_index_falls),
		cmocka_unit_test(test_pair),
		cmocka_unit_test(test_ttl),
		cmocka_unit_test(test_sessions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
