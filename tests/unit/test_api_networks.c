// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of how the API asks for one network of several.
#include "agent/api.h"
#include "unit.h"

#include "core/mem.h"
#include "loop_end.h"
#include "raw_http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLANS 8

static struct loop *loop;
static struct api *api;
static char directory[64], path[96];

// What stands for the agent, and for its networks a and b.
static struct scope {
	const char *name;
} all = { "all" }, a = { "a" }, b = { "b" };

static struct {
	const char *scope;
	api_plan_fn *done;
	void *done_arg;
} plans[PLANS];
static size_t plan_count;

static void *view_select(void *arg, const char *network)
{
	assert_ptr_equal(arg, &all);
	return strcmp(network, "a") == 0 ? &a : strcmp(network, "b") == 0 ? &b : NULL;
}

static json_t *view_name(void *arg)
{
	const struct scope *scope = arg;
	return json_pack("{s:s}", "of", scope->name);
}

static void *view_peers_open(void *arg)
{
	return xstrdup(((const struct scope *)arg)->name);
}

static json_t *view_peers_next(void *arg, void *iterator)
{
	char *name = iterator;
	json_t *peer = *name ? json_pack("{s:s}", "of", name) : NULL;

	assert_ptr_equal(arg, &all);
	*name = '\0';
	return peer;
}

static void view_peers_close(void *arg, void *iterator)
{
	assert_ptr_equal(arg, &all);
	free(iterator);
}

static void view_plan(void *arg, api_plan_fn *done, void *done_arg)
{
	assert_true(plan_count < PLANS);
	plans[plan_count].scope = ((const struct scope *)arg)->name;
	plans[plan_count].done = done;
	plans[plan_count++].done_arg = done_arg;
}

static bool view_ready(void *arg, struct strbuf *reasons)
{
	if (arg == &a)
		return true;
	strbuf_printf(reasons, "of %s\n", ((const struct scope *)arg)->name);
	return false;
}

static void view_metrics(void *arg, struct strbuf *out)
{
	(void)arg, (void)out;
}

static const struct agent_view view = {
	.select = view_select,
	.status = view_name,
	.lease = view_name,
	.peers_open = view_peers_open,
	.peers_next = view_peers_next,
	.peers_close = view_peers_close,
	.plan = view_plan,
	.ready = view_ready,
	.metrics = view_metrics,
};

static int setup(void **state)
{
	struct api_config config = { .socket_path = path };
	struct err e = { 0 };

	(void)state;
	loop = loop_new();
	plan_count = 0;
	assert_int_equal(text_copy(directory, sizeof(directory), "/tmp/weft-api-XXXXXX"), 0);
	assert_non_null(mkdtemp(directory));
	assert_int_equal(text_format(path, sizeof(path), "%s/s.sock", directory), 0);
	check(api_new(loop, &config, &view, &all, &api, &e) == 0, "%s", e.msg);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	api = api_free(api);
	(void)unlink(path);
	(void)rmdir(directory);
	loop = loop_end(loop);
	return 0;
}

static void ask(struct raw_http *peer, const char *target)
{
	_cleanup_free_ char *request = xasprintf("GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);

	raw_http_open_unix(peer, loop, path);
	raw_http_send(peer, request);
}

static void expect(const char *target, const char *answer)
{
	struct raw_http peer;

	ask(&peer, target);
	check(raw_http_expect(&peer, answer), "%s does not answer %s", target, answer);
	raw_http_close(&peer);
}

static void test_one_of_several(void **state)
{
	(void)state;
	expect("/agent/v1/status", "{\"of\":\"all\"}");
	expect("/agent/v1/status?network=", "{\"of\":\"all\"}");
	expect("/agent/v1/status?network=a", "{\"of\":\"a\"}");
	expect("/agent/v1/lease?network=b", "{\"of\":\"b\"}");
	expect("/agent/v1/peers", "{\"of\":\"all\"}");
	expect("/agent/v1/peers?network=b", "{\"of\":\"b\"}");
	expect("/readyz?network=a", "HTTP/1.1 200");
	expect("/readyz?network=b", "of b\n");
	expect("/readyz", "of all\n");
	expect("/readyz?network=c", "HTTP/1.1 404");
	expect("/agent/v1/status?network=c",
	       "{\"error\":\"this agent is in no network of this name\"}");
	expect("/agent/v1/peers?network=c", "HTTP/1.1 404");
	expect("/agent/v1/plan?network=c", "HTTP/1.1 404");
	expect("/agent/v1/watch?network=c", "HTTP/1.1 404");
	assert_int_equal(plan_count, 0);
}

static void await_plans(size_t count)
{
	for (uint64_t end = loop_now_ms() + 5000; plan_count < count && loop_now_ms() < end;)
		loop_turn(loop, 10);
	assert_int_equal(plan_count, count);
}

static void plan_is(size_t i, const char *scope)
{
	assert_string_equal(plans[i].scope, scope);
	plans[i].done(plans[i].done_arg, 0, json_pack("{s:s}", "plan", scope), NULL);
}

static void test_a_plan_for_each(void **state)
{
	struct raw_http peers[4];

	(void)state;
	ask(&peers[0], "/agent/v1/plan?network=a");
	await_plans(1);
	ask(&peers[1], "/agent/v1/plan?network=b");
	await_plans(2);
	ask(&peers[2], "/agent/v1/plan");
	await_plans(3);
	ask(&peers[3], "/agent/v1/plan?network=a");
	expect("/agent/v1/status", "all"); // the fourth was heard
	assert_int_equal(plan_count, 3);
	plan_is(2, "all");
	plan_is(0, "a");
	plan_is(1, "b");
	assert_true(raw_http_expect(&peers[0], "{\"plan\":\"a\"}"));
	assert_true(raw_http_expect(&peers[1], "{\"plan\":\"b\"}"));
	assert_true(raw_http_expect(&peers[2], "{\"plan\":\"all\"}"));
	assert_true(raw_http_expect(&peers[3], "{\"plan\":\"a\"}"));
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		raw_http_close(&peers[i]);
}

static void publish(const char *network, int number)
{
	json_t *event = json_pack("{s:s,s:i}", "event", "test", "number", number);

	if (network)
		json_object_set_new(event, "network", json_string(network));
	api_publish(api, event);
}

static void test_a_watcher_of_one(void **state)
{
	struct raw_http of_a, of_all;

	(void)state;
	ask(&of_a, "/agent/v1/watch?network=a");
	ask(&of_all, "/agent/v1/watch");
	assert_true(raw_http_expect(&of_a, "heartbeat"));
	assert_true(raw_http_expect(&of_all, "heartbeat"));
	publish("b", 1);
	publish("a", 2);
	publish(NULL, 3);
	assert_true(raw_http_expect(&of_all, "\"number\":3"));
	assert_true(raw_http_expect(&of_a, "\"number\":3"));
	assert_int_equal(raw_http_count(&of_all, "\"number\":1"), 1);
	assert_int_equal(raw_http_count(&of_a, "\"number\":1"), 0);
	assert_int_equal(raw_http_count(&of_a, "\"number\":2"), 1);
	raw_http_close(&of_a);
	raw_http_close(&of_all);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_one_of_several),
		TEST(test_a_plan_for_each),
		TEST(test_a_watcher_of_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
