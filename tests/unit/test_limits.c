// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of how much of a controller one client may use.
#include "controller_world.h"
#include "unit.h"

#include "controller/limits.h"
#include "core/mem.h"
#include "store/owner.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#define RANGE "{\"prefix\":\"/weft/\"}"
#define SLOW 3 // requests a second
#define BURST (SLOW * LIMITS_BURST_FACTOR)
#define PENDING_MAX 1024 // the controller's

static unsigned int take_all(struct limits *limits, const struct caller *caller, uint32_t *ret_ms)
{
	unsigned int count = 0;

	while ((*ret_ms = limits_take(limits, caller)) == 0)
		count++;
	return count;
}

static struct caller caller_of(enum caller_role role, const char *identity, uint32_t address)
{
	struct caller caller = { .role = role, .peer = ip_v4(address) };

	if (identity)
		owner_of(identity, caller.owner);
	return caller;
}

static void test_buckets(void **state)
{
	struct limits *limits = limits_new(SLOW);
	const struct caller one = caller_of(CALLER_AGENT, ALICE, 1),
			    other = caller_of(CALLER_AGENT, BOB, 1),
			    nameless = caller_of(CALLER_AGENT, NULL, 2),
			    boss = caller_of(CALLER_ADMIN, NULL, 3);
	uint32_t retry_ms;

	(void)state;
	assert_in_range(take_all(limits, &one, &retry_ms), BURST, BURST + 2);
	assert_in_range(retry_ms, 1, 1000 / SLOW + 1);
	assert_in_range(take_all(limits, &other, &retry_ms), BURST, BURST + 2);
	assert_in_range(take_all(limits, &nameless, &retry_ms), BURST * LIMITS_NAMELESS_FACTOR,
			BURST * LIMITS_NAMELESS_FACTOR + 20);
	assert_in_range(take_all(limits, &boss, &retry_ms), BURST * LIMITS_ADDRESS_FACTOR,
			BURST * LIMITS_ADDRESS_FACTOR + 100);
	limits_free(limits);
}

// An identity costs nothing: all of an address together have their limit, too.
static void test_many_identities(void **state)
{
	struct limits *limits = limits_new(SLOW);
	unsigned int count = 0;

	(void)state;
	for (int i = 0; i < 2 * BURST * LIMITS_ADDRESS_FACTOR; i++) {
		_cleanup_free_ char *identity = xasprintf("%032d", i);
		const struct caller caller = caller_of(CALLER_AGENT, identity, 1);

		count += limits_take(limits, &caller) == 0;
	}
	assert_in_range(count, BURST * LIMITS_ADDRESS_FACTOR, BURST * LIMITS_ADDRESS_FACTOR * 3 / 2);
	limits_free(limits);
}

static void use_slow_controller(void)
{
	kv_close(alice);
	kv_close(bob);
	kv_close(admin);
	controller_free(first);
	first = serve(SLOW);
	alice = agent(first, ALICE);
	bob = agent(first, BOB);
	admin = client(first, ADMIN, NULL);
	wait_read(admin);
}

// Our own client waits as long as it is told to; others are not held up.
static void test_put_off(void **state)
{
	char token[JOIN_TOKEN_MAX];
	_cleanup_free_ char *refused = NULL;
	struct kv_answer answer;
	int64_t before;

	(void)state;
	use_slow_controller();
	join_token_of(ADMIN, token);
	for (int i = 0; i < BURST + 2; i++) {
		free(refused);
		refused = post(token, ALICE, "/v2/range", RANGE);
	}
	check(strstr(refused, " 429 ") && strstr(refused, "\"code\":\"too-many\"") &&
		      strstr(refused, "\"retry_ms\":"),
	      "%s", refused);
	before = (int64_t)kv_stats(alice)->requests;
	do_range(alice, "/weft/", true, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
	check((int64_t)kv_stats(alice)->requests > before + 1, "it was not put off");
	wait_read(bob);
	wait_read(admin);
}

// A request of whoever has read everything. Caller frees.
static char *watch_body(void)
{
	struct kv_answer now;
	char *body;

	do_range(admin, "/weft/", true, &now);
	body = xasprintf("{\"prefixes\":[{\"prefix\":\"/weft/\"}],\"from\":%lld}",
			 (long long)now.header.revision + 1);
	kv_answer_free(&now);
	return body;
}

static void test_watches(void **state)
{
	struct raw_http peers[LIMITS_STREAMS_MAX + 1];
	_cleanup_free_ char *body = watch_body();
	char token[JOIN_TOKEN_MAX];

	(void)state;
	join_token_of(ADMIN, token);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		connect_to(first, &peers[i]);
		send_to(&peers[i], token, ALICE, "/v2/watch", body);
		check(raw_http_expect(&peers[i], i < LIMITS_STREAMS_MAX ? "\"complete\"" : " 429 "),
		      "%zu: %s", i, strbuf_text(&peers[i].got));
	}
	wait_read(bob);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		raw_http_close(&peers[i]);
	// What has ended does not count.
	turn_until(loop, ({
			   _cleanup_free_ char *answer = post(token, ALICE, "/v2/range", RANGE);
			   strstr(answer, " 200 ");
		   }));
}

// Those that have asked for something do not count among those that have not.
static void test_many_agents(void **state)
{
	static struct raw_http peers[PENDING_MAX + 50];
	_cleanup_free_ char *body = watch_body();
	char token[JOIN_TOKEN_MAX];

	(void)state;
	join_token_of(ADMIN, token);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		_cleanup_free_ char *identity = xasprintf("%032zu", i);

		connect_to(first, &peers[i]);
		send_to(&peers[i], token, identity, "/v2/watch", body);
		check(raw_http_expect(&peers[i], "\"complete\""), "%zu: %s", i,
		      strbuf_text(&peers[i].got));
	}
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		raw_http_close(&peers[i]);
}

static void test_idle_connections(void **state)
{
	static struct raw_http peers[PENDING_MAX + 100];
	struct kv_answer answer;
	size_t ended = 0;

	(void)state;
	wait_read(alice); // has a connection
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		connect_to(first, &peers[i]);
		loop_turn(loop, 0); // or they wait in the queue of the kernel, which is not that long
	}
	for (size_t i = PENDING_MAX; i < ARRAY_SIZE(peers); i++)
		ended += raw_http_expect_end(&peers[i]);
	assert_int_equal(ended, ARRAY_SIZE(peers) - PENDING_MAX);
	do_range(alice, "/weft/", true, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
	raw_http_close(&peers[0]);
	// There is a place again, from this address too.
	turn_until(loop, ({
			   do_range(bob, "/weft/", true, &answer);
			   kv_answer_free(&answer);
			   answer.r == 0;
		   }));
	for (size_t i = 1; i < ARRAY_SIZE(peers); i++)
		raw_http_close(&peers[i]);
}

// Not by their number alone, by what they take: 16,384 large values would be a gigabyte.
static void test_history_of_large_values(void **state)
{
	_cleanup_free_ char *value = xmalloc(KV_VALUE_MAX + 1);
	struct raw_http peer;
	char token[JOIN_TOKEN_MAX];

	(void)state;
	memset(value, 'x', KV_VALUE_MAX);
	value[KV_VALUE_MAX] = '\0';
	join_token_of(ADMIN, token);
	for (int i = 0; i < 300; i++)
		must_put(direct, "/weft/large", value);
	connect_to(first, &peer);
	send_to(&peer, token, ALICE, "/v2/watch",
		"{\"prefixes\":[{\"prefix\":\"/weft/none\"}],\"from\":5}");
	check(raw_http_expect(&peer, "not kept any more"), "%s", strbuf_text(&peer.got));
	raw_http_close(&peer);
	connect_to(first, &peer);
	send_to(&peer, token, ALICE, "/v2/watch",
		"{\"prefixes\":[{\"prefix\":\"/weft/none\"}],\"from\":200}");
	check(raw_http_expect(&peer, "\"complete\""), "%s", strbuf_text(&peer.got));
	raw_http_close(&peer);
}

int main(void)
{
	struct rlimit files;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_many_identities),
		cmocka_unit_test_setup_teardown(test_put_off, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_watches, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_many_agents, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_idle_connections, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_history_of_large_values, world_setup,
						world_teardown),
	};

	// Both ends of each connection are ours.
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
