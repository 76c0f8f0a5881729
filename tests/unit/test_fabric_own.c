// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of whose a lease is, and of what becomes of our own one.
#include "fabric_hosts.h"

#include "core/mem.h"
#include "fabric/fabric_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define VALUE(ip, mac)                                                                                   \
	"{\"PublicIP\":\"" ip                                                                            \
	"\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\",\"BackendData\":{\"VNI\":1,\"VtepMAC\":\"" mac \
	"\"}}"
#define MAC_1 "02:00:00:00:00:01" // of host 1

static struct lease cached_lease(const char *key, unsigned int number, int64_t session)
{
	return (struct lease){ .subnet = subnet_of(key),
			       .attrs = attrs_of(number),
			       .session = session,
			       .mod_revision = 3 };
}

// Host 1 with this cached lease.
static struct host *start_from_cache(const char *key, unsigned int number,
				     const struct fabric_config *config)
{
	struct lease lease = cached_lease(key, number, 99);
	struct host *host = host_new(1, config);

	fabric_seed(host->fabric, CONFIG, &lease, NULL);
	fabric_start(host->fabric);
	lease_free(&lease);
	return host;
}

static bool holds(const struct host *host, const char *key)
{
	struct subnet subnet = subnet_of(key);

	return state_of(host) == FABRIC_LEASE_HELD &&
	       subnet_equal(&fabric_lease(host->fabric)->subnet, &subnet);
}

// ---- whose is it ----

static void test_whose_is_the_lease(void **state)
{
	static const struct {
		const char *name;
		const char *stored_ip, *stored_mac;
		unsigned int disk; // 0: nothing; 1: subnet.env; 2: the cached lease as host 1 writes it
		bool taken;
	} cases[] = {
		{ "our address and MAC", "192.168.0.1", MAC_1, 0, true },
		{ "our MAC, subnet.env: the address changed", "192.168.0.7", MAC_1, 1, true },
		{ "our MAC, cached: the address changed", "192.168.0.7", MAC_1, 2, true },
		{ "our address, subnet.env: flannel was here", "192.168.0.1", "02:77:00:00:00:01",
		  1, true },
		{ "our address only", "192.168.0.1", "02:77:00:00:00:01", 0, false },
		{ "our MAC only: a copy of us", "192.168.0.7", MAC_1, 0, false },
		{ "our address, but we wrote another MAC there", "192.168.0.1", "02:77:00:00:00:01",
		  2, false },
		{ "subnet.env only", "192.168.0.7", "02:77:00:00:00:01", 1, false },
		{ "cached only", "192.168.0.7", "02:77:00:00:00:01", 2, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct subnet subnet = subnet_of("10.1.50.0-24");
		struct fabric_config config = { .peer_hold_ms = HOLD_MS, .retry_max_ms = 100 };
		struct host *live, *host;
		char value[512], before[512];

		put("config", CONFIG);
		// A live host's: its session is fresh.
		live = host_new(1, &(struct fabric_config){ .previous = &subnet,
							    .peer_hold_ms = HOLD_MS });
		free(live->attrs.backend_data);
		live->attrs.backend_data =
			xasprintf("{\"VNI\":1,\"VtepMAC\":\"%s\"}", cases[i].stored_mac);
		assert_int_equal(ip_parse(cases[i].stored_ip, &live->attrs.public_ip), 0);
		fabric_start(live->fabric);
		wait_until(holds(live, "10.1.50.0-24"));
		host_free(live);
		assert_true(value_at("subnets/10.1.50.0-24", before));

		config.previous = cases[i].disk == 1 ? &subnet : NULL;
		host = host_new(1, &config);
		if (cases[i].disk == 2) {
			struct lease lease = cached_lease("10.1.50.0-24", 1, 99);

			fabric_seed(host->fabric, CONFIG, &lease, NULL);
			lease_free(&lease);
		}
		fabric_start(host->fabric);
		if (cases[i].taken) {
			wait_until(holds(host, "10.1.50.0-24"));
			assert_true(value_at("subnets/10.1.50.0-24", value));
			check(strcmp(value, VALUE("192.168.0.1", MAC_1)) == 0, "%s: %s",
			      cases[i].name, value);
			assert_int_equal(memory_session_count(first_kv), 1); // it kept the session
		} else {
			run_for(200);
			check(!holds(host, "10.1.50.0-24"), "%s: taken", cases[i].name);
			assert_true(value_at("subnets/10.1.50.0-24", value));
			check(strcmp(value, before) == 0, "%s: %s", cases[i].name, value);
		}
		host_free(host);
		hosts_teardown(state);
		hosts_setup(state);
	}
}

static void test_copies_of_one_image(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	struct host *b = host_new(1, NULL); // the same MAC
	b->attrs.public_ip = ip_v4(0xc0a80002);
	fabric_start(b->fabric);
	wait_until(state_of(b) == FABRIC_LEASE_HELD);
	assert_false(subnet_overlaps(&fabric_lease(a->fabric)->subnet,
				     &fabric_lease(b->fabric)->subnet));
	wait_until(fabric_peer_count(a->fabric, FABRIC_PEER_REJECTED) == 1);
	wait_until(fabric_peer_count(b->fabric, FABRIC_PEER_REJECTED) == 1);
	host_free(a);
	host_free(b);
}

// Nothing of the backend tells two hosts apart.
static void test_one_address_without_backend_data(void **state)
{
	(void)state;
	put("config", "{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"alloc\"}}");
	struct host *a = host_new(1, NULL), *b;
	lease_attrs_free(&a->attrs);
	a->attrs.public_ip = ip_v4(0xc0a80001);
	fabric_start(a->fabric);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	b = host_new(1, NULL);
	lease_attrs_free(&b->attrs);
	b->attrs.public_ip = ip_v4(0xc0a80001);
	fabric_start(b->fabric);
	wait_until(state_of(b) == FABRIC_LEASE_FOREIGN);
	run_for(300);
	assert_null(fabric_lease(b->fabric));
	// Another that writes our value anew, as flannel renews: still ours.
	char key[256], value[512];
	key_of(a, key);
	assert_true(value_at(key + strlen(PREFIX "/"), value));
	memory_put(first_kv, key, value, strlen(value), 0);
	wait_until(fabric_lease(a->fabric)->session == 0);
	assert_int_equal(state_of(a), FABRIC_LEASE_HELD);
	host_free(a);
	host_free(b);
}

// What is left of a host with our address: nobody keeps it alive.
static void test_dead_predecessor(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(2, &(struct fabric_config){ .lease_ttl_s = 3600,
								.peer_hold_ms = HOLD_MS });
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	struct subnet subnet = fabric_lease(a->fabric)->subnet;
	host_free(a);
	struct host *b = host_new(1, NULL); // whose lease of a day would never have only an hour left
	b->attrs.public_ip = ip_v4(0xc0a80002);
	fabric_start(b->fabric);
	wait_until(state_of(b) == FABRIC_LEASE_HELD);
	assert_true(subnet_equal(&subnet, &fabric_lease(b->fabric)->subnet));
	assert_int_equal(memory_key_count(first_kv), 2);
	host_free(b);
}

static void test_second_host_takes_over_when_the_first_goes(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(2, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	char key[256];
	key_of(a, key);
	host_free(a);
	struct host *b = host_new(1, &(struct fabric_config){ .peer_hold_ms = HOLD_MS,
							      .retry_max_ms = 60000 });
	b->attrs.public_ip = ip_v4(0xc0a80002);
	fabric_start(b->fabric);
	wait_until(state_of(b) == FABRIC_LEASE_FOREIGN);
	assert_true(memory_delete(first_kv, key));
	wait_until(state_of(b) == FABRIC_LEASE_HELD); // at once, not by its timer
	host_free(b);
}

// ---- what becomes of it ----

static void test_deleted_key_leaves_no_session(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	char key[256];
	key_of(a, key);
	int64_t session = fabric_lease(a->fabric)->session;
	assert_true(memory_delete(first_kv, key));
	wait_until(state_of(a) == FABRIC_LEASE_HELD && fabric_lease(a->fabric)->session != session);
	wait_until(memory_session_count(first_kv) == 1);
	assert_true(memory_expire_session(
		first_kv, fabric_lease(a->fabric)->session)); // the new one is the one that is left
	host_free(a);
}

static void test_deleted_reservation_becomes_a_lease(void **state)
{
	(void)state;
	put("config", CONFIG);
	put("subnets/10.1.50.0-24", "{\"PublicIP\":\"192.168.0.1\"}");
	struct host *a = host_start(1, NULL);
	wait_until(holds(a, "10.1.50.0-24"));
	assert_true(memory_delete(first_kv, PREFIX "/subnets/10.1.50.0-24"));
	wait_until(holds(a, "10.1.50.0-24") && fabric_lease(a->fabric)->session != 0);
	host_free(a);
}

static void test_foreign_key_that_becomes_ours_again(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	char key[256];
	key_of(a, key);
	put_peer(key + strlen(PREFIX "/subnets/"), "192.168.9.9", "02:99:00:00:00:01");
	wait_until(state_of(a) == FABRIC_LEASE_FOREIGN);
	put_peer(key + strlen(PREFIX "/subnets/"), "192.168.0.1", MAC_1);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	assert_int_equal(fabric_lease(a->fabric)->session, 0);
	host_free(a);
}

static void test_allowed_to_change_it_does(void **state)
{
	struct fabric_config config = { .peer_hold_ms = HOLD_MS,
					.retry_max_ms = 100,
					.allow_subnet_change = true };

	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, &config);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	struct subnet old = fabric_lease(a->fabric)->subnet;
	char key[256];
	key_of(a, key);
	put_peer(key + strlen(PREFIX "/subnets/"), "192.168.9.9", "02:99:00:00:00:01");
	wait_until(state_of(a) == FABRIC_LEASE_HELD &&
		   !subnet_equal(&old, &fabric_lease(a->fabric)->subnet));
	wait_until(peer_is_good(a, key + strlen(PREFIX "/subnets/"))); // the new owner is a peer
	host_free(a);
}

static void test_config_changed_while_away(void **state)
{
	struct fabric_config config = { .peer_hold_ms = HOLD_MS, .retry_max_ms = 100 };
	char value[512];

	(void)state;
	put("config", CONFIG);
	struct host *a = start_from_cache("10.1.50.0-24", 1, &config);
	wait_until(holds(a, "10.1.50.0-24"));
	host_free(a);
	put("config",
	    "{\"Network\":\"10.1.0.0/16\",\"SubnetLen\":25,\"Backend\":{\"Type\":\"vxlan\"}}");
	a = start_from_cache("10.1.50.0-24", 1, &config);
	wait_until(state_of(a) == FABRIC_LEASE_UNFIT);
	assert_true(value_at("subnets/10.1.50.0-24", value));
	host_free(a);
	config.allow_subnet_change = true;
	a = start_from_cache("10.1.50.0-24", 1, &config);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	assert_int_equal(fabric_lease(a->fabric)->subnet.v4.len, 25);
	assert_false(value_at("subnets/10.1.50.0-24", value));
	assert_int_equal(memory_session_count(first_kv), 1);
	host_free(a);
}

static void test_key_taken_by_junk_is_passed_over(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	struct subnet wish = fabric_lease(a->fabric)->subnet; // where the hash leads
	char key[256];
	key_of(a, key);
	host_free(a);
	memory_put(first_kv, key, "junk", 4, 0);
	a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	assert_false(subnet_overlaps(&wish, &fabric_lease(a->fabric)->subnet));
	host_free(a);
}

static void test_changed_attrs_while_proving(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	char value[512], key[256];
	for (unsigned int i = 0; i < 40 && state_of(a) != FABRIC_LEASE_HELD; i++) {
		a->attrs.public_ip = ip_v4(0xc0a80001 + (i & 1));
		host_join(a);
		loop_turn(loop, 1);
	}
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	a->attrs.public_ip = ip_v4(0xc0a800c8);
	host_join(a);
	key_of(a, key);
	wait_until(value_at(key + strlen(PREFIX "/"), value) && strstr(value, "192.168.0.200"));
	assert_int_equal(memory_key_count(first_kv), 2);
	assert_int_equal(lease_set_count(fabric_peers(a->fabric)), 0);
	host_free(a);
}

// A key of another name claims some of the subnet first, unseen: the store cannot refuse it, so the later one gives its subnet back.
static void test_overlap_of_another_key(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	struct subnet wish = fabric_lease(a->fabric)->subnet;
	char half[256];
	struct subnet inside = wish;
	int64_t session = fabric_lease(a->fabric)->session;
	host_free(a);
	assert_true(memory_expire_session(first_kv, session));
	inside.v4.len = 25;
	subnet_format_key(&inside, half);
	a = host_start(1, NULL);
	// Its snapshot is over, its create is not: from here on only the watch tells.
	wait_until(fabric_store_up(a->fabric, NULL, NULL) || memory_key_count(first_kv) == 2 ||
		   a->resets == 1);
	put_peer(half, "192.168.9.9", "02:99:00:00:00:01");
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	assert_false(subnet_overlaps(&wish, &fabric_lease(a->fabric)->subnet));
	wait_until(memory_session_count(first_kv) == 1 && memory_key_count(first_kv) == 3);
	assert_true(peer_is_good(a, half));
	host_free(a);
}

static void test_dual_stack_mass_start(void **state)
{
	struct host *hosts[20];

	(void)state;
	// Many more IPv6 subnets than IPv4 ones.
	put("config",
	    "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.1.0\",\"SubnetMax\":\"10.1.22.0\",\"EnableIPv6\":true,"
	    "\"IPv6Network\":\"fd00:1::/48\",\"Backend\":{\"Type\":\"vxlan\"}}");
	for (unsigned int i = 0; i < ARRAY_SIZE(hosts); i++) {
		hosts[i] = host_new(i + 1, NULL);
		assert_int_equal(ip_parse("2001:db8::", &hosts[i]->attrs.public_ipv6), 0);
		hosts[i]->attrs.public_ipv6.bytes[15] = (uint8_t)(i + 1);
		hosts[i]->attrs.backend_v6_data = xstrdup(hosts[i]->attrs.backend_data);
		fabric_start(hosts[i]->fabric);
	}
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		wait_until(state_of(hosts[i]) == FABRIC_LEASE_HELD);
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		for (size_t j = 0; j < i; j++)
			assert_false(subnet_overlaps(&fabric_lease(hosts[i]->fabric)->subnet,
						     &fabric_lease(hosts[j]->fabric)->subnet));
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		wait_until(lease_set_count(fabric_peers(hosts[i]->fabric)) == ARRAY_SIZE(hosts) - 1);
	assert_int_equal(memory_session_count(first_kv), ARRAY_SIZE(hosts));
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		host_free(hosts[i]);
}

// ---- config ----

static void test_config_is_read_until_the_agent_joins(void **state)
{
	(void)state;
	put("config", "{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"no-such\"}}");
	struct host *a = host_new(1, NULL);
	a->joins = false; // its backend cannot be opened
	fabric_start(a->fabric);
	wait_until(a->configs == 1);
	a->joins = true;
	put("config", CONFIG);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	assert_int_equal(a->configs, 2);
	host_free(a);
}

static void test_config_changes_while_we_start(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_new(1, NULL);
	a->config_after_hook =
		"{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"vxlan\",\"MTU\":1400}}";
	fabric_start(a->fabric);
	wait_until(a->configs == 2);
	assert_non_null(strstr(fabric_config_text(a->fabric), "1400"));
	host_free(a);
}

// The watch begins behind the config: what it tells of leases that the snapshot has is no change.
static void test_leases_change_while_we_start(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_new(1, NULL);
	a->joins = false;
	fabric_start(a->fabric);
	wait_until(a->configs == 1);
	put_peer("10.1.98.0-24", "192.168.9.2", "02:99:00:00:00:01");
	put_peer("10.1.98.0-24", "192.168.9.2", "02:99:00:00:00:02");
	host_join(a);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	run_for(100);
	assert_true(peer_is_good(a, "10.1.98.0-24"));
	assert_int_equal(a->changed, 0);
	put_peer("10.1.98.0-24", "192.168.9.2", "02:99:00:00:00:03");
	wait_until(a->changed == 1);
	host_free(a);
}

static void test_network_change_leaves_the_peers(void **state)
{
	(void)state;
	put("config", CONFIG);
	put_peer("10.1.98.0-24", "192.168.9.2", "02:99:00:00:00:01");
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	put("config", "{\"Network\":\"10.2.0.0/16\",\"Backend\":{\"Type\":\"vxlan\"}}");
	wait_until(state_of(a) == FABRIC_LEASE_UNFIT);
	assert_true(peer_is_good(a, "10.1.98.0-24"));
	assert_int_equal(a->removed, 0);
	host_free(a);
}

// ---- requests ----

static void test_requests_at_start(void **state)
{
	(void)state;
	put("config", CONFIG);
	for (unsigned int i = 0; i < 3; i++) {
		struct host *a = host_start(1, NULL);
		uint64_t requests;

		wait_until(state_of(a) == FABRIC_LEASE_HELD && a->store_up);
		run_for(100);
		requests = kv_stats(a->kv)->requests;
		// Config, leases, watch; and a session and a create, or a keep-alive.
		check(requests <= (i == 0 ? 5 : 4), "start %u: %llu requests", i,
		      (unsigned long long)requests);
		run_for(200);
		assert_int_equal(kv_stats(a->kv)->requests, requests); // and then silence
		host_free(a);
	}
}

// Created, and not held yet: the watch has not told everything that was written before.
static struct host *host_that_proves(unsigned int number)
{
	struct host *host = host_start(number, NULL);
	size_t keys = memory_key_count(first_kv);

	for (unsigned int i = 0; i < 1000 && memory_key_count(first_kv) == keys; i++)
		loop_turn(loop, 1);
	check(memory_key_count(first_kv) == keys + 1, "host %u wrote no key", number);
	check(state_of(host) == FABRIC_LEASE_NONE, "host %u holds it already", number);
	return host;
}

static void test_snapshot_while_proving(void **state)
{
	char key[256];

	(void)state;
	put("config", CONFIG);
	struct host *a = host_that_proves(1);
	fabric_refresh(a->fabric);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	key_of(a, key);
	assert_true(memory_get(first_kv, key, &(struct kv_pair){ 0 }));
	assert_int_equal(memory_key_count(first_kv), 2);
	assert_int_equal(memory_session_count(first_kv), 1);

	// Its key is deleted meanwhile, and only the snapshot could tell.
	struct host *b = host_that_proves(2);
	struct subnet subnet;
	struct kv_pair pair;
	assert_true(choose_subnet(fabric_netconf(b->fabric), b->fabric->peers, &b->attrs.public_ip,
				  0, &subnet));
	snprintf(key, sizeof(key), PREFIX "/subnets/%s", (char[LEASE_KEY_MAX]){ 0 });
	subnet_format_key(&subnet, key + strlen(PREFIX "/subnets/"));
	assert_true(memory_get(first_kv, key, &pair));
	fabric_refresh(b->fabric);
	assert_true(memory_delete(first_kv, key));
	wait_until(state_of(b) == FABRIC_LEASE_HELD);
	key_of(b, key);
	assert_true(memory_get(first_kv, key, &pair));
	wait_until(memory_session_count(first_kv) == 2); // the first one is closed
	host_free(a);
	host_free(b);
}

static void test_config_of_the_store_before_the_cached_one(void **state)
{
	static const char changed[] =
		"{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"vxlan\",\"VNI\":777}}";

	(void)state;
	put("config", changed);
	struct host *a = start_from_cache("10.1.44.0-24", 1, NULL);
	wait_until(holds(a, "10.1.44.0-24"));
	assert_int_equal(a->configs, 1);
	assert_string_equal(fabric_config_text(a->fabric), changed);
	host_free(a);
	// One that cannot be used leaves the cached one in force.
	put("config", "{\"Network\":1}");
	a = start_from_cache("10.1.44.0-24", 1, NULL);
	wait_until(a->configs == 1 && a->config_errors == 1 && a->resets == 1);
	assert_string_equal(fabric_config_text(a->fabric), CONFIG);
	host_free(a);
}

static void test_address_put_right(void **state)
{
	char key[256];

	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	key_of(a, key);
	struct host *b = host_new(2, NULL);
	b->attrs.public_ip = a->attrs.public_ip;
	fabric_start(b->fabric);
	wait_until(state_of(b) == FABRIC_LEASE_FOREIGN);
	b->attrs.public_ip = ip_v4(0xc0a800c8);
	host_join(b);
	wait_until(state_of(b) == FABRIC_LEASE_HELD);
	assert_true(peer_is_good(b, key + strlen(PREFIX "/subnets/")));
	host_free(a);
	host_free(b);
}

static void test_other_leases_of_our_address_are_listed(void **state)
{
	(void)state;
	put("config", CONFIG);
	put_peer("10.1.40.0-24", "192.168.0.1", "02:77:00:00:00:01");
	put_peer("10.1.41.0-24", "192.168.0.1", MAC_1);
	put_peer("10.1.42.0-24", "192.168.0.1", "02:77:00:00:00:02");
	struct host *a = host_start(1, NULL);
	wait_until(holds(a, "10.1.41.0-24"));
	assert_non_null(strstr(find_odd(a, "10.1.40.0-24").why, "is our own"));
	assert_non_null(strstr(find_odd(a, "10.1.42.0-24").why, "is our own"));
	host_free(a);
}

static void test_margin_makes_the_renewals_frequent(void **state)
{
	(void)state;
	put("config", CONFIG);
	// Two seconds after it was renewed the margin begins.
	struct host *a =
		host_start(1, &(struct fabric_config){ .lease_ttl_s = 3600, .renew_margin_s = 3598 });
	wait_until(state_of(a) == FABRIC_LEASE_HELD);
	uint64_t requests = kv_stats(a->kv)->requests;
	wait_until(kv_stats(a->kv)->requests > requests + 1);
	host_free(a);
}

static void test_peers_are_told_while_they_are_read(void **state)
{
	char key[32], ip[32], mac[32];

	(void)state;
	put("config", CONFIG);
	for (unsigned int i = 1; i < 200; i++) {
		snprintf(key, sizeof(key), "10.1.%u.0-24", i);
		snprintf(ip, sizeof(ip), "192.168.9.%u", i);
		snprintf(mac, sizeof(mac), "02:99:00:00:00:%02x", i);
		put_peer(key, ip, mac);
	}
	struct host *a = host_start(1, NULL);
	wait_until(a->resets == 1);
	assert_int_equal(a->partial_resets, 1);
	assert_int_equal(a->early, 198); // all but the one that it began with
	host_free(a);
}

static void test_session_is_verified_after_an_outage(void **state)
{
	(void)state;
	put("config", CONFIG);
	struct host *a = host_start(1, NULL);
	wait_until(state_of(a) == FABRIC_LEASE_HELD && a->store_up);
	memory_set_reachable(a->kv, false);
	wait_until(!a->store_up);
	uint64_t requests = kv_stats(a->kv)->requests;
	memory_set_reachable(a->kv, true);
	wait_until(a->store_up);
	wait_until(kv_stats(a->kv)->requests > requests);
	assert_int_equal(state_of(a), FABRIC_LEASE_HELD);
	host_free(a);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, hosts_setup, hosts_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_whose_is_the_lease),
		TEST(test_copies_of_one_image),
		TEST(test_one_address_without_backend_data),
		TEST(test_dead_predecessor),
		TEST(test_second_host_takes_over_when_the_first_goes),
		TEST(test_deleted_key_leaves_no_session),
		TEST(test_deleted_reservation_becomes_a_lease),
		TEST(test_foreign_key_that_becomes_ours_again),
		TEST(test_allowed_to_change_it_does),
		TEST(test_config_changed_while_away),
		TEST(test_key_taken_by_junk_is_passed_over),
		TEST(test_changed_attrs_while_proving),
		TEST(test_overlap_of_another_key),
		TEST(test_dual_stack_mass_start),
		TEST(test_config_is_read_until_the_agent_joins),
		TEST(test_config_changes_while_we_start),
		TEST(test_leases_change_while_we_start),
		TEST(test_network_change_leaves_the_peers),
		TEST(test_requests_at_start),
		TEST(test_session_is_verified_after_an_outage),
		TEST(test_peers_are_told_while_they_are_read),
		TEST(test_snapshot_while_proving),
		TEST(test_config_of_the_store_before_the_cached_one),
		TEST(test_address_put_right),
		TEST(test_other_leases_of_our_address_are_listed),
		TEST(test_margin_makes_the_renewals_frequent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
