// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the etcd store against servers that answer nonsense, and of its decoders.
#include "unit.h"

#include "core/base64.h"
#include "core/mem.h"
#include "fake_store.h"
#include "store/endpoint_set.h"
#include "store/etcd3_json.h"
#include "store/etcd3_lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define OK "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
#define STATUS(words) "HTTP/1.1 " words "\r\nConnection: close\r\n\r\n"
#define HEADER "\"header\":{\"cluster_id\":\"7\",\"revision\":\"5\",\"raft_term\":\"2\"}"
#define KEY_P_A "L3AvYQ==" // "/p/a"

static struct kv *open_fake_as(const struct fake_answer *answers, struct store_config config)
{
	config.kind = "etcd3";
	return fake_store_open(config, answers, NULL);
}

static struct kv *open_fake(const struct fake_answer *answers)
{
	return open_fake_as(answers,
			    (struct store_config){ .request_timeout_ms = 2000, .dead_man_ms = 600 });
}

// ---- requests ----

struct answer_case {
	const char *raw;
	int range; // what a range ends with
	int txn;
	int keep_alive;
};

static const struct answer_case answer_cases[] = {
	{ "", -EPIPE, -EINPROGRESS, -EPIPE },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", -EPIPE, -EINPROGRESS, -EPIPE },
	{ "SSH-2.0-OpenSSH\r\n", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK, -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "hello", -EPROTO, -EPROTO, -EPROTO },
	{ OK "{}", -EPROTO, -EPROTO, -EPROTO },
	{ OK "[]", -EPROTO, -EPROTO, -EPROTO },
	{ OK "null", -EPROTO, -EPROTO, -EPROTO },
	{ OK "{\"header\":1}", -EPROTO, -EPROTO, -EPROTO },
	{ OK "{\"header\":{\"revision\":\"many\"}}", -EPROTO, -EPROTO, -EPROTO },
	{ OK "{\"header\":{\"revision\":\"99999999999999999999\"}}", -EPROTO, -EPROTO, -EPROTO },
	{ OK "{\"header\":{\"revision\":\"5\",\"cluster_id\":\"-1\"}}", -EPROTO, -EPROTO, -EPROTO },
	{ OK "{" HEADER ",\"kvs\":[1]}", -EPROTO, 0, -EPROTO },
	{ OK "{" HEADER ",\"kvs\":{}}", 0, 0, -EPROTO },
	{ OK "{" HEADER ",\"kvs\":[{\"key\":5}]}", -EPROTO, 0, -EPROTO },
	// There is always more.
	{ OK "{" HEADER ",\"kvs\":[],\"more\":true,\"count\":\"9\"}", -EPROTO, 0, -EPROTO },
	{ OK "{" HEADER ",\"kvs\":[{\"key\":\"" KEY_P_A "\"}],\"more\":true,\"count\":\"99999\"}",
	  -EPROTO, 0, -EPROTO },
	{ OK "{" HEADER ",\"kvs\":[{\"key\":\"" KEY_P_A "\"}],\"more\":true,\"count\":\"-9\"}",
	  -EPROTO, 0, -EPROTO },
	{ OK "{" HEADER ",\"kvs\":[{\"key\":\"" KEY_P_A "\"}],\"more\":true,\"count\":\"x\"}",
	  -EPROTO, 0, -EPROTO },
	{ OK "{" HEADER ",\"kvs\":[{\"key\":\"*\"}]}", -EPROTO, 0, -EPROTO },
	{ OK "{" HEADER ",\"kvs\":[{\"key\":\"" KEY_P_A "\",\"value\":[]}]}", -EPROTO, 0, -EPROTO },
	{ OK "{" HEADER ",\"kvs\":[{\"key\":\"" KEY_P_A "\",\"mod_revision\":{}}]}", -EPROTO, 0,
	  -EPROTO },
	{ OK "{" HEADER ",\"kvs\":[{\"key\":\"" KEY_P_A "\",", -EPROTO, -EINPROGRESS, -EPROTO },
	{ OK "{" HEADER ",\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":\"*\"}]}}]}", 0,
	  -EPROTO, -EPROTO },
	{ OK "{\"result\":{" HEADER ",\"TTL\":\"soon\"}}", -EPROTO, -EPROTO, -EPROTO },
	{ OK "{\"error\":{\"grpc_code\":14,\"message\":\"transport is closing\"}}", -EPROTO,
	  -EPROTO, -EAGAIN },
	{ "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", -EAGAIN, -EINPROGRESS, -EAGAIN },
	{ "HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n{\"message\":\"etcdserver: no leader\",\"code\":14}",
	  -EAGAIN, -EAGAIN, -EAGAIN },
	{ "HTTP/1.1 400 Bad\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", -EPROTO, -EPROTO,
	  -EPROTO },
	{ "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
	  -EPROTO, -EPROTO, -EPROTO },
	{ "HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\nCommonName of client sending a request against gateway will be ignored",
	  -EACCES, -EACCES, -EACCES },
	{ STATUS("429 Slow") "{\"message\":\"etcdserver: too many requests\",\"code\":8}", -EAGAIN,
	  -EAGAIN, -EAGAIN },
	{ STATUS("429 Full") "{\"message\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}",
	  -ENOSPC, -ENOSPC, -ENOSPC },
	{ "HTTP/1.1 404 No\r\nConnection: close\r\n\r\n{\"message\":\"lease not found\",\"code\":5}",
	  -ENOENT, -ENOENT, -ENOENT },
};

static void test_answers(void **state)
{
	struct fake_answer answers[] = { { "/", NULL, 0 }, { 0 } };
	struct kv_answer answer;
	struct kv *kv;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(answer_cases) / sizeof(answer_cases[0]); i++) {
		const struct answer_case *c = &answer_cases[i];

		answers[0].raw = c->raw;
		kv = open_fake(answers);
		do_range(kv, "/p/", true, &answer);
		check(answer.r == c->range, "range %s: %d %s", c->raw, answer.r, answer.err.msg);
		kv_answer_free(&answer);
		do_write(kv, "/p/a", "v", 0, 0, &answer);
		check(answer.r == c->txn, "txn %s: %d %s", c->raw, answer.r, answer.err.msg);
		assert_false(answer.succeeded);
		kv_answer_free(&answer);
		do_session_keep_alive(kv, 5, &answer);
		check(answer.r == c->keep_alive, "keep-alive %s: %d %s", c->raw, answer.r,
		      answer.err.msg);
		kv_answer_free(&answer);
		fake_store_close(kv);
	}
}

static void test_answer_without_end(void **state)
{
	static char piece[65537];
	struct fake_answer answers[] = { { "/", piece, 1000 }, { 0 } };
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	memset(piece, ' ', sizeof(piece) - 1);
	memcpy(piece, OK "{", strlen(OK "{"));
	kv = open_fake(answers);
	do_session_query(kv, 5, &answer);
	assert_int_equal(answer.r, -E2BIG);
	kv_answer_free(&answer);
	kv_close(kv);
}

static void test_no_answer(void **state)
{
	static const struct fake_answer answers[] = { { "/v3/kv/", NULL, 0 }, { 0 } };
	struct kv_answer answer;
	uint64_t started = loop_now_ms();
	struct kv *kv;

	(void)state;
	kv = open_fake(answers);
	do_range(kv, "/p", false, &answer);
	assert_int_equal(answer.r, -ETIMEDOUT);
	assert_in_range(loop_now_ms() - started, 1900, 5000);
	kv_answer_free(&answer);
	// A range of any length gets more time, but not for ever.
	started = loop_now_ms();
	do_range(kv, "/p/", true, &answer);
	assert_int_equal(answer.r, -ETIMEDOUT);
	assert_in_range(loop_now_ms() - started, 5900, 15000);
	kv_answer_free(&answer);
	kv_close(kv);
}

// It never stands still, and never ends.
static void test_answer_drips(void **state)
{
	static const struct fake_answer answers[] = {
		{ "/v3/kv/", OK "{" HEADER ",\"kvs\":[", .drip = " " }, { 0 }
	};
	struct kv_answer answer;
	uint64_t started = loop_now_ms();
	struct kv *kv;

	(void)state;
	kv = open_fake_as(answers, (struct store_config){ .request_timeout_ms = 150 });
	do_range(kv, "/p/", true, &answer);
	assert_int_equal(answer.r, -ETIMEDOUT);
	assert_in_range(loop_now_ms() - started, 2900, 10000);
	kv_answer_free(&answer);
	kv_close(kv);
}

// A kept connection that closes when it is used again: what may be done twice is sent again by
// itself, a transaction is not.
static void test_kept_connection_closes(void **state)
{
	static const struct fake_answer answers[] = {
		{ "/", "HTTP/1.1 200 OK\r\nContent-Length: 61\r\n\r\n{" HEADER "}\n", 0, true },
		{ 0 },
	};
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	kv = open_fake(answers);
	do_range(kv, "/p/a", false, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
	do_write(kv, "/p/a", "v", 0, 0, &answer);
	assert_int_equal(answer.r, -EINPROGRESS);
	kv_answer_free(&answer);
	assert_int_equal(fake_http_count(fakes[0]), 2);
	do_range(kv, "/p/a", false, &answer);
	assert_int_equal(answer.r, 0);
	kv_answer_free(&answer);
	do_range(kv, "/p/a", false, &answer);
	assert_int_equal(answer.r, 0);
	kv_answer_free(&answer);
	assert_int_equal(fake_http_count(fakes[0]), 5);
	kv_close(kv);
}

static void test_older_api(void **state)
{
	static const struct fake_answer answers[] = { { "/v3beta/kv/range", OK "{" HEADER "}", 0 },
						      { 0 } };
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	kv = open_fake(answers);
	do_range(kv, "/p/", true, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	assert_int_equal(answer.header.revision, 5);
	assert_int_equal(answer.header.cluster_id, 7);
	kv_answer_free(&answer);
	assert_int_equal(fake_http_count(fakes[0]), 2);
	do_range(kv, "/p/", true, &answer);
	assert_int_equal(answer.r, 0);
	kv_answer_free(&answer);
	assert_int_equal(fake_http_count(fakes[0]), 3);
	kv_close(kv);
}

static void test_no_gateway(void **state)
{
	static const struct fake_answer answers[] = { { 0 } };
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	kv = open_fake(answers);
	do_range(kv, "/p/", true, &answer);
	assert_int_equal(answer.r, -EPROTO);
	assert_non_null(strstr(answer.err.msg, "is this etcd 3.3 or later?"));
	kv_answer_free(&answer);
	kv_close(kv);
}

// ---- another service in an etcd's place ----

static const char *const foreign_answers[] = {
	STATUS("405 Method Not Allowed") "<html>Method not allowed</html>",
	STATUS("404 Not Found") "404 page not found",
	STATUS("404 Not Found") "{\"detail\":\"Not Found\"}",
	STATUS("404 Not Found") "{\"kind\":\"Status\",\"message\":\"no such path\",\"code\":404}",
	STATUS("301 Moved\r\nLocation: http://127.0.0.1:1/") "",
	STATUS("400 Bad Request") "{\"error\":\"bad\"}",
	STATUS("400 Bad Request") "{}",
	STATUS("400 Bad Request") "[1]",
	STATUS("401 Unauthorized") "who are you?",
	STATUS("401 Unauthorized") "{\"error\":\"unauthorized\"}",
	STATUS("403 Forbidden") "{\"message\":\"forbidden\"}",
	STATUS("403 Forbidden") "{\"code\":7}",
	STATUS("204 No Content") "",
	OK "<!DOCTYPE html><html></html>",
	OK "\n\"hello\"",
	OK "[]",
	OK "{\"status\":\"ok\"}",
	OK "{\"header\":\"x\"}",
};

static const struct fake_answer etcd_answers[] = {
	{ "/v3/watch", OK "{\"result\":{" HEADER ",\"created\":true}}\n", 0 },
	{ "/v3/kv/txn", OK "{" HEADER ",\"succeeded\":true}", 0 },
	{ "/v3/lease/keepalive", OK "{\"result\":{" HEADER ",\"TTL\":\"9\"}}", 0 },
	{ "/v3/lease/grant", OK "{" HEADER ",\"TTL\":\"9\"}", 0 },
	{ "/v3/kv/range", OK "{" HEADER "}", 0 },
	{ 0 },
};

static void ask_key(struct kv *kv, struct kv_answer *ret)
{
	do_range(kv, "/p/a", false, ret);
}

static void ask_prefix(struct kv *kv, struct kv_answer *ret)
{
	do_range(kv, "/p/", true, ret);
}

static void ask_write(struct kv *kv, struct kv_answer *ret)
{
	do_write(kv, "/p/a", "v", 0, 0, ret);
}

static void ask_keep_alive(struct kv *kv, struct kv_answer *ret)
{
	do_session_keep_alive(kv, 5, ret);
}

static void ask_session(struct kv *kv, struct kv_answer *ret)
{
	do_session_open(kv, 9, ret);
}

static void test_foreign_server_first(void **state)
{
	static void (*const asks[])(struct kv * kv, struct kv_answer * ret) = {
		ask_key, ask_prefix, ask_write, ask_keep_alive, ask_session,
	};
	static const char *const prefixes[] = { "/p/", NULL };
	struct fake_answer answers[] = { { "/", NULL, 0 }, { 0 } };
	struct fake_http *foreign;
	struct watch_log log = { 0 };
	struct kv_answer answer;
	const char *urls[3] = { NULL, NULL, NULL };
	struct store_config config = { .kind = "etcd3", .endpoints = urls };
	struct kv *kv;
	unsigned int asked;
	size_t i, ask;

	(void)state;
	fakes[0] = fake_http_start(etcd_answers);
	urls[1] = fake_http_url(fakes[0]);
	for (i = 0; i < ARRAY_SIZE(foreign_answers); i++) {
		answers[0].raw = foreign_answers[i];
		foreign = fake_http_start(answers);
		urls[0] = fake_http_url(foreign);
		for (ask = 0; ask < ARRAY_SIZE(asks); ask++) {
			assert_int_equal(kv_open(loop, &config, &kv, NULL), 0);
			asks[ask](kv, &answer);
			check(answer.r == 0, "%s, call %zu: %s", foreign_answers[i], ask,
			      answer.err.msg);
			assert_string_equal(kv_endpoint(kv), urls[1]);
			kv_answer_free(&answer);
			asked = fake_http_count(foreign);
			asks[ask](kv, &answer);
			assert_int_equal(answer.r, 0);
			kv_answer_free(&answer);
			assert_int_equal(fake_http_count(foreign), asked); // not again
			kv_close(kv);
		}
		assert_int_equal(kv_open(loop, &config, &kv, NULL), 0);
		watch_log_start(&log, kv, prefixes, 1, 0);
		turn_until(loop, log.ups >= 1);
		watch_log_free(&log);
		kv_close(kv);
		fake_http_free(foreign);
	}
}

// A proxy that says 502 may have handed the request on.
static void test_proxy_first(void **state)
{
	static const struct fake_answer answers[] = {
		{ "/", STATUS("502 Bad Gateway") "<html>Bad gateway</html>", 0 }, { 0 }
	};
	struct fake_http *proxy = fake_http_start(answers);
	const char *urls[3] = { NULL, NULL, NULL };
	struct store_config config = { .kind = "etcd3", .endpoints = urls };
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	fakes[0] = fake_http_start(etcd_answers);
	urls[0] = fake_http_url(proxy);
	urls[1] = fake_http_url(fakes[0]);
	assert_int_equal(kv_open(loop, &config, &kv, NULL), 0);
	do_write(kv, "/p/a", "v", 0, 0, &answer);
	assert_int_equal(answer.r, -EINPROGRESS);
	kv_answer_free(&answer);
	kv_close(kv);
	assert_int_equal(kv_open(loop, &config, &kv, NULL), 0);
	do_range(kv, "/p/a", false, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
	kv_close(kv);
	fake_http_free(proxy);
}

// A token from a hostile server must not become a header of its own.
static void test_token_with_newline(void **state)
{
	static const struct fake_answer answers[] = {
		{ "/v3/auth/", OK "{" HEADER ",\"token\":\"a\\r\\nX: y\"}", 0 }, { 0 }
	};
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	kv = open_fake_as(answers, (struct store_config){ .username = "u", .password = "p" });
	do_range(kv, "/p/", true, &answer);
	assert_int_equal(answer.r, -EPROTO);
	assert_int_equal(fake_http_count(fakes[0]), 1);
	kv_answer_free(&answer);
	kv_close(kv);
}

static void test_endpoints(void **state)
{
	static const struct {
		const char *endpoint;
		int r;
	} cases[] = {
		{ "http://127.0.0.1:2379/", 0 },
		{ "127.0.0.1:2379", 0 },
		{ "https://etcd.example", 0 },
		{ "ftp://127.0.0.1", -EINVAL },
		{ "http://", -EINVAL },
		{ "http:///path", -EINVAL },
		{ "", -EINVAL },
		{ "http://user:pass@host:1", -EINVAL },
		{ "http://host:1?x=y", -EINVAL },
		{ "http://ho st:1", -EINVAL },
		{ "http://host:1/a\x7f", -EINVAL },
		{ ":2379", -EINVAL },
		{ "http://:2379", -EINVAL },
		{ "http://host:1/of@path", 0 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *endpoints[] = { cases[i].endpoint, NULL };
		struct store_config config = { .kind = "etcd3", .endpoints = endpoints };
		struct kv *kv = NULL;
		struct err e = { 0 };
		int r = kv_open(loop, &config, &kv, &e);

		check(r == cases[i].r, "%s: %d", cases[i].endpoint, r);
		assert_null(strstr(e.msg, "pass@"));
		kv_close(kv);
	}
}

// ---- watch streams ----

#define CREATED "{\"result\":{" HEADER ",\"created\":true}}\n"
#define PUT_A(revision) \
	"{\"kv\":{\"key\":\"" KEY_P_A "\",\"value\":\"dg==\",\"mod_revision\":\"" revision "\"}}"

static const char *const stream_cases[] = {
	OK "hello\n",
	OK "{}\n",
	OK "{\"result\":1}\n",
	OK "{\"result\":{}}\n",
	OK "{\"other\":{}}\n",
	OK "{\"result\":{" HEADER ",\"watch_id\":\"x\",\"created\":true}}\n",
	OK "{\"result\":{" HEADER ",\"canceled\":true}}\n",
	OK "{\"result\":{" HEADER ",\"events\":[5]}}\n",
	OK "{\"result\":{" HEADER ",\"events\":[{}]}}\n",
	OK "{\"result\":{" HEADER ",\"events\":[{\"type\":\"MOVE\",\"kv\":{}}]}}\n",
	OK "{\"result\":{" HEADER ",\"events\":[{\"kv\":{\"key\":\"*\"}}]}}\n",
	OK "{\"result\":{" HEADER "}}}}}\n",
	OK "{\"result\":{" HEADER "}\n",
	OK "{\"result\"            :                                     :{",
	OK "{\"error\":{\"message\":\"no\"}}\n",
	OK "{\"error\":\"no\"}\n",
	"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	OK,
};

static void test_streams(void **state)
{
	static const char *const prefixes[] = { "/p/", NULL };
	struct fake_answer answers[] = { { "/", NULL, 0 }, { 0 } };
	struct watch_log log = { 0 };
	struct kv *kv;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(stream_cases) / sizeof(stream_cases[0]); i++) {
		answers[0].raw = stream_cases[i];
		kv = open_fake(answers);
		watch_log_start(&log, kv, prefixes, 1, 0);
		turn_until(loop, log.downs == 1 && kv_stats(kv)->requests >= 2);
		check(log.ups == 0 && log.losts == 0 && log.events == 0, "%s", stream_cases[i]);
		watch_log_free(&log);
		fake_store_close(kv);
	}
}

// Each line of the stream breaks off later than the one before, and every stream brings the same:
// what was told stays told once.
static void test_stream_breaks_off(void **state)
{
	static const char *const prefixes[] = { "/p/", NULL };
	static const struct fake_answer answers[] = {
		{ "/v3/watch",
		  OK CREATED "{\"result\":{" HEADER ",\"events\":[" PUT_A("3") "," PUT_A(
			  "4") "," PUT_A("4") ",{\"kv\":{\"key\":\"L3",
		  0 },
		{ "/", OK "{" HEADER "}", 0 },
		{ 0 },
	};
	struct watch_log log = { 0 };
	struct kv *kv;

	(void)state;
	kv = open_fake(answers);
	watch_log_start(&log, kv, prefixes, 3, 7);
	turn_until(loop, log.downs == 3);
	assert_string_equal(strbuf_text(&log.text), "PUT /p/a=v\nPUT /p/a=v\nPUT /p/a=v\n");
	watch_log_free(&log);
	kv_close(kv);
}

static void test_fragments(void **state)
{
	static const char *const prefixes[] = { "/p/", "/q/", NULL };
	static const struct fake_answer answers[] = {
		{ "/v3/watch",
		  OK CREATED
		  "{\"result\":{" HEADER ",\"created\":true,\"watch_id\":\"1\"}}\n"
		  "{\"result\":{" HEADER ",\"fragment\":true,\"events\":[" PUT_A(
			  "5") "]}}\n"
			       "{\"result\":{" HEADER
			       ",\"watch_id\":\"1\",\"events\":[{\"kv\":{\"key\":\"L3Ev\",\"mod_revision\":\"5\"}}]}}\n"
			       "{\"result\":{" HEADER ",\"events\":[" PUT_A("5") "]}}\n",
		  0 },
		{ "/", OK "{" HEADER "}", 0 },
		{ 0 },
	};
	struct watch_log log = { 0 };
	struct kv *kv;

	(void)state;
	kv = open_fake(answers);
	watch_log_start(&log, kv, prefixes, 5, 7);
	turn_until(loop, log.downs == 2);
	assert_string_equal(strbuf_text(&log.text), "PUT /p/a=v\nPUT /q/=\nPUT /p/a=v\n");
	watch_log_free(&log);
	kv_close(kv);
}

// It accepts the watch and falls silent.
static void test_stream_silent(void **state)
{
	static const char *const prefixes[] = { "/p/", NULL };
	static const struct fake_answer answers[] = { { "/", NULL, 0 }, { 0 } };
	struct watch_log log = { 0 };
	struct kv *kv;

	(void)state;
	kv = open_fake(answers);
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.downs == 1);
	assert_int_equal(log.err.code, -ETIMEDOUT);
	watch_log_free(&log);
	kv_close(kv);
}

// A member hangs, and by the time that the watch tries again its time of being let alone is over.
static void test_watch_leaves_hung_endpoint(void **state)
{
	static const char *const prefixes[] = { "/p/", NULL };
	static const struct fake_answer silent[] = { { "/", NULL, 0 }, { 0 } };
	struct fake_http *hung = fake_http_start(silent);
	const char *urls[] = { fake_http_url(hung), NULL, NULL };
	struct store_config config = { .kind = "etcd3", .endpoints = urls, .dead_man_ms = 300 };
	struct watch_log log = { 0 };
	struct kv *kv;

	(void)state;
	fakes[0] = fake_http_start(etcd_answers);
	urls[1] = fake_http_url(fakes[0]);
	assert_int_equal(kv_open(loop, &config, &kv, NULL), 0);
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.downs == 1);
	assert_int_equal(log.err.code, -ETIMEDOUT);
	assert_int_equal(poll(NULL, 0, 1200), 0);
	turn_until(loop, log.ups == 1);
	watch_log_free(&log);
	kv_close(kv);
	assert_int_equal(fake_http_count(hung), 1);
	fake_http_free(hung);
}

// However the dice fall, who failed is let alone for longer than a watch waits at first.
static void test_endpoint_failed(void **state)
{
	const struct backoff backoff = { .base_ms = 1000, .max_ms = 30000 };
	char url[] = "http://127.0.0.1";
	struct endpoint endpoints[3] = { { .url = url }, { .url = url }, { .url = url } };
	struct endpoint_set set = { .items = endpoints, .count = 3 };
	int i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		uint64_t now = loop_now_ms();

		set.current = 0;
		endpoints[0].backoff = backoff;
		endpoints[1].backoff = backoff;
		endpoint_set_failed(&set, 0);
		assert_in_range(endpoints[0].down_until_ms - now, 500, 1100);
		assert_int_equal(set.current, 1);
		endpoint_set_failed(&set, 1);
		assert_int_equal(endpoint_set_pick(&set, 0), 2);
		endpoints[0].down_until_ms = 0;
		endpoints[1].down_until_ms = 0;
		assert_int_equal(endpoint_set_pick(&set, 0), 2);
	}
}

// ---- decoders ----

static void check_pair(const char *text, int r, const char *key, const char *value)
{
	_cleanup_etcd3_pair_ struct etcd3_pair pair = { 0 };
	struct err e;
	int got = etcd3_read_pair(text, strlen(text), &pair, &e);

	check(got == r, "%s: %d", text, got);
	if (r < 0)
		return;
	assert_string_equal(pair.pair.key, key);
	if (value)
		assert_string_equal(pair.pair.value, value);
	else
		assert_null(pair.pair.value);
}

static void test_read_pair(void **state)
{
	(void)state;
	check_pair("{\"key\":\"" KEY_P_A "\"}", 0, "/p/a", "");
	check_pair("{\"key\":\"" KEY_P_A "\",\"value\":\"dg==\",\"mod_revision\":5,\"lease\":\"-7\"}",
		   0, "/p/a", "v");
	check_pair("{\"key\":\"AGEA\"}", 0, "\\x00a\\x00", "");
	check_pair("{\"key\":\"w7w=\"}", 0, "\xc3\xbc", "");
	check_pair("{\"key\":\"w7w\"}", -EPROTO, NULL, NULL);
	check_pair("{\"key\":null}", -EPROTO, NULL, NULL);
	check_pair("{}", 0, "", "");
	check_pair("{\"mod_revision\":1.5}", -EPROTO, NULL, NULL);
	check_pair("{\"mod_revision\":true}", -EPROTO, NULL, NULL);
	check_pair("[]", -EPROTO, NULL, NULL);
	check_pair("", -EPROTO, NULL, NULL);
}

static void test_long_key_is_cut(void **state)
{
	_cleanup_free_ char *key = xcalloc(1, 5001);
	_cleanup_free_ char *encoded = NULL;
	_cleanup_free_ char *text = NULL;
	_cleanup_etcd3_pair_ struct etcd3_pair pair = { 0 };

	(void)state;
	memset(key, 'k', 5000);
	encoded = base64_encode_new(key, 5000);
	text = xasprintf("{\"key\":\"%s\"}", encoded);
	assert_int_equal(etcd3_read_pair(text, strlen(text), &pair, NULL), 0);
	assert_int_equal(strlen(pair.pair.key), KV_KEY_SHOWN_MAX + 3);
}

struct cut {
	struct strbuf text;
	int stop; // what the message function returns
};

static int cut_element(void *arg, const char *text, size_t len)
{
	struct cut *cut = arg;

	strbuf_add(&cut->text, text, len);
	strbuf_puts(&cut->text, ";");
	return 0;
}

static int cut_message(void *arg, bool is_error, const char *text, size_t len)
{
	struct cut *cut = arg;

	strbuf_puts(&cut->text, is_error ? "E" : "R");
	strbuf_add(&cut->text, text, len);
	strbuf_puts(&cut->text, "\n");
	return cut->stop;
}

static int cut_by(const char *text, size_t step, struct cut *ret)
{
	struct etcd3_lines *lines = etcd3_lines_new(cut_element, cut_message, ret);
	size_t len = strlen(text);
	size_t at;
	int r = 0;

	ret->text = STRBUF_INIT(100000);
	for (at = 0; r == 0 && at < len; at += step)
		r = etcd3_lines_feed(lines, text + at, step < len - at ? step : len - at, NULL);
	etcd3_lines_free(lines);
	return r;
}

static void test_lines(void **state)
{
	static const struct {
		const char *text;
		int r;
		const char *want;
	} cases[] = {
		{ "{\"result\":{}}\n", 0, "R{}\n" },
		{ "\n \n{\"result\":{\"a\":{\"b\":{}}}}\n\n", 0, "R{\"a\":{\"b\":{}}}\n" },
		{ " { \"result\" : {\"a\":1} } \n{\"error\":{\"a\":\"}}\"}}\r\n", 0,
		  "R{\"a\":1}\nE{\"a\":\"}}\"}\n" },
		{ "{\"result\":{\"events\":[{\"x\":{}},{\"y\":\"}\"}],\"z\":{}}}\n", 0,
		  "{\"x\":{}};{\"y\":\"}\"};R{\"events\":[],\"z\":{}}\n" },
		{ "{\"result\":{}}{\"result\":{}}\n", -EPROTO, "" },
		{ "{\"result\":{}\n", -EPROTO, "" },
		{ "{\"result\":{}}}\n", -EPROTO, "" },
		{ "{\"result\":[]}\n", -EPROTO, "" },
		{ "{\"results\":{}}\n", -EPROTO, "" },
		{ "{{\n", -EPROTO, "" },
		{ "}\n", -EPROTO, "" },
	};
	size_t i;
	size_t step;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (step = 1; step < 60; step++) {
			struct cut cut = { 0 };
			int r = cut_by(cases[i].text, step, &cut);

			check(r == cases[i].r, "%s by %zu: %d", cases[i].text, step, r);
			if (r == 0)
				check(strcmp(strbuf_text(&cut.text), cases[i].want) == 0,
				      "%s by %zu: %s", cases[i].text, step, strbuf_text(&cut.text));
			strbuf_free(&cut.text);
		}
	}
}

static void test_lines_stopped(void **state)
{
	struct cut cut = { .stop = -ECANCELED };

	(void)state;
	assert_int_equal(cut_by("{\"result\":{}}\n{\"result\":{}}\n", 100, &cut), -ECANCELED);
	assert_string_equal(strbuf_text(&cut.text), "R{}\n");
	strbuf_free(&cut.text);
}

static void test_bodies(void **state)
{
	static const struct kv_compare compares[] = {
		{ .key = "k", .kind = KV_ABSENT },
		{ .key = "l", .kind = KV_PRESENT },
		{ .key = "m", .kind = KV_MOD_REVISION, .mod_revision = 9 },
	};
	static const struct kv_write writes[] = {
		{ .key = "k", .value = "v", .value_len = 1, .session = 7 },
		{ .key = "l" },
	};
	struct kv_txn txn = {
		.compares = compares, .compare_count = 3, .writes = writes, .write_count = 2
	};
	_cleanup_free_ char *body = etcd3_txn_body(&txn);
	_cleanup_free_ char *prefix = etcd3_page_body("a/", &(struct etcd3_page){ 0 });
	_cleanup_free_ char *last = etcd3_page_body("a\xff", &(struct etcd3_page){ 0 });
	_cleanup_free_ char *all = etcd3_page_body("\xff\xff", &(struct etcd3_page){ 0 });
	_cleanup_free_ char *login = etcd3_authenticate_body("a\"b", "c\\d");

	(void)state;
	assert_string_equal(
		body,
		"{\"compare\":[{\"key\":\"aw==\",\"target\":\"VERSION\",\"result\":\"EQUAL\",\"version\":\"0\"},"
		"{\"key\":\"bA==\",\"target\":\"VERSION\",\"result\":\"GREATER\",\"version\":\"0\"},"
		"{\"key\":\"bQ==\",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"9\"}],"
		"\"success\":[{\"requestPut\":{\"key\":\"aw==\",\"value\":\"dg==\",\"lease\":\"7\"}},"
		"{\"requestDeleteRange\":{\"key\":\"bA==\"}}],"
		"\"failure\":[{\"requestRange\":{\"key\":\"aw==\"}},{\"requestRange\":{\"key\":\"bA==\"}},"
		"{\"requestRange\":{\"key\":\"bQ==\"}}]}");
	assert_string_equal(prefix, "{\"key\":\"YS8=\",\"range_end\":\"YTA=\"}"); // "a/" to "a0"
	assert_string_equal(last, "{\"key\":\"Yf8=\",\"range_end\":\"Yg==\"}");	  // to "b"
	assert_string_equal(all, "{\"key\":\"//8=\",\"range_end\":\"AA==\"}");	  // to the end
	assert_string_equal(login, "{\"name\":\"a\\\"b\",\"password\":\"c\\\\d\"}");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		FAKE_STORE_TEST(test_answers),
		FAKE_STORE_TEST(test_answer_without_end),
		FAKE_STORE_TEST(test_no_answer),
		FAKE_STORE_TEST(test_answer_drips),
		FAKE_STORE_TEST(test_kept_connection_closes),
		FAKE_STORE_TEST(test_older_api),
		FAKE_STORE_TEST(test_no_gateway),
		FAKE_STORE_TEST(test_foreign_server_first),
		FAKE_STORE_TEST(test_proxy_first),
		FAKE_STORE_TEST(test_token_with_newline),
		FAKE_STORE_TEST(test_endpoints),
		FAKE_STORE_TEST(test_streams),
		FAKE_STORE_TEST(test_stream_breaks_off),
		FAKE_STORE_TEST(test_fragments),
		FAKE_STORE_TEST(test_stream_silent),
		FAKE_STORE_TEST(test_watch_leaves_hung_endpoint),
		cmocka_unit_test(test_endpoint_failed),
		cmocka_unit_test(test_read_pair),
		cmocka_unit_test(test_long_key_is_cut),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_lines_stopped),
		cmocka_unit_test(test_bodies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
