// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of batches against a real kernel: what they program, what they report and what they do when answers are lost.

#include "core/strbuf.h"
#include "kernel/exchange.h"
#include "kernel/link.h"
#include "netns.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#define MANY 1000

struct results {
	uint32_t tags[4 * MANY + 16];
	int errors[4 * MANY + 16];
	char text[256]; // of the last failure
	size_t count;
	size_t failed;
};

static struct netlink *nl;
static uint32_t device; // index of flannel.1, up

static void take_result(void *arg, uint32_t tag, int error, const char *extack)
{
	struct results *results = arg;

	results->tags[results->count] = tag;
	results->errors[results->count++] = error;
	if (error < 0) {
		results->failed++;
		(void)text_copy(results->text, sizeof(results->text), extack);
	}
}

static void check(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%d: %s", r, e->msg);
}

static void set_up(unsigned int without)
{
	struct link link = {
		.name = "flannel.1",
		.mac = { { 2, 0, 0, 0, 0, 1 } },
		.vxlan = { .vni = 1, .local = ip_v4(0x0a630001) },
	};
	struct err e = { 0 };

	netns_enter();
	check(netlink_open(without, &nl, &e), &e);
	check(link_create_vxlan(nl, &link, &e), &e);
	check(link_get_by_name(nl, "flannel.1", &link, &e), &e);
	device = link.ifindex;
	check(link_set_up(nl, device, true, &e), &e);
}

static void commit(struct netlink_batch *batch, struct results *results)
{
	struct err e = { 0 };

	memset(results, 0, sizeof(*results));
	check(netlink_batch_commit(batch, take_result, results, &e), &e);
	assert_int_equal(netlink_batch_count(batch), 0);
}

static int one(enum netlink_verb verb, const struct kernel_object *object)
{
	struct netlink_batch *batch = netlink_batch_new(nl);
	static struct results results;

	netlink_batch_add(batch, verb, object, 5);
	commit(batch, &results);
	netlink_batch_free(batch);
	assert_int_equal(results.count, 1);
	assert_int_equal(results.tags[0], 5);
	return results.errors[0];
}

// The peer number i has 10.(i / 256).(i % 256).0/24 and the like.
static struct ip peer_ip(unsigned int i)
{
	return ip_v4(0x0b000000 + (i << 8));
}

static struct mac peer_mac(unsigned int i)
{
	return (struct mac){ { 0x02, 0xaa, 0, 0, (uint8_t)(i >> 8), (uint8_t)i } };
}

static struct kernel_object neigh_of(unsigned int i)
{
	return (struct kernel_object){
		.kind = KERNEL_NEIGH,
		.neigh = { .ifindex = device, .ip = peer_ip(i), .mac = peer_mac(i) }
	};
}

static struct kernel_object fdb_of(unsigned int i)
{
	return (struct kernel_object){
		.kind = KERNEL_FDB,
		.fdb = { .ifindex = device, .mac = peer_mac(i), .remote = ip_v4(0x0a640000 + i) },
	};
}

static struct kernel_object nexthop_of(unsigned int i)
{
	return (struct kernel_object){
		.kind = KERNEL_NEXTHOP,
		.nexthop = { .id = 1000 + i, .ifindex = device, .gateway = peer_ip(i), .onlink = true },
	};
}

static struct kernel_object route_of(unsigned int i)
{
	struct ip ip = peer_ip(i);

	return (struct kernel_object){ .kind = KERNEL_ROUTE,
				       .route = { .dst = ipnet_of(&ip, 24), .nexthop_id = 1000 + i } };
}

static struct kernel_object classic_route_of(unsigned int i)
{
	struct kernel_object object = route_of(i);

	object.route.nexthop_id = 0;
	object.route.ifindex = device;
	object.route.gateway = peer_ip(i);
	object.route.onlink = true;
	return object;
}

typedef struct kernel_object peer_object_fn(unsigned int i);
static peer_object_fn *const peer_objects[] = { neigh_of, fdb_of, nexthop_of, route_of };

// Of one object of each kind, as the given program shows it.
static void compare_entry(json_t *all, size_t expected, const char *key, const char *value,
			  const char *literal)
{
	json_t *entry, *want, *got = NULL;
	const char *name;
	json_t *member;
	size_t i;

	assert_int_equal(json_array_size(all), expected);
	json_array_foreach(all, i, entry)
		if (strcmp(json_text_of(entry, key), value) == 0)
			got = entry;
	if (!got)
		fail_msg("no %s %s", key, value);
	want = json_loads(literal, 0, NULL);
	assert_non_null(want);
	json_object_foreach(want, name, member)
		if (!json_equal(member, json_object_get(got, name)))
			fail_msg("%s: want %s, got %s", name, literal, json_dumps(got, 0));
	assert_int_equal(json_object_size(got), json_object_size(want));
	json_decref(want);
	json_decref(all);
}

static void test_a_thousand_peers(void **state)
{
	struct netlink_batch *batch;
	static struct results results;

	(void)state;
	set_up(0);
	batch = netlink_batch_new(nl);
	for (unsigned int kind = 0; kind < 4; kind++)
		for (unsigned int i = 0; i < MANY; i++) {
			struct kernel_object object = peer_objects[kind](i);

			netlink_batch_add(batch, NETLINK_REPLACE, &object, kind * MANY + i);
		}
	assert_int_equal(netlink_batch_count(batch), 4 * MANY);
	commit(batch, &results);
	assert_int_equal(results.failed, 0);
	assert_int_equal(results.count, 4 * MANY);
	for (size_t i = 0; i < results.count; i++)
		assert_int_equal(results.tags[i], i);
	// 4,000 requests of about 50 bytes are two sends of at most 200 KiB.
	assert_in_range(netlink_stats(nl)->sends, 2, 6);

	compare_entry(netns_json("ip", "-j", "-4", "neigh", "show", "dev", "flannel.1", NULL), MANY,
		      "dst", "11.0.42.0",
		      "{\"dst\":\"11.0.42.0\",\"lladdr\":\"02:aa:00:00:00:2a\",\"state\":[\"PERMANENT\"]}");
	compare_entry(netns_json("bridge", "-j", "fdb", "show", "dev", "flannel.1", NULL), MANY,
		      "mac", "02:aa:00:00:00:2a",
		      "{\"mac\":\"02:aa:00:00:00:2a\",\"dst\":\"10.100.0.42\","
		      "\"flags\":[\"self\"],\"state\":\"permanent\"}");
	compare_entry(netns_json("ip", "-j", "-N", "-4", "route", "show", NULL), MANY, "dst",
		      "11.0.42.0/24",
		      "{\"dst\":\"11.0.42.0/24\",\"nhid\":1042,\"gateway\":\"11.0.42.0\",\"dev\":\"flannel.1\","
		      "\"protocol\":\"157\",\"flags\":[\"onlink\"]}");
	assert_int_equal(netns_json_count("ip", "-j", "nexthop", "show", NULL), MANY);
	netlink_batch_free(batch);
	netlink_close(nl);
}

static void test_classic_route_as_flannel_makes_it(void **state)
{
	struct kernel_object route, back;

	(void)state;
	set_up(1u << NETLINK_FEATURE_NEXTHOP);
	assert_false(netlink_has(nl, NETLINK_FEATURE_NEXTHOP));
	route = classic_route_of(1);
	assert_int_equal(one(NETLINK_REPLACE, &route), 0);
	compare_entry(netns_json("ip", "-j", "-N", "-d", "-4", "route", "show", NULL), 1, "dst",
		      "11.0.1.0/24",
		      "{\"type\":\"1\",\"dst\":\"11.0.1.0/24\",\"gateway\":\"11.0.1.0\",\"dev\":\"flannel.1\","
		      "\"protocol\":\"157\",\"scope\":\"0\",\"flags\":[\"onlink\"]}");
	// Another's route to the same place is not deleted in its stead.
	back = route;
	back.route.protocol = RTPROT_BOOT;
	assert_int_equal(one(NETLINK_DELETE, &back), -ESRCH);
	back = route;
	back.route.gateway = peer_ip(2);
	assert_int_equal(one(NETLINK_DELETE, &back), -ESRCH);
	assert_int_equal(one(NETLINK_DELETE, &route), 0);
	netlink_close(nl);
}

static void test_one_failure_among_many(void **state)
{
	struct netlink_batch *batch;
	static struct results results;
	struct kernel_object object;

	(void)state;
	set_up(0);
	batch = netlink_batch_new(nl);
	for (unsigned int i = 0; i < MANY; i++) {
		object = neigh_of(i);
		if (i == 500)
			object.neigh.ifindex = 4711;
		netlink_batch_add(batch, NETLINK_REPLACE, &object, i);
	}
	object = route_of(1); // over a nexthop that is not there
	netlink_batch_add(batch, NETLINK_REPLACE, &object, 77777);
	commit(batch, &results);
	assert_int_equal(results.count, MANY + 1);
	assert_int_equal(results.failed, 2);
	assert_int_equal(results.tags[500], 500);
	assert_int_equal(results.errors[500], -ENODEV);
	assert_int_equal(results.tags[MANY], 77777);
	assert_int_equal(results.errors[MANY], -EINVAL);
	assert_string_equal(results.text, "Nexthop id does not exist");
	assert_int_equal(netlink_stats(nl)->failed, 2);
	assert_int_equal(netns_json_count("ip", "-j", "-4", "neigh", "show", NULL), MANY - 1);
	// The batch is empty and can be used again.
	commit(batch, &results);
	assert_int_equal(results.count, 0);
	object = neigh_of(500);
	netlink_batch_add(batch, NETLINK_CREATE, &object, 1);
	commit(batch, &results);
	assert_int_equal(results.failed, 0);
	netlink_batch_free(batch);
	netlink_close(nl);
}

static void test_create_replace_delete(void **state)
{
	struct kernel_object object, moved;

	(void)state;
	set_up(0);
	for (unsigned int kind = 0; kind < 4; kind++) {
		object = peer_objects[kind](3);
		assert_int_equal(one(NETLINK_CREATE, &object), 0);
		assert_int_equal(one(NETLINK_CREATE, &object), -EEXIST);
		assert_int_equal(one(NETLINK_REPLACE, &object), 0);
	}
	moved = neigh_of(3);
	moved.neigh.mac = peer_mac(9);
	assert_int_equal(one(NETLINK_REPLACE, &moved), 0);
	compare_entry(netns_json("ip", "-j", "-4", "neigh", "show", "dev", "flannel.1", NULL), 1,
		      "dst", "11.0.3.0",
		      "{\"dst\":\"11.0.3.0\",\"lladdr\":\"02:aa:00:00:00:09\",\"state\":[\"PERMANENT\"]}");
	moved = fdb_of(3);
	moved.fdb.remote = ip_v4(0x0a640909);
	assert_int_equal(one(NETLINK_REPLACE, &moved), 0);
	compare_entry(netns_json("bridge", "-j", "fdb", "show", "dev", "flannel.1", NULL), 1, "dst",
		      "10.100.9.9",
		      "{\"mac\":\"02:aa:00:00:00:03\",\"dst\":\"10.100.9.9\","
		      "\"flags\":[\"self\"],\"state\":\"permanent\"}");
	// A delete that names another remote leaves the entry, though the kernel calls that a success.
	object = fdb_of(3);
	assert_int_equal(one(NETLINK_DELETE, &object), 0);
	assert_int_equal(netns_json_count("bridge", "-j", "fdb", "show", "dev", "flannel.1", NULL), 1);
	assert_int_equal(one(NETLINK_DELETE, &moved), 0);
	assert_int_equal(one(NETLINK_DELETE, &moved), -ENOENT);
	assert_int_equal(netns_json_count("bridge", "-j", "fdb", "show", "dev", "flannel.1", NULL), 0);
	// A nexthop moves under its route.
	moved = nexthop_of(3);
	moved.nexthop.gateway = peer_ip(8);
	assert_int_equal(one(NETLINK_REPLACE, &moved), 0);
	compare_entry(netns_json("ip", "-j", "-N", "-4", "route", "show", NULL), 1, "gateway",
		      "11.0.8.0",
		      "{\"dst\":\"11.0.3.0/24\",\"nhid\":1003,\"gateway\":\"11.0.8.0\",\"dev\":\"flannel.1\","
		      "\"protocol\":\"157\",\"flags\":[\"onlink\"]}");
	object = route_of(3);
	object.route.nexthop_id = 1004;
	assert_int_equal(one(NETLINK_DELETE, &object), -EINVAL); // no such nexthop
	object = route_of(3);
	assert_int_equal(one(NETLINK_DELETE, &object), 0);
	assert_int_equal(one(NETLINK_DELETE, &object), -ESRCH);
	assert_int_equal(one(NETLINK_DELETE, &moved), 0);
	assert_int_equal(one(NETLINK_DELETE, &moved), -ENOENT);
	object = neigh_of(3);
	assert_int_equal(one(NETLINK_DELETE, &object), 0);
	assert_int_equal(one(NETLINK_DELETE, &object), -ENOENT);
	netlink_close(nl);
}

static void test_replace_overwrites_what_the_kernel_learned(void **state)
{
	struct kernel_object object;

	(void)state;
	set_up(0);
	netns_run("ip", "neigh", "add", "11.0.3.0", "lladdr", "02:00:00:00:00:77", "dev",
		  "flannel.1", "nud", "reachable", NULL);
	netns_run("bridge", "fdb", "add", "02:aa:00:00:00:03", "dev", "flannel.1", "dst",
		  "10.1.1.1", "self", "dynamic", NULL);
	object = neigh_of(3);
	assert_int_equal(one(NETLINK_REPLACE, &object), 0);
	object = fdb_of(3);
	assert_int_equal(one(NETLINK_REPLACE, &object), 0);
	compare_entry(netns_json("ip", "-j", "-4", "neigh", "show", "dev", "flannel.1", NULL), 1,
		      "dst", "11.0.3.0",
		      "{\"dst\":\"11.0.3.0\",\"lladdr\":\"02:aa:00:00:00:03\",\"state\":[\"PERMANENT\"]}");
	compare_entry(netns_json("bridge", "-j", "fdb", "show", "dev", "flannel.1", NULL), 1, "dst",
		      "10.100.0.3",
		      "{\"mac\":\"02:aa:00:00:00:03\",\"dst\":\"10.100.0.3\","
		      "\"flags\":[\"self\"],\"state\":\"permanent\"}");
	netlink_close(nl);
}

static void test_addresses(void **state)
{
	struct kernel_object four = {
		.kind = KERNEL_ADDR,
		.addr = { .ip = ip_v4(0x0af40300), .len = 32, .flags = IFA_F_NOPREFIXROUTE },
	};
	struct kernel_object six = { .kind = KERNEL_ADDR,
				     .addr = { .len = 128, .flags = IFA_F_NODAD } };
	json_t *shown, *list;

	(void)state;
	set_up(0);
	four.addr.ifindex = six.addr.ifindex = device;
	assert_int_equal(ip_parse("fd00:10:5::", &six.addr.ip), 0);
	assert_int_equal(one(NETLINK_CREATE, &four), 0);
	assert_int_equal(one(NETLINK_CREATE, &six), 0);
	assert_int_equal(one(NETLINK_CREATE, &four), -EEXIST);
	assert_int_equal(one(NETLINK_REPLACE, &four), 0);
	shown = netns_json("ip", "-j", "addr", "show", "dev", "flannel.1", NULL);
	list = json_object_get(json_array_get(shown, 0), "addr_info");
	assert_int_equal(json_array_size(list), 3); // the last is the device's own link-local one
	assert_string_equal(json_text_of(json_array_get(list, 0), "local"), "10.244.3.0");
	assert_int_equal(json_int_of(json_array_get(list, 0), "prefixlen"), 32);
	assert_true(json_bool_of(json_array_get(list, 0), "noprefixroute"));
	assert_string_equal(json_text_of(json_array_get(list, 1), "local"), "fd00:10:5::");
	assert_int_equal(json_int_of(json_array_get(list, 1), "prefixlen"), 128);
	assert_true(json_bool_of(json_array_get(list, 1), "nodad"));
	json_decref(shown);
	assert_int_equal(one(NETLINK_DELETE, &four), 0);
	assert_int_equal(one(NETLINK_DELETE, &six), 0);
	assert_int_equal(one(NETLINK_DELETE, &four), -EADDRNOTAVAIL);
	assert_int_equal(one(NETLINK_DELETE, &six), -EADDRNOTAVAIL);
	netlink_close(nl);
}

static void test_ipv6_and_mixed_families(void **state)
{
	struct kernel_object neigh, fdb, nexthop, route, mixed;
	struct ip six;

	(void)state;
	set_up(0);
	assert_int_equal(ip_parse("fd00:10:5:7::", &six), 0);
	neigh = neigh_of(1);
	neigh.neigh.ip = six;
	nexthop = nexthop_of(1);
	nexthop.nexthop.gateway = six;
	route = route_of(1);
	route.route.dst = ipnet_of(&six, 64);
	assert_int_equal(one(NETLINK_REPLACE, &neigh), 0);
	assert_int_equal(one(NETLINK_REPLACE, &nexthop), 0);
	assert_int_equal(one(NETLINK_REPLACE, &route), 0);
	assert_int_equal(netns_json_count("ip", "-j", "-6", "neigh", "show", "fd00:10:5:7::", NULL), 1);
	compare_entry(netns_json("ip", "-j", "-N", "-6", "route", "show", "proto", "157", NULL), 1,
		      "dst", "fd00:10:5:7::/64",
		      "{\"dst\":\"fd00:10:5:7::/64\",\"nhid\":1001,\"gateway\":\"fd00:10:5:7::\",\"dev\":\"flannel.1\","
		      "\"metric\":1024,\"flags\":[\"onlink\"],\"pref\":\"medium\"}");
	// An IPv4 route through an IPv6 gateway, classic.
	mixed = classic_route_of(2);
	mixed.route.gateway = six;
	assert_int_equal(one(NETLINK_REPLACE, &mixed), 0);
	compare_entry(netns_json("ip", "-j", "-N", "-4", "route", "show", NULL), 1, "dst",
		      "11.0.2.0/24",
		      "{\"dst\":\"11.0.2.0/24\",\"via\":{\"family\":\"inet6\",\"host\":\"fd00:10:5:7::\"},"
		      "\"dev\":\"flannel.1\",\"protocol\":\"157\",\"flags\":[\"onlink\"]}");
	assert_int_equal(one(NETLINK_DELETE, &mixed), 0);
	assert_int_equal(one(NETLINK_DELETE, &route), 0);
	// A family of the remote other than the device's is the kernel's to refuse.
	fdb = fdb_of(1);
	fdb.fdb.remote = six;
	assert_int_equal(one(NETLINK_REPLACE, &fdb), -EAFNOSUPPORT);
	netlink_close(nl);
}

static void test_table_metric_and_source(void **state)
{
	struct kernel_object route;

	(void)state;
	set_up(0);
	netns_run("ip", "addr", "add", "10.244.1.0/32", "dev", "flannel.1", NULL);
	route = classic_route_of(1);
	route.route.table = 5000;
	route.route.metric = 7;
	route.route.protocol = RTPROT_BOOT;
	route.route.prefsrc = ip_v4(0x0af40100);
	assert_int_equal(one(NETLINK_CREATE, &route), 0);
	compare_entry(netns_json("ip", "-j", "-N", "-d", "route", "show", "table", "5000", NULL), 1,
		      "dst", "11.0.1.0/24",
		      "{\"type\":\"1\",\"scope\":\"0\",\"dst\":\"11.0.1.0/24\",\"gateway\":\"11.0.1.0\",\"dev\":\"flannel.1\",\"protocol\":\"3\","
		      "\"prefsrc\":\"10.244.1.0\",\"metric\":7,\"flags\":[\"onlink\"]}");
	assert_int_equal(one(NETLINK_DELETE, &route), 0);
	netlink_close(nl);
}

// The receive buffer is made too small behind the sender's back: the kernel does the work and cannot tell.
static void test_lost_acknowledgements(void **state)
{
	struct netlink_batch *batch;
	static struct results results;
	struct kernel_object object;
	int tiny = 1;

	(void)state;
	set_up(0);
	assert_int_equal(setsockopt(nl->requests.fd, SOL_SOCKET, SO_RCVBUFFORCE, &tiny, sizeof(tiny)),
			 0);
	batch = netlink_batch_new(nl);
	for (unsigned int i = 0; i < MANY; i++) {
		object = neigh_of(i);
		if (i % 10 == 9) // a hundred refusals, of which a few fit
			object.neigh.ifindex = 4711;
		netlink_batch_add(batch, NETLINK_REPLACE, &object, i);
	}
	object = nexthop_of(0);
	netlink_batch_add(batch, NETLINK_CREATE, &object, 88888);
	object = neigh_of(0);
	netlink_batch_add(batch, NETLINK_REPLACE, &object, 99999);
	commit(batch, &results);
	assert_int_equal(results.count, MANY + 2);
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(results.tags[i], i);
		assert_int_equal(results.errors[i], i % 10 == 9 ? -ENODEV : 0);
	}
	// What its first sending made is in the way of the second, and only a scan may say whose it is.
	assert_int_equal(results.tags[MANY], 88888);
	assert_int_equal(results.errors[MANY], -EEXIST);
	assert_int_equal(results.errors[MANY + 1], 0);
	assert_int_equal(results.failed, MANY / 10 + 1);
	assert_true(netlink_stats(nl)->sends > 100); // one by one, or this test tested nothing
	assert_int_equal(netns_json_count("ip", "-j", "-4", "neigh", "show", NULL), MANY - MANY / 10);
	netlink_batch_free(batch);
	netlink_close(nl);
}

// A batch that fails from its first to its last request, and one whose last fails alone.
static void test_failures_at_the_ends(void **state)
{
	struct netlink_batch *batch;
	static struct results results;
	struct kernel_object object;

	(void)state;
	set_up(0);
	batch = netlink_batch_new(nl);
	for (unsigned int i = 0; i < 10; i++) {
		object = neigh_of(i);
		object.neigh.ifindex = i == 0 || i == 9 ? 4711 : device;
		netlink_batch_add(batch, NETLINK_REPLACE, &object, i);
	}
	commit(batch, &results);
	assert_int_equal(results.count, 10);
	for (size_t i = 0; i < 10; i++)
		assert_int_equal(results.errors[i], i == 0 || i == 9 ? -ENODEV : 0);
	assert_int_equal(netns_json_count("ip", "-j", "-4", "neigh", "show", NULL), 8);
	netlink_batch_free(batch);
	netlink_close(nl);
}

// Without CAP_NET_ADMIN over the buffer the kernel's limit holds, and sends are cut to what it can acknowledge.
static void test_sends_fit_the_receive_buffer(void **state)
{
	struct netlink_batch *batch;
	static struct results results;
	struct kernel_object object;
	int small = 64 * 1024;
	socklen_t len = sizeof(small);

	(void)state;
	set_up(0);
	assert_int_equal(setsockopt(nl->requests.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	assert_int_equal(getsockopt(nl->requests.fd, SOL_SOCKET, SO_RCVBUF, &small, &len), 0);
	nl->requests.receive_max = (size_t)small;
	batch = netlink_batch_new(nl);
	for (unsigned int i = 0; i < MANY; i++) {
		object = neigh_of(i);
		object.neigh.ifindex = 4711; // refusals are longer than acknowledgements
		netlink_batch_add(batch, NETLINK_REPLACE, &object, i);
	}
	commit(batch, &results);
	assert_int_equal(results.failed, MANY);
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(results.errors[i], -ENODEV);
	// Ten sends of about a hundred; a lost answer would have meant a send of its own for each.
	assert_in_range(netlink_stats(nl)->sends, 9, 20);
	netlink_batch_free(batch);
	netlink_close(nl);
}

static void test_broken_socket_is_reported_and_replaced(void **state)
{
	struct netlink_batch *batch;
	static struct results results;
	struct kernel_object object;
	struct netlink *older;
	struct err e = { 0 };
	uint32_t port_id;

	(void)state;
	set_up(0);
	// The first socket of a process has its process id, which the kernel would give out again.
	older = nl;
	check(netlink_open(0, &nl, &e), &e);
	port_id = netlink_port_id(nl);
	assert_int_not_equal(port_id, netlink_port_id(older));
	netlink_close(older);
	batch = netlink_batch_new(nl);
	object = neigh_of(1);
	netlink_batch_add(batch, NETLINK_REPLACE, &object, 1);
	netlink_batch_add(batch, NETLINK_REPLACE, &object, 2);
	assert_int_equal(shutdown(nl->requests.fd, SHUT_RDWR), -1); // netlink knows no shutdown
	assert_int_equal(dup2(STDERR_FILENO, nl->requests.fd), nl->requests.fd);
	memset(&results, 0, sizeof(results));
	assert_int_equal(netlink_batch_commit(batch, take_result, &results, &e), -ENOTSOCK);
	assert_int_equal(results.count, 2);
	assert_int_equal(results.errors[0], -EIO);
	assert_int_equal(results.errors[1], -EIO);
	assert_non_null(strstr(e.msg, "netlink"));
	assert_int_equal(one(NETLINK_REPLACE, &object), 0);
	assert_int_equal(netlink_port_id(nl), port_id);
	netlink_batch_free(batch);
	netlink_close(nl);
}

// The first send goes through and the second, of longer requests, does not: what was done is not called undone.
static void test_a_later_send_that_fails(void **state)
{
	struct netlink_batch *batch;
	static struct results results;
	struct kernel_object object;
	struct err e = { 0 };
	int small = 3200; // the kernel doubles it

	(void)state;
	set_up(0);
	assert_int_equal(setsockopt(nl->requests.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	nl->requests.receive_max = 100 * exchange_acks.answer_memory;
	batch = netlink_batch_new(nl);
	for (unsigned int i = 0; i < 200; i++) {
		object = i < 100 ? neigh_of(i) : classic_route_of(i);
		if (i >= 100) {
			object.route.dst.addr = (struct ip){ AF_INET6, { 0xfd, (uint8_t)i } };
			object.route.gateway = object.route.dst.addr;
		}
		netlink_batch_add(batch, NETLINK_REPLACE, &object, i);
	}
	memset(&results, 0, sizeof(results));
	assert_int_equal(netlink_batch_commit(batch, take_result, &results, &e), -EMSGSIZE);
	assert_int_equal(results.count, 200);
	for (size_t i = 0; i < 200; i++)
		assert_int_equal(results.errors[i], i < 100 ? 0 : -EIO);
	assert_int_equal(netns_json_count("ip", "-j", "-4", "neigh", "show", NULL), 100);
	netlink_batch_free(batch);
	netlink_close(nl);
}

static int never_called(void *arg, const struct request *asked, const struct nlmsg_view *answer)
{
	(void)arg, (void)asked, (void)answer;
	fail_msg("an answer to a change that wants none");
	return 0;
}

// A change without an acknowledgement is a request that nobody answers.
static void test_a_kernel_that_does_not_answer(void **state)
{
	const struct exchange silent = {
		.fn = never_called,
		.answer_bytes = 1024,
		.answer_memory = 1280,
	};
	struct timeval soon = { .tv_usec = 20000 };
	_cleanup_request_queue_ struct request_queue queue = { 0 };
	struct kernel_object object;
	struct err e = { 0 };

	(void)state;
	set_up(0);
	assert_int_equal(setsockopt(nl->requests.fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon)), 0);
	request_queue_push(&queue, encode_link_set_up(device, true, request_queue_reserve(&queue)), 0);
	assert_int_equal(exchange_run(nl, &silent, &queue, &e), -EIO);
	assert_int_equal(queue.requests[0].error, -EIO);
	assert_non_null(strstr(e.msg, "did not answer"));
	object = neigh_of(1);
	assert_int_equal(one(NETLINK_REPLACE, &object), 0);
	netlink_close(nl);
}

// What comes late to an earlier question is no answer to this one.
static void test_stale_answers(void **state)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];
	struct kernel_object object;
	size_t len;

	(void)state;
	set_up(0);
	object = neigh_of(1);
	object.neigh.ifindex = 4711;
	len = encode_object(NETLINK_REPLACE, &object, buffer);
	nlmsg_set_sequence(buffer, nl->sequence - 1);
	assert_int_equal(nlsock_send(&nl->requests, buffer, len), 0);
	nlmsg_set_sequence(buffer, nl->sequence + 1000);
	assert_int_equal(nlsock_send(&nl->requests, buffer, len), 0);
	object = neigh_of(1);
	assert_int_equal(one(NETLINK_REPLACE, &object), 0);
	object.neigh.ifindex = 4711;
	assert_int_equal(one(NETLINK_REPLACE, &object), -ENODEV);
	netlink_close(nl);
}

struct refill {
	struct netlink_batch *batch;
	size_t calls;
};

static void add_again(void *arg, uint32_t tag, int error, const char *extack)
{
	struct refill *refill = arg;
	struct kernel_object object = neigh_of(tag);

	(void)extack;
	assert_int_equal(error, 0);
	refill->calls++;
	netlink_batch_add(refill->batch, NETLINK_DELETE, &object, tag);
}

static void test_results_may_fill_the_next_batch(void **state)
{
	struct refill refill = { 0 };
	static struct results results;
	struct kernel_object object;
	struct err e = { 0 };

	(void)state;
	set_up(0);
	refill.batch = netlink_batch_new(nl);
	for (unsigned int i = 0; i < 100; i++) {
		object = neigh_of(i);
		netlink_batch_add(refill.batch, NETLINK_CREATE, &object, i);
	}
	check(netlink_batch_commit(refill.batch, add_again, &refill, &e), &e);
	assert_int_equal(refill.calls, 100);
	assert_int_equal(netlink_batch_count(refill.batch), 100);
	commit(refill.batch, &results);
	assert_int_equal(results.count, 100);
	assert_int_equal(results.failed, 0);
	assert_int_equal(netns_json_count("ip", "-j", "-4", "neigh", "show", NULL), 0);
	netlink_batch_free(refill.batch);
	netlink_close(nl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_thousand_peers),
		cmocka_unit_test(test_classic_route_as_flannel_makes_it),
		cmocka_unit_test(test_one_failure_among_many),
		cmocka_unit_test(test_create_replace_delete),
		cmocka_unit_test(test_replace_overwrites_what_the_kernel_learned),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_ipv6_and_mixed_families),
		cmocka_unit_test(test_table_metric_and_source),
		cmocka_unit_test(test_lost_acknowledgements),
		cmocka_unit_test(test_failures_at_the_ends),
		cmocka_unit_test(test_sends_fit_the_receive_buffer),
		cmocka_unit_test(test_broken_socket_is_reported_and_replaced),
		cmocka_unit_test(test_a_later_send_that_fails),
		cmocka_unit_test(test_a_kernel_that_does_not_answer),
		cmocka_unit_test(test_stale_answers),
		cmocka_unit_test(test_results_may_fill_the_next_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
