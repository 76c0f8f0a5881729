// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of fabric/ on a real etcd: what a store in memory cannot show.
#include "fabric_hosts.h"

#include "core/log.h"
#include "etcd_process.h"
#include "loop_end.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define EXIT_SKIPPED 77 // as meson understands it
#define HOSTS 20
#define TWENTY \
	"{\"Network\":\"10.1.0.0/16\",\"SubnetLen\":24,\"SubnetMin\":\"10.1.1.0\",\"SubnetMax\":\"10.1.20.0\",\"Backend\":{\"Type\":\"vxlan\"}}"

// A disk that is slow to sync holds etcd up.
#define wait_long(condition)                                                              \
	do {                                                                              \
		uint64_t end_ms = loop_now_ms() + 30000;                                  \
		while (!(condition) && loop_now_ms() < end_ms)                            \
			loop_turn(loop, 20);                                              \
		check((condition), "line %d: not within 30 s: %s", __LINE__, #condition); \
	} while (0)

static struct etcd_cluster *cluster;
static struct host *hosts[HOSTS];

static void start_hosts(unsigned int count)
{
	const struct store_config config = {
		.kind = "etcd3",
		.endpoints = etcd_cluster_urls(cluster),
		.request_timeout_ms = 2000,
		.dead_man_ms = 3000,
	};
	static const struct fabric_config standard = { .peer_hold_ms = HOLD_MS, .retry_max_ms = 300 };

	for (unsigned int i = 0; i < count; i++) {
		struct err e;
		struct kv *kv;

		check(kv_open(loop, &config, &kv, &e) == 0, "%s", e.msg);
		hosts[i] = host_of(kv, i + 1, &standard);
		fabric_start(hosts[i]->fabric);
	}
}

static bool all_hold(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (state_of(hosts[i]) != FABRIC_LEASE_HELD ||
		    lease_set_count(fabric_peers(hosts[i]->fabric)) != count - 1)
			return false;
	return true;
}

static int setup(void **state)
{
	(void)state;
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	loop = loop_new();
	cluster = etcd_cluster_start(1, "http", NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < HOSTS; i++) {
		if (hosts[i])
			host_free(hosts[i]);
		hosts[i] = NULL;
	}
	cluster = etcd_cluster_free(cluster);
	loop = loop_end(loop);
	return 0;
}

static void test_twenty_hosts_for_twenty_subnets(void **state)
{
	(void)state;
	etcd_ctl(cluster, "put", PREFIX "/config", TWENTY, NULL);
	start_hosts(HOSTS);
	wait_long(all_hold(HOSTS));
	for (unsigned int i = 0; i < HOSTS; i++)
		for (unsigned int j = 0; j < i; j++)
			assert_false(subnet_overlaps(&fabric_lease(hosts[i]->fabric)->subnet,
						     &fabric_lease(hosts[j]->fabric)->subnet));
}

// With the same name and address it is the same cluster to etcd, only younger, or, after some writes, not even that.
static void restart_empty_and_overtake(void)
{
	etcd_member_end(cluster, 0, SIGKILL);
	for (unsigned int i = 0; i < HOSTS && hosts[i]; i++)
		wait_long(!hosts[i]->store_up);
	etcd_member_wipe(cluster, 0);
	etcd_member_begin(cluster, 0);
	etcd_member_await(cluster, 0);
	for (unsigned int i = 0; i < 30; i++)
		etcd_ctl(cluster, "put", "/elsewhere", "x", NULL);
}

static void test_store_restarted_empty(void **state)
{
	struct subnet subnets[3];

	(void)state;
	etcd_ctl(cluster, "put", PREFIX "/config", CONFIG, NULL);
	start_hosts(3);
	wait_long(all_hold(3));
	for (unsigned int i = 0; i < 3; i++)
		subnets[i] = fabric_lease(hosts[i]->fabric)->subnet;
	restart_empty_and_overtake();
	wait_long(all_hold(3) && hosts[0]->store_up && hosts[1]->store_up && hosts[2]->store_up &&
		  fabric_lease(hosts[0]->fabric)->mod_revision > 1 && hosts[0]->leases > 1 &&
		  hosts[1]->leases > 1 && hosts[2]->leases > 1);
	for (unsigned int i = 0; i < 3; i++) {
		assert_true(subnet_equal(&subnets[i], &fabric_lease(hosts[i]->fabric)->subnet));
		assert_int_equal(hosts[i]->removed, 0);
	}
}

// A host on a reservation has no session whose end would tell it.
static void test_store_restarted_empty_under_a_reservation(void **state)
{
	char key[256], value[512];

	(void)state;
	etcd_ctl(cluster, "put", PREFIX "/config", CONFIG, NULL);
	start_hosts(2);
	wait_long(all_hold(2));
	key_of(hosts[1], key);
	snprintf(value, sizeof(value),
		 "{\"PublicIP\":\"192.168.0.2\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\",\"BackendData\":%s}",
		 hosts[1]->attrs.backend_data);
	etcd_ctl(cluster, "put", key, value, NULL);
	wait_long(fabric_lease(hosts[1]->fabric)->session == 0);
	assert_int_equal(state_of(hosts[1]), FABRIC_LEASE_HELD);
	restart_empty_and_overtake();
	wait_long(fabric_lease(hosts[1]->fabric)->session != 0 && all_hold(2));
	assert_int_equal(hosts[0]->removed + hosts[1]->removed, 0);
}

static void test_key_deleted_by_hand(void **state)
{
	char key[256];

	(void)state;
	etcd_ctl(cluster, "put", PREFIX "/config", CONFIG, NULL);
	start_hosts(2);
	wait_long(all_hold(2));
	key_of(hosts[0], key);
	etcd_ctl(cluster, "del", key, NULL);
	wait_long(hosts[0]->leases >= 3 && all_hold(2)); // held, lost, held
	assert_int_equal(hosts[1]->removed + hosts[1]->changed, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_twenty_hosts_for_twenty_subnets),
		TEST(test_store_restarted_empty),
		TEST(test_store_restarted_empty_under_a_reservation),
		TEST(test_key_deleted_by_hand),
	};

	return etcd_can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_SKIPPED;
}
