// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the controller's client against servers that answer nonsense.
#include "unit.h"

#include "core/mem.h"
#include "fake_store.h"
#include "store/remote_internal.h"

#include <errno.h>
#include <string.h>

#define OK "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
#define STATUS(words) "HTTP/1.1 " words "\r\nConnection: close\r\n\r\n"
#define HEADER "\"header\":{\"revision\":5,\"cluster_id\":\"7\"}"
#define PAIR(key) "{\"key\":\"" key "\",\"value\":\"v\",\"mod\":5}"
#define ERROR(code) "{\"error\":{\"code\":\"" code "\",\"text\":\"because\"}}"

static const char *const prefixes[] = { "/p/", NULL };

// Over one or two servers.
static struct kv *open_fakes(const struct fake_answer *first, const struct fake_answer *second)
{
	return fake_store_open((struct store_config){ .kind = "controller",
						      .request_timeout_ms = 1000,
						      .dead_man_ms = 400 },
			       first, second);
}

// ---- requests ----

static const struct {
	const char *raw;
	int range; // what each ends with
	int txn;
	int keep_alive;
	int session_open;
} cases[] = {
	{ "", -EPIPE, -EINPROGRESS, -EPIPE, -EINPROGRESS },
	{ "SSH-2.0-OpenSSH\r\n", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", -EPIPE, -EINPROGRESS, -EPIPE,
	  -EINPROGRESS },
	{ OK, -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "hello", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "<html>\n</html>\n", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "[]\n", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{}\n", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{" HEADER "}", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS }, // no newline
	{ OK "{" HEADER "}\n", 0, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{" HEADER "}\n{" HEADER "}\n", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{" HEADER ",\"succeeded\":1}\n", 0, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{" HEADER ",\"succeeded\":null}\n", 0, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{" HEADER ",\"succeeded\":false}\n", 0, 0, -EPROTO, -EINPROGRESS },
	{ OK "{" HEADER ",\"succeeded\":false,\"pairs\":[5]}\n", 0, -EINPROGRESS, -EPROTO,
	  -EINPROGRESS },
	{ OK "{\"header\":{\"revision\":9223372036854775807,\"cluster_id\":\"7\"}}\n", -EPROTO,
	  -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{\"pair\":" PAIR("/p/a") "}\n", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{\"pair\":5}\n{" HEADER "}\n", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{\"pair\":{\"key\":\"\",\"value\":\"\",\"mod\":1}}\n{" HEADER "}\n", -EPROTO,
	  -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{\"session\":5}", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{\"session\":0,\"ttl_s\":9}", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{\"session\":null,\"ttl_s\":9}", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{\"session\":5,\"ttl_s\":-1}", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ OK "{\"session\":5,\"ttl_s\":9}", -EPROTO, -EINPROGRESS, 0, 0 },
	{ STATUS("204 No Content") "", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ STATUS("301 Moved\r\nLocation: http://127.0.0.1:1/") "", -EPROTO, -EPROTO, -EPROTO, -EPROTO },
	{ STATUS("401 Unauthorized") "who are you?", -EPROTO, -EPROTO, -EPROTO, -EPROTO },
	{ STATUS("404 Not Found") "{\"detail\":\"Not Found\"}", -EPROTO, -EPROTO, -EPROTO, -EPROTO },
	// A proxy, which may have handed it on.
	{ STATUS("502 Bad Gateway") "<html>", -EPROTO, -EINPROGRESS, -EPROTO, -EINPROGRESS },
	{ STATUS("504 Timeout") "{\"error\":\"timeout\"}", -EPROTO, -EINPROGRESS, -EPROTO,
	  -EINPROGRESS },
	{ STATUS("503 No") ERROR("no-leader"), -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN },
	{ STATUS("503 No") ERROR("unreachable"), -ECONNREFUSED, -ECONNREFUSED, -ECONNREFUSED,
	  -ECONNREFUSED },
	{ STATUS("504 No") ERROR("unknown-outcome"), -EINPROGRESS, -EINPROGRESS, -EINPROGRESS,
	  -EINPROGRESS },
	{ STATUS("403 No") ERROR("denied"), -EACCES, -EACCES, -EACCES, -EACCES },
	{ STATUS("404 No") ERROR("no-session"), -ENOENT, -ENOENT, -ENOENT, -ENOENT },
	{ STATUS("503 No") ERROR("new"), -EPROTO, -EPROTO, -EPROTO, -EPROTO },
};

static void check_answer(const char *raw, const char *call, struct kv_answer *answer, int r)
{
	check(answer->r == r, "%s: %s: %d %s", raw, call, answer->r, answer->err.msg);
	check(r == 0 || (strstr(answer->err.msg, fake_http_url(fakes[0])) && answer->err.code == r),
	      "%s: %s: %s", raw, call, answer->err.msg);
	kv_answer_free(answer);
}

static void test_answers(void **state)
{
	struct fake_answer answers[] = { { "/v2/", NULL, 0 }, { 0 } };
	struct kv_answer answer;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *raw = answers[0].raw = cases[i].raw;
		struct kv *kv = open_fakes(answers, NULL);

		do_range(kv, "/p/", true, &answer);
		check_answer(raw, "range", &answer, cases[i].range);
		do_write(kv, "/p/a", "v", 0, 0, &answer);
		assert_false(answer.succeeded);
		check_answer(raw, "txn", &answer, cases[i].txn);
		do_session_keep_alive(kv, 5, &answer);
		check_answer(raw, "keep-alive", &answer, cases[i].keep_alive);
		do_session_open(kv, 9, &answer);
		check_answer(raw, "open", &answer, cases[i].session_open);
		fake_store_close(kv);
	}
}

static const struct fake_answer controller_answers[] = {
	{ "/v2/range", OK "{\"pair\":" PAIR("/p/a") "}\n{" HEADER "}\n", 0 },
	{ "/v2/txn", OK "{" HEADER ",\"succeeded\":true,\"pairs\":[]}", 0 },
	{ "/v2/session", OK "{\"session\":5,\"ttl_s\":9}", 0 },
	{ "/v2/watch", OK "{\"up\":{\"revision\":5,\"cluster_id\":\"7\"}}\n", 0 },
	{ 0 },
};

// What surely was not done, or may be done twice, goes to the next controller; what may have been
// done and must not be done twice does not.
static void test_second_controller(void **state)
{
	struct fake_answer answers[] = { { "/v2/", NULL, 0 }, { 0 } };
	struct watch_log log = { 0 };
	struct kv_answer answer;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *raw = answers[0].raw = cases[i].raw;
		struct kv *kv;

		// It is refused for good, or holds a line of its own.
		if (strstr(raw, "denied") || strstr(raw, "no-session") || strstr(raw, "\"pair\":") ||
		    strstr(raw, "unknown-outcome") || cases[i].range == 0 || strstr(raw, "}\n{"))
			continue;
		kv = open_fakes(answers, controller_answers);
		do_range(kv, "/p/", true, &answer);
		check(answer.r == 0 && answer.pair_count == 1, "%s: range: %s", raw, answer.err.msg);
		assert_string_equal(kv_endpoint(kv), fake_http_url(fakes[1]));
		kv_answer_free(&answer);
		fake_store_close(kv);
		kv = open_fakes(answers, controller_answers);
		do_write(kv, "/p/a", "v", 0, 0, &answer);
		check(answer.r == (cases[i].txn == -EINPROGRESS ? -EINPROGRESS : 0), "%s: txn: %s",
		      raw, answer.err.msg);
		kv_answer_free(&answer);
		fake_store_close(kv);
		kv = open_fakes(answers, controller_answers);
		do_session_keep_alive(kv, 5, &answer);
		check(answer.r == 0, "%s: keep-alive: %s", raw, answer.err.msg);
		kv_answer_free(&answer);
		fake_store_close(kv);
		kv = open_fakes(answers, controller_answers);
		watch_log_start(&log, kv, prefixes, 6, 7);
		turn_until(loop, log.ups >= 1);
		watch_log_free(&log);
		fake_store_close(kv);
	}
}

static void test_no_answer(void **state)
{
	static const struct fake_answer answers[] = { { "/v2/", NULL, 0 }, { 0 } };
	struct kv *kv = open_fakes(answers, NULL);
	struct kv_answer answer;
	uint64_t started = loop_now_ms();

	(void)state;
	do_write(kv, "/p/a", "v", 0, 0, &answer);
	assert_int_equal(answer.r, -EINPROGRESS);
	assert_in_range(loop_now_ms() - started, 900, 2500);
	kv_answer_free(&answer);
	started = loop_now_ms();
	do_range(kv, "/p/", true, &answer);
	assert_int_equal(answer.r, -ETIMEDOUT);
	assert_in_range(loop_now_ms() - started, 2900, 6000);
	kv_answer_free(&answer);
	fake_store_close(kv);
}

// It never stands still, and never ends.
static void test_range_that_drips(void **state)
{
	static const struct fake_answer answers[] = { { "/v2/", OK, .drip = " " }, { 0 } };
	const struct store_config config = { .kind = "controller", .request_timeout_ms = 100 };
	struct kv_answer answer;
	uint64_t started = loop_now_ms();
	struct kv *kv;

	(void)state;
	kv = fake_store_open(config, answers, NULL);
	do_range(kv, "/p/", true, &answer);
	assert_int_equal(answer.r, -ETIMEDOUT);
	assert_in_range(loop_now_ms() - started, 1900, 6000);
	kv_answer_free(&answer);
	fake_store_close(kv);
}

static void test_lines_that_are_too_long(void **state)
{
	_cleanup_free_ char *piece = xcalloc(1, WIRE_LINE_MAX + 100);
	const struct fake_answer answers[] = { { "/v2/range", OK, .drip = NULL },
					       { "/v2/watch", piece, 100 },
					       { 0 } };
	struct watch_log log = { 0 };
	struct kv *kv;

	(void)state;
	memset(piece, ' ', WIRE_LINE_MAX + 99);
	memcpy(piece, OK "{", strlen(OK "{"));
	kv = open_fakes(answers, NULL);
	watch_log_start(&log, kv, prefixes, 6, 7);
	turn_until(loop, log.downs == 1);
	assert_int_equal(log.err.code, -EPROTO);
	assert_non_null(strstr(log.err.msg, fake_http_url(fakes[0])));
	watch_log_free(&log);
	fake_store_close(kv);
}

// Refused compares bring all their pairs: as many as a transaction has, each as large as a value.
static void test_large_refusal(void **state)
{
	_cleanup_free_ char *value = xcalloc(1, KV_VALUE_MAX + 1);
	struct strbuf raw = STRBUF_INIT(16 * 1024 * 1024);
	struct fake_answer answers[] = { { "/v2/txn", NULL, 0 }, { 0 } };
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	memset(value, '"', KV_VALUE_MAX);
	strbuf_puts(&raw, OK "{" HEADER ",\"succeeded\":false,\"pairs\":[");
	for (int i = 0; i < KV_TXN_MAX; i++) {
		_cleanup_free_ char *key = xasprintf("/p/%02d", i);
		const struct kv_pair pair = { .raw_key = key,
					      .raw_key_len = strlen(key),
					      .value = value,
					      .value_len = KV_VALUE_MAX,
					      .mod_revision = 5 };
		_cleanup_free_ char *text = wire_pair_text(&pair);

		strbuf_puts(&raw, i > 0 ? "," : "");
		strbuf_puts(&raw, text);
	}
	strbuf_puts(&raw, "]}");
	answers[0].raw = strbuf_text(&raw);
	kv = open_fakes(answers, NULL);
	do_write(kv, "/p/00", "v", 0, 0, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	assert_int_equal(answer.pair_count, KV_TXN_MAX);
	kv_answer_free(&answer);
	fake_store_close(kv);
	strbuf_free(&raw);
}

// ---- watches ----

static const char *const bad_streams[] = {
	"",
	OK,
	OK "hello\n",
	OK "[]\n",
	OK "5\n",
	OK "\n",
	OK "{\"up\":5}\n",
	OK "{\"up\":{\"revision\":-1,\"cluster_id\":\"7\"}}\n",
	OK "{\"up\":{\"revision\":9223372036854775807,\"cluster_id\":\"7\"}}\n",
	OK "{\"put\":5}\n",
	OK "{\"put\":{\"key\":\"\",\"value\":\"v\",\"mod\":9}}\n",
	OK "{\"put\":{\"key\":\"/p/a\",\"value\":\"v\"}}\n",
	OK "{\"put\":{\"key\":\"/p/a\",\"value\":\"v\",\"mod\":9223372036854775807}}\n",
	OK "{\"delete\":null}\n",
	OK "{\"complete\":\"5\"}\n",
	OK "{\"complete\":9223372036854775807}\n",
	OK "{\"complete\":-1}\n",
	STATUS("301 Moved\r\nLocation: http://127.0.0.1:1/") "",
	STATUS("403 No") ERROR("denied"),
	STATUS("502 Bad Gateway") "<html>",
};

static void test_bad_streams(void **state)
{
	struct fake_answer answers[] = { { "/v2/", NULL, 0 }, { 0 } };
	struct watch_log log = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_streams); i++) {
		struct kv *kv;

		answers[0].raw = bad_streams[i];
		kv = open_fakes(answers, NULL);
		watch_log_start(&log, kv, prefixes, 6, 7);
		turn_until(loop, log.downs == 1 && fake_http_count(fakes[0]) >= 3);
		check(log.events == 0 && log.ups == 0, "%s", bad_streams[i]);
		check(strstr(log.err.msg, fake_http_url(fakes[0])) != NULL, "%s: %s",
		      bad_streams[i], log.err.msg);
		watch_log_free(&log);
		fake_store_close(kv);
	}
}

static void test_lost(void **state)
{
	static const struct fake_answer answers[] = {
		{ "/v2/", OK "{\"lost\":5,\"store_changed\":\"x\"}\n{\"up\":{}}\nhello\n", 0 }, { 0 }
	};
	struct kv *kv = open_fakes(answers, NULL);
	struct watch_log log = { 0 };

	(void)state;
	watch_log_start(&log, kv, prefixes, 6, 7);
	turn_until(loop, log.losts == 1);
	for (int i = 0; i < 20; i++)
		loop_turn(loop, 10);
	assert_false(log.store_changed);
	assert_int_equal(fake_http_count(fakes[0]), 1); // this watch is over
	watch_log_free(&log);
	fake_store_close(kv);
}

#define UP "{\"up\":{\"revision\":5,\"cluster_id\":\"7\"}}\n"

static void test_dead_man(void **state)
{
	static const struct fake_answer silent[] = { { "/v2/", OK UP, .drip = "" }, { 0 } };
	static const struct fake_answer mute[] = { { "/v2/", NULL, 0 }, { 0 } };
	const struct fake_answer *const servers[] = { silent, mute };
	struct watch_log log = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(servers); i++) {
		struct kv *kv = open_fakes(servers[i], NULL);

		watch_log_start(&log, kv, prefixes, 6, 7);
		turn_until(loop, log.downs == 1);
		assert_int_equal(log.err.code, -ETIMEDOUT);
		assert_non_null(strstr(log.err.msg, fake_http_url(fakes[0])));
		assert_non_null(strstr(log.err.msg, "no sign of life"));
		watch_log_free(&log);
		fake_store_close(kv);
	}
}

#define PUT(key, mod) "{\"put\":{\"key\":\"" key "\",\"value\":\"v\",\"mod\":" mod "}}\n"
#define DELETE(key, mod) "{\"delete\":{\"key\":\"" key "\",\"size\":0,\"mod\":" mod "}}\n"

// Another controller, which had to read everything again, has the changes of a revision in the order
// of the keys, and deletions of which it only knows that they were before: by their number they
// cannot be told apart.
static void test_resume_in_another_order(void **state)
{
	static const struct fake_answer first[] = {
		{ "/v2/", OK UP PUT("/p/b", "6") PUT("/p/c", "7") DELETE("/p/x", "7"), 0 }, { 0 }
	};
	static const struct fake_answer second[] = { { "/v2/",
						       OK UP PUT("/p/a", "7") PUT("/p/c", "7")
							       PUT("/p/d", "7") DELETE("/p/x", "7")
								       PUT("/p/d", "8"),
						       .drip = "{\"complete\":8}\n" },
						     { 0 } };
	struct kv *kv = open_fakes(first, second);
	struct watch_log log = { 0 };

	(void)state;
	watch_log_start(&log, kv, prefixes, 6, 7);
	turn_until(loop, log.ups == 2 && log.last_revision == 8);
	assert_string_equal(strbuf_text(&log.text),
			    "PUT /p/b=v\nPUT /p/c=v\nDELETE /p/x\nPUT /p/a=v\nPUT /p/d=v\nPUT /p/d=v\n");
	assert_int_equal(log.downs, 1);
	watch_log_free(&log);
	fake_store_close(kv);
}

static void free_it(void *arg, const struct kv_watch_event *event)
{
	struct kv_watch **watch = arg;

	(void)event;
	*watch = kv_watch_free(*watch);
}

// Whatever it is told first: nothing more comes.
static void test_freed_at_once(void **state)
{
	static const char *const streams[] = {
		OK UP UP PUT("/p/a", "6"),
		OK PUT("/p/a", "6") PUT("/p/b", "6") UP,
		OK DELETE("/p/a", "6") "hello\n",
		OK "{\"down\":\"why\"}\n{\"down\":\"why\"}\n" UP,
		OK "{\"lost\":\"why\"}\n" UP,
		OK "hello\n",
		"",
	};
	struct fake_answer answers[] = { { "/v2/", NULL, 0 }, { 0 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
		struct kv_watch *watch;
		struct kv *kv;

		answers[0].raw = streams[i];
		kv = open_fakes(answers, NULL);
		watch = kv_watch_start(kv, prefixes, 6, 7, free_it, &watch);
		turn_until(loop, !watch);
		loop_turn(loop, 10);
		fake_store_close(kv);
	}
}

// What was handed on cannot be taken back, so that nobody else is asked.
static void test_range_that_breaks_off(void **state)
{
	static const struct fake_answer first[] = { { "/v2/", OK "{\"pair\":" PAIR("/p/a") "}\n", 0 },
						    { 0 } };
	static const struct fake_answer second[] = { { "/v2/", OK "{" HEADER "}\n", 0 }, { 0 } };
	struct kv *kv = open_fakes(first, second);
	struct kv_answer answer;

	(void)state;
	do_range(kv, "/p/", true, &answer);
	assert_int_equal(answer.r, -EPROTO);
	assert_int_equal(answer.pair_count, 1);
	assert_int_equal(fake_http_count(fakes[1]), 0);
	kv_answer_free(&answer);
	fake_store_close(kv);
}

// That it is down is told once, but for a refusal, which does not pass by itself.
static void test_refusal_is_told(void **state)
{
	static const struct fake_answer broken[] = { { "/v2/", "", 0 }, { 0 } };
	static const struct fake_answer refusing[] = {
		{ "/v2/", STATUS("401 Unauthorized") ERROR("denied"), 0 }, { 0 }
	};
	struct kv *kv = open_fakes(broken, refusing);
	struct watch_log log = { 0 };

	(void)state;
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.downs == 1);
	assert_int_not_equal(log.err.code, -EACCES);
	turn_until(loop, log.downs == 2);
	assert_int_equal(log.err.code, -EACCES);
	turn_until(loop, fake_http_count(fakes[0]) + fake_http_count(fakes[1]) >= 5);
	assert_int_equal(log.downs, 2);
	watch_log_free(&log);
	fake_store_close(kv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAKE_STORE_TEST(test_answers),
		FAKE_STORE_TEST(test_second_controller),
		FAKE_STORE_TEST(test_range_that_breaks_off),
		FAKE_STORE_TEST(test_refusal_is_told),
		FAKE_STORE_TEST(test_no_answer),
		FAKE_STORE_TEST(test_range_that_drips),
		FAKE_STORE_TEST(test_lines_that_are_too_long),
		FAKE_STORE_TEST(test_large_refusal),
		FAKE_STORE_TEST(test_bad_streams),
		FAKE_STORE_TEST(test_lost),
		FAKE_STORE_TEST(test_dead_man),
		FAKE_STORE_TEST(test_resume_in_another_order),
		FAKE_STORE_TEST(test_freed_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
