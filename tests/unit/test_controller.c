// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the controller over the store in memory, with bare HTTP and with its own client.
#include "unit.h"

#include "controller/controller.h"
#include "controller/mirror.h"
#include "core/mem.h"
#include "fake_http.h"
#include "kv_client.h"
#include "loop_end.h"
#include "raw_http.h"
#include "store/memory.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/resource.h>

static const char *const prefixes[] = { "/p/", NULL };

static struct loop *loop;
static struct kv *behind; // the controller's
static struct kv *direct; // whoever else writes to the store
static struct controller *controller;
static struct kv *kv, *other; // clients of the controller

static struct kv *open_client(void)
{
	char url[64];
	const char *endpoints[] = { url, NULL };
	struct store_config config = { .kind = "controller",
				       .endpoints = endpoints,
				       .request_timeout_ms = 3000,
				       .dead_man_ms = 600 };
	struct kv *opened;
	struct err e;

	assert_int_equal(text_format(url, sizeof(url), "http://127.0.0.1:%u",
				     controller_port(controller)),
			 0);
	check(kv_open(loop, &config, &opened, &e) == 0, "%s", e.msg);
	return opened;
}

static void start_controller(struct kv *store)
{
	struct controller_config config = { .prefix = "/p" };
	struct err e;

	assert_int_equal(ip_parse("127.0.0.1", &config.http.address), 0);
	check(controller_new(store, &config, &controller, &e) == 0, "%s", e.msg);
}

static int setup(void **state)
{
	static const struct store_config config = { .kind = "memory" };

	(void)state;
	loop = loop_new();
	assert_int_equal(kv_open(loop, &config, &behind, NULL), 0);
	direct = memory_share(behind);
	start_controller(behind);
	kv = open_client();
	other = open_client();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kv = kv_close(kv);
	other = kv_close(other);
	controller = controller_free(controller);
	behind = kv_close(behind);
	direct = kv_close(direct);
	loop = loop_end(loop);
	return 0;
}

// ---- bare HTTP ----

static void open_raw(struct raw_http *peer)
{
	struct ip address;

	assert_int_equal(ip_parse("127.0.0.1", &address), 0);
	raw_http_open_tcp(peer, loop, &address, controller_port(controller));
}

static void send_post(struct raw_http *peer, const char *path, const char *body)
{
	_cleanup_free_ char *request = xasprintf("POST %s HTTP/1.1\r\nHost: weft\r\nConnection: close\r\n"
						 "Content-Length: %zu\r\n\r\n%s",
						 path, strlen(body), body);

	raw_http_send(peer, request);
}

static void expect_answer(const char *path, const char *body, const char *status, const char *text)
{
	struct raw_http peer;

	open_raw(&peer);
	send_post(&peer, path, body);
	assert_true(raw_http_expect_end(&peer));
	check(strstr(strbuf_text(&peer.got), status) && strstr(strbuf_text(&peer.got), text),
	      "%s %.200s: %s", path, body, strbuf_text(&peer.got));
	raw_http_close(&peer);
}

struct refusal {
	const char *path, *body, *status, *text;
};

#define TXN_COMPARE(text) "{\"compares\":[" text "],\"writes\":[]}"
#define TXN_WRITE(text) "{\"compares\":[],\"writes\":[" text "]}"
#define FROM "\"from\":1,"

static const struct refusal refusals[] = {
	{ "/v2/range", "{\"key\":\"/q/a\"}", " 403 ", "not below /p/" },
	{ "/v2/range", "{\"key\":\"/p\"}", " 403 ", "denied" },
	{ "/v2/range", "{\"prefix\":\"/\"}", " 403 ", "denied" },
	{ "/v2/range", "{\"prefix\":\"\"}", " 403 ", "denied" },
	{ "/v2/range", "{\"prefix\":\"/p0/\"}", " 403 ", "denied" },
	{ "/v2/range", "{\"prefix64\":\"L3E=\"}", " 403 ", "denied" },
	{ "/v2/range", "{\"prefix64\":\"*\"}", " 400 ", "not base64" },
	{ "/v2/range", "{\"key64\":\"L3AvAA==\"}", " 400 ", "NUL" },
	{ "/v2/range", "{}", " 400 ", "key: absent" },
	{ "/v2/range", "{\"prefix\":5}", " 400 ", "prefix: absent" },
	{ "/v2/range", "[]", " 400 ", "key: absent" },
	{ "/v2/range", "", " 400 ", "not valid JSON" },
	{ "/v2/range", "{", " 400 ", "not valid JSON" },
	{ "/v2/range", "{} {}", " 400 ", "not valid JSON" },
	{ "/v2/range", "\xff", " 400 ", "not valid JSON" },
	{ "/v2/rang", "{}", " 404 ", "no such path" },
	{ "/v2/range/", "{}", " 404 ", "no such path" },
	{ "/", "{}", " 404 ", "no such path" },
	{ "/v2/txn", "{}", " 400 ", "compares and writes" },
	{ "/v2/txn", TXN_COMPARE("{\"key\":\"/q\",\"exists\":true}"), " 403 ", "compare 0" },
	{ "/v2/txn", TXN_COMPARE("{\"key\":\"/p/\",\"mod\":0}"), " 400 ", "mod: 0" },
	{ "/v2/txn", TXN_WRITE("{\"key\":\"/p/a\",\"value\":\"\"},{\"key\":\"/q\",\"delete\":true}"),
	  " 403 ", "write 1" },
	{ "/v2/session/open", "{}", " 400 ", "ttl_s: absent" },
	{ "/v2/session/open", "{\"ttl_s\":null}", " 400 ", "ttl_s: absent" },
	{ "/v2/session/open", "{\"ttl_s\":0}", " 400 ", "ttl_s: 0" },
	{ "/v2/session/open", "{\"ttl_s\":\"5\"}", " 400 ", "ttl_s" },
	{ "/v2/session/close", "{\"session\":null}", " 400 ", "session: absent" },
	{ "/v2/session/query", "{\"session\":1.5}", " 400 ", "session" },
	{ "/v2/session/keep-alive", "{\"session\":12345}", " 404 ", "no-session" },
	{ "/v2/watch", "{}", " 400 ", "from: absent" },
	{ "/v2/watch", "{\"from\":0}", " 400 ", "from: 0" },
	{ "/v2/watch", "{" FROM "\"prefixes\":[]}", " 400 ", "prefixes" },
	{ "/v2/watch", "{" FROM "\"prefixes\":[1]}", " 400 ", "prefix: absent" },
	{ "/v2/watch", "{" FROM "\"prefixes\":[{\"prefix\":\"/p/\"},{\"prefix\":\"/q/\"}]}",
	  " 403 ", "denied" },
	{ "/v2/watch", "{" FROM "\"prefixes\":[{},{},{},{},{}]}", " 400 ", "prefixes" },
	{ "/v2/watch", "{" FROM "\"heartbeat_ms\":1,\"prefixes\":[{\"prefix\":\"/p/\"}]}", " 400 ",
	  "heartbeat_ms" },
	{ "/v2/watch", "{" FROM "\"cluster_id\":\"x\",\"prefixes\":[{\"prefix\":\"/p/\"}]}",
	  " 400 ", "cluster_id" },
};

static void test_refusals(void **state)
{
	_cleanup_free_ char *large = xcalloc(1, 2 * 1024 * 1024 + 2);
	struct raw_http peer;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
		expect_answer(refusals[i].path, refusals[i].body, refusals[i].status, refusals[i].text);
	memset(large, ' ', 2 * 1024 * 1024 + 1);
	expect_answer("/v2/range", large, " 413 ", "too long");
	open_raw(&peer);
	assert_non_null(strstr(raw_http_get(&peer, "/v2/range"), " 405 "));
	raw_http_close(&peer);
	assert_int_equal(memory_key_count(behind), 0);
}

// ---- reading ----

// One client writes two keys at once, the other asks for both as soon as that is answered.
static void test_who_wrote_sees_it(void **state)
{
	struct kv_write writes[] = { { .key = "/p/a", .value = "0", .value_len = 1 },
				     { .key = "/p/b", .value = "0", .value_len = 1 } };
	struct kv_txn txn = { .writes = writes, .write_count = 2 };
	char wanted[96], value[2] = "0";
	struct kv_answer answer;
	int64_t revision;

	(void)state;
	for (int i = 0; i < 10; i++) {
		value[0] = (char)('0' + i);
		writes[0].value = writes[1].value = value;
		do_txn(kv, &txn, &answer);
		revision = answer.header.revision;
		kv_answer_free(&answer);
		do_range(other, "/p/", true, &answer);
		check(answer.r == 0, "%s", answer.err.msg);
		(void)snprintf(wanted, sizeof(wanted), "/p/a=%s@%lld\n/p/b=%s@%lld\n", value,
			       (long long)revision, value, (long long)revision);
		assert_string_equal(strbuf_text(&answer.pairs), wanted);
		assert_int_equal(answer.header.revision, revision);
		kv_answer_free(&answer);
	}
}

static void test_range_while_the_store_is_down(void **state)
{
	struct kv_answer answer;
	uint64_t started;

	(void)state;
	must_put(kv, "/p/a", "1");
	do_range(kv, "/p/", true, &answer);
	kv_answer_free(&answer);
	memory_set_reachable(behind, false);
	for (int i = 0; i < 5; i++)
		loop_turn(loop, 10);
	started = loop_now_ms();
	do_range(kv, "/p/", true, &answer);
	check(answer.r == -EAGAIN || answer.r == -ECONNREFUSED, "%d", answer.r);
	assert_non_null(strstr(answer.err.msg, "http://127.0.0.1:"));
	assert_non_null(strstr(answer.err.msg, "not reachable"));
	assert_in_range(loop_now_ms() - started, 3000, 6000);
	kv_answer_free(&answer);
	do_range(kv, "/p/a", false, &answer);
	assert_int_equal(answer.r, -ECONNREFUSED);
	kv_answer_free(&answer);
	// One that waits when the store comes back is answered.
	start_range(kv, "/p/", true, &answer);
	for (int i = 0; i < 5; i++)
		loop_turn(loop, 10);
	memory_set_reachable(behind, true);
	turn_until(loop, answer.done);
	assert_int_equal(answer.r, 0);
	assert_int_equal(answer.pair_count, 1);
	kv_answer_free(&answer);
}

// ---- watching ----

static void open_watch(struct raw_http *peer, int64_t from, int heartbeat_ms)
{
	_cleanup_free_ char *body =
		xasprintf("{\"from\":%lld,\"heartbeat_ms\":%d,\"prefixes\":[{\"prefix\":\"/p/\"}]}",
			  (long long)from, heartbeat_ms);

	open_raw(peer);
	send_post(peer, "/v2/watch", body);
}

static void wait_mirror(void)
{
	struct kv_answer answer;

	do_range(kv, "/p/", true, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
}

static void test_lines(void **state)
{
	struct raw_http peer;

	(void)state;
	wait_mirror();
	open_watch(&peer, memory_revision(behind) + 1, 50);
	assert_true(raw_http_expect(&peer, "{\"up\":{\"revision\":"));
	assert_true(raw_http_expect(&peer, "{\"complete\":"));
	must_put(kv, "/p/a", "1");
	assert_true(raw_http_expect(&peer, "{\"put\":{\"key\":\"/p/a\",\"value\":\"1\","));
	memory_set_reachable(behind, false);
	assert_true(raw_http_expect(&peer, "{\"down\":\"memory: not reachable\"}"));
	memory_delete(behind, "/p/a");
	memory_set_reachable(behind, true);
	assert_true(raw_http_expect(&peer, "{\"delete\":{\"key\":\"/p/a\""));
	assert_int_equal(raw_http_count(&peer, "{\"up\":"), 2);
	memory_set_reachable(behind, false);
	memory_wipe(behind);
	memory_set_reachable(behind, true);
	assert_true(raw_http_expect(&peer, "{\"lost\":"));
	assert_true(raw_http_expect_end(&peer));
	assert_non_null(strstr(strbuf_text(&peer.got), "\"store_changed\":true}"));
	raw_http_close(&peer);
}

// "complete" says that everything up to its revision was told: not before the watch has its place.
static void test_complete_while_down(void **state)
{
	struct watch_log log = { 0 };
	struct raw_http peer;
	int64_t first;

	(void)state;
	wait_mirror();
	first = must_put(kv, "/p/a", "1");
	must_put(kv, "/p/b", "2");
	wait_mirror();
	memory_set_reachable(behind, false);
	watch_log_start(&log, kv, prefixes, first, 0);
	turn_until(loop, log.downs == 1);
	open_watch(&peer, first, 600); // as often as the client's, and begun later
	while (raw_http_count(&peer, "{\"complete\":") < 2)
		assert_true(raw_http_expect(&peer, "{\"complete\":"));
	assert_int_equal(raw_http_count(&peer, "{\"complete\":0}"), 2);
	memory_set_reachable(behind, true);
	turn_until(loop, log.ups == 1);
	must_put(direct, "/p/c", "3");
	turn_until(loop, strstr(strbuf_text(&log.text), "/p/c"));
	assert_string_equal(strbuf_text(&log.text), "PUT /p/a=1\nPUT /p/b=2\nPUT /p/c=3\n");
	watch_log_free(&log);
	raw_http_close(&peer);
}

static void nothing(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	(void)arg;
	(void)r;
	(void)header;
	(void)e;
}

static void no_pair(void *arg, const struct kv_pair *pair)
{
	(void)arg;
	(void)pair;
}

// The client is further than the mirror, for others' keys; what comes while the store is asked
// whether it is as far must not be passed over.
static void test_change_while_the_beginning_is_checked(void **state)
{
	struct raw_http peer;

	(void)state;
	wait_mirror();
	for (int i = 0; i < 10; i++)
		memory_put(behind, "/q/a", "1", 1, 0);
	for (int i = 0; i < 500; i++) // the check comes behind these
		kv_range(behind, "/q/a", false, no_pair, nothing, NULL);
	open_watch(&peer, memory_revision(behind) + 1, 5000);
	assert_true(raw_http_expect(&peer, " 200 OK"));
	memory_put(behind, "/p/a", "1", 1, 0);
	memory_put(behind, "/p/b", "2", 1, 0);
	assert_true(raw_http_expect(&peer, "{\"up\":"));
	memory_put(behind, "/p/c", "3", 1, 0);
	assert_true(raw_http_expect(&peer, "/p/c"));
	assert_int_equal(raw_http_count(&peer, "{\"put\":"), 3);
	raw_http_close(&peer);
}

static void test_check_that_fails(void **state)
{
	struct raw_http peer;
	uint64_t before;

	(void)state;
	wait_mirror();
	memory_refuse_keys(behind, true);
	before = kv_stats(behind)->requests;
	open_watch(&peer, memory_revision(behind) + 100, 100); // further than the mirror is
	while (raw_http_count(&peer, "{\"complete\":0}") < 3)
		assert_true(raw_http_expect(&peer, "{\"complete\":"));
	assert_in_range(kv_stats(behind)->requests - before, 2, 10); // with each sign of life
	memory_refuse_keys(behind, false);
	assert_true(raw_http_expect(&peer, "{\"lost\":"));
	raw_http_close(&peer);
}

static void test_store_went_back(void **state)
{
	struct raw_http peer;

	(void)state;
	wait_mirror();
	open_watch(&peer, memory_revision(behind) + 1000, 5000);
	assert_true(raw_http_expect(&peer, "went back in time"));
	assert_true(raw_http_expect(&peer, "\"store_changed\":true}"));
	raw_http_close(&peer);
}

static void put_many(size_t count, size_t value_len)
{
	_cleanup_free_ char *value = xcalloc(1, value_len + 1);
	struct kv_write writes[KV_TXN_MAX];
	struct kv_txn txn = { .writes = writes, .write_count = KV_TXN_MAX };
	char keys[KV_TXN_MAX][16];
	struct kv_answer answer;

	memset(value, 'v', value_len);
	for (size_t i = 0; i < KV_TXN_MAX; i++) {
		assert_int_equal(text_format(keys[i], sizeof(keys[i]), "/p/%zu", i), 0);
		writes[i] = (struct kv_write){ .key = keys[i], .value = value, .value_len = value_len };
	}
	for (size_t i = 0; i < count; i += KV_TXN_MAX) {
		do_txn(direct, &txn, &answer);
		kv_answer_free(&answer);
	}
}

static void test_history_is_gone(void **state)
{
	struct raw_http peer;
	int64_t old;

	(void)state;
	wait_mirror();
	old = must_put(kv, "/p/a", "1");
	put_many(MIRROR_CHANGES_MAX + KV_TXN_MAX, 1);
	open_watch(&peer, old, 5000);
	assert_true(raw_http_expect(&peer, "\"store_changed\":false}"));
	assert_non_null(strstr(strbuf_text(&peer.got), "not kept any more"));
	assert_int_equal(raw_http_count(&peer, "{\"put\":"), 0);
	raw_http_close(&peer);
}

static void test_reader_too_slow(void **state)
{
	struct raw_http peer;

	(void)state;
	wait_mirror();
	open_watch(&peer, memory_revision(behind) + 1, 5000);
	assert_true(raw_http_expect(&peer, "{\"up\":"));
	put_many(2 * (size_t)MIRROR_CHANGES_MAX, 1024); // more than sockets hold, and nothing reads
	assert_true(raw_http_expect(&peer, "read too slowly"));
	assert_true(raw_http_expect_end(&peer));
	raw_http_close(&peer);
}

// ---- the client's watch over a break ----

struct cutter {
	struct strbuf text;
	size_t events, cut_at;
	unsigned int ups, downs;
};

static void cutting(void *arg, const struct kv_watch_event *event)
{
	struct cutter *cutter = arg;

	if (event->kind == KV_WATCH_UP)
		cutter->ups++;
	else if (event->kind == KV_WATCH_DOWN)
		cutter->downs++;
	assert_int_not_equal(event->kind, KV_WATCH_LOST);
	if (event->kind != KV_WATCH_PUT)
		return;
	strbuf_printf(&cutter->text, "%s ", event->pair.key);
	if (++cutter->events == cutter->cut_at)
		kv_reconnect(kv);
}

// In the middle of a revision of several changes: none is lost, none comes twice.
static void test_break_within_a_revision(void **state)
{
	struct kv_write writes[3] = { { .key = "/p/a", .value = "", .value_len = 0 },
				      { .key = "/p/b", .value = "", .value_len = 0 },
				      { .key = "/p/c", .value = "", .value_len = 0 } };
	struct kv_txn txn = { .writes = writes, .write_count = 3 };
	struct kv_answer answer;

	(void)state;
	wait_mirror();
	for (size_t cut_at = 1; cut_at <= 6; cut_at++) {
		struct cutter cutter = { .text = STRBUF_INIT(4096), .cut_at = cut_at };
		struct kv_watch *watch = kv_watch_start(kv, prefixes, memory_revision(behind) + 1,
							0, cutting, &cutter);

		turn_until(loop, cutter.ups == 1);
		for (int i = 0; i < 2; i++) {
			do_txn(direct, &txn, &answer);
			kv_answer_free(&answer);
		}
		turn_until(loop, cutter.events >= 6 && cutter.ups == 2);
		must_put(direct, "/p/z", "");
		turn_until(loop, cutter.events >= 7);
		assert_string_equal(strbuf_text(&cutter.text), "/p/a /p/b /p/c /p/a /p/b /p/c /p/z ");
		assert_int_equal(cutter.downs, 1);
		kv_watch_free(watch);
		strbuf_free(&cutter.text);
	}
}

static void test_freed_within_its_callback(void **state)
{
	struct watch_log log = { .free_at_event = 2 };

	(void)state;
	wait_mirror();
	watch_log_start(&log, kv, prefixes, memory_revision(behind) + 1, 0);
	turn_until(loop, log.ups == 1);
	put_many(KV_TXN_MAX, 10);
	turn_until(loop, log.events == 2);
	wait_mirror();
	assert_int_equal(log.events, 2);
	assert_null(log.watch);
	watch_log_free(&log);
}

// ---- ends ----

static void test_client_closed_with_calls(void **state)
{
	struct kv_answer answers[4];

	(void)state;
	for (int turns = 0; turns < 6; turns++) {
		struct kv *client = open_client();

		for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
			start_range(client, i % 2 ? "/p/a" : "/p/", i % 2 == 0, &answers[i]);
		for (int i = 0; i < turns; i++)
			loop_turn(loop, 5);
		kv_close(client);
		for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
			kv_answer_free(&answers[i]);
	}
	wait_mirror();
}

// Over a store that takes requests and says nothing.
static void test_freed_with_requests(void **state)
{
	static const struct fake_answer answers[] = { { "/", NULL, 0 }, { 0 } };
	struct fake_http *silent = fake_http_start(answers);
	const char *endpoints[] = { fake_http_url(silent), NULL };
	struct store_config config = { .kind = "etcd3", .endpoints = endpoints };
	struct kv_answer range, prefix;
	struct kv *store, *client;
	struct raw_http peer;

	(void)state;
	controller = controller_free(controller);
	assert_int_equal(kv_open(loop, &config, &store, NULL), 0);
	start_controller(store);
	client = open_client();
	start_range(client, "/p/a", false, &range);
	start_range(client, "/p/", true, &prefix);
	open_watch(&peer, 1, 50);
	assert_true(raw_http_expect(&peer, "{\"down\":"));
	assert_true(raw_http_expect(&peer, "{\"complete\":0}"));
	turn_until(loop, kv_stats(store)->requests >= 2);
	controller = controller_free(controller);
	kv_close(store);
	fake_http_free(silent);
	turn_until(loop, range.done && prefix.done);
	assert_true(range.r < 0 && prefix.r < 0);
	assert_non_null(strstr(range.err.msg, "http://127.0.0.1:"));
	kv_answer_free(&range);
	kv_answer_free(&prefix);
	assert_true(raw_http_expect_end(&peer));
	raw_http_close(&peer);
	kv_close(client);
}

// Reads that the mirror cannot serve end with the controller as well.
static void test_freed_with_waiting_ranges(void **state)
{
	struct kv_answer answer;

	(void)state;
	memory_set_reachable(behind, false);
	start_range(kv, "/p/", true, &answer);
	for (int i = 0; i < 10; i++)
		loop_turn(loop, 5);
	controller = controller_free(controller);
	turn_until(loop, answer.done);
	assert_true(answer.r < 0);
	kv_answer_free(&answer);
}

// ---- cost ----

#define WATCHERS 400

static size_t memory_used(void)
{
	const struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void test_memory_of_watchers(void **state)
{
	struct rlimit limit;
	struct raw_http *peers = xnew0_array(struct raw_http, WATCHERS);
	size_t before, open, told;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	wait_mirror();
	put_many(KV_TXN_MAX, 500);
	wait_mirror();
	before = memory_used();
	for (size_t i = 0; i < WATCHERS; i++) {
		open_watch(&peers[i], memory_revision(behind) + 1, 60000);
		assert_true(raw_http_expect(&peers[i], "{\"up\":"));
		strbuf_free(&peers[i].got);
	}
	open = memory_used();
	put_many(KV_TXN_MAX, 500);
	for (size_t i = 0; i < WATCHERS; i++) {
		assert_true(raw_http_expect(&peers[i], "/p/9"));
		strbuf_free(&peers[i].got);
	}
	for (int i = 0; i < 10; i++)
		loop_turn(loop, 5);
	told = memory_used();
	print_message("%zu bytes for each watcher, %zu after 64 changes\n",
		      (open - before) / WATCHERS, (told - before) / WATCHERS);
	assert_in_range((told - before) / WATCHERS, 0, 48 * 1024);
	for (size_t i = 0; i < WATCHERS; i++)
		raw_http_close(&peers[i]);
	free(peers);
	wait_mirror();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_refusals),
		TEST(test_who_wrote_sees_it),
		TEST(test_range_while_the_store_is_down),
		TEST(test_lines),
		TEST(test_complete_while_down),
		TEST(test_change_while_the_beginning_is_checked),
		TEST(test_check_that_fails),
		TEST(test_store_went_back),
		TEST(test_history_is_gone),
		TEST(test_reader_too_slow),
		TEST(test_break_within_a_revision),
		TEST(test_freed_within_its_callback),
		TEST(test_client_closed_with_calls),
		TEST(test_freed_with_requests),
		TEST(test_freed_with_waiting_ranges),
		TEST(test_memory_of_watchers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
