// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of a server of flannel 0.5 to 0.7 as a store: what it is asked, word for word, and what is made of its answers.
#include "unit.h"

#include "core/mem.h"
#include "io/http_server.h"
#include "kv_client.h"
#include "loop_end.h"
#include "store/v1_wire.h"

#include <errno.h>
#include <string.h>

#define CONFIG \
	"{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.1.0\",\"SubnetMax\":\"10.1.255.0\",\"SubnetLen\":24}"
#define VALUE(ip) "{\"PublicIP\":\"" ip "\",\"PublicIPv6\":null}"
#define END "2099-01-02T03:04:05.123456789Z"
#define NO_END "0001-01-01T00:00:00Z"
#define LEASE(subnet, ip, end) \
	"{\"Subnet\":\"" subnet "\",\"Attrs\":{\"PublicIP\":\"" ip "\"},\"Expiration\":\"" end "\"}"
#define SNAPSHOT(list, cursor) "{\"events\":null,\"snapshot\":" list ",\"cursor\":" cursor "}"
#define EVENTS(list, cursor) "{\"events\":[" list "],\"snapshot\":null,\"cursor\":" cursor "}"
#define ADDED(lease) "{\"type\":\"added\",\"lease\":" lease "}"
#define REMOVED(lease) "{\"type\":\"removed\",\"lease\":" lease "}"
#define MISSING "100: Key not found (/coreos.com/network/config) [7]\n"
#define NO_PATH "404 page not found\n"

#define ANSWERS_MAX 16

static struct loop *loop;
static struct http_server *server;
static struct kv *kv;
static struct strbuf asked; // a line for each request: method, path, query, body
static struct answer {
	const char *request; // the line begins so
	int status;	     // 0: none, until `held` is answered
	const char *body;
} answers[ANSWERS_MAX];
static struct http_exchange *held;

// ---- the server: what it is told to say ----

static void say(const char *request, int status, const char *body)
{
	struct answer *answer = answers;

	while (answer->request && strcmp(answer->request, request) != 0)
		answer++;
	assert_true(answer < answers + ANSWERS_MAX);
	*answer = (struct answer){ request, status, body };
}

static void on_request(void *arg, struct http_exchange *exchange)
{
	const char *next = http_exchange_query(exchange, "next");
	size_t len, start = asked.len;
	const char *line;

	(void)arg;
	strbuf_printf(&asked, "%s %s%s%s %s\n", http_exchange_method(exchange),
		      http_exchange_path(exchange), next ? "?next=" : "", next ? next : "",
		      http_exchange_body(exchange, &len));
	line = strbuf_text(&asked) + start;
	for (const struct answer *answer = answers; answer->request; answer++) {
		if (strncmp(line, answer->request, strlen(answer->request)) != 0)
			continue;
		if (answer->status == 0)
			held = exchange;
		else
			http_answer_text(exchange, (unsigned int)answer->status, "text/plain",
					 answer->body);
		return;
	}
	http_answer_text(exchange, 404, "text/plain", NO_PATH);
}

static void answer_held(int status, const char *body)
{
	turn_until(loop, held);
	http_answer_text(TAKE_PTR(held), (unsigned int)status, "text/plain", body);
}

static void expect_asked(const char *wanted)
{
	assert_string_equal(strbuf_text(&asked), wanted);
	strbuf_reset(&asked);
}

static void serve(uint16_t port)
{
	const struct http_server_config config = { .address = ip_v4(0x7f000001),
						   .port = port,
						   .body_max = 65536 };
	struct err e;

	check(http_server_new(loop, &config, on_request, NULL, &server, &e) == 0, "%s", e.msg);
}

static int setup(void **state)
{
	char url[64];
	const char *endpoints[] = { url, NULL };
	struct store_config config = { .kind = "controller",
				       .endpoints = endpoints,
				       .prefix = "/p",
				       .request_timeout_ms = 3000,
				       .dead_man_ms = 300 };

	(void)state;
	memset(answers, 0, sizeof(answers));
	held = NULL;
	asked = STRBUF_INIT(1024 * 1024);
	loop = loop_new();
	serve(0);
	(void)text_format(url, sizeof(url), "http://127.0.0.1:%u", http_server_port(server));
	assert_int_equal(kv_open(loop, &config, &kv, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kv = kv_close(kv);
	server = http_server_free(server);
	strbuf_free(&asked);
	loop = loop_end(loop);
	return 0;
}

// After this only the old API is asked.
static void meet(void)
{
	struct kv_answer answer;

	say("GET /v1/_/config", 200, CONFIG);
	do_range(kv, "/p/config", false, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
	strbuf_reset(&asked);
}

static void expect_range(const char *key, bool is_prefix, int64_t revision, const char *pairs)
{
	struct kv_answer answer;

	do_range(kv, key, is_prefix, &answer);
	check(answer.r == 0, "%s: %s", key, answer.err.msg);
	assert_string_equal(strbuf_text(&answer.pairs), pairs);
	check(answer.header.revision == revision, "%s: %lld", key, (long long)answer.header.revision);
	kv_answer_free(&answer);
}

static void expect_failure(const char *key, bool is_prefix, int r, const char *text)
{
	struct kv_answer answer;

	do_range(kv, key, is_prefix, &answer);
	check(answer.r == r && strstr(answer.err.msg, text), "%s: %d %s", key, answer.r,
	      answer.err.msg);
	kv_answer_free(&answer);
}

// ---- which server it is ----

static void test_meeting(void **state)
{
	(void)state;
	assert_int_equal(kv_txn_max(kv), KV_TXN_MAX);
	say("GET /v1/_/config", 200, CONFIG);
	expect_range("/p/config", false, 2, "/p/config=" CONFIG "@2\n");
	expect_asked("POST /v2/range {\"key\":\"/p/config\"}\nGET /v1/_/config \n");
	assert_int_equal(kv_txn_max(kv), 1);
	assert_true(kv_limits(kv) & KV_LIMIT_CHOOSES);
	expect_range("/p/config", false, 2, "/p/config=" CONFIG "@2\n");
	expect_asked("GET /v1/_/config \n");
}

static void test_meeting_without_config(void **state)
{
	(void)state;
	say("GET /v1/_/config", 500, MISSING);
	expect_range("/p/config", false, 1, "");
	expect_range("/p/config", false, 1, "");
	expect_asked("POST /v2/range {\"key\":\"/p/config\"}\nGET /v1/_/config \nGET /v1/_/config \n");
}

// Something else: it is asked both ways each time.
static void test_stranger(void **state)
{
	(void)state;
	expect_failure("/p/config", false, -EPROTO, "HTTP status 404");
	say("GET /v1/_/config", 200, "<html>");
	expect_failure("/p/config", false, -EPROTO, "not an answer of a controller (HTTP status 404)");
	say("GET /v1/_/config", 200, "[]");
	expect_failure("/p/config", false, -EPROTO, "HTTP status 404");
	say("GET /v1/_/config", 401, "no");
	expect_failure("/p/config", false, -EPROTO, "HTTP status 404");
	// One of flannel's whose etcd is away.
	say("GET /v1/_/config", 500, "client: etcd cluster is unavailable or misconfigured\n");
	expect_failure("/p/config", false, -EAGAIN, "client: etcd cluster is unavailable");
	assert_int_equal(kv_limits(kv), 0);
}

// ---- reading ----

static void test_leases(void **state)
{
	(void)state;
	meet();
	say("GET /v1/_/leases", 200,
	    SNAPSHOT("[" LEASE("10.1.5.0/24", "192.0.2.1", END) "," LEASE(
			     "10.1.6.0/24", "192.0.2.2",
			     NO_END) ",{},"
				     "{\"Subnet\":\"fd00::/64\"},{\"Subnet\":\"10.1.7.0/24\",\"Attrs\":{\"PublicIP\":5}},"
				     "{\"Subnet\":\"10.1.8.0/24\"}]",
		     "\"17\""));
#define BOTH(a, b, c, d)                                                                      \
	"/p/subnets/10.1.5.0-24=" VALUE("192.0.2.1") "@" a "\n/p/subnets/10.1.6.0-24=" VALUE( \
		"192.0.2.2") "@" b "\n/p/subnets/10.1.7.0-24={\"PublicIP\":5}@" c             \
			     "\n/p/subnets/10.1.8.0-24=null@" d "\n"
	expect_range("/p/subnets/", true, 6, BOTH("3", "4", "5", "6"));
	expect_range("/p/subnets/", true, 6, BOTH("3", "4", "5", "6"));
	expect_asked("GET /v1/_/leases \nGET /v1/_/leases \n");
	expect_range("/p/subnets/10.1.6.0-24", false, 6,
		     "/p/subnets/10.1.6.0-24=" VALUE("192.0.2.2") "@4\n");
	expect_range("/p/subnets/10.1.9.0-24", false, 6, "");
	// One is another by now, one is gone.
	say("GET /v1/_/leases", 200, SNAPSHOT("[" LEASE("10.1.5.0/24", "192.0.2.9", END) "]", "18"));
	expect_range("/p/subnets/", true, 10, "/p/subnets/10.1.5.0-24=" VALUE("192.0.2.9") "@7\n");
	say("GET /v1/_/leases", 200, SNAPSHOT("null", "\"19\""));
	expect_range("/p/subnets/", true, 11, "");
}

static void test_networks(void **state)
{
	(void)state;
	meet();
	say("GET /v1/blue/config", 200, CONFIG);
	say("GET /v1/red%20/", 200, CONFIG);
	say("GET /v1/green/config", 500, MISSING);
	say("GET /v1/blue/leases", 200,
	    SNAPSHOT("[" LEASE("10.1.5.0/24", "192.0.2.1", END) "]", "\"1\""));
	say("GET /v1/ ", 200, SNAPSHOT("[\"green\",\"blue\",5,\"a/b\",\"_\"]", "\"3\""));
	expect_range("/p/", true, 3, "/p/blue/config=" CONFIG "@3\n/p/config=" CONFIG "@2\n");
	expect_range("/p/blue/subnets/", true, 4,
		     "/p/blue/subnets/10.1.5.0-24=" VALUE("192.0.2.1") "@4\n");
	expect_asked(
		"GET /v1/ \nGET /v1/blue/config \nGET /v1/green/config \nGET /v1/_/config \nGET /v1/blue/leases \n");
	say("GET /v1/ ", 404, NO_PATH); // version 0.5
	expect_range("/p/", true, 4, "/p/config=" CONFIG "@2\n");
	expect_failure("/q/config", false, -EINVAL, "nothing but networks below /p/");
	expect_failure("/p/a/b/config", false, -EINVAL, "nothing but configs and leases");
}

static void test_hostile_leases(void **state)
{
	static const char *const bodies[] = {
		"",
		"{",
		"[]",
		"null",
		"{}",
		SNAPSHOT("[", "\"1\""),
		SNAPSHOT("[]", "null"),
		SNAPSHOT("[]", "\"\""),
		SNAPSHOT("[]", "\"1 2\""),
		SNAPSHOT("[]", "\"1&x=2\""),
		SNAPSHOT("[]", "{}"),
		SNAPSHOT("[5]", "\"1\""),
	};

	(void)state;
	meet();
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct kv_answer answer;

		say("GET /v1/_/leases", 200, bodies[i]);
		do_range(kv, "/p/subnets/", true, &answer);
		check(answer.r == -EPROTO || answer.r == -EINVAL, "%s: %d %s", bodies[i], answer.r,
		      answer.err.msg);
		check(answer.pair_count == 0, "%s", bodies[i]);
		kv_answer_free(&answer);
	}
}

static void test_statuses(void **state)
{
	static const struct {
		int status;
		const char *body;
		int r;
	} rows[] = {
		{ 400, "bad subnet\n", -EINVAL },
		{ 401, "no", -EPROTO },
		{ 404, NO_PATH, -EPROTO },
		{ 500, "no etcd\n", -EAGAIN },
		{ 503, "<html>", -EAGAIN },
		{ 302, "", -EAGAIN },
		{ 500, "501: All the given peers are not reachable", -EAGAIN },
	};

	(void)state;
	meet();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		say("GET /v1/_/leases", rows[i].status, rows[i].body);
		expect_failure("/p/subnets/", true, rows[i].r, "HTTP status");
	}
}

// ---- writing ----

static void acquire(struct kv_answer *ret)
{
	const struct kv_compare compare = { .key = "/p/subnets/", .kind = KV_ABSENT };
	struct kv_write write = { .key = "/p/subnets/",
				  .value = VALUE("192.0.2.1"),
				  .value_len = strlen(VALUE("192.0.2.1")) };
	const struct kv_txn txn = { &compare, 1, &write, 1 };
	struct kv_answer opened;

	do_session_open(kv, 86400, &opened);
	assert_int_equal(opened.r, 0);
	write.session = opened.session;
	kv_answer_free(&opened);
	do_txn(kv, &txn, ret);
	if (ret->r == 0)
		assert_int_equal(ret->last.session, write.session);
}

static void test_acquire(void **state)
{
	struct kv_answer answer, again;
	int64_t session;

	(void)state;
	meet();
	say("POST /v1/_/leases", 200, LEASE("10.1.5.0/24", "192.0.2.1", END));
	say("GET /v1/_/leases", 200,
	    SNAPSHOT("[" LEASE("10.1.5.0/24", "192.0.2.1", END) "]", "\"17\""));
	acquire(&answer);
	check(answer.r == 0 && answer.succeeded, "%s", answer.err.msg);
	assert_string_equal(strbuf_text(&answer.pairs),
			    "/p/subnets/10.1.5.0-24=" VALUE("192.0.2.1") "@3\n");
	expect_asked("POST /v1/_/leases " VALUE("192.0.2.1") "\n");
	session = answer.last.session;
	kv_answer_free(&answer);
	// Just got: nobody is asked. It is the same session to whoever reads it.
	do_session_keep_alive(kv, session, &again);
	assert_int_equal(again.r, 0);
	assert_true(again.ttl_s > 86000);
	kv_answer_free(&again);
	expect_asked("");
	do_range(kv, "/p/subnets/", true, &again);
	assert_int_equal(again.last.session, session);
	assert_int_equal(again.header.revision, 3);
	kv_answer_free(&again);
	// Somebody else's by now.
	say("GET /v1/_/leases", 200,
	    SNAPSHOT("[" LEASE("10.1.5.0/24", "192.0.2.9", END) "]", "\"18\""));
	do_range(kv, "/p/subnets/", true, &again);
	assert_true(again.last.session != session && again.last.session > 0);
	kv_answer_free(&again);
	do_session_keep_alive(kv, session, &again);
	assert_int_equal(again.r, -ENOENT);
	kv_answer_free(&again);
}

static void test_acquire_refused(void **state)
{
	static const struct {
		int status;
		const char *body;
		int r;
	} rows[] = {
		{ 500, "out of subnets\n", -ENOSPC },
		{ 400, "JSON decoding error: x\n", -EINVAL },
		{ 200, "", -EINPROGRESS },
		{ 200, "{}", -EINPROGRESS },
		{ 200, "[", -EINPROGRESS },
		{ 502, "<html>", -EINPROGRESS },
	};
	struct kv_answer answer;

	(void)state;
	meet();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		say("POST /v1/_/leases", rows[i].status, rows[i].body);
		acquire(&answer);
		check(answer.r == rows[i].r, "%s: %d %s", rows[i].body, answer.r, answer.err.msg);
		kv_answer_free(&answer);
	}
}

// A short life is renewed when some of it is gone, by the server's clock and not by ours.
static void test_renew(void **state)
{
	struct kv_answer answer;
	int64_t session;
	uint64_t end_ms;

	(void)state;
	meet();
	say("POST /v1/_/leases", 200, LEASE("10.1.5.0/24", "192.0.2.1", "2001-01-01T00:00:00Z"));
	acquire(&answer); // it says that its end is past: it is not believed
	session = answer.last.session;
	kv_answer_free(&answer);
	do_session_keep_alive(kv, session, &answer);
	assert_in_range(answer.ttl_s, 86300, 86400);
	kv_answer_free(&answer);
	{
		char soon[TIMESTAMP_MAX];
		_cleanup_free_ char *body = NULL;

		timestamp_format(timestamp_now_ms() + 2400, soon);
		body = xasprintf("{\"Subnet\":\"10.1.5.0/24\",\"Attrs\":{\"PublicIP\":\"192.0.2.1\"},\"Expiration\":\"%s\"}",
				 soon);
		say("POST /v1/_/leases", 200, body);
		acquire(&answer);
		session = answer.last.session;
		kv_answer_free(&answer);
	}
	end_ms = loop_now_ms() + 200;
	while (loop_now_ms() < end_ms)
		loop_turn(loop, 20);
	strbuf_reset(&asked);
	say("GET /v1/_/leases", 200,
	    SNAPSHOT("[" LEASE("10.1.5.0/24", "192.0.2.1", END) "]", "\"17\""));
	say("PUT /v1/_/leases/10.1.5.0-24", 200, LEASE("10.1.5.0/24", "192.0.2.1", END));
	do_session_keep_alive(kv, session, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
	assert_non_null(strstr(
		strbuf_text(&asked),
		"GET /v1/_/leases \nPUT /v1/_/leases/10.1.5.0-24 {\"Subnet\":\"10.1.5.0/24\",\"Attrs\":" VALUE(
			"192.0.2.1") ",\"Expiration\":\"20"));
}

static void write_lease(const char *value, int64_t compare, bool succeeded, const char *pairs)
{
	struct kv_answer answer;

	do_write(kv, "/p/subnets/10.1.5.0-24", value, compare, value ? 5 : 0, &answer);
	check(answer.r == 0 && answer.succeeded == succeeded, "%s: %d %s", value, answer.r,
	      answer.err.msg);
	assert_string_equal(strbuf_text(&answer.pairs), pairs);
	kv_answer_free(&answer);
}

static void test_one_lease(void **state)
{
	(void)state;
	meet();
	say("GET /v1/_/leases", 200, SNAPSHOT("null", "\"17\""));
	say("PUT /v1/_/leases/10.1.5.0-24", 200, LEASE("10.1.5.0/24", "192.0.2.1", END));
	write_lease(VALUE("192.0.2.1"), 0, true, "");
	say("GET /v1/_/leases", 200,
	    SNAPSHOT("[" LEASE("10.1.5.0/24", "192.0.2.1", END) "]", "\"18\""));
	write_lease(VALUE("192.0.2.2"), 0, false, "/p/subnets/10.1.5.0-24=" VALUE("192.0.2.1") "@3\n");
	write_lease(VALUE("192.0.2.2"), 2, false, "/p/subnets/10.1.5.0-24=" VALUE("192.0.2.1") "@3\n");
	write_lease(NULL, 2, false, "/p/subnets/10.1.5.0-24=" VALUE("192.0.2.1") "@3\n");
	strbuf_reset(&asked);
	say("DELETE /v1/_/leases/10.1.5.0-24", 200, "");
	write_lease(NULL, 3, true, "");
	expect_asked("GET /v1/_/leases \nDELETE /v1/_/leases/10.1.5.0-24 \n");
}

static void test_reservation_and_config(void **state)
{
	struct kv_answer answer;

	(void)state;
	meet();
	say("GET /v1/_/leases", 200, SNAPSHOT("null", "\"17\""));
	say("POST /v1/_/reservations", 200, "");
	do_write(kv, "/p/subnets/10.1.5.0-24", VALUE("192.0.2.1"), 0, 0, &answer);
	check(answer.r == 0 && answer.succeeded, "%s", answer.err.msg);
	kv_answer_free(&answer);
	expect_asked(
		"GET /v1/_/leases \nPOST /v1/_/reservations {\"Subnet\":\"10.1.5.0/24\",\"PublicIP\":\"192.0.2.1\"}\n");
	say("GET /v1/_/leases", 200, SNAPSHOT("null", "\"17\""));
	say("POST /v1/_/reservations", 404, "404 page not found\n");
	do_write(kv, "/p/subnets/10.1.6.0-24", VALUE("192.0.2.1"), 0, 0, &answer);
	check(answer.r == -EOPNOTSUPP, "%d %s", answer.r, answer.err.msg);
	assert_non_null(strstr(answer.err.msg, "from before 0.6 knows no reservations"));
	kv_answer_free(&answer);
	strbuf_reset(&asked);
	do_write(kv, "/p/config", CONFIG, 2, 0, &answer);
	assert_int_equal(answer.r, -EACCES);
	assert_non_null(strstr(answer.err.msg, "etcd"));
	kv_answer_free(&answer);
	expect_asked("");
}

// ---- watching ----

static const char *const prefixes[] = { "/p/subnets/", "/p/config", NULL };

static void start_watch(struct watch_log *log)
{
	struct kv_answer answer;

	meet();
	say("GET /v1/_/leases ", 200, SNAPSHOT("null", "\"17\""));
	do_range(kv, "/p/subnets/", true, &answer);
	assert_int_equal(answer.r, 0);
	strbuf_reset(&asked);
	watch_log_start(log, kv, prefixes, answer.header.revision + 1, answer.header.cluster_id);
	kv_answer_free(&answer);
}

static void test_watch(void **state)
{
	struct watch_log log;

	(void)state;
	say("GET /v1/_/leases?next=17", 0, NULL);
	say("GET /v1/_/leases?next=18", 0, NULL);
	say("GET /v1/_/leases?next=20", 0, NULL);
	start_watch(&log);
	turn_until(loop, log.ups == 1 && held);
	expect_asked("GET /v1/_/config \nGET /v1/_/leases?next=17 \n");
	answer_held(200, EVENTS(ADDED(LEASE("10.1.5.0/24", "192.0.2.1", END)), "\"18\""));
	turn_until(loop, log.events == 1 && held);
	// Several at once, some of which make no sense; a cursor that is a number.
	answer_held(200,
		    EVENTS(ADDED(LEASE("10.1.6.0/24", "192.0.2.2", END)) "," REMOVED(LEASE(
				   "10.1.5.0/24", "0.0.0.0",
				   NO_END)) ",{\"type\":\"new\"}," ADDED("{}") "," ADDED("{\"Subnet\":\"10.1.7.0/24\"}"),
			   "20"));
	turn_until(loop, log.events == 4 && held);
	assert_string_equal(
		strbuf_text(&log.text),
		"PUT /p/subnets/10.1.5.0-24=" VALUE("192.0.2.1") "\nPUT /p/subnets/10.1.6.0-24=" VALUE(
			"192.0.2.2") "\nDELETE /p/subnets/10.1.5.0-24\nPUT /p/subnets/10.1.7.0-24=null\n");
	assert_true(log.in_order);
	assert_non_null(strstr(strbuf_text(&asked), "leases?next=18 \n"));
	assert_non_null(strstr(strbuf_text(&asked), "leases?next=20 \n"));
	// The config is looked at meanwhile.
	say("GET /v1/_/config", 200, "{\"Network\":\"10.2.0.0/16\"}");
	turn_until(loop, log.events == 5);
	assert_non_null(
		strstr(strbuf_text(&log.text), "PUT /p/config={\"Network\":\"10.2.0.0/16\"}\n"));
	say("GET /v1/_/config", 500, MISSING);
	turn_until(loop, log.events == 6);
	assert_non_null(strstr(strbuf_text(&log.text), "DELETE /p/config\n"));
	// What it cannot tell any more.
	answer_held(200, SNAPSHOT("[]", "\"1000\""));
	turn_until(loop, log.losts == 1);
	assert_false(log.store_changed);
	assert_int_equal(log.downs, 0);
	watch_log_free(&log);
}

static void test_watch_goes_on(void **state)
{
	uint16_t port = http_server_port(server);
	struct watch_log log;

	(void)state;
	say("GET /v1/_/leases?next=17", 0, NULL);
	start_watch(&log);
	turn_until(loop, held);
	held = NULL;
	server = http_server_free(server);
	turn_until(loop, log.downs == 1);
	strbuf_reset(&asked);
	serve(port);
	turn_until(loop, log.ups == 2 && held);
	expect_asked("GET /v1/_/config \nGET /v1/_/leases?next=17 \n");
	answer_held(200, EVENTS(ADDED(LEASE("10.1.5.0/24", "192.0.2.1", END)), "\"18\""));
	turn_until(loop, log.events == 1);
	assert_int_equal(log.downs, 1);
	watch_log_free(&log);
}

// What it had before it went may be gone: the next renewal asks.
static void test_doubt(void **state)
{
	uint16_t port = http_server_port(server);
	struct kv_answer answer;
	struct watch_log log;
	int64_t session;

	(void)state;
	say("GET /v1/_/leases?next=17", 0, NULL);
	start_watch(&log);
	turn_until(loop, held);
	say("POST /v1/_/leases", 200, LEASE("10.1.5.0/24", "192.0.2.1", END));
	acquire(&answer);
	session = answer.last.session;
	kv_answer_free(&answer);
	held = NULL;
	server = http_server_free(server);
	turn_until(loop, log.downs == 1);
	serve(port);
	turn_until(loop, log.ups == 2);
	do_session_keep_alive(kv, session, &answer);
	assert_int_equal(answer.r, -ENOENT); // it has no leases
	kv_answer_free(&answer);
	watch_log_free(&log);
}

// One that answers, but not what is asked: down, and again with a pause.
static void test_hostile_polls(void **state)
{
	static const char *const bodies[] = { "",
					      "{",
					      "[]",
					      "{}",
					      EVENTS("5", "\"18\""),
					      EVENTS("{}", "\"18\""),
					      EVENTS(ADDED("{}"), "null") };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct watch_log log;
		uint64_t begun_ms = loop_now_ms();

		say("GET /v1/_/leases?next=17", 200, bodies[i]);
		start_watch(&log);
		turn_until(loop, log.downs >= 1);
		while (loop_now_ms() < begun_ms + 300)
			loop_turn(loop, 20);
		check(strlen(strbuf_text(&asked)) < 60 * 40, "%s: asked all the time", bodies[i]);
		watch_log_free(&log);
		kv = kv_close(kv);
		server = http_server_free(server);
		strbuf_free(&asked);
		loop = loop_end(loop);
		assert_int_equal(setup(NULL), 0);
	}
}

// A controller took its place.
static void test_watch_of_another_server(void **state)
{
	struct watch_log log;

	(void)state;
	say("GET /v1/_/leases?next=17", 0, NULL);
	start_watch(&log);
	turn_until(loop, held);
	say("GET /v1/_/config", 404, NO_PATH);
	turn_until(loop, log.losts == 1);
	assert_true(log.store_changed);
	assert_int_equal(kv_txn_max(kv), KV_TXN_MAX);
	watch_log_free(&log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_meeting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_meeting_without_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stranger, setup, teardown),
		cmocka_unit_test_setup_teardown(test_leases, setup, teardown),
		cmocka_unit_test_setup_teardown(test_networks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_leases, setup, teardown),
		cmocka_unit_test_setup_teardown(test_statuses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_acquire, setup, teardown),
		cmocka_unit_test_setup_teardown(test_acquire_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renew, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_lease, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reservation_and_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(test_doubt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_polls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch_of_another_server, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
