// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of reserving a subnet and giving it free, over the store in memory.
#include "unit.h"

#include "core/mem.h"
#include "registry_world.h"

#include <errno.h>
#include <string.h>

#define PREFIX "/net"
#define SUBNETS PREFIX "/subnets/"
#define KEY SUBNETS "10.1.2.0-24"
#define VALUE(ip) "{\"PublicIP\":\"" ip "\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\"}"
#define CONFIG "{\"Network\":\"10.1.0.0/16\"}"

static unsigned int txn_max;

static void put(const char *key, const char *value, int64_t session)
{
	memory_put(kv, key, value, strlen(value), session);
}

static int setup(void **state)
{
	(void)state;
	registry_world_open(PREFIX, txn_max);
	put(PREFIX "/config", CONFIG, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	registry_world_close();
	return 0;
}

struct told {
	bool done;
	int r;
	struct err err;
	int64_t session;
	struct ip ip;
};

static void on_lease(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct told *told = arg;

	assert_false(told->done);
	told->done = true;
	told->r = r;
	if (e)
		told->err = *e;
	assert_int_equal(lease != NULL, r == 0);
	if (lease) {
		told->session = lease->session;
		told->ip = lease->attrs.public_ip;
	}
}

static struct subnet subnet_of(const char *key)
{
	struct subnet subnet;

	assert_int_equal(subnet_parse_key(key, strlen(key), &subnet, NULL), 0);
	return subnet;
}

static void start_reserve(const char *key, const char *ip, struct told *ret)
{
	struct subnet subnet = subnet_of(key);
	struct lease_attrs host = { 0 };

	assert_int_equal(ip_parse(ip, strchr(ip, ':') ? &host.public_ipv6 : &host.public_ip), 0);
	*ret = (struct told){ 0 };
	registry_reserve(registry, &subnet, &host, on_lease, ret);
}

static struct told reserve(const char *key, const char *ip)
{
	struct told told;

	start_reserve(key, ip, &told);
	turn_until(loop, told.done);
	return told;
}

static struct told unreserve(const char *key)
{
	struct subnet subnet = subnet_of(key);
	struct told told = { 0 };

	registry_unreserve(registry, &subnet, on_lease, &told);
	turn_until(loop, told.done);
	return told;
}

static int64_t session_at(const char *key)
{
	struct kv_pair pair;

	check(memory_get(kv, key, &pair), "%s: not there", key);
	return pair.session;
}

static int64_t open_session(void)
{
	struct kv_answer answer;
	int64_t session;

	do_session_open(kv, 1000, &answer);
	session = answer.session;
	kv_answer_free(&answer);
	return session;
}

static void test_free_subnet(void **state)
{
	struct told told = reserve("10.1.2.0-24", "192.0.2.1");
	struct kv_pair pair;

	(void)state;
	check(told.r == 0, "%s", told.err.msg);
	assert_true(memory_get(kv, KEY, &pair));
	assert_int_equal(pair.session, 0);
	assert_int_equal(pair.value_len, strlen("{\"PublicIP\":\"192.0.2.1\",\"PublicIPv6\":null}"));
	// Again: it is there, and is not written anew.
	assert_int_equal(reserve("10.1.2.0-24", "192.0.2.1").r, 0);
	assert_int_equal(memory_revision(kv), pair.mod_revision);
}

static void test_own_lease(void **state)
{
	int64_t session = open_session();
	struct kv_pair pair;
	struct told told;

	(void)state;
	put(KEY, VALUE("192.0.2.1"), session);
	told = reserve("10.1.2.0-24", "192.0.2.1");
	check(told.r == 0, "%s", told.err.msg);
	assert_int_equal(told.session, 0);
	assert_int_equal(session_at(KEY), 0);
	assert_true(memory_get(kv, KEY, &pair));
	assert_memory_equal(pair.value, VALUE("192.0.2.1"), pair.value_len);
	// Nothing is left behind, and the key does not go with the session.
	assert_int_equal(memory_session_count(kv), 0);
}

// The agent writes its lease anew at the same moment: the newer one is what becomes a reservation.
static void test_own_lease_in_motion(void **state)
{
	int64_t session = open_session();
	struct told told;
	struct kv_pair pair;

	(void)state;
	put(KEY, VALUE("192.0.2.1"), session);
	start_reserve("10.1.2.0-24", "192.0.2.1", &told);
	for (int i = 0; i < 3 && !told.done; i++) {
		loop_turn(loop, 10);
		put(KEY, VALUE("192.0.2.1") " ", session_at(KEY));
	}
	turn_until(loop, told.done);
	check(told.r == 0, "%s", told.err.msg);
	assert_int_equal(session_at(KEY), 0);
	assert_true(memory_get(kv, KEY, &pair));
}

static void test_refusals(void **state)
{
	static const struct {
		const char *subnet, *ip;
		int r;
		const char *told;
	} cases[] = {
		{ "10.1.7.0-24", "192.0.2.1", -EADDRINUSE, "192.0.2.7" },   // another's
		{ "10.1.9.0-24", "192.0.2.1", -EADDRINUSE, "10.1.8.0/23" }, // overlaps another's
		{ "10.1.3.0-24", "192.0.2.7", -EADDRINUSE, "10.1.7.0/24" }, // has another
		{ "10.1.5.0-24", "192.0.2.1", -EADDRINUSE, "10.1.5.0-24" }, // junk is there
		{ "10.1.2.0-25", "192.0.2.1", -EINVAL, "/24" },
		{ "10.2.2.0-24", "192.0.2.1", -EINVAL, "10.1.255.0" },
		{ "10.1.0.0-24", "192.0.2.1", -EINVAL, "10.1.1.0" }, // below SubnetMin
		{ "10.1.2.0-24&fd00::-64", "192.0.2.1", -EINVAL, "no IPv6" },
		{ "10.1.2.0-24", "127.0.0.1", -EINVAL, "127.0.0.1" },
		{ "10.1.2.0-24", "2001:db8::1", -EINVAL, "IPv4 public address" },
	};

	(void)state;
	put(SUBNETS "10.1.7.0-24", VALUE("192.0.2.7"), open_session());
	put(SUBNETS "10.1.8.0-23", VALUE("192.0.2.8"), 0);
	put(SUBNETS "10.1.5.0-24", "junk", 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t before = memory_revision(kv);
		struct told told = reserve(cases[i].subnet, cases[i].ip);

		check(told.r == cases[i].r, "case %zu: %d, %s", i, told.r, told.err.msg);
		check(strstr(told.err.msg, cases[i].told) != NULL, "case %zu: %s", i, told.err.msg);
		check(memory_revision(kv) == before, "case %zu: something was written", i);
	}
	memory_delete(kv, PREFIX "/config");
	assert_int_equal(reserve("10.1.2.0-24", "192.0.2.1").r, -ENOENT);
}

static void test_frozen(void **state)
{
	struct told told;

	(void)state;
	put(PREFIX "/config",
	    "{\"Network\":\"frozen\",\"Frozen\":{\"Id\":\"1\",\"State\":\"moved\",\"Store\":\"there\",\"Config\":\"\"}}",
	    0);
	told = reserve("10.1.2.0-24", "192.0.2.1");
	assert_int_equal(told.r, -EBUSY);
	assert_non_null(strstr(told.err.msg, "moved to there"));
}

// Another key claims the same range at some moment of ours: who was first keeps it, and nobody else does.
static void test_overlap_in_between(void **state)
{
	unsigned int undone = 0, kept = 0;

	(void)state;
	for (int turns = 0; turns < 12; turns++) {
		int64_t before = memory_revision(kv);
		struct kv_pair pair;
		struct told told;
		bool is_first;

		start_reserve("10.1.2.0-24", "192.0.2.1", &told);
		for (int i = 0; i < turns && !told.done; i++)
			loop_turn(loop, 10);
		is_first = memory_get(kv, KEY, &pair);
		put(SUBNETS "10.1.2.0-25", VALUE("192.0.2.9"), 0);
		turn_until(loop, told.done);
		check(told.r == (is_first ? 0 : -EADDRINUSE), "after %d turns: %d", turns, told.r);
		check(memory_get(kv, KEY, &pair) == is_first, "after %d turns", turns);
		if (!is_first)
			assert_non_null(strstr(told.err.msg, "192.0.2.9"));
		undone += !is_first && memory_revision(kv) == before + 3;
		kept += is_first;
		memory_delete(kv, KEY);
		memory_delete(kv, SUBNETS "10.1.2.0-25");
	}
	assert_true(undone > 0 && kept > 0);
}

static void test_unreserve(void **state)
{
	struct told told;

	(void)state;
	assert_int_equal(unreserve("10.1.2.0-24").r, -ENOENT);
	assert_int_equal(reserve("10.1.2.0-24", "192.0.2.1").r, 0);
	told = unreserve("10.1.2.0-24");
	check(told.r == 0, "%s", told.err.msg);
	assert_int_not_equal(told.session, 0);
	assert_int_equal(session_at(KEY), told.session);
	assert_int_equal(unreserve("10.1.2.0-24").r, -EALREADY);
	assert_int_equal(memory_session_count(kv), 1);
	// Nobody renews it: it goes.
	assert_true(memory_expire_session(kv, told.session));
	assert_int_equal(memory_key_count(kv), 1);
}

static void test_unreserve_answer_lost(void **state)
{
	struct told told;

	(void)state;
	assert_int_equal(reserve("10.1.2.0-24", "192.0.2.1").r, 0);
	memory_lose_answers(kv, 1);
	told = unreserve("10.1.2.0-24");
	check(told.r == 0, "%s", told.err.msg);
	assert_int_equal(memory_session_count(kv), 1);
}

static void test_freed_with_calls(void **state)
{
	struct told told;

	(void)state;
	start_reserve("10.1.2.0-24", "192.0.2.1", &told);
	loop_turn(loop, 10);
	registry = registry_free(registry);
	for (int i = 0; i < 5; i++)
		loop_turn(loop, 10);
	assert_false(told.done);
}

#define RESERVATION_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		RESERVATION_TEST(test_free_subnet),
		RESERVATION_TEST(test_own_lease),
		RESERVATION_TEST(test_own_lease_in_motion),
		RESERVATION_TEST(test_refusals),
		RESERVATION_TEST(test_frozen),
		RESERVATION_TEST(test_overlap_in_between),
		RESERVATION_TEST(test_unreserve),
		RESERVATION_TEST(test_unreserve_answer_lost),
		RESERVATION_TEST(test_freed_with_calls),
	};
	int failed;

	txn_max = KV_TXN_MAX;
	failed = cmocka_run_group_tests_name("many keys at once", tests, NULL, NULL);
	txn_max = 1;
	return failed + cmocka_run_group_tests_name("one key at a time", tests, NULL, NULL);
}
