// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of what hosts do in a frozen network.
#include "fabric_hosts.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define FROZEN                                                                                          \
	"{\"Network\":\"frozen by weft: moved to there\",\"Frozen\":{\"Id\":\"1\",\"State\":\"moved\"," \
	"\"Store\":\"there\",\"Config\":\"{}\"}}"

// The keys below subnets/, all of them leases.
static size_t lease_count(void)
{
	return memory_key_count(first_kv) - 1;
}

static bool is_held(const struct host *host)
{
	return state_of(host) == FABRIC_LEASE_HELD;
}

static void test_a_lease_is_kept_and_not_made_anew(void **state)
{
	struct host *a, *b;
	char key[256];

	(void)state;
	put("config", CONFIG);
	a = host_start(1, NULL);
	b = host_start(2, NULL);
	wait_until(is_held(a) && is_held(b));
	put("config", FROZEN);
	wait_until(a->config_errors == 1 && b->config_errors == 1);
	assert_int_equal(a->config_error.code, -EBUSY);
	assert_non_null(strstr(a->config_error.msg, "moved to there"));
	run_for(100);
	assert_true(is_held(a) && is_held(b));
	// What it says of itself may change: the key is there.
	free(a->attrs.backend_data);
	a->attrs.backend_data = xstrdup("{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:00:77\"}");
	host_join(a);
	key_of(a, key);
	{
		char value[512] = "";

		wait_until(value_at(key + strlen(PREFIX) + 1, value) && strstr(value, ":77"));
	}
	assert_true(is_held(a));
	// Once it is gone it is not made anew, however long it is tried.
	assert_true(memory_delete(first_kv, key));
	wait_until(state_of(a) == FABRIC_LEASE_LOST && strstr(why_of(a), "moved to there"));
	run_for(700);
	assert_int_equal(lease_count(), 1);
	assert_non_null(fabric_lease(a->fabric)); // traffic goes on
	put("config", CONFIG);
	wait_until(is_held(a));
	assert_int_equal(lease_count(), 2);
	host_free(a);
	host_free(b);
}

static void test_nobody_joins(void **state)
{
	struct host *a;

	(void)state;
	put("config", FROZEN);
	a = host_start(1, NULL);
	wait_until(a->config_errors == 1);
	run_for(300);
	assert_int_equal(lease_count(), 0);
	put("config", CONFIG);
	wait_until(is_held(a));
	host_free(a);
}

// It has the config, looks for a subnet, and its request arrives behind the mark.
static void test_the_mark_comes_first(void **state)
{
	struct host *a;

	(void)state;
	put("config", CONFIG);
	a = host_new(1, NULL);
	a->config_after_hook = FROZEN;
	fabric_start(a->fabric);
	wait_until(strstr(why_of(a), "moved to there"));
	run_for(700);
	assert_int_equal(lease_count(), 0);
	assert_int_equal(memory_session_count(first_kv), 0);
	put("config", CONFIG);
	wait_until(is_held(a));
	host_free(a);
}

// As before: a network without a config any more, or with a bad one, gives a lost lease back.
static void test_other_ends_of_a_config(void **state)
{
	static const char *const configs[] = { NULL, "junk" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
		struct host *a;
		char key[256];

		put("config", CONFIG);
		a = host_start(1, NULL);
		wait_until(is_held(a));
		if (configs[i])
			put("config", configs[i]);
		else
			memory_delete(first_kv, PREFIX "/config");
		wait_until(a->config_errors == 1);
		key_of(a, key);
		assert_true(memory_delete(first_kv, key));
		wait_until(state_of(a) == FABRIC_LEASE_LOST);
		wait_until(is_held(a));
		assert_true(memory_delete(first_kv, key));
		host_free(a);
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, hosts_setup, hosts_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_a_lease_is_kept_and_not_made_anew),
		TEST(test_nobody_joins),
		TEST(test_the_mark_comes_first),
		TEST(test_other_ends_of_a_config),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
