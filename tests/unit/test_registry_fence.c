// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of leases that are created only while the config is the one their creator knows.
#include "unit.h"

#include "core/mem.h"
#include "registry_world.h"

#include <errno.h>
#include <string.h>

#define PREFIX "/net"
#define KEY PREFIX "/subnets/10.1.2.0-24"
#define CONFIG_KEY PREFIX "/config"

static unsigned int txn_max;

static int setup(void **state)
{
	(void)state;
	registry_world_open(PREFIX, txn_max);
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
};

static void on_lease(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct told *told = arg;

	(void)lease;
	assert_false(told->done);
	told->done = true;
	told->r = r;
	if (e)
		told->err = *e;
}

static void start_create(int64_t ttl_s, int64_t config_revision, struct told *ret)
{
	const struct registry_create_terms terms = { ttl_s, config_revision };
	struct lease_attrs attrs = { .public_ip = ip_v4(0xc0000201) };
	struct subnet subnet;

	*ret = (struct told){ 0 };
	assert_int_equal(subnet_parse_key("10.1.2.0-24", 11, &subnet, NULL), 0);
	registry_lease_create(registry, &subnet, &attrs, &terms, on_lease, ret);
}

static int create(int64_t ttl_s, int64_t config_revision)
{
	struct told told;

	start_create(ttl_s, config_revision, &told);
	turn_until(loop, told.done);
	return told.r;
}

static int64_t put_config(const char *text)
{
	memory_put(kv, CONFIG_KEY, text, strlen(text), 0);
	return memory_revision(kv);
}

static void test_as_known(void **state)
{
	int64_t revision = put_config("{}");

	(void)state;
	assert_int_equal(create(0, revision), 0);
	assert_true(is_stored(KEY));
	assert_int_equal(create(0, revision), -EEXIST);
	assert_true(memory_delete(kv, KEY));
	memory_lose_answers(kv, 1);
	assert_int_equal(create(0, revision), 0);
	assert_true(is_stored(KEY));
}

static void test_changed(void **state)
{
	int64_t revision = put_config("{}");

	(void)state;
	for (int64_t ttl_s = -1; ttl_s <= 0; ttl_s++) {
		assert_int_equal(create(ttl_s, revision - 1), -EBUSY);
		assert_int_equal(create(ttl_s, 0), -EBUSY);
		assert_false(is_stored(KEY));
	}
	put_config("{}");
	assert_int_equal(create(0, revision), -EBUSY);
	memory_delete(kv, CONFIG_KEY);
	assert_int_equal(create(0, revision), -EBUSY);
	turn_until(loop, memory_session_count(kv) == 0);
	assert_int_equal(memory_key_count(kv), 0);
	assert_int_equal(create(0, 0), 0);
}

// The store compares one key: what was created meanwhile is taken back, however long the store is away.
static void test_changed_behind_the_create(void **state)
{
	int64_t revision = put_config("{}");
	struct told told;

	(void)state;
	for (int64_t ttl_s = -1; ttl_s <= 0; ttl_s++) {
		start_create(ttl_s, revision, &told);
		while (!is_stored(KEY))
			loop_turn(loop, 10);
		revision = put_config("{}");
		memory_set_reachable(kv, false);
		for (uint64_t end = loop_now_ms() + 300; loop_now_ms() < end;)
			loop_turn(loop, 10);
		if (txn_max == 1)
			assert_false(told.done);
		memory_set_reachable(kv, true);
		turn_until(loop, told.done);
		// With two compares at once it came first, and counts.
		assert_int_equal(told.r, txn_max == 1 ? -EBUSY : 0);
		assert_int_equal(is_stored(KEY), txn_max != 1);
		memory_delete(kv, KEY);
	}
}

// The store refuses to take it back for a while: nobody is told anything until it has.
static void test_the_undoing_fails(void **state)
{
	int64_t revision = put_config("{}");
	struct told told;

	(void)state;
	memory_set_txn_max(kv, 1);
	start_create(0, revision, &told);
	while (!is_stored(KEY))
		loop_turn(loop, 10);
	put_config("{}");
	memory_refuse_key(kv, KEY);
	for (uint64_t end = loop_now_ms() + 300; loop_now_ms() < end;)
		loop_turn(loop, 10);
	assert_false(told.done);
	memory_refuse_key(kv, NULL);
	turn_until(loop, told.done);
	assert_int_equal(told.r, -EBUSY);
	assert_false(is_stored(KEY));
}

#define FENCE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		FENCE_TEST(test_as_known),
		FENCE_TEST(test_changed),
		FENCE_TEST(test_changed_behind_the_create),
		FENCE_TEST(test_the_undoing_fails),
	};
	int failed;

	txn_max = KV_TXN_MAX;
	failed = cmocka_run_group_tests_name("two compares at once", tests, NULL, NULL);
	txn_max = 1;
	return failed + cmocka_run_group_tests_name("one key at a time", tests, NULL, NULL);
}
