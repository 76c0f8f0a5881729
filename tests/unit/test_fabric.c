// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of fabric/ over the store in memory: several hosts of one network in one loop.
#include "fabric_hosts.h"

#include "core/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

// ---- the own lease ----

static void test_first_lease(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	char key[256];
	struct kv_pair pair;
	key_of(a, key);
	assert_true(memory_get(first_kv, key, &pair));
	char value[256];
	snprintf(value, sizeof(value), "%.*s", (int)pair.value_len, (const char *)pair.value);
	assert_string_equal(
		value,
		"{\"PublicIP\":\"192.168.0.1\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\",\"BackendData\":{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:00:01\"}}");
	assert_int_not_equal(pair.session, 0);
	assert_int_equal(memory_session_count(first_kv), 1);
	assert_true(a->store_up);
	assert_int_equal(a->resets, 1);
	assert_true(fabric_lease_expires_in_s(a->fabric) > 86000);
	host_free(a);
}

static void test_config_comes_late_and_may_be_wrong(void **state)
{
	(void)state;
	struct host *a = host_start(1, NULL);
	wait_until(a->config_errors == 1);
	assert_non_null(strstr(a->config_error.msg, PREFIX "/config"));
	put("config", "{\"Network\":\"10.1.0.0/33\"}");
	wait_until(a->config_errors == 2);
	assert_non_null(strstr(a->config_error.msg, "Network"));
	assert_int_equal(a->configs, 0);
	put("config", CONFIG);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	assert_int_equal(a->configs, 1);
	host_free(a);
}

static void test_same_subnet_after_restart(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	struct subnet subnet = fabric_lease(a->fabric)->subnet;
	int64_t session = fabric_lease(a->fabric)->session;
	host_free(a);
	int64_t revision = memory_revision(first_kv);
	a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	assert_true(subnet_equal(&subnet, &fabric_lease(a->fabric)->subnet));
	assert_int_equal(session, fabric_lease(a->fabric)->session);
	run_for(50);
	assert_int_equal(memory_revision(first_kv), revision); // nothing was written
	host_free(a);
}

static void test_previous_subnet(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct subnet previous;
	assert_int_equal(subnet_parse_key("10.1.77.0-24", 12, &previous, NULL), 0);
	struct fabric_config config = { .previous = &previous,
					.peer_hold_ms = HOLD_MS,
					.retry_max_ms = 300 };
	struct host *a = host_start(1, &config);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	assert_true(subnet_equal(&previous, &fabric_lease(a->fabric)->subnet));
	host_free(a);
	// Outside the network it is of another life.
	assert_int_equal(subnet_parse_key("10.9.77.0-24", 12, &previous, NULL), 0);
	struct host *b = host_start(2, &config);
	wait_until(state_of(b) == FABRIC_LEASE_HELD);
	assert_false(subnet_equal(&previous, &fabric_lease(b->fabric)->subnet));
	host_free(b);
}

static void test_previous_subnet_of_another(void **state)
{
	(void)state;
	put("config", CONFIG);
	put_peer("10.1.77.0-24", "192.168.9.9", "02:99:00:00:00:01");
	struct subnet previous;
	assert_int_equal(subnet_parse_key("10.1.77.0-24", 12, &previous, NULL), 0);
	struct fabric_config config = { .previous = &previous,
					.peer_hold_ms = HOLD_MS,
					.retry_max_ms = 100 };
	struct host *a = host_start(1, &config);
	wait_until(state_of(a) == FABRIC_LEASE_FOREIGN);
	assert_non_null(strstr(why_of(a), "192.168.9.9"));
	config.allow_subnet_change = true;
	struct host *b = host_start(2, &config);
	wait_until(state_of(b) == FABRIC_LEASE_HELD);
	memory_delete(first_kv, PREFIX "/subnets/10.1.77.0-24");
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	assert_true(subnet_equal(&previous, &fabric_lease(a->fabric)->subnet));
	host_free(a);
	host_free(b);
}

static void test_twenty_hosts_for_twenty_subnets(void **state)
{
	struct host *hosts[20];
	(void)state;
	put("config",
	    "{\"Network\":\"10.1.0.0/16\",\"SubnetLen\":24,\"SubnetMin\":\"10.1.1.0\",\"SubnetMax\":\"10.1.20.0\",\"Backend\":{\"Type\":\"vxlan\"}}");
	for (unsigned int i = 0; i < ARRAY_SIZE(hosts); i++)
		hosts[i] = host_start(i + 1, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		wait_until(state_of(hosts[i]) == FABRIC_LEASE_HELD);
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		for (size_t j = 0; j < i; j++)
			assert_false(subnet_overlaps(&fabric_lease(hosts[i]->fabric)->subnet,
						     &fabric_lease(hosts[j]->fabric)->subnet));
	assert_int_equal(memory_session_count(first_kv), 20);
	struct host *late = host_start(99, NULL);
	wait_until(strstr(why_of(late), "no subnet is free"));
	assert_int_equal(memory_session_count(first_kv), 20);
	char key[256];
	key_of(hosts[7], key);
	fabric_free(hosts[7]->fabric);
	hosts[7]->fabric = fabric_new(loop, hosts[7]->registry,
				      &(struct fabric_config){ .peer_hold_ms = 1 }, &host_hooks,
				      hosts[7]);
	memory_delete(first_kv, key);
	wait_until(state_of(late) == FABRIC_LEASE_HELD);
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		host_free(hosts[i]);
	host_free(late);
}

static void test_deleted_lease_is_regained(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	struct subnet subnet = fabric_lease(a->fabric)->subnet;
	char key[256];
	key_of(a, key);
	unsigned int told = a->leases;
	assert_true(memory_delete(first_kv, key));
	wait_until(a->leases >= told + 2 && state_of(a) == FABRIC_LEASE_HELD); // lost, then held
	assert_true(subnet_equal(&subnet, &fabric_lease(a->fabric)->subnet));
	struct kv_pair pair;
	assert_true(memory_get(first_kv, key, &pair));
	assert_true(memory_expire_session(first_kv, pair.session));
	told = a->leases;
	wait_until(a->leases >= told + 2 && state_of(a) == FABRIC_LEASE_HELD);
	assert_true(subnet_equal(&subnet, &fabric_lease(a->fabric)->subnet));
	host_free(a);
}

static void test_overwritten_lease_is_left_alone(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	char key[256];
	key_of(a, key);
	put_peer(key + strlen(PREFIX "/subnets/"), "192.168.9.9", "02:99:00:00:00:01");
	wait_until(state_of(a) == FABRIC_LEASE_FOREIGN);
	assert_non_null(strstr(why_of(a), "192.168.9.9"));
	int64_t revision = memory_revision(first_kv);
	run_for(700);
	assert_int_equal(memory_revision(first_kv), revision);
	memory_delete(first_kv, key);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	host_free(a);
}

static void test_junk_over_own_lease(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	char key[256];
	key_of(a, key);
	memory_put(first_kv, key, "junk", 4, 0);
	wait_until(state_of(a) == FABRIC_LEASE_FOREIGN);
	assert_non_null(strstr(why_of(a), "unreadable"));
	memory_delete(first_kv, key);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	host_free(a);
}

static void test_two_hosts_with_one_address(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	struct host *b = host_new(2, NULL);
	b->attrs.public_ip = a->attrs.public_ip;
	fabric_start(b->fabric);
	wait_until(state_of(b) == FABRIC_LEASE_FOREIGN);
	assert_null(fabric_lease(b->fabric));
	assert_non_null(strstr(why_of(b), "02:00:00:00:00:01"));
	int64_t revision = memory_revision(first_kv);
	uint64_t requests = kv_stats(b->kv)->requests;
	run_for(700);
	assert_int_equal(memory_revision(first_kv), revision);
	assert_true(kv_stats(b->kv)->requests <= requests + 1); // nor does it ask all the time
	assert_int_equal(state_of(a), FABRIC_LEASE_HELD);
	host_free(a);
	host_free(b);
}

// A flannel that ran on this host left its lease, with a MAC that is not ours: what subnet.env says decides.
static void test_predecessor_is_taken_over(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	struct subnet subnet = fabric_lease(a->fabric)->subnet;
	host_free(a);
	struct fabric_config config = { .previous = &subnet, .peer_hold_ms = HOLD_MS };
	struct host *b = host_new(2, &config);
	b->attrs.public_ip = ip_v4(0xc0a80001);
	fabric_start(b->fabric);
	wait_until(state_of(b) == FABRIC_LEASE_HELD);
	assert_true(subnet_equal(&subnet, &fabric_lease(b->fabric)->subnet));
	char key[256];
	struct kv_pair pair;
	key_of(b, key);
	assert_true(memory_get(first_kv, key, &pair));
	assert_non_null(memmem(pair.value, pair.value_len, "02:00:00:00:00:02", 17));
	assert_int_equal(memory_session_count(first_kv), 1);
	host_free(b);
}

static void test_reservation_stays_one(void **state)
{
	(void)state;
	put("config", CONFIG);
	put("subnets/10.1.50.0-24", "{\"PublicIP\":\"192.168.0.1\",\"x-note\":7}");
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	struct kv_pair pair;
	assert_true(memory_get(first_kv, PREFIX "/subnets/10.1.50.0-24", &pair));
	assert_int_equal(pair.session, 0);
	assert_non_null(memmem(pair.value, pair.value_len, "02:00:00:00:00:01", 17));
	assert_non_null(memmem(pair.value, pair.value_len, "x-note", 6));
	assert_int_equal(memory_session_count(first_kv), 0);
	assert_int_equal(fabric_lease_expires_in_s(a->fabric), -1);
	host_free(a);
}

static void test_changed_address_keeps_the_subnet(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL), *b = host_start(2, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD && state_of(b) == FABRIC_LEASE_HELD &&
		   lease_set_count(fabric_peers(b->fabric)) == 1);
	struct subnet subnet = fabric_lease(a->fabric)->subnet;
	a->attrs.public_ip = ip_v4(0xc0a800c8);
	unsigned int told = a->leases;
	host_join(a);
	wait_until(b->changed == 1);
	wait_until(a->leases == told + 1);
	const struct lease *seen = lease_set_find(fabric_peers(b->fabric), &subnet);
	assert_true(ip_equal(&seen->attrs.public_ip, &a->attrs.public_ip));
	assert_true(subnet_equal(&subnet, &fabric_lease(a->fabric)->subnet));
	host_free(a);
	host_free(b);
}

static void test_changed_config(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	struct subnet subnet = fabric_lease(a->fabric)->subnet;
	put("config", "{\"Network\":\"10.1.0.0/33\"}");
	wait_until(a->config_errors == 1);
	assert_int_equal(a->configs, 1);
	put("config", "{\"Network\":\"10.2.0.0/16\",\"Backend\":{\"Type\":\"vxlan\"}}");
	wait_until(state_of(a) == FABRIC_LEASE_UNFIT);
	assert_true(subnet_equal(&subnet, &fabric_lease(a->fabric)->subnet));
	put("config", CONFIG);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	host_free(a);
}

static void test_lost_answers(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_new(1, NULL);
	memory_lose_answers(a->kv, 1);
	fabric_start(a->fabric);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	assert_int_equal(memory_session_count(first_kv), 1);
	struct host *b = host_new(2, NULL);
	memory_lose_requests(b->kv, 1);
	fabric_start(b->fabric);
	wait_until(state_of(b) == FABRIC_LEASE_HELD);
	assert_int_equal(memory_session_count(first_kv), 2);
	host_free(a);
	host_free(b);
}

static void test_short_lease_is_renewed(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct fabric_config config = { .lease_ttl_s = 1, .peer_hold_ms = HOLD_MS };
	struct host *a = host_start(1, &config);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	unsigned int told = a->leases;
	run_for(2500);
	assert_int_equal(a->leases, told);
	assert_int_equal(state_of(a), FABRIC_LEASE_HELD);
	host_free(a);
}

// ---- peers ----

static void test_peers_are_held_against_the_rules(void **state)
{
	static const struct {
		const char *key, *value, *why;
	} cases[] = {
		{ "10.2.1.0-24", "{\"PublicIP\":\"192.168.9.1\"}", "not inside" },
		{ "10.1.0.0-16", "{\"PublicIP\":\"192.168.9.1\"}", "not inside" },
		{ "10.1.90.0-24", "{\"PublicIP\":\"0.0.0.0\"}", "cannot be sent" },
		{ "10.1.91.0-24", "{}", "cannot be sent" },
		{ "10.1.92.0-24", "{\"PublicIP\":\"127.0.0.1\"}", "cannot be sent" },
		{ "10.1.93.0-24", "{\"PublicIP\":null}", "PublicIP" },
		{ "10.1.94.0-24", "not json", "" },
		{ "10.1.95.0-24&fd00::-64", "{\"PublicIP\":\"192.168.9.1\"}", "IPv6" },
		{ "10.1.96.0-24", "{\"PublicIP\":\"192.168.0.1\"}", "our own" },
		{ "10.1.98.0-23", "{\"PublicIP\":\"192.168.9.3\"}", "overlaps" },
		{ "10.1.97.0-24", "{\"PublicIP\":\"192.168.9.2\"}", "public address of" },
		{ "what-is-this", "{}", "" },
	};
	(void)state;
	put("config", CONFIG);
	put_peer("10.1.98.0-24", "192.168.9.2", "02:99:00:00:00:01");
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char path[256];
		snprintf(path, sizeof(path), "subnets/%.200s", cases[i].key);
		put(path, cases[i].value);
	}
	wait_until(fabric_peer_count(a->fabric, FABRIC_PEER_REJECTED) == ARRAY_SIZE(cases));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct odd_search odd = find_odd(a, cases[i].key);
		check(odd.found && odd.state == FABRIC_PEER_REJECTED, "%s is not rejected",
		      cases[i].key);
		check(strstr(odd.why, cases[i].why), "%s: \"%s\" does not say \"%s\"", cases[i].key,
		      odd.why, cases[i].why);
	}
	assert_int_equal(lease_set_count(fabric_peers(a->fabric)), 1);
	assert_true(peer_is_good(a, "10.1.98.0-24"));
	assert_int_equal(a->removed, 0);
	// A snapshot says the same.
	struct host *b = host_start(3, NULL);
	wait_until(state_of(b) == FABRIC_LEASE_HELD);
	assert_true(peer_is_good(b, "10.1.98.0-24"));
	assert_true(find_odd(b, "10.1.97.0-24").found);
	// What was in the way goes: the others have their turn, after the hold of the first.
	memory_delete(first_kv, PREFIX "/subnets/10.1.98.0-24");
	wait_until(!peer_is_good(a, "10.1.98.0-24") && peer_is_good(a, "10.1.97.0-24") &&
		   peer_is_good(a, "10.1.98.0-23"));
	memory_delete(first_kv, PREFIX "/subnets/what-is-this");
	wait_until(!find_odd(a, "what-is-this").found);
	host_free(a);
	host_free(b);
}

static void test_events_of_a_peer(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	put_peer("10.1.98.0-24", "192.168.9.2", "02:99:00:00:00:01");
	wait_until(a->added == 1);
	put_peer("10.1.98.0-24", "192.168.9.2", "02:99:00:00:00:01");
	put_peer("10.1.99.0-24", "192.168.9.3", "02:99:00:00:00:02");
	wait_until(a->added == 2);
	assert_int_equal(a->changed, 0); // an equal value is no change
	put_peer("10.1.98.0-24", "192.168.9.2", "02:99:00:00:00:03");
	wait_until(a->changed == 1);
	put("subnets/10.1.98.0-24", "junk");
	wait_until(fabric_peer_count(a->fabric, FABRIC_PEER_REJECTED) == 1);
	assert_true(peer_is_good(a, "10.1.98.0-24")); // the last good value stays in force
	assert_int_equal(a->removed, 0);
	host_free(a);
}

static void test_hold(void **state)
{
	(void)state;
	put("config", CONFIG);
	put_peer("10.1.98.0-24", "192.168.9.2", "02:99:00:00:00:01");
	put_peer("10.1.99.0-24", "192.168.9.3", "02:99:00:00:00:02");
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	memory_delete(first_kv, PREFIX "/subnets/10.1.98.0-24");
	wait_until(fabric_peer_count(a->fabric, FABRIC_PEER_HELD) == 1);
	put_peer("10.1.98.0-24", "192.168.9.2", "02:99:00:00:00:01"); // it comes back in time
	wait_until(fabric_peer_count(a->fabric, FABRIC_PEER_HELD) == 0);
	assert_int_equal(a->added + a->changed + a->removed, 0);
	memory_delete(first_kv, PREFIX "/subnets/10.1.98.0-24");
	uint64_t start_ms = loop_now_ms();
	wait_until(a->removed == 1);
	assert_true(loop_now_ms() - start_ms >= HOLD_MS - 5);
	// Its address in another's hands ends the hold at once.
	memory_delete(first_kv, PREFIX "/subnets/10.1.99.0-24");
	put_peer("10.1.60.0-24", "192.168.9.3", "02:99:00:00:00:07");
	start_ms = loop_now_ms();
	wait_until(a->removed == 2 && peer_is_good(a, "10.1.60.0-24"));
	assert_true(loop_now_ms() - start_ms < HOLD_MS);
	host_free(a);
}

static void test_compaction_is_a_diff(void **state)
{
	(void)state;
	put("config", CONFIG);
	put_peer("10.1.98.0-24", "192.168.9.2", "02:99:00:00:00:01");
	put_peer("10.1.99.0-24", "192.168.9.3", "02:99:00:00:00:02");
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD && a->store_up);
	memory_set_reachable(a->kv, false);
	wait_until(!a->store_up);
	memory_delete(first_kv, PREFIX "/subnets/10.1.98.0-24");
	put_peer("10.1.97.0-24", "192.168.9.4", "02:99:00:00:00:04");
	memory_compact(first_kv);
	memory_set_reachable(a->kv, true);
	wait_until(a->store_up && a->added == 1 && a->removed == 1);
	assert_int_equal(a->changed, 0);
	assert_int_equal(a->resets, 1);
	assert_int_equal(state_of(a), FABRIC_LEASE_HELD);
	host_free(a);
}

static void test_wiped_store(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL), *b = host_start(2, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD && state_of(b) == FABRIC_LEASE_HELD &&
		   lease_set_count(fabric_peers(a->fabric)) == 1 &&
		   lease_set_count(fabric_peers(b->fabric)) == 1);
	struct subnet of_a = fabric_lease(a->fabric)->subnet, of_b = fabric_lease(b->fabric)->subnet;
	memory_wipe(first_kv);
	wait_until(memory_key_count(first_kv) ==
		   2); // each makes its lease anew; the config is the operator's
	wait_until(state_of(a) == FABRIC_LEASE_HELD && state_of(b) == FABRIC_LEASE_HELD);
	run_for(HOLD_MS * 2);
	assert_true(subnet_equal(&of_a, &fabric_lease(a->fabric)->subnet));
	assert_true(subnet_equal(&of_b, &fabric_lease(b->fabric)->subnet));
	assert_int_equal(a->removed + b->removed, 0); // traffic was never touched
	assert_int_equal(a->config_errors, 1);
	assert_non_null(fabric_netconf(a->fabric));
	host_free(a);
	host_free(b);
}

static void test_start_from_cache(void **state)
{
	struct lease lease = { .attrs = attrs_of(1), .session = 99, .mod_revision = 9 };
	struct lease peer = { .attrs = attrs_of(2) };
	(void)state;
	assert_int_equal(subnet_parse_key("10.1.44.0-24", 12, &lease.subnet, NULL), 0);
	assert_int_equal(subnet_parse_key("10.1.45.0-24", 12, &peer.subnet, NULL), 0);
	struct lease_set *peers = lease_set_new();
	lease_set_put(peers, &peer);
	struct host *a = host_new(1, NULL);
	memory_set_reachable(a->kv, false);
	fabric_seed(a->fabric, CONFIG, &lease, peers);
	fabric_start(a->fabric);
	wait_until(a->configs == 1 && a->resets == 1 && a->leases == 1);
	assert_int_equal(state_of(a), FABRIC_LEASE_CACHED);
	assert_true(peer_is_good(a, "10.1.45.0-24"));
	wait_until(!a->store_up);
	put("config", CONFIG);
	put_peer("10.1.46.0-24", "192.168.9.4", "02:99:00:00:00:04");
	memory_set_reachable(a->kv, true);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	assert_true(subnet_equal(&lease.subnet, &fabric_lease(a->fabric)->subnet));
	assert_int_equal(a->configs, 1);
	wait_until(a->added == 1 && a->removed == 1);
	lease_free(&lease);
	host_free(a);
}

static void test_ipv6_only(void **state)
{
	(void)state;
	put("config",
	    "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fd00:1::/48\",\"Backend\":{\"Type\":\"vxlan\"}}");
	struct host *a = host_new(1, NULL), *b = host_new(2, NULL);
	for (unsigned int i = 0; i < 2; i++) {
		struct host *host = i == 0 ? a : b;
		memset(&host->attrs.public_ip, 0, sizeof(host->attrs.public_ip));
		assert_int_equal(ip_parse(i == 0 ? "2001:db8::1" : "2001:db8::2",
					  &host->attrs.public_ipv6),
				 0);
		host->attrs.backend_v6_data = TAKE_PTR(host->attrs.backend_data);
		fabric_start(host->fabric);
	}
	wait_until(state_of(a) == FABRIC_LEASE_HELD && state_of(b) == FABRIC_LEASE_HELD);
	char key[256];
	key_of(a, key);
	assert_non_null(strstr(key, "/0.0.0.0-0&fd00:1:"));
	wait_until(lease_set_count(fabric_peers(a->fabric)) == 1 &&
		   lease_set_count(fabric_peers(b->fabric)) == 1);
	host_free(a);
	host_free(b);
	put_peer("10.1.46.0-24", "192.168.9.4", "02:99:00:00:00:04"); // a flannel
	struct host *c = host_new(3, NULL);
	memset(&c->attrs.public_ip, 0, sizeof(c->attrs.public_ip));
	assert_int_equal(ip_parse("2001:db8::3", &c->attrs.public_ipv6), 0);
	fabric_start(c->fabric);
	wait_until(strstr(why_of(c), "IPv6-only"));
	assert_null(fabric_lease(c->fabric));
	host_free(c);
}

static void test_many_peers_hold_nobody_up(void **state)
{
	(void)state;
	put("config", "{\"Network\":\"10.0.0.0/8\",\"SubnetLen\":24,\"Backend\":{\"Type\":\"vxlan\"}}");
	for (unsigned int i = 0; i < 5000; i++) {
		char key[64], ip[32], mac[32];
		snprintf(key, sizeof(key), "10.%u.%u.0-24", 1 + (i >> 8), i & 255);
		snprintf(ip, sizeof(ip), "172.16.%u.%u", i >> 8, i & 255);
		snprintf(mac, sizeof(mac), "02:98:00:00:%02x:%02x", i >> 8, i & 255);
		put_peer(key, ip, mac);
	}
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	assert_int_equal(lease_set_count(fabric_peers(a->fabric)), 5000);
	assert_int_equal(a->added, 0); // the first snapshot is told as a whole
	assert_int_equal(a->resets, 1);
	host_free(a);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, hosts_setup, hosts_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_first_lease),
		TEST(test_config_comes_late_and_may_be_wrong),
		TEST(test_same_subnet_after_restart),
		TEST(test_previous_subnet),
		TEST(test_previous_subnet_of_another),
		TEST(test_twenty_hosts_for_twenty_subnets),
		TEST(test_deleted_lease_is_regained),
		TEST(test_overwritten_lease_is_left_alone),
		TEST(test_junk_over_own_lease),
		TEST(test_two_hosts_with_one_address),
		TEST(test_predecessor_is_taken_over),
		TEST(test_reservation_stays_one),
		TEST(test_changed_address_keeps_the_subnet),
		TEST(test_changed_config),
		TEST(test_lost_answers),
		TEST(test_short_lease_is_renewed),
		TEST(test_peers_are_held_against_the_rules),
		TEST(test_events_of_a_peer),
		TEST(test_hold),
		TEST(test_compaction_is_a_diff),
		TEST(test_wiped_store),
		TEST(test_start_from_cache),
		TEST(test_ipv6_only),
		TEST(test_many_peers_hold_nobody_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
