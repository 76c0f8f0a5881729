// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the etcd v2 store against servers that answer nonsense, and of its reader.
#include "unit.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "fake_store.h"
#include "store/etcd2_json.h"

#include <errno.h>
#include <string.h>

#define HEAD \
	"X-Etcd-Cluster-Id: 7\r\nX-Etcd-Index: 5\r\nX-Raft-Term: 2\r\nConnection: close\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\n" HEAD
#define STATUS(words) "HTTP/1.1 " words "\r\n" HEAD
#define LEAF "{\"key\":\"/p/a\",\"value\":\"v\",\"modifiedIndex\":5,\"createdIndex\":5}"

static struct kv *open_fake(const struct fake_answer *answers)
{
	return fake_store_open((struct store_config){ .kind = "etcd2",
						      .request_timeout_ms = 2000,
						      .dead_man_ms = 600 },
			       answers, NULL);
}

// ---- requests ----

struct answer_case {
	const char *raw;
	int range; // what a range ends with
	int txn;
};

static const struct answer_case answer_cases[] = {
	{ "", -EPIPE, -EINPROGRESS },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", -EPIPE, -EINPROGRESS },
	{ "SSH-2.0-OpenSSH\r\n", -EPROTO, -EINPROGRESS },
	{ OK, -EPROTO, -EINPROGRESS },
	{ OK "hello", -EPROTO, -EINPROGRESS },
	{ OK "{}", -EPROTO, -EINPROGRESS },
	{ OK "[]", -EPROTO, -EINPROGRESS },
	{ OK "{\"node\":1}", -EPROTO, -EINPROGRESS },
	{ OK "{\"node\":{\"key\":\"/p/a\"", -EPROTO, -EINPROGRESS },
	{ OK "{\"node\":{\"modifiedIndex\":-1}}", -EPROTO, -EINPROGRESS },
	{ OK "{\"node\":{\"modifiedIndex\":99999999999999999999}}", -EPROTO, -EINPROGRESS },
	{ OK "{\"node\":{\"modifiedIndex\":1.5}}", -EPROTO, -EINPROGRESS },
	{ OK "{\"node\":" LEAF "}}", -EPROTO, -EINPROGRESS },
	{ OK "{\"action\":\"get\",\"node\":" LEAF "}", 0, 0 },
	{ "HTTP/1.1 200 OK\r\nX-Etcd-Index: many\r\n\r\n{\"node\":" LEAF "}", -EPROTO, -EINPROGRESS },
	{ "HTTP/1.1 200 OK\r\nX-Etcd-Index: -5\r\n\r\n{\"node\":" LEAF "}", -EPROTO, -EINPROGRESS },
	{ "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: xyz\r\n\r\n{\"node\":" LEAF "}", -EPROTO,
	  -EINPROGRESS },
	{ STATUS("404 No") "404 page not found\n", -EPROTO, -EPROTO },
	{ STATUS("404 No") "{\"errorCode\":100,\"message\":\"Key not found\"}", 0, 0 },
	{ STATUS("412 No") "{\"errorCode\":101,\"message\":\"Compare failed\"}", 0, 0 },
	{ STATUS("400 Bad") "{}", -EPROTO, -EPROTO },
	{ STATUS("400 Bad") "{\"errorCode\":203,\"message\":\"bad\",\"cause\":\"ttl\"}", -EINVAL,
	  -EINVAL },
	{ STATUS("401 No") "{\"message\":\"Insufficient credentials\"}", -EACCES, -EACCES },
	{ STATUS("401 No") "go away", -EACCES, -EACCES },
	{ STATUS("302 Found") "x", -EPROTO, -EPROTO },
	{ STATUS("503 Busy") "busy", -EAGAIN, -EINPROGRESS },
	{ STATUS("500 Busy") "{\"errorCode\":300,\"message\":\"Raft Internal Error\",\"cause\":"
			     "\"etcdserver: request timed out\"}",
	  -ETIMEDOUT, -EINPROGRESS },
	{ STATUS("500 Busy") "{\"errorCode\":300,\"message\":\"Raft Internal Error\",\"cause\":"
			     "\"etcdserver: no leader\"}",
	  -EAGAIN, -EAGAIN },
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
		kv_answer_free(&answer);
		fake_store_close(kv);
	}
}

static void test_endless_headers(void **state)
{
	const struct fake_answer answers[] = {
		{ "/", "HTTP/1.1 200 OK\r\n", 0, false,
		  "X-More: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" },
		{ 0 }
	};
	_cleanup_free_ char *large = xcalloc(1, 70000);
	const struct fake_answer many[] = { { "/", large, 0 }, { 0 } };
	struct kv_answer answer;
	struct kv *kv;
	size_t i;

	(void)state;
	kv = open_fake(answers);
	do_range(kv, "/p", false, &answer);
	assert_int_equal(answer.r, -ETIMEDOUT);
	kv_answer_free(&answer);
	fake_store_close(kv);

	for (i = 0; i + 12 < 69000; i += 12)
		memcpy(large + i, i == 0 ? "HTTP/1.1 200" : "\r\nX-Abc: abc", 12);
	kv = open_fake(many);
	do_range(kv, "/p", false, &answer);
	assert_int_equal(answer.r, -E2BIG);
	kv_answer_free(&answer);
	kv_close(kv);
}

// A kept connection that closes when it is used again: what may be done twice is sent again by itself, a
// transaction is not.
static void check_kept_connection(const char *value)
{
	_cleanup_free_ char *raw =
		xasprintf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n{\"node\":%s}",
			  strlen("{\"node\":}") + strlen(LEAF), LEAF);
	const struct fake_answer answers[] = { { "/", raw, 0, true }, { 0 } };
	struct kv_answer answer;
	struct kv *kv = open_fake(answers);

	do_range(kv, "/p/a", false, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
	do_write(kv, "/p/a", value, 5, 0, &answer);
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
	fake_store_close(kv);
}

static void test_kept_connection_closes(void **state)
{
	(void)state;
	check_kept_connection("v");
	check_kept_connection(NULL);
}

// ---- watches ----

struct poll_case {
	const char *raw;
	int down; // what the watch goes down with; 0: LOST
	bool store_changed;
};

static const struct poll_case poll_cases[] = {
	{ "", -EPIPE },
	{ "HTTP/1.1 200 OK\r\n\r\n{}", -EPROTO },
	{ OK "hello", -EPROTO },
	{ OK "{}", -EPROTO },
	{ OK "{\"action\":\"set\"}", -EPROTO },
	{ OK "{\"action\":\"boil\",\"node\":" LEAF "}", -EPROTO },
	// Older than what was asked for.
	{ OK "{\"action\":\"set\",\"node\":{\"key\":\"/p/a\",\"value\":\"v\",\"modifiedIndex\":1}}",
	  -EPROTO },
	{ OK "{\"action\":\"delete\",\"node\":{\"key\":\"/p\",\"dir\":true,\"modifiedIndex\":9},"
	     "\"prevNode\":{\"dir\":true}}",
	  0 },
	{ OK "{\"action\":\"expire\",\"node\":{\"key\":\"/p/sub\",\"dir\":true,\"modifiedIndex\":9}}",
	  0 },
	{ OK "{\"action\":\"set\",\"node\":{\"key\":\"/p/a\",\"dir\":true,\"modifiedIndex\":9},"
	     "\"prevNode\":{\"key\":\"/p/a\",\"value\":\"v\"}}",
	  0 },
	{ STATUS("400 Old") "{\"errorCode\":401,\"message\":\"outdated and cleared\"}", 0 },
	{ "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: 8\r\nX-Etcd-Index: 5\r\n\r\n", 0, true },
	{ STATUS("401 No") "{\"message\":\"Insufficient credentials\"}", -EACCES },
	{ STATUS("500 No") "x", -EAGAIN },
	{ STATUS("404 No") "404 page not found\n", -EPROTO },
};

static void test_polls(void **state)
{
	static const char *const prefixes[] = { "/p/", NULL };
	struct fake_answer answers[] = {
		{ "/v2/members", OK "{}", 0 },
		{ "/v2/keys/p?wait", NULL, 0 },
		{ 0 },
	};
	struct watch_log log = { 0 };
	struct kv *kv;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(poll_cases) / sizeof(poll_cases[0]); i++) {
		const struct poll_case *c = &poll_cases[i];

		answers[1].raw = c->raw;
		kv = open_fake(answers);
		watch_log_start(&log, kv, prefixes, 5, 7);
		turn_until(loop, log.downs + log.losts > 0);
		check(log.losts == (c->down == 0), "%s: %s", c->raw, log.err.msg);
		if (c->down != 0)
			check(log.err.code == c->down, "%s: %s", c->raw, log.err.msg);
		assert_int_equal(log.store_changed, c->store_changed);
		assert_int_equal(log.events, 0);
		watch_log_free(&log);
		fake_store_close(kv);
	}
}

// A server whose time for a poll is over says nothing at all.
static void test_empty_poll(void **state)
{
	static const char *const prefixes[] = { "/p/", NULL };
	const struct fake_answer answers[] = {
		{ "/v2/members", OK "{}", 0 },
		{ "/v2/keys/p?wait=true&recursive=true&waitIndex=6", OK, 0 },
		{ 0 },
	};
	struct watch_log log = { 0 };
	struct kv *kv;

	(void)state;
	kv = open_fake(answers);
	watch_log_start(&log, kv, prefixes, 6, 7);
	turn_until(loop, fake_http_count(fakes[0]) > 5);
	assert_int_equal(log.downs, 0);
	assert_int_equal(log.ups, 1);
	watch_log_free(&log);
	kv_close(kv);
}

// ---- reader ----

static int note_node(void *arg, const struct etcd2_node *node, const struct etcd2_reply *so_far)
{
	struct strbuf *out = arg;

	strbuf_printf(out, "%s%s%s %s=%s", so_far->action, node->is_previous ? " was" : "",
		      node->is_dir ? " dir" : "", node->key, node->value ? node->value : "NULL");
	strbuf_printf(out, " %lld/%lld", (long long)node->modified_index,
		      (long long)node->created_index);
	if (node->has_ttl)
		strbuf_printf(out, " ttl %lld", (long long)node->ttl_s);
	strbuf_puts(out, "\n");
	return 0;
}

struct reader_case {
	const char *text;
	int r; // of the end, or of the feed
	const char *told;
};

static const struct reader_case reader_cases[] = {
	{ "{\"action\":\"get\",\"node\":{\"dir\":true,\"nodes\":[{\"key\":\"/a\",\"dir\":true,\"nodes\":["
	  "{\"key\":\"/a/b\",\"value\":\"x\",\"modifiedIndex\":4,\"createdIndex\":3}],\"modifiedIndex\":2},"
	  "{\"key\":\"/e\",\"dir\":true},{\"key\":\"/c\",\"value\":\"\",\"ttl\":7}]}}",
	  0, "get /a/b=x 4/3\nget dir /e=NULL 0/0\nget /c= 0/0 ttl 7\n" },
	{ "{\"action\":\"set\",\"node\":{\"key\":\"/a\",\"value\":\"x\"},\"prevNode\":{\"key\":\"/a\"}}",
	  0, "set /a=x 0/0\nset was /a=NULL 0/0\n" },
	{ "{\"node\":{\"key\":\"\\/\\u00fc\\\"\\ud83d\\ude00\\ud83dx\\udc00\",\"value\":\"\\n\"}}",
	  0, " /\xc3\xbc\"\xf0\x9f\x98\x80\xef\xbf\xbdx\xef\xbf\xbd=\n 0/0\n" },
	// What we do not know is read over.
	{ "{\"x\":[{\"key\":\"/no\"},[],{},1,null],\"node\":{\"y\":{\"key\":\"no\"},\"key\":\"/a\"}} \n",
	  0, " /a=NULL 0/0\n" },
	{ "", -ENODATA, "" },
	{ " \n", -ENODATA, "" },
	{ "1", -EPROTO, "" },
	{ "[", -EPROTO, "" },
	{ "{", -EPROTO, "" },
	{ "{]", -EPROTO, "" },
	{ "{,}", -EPROTO, "" },
	{ "{\"a\"}", -EPROTO, "" },
	{ "{\"a\":}", -EPROTO, "" },
	{ "{\"a\":1,}", -EPROTO, "" },
	{ "{\"a\":[1,]}", -EPROTO, "" },
	{ "{\"a\":[1}", -EPROTO, "" },
	{ "{\"a\":\"\\x\"}", -EPROTO, "" },
	{ "{\"a\":\"\\u12g4\"}", -EPROTO, "" },
	{ "{\"a\":\"\n\"}", -EPROTO, "" },
	{ "{\"errorCode\":\"x\"}", 0, "" },
	{ "{\"errorCode\":x}", -EPROTO, "" },
	{ "{}{}", -EPROTO, "" },
};

static int read_all(const char *text, size_t step, struct strbuf *ret)
{
	struct etcd2_reader *reader = etcd2_reader_new(note_node, ret);
	size_t len = strlen(text);
	struct etcd2_reply reply;
	size_t at;
	int r = 0;

	for (at = 0; r == 0 && at < len; at += step)
		r = etcd2_reader_feed(reader, text + at, step < len - at ? step : len - at, NULL);
	if (r == 0)
		r = etcd2_reader_end(reader, &reply, NULL);
	etcd2_reader_free(reader);
	return r;
}

static void test_reader(void **state)
{
	size_t i, step;

	(void)state;
	for (i = 0; i < sizeof(reader_cases) / sizeof(reader_cases[0]); i++)
		for (step = 1; step < 1000; step += 499) {
			const struct reader_case *c = &reader_cases[i];
			struct strbuf told = STRBUF_INIT(4096);

			check(read_all(c->text, step, &told) == c->r, "%s", c->text);
			check(strcmp(strbuf_text(&told), c->told) == 0, "%s: %s", c->text,
			      strbuf_text(&told));
			strbuf_free(&told);
		}
}

static void test_reader_is_bounded(void **state)
{
	struct strbuf text = STRBUF_INIT(1024 * 1024);
	struct strbuf told = STRBUF_INIT(4096);
	size_t i;

	(void)state;
	strbuf_puts(&text, "{\"node\":");
	for (i = 0; i < ETCD2_DEPTH_MAX; i++)
		strbuf_puts(&text, "{\"nodes\":[");
	assert_int_equal(read_all(strbuf_text(&text), 4096, &told), -EPROTO);
	// A key that is too long is left out, and the others are not.
	strbuf_reset(&text);
	strbuf_puts(&text, "{\"node\":{\"nodes\":[{\"key\":\"/");
	for (i = 0; i < ETCD2_KEY_MAX; i++)
		strbuf_putc(&text, 'k');
	strbuf_puts(&text, "\",\"value\":\"v\"},{\"key\":\"/a\",\"value\":\"b\"}]}}");
	assert_int_equal(read_all(strbuf_text(&text), 4096, &told), 0);
	assert_string_equal(strbuf_text(&told), " /a=b 0/0\n");
	strbuf_free(&text);
	strbuf_free(&told);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		FAKE_STORE_TEST(test_answers),
		FAKE_STORE_TEST(test_endless_headers),
		FAKE_STORE_TEST(test_kept_connection_closes),
		FAKE_STORE_TEST(test_polls),
		FAKE_STORE_TEST(test_empty_poll),
		cmocka_unit_test(test_reader),
		cmocka_unit_test(test_reader_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
