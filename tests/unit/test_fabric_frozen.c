// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of what hosts do in a frozen network, and of reserved subnets.
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

// ---- reservations ----

struct told {
	bool done;
	int r;
	struct err err;
};

static void on_reserved(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct told *told = arg;

	(void)lease;
	told->done = true;
	told->r = r;
	if (e)
		told->err = *e;
}

static void reserve(struct host *by, const char *key, unsigned int number)
{
	struct subnet subnet = subnet_of(key);
	struct lease_attrs attrs = attrs_of(number);
	struct told told = { 0 };

	registry_reserve(by->registry, &subnet, &attrs, on_reserved, &told);
	lease_attrs_free(&attrs);
	wait_until(told.done);
	check(told.r == 0, "%s: %s", key, told.err.msg);
}

static void unreserve(struct host *by, const char *key)
{
	struct subnet subnet = subnet_of(key);
	struct told told = { 0 };

	registry_unreserve(by->registry, &subnet, on_reserved, &told);
	wait_until(told.done);
	check(told.r == 0, "%s: %s", key, told.err.msg);
}

static bool holds(const struct host *host, const char *key)
{
	struct subnet subnet = subnet_of(key);

	return is_held(host) && subnet_equal(&fabric_lease(host->fabric)->subnet, &subnet);
}

// Four subnets for four hosts; one is reserved, and its host comes last.
static void test_a_reserved_subnet_waits_for_its_host(void **state)
{
	struct host *hosts[4];

	(void)state;
	put("config",
	    "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.4.0\",\"SubnetMax\":\"10.1.7.0\",\"Backend\":{\"Type\":\"vxlan\"}}");
	hosts[0] = host_new(1, NULL);
	reserve(hosts[0], "10.1.6.0-24", 4);
	for (unsigned int i = 0; i < 3; i++) {
		if (i > 0)
			hosts[i] = host_new(i + 1, NULL);
		fabric_start(hosts[i]->fabric);
	}
	wait_until(is_held(hosts[0]) && is_held(hosts[1]) && is_held(hosts[2]));
	for (unsigned int i = 0; i < 3; i++)
		assert_false(holds(hosts[i], "10.1.6.0-24"));
	hosts[3] = host_start(4, NULL);
	wait_until(holds(hosts[3], "10.1.6.0-24"));
	assert_int_equal(fabric_lease(hosts[3]->fabric)->session, 0);
	wait_until(peer_is_good(hosts[0], "10.1.6.0-24"));
	for (unsigned int i = 0; i < 4; i++)
		host_free(hosts[i]);
}

static void test_a_held_lease_becomes_a_reservation(void **state)
{
	struct host *a, *b;
	char key[256];
	const char *name;

	(void)state;
	put("config", CONFIG);
	a = host_start(1, NULL);
	b = host_start(2, NULL);
	wait_until(is_held(a) && is_held(b));
	key_of(a, key);
	name = key + strlen(PREFIX "/subnets/");
	wait_until(peer_is_good(b, name));
	reserve(b, name, 1);
	wait_until(fabric_lease(a->fabric)->session == 0);
	assert_true(holds(a, name));
	assert_int_equal(fabric_lease_expires_in_s(a->fabric), -1);
	assert_int_equal(memory_session_count(first_kv), 1);
	// It is found again after a restart.
	host_free(a);
	a = host_start(1, NULL);
	wait_until(holds(a, name));
	assert_int_equal(fabric_lease(a->fabric)->session, 0);
	unreserve(b, name);
	wait_until(fabric_lease(a->fabric)->session != 0 && fabric_lease_expires_in_s(a->fabric) > 0);
	assert_true(holds(a, name));
	assert_int_equal(a->config_errors + b->removed, 0);
	host_free(a);
	host_free(b);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, hosts_setup, hosts_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_a_lease_is_kept_and_not_made_anew),
		TEST(test_nobody_joins),
		TEST(test_the_mark_comes_first),
		TEST(test_other_ends_of_a_config),
		TEST(test_a_reserved_subnet_waits_for_its_host),
		TEST(test_a_held_lease_becomes_a_reservation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
