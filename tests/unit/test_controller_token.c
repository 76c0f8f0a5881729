// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of whom a controller answers.
#include "kv_client.h"
#include "raw_http.h"
#include "unit.h"

#include "controller/controller.h"
#include "core/mem.h"
#include "loop_end.h"

#include <errno.h>
#include <string.h>

#define OUR_TOKEN "0123456789abcdef0123456789abcdef"
#define RANGE_BODY "{\"prefix\":\"/weft/\"}"

struct bench {
	struct loop *loop;
	struct kv *kv;
	struct controller *controller;
	struct kv *client;
};

static int setup(void **state)
{
	struct bench *bench = xnew(struct bench);

	bench->loop = loop_new();
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	kv_close(bench->client);
	controller_free(bench->controller);
	kv_close(bench->kv);
	loop_end(bench->loop);
	free(bench);
	return 0;
}

static void start(struct bench *bench, const struct store_config *store, const char *token)
{
	const struct controller_config config = {
		.prefix = "/weft",
		.token = token,
		.http = { .address = ip_v4(0x7f000001) },
	};
	struct err e = { 0 };

	check(kv_open(bench->loop, store, &bench->kv, &e) == 0, "%s", e.msg);
	check(controller_new(bench->kv, &config, &bench->controller, &e) == 0, "%s", e.msg);
}

// headers: whole lines, each with its end.
static char *ask(struct bench *bench, const char *method, const char *path, const char *headers,
		 const char *body)
{
	struct ip address = ip_v4(0x7f000001);
	_cleanup_free_ char *head = xasprintf("%s %s HTTP/1.1\r\nHost: weft\r\n%s"
					      "Content-Length: %zu\r\nConnection: close\r\n\r\n",
					      method, path, headers, strlen(body));
	struct raw_http peer;
	char *answer;

	raw_http_open_tcp(&peer, bench->loop, &address, controller_port(bench->controller));
	raw_http_send(&peer, head);
	raw_http_send(&peer, body);
	check(raw_http_expect_end(&peer), "%s: no end", path);
	answer = xstrdup(strbuf_text(&peer.got));
	raw_http_close(&peer);
	return answer;
}

static void check_status(struct bench *bench, const char *headers, const char *path, const char *status)
{
	_cleanup_free_ char *answer = ask(bench, "POST", path, headers, RANGE_BODY);

	check(strncmp(answer, status, strlen(status)) == 0, "\"%s\" at %s: %s", headers, path, answer);
	if (strstr(status, "401")) {
		assert_non_null(strstr(answer, "\"denied\""));
		assert_null(strstr(answer, OUR_TOKEN));
	}
}

static void test_token(void **state)
{
	static const char *const refused[] = {
		"",
		"Authorization: Bearer\r\n",
		"Authorization: Bearer \r\n",
		"Authorization: " OUR_TOKEN "\r\n",
		"Authorization: Basic " OUR_TOKEN "\r\n",
		"Authorization: Bearer 0123456789abcdef0123456789abcdee\r\n",
		"Authorization: Bearer 0123456789abcdef0123456789abcde\r\n",
		"Authorization: Bearer " OUR_TOKEN "0\r\n",
		"Authorization: Bearer 1123456789abcdef0123456789abcdef\r\n",
		"X-Authorization: Bearer " OUR_TOKEN "\r\n",
	};
	static const char *const taken[] = {
		"Authorization: Bearer " OUR_TOKEN "\r\n",
		"authorization: bearer " OUR_TOKEN "\r\n",
	};
	static const char *const paths[] = { "/v2/range",
					     "/v2/txn",
					     "/v2/watch",
					     "/v2/session/open",
					     "/v2/session/keep-alive",
					     "/v2/session/query",
					     "/v2/session/close",
					     "/nowhere" };
	struct bench *bench = *state;

	start(bench, &(struct store_config){ .kind = "memory" }, OUR_TOKEN);
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		check_status(bench, refused[i], "/v2/range", "HTTP/1.1 401");
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		check_status(bench, "", paths[i], "HTTP/1.1 401");
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		check_status(bench, taken[i], "/v2/range", "HTTP/1.1 200");
}

static void test_no_token(void **state)
{
	struct bench *bench = *state;

	start(bench, &(struct store_config){ .kind = "memory" }, NULL);
	check_status(bench, "", "/v2/range", "HTTP/1.1 200");
	check_status(bench, "", "/nowhere", "HTTP/1.1 404");
}

// A body of a stranger is not even kept.
static void test_body_of_a_stranger(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *body = xmalloc(1024 * 1024);
	_cleanup_free_ char *stranger = NULL;
	_cleanup_free_ char *ours = NULL;

	memset(body, ' ', 1024 * 1024 - 1);
	body[1024 * 1024 - 1] = '\0';
	memcpy(body, RANGE_BODY, strlen(RANGE_BODY));
	start(bench, &(struct store_config){ .kind = "memory" }, OUR_TOKEN);
	stranger = ask(bench, "POST", "/v2/range", "", body);
	assert_string_equal(stranger, "");
	ours = ask(bench, "POST", "/v2/range", "Authorization: Bearer " OUR_TOKEN "\r\n", body);
	check(strstr(ours, "HTTP/1.1 200"), "%s", ours);
}

static void test_health(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *health = NULL, *ready = NULL, *posted = NULL;

	start(bench, &(struct store_config){ .kind = "memory" }, OUR_TOKEN);
	for (uint64_t end = loop_now_ms() + 5000; loop_now_ms() < end;) {
		free(ready);
		ready = ask(bench, "GET", "/readyz", "", "");
		if (strstr(ready, "HTTP/1.1 200"))
			break;
	}
	check(strstr(ready, "HTTP/1.1 200"), "%s", ready);
	health = ask(bench, "GET", "/healthz", "", "");
	check(strstr(health, "HTTP/1.1 200"), "%s", health);
	posted = ask(bench, "POST", "/healthz", "", "");
	check(strstr(posted, "HTTP/1.1 405"), "%s", posted);
}

static void test_not_ready(void **state)
{
	struct bench *bench = *state;
	const char *const endpoints[] = { "http://127.0.0.1:1", NULL };
	_cleanup_free_ char *health = NULL, *ready = NULL;

	start(bench, &(struct store_config){ .kind = "etcd3", .endpoints = endpoints }, OUR_TOKEN);
	for (uint64_t end = loop_now_ms() + 5000; loop_now_ms() < end;) {
		free(ready);
		ready = ask(bench, "GET", "/readyz", "", "");
		check(strstr(ready, "HTTP/1.1 503"), "%s", ready);
		if (strstr(ready, "127.0.0.1:1"))
			break;
	}
	check(strstr(ready, "the store is not reached: http://127.0.0.1:1"), "%s", ready);
	health = ask(bench, "GET", "/healthz", "", "");
	check(strstr(health, "HTTP/1.1 200"), "%s", health);
}

// ---- our own client ----

static void client_open(struct bench *bench, const char *token)
{
	_cleanup_free_ char *url =
		xasprintf("http://127.0.0.1:%u", controller_port(bench->controller));
	const char *const endpoints[] = { url, NULL };
	const struct store_config config = {
		.kind = "controller",
		.endpoints = endpoints,
		.token = token,
	};

	assert_int_equal(kv_open(bench->loop, &config, &bench->client, NULL), 0);
}

static void check_denied(struct bench *bench, const char *token, const char *words)
{
	static const char *const prefixes[] = { "/weft/", NULL };
	struct watch_log log = { 0 };
	struct kv_answer answer;

	client_open(bench, token);
	do_range(bench->client, "/weft/", true, &answer);
	assert_int_equal(answer.r, -EACCES);
	check(strstr(answer.err.msg, "http://127.0.0.1:"), "%s", answer.err.msg);
	check(strstr(answer.err.msg, words), "%s", answer.err.msg);
	check(strstr(answer.err.msg, "--token"), "%s", answer.err.msg);
	kv_answer_free(&answer);
	do_write(bench->client, "/weft/a", "1", 0, 0, &answer);
	assert_int_equal(answer.r, -EACCES);
	kv_answer_free(&answer);
	watch_log_start(&log, bench->client, prefixes, 1, 0);
	turn_until(bench->loop, log.downs > 0);
	assert_int_equal(log.err.code, -EACCES);
	check(strstr(log.err.msg, words), "%s", log.err.msg);
	watch_log_free(&log);
	bench->client = kv_close(bench->client);
}

static void test_client(void **state)
{
	struct bench *bench = *state;
	struct kv_answer answer;

	start(bench, &(struct store_config){ .kind = "memory" }, OUR_TOKEN);
	check_denied(bench, NULL, "asks for a token");
	check_denied(bench, "another token of ours", "refuses our token");
	client_open(bench, OUR_TOKEN);
	do_range(bench->client, "/weft/", true, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	assert_int_equal(answer.pair_count, 0);
	kv_answer_free(&answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_token, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_token, setup, teardown),
		cmocka_unit_test_setup_teardown(test_body_of_a_stranger, setup, teardown),
		cmocka_unit_test_setup_teardown(test_health, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_ready, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
