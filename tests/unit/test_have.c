// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the table of scanned objects: keys, equality, growth, and two peers with one MAC.
#include "reconcile/have.h"
#include "unit.h"

#include "core/mem.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

static struct ip ip_of(const char *text)
{
	struct ip ip;
	assert_int_equal(ip_parse(text, &ip), 0);
	return ip;
}

static struct kernel_object neigh(uint32_t ifindex, const char *ip, uint8_t mac, uint16_t state)
{
	return (struct kernel_object){ .kind = KERNEL_NEIGH,
				       .neigh = { .ifindex = ifindex,
						  .ip = ip_of(ip),
						  .mac = { { 2, 0, 0, 0, 0, mac } },
						  .state = state } };
}

static struct kernel_object fdb(uint32_t ifindex, uint8_t mac, const char *remote, uint16_t state)
{
	return (struct kernel_object){ .kind = KERNEL_FDB,
				       .fdb = { .ifindex = ifindex,
						.mac = { { 2, 0, 0, 0, 0, mac } },
						.remote = ip_of(remote),
						.state = state } };
}

static struct kernel_object nexthop(uint32_t id, const char *gateway, uint32_t ifindex)
{
	return (struct kernel_object){ .kind = KERNEL_NEXTHOP,
				       .nexthop = { .id = id,
						    .gateway = ip_of(gateway),
						    .ifindex = ifindex,
						    .protocol = KERNEL_PROTOCOL_WEFT,
						    .onlink = true } };
}

static struct kernel_object route(const char *dst, const char *gateway, uint32_t ifindex)
{
	struct kernel_object object = { .kind = KERNEL_ROUTE,
					.route = { .gateway = ip_of(gateway),
						   .ifindex = ifindex,
						   .protocol = KERNEL_PROTOCOL_WEFT,
						   .type = RTN_UNICAST,
						   .onlink = true } };
	assert_int_equal(ipnet_parse(dst, &object.route.dst), 0);
	return object;
}

static void add(struct have *have, struct kernel_object object)
{
	have_add(have, &object);
}

#define with(object, change)                         \
	({                                           \
		struct kernel_object it_ = (object); \
		it_.change;                          \
		it_;                                 \
	})

#define R route("10.1.2.0/24", "10.1.2.0", 7)
#define R6 route("fd00:1::/64", "fd00:1::", 7)
#define N nexthop(5, "10.1.2.0", 7)
#define A neigh(7, "10.1.2.0", 1, NUD_PERMANENT)
#define F fdb(7, 1, "172.16.0.1", NUD_PERMANENT)

static void test_keys_and_equality(void **state)
{
	const struct {
		const char *what;
		struct kernel_object have;
		struct kernel_object wanted;
		bool same_key;
		bool equal;
	} cases[] = {
		{ "neighbour", A, A, true, true },
		{ "neighbour, other MAC", A, neigh(7, "10.1.2.0", 2, NUD_PERMANENT), true, false },
		{ "neighbour, other address", A, neigh(7, "10.1.3.0", 1, NUD_PERMANENT), false, false },
		{ "neighbour, other device", A, neigh(8, "10.1.2.0", 1, NUD_PERMANENT), false, false },
		{ "neighbour that passes", neigh(7, "10.1.2.0", 1, NUD_REACHABLE), A, true, false },
		{ "neighbour, IPv6", neigh(7, "fd00::1", 1, NUD_PERMANENT),
		  neigh(7, "fd00::1", 1, NUD_PERMANENT), true, true },
		{ "fdb", F, F, true, true },
		{ "fdb, other remote", F, fdb(7, 1, "172.16.0.2", NUD_PERMANENT), false, false },
		{ "fdb, other MAC", F, fdb(7, 2, "172.16.0.1", NUD_PERMANENT), false, false },
		{ "fdb, other device", F, fdb(8, 1, "172.16.0.1", NUD_PERMANENT), false, false },
		{ "fdb that passes", fdb(7, 1, "172.16.0.1", NUD_REACHABLE), F, true, false },
		{ "fdb with a port", with(F, fdb.other = true), F, true, false },
		{ "nexthop", N, N, true, true },
		{ "nexthop, other id", N, nexthop(6, "10.1.2.0", 7), false, false },
		{ "nexthop, other gateway", N, nexthop(5, "10.1.3.0", 7), true, false },
		{ "nexthop, other device", N, nexthop(5, "10.1.2.0", 8), true, false },
		{ "nexthop, not onlink", N, with(N, nexthop.onlink = false), true, false },
		{ "nexthop, other protocol", with(N, nexthop.protocol = 4), N, true, false },
		{ "nexthop, group", with(N, nexthop.other = true), N, true, false },
		{ "route", R, R, true, true },
		{ "route, other length", R, route("10.1.2.0/25", "10.1.2.0", 7), false, false },
		{ "route, other gateway", R, route("10.1.2.0/24", "10.1.3.0", 7), true, false },
		{ "route, other device", R, route("10.1.2.0/24", "10.1.2.0", 8), true, false },
		{ "route, other metric", with(R, route.metric = 5), R, false, false },
		{ "route, other protocol", with(R, route.protocol = RTPROT_BOOT), R, true, false },
		{ "route, not onlink", with(R, route.onlink = false), R, true, false },
		{ "route, multipath", with(R, route.multipath = true), R, true, false },
		{ "route, blackhole", with(R, route.type = RTN_BLACKHOLE), R, true, false },
		{ "route over a nexthop", with(R, route.nexthop_id = 5),
		  with(R, route.nexthop_id = 5), true, true },
		{ "route over a nexthop, the rest is the nexthop's", with(R, route.nexthop_id = 5),
		  with(route("10.1.2.0/24", "10.9.9.9", 99), route.nexthop_id = 5), true, true },
		{ "route over another nexthop", with(R, route.nexthop_id = 5),
		  with(R, route.nexthop_id = 6), true, false },
		{ "route over a nexthop, classic wanted", with(R, route.nexthop_id = 5), R, true,
		  false },
		{ "IPv6 route, the kernel's metric", with(R6, route.metric = 1024), R6, true, true },
		{ "IPv6 route, another metric", with(R6, route.metric = 1), R6, false, false },
		{ "kinds differ", A, R, false, false },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct have *have = have_new(0);
		have_add(have, &cases[i].have);
		struct have_entry *entry = have_find(have, &cases[i].wanted);
		check((entry != NULL) == cases[i].same_key, "%s: found %d", cases[i].what,
		      entry != NULL);
		check(object_same_key(&cases[i].have, &cases[i].wanted) == cases[i].same_key,
		      "%s: same key", cases[i].what);
		check((entry && have_entry_equals(entry, &cases[i].wanted)) == cases[i].equal,
		      "%s: equal", cases[i].what);
		check(object_equals(&cases[i].have, &cases[i].wanted) == cases[i].equal,
		      "%s: objects equal", cases[i].what);
		have_free(have);
	}
}

static void test_what_is_not_kept(void **state)
{
	struct kernel_object objects[] = {
		{ .kind = KERNEL_LINK, .link = { .ifindex = 3, .name = "e0" } },
		{ .kind = KERNEL_ADDR, .addr = { .ifindex = 3, .ip = ip_v4(1), .len = 32 } },
		with(R, route.other = true),
	};
	(void)state;
	struct have *have = have_new(0);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		have_add(have, &objects[i]);
	assert_int_equal(have_count(have), 0);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		assert_null(have_find(have, &objects[i]));
	// The first of two stays.
	struct kernel_object first = R, second = with(R, route.gateway = ip_of("10.1.3.0"));
	have_add(have, &first);
	have_add(have, &second);
	assert_int_equal(have_count(have), 1);
	assert_true(have_entry_equals(have_find(have, &first), &first));
	have_free(have);
}

#define MANY 5000

static struct kernel_object number(unsigned int i)
{
	struct ip ip = ip_v4(0x0a000000 + (i / 4 << 8));
	switch (i % 4) {
	case 0:
		return (struct kernel_object){
			.kind = KERNEL_NEIGH, .neigh = { .ifindex = 7, .ip = ip, .state = NUD_PERMANENT }
		};
	case 1:
		return (struct kernel_object){
			.kind = KERNEL_FDB, .fdb = { .ifindex = 7, .remote = ip, .state = NUD_PERMANENT }
		};
	case 2:
		return nexthop(i, "10.0.0.1", 7);
	default:
		return (struct kernel_object){
			.kind = KERNEL_ROUTE,
			.route = { .dst = { ip, 24 }, .type = RTN_UNICAST, .ifindex = 7 }
		};
	}
}

static void test_many_and_back(void **state)
{
	(void)state;
	for (size_t expected = 0; expected <= 2 * MANY; expected += MANY) {
		struct have *have = have_new(expected);
		for (unsigned int i = 0; i < MANY; i++)
			add(have, number(i));
		assert_int_equal(have_count(have), MANY);
		for (unsigned int i = 0; i < MANY; i++) {
			struct kernel_object object = number(i), back;
			struct have_entry *entry = have_find(have, &object);
			check(entry, "number %u is lost", i);
			have_entry_object(entry, &back);
			check(have_entry_equals(entry, &back) && object_equals(&object, &back),
			      "number %u came back otherwise", i);
			entry->seen = true;
		}
		size_t position = 0, count = 0;
		struct have_entry *entry;
		while ((entry = have_next(have, &position))) {
			assert_true(entry->seen);
			count++;
		}
		assert_int_equal(count, MANY);
		have_free(have);
	}
}

static void test_another_remote_of_a_mac(void **state)
{
	(void)state;
	struct have *have = have_new(0);
	for (uint8_t i = 0; i < 200; i++)
		add(have, fdb(7, i, "172.16.0.1", NUD_PERMANENT));
	struct kernel_object wanted = fdb(7, 9, "172.16.0.2", NUD_PERMANENT),
			     third = fdb(7, 9, "172.16.0.3", NUD_PERMANENT);
	struct kernel_object elsewhere = fdb(8, 9, "172.16.0.2", NUD_PERMANENT),
			     six = fdb(7, 9, "fd00::1", NUD_PERMANENT);
	struct have_entry *other = have_find_other_remote(have, &wanted);
	assert_non_null(other);
	assert_int_equal(other->key[5], 9);
	assert_null(have_find_other_remote(have, &elsewhere));
	assert_null(have_find_other_remote(have, &six));
	assert_null(have_find_other_remote(have, &(struct kernel_object[]){ fdb(7, 9, "172.16.0.1",
										NUD_PERMANENT) }[0]));
	third = A;
	assert_null(have_find_other_remote(have, &third));
	third = fdb(7, 9, "172.16.0.3", NUD_PERMANENT);
	// A claimed one before others.
	have_add(have, &third);
	have_find(have, &third)->claimed = true;
	assert_ptr_equal(have_find_other_remote(have, &wanted), have_find(have, &third));
	have_free(have);
}

static void test_a_claimed_entry_stands_for_what_is_written(void **state)
{
	(void)state;
	struct have *have = have_new(0);
	struct kernel_object flannels = with(R6, route.metric = 1024),
			     ours = with(R6, route.nexthop_id = 5);
	flannels.route.protocol = RTPROT_BOOT;
	have_add(have, &flannels);
	struct have_entry *entry = have_find(have, &ours);
	assert_false(have_entry_equals(entry, &ours));
	have_entry_claim(entry, &ours);
	assert_true(entry->seen && entry->claimed);
	assert_ptr_equal(have_find(have, &ours), entry);
	assert_true(have_entry_equals(entry, &ours));
	have_free(have);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_and_equality),
		cmocka_unit_test(test_what_is_not_kept),
		cmocka_unit_test(test_many_and_back),
		cmocka_unit_test(test_another_remote_of_a_mac),
		cmocka_unit_test(test_a_claimed_entry_stands_for_what_is_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
