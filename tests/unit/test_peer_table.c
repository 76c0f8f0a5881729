// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of fabric/peer_table: who is a peer, who gives way to whom, who is held for how long.
#include "unit.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/text.h"
#include "fabric/fabric_internal.h"
#include "fabric/odd_list.h"
#include "fabric/peer_table.h"
#include "io/loop.h"

#include <stdio.h>
#include <string.h>

#define HOLD_MS 3000
#define LONG_HOLD_MS 86400000

static struct peer_table *table;
static struct netconf conf;
static int64_t revision;
static unsigned int added, changed, removed;

static void on_change(void *arg, const struct lease *old, const struct lease *now)
{
	(void)arg;
	added += !old;
	changed += old && now;
	removed += !now;
	// What is told is what is there.
	if (now)
		assert_ptr_equal(lease_set_find(peer_table_good(table), &now->subnet), now);
	else
		assert_null(lease_set_find(peer_table_good(table), &old->subnet));
}

static void config_of(const char *text, struct netconf *ret)
{
	struct err e;

	check(netconf_parse(text, strlen(text), ret, &e) == 0, "%s: %s", text, e.msg);
}

static struct subnet subnet_of(const char *key)
{
	struct subnet subnet;

	check(subnet_parse_key(key, strlen(key), &subnet, NULL) == 0, "%s", key);
	return subnet;
}

static struct lease lease_of(const char *key, const char *ip, const char *data)
{
	struct lease lease = { .subnet = subnet_of(key),
			       .attrs.backend_type = "vxlan",
			       .mod_revision = ++revision };

	check(ip_parse(ip, &lease.attrs.public_ip) == 0, "%s", ip);
	lease.attrs.backend_data = xasprintf("\"%s\"", data);
	return lease;
}

static void put(const char *key, const char *ip, const char *data)
{
	struct lease lease = lease_of(key, ip, data);

	peer_table_put(table, &lease);
}

static void bad(const char *key, const char *subnet)
{
	struct registry_bad junk = { .key = key, .why = "junk", .mod_revision = ++revision };

	if (subnet) {
		junk.subnet = subnet_of(subnet);
		junk.has_subnet = true;
	}
	peer_table_bad(table, &junk);
}

static void gone(const char *key)
{
	struct subnet subnet = subnet_of(key);

	peer_table_gone(table, &subnet);
}

// "" if it is no peer, else its public address.
static const char *peer(const char *key)
{
	struct subnet subnet = subnet_of(key);
	const struct lease *lease = lease_set_find(peer_table_good(table), &subnet);
	static char text[IP_STR_MAX];

	return lease ? ip_str(&lease->attrs.public_ip, text) : "";
}

struct search {
	const char *key;
	enum fabric_peer_state state;
	char why[ERR_MSG_MAX];
	unsigned int found;
};

static void match(void *arg, enum fabric_peer_state state, const char *key,
		  const struct lease *lease, const char *why)
{
	struct search *search = arg;

	(void)lease;
	if (strcmp(key, search->key) != 0 || state != search->state)
		return;
	search->found++;
	(void)text_copy(search->why, sizeof(search->why), why);
}

static unsigned int listed(const char *key, enum fabric_peer_state state)
{
	struct search search = { .key = key, .state = state };

	peer_table_odd_each(table, match, &search);
	return search.found;
}

static void counts(size_t good, size_t held, size_t rejected)
{
	check(peer_table_count(table, FABRIC_PEER_GOOD) == good &&
		      peer_table_count(table, FABRIC_PEER_HELD) == held &&
		      peer_table_count(table, FABRIC_PEER_REJECTED) == rejected,
	      "%zu good, %zu held, %zu rejected; not %zu, %zu, %zu",
	      peer_table_count(table, FABRIC_PEER_GOOD), peer_table_count(table, FABRIC_PEER_HELD),
	      peer_table_count(table, FABRIC_PEER_REJECTED), good, held, rejected);
}

static void told(unsigned int want_added, unsigned int want_changed, unsigned int want_removed)
{
	check(added == want_added && changed == want_changed && removed == want_removed,
	      "told %u added, %u changed, %u removed; not %u, %u, %u", added, changed, removed,
	      want_added, want_changed, want_removed);
}

static void start(const char *text, const char *own, const char *own_ip)
{
	struct lease lease = own ? lease_of(own, own_ip, "own") : (struct lease){ 0 };

	config_of(text, &conf);
	table = peer_table_new(HOLD_MS, LONG_HOLD_MS, on_change, NULL);
	peer_table_set_rules(table, &conf, &conf, own ? &lease.subnet : NULL,
			     own ? &lease.attrs : NULL);
	lease_free(&lease);
}

static int setup(void **state)
{
	(void)state;
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	revision = 0;
	added = changed = removed = 0;
	start("{\"Network\":\"10.1.0.0/16\",\"SubnetLen\":24}", "10.1.1.0-24", "192.168.0.1");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	table = peer_table_free(table);
	netconf_free(&conf);
	return 0;
}

// ---- rules ----

static void test_judge(void **state)
{
	static const struct {
		const char *config, *key, *ip, *ipv6, *why; // why "": it is good
	} cases[] = {
#define V4 "{\"Network\":\"10.1.0.0/16\"}"
#define DUAL "{\"Network\":\"10.1.0.0/16\",\"EnableIPv6\":true,\"IPv6Network\":\"fd00:1::/48\"}"
#define V6 "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fd00:1::/48\"}"
		{ V4, "10.1.2.0-24", "192.168.0.2", "", "" },
		{ V4, "10.1.2.0-28", "192.168.0.2", "", "" },
		{ V4, "10.2.2.0-24", "192.168.0.2", "", "not inside the network" },
		{ V4, "10.1.0.0-16", "192.168.0.2", "", "not inside the network" },
		{ V4, "10.0.0.0-8", "192.168.0.2", "", "not inside the network" },
		{ V4, "10.1.1.0-24", "192.168.0.2", "", "overlaps our own subnet" },
		{ V4, "10.1.1.128-25", "192.168.0.2", "", "overlaps our own subnet" },
		{ V4, "10.1.0.0-23", "192.168.0.2", "", "overlaps our own subnet" },
		{ V4, "10.1.2.0-24&fd00:1:0:2::-64", "192.168.0.2", "2001:db8::2",
		  "it has an IPv6 subnet" },
		{ V4, "0.0.0.0-0&fd00:1:0:2::-64", "192.168.0.2", "2001:db8::2",
		  "it has no IPv4 subnet" },
		{ V4, "10.1.2.0-24", "", "", "PublicIP is none" },
		{ V4, "10.1.2.0-24", "127.0.0.1", "", "PublicIP is 127.0.0.1" },
		{ V4, "10.1.2.0-24", "224.0.0.5", "", "PublicIP is 224.0.0.5" },
		{ V4, "10.1.2.0-24", "255.255.255.255", "", "PublicIP is 255.255.255.255" },
		{ V4, "10.1.2.0-24", "192.168.0.1", "", "is our own" },
		{ DUAL, "10.1.2.0-24&fd00:1:0:2::-64", "192.168.0.2", "2001:db8::2", "" },
		{ DUAL, "10.1.2.0-24", "192.168.0.2", "", "" },
		{ DUAL, "0.0.0.0-0&fd00:1:0:2::-64", "192.168.0.2", "2001:db8::2",
		  "it has no IPv4 subnet" },
		{ DUAL, "10.1.2.0-24&fd00:2:0:2::-64", "192.168.0.2", "2001:db8::2",
		  "not inside the network" },
		{ DUAL, "10.1.2.0-24&fd00:1:0:2::-64", "192.168.0.2", "::1", "PublicIPv6 is ::1" },
		{ DUAL, "10.1.2.0-24&fd00:1:0:2::-64", "192.168.0.2", "2001:db8::1", "is our own" },
		{ V6, "0.0.0.0-0&fd00:1:0:2::-64", "", "2001:db8::2", "" },
		{ V6, "10.1.2.0-24", "192.168.0.2", "", "it has an IPv4 subnet" },
		{ V6, "10.1.2.0-24&fd00:1:0:2::-64", "192.168.0.2", "2001:db8::2",
		  "it has an IPv4 subnet" },
		{ V6, "0.0.0.0-0&fd00:1:0:2::-64", "192.168.0.2", "", "PublicIPv6 is none" },
	};
	struct subnet own = subnet_of("10.1.1.0-24");
	struct lease_attrs attrs = { 0 };

	(void)state;
	assert_int_equal(ip_parse("192.168.0.1", &attrs.public_ip), 0);
	assert_int_equal(ip_parse("2001:db8::1", &attrs.public_ipv6), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_netconf_ struct netconf network = { 0 };
		struct lease lease = { .subnet = subnet_of(cases[i].key) };
		char buf[ERR_MSG_MAX];
		const char *why;

		config_of(cases[i].config, &network);
		if (*cases[i].ip)
			assert_int_equal(ip_parse(cases[i].ip, &lease.attrs.public_ip), 0);
		if (*cases[i].ipv6)
			assert_int_equal(ip_parse(cases[i].ipv6, &lease.attrs.public_ipv6), 0);
		why = peer_judge(&network, &own, &attrs, &lease, buf, sizeof(buf));
		if (*cases[i].why)
			check(why && strstr(why, cases[i].why), "case %zu: \"%s\" is not \"%s\"", i,
			      why ? why : "good", cases[i].why);
		else
			check(!why, "case %zu is not good: %s", i, why);
	}
}

static void test_a_copy_of_us(void **state)
{
	(void)state;
	put("10.1.2.0-24", "192.168.0.2", "own"); // our MAC, another address
	assert_string_equal(peer("10.1.2.0-24"), "");
	put("10.1.2.0-24", "192.168.0.2", "a");
	assert_string_equal(peer("10.1.2.0-24"), "192.168.0.2");
	counts(1, 0, 0);
}

static void test_config_change_keeps_those_of_the_first(void **state)
{
	_cleanup_netconf_ struct netconf second = { 0 }, third = { 0 };
	struct lease own = lease_of("10.1.1.0-24", "192.168.0.1", "own");

	(void)state;
	put("10.1.2.0-24", "192.168.0.2", "a");
	put("10.2.2.0-24", "192.168.0.3", "b");
	counts(1, 0, 1);
	config_of("{\"Network\":\"10.2.0.0/16\"}", &second);
	peer_table_set_rules(table, &conf, &second, &own.subnet, &own.attrs);
	counts(2, 0, 0); // the network that we run in, and the one that new hosts get
	config_of("{\"Network\":\"10.3.0.0/16\"}", &third);
	peer_table_set_rules(table, &conf, &third, &own.subnet, &own.attrs);
	counts(1, 0, 1);
	assert_string_equal(peer("10.1.2.0-24"), "192.168.0.2");
	told(2, 0, 1);
	lease_free(&own);
}

static void test_own_changes(void **state)
{
	struct lease own = lease_of("10.1.9.0-24", "192.168.0.2", "own");

	(void)state;
	put("10.1.2.0-24", "192.168.0.2", "a");
	put("10.1.9.0-24", "192.168.0.9", "b");
	put("10.1.1.0-25", "192.168.0.3", "c");
	put("10.1.3.0-24", "192.168.0.1", "d");
	counts(2, 0, 2);
	peer_table_set_rules(table, &conf, &conf, &own.subnet, &own.attrs);
	counts(2, 0, 2);
	assert_string_equal(peer("10.1.1.0-25"), "192.168.0.3");
	assert_string_equal(peer("10.1.3.0-24"), "192.168.0.1");
	lease_free(&own);
}

// ---- values ----

static void test_unchanged_and_changed(void **state)
{
	(void)state;
	put("10.1.2.0-24", "192.168.0.2", "a");
	put("10.1.2.0-24", "192.168.0.2", "a");
	told(1, 0, 0);
	put("10.1.2.0-24", "192.168.0.2", "b");
	told(1, 1, 0);
	put("10.1.2.0-24", "192.168.0.3", "b");
	told(1, 2, 0);
	assert_string_equal(peer("10.1.2.0-24"), "192.168.0.3");
}

static void test_the_last_good_value_stays(void **state)
{
	(void)state;
	put("10.1.2.0-24", "192.168.0.2", "a");
	bad("10.1.2.0-24", "10.1.2.0-24");
	assert_string_equal(peer("10.1.2.0-24"), "192.168.0.2");
	counts(1, 0, 1);
	put("10.1.2.0-24", "127.0.0.1", "a");
	assert_string_equal(peer("10.1.2.0-24"), "192.168.0.2");
	counts(1, 0, 1); // one key, one line
	put("10.1.2.0-24", "192.168.0.2", "a");
	counts(1, 0, 0);
	told(1, 0, 0);
	bad("10.1.2.0-24", "10.1.2.0-24");
	gone("10.1.2.0-24");
	counts(0, 1, 0);
}

static void test_another_way_to_write_a_key(void **state)
{
	(void)state;
	put("10.1.2.0-24", "192.168.0.2", "a");
	bad("10.1.2.0-024", "10.1.2.0-24");
	counts(1, 0, 1);
	gone("10.1.2.0-24");
	counts(0, 1, 1); // that other key is still there
	peer_table_bad_gone(table, "10.1.2.0-024");
	counts(0, 1, 0);
	put("10.1.2.0-24", "192.168.0.2", "a");
	peer_table_snapshot_begin(table);
	bad("10.1.2.0-024", "10.1.2.0-24"); // which does not say that the usual one is
	peer_table_snapshot_end(table, false);
	counts(0, 1, 1);
}

static void test_a_stale_one_gives_way(void **state)
{
	(void)state;
	put("10.1.2.0-24", "192.168.0.2", "a");
	put("10.1.3.0-24", "192.168.0.3", "b");
	// Two hosts exchange their addresses: each claims what the other one has until now.
	put("10.1.2.0-24", "192.168.0.3", "a");
	put("10.1.3.0-24", "192.168.0.2", "b");
	counts(2, 0, 0);
	assert_string_equal(peer("10.1.2.0-24"), "192.168.0.3");
	assert_string_equal(peer("10.1.3.0-24"), "192.168.0.2");
	// Nobody can say whether what is unreadable still claims anything.
	bad("10.1.2.0-24", "10.1.2.0-24");
	put("10.1.4.0-24", "192.168.0.3", "c");
	assert_string_equal(peer("10.1.4.0-24"), "192.168.0.3");
	assert_string_equal(peer("10.1.2.0-24"), "");
}

// ---- rivals ----

static void test_the_first_keeps(void **state)
{
	static const struct {
		const char *first, *first_ip, *second, *second_ip, *second_data;
		bool both;
	} cases[] = {
		{ "10.1.4.0-24", "192.168.0.4", "10.1.4.0-25", "192.168.0.5", "b", false },
		{ "10.1.4.0-24", "192.168.0.4", "10.1.4.128-25", "192.168.0.5", "b", false },
		{ "10.1.4.128-25", "192.168.0.4", "10.1.4.0-23", "192.168.0.5", "b", false },
		{ "10.1.4.0-24", "192.168.0.4", "10.1.5.0-24", "192.168.0.4", "b", false },
		{ "10.1.4.0-24", "192.168.0.4", "10.1.5.0-24", "192.168.0.4", "a", true },
		{ "10.1.4.0-24", "192.168.0.4", "10.1.5.0-24", "192.168.0.5", "b", true },
		{ "10.1.4.0-25", "192.168.0.4", "10.1.4.128-25", "192.168.0.5", "b", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put(cases[i].first, cases[i].first_ip, "a");
		put(cases[i].second, cases[i].second_ip, cases[i].second_data);
		assert_string_equal(peer(cases[i].first), cases[i].first_ip);
		check((strcmp(peer(cases[i].second), cases[i].second_ip) == 0) == cases[i].both,
		      "case %zu", i);
		if (!cases[i].both) { // the loser's turn comes by itself, and at once
			gone(cases[i].first);
			check(strcmp(peer(cases[i].second), cases[i].second_ip) == 0,
			      "case %zu: the loser waits on", i);
			assert_string_equal(peer(cases[i].first), "");
		}
		teardown(state);
		setup(state);
	}
}

static void test_a_winner_that_moves_on_makes_room(void **state)
{
	(void)state;
	put("10.1.2.0-24", "192.168.0.2", "a");
	put("10.1.3.0-24", "192.168.0.2", "b");
	counts(1, 0, 1);
	put("10.1.2.0-24", "192.168.0.7", "a");
	counts(2, 0, 0);
}

static void test_one_of_many_overlapped_is_enough(void **state)
{
	(void)state;
	put("10.1.4.0-26", "192.168.0.4", "a");
	put("10.1.4.64-26", "192.168.0.5", "b");
	gone("10.1.4.0-26");
	counts(1, 1, 0);
	put("10.1.4.0-24", "192.168.0.6", "c");
	counts(1, 1, 1); // the held one was not dropped for nothing
	gone("10.1.4.64-26");
	counts(1, 0, 0);
	assert_string_equal(peer("10.1.4.0-24"), "192.168.0.6");
}

static void test_oldest_of_a_first_snapshot(void **state)
{
	(void)state;
	struct lease young = lease_of("10.1.4.0-24", "192.168.0.5", "b"),
		     old = lease_of("10.1.4.0-25", "192.168.0.4", "a");
	struct lease middle = lease_of("10.1.4.128-25", "192.168.0.6", "c");

	old.mod_revision = 1;
	middle.mod_revision = 2;
	young.mod_revision = 3;
	peer_table_snapshot_begin(table);
	peer_table_put(table, &young);
	peer_table_put(table, &old);
	peer_table_put(table, &middle);
	peer_table_snapshot_end(table, false);
	counts(2, 0, 1);
	assert_string_equal(peer("10.1.4.0-25"), "192.168.0.4");
	assert_string_equal(peer("10.1.4.128-25"), "192.168.0.6");
}

static void test_in_a_later_snapshot_who_has_it_keeps(void **state)
{
	struct lease rival;

	(void)state;
	rival = lease_of("10.1.4.0-25", "192.168.0.4", "a"); // older
	put("10.1.4.0-24", "192.168.0.5", "b");
	peer_table_snapshot_begin(table);
	peer_table_put(table, &rival);
	put("10.1.4.0-24", "192.168.0.5", "b");
	peer_table_snapshot_end(table, false);
	assert_string_equal(peer("10.1.4.0-24"), "192.168.0.5");
	counts(1, 0, 1);
	rival = lease_of("10.1.4.0-25", "192.168.0.4", "a");
	rival.mod_revision = 1;
	peer_table_snapshot_begin(table);
	put("10.1.4.0-24", "192.168.0.5", "b");
	peer_table_put(table, &rival); // whatever their order
	peer_table_snapshot_end(table, false);
	assert_string_equal(peer("10.1.4.0-24"), "192.168.0.5");
	rival = lease_of("10.1.4.0-25", "192.168.0.4", "a");
	peer_table_snapshot_begin(table);
	peer_table_put(table, &rival);
	peer_table_snapshot_end(table, false);
	assert_string_equal(peer("10.1.4.0-25"), "192.168.0.4"); // nothing is held for whom another claims
	counts(1, 0, 0);
}

// ---- holds ----

static void test_hold_and_return(void **state)
{
	uint64_t now_ms = loop_now_ms();

	(void)state;
	put("10.1.2.0-24", "192.168.0.2", "a");
	gone("10.1.2.0-24");
	counts(0, 1, 0);
	assert_int_equal(listed("10.1.2.0-24", FABRIC_PEER_HELD), 1);
	put("10.1.2.0-24", "192.168.0.2", "a");
	counts(1, 0, 0);
	told(1, 0, 0);
	gone("10.1.2.0-24");
	assert_true(peer_table_expire(table, now_ms) >= now_ms + HOLD_MS);
	counts(0, 1, 0);
	assert_int_equal(peer_table_expire(table, loop_now_ms() + HOLD_MS), UINT64_MAX);
	counts(0, 0, 0);
	told(1, 0, 1);
}

// A hold that ended by a return must not cut the next one short.
static void test_second_hold_is_a_whole_one(void **state)
{
	(void)state;
	put("10.1.2.0-24", "192.168.0.2", "a");
	put("10.1.3.0-24", "192.168.0.3", "b");
	put("10.1.4.0-24", "192.168.0.4", "c");
	gone("10.1.3.0-24"); // so that there is one held all the time
	gone("10.1.2.0-24");
	uint64_t first_ms = loop_now_ms();
	while (loop_now_ms() < first_ms + 3)
		;
	put("10.1.2.0-24", "192.168.0.2", "a");
	gone("10.1.2.0-24");
	(void)peer_table_expire(table, first_ms + HOLD_MS);
	assert_string_equal(peer("10.1.3.0-24"), "");
	assert_string_equal(peer("10.1.2.0-24"), "192.168.0.2");
	assert_int_equal(peer_table_expire(table, loop_now_ms() + HOLD_MS), UINT64_MAX);
	assert_string_equal(peer("10.1.2.0-24"), "");
}

static void test_claimed_while_held(void **state)
{
	(void)state;
	put("10.1.2.0-24", "192.168.0.2", "a");
	put("10.1.3.0-24", "192.168.0.3", "b");
	gone("10.1.2.0-24");
	gone("10.1.3.0-24");
	put("10.1.2.0-25", "192.168.0.4", "c"); // the subnet of one
	put("10.1.5.0-24", "192.168.0.3", "d"); // the address of the other
	counts(2, 0, 0);
	told(4, 0, 2);
}

static void put_many(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		char key[32], ip[32], data[32];

		snprintf(key, sizeof(key), "10.1.%u.0-24", 10 + i);
		snprintf(ip, sizeof(ip), "192.168.1.%u", i + 1);
		snprintf(data, sizeof(data), "m%u", i);
		put(key, ip, data);
	}
}

static void test_a_majority_is_held_long(void **state)
{
	static const struct {
		unsigned int count, gone;
		bool is_long;
	} cases[] = { { 2, 2, false },	{ 4, 2, false }, { 5, 3, true },
		      { 10, 5, false }, { 10, 6, true }, { 10, 10, true } };

	for (unsigned int by_snapshot = 0; by_snapshot < 2; by_snapshot++) {
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			uint64_t next;

			put_many(cases[i].count);
			if (by_snapshot) {
				peer_table_snapshot_begin(table);
				put_many(cases[i].count - cases[i].gone);
				peer_table_snapshot_end(table, false);
			}
			for (unsigned int j = 0; j < cases[i].gone && !by_snapshot; j++) {
				char key[32];

				snprintf(key, sizeof(key), "10.1.%u.0-24", 10 + j);
				gone(key);
			}
			counts(cases[i].count - cases[i].gone, cases[i].gone, 0);
			next = peer_table_expire(table, loop_now_ms() + HOLD_MS);
			check((next != UINT64_MAX) == cases[i].is_long, "case %zu: next is %llu", i,
			      (unsigned long long)next);
			check(removed == (cases[i].is_long ? 0 : cases[i].gone),
			      "case %zu: %u removed", i, removed);
			(void)peer_table_expire(table, loop_now_ms() + HOLD_MS + LONG_HOLD_MS);
			assert_int_equal(removed, cases[i].gone);
			teardown(state);
			setup(state);
		}
	}
}

static void test_another_store_holds_long(void **state)
{
	(void)state;
	put("10.1.2.0-24", "192.168.0.2", "a");
	peer_table_snapshot_begin(table);
	peer_table_snapshot_end(table, true);
	assert_int_not_equal(peer_table_expire(table, loop_now_ms() + HOLD_MS), UINT64_MAX);
	counts(0, 1, 0);
	put("10.1.2.0-24", "192.168.0.2", "a");
	told(1, 0, 0);
}

static void test_seed_and_first_snapshot(void **state)
{
	struct lease_set *peers = lease_set_new();
	struct lease a = lease_of("10.1.2.0-24", "192.168.0.2", "a"),
		     b = lease_of("10.1.3.0-24", "192.168.0.3", "b");

	(void)state;
	lease_set_put(peers, &a);
	lease_set_put(peers, &b);
	peer_table_seed(table, peers);
	told(2, 0, 0);
	peer_table_snapshot_begin(table);
	put("10.1.2.0-24", "192.168.0.2", "a");
	put("10.1.4.0-24", "192.168.0.4", "c");
	peer_table_snapshot_end(table, false);
	told(3, 0, 0);
	counts(2, 1, 0);
}

static void test_failed_snapshot_takes_nothing_away(void **state)
{
	(void)state;
	put("10.1.2.0-24", "192.168.0.2", "a");
	put("10.1.3.0-24", "192.168.0.3", "b");
	bad("junk", NULL);
	peer_table_snapshot_begin(table);
	put("10.1.2.0-24", "192.168.0.2", "a");
	peer_table_snapshot_begin(table);
	counts(2, 0, 1);
	put("10.1.2.0-24", "192.168.0.2", "a");
	put("10.1.3.0-24", "192.168.0.3", "b");
	peer_table_snapshot_end(table, false);
	counts(2, 0, 0);
	told(2, 0, 0);
}

// ---- bounds ----

static void test_rejected_ones_are_bounded(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < ODD_MAX + 10; i++) {
		char key[32];

		snprintf(key, sizeof(key), "junk%u", i);
		bad(key, NULL);
	}
	counts(0, 0, ODD_MAX + 10);
	assert_int_equal(listed("junk0", FABRIC_PEER_REJECTED), 1);
	assert_int_equal(listed("junk1030", FABRIC_PEER_REJECTED), 0);
	peer_table_bad_gone(table, "junk1030");
	counts(0, 0, ODD_MAX + 9);
}

static void test_room(void **state)
{
	struct subnet subnet = subnet_of("10.1.2.0-24");
	struct occupied occupied;

	(void)state;
	assert_null(peer_table_find_overlap(table, &subnet));
	bad("10.1.2.0-24", "10.1.2.0-24"); // unreadable, but somebody's
	assert_non_null(peer_table_find_overlap(table, &subnet));
	peer_table_occupied(table, &occupied);
	assert_false(peer_table_is_free(table, &occupied, &subnet));
	free(occupied.list);
	subnet = subnet_of("10.1.3.0-24");
	put("10.1.0.0-16", "192.168.0.2", "a"); // whoever claims it all gets nothing
	assert_null(peer_table_find_overlap(table, &subnet));
	put("10.1.3.128-25", "192.168.0.3", "b");
	assert_non_null(peer_table_find_overlap(table, &subnet));
}

static void test_choice(void **state)
{
	struct ip ip = ip_v4(0xc0a80009);
	struct subnet first, subnet;
	unsigned int count;

	teardown(state);
	start("{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.1.0\",\"SubnetMax\":\"10.1.20.0\",\"EnableIPv6\":true,"
	      "\"IPv6Network\":\"fd00:1::/48\"}",
	      NULL, NULL);
	assert_true(choose_subnet(&conf, table, &ip, 0, &first));
	assert_true(choose_subnet(&conf, table, &ip, 0, &subnet));
	assert_true(subnet_equal(&first, &subnet)); // the same on every host and every day
	assert_true(choose_subnet(&conf, table, &ip, 1, &subnet));
	assert_false(ipnet_equal(&first.v4, &subnet.v4));
	for (count = 0; count < 21; count++) {
		struct lease lease = { .attrs.backend_type = "vxlan", .mod_revision = ++revision };
		uint32_t place;

		if (!choose_subnet(&conf, table, &ip, 0, &subnet))
			break;
		assert_true(subnet_fits(&conf, &subnet));
		// Equal choices must be equal keys: the IPv6 subnet is the one of the same place.
		place = (ip_v4_value(&subnet.v4.addr) >> 8) - 0x0a0101;
		assert_int_equal(subnet.v6.addr.bytes[7], place + 1);
		lease.subnet = subnet;
		lease.attrs.public_ip = ip_v4(0xac100001 + count);
		assert_int_equal(ip_parse("2001:db8::1", &lease.attrs.public_ipv6), 0);
		lease.attrs.public_ipv6.bytes[14] = (uint8_t)count;
		peer_table_put(table, &lease);
	}
	assert_int_equal(count, 20); // all of them, and no more
}

static void put_number(unsigned int i, bool is_odd_length)
{
	struct lease lease = { .attrs.backend_type = "vxlan", .mod_revision = ++revision };
	struct ip ip = ip_v4(0x0a000000 + (i << 8));

	lease.subnet.v4 = ipnet_of(&ip, is_odd_length ? 25 : 24);
	lease.attrs.public_ip = ip_v4(0xac100000 + i);
	lease.attrs.backend_data = xasprintf("\"%u\"", i);
	peer_table_put(table, &lease);
}

// Nothing here may grow with the square of the number of peers: that took minutes, this takes a second with sanitizers.
static void test_65000_peers(void **state)
{
	enum { COUNT = 65000 };
	uint64_t start_ms, now_ms;
	unsigned int rounds = 0;

	teardown(state);
	start("{\"Network\":\"10.0.0.0/8\",\"SubnetLen\":24}", NULL, NULL);
	start_ms = loop_now_ms();
	peer_table_snapshot_begin(table);
	for (unsigned int i = 1; i <= COUNT; i++)
		put_number(i, i % 3 == 0); // of two lengths
	peer_table_snapshot_end(table, false);
	counts(COUNT, 0, 0);
	print_message("%d peers: snapshot %llu ms\n", COUNT,
		      (unsigned long long)(loop_now_ms() - start_ms));
	now_ms = loop_now_ms();
	peer_table_snapshot_begin(table);
	peer_table_snapshot_end(table, true);
	counts(0, COUNT, 0);
	print_message("all of them gone: %llu ms\n", (unsigned long long)(loop_now_ms() - now_ms));
	now_ms = loop_now_ms();
	for (unsigned int i = 1; i <= COUNT; i++)
		put_number(i, i % 3 == 0);
	counts(COUNT, 0, 0);
	print_message("back again: %llu ms\n", (unsigned long long)(loop_now_ms() - now_ms));
	peer_table_snapshot_begin(table);
	peer_table_snapshot_end(table, true);
	now_ms = loop_now_ms();
	while (peer_table_expire(table, now_ms + LONG_HOLD_MS) != UINT64_MAX)
		assert_true(++rounds < COUNT);
	counts(0, 0, 0);
	assert_true(rounds > 10); // not all at once
	print_message("expired: %llu ms\n", (unsigned long long)(loop_now_ms() - now_ms));
	assert_int_equal(removed, COUNT);
	assert_true(loop_now_ms() - start_ms < 30000);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_judge),
		TEST(test_a_copy_of_us),
		TEST(test_config_change_keeps_those_of_the_first),
		TEST(test_own_changes),
		TEST(test_unchanged_and_changed),
		TEST(test_the_last_good_value_stays),
		TEST(test_another_way_to_write_a_key),
		TEST(test_a_stale_one_gives_way),
		TEST(test_the_first_keeps),
		TEST(test_a_winner_that_moves_on_makes_room),
		TEST(test_one_of_many_overlapped_is_enough),
		TEST(test_oldest_of_a_first_snapshot),
		TEST(test_in_a_later_snapshot_who_has_it_keeps),
		TEST(test_hold_and_return),
		TEST(test_second_hold_is_a_whole_one),
		TEST(test_claimed_while_held),
		TEST(test_a_majority_is_held_long),
		TEST(test_another_store_holds_long),
		TEST(test_seed_and_first_snapshot),
		TEST(test_failed_snapshot_takes_nothing_away),
		TEST(test_rejected_ones_are_bounded),
		TEST(test_room),
		TEST(test_choice),
		TEST(test_65000_peers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
