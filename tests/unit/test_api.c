// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of agent/api and agent/metrics, with an agent that is made up.
#include "raw_http.h"
#include "unit.h"

#include "agent/api.h"
#include "io/metrics.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/parse.h"
#include "loop_end.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PEERS 20000

struct bench {
	struct loop *loop;
	char directory[32];
	char path[64];
	struct api *api;
	bool is_ready;
	unsigned int iterators; // open now
	unsigned int plans_asked;
	bool plans_wait;
	api_plan_fn *plan_done;
	void *plan_arg;
};

static json_t *view_status(void *arg)
{
	(void)arg;
	return json_pack("{s:s}", "version", "1.2.3");
}

static json_t *view_lease(void *arg)
{
	(void)arg;
	return json_pack("{s:s}", "subnet", "10.1.2.0/24");
}

static void *view_peers_open(void *arg)
{
	struct bench *bench = arg;

	bench->iterators++;
	return xnew(unsigned int);
}

static json_t *view_peers_next(void *arg, void *iterator)
{
	unsigned int *position = iterator;

	(void)arg;
	if (*position == PEERS)
		return NULL;
	return json_pack("{s:i,s:s}", "number", (int)(*position)++, "state", "ok");
}

static void view_peers_close(void *arg, void *iterator)
{
	struct bench *bench = arg;

	bench->iterators--;
	free(iterator);
}

static void view_plan(void *arg, api_plan_fn *done, void *done_arg)
{
	struct bench *bench = arg;

	bench->plans_asked++;
	bench->plan_done = done;
	bench->plan_arg = done_arg;
	if (!bench->plans_wait)
		done(done_arg, 0, json_pack("{s:[]}", "changes"), NULL);
}

static bool view_ready(void *arg, struct strbuf *reasons)
{
	struct bench *bench = arg;

	if (!bench->is_ready)
		strbuf_puts(reasons, "no lease yet\nstore: gone");
	return bench->is_ready;
}

static void view_metrics(void *arg, struct strbuf *out)
{
	const struct metric_label labels[] = { { "kind", "a\"b\\c\nd" }, { "other", "" } };

	(void)arg;
	metric_single(out, METRIC_COUNTER, "weft_things_total", "Things.", 9007199254740991.0);
	metric_family(out, METRIC_GAUGE, "weft_ratio", "A ratio.");
	metric_sample(out, "weft_ratio", labels, 2, 0.25);
	metric_process(out);
}

static const struct agent_view view = {
	.status = view_status,
	.lease = view_lease,
	.peers_open = view_peers_open,
	.peers_next = view_peers_next,
	.peers_close = view_peers_close,
	.plan = view_plan,
	.ready = view_ready,
	.metrics = view_metrics,
};

static void serve(struct bench *bench, uint16_t health_port)
{
	const struct api_config config = {
		.socket_path = bench->path,
		.health_address = ip_v4(0x7f000001),
		.health_port = health_port,
	};
	struct err e = { 0 };

	if (api_new(bench->loop, &config, &view, bench, &bench->api, &e) < 0)
		fail_msg("%s", err_msg(&e));
}

static int setup(void **state)
{
	struct bench *bench = xnew(struct bench);

	bench->loop = loop_new();
	assert_int_equal(text_copy(bench->directory, sizeof(bench->directory), "/tmp/weft-api-XXXXXX"),
			 0);
	assert_non_null(mkdtemp(bench->directory));
	assert_int_equal(text_format(bench->path, sizeof(bench->path), "%s/s.sock", bench->directory),
			 0);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	api_free(bench->api);
	loop_end(bench->loop);
	assert_int_equal(rmdir(bench->directory), 0); // the socket is gone
	assert_int_equal(bench->iterators, 0);
	free(bench);
	return 0;
}

// The answer to one GET on a new connection; the caller frees. ret_body points behind the head.
static char *get(struct bench *bench, const char *path, const char **ret_body)
{
	struct raw_http peer;
	const char *end;
	char *copy;

	raw_http_open_unix(&peer, bench->loop, bench->path);
	copy = xstrdup(raw_http_get(&peer, path));
	raw_http_close(&peer);
	end = strstr(copy, "\r\n\r\n");
	check(end, "%s: no whole answer", path);
	*ret_body = end + 4;
	return copy;
}

static void test_paths(void **state)
{
	static const struct {
		const char *path;
		bool is_ready;
		const char *status;
		const char *type;
		const char *body;
	} cases[] = {
		{ "/healthz", false, "200", "text/plain", "weftd is running\n" },
		{ "/readyz", true, "200", "text/plain", "weftd is ready\n" },
		{ "/readyz", false, "503", "text/plain", "no lease yet\nstore: gone\n" },
		{ "/agent/v1/status", true, "200", "application/json", "{\"version\":\"1.2.3\"}\n" },
		{ "/agent/v1/lease", true, "200", "application/json", "{\"subnet\":\"10.1.2.0/24\"}\n" },
		{ "/agent/v1/plan", true, "200", "application/json", "{\"changes\":[]}\n" },
		{ "/", true, "404", "application/json", "{\"error\":\"no such path\"}\n" },
		{ "/agent/v1/status/x", true, "404", "application/json",
		  "{\"error\":\"no such path\"}\n" },
	};
	struct bench *bench = *state;

	serve(bench, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *answer = NULL;
		const char *body;

		bench->is_ready = cases[i].is_ready;
		answer = get(bench, cases[i].path, &body);
		check(strncmp(answer + strlen("HTTP/1.1 "), cases[i].status, 3) == 0, "%s: %.40s",
		      cases[i].path, answer);
		check(strstr(answer, cases[i].type), "%s: %s", cases[i].path, answer);
		assert_string_equal(body, cases[i].body);
	}
}

static void test_only_get(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;

	serve(bench, 0);
	raw_http_open_unix(&peer, bench->loop, bench->path);
	raw_http_send(&peer, "DELETE /agent/v1/lease HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	assert_true(raw_http_expect_end(&peer));
	assert_non_null(strstr(peer.got.data, "HTTP/1.1 405"));
	raw_http_close(&peer);
}

static void test_metrics(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *answer = NULL;
	const char *body, *start;
	uint64_t started_s;

	serve(bench, 0);
	answer = get(bench, "/metrics", &body);
	assert_non_null(strstr(answer, "text/plain; version=0.0.4"));
	assert_non_null(strstr(body, "# HELP weft_things_total Things.\n"
				     "# TYPE weft_things_total counter\n"
				     "weft_things_total 9007199254740991\n"
				     "# HELP weft_ratio A ratio.\n"
				     "# TYPE weft_ratio gauge\n"
				     "weft_ratio{kind=\"a\\\"b\\\\c?d\",other=\"\"} 0.25\n"));
	assert_non_null(strstr(body, "\nprocess_cpu_seconds_total "));
	assert_null(strstr(body, "\nprocess_resident_memory_bytes 0\n"));
	assert_null(strstr(body, "\nprocess_open_fds 0\n"));
	start = strstr(body, "\nprocess_start_time_seconds ");
	assert_non_null(start);
	start += strlen("\nprocess_start_time_seconds ");
	assert_true(parse_u64(&start, UINT64_MAX, &started_s));
	assert_in_range(started_s, (uint64_t)time(NULL) - 600, (uint64_t)time(NULL) + 1);
}

// Puts the chunks of a body together, in place.
static void unchunk(char *body)
{
	const char *from = body;
	uint64_t len;

	do {
		assert_true(parse_hex(&from, 8, &len));
		assert_true(parse_literal(&from, "\r\n"));
		memmove(body, from, len);
		body += len;
		from += len;
		assert_true(parse_literal(&from, "\r\n"));
	} while (len > 0);
	*body = '\0';
}

static void test_many_peers(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *answer = NULL;
	_cleanup_json_ json_t *document = NULL;
	struct err e = { 0 };
	const char *body;
	json_t *peers;

	serve(bench, 0);
	(void)loop_longest_hold_ms(bench->loop);
	answer = get(bench, "/agent/v1/peers", &body);
	assert_in_range(loop_longest_hold_ms(bench->loop), 0,
			100); // a sanitizer is slow; all at once takes longer still
	unchunk(answer + (body - answer));
	if (json_read(body, strlen(body), 16 * 1024 * 1024, &document, &e) < 0)
		fail_msg("%s", err_msg(&e));
	peers = json_object_get(document, "peers");
	assert_int_equal(json_array_size(peers), PEERS);
	for (size_t i = 0; i < PEERS; i++)
		assert_int_equal(
			json_integer_value(json_object_get(json_array_get(peers, i), "number")), i);
}

static void test_peers_are_closed_when_the_client_goes(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;

	serve(bench, 0);
	raw_http_open_unix(&peer, bench->loop, bench->path);
	raw_http_send(&peer, "GET /agent/v1/peers HTTP/1.1\r\nHost: a\r\n\r\n");
	while (bench->iterators == 0)
		loop_turn(bench->loop, 10);
	raw_http_close(&peer);
	for (uint64_t end = loop_now_ms() + 5000; bench->iterators > 0 && loop_now_ms() < end;)
		loop_turn(bench->loop, 10);
	assert_int_equal(bench->iterators, 0);
}

static void test_plans_are_shared(void **state)
{
	struct bench *bench = *state;
	struct raw_http peers[20];
	const struct err e = { -EIO, "the scan broke" };

	serve(bench, 0);
	bench->plans_wait = true;
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		raw_http_open_unix(&peers[i], bench->loop, bench->path);
		raw_http_send(&peers[i], "GET /agent/v1/plan HTTP/1.1\r\nHost: a\r\n\r\n");
	}
	assert_true(raw_http_expect(&peers[19], "HTTP/1.1 503")); // 16 may wait
	assert_int_equal(bench->plans_asked, 1);
	bench->plan_done(bench->plan_arg, 0, json_pack("{s:[],s:i}", "changes", "total", 7), NULL);
	for (size_t i = 0; i < 16; i++)
		assert_true(raw_http_expect(&peers[i], "\"total\":7}\n"));
	raw_http_send(&peers[0], "GET /agent/v1/plan HTTP/1.1\r\nHost: a\r\n\r\n");
	while (bench->plans_asked == 1)
		loop_turn(bench->loop, 10);
	bench->plan_done(bench->plan_arg, -EIO, NULL, &e);
	assert_true(raw_http_expect(&peers[0], "{\"error\":\"the scan broke\"}"));
	bench->plans_wait = true;
	raw_http_send(&peers[1], "GET /agent/v1/plan HTTP/1.1\r\nHost: a\r\n\r\n");
	while (bench->plans_asked == 2)
		loop_turn(bench->loop, 10);
	bench->api = api_free(bench->api); // while one waits
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		raw_http_close(&peers[i]);
}

static void test_watch(void **state)
{
	struct bench *bench = *state;
	struct raw_http first, second;

	serve(bench, 0);
	assert_false(api_has_watchers(bench->api));
	api_publish(bench->api, json_pack("{s:s}", "event", "nobody-hears"));
	raw_http_open_unix(&first, bench->loop, bench->path);
	raw_http_send(&first, "GET /agent/v1/watch HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_true(raw_http_expect(&first, "\"event\":\"heartbeat\"}\n"));
	assert_true(api_has_watchers(bench->api));
	raw_http_open_unix(&second, bench->loop, bench->path);
	raw_http_send(&second, "GET /agent/v1/watch HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_true(raw_http_expect(&second, "\"event\":\"heartbeat\"}\n"));
	api_publish(bench->api, json_pack("{s:s,s:i}", "event", "war", "count", 1));
	api_publish(bench->api, json_pack("{s:s,s:i}", "event", "war", "count", 2));
	assert_true(raw_http_expect(&first, "\"event\":\"war\",\"count\":2}\n"));
	assert_true(raw_http_expect(&second, "\"event\":\"war\",\"count\":2}\n"));
	assert_non_null(strstr(first.got.data, "{\"time\":\"2"));
	assert_int_equal(raw_http_count(&first, "\"count\":1}\n"), 1);
	assert_null(strstr(first.got.data, "nobody"));
	raw_http_close(&first);
	for (uint64_t end = loop_now_ms() + 5000;
	     loop_now_ms() < end && raw_http_count(&second, "last") == 0;) {
		api_publish(bench->api, json_pack("{s:s}", "event", "last"));
		(void)raw_http_expect(&second, "last");
	}
	assert_int_equal(raw_http_count(&second, "heartbeat"), 1);
	raw_http_close(&second);
	for (uint64_t end = loop_now_ms() + 5000;
	     loop_now_ms() < end && api_has_watchers(bench->api);) {
		api_publish(bench->api, json_pack("{s:s}", "event", "x"));
		loop_turn(bench->loop, 10);
	}
	assert_false(api_has_watchers(bench->api));
}

// One that does not read loses its connection, not our memory; others are not held up.
static void test_watcher_that_does_not_read(void **state)
{
	struct bench *bench = *state;
	struct raw_http deaf, keen;
	char text[1001];

	serve(bench, 0);
	memset(text, 'x', 1000);
	text[1000] = '\0';
	raw_http_open_unix(&deaf, bench->loop, bench->path);
	raw_http_send(&deaf, "GET /agent/v1/watch HTTP/1.1\r\nHost: a\r\n\r\n");
	raw_http_open_unix(&keen, bench->loop, bench->path);
	raw_http_send(&keen, "GET /agent/v1/watch HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_true(raw_http_expect(&deaf, "heartbeat"));
	for (int i = 0; i < 3000; i++) {
		api_publish(bench->api,
			    json_pack("{s:s,s:i,s:s}", "event", "test", "number", i, "text", text));
		loop_turn(bench->loop, 0);
		if (i % 100 == 0)
			(void)raw_http_expect(&keen, "");
	}
	assert_true(raw_http_expect(&keen, "\"number\":2999,"));
	assert_int_equal(raw_http_count(&keen, "\"event\":\"test\""), 3000);
	assert_true(raw_http_expect_end(&deaf));
	assert_true(raw_http_count(&deaf, "\"event\":\"test\"") < 3000);
	raw_http_close(&deaf);
	raw_http_close(&keen);
}

static void test_health_over_tcp(void **state)
{
	static const char *const hidden[] = { "/agent/v1/status", "/agent/v1/peers",
					      "/agent/v1/watch" };
	const struct ip loopback = ip_v4(0x7f000001);
	struct bench *bench = *state;
	struct raw_http peer;
	uint16_t port = (uint16_t)(20000 + getpid() % 10000);

	serve(bench, port);
	raw_http_open_tcp(&peer, bench->loop, &loopback, port);
	assert_non_null(strstr(raw_http_get(&peer, "/healthz"), "weftd is running"));
	raw_http_close(&peer);
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++) {
		raw_http_open_tcp(&peer, bench->loop, &loopback, port);
		check(strstr(raw_http_get(&peer, hidden[i]), "404"), "%s is open to the world",
		      hidden[i]);
		raw_http_close(&peer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_get, setup, teardown),
		cmocka_unit_test_setup_teardown(test_metrics, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_peers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_peers_are_closed_when_the_client_goes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_plans_are_shared, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watcher_that_does_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_health_over_tcp, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
