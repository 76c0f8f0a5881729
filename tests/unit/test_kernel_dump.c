// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of dumps against a real kernel: every attribute back, slices, filters with and without the kernel's help,
// tables that change meanwhile.

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
#include <unistd.h>

#include <cmocka.h>

#define MANY 1000

static struct netlink *nl;
static uint32_t device; // flannel.1
static uint32_t other;	// vx2, the device that filters leave out

struct seen {
	struct kernel_object objects[4 * MANY];
	size_t count;
};

static struct seen seen;

static void see(void *arg, const struct kernel_object *object)
{
	(void)arg;
	assert_true(seen.count < 4 * MANY);
	seen.objects[seen.count++] = *object;
}

static void check(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%d: %s", r, e->msg);
}

static void add_result(void *arg, uint32_t tag, int error, const char *extack)
{
	(void)arg, (void)extack;
	if (error < 0)
		fail_msg("request %u: %d %s", tag, error, extack);
}

static void add(struct kernel_object object)
{
	struct netlink_batch *batch = netlink_batch_new(nl);
	struct err e = { 0 };

	netlink_batch_add(batch, NETLINK_REPLACE, &object, 0);
	check(netlink_batch_commit(batch, add_result, NULL, &e), &e);
	netlink_batch_free(batch);
}

static uint32_t make_vxlan(const char *name, uint32_t vni)
{
	struct link link = { .vxlan = { .vni = vni, .local = ip_v4(0x0a630001) } };
	struct err e = { 0 };

	assert_int_equal(text_copy(link.name, sizeof(link.name), name), 0);
	check(link_create_vxlan(nl, &link, &e), &e);
	check(link_get_by_name(nl, name, &link, &e), &e);
	check(link_set_up(nl, link.ifindex, true, &e), &e);
	return link.ifindex;
}

static void set_up(unsigned int without)
{
	struct err e = { 0 };

	netns_enter();
	check(netlink_open(without, &nl, &e), &e);
	device = make_vxlan("flannel.1", 1);
	other = make_vxlan("vx2", 2);
}

static size_t dump(enum kernel_kind kind, struct netlink_dump_filter filter)
{
	struct err e = { 0 };

	seen.count = 0;
	check(netlink_dump_all(nl, kind, &filter, see, NULL, &e), &e);
	for (size_t i = 0; i < seen.count; i++)
		assert_int_equal(seen.objects[i].kind, kind);
	return seen.count;
}

static struct mac mac_of(unsigned int i)
{
	return (struct mac){ { 0x02, 0xaa, 0, 0, (uint8_t)(i >> 8), (uint8_t)i } };
}

static struct ip gateway_of(unsigned int i)
{
	return ip_v4(0x0b000000 + (i << 8));
}

// One peer on one device, of all four kinds.
static void add_peer(unsigned int i, uint32_t ifindex)
{
	struct ip gateway = gateway_of(i);
	struct kernel_object objects[] = {
		{ .kind = KERNEL_NEIGH,
		  .neigh = { .ifindex = ifindex, .ip = gateway, .mac = mac_of(i) } },
		{ .kind = KERNEL_FDB,
		  .fdb = { .ifindex = ifindex, .mac = mac_of(i), .remote = ip_v4(0x0a640000 + i) } },
		{ .kind = KERNEL_NEXTHOP,
		  .nexthop = { .id = 1000 + i, .ifindex = ifindex, .gateway = gateway, .onlink = true } },
		{ .kind = KERNEL_ROUTE,
		  .route = { .dst = ipnet_of(&gateway, 24), .nexthop_id = 1000 + i } },
	};

	for (size_t k = 0; k < ARRAY_SIZE(objects); k++)
		add(objects[k]);
}

static void test_every_attribute_comes_back(void **state)
{
	struct ip gateway = gateway_of(7), remote = ip_v4(0x0a640007);
	struct mac mac = mac_of(7);

	(void)state;
	set_up(0);
	add_peer(7, device);
	add((struct kernel_object){ .kind = KERNEL_ADDR,
				    .addr = { .ifindex = device,
					      .ip = ip_v4(0x0af40300),
					      .len = 32,
					      .scope = RT_SCOPE_LINK } });

	assert_int_equal(dump(KERNEL_ADDR, (struct netlink_dump_filter){ AF_INET, device, 0, 0 }), 1);
	assert_int_equal(ip_v4_value(&seen.objects[0].addr.ip), 0x0af40300);
	assert_int_equal(seen.objects[0].addr.len, 32);
	assert_int_equal(seen.objects[0].addr.scope, RT_SCOPE_LINK);
	assert_int_equal(seen.objects[0].addr.flags, IFA_F_PERMANENT);

	assert_int_equal(dump(KERNEL_NEIGH, (struct netlink_dump_filter){ AF_INET, device, 0, 0 }), 1);
	assert_int_equal(seen.objects[0].neigh.ifindex, device);
	assert_true(ip_equal(&seen.objects[0].neigh.ip, &gateway));
	assert_true(mac_equal(&seen.objects[0].neigh.mac, &mac));
	assert_int_equal(seen.objects[0].neigh.state, NUD_PERMANENT);

	assert_int_equal(dump(KERNEL_FDB, (struct netlink_dump_filter){ 0, device, 0, 0 }), 1);
	assert_int_equal(seen.objects[0].fdb.ifindex, device);
	assert_true(ip_equal(&seen.objects[0].fdb.remote, &remote));
	assert_true(mac_equal(&seen.objects[0].fdb.mac, &mac));
	assert_int_equal(seen.objects[0].fdb.state, NUD_PERMANENT);
	assert_false(seen.objects[0].fdb.other);

	assert_int_equal(dump(KERNEL_NEXTHOP, (struct netlink_dump_filter){ 0, 0, 0, 0 }), 1);
	assert_int_equal(seen.objects[0].nexthop.id, 1007);
	assert_int_equal(seen.objects[0].nexthop.ifindex, device);
	assert_int_equal(seen.objects[0].nexthop.protocol, KERNEL_PROTOCOL_WEFT);
	assert_true(ip_equal(&seen.objects[0].nexthop.gateway, &gateway));
	assert_true(seen.objects[0].nexthop.onlink);
	assert_false(seen.objects[0].nexthop.other);

	assert_int_equal(dump(KERNEL_ROUTE, (struct netlink_dump_filter){ AF_INET, 0, 0, 0 }), 1);
	assert_true(ip_equal(&seen.objects[0].route.dst.addr, &gateway));
	assert_int_equal(seen.objects[0].route.dst.len, 24);
	assert_int_equal(seen.objects[0].route.table, RT_TABLE_MAIN);
	assert_int_equal(seen.objects[0].route.metric, 0);
	assert_int_equal(seen.objects[0].route.nexthop_id, 1007);
	assert_true(ip_equal(&seen.objects[0].route.gateway, &gateway));
	assert_int_equal(seen.objects[0].route.ifindex, device);
	assert_int_equal(seen.objects[0].route.protocol, KERNEL_PROTOCOL_WEFT);
	assert_int_equal(seen.objects[0].route.scope, RT_SCOPE_UNIVERSE);
	assert_int_equal(seen.objects[0].route.type, RTN_UNICAST);
	assert_true(seen.objects[0].route.onlink);
	assert_false(seen.objects[0].route.multipath || seen.objects[0].route.other);

	assert_int_equal(dump(KERNEL_LINK, (struct netlink_dump_filter){ 0 }), 3);
	netlink_close(nl);
}

static void test_foreign_objects_are_told_apart(void **state)
{
	struct ip via;

	(void)state;
	set_up(0);
	netns_run("ip", "addr", "add", "10.244.1.0/24", "dev", "flannel.1", NULL);
	netns_run("ip", "nexthop", "add", "id", "5", "blackhole", NULL);
	netns_run("ip", "nexthop", "add", "id", "6", "via", "10.244.1.9", "dev", "flannel.1", NULL);
	netns_run("ip", "nexthop", "add", "id", "7", "group", "6", NULL);
	netns_run("ip", "nexthop", "add", "id", "8", "via", "10.100.0.1", "fdb", NULL);
	netns_run("ip", "route", "add", "10.9.0.0/16", "nexthop", "via", "10.244.1.7", "nexthop",
		  "via", "10.244.1.8", NULL);
	netns_run("ip", "route", "add", "10.8.0.0/16", "encap", "ip", "id", "7", "dst", "10.1.1.1",
		  "dev", "flannel.1", NULL);
	netns_run("ip", "route", "add", "10.7.0.0/16", "via", "inet6", "fe80::7", "dev",
		  "flannel.1", "onlink", NULL);
	netns_run("ip", "route", "add", "blackhole", "default", "metric", "9", NULL);
	netns_run("ip", "route", "add", "10.6.0.0/16", "tos", "0x10", "dev", "flannel.1", NULL);
	netns_run("bridge", "fdb", "add", "02:00:00:00:00:01", "dev", "flannel.1", "dst",
		  "10.1.1.1", "port", "99", "self", "permanent", NULL);
	netns_run("bridge", "fdb", "add", "02:00:00:00:00:02", "dev", "flannel.1", "dst",
		  "10.1.1.1", "vni", "99", "self", "permanent", NULL);
	netns_run("ip", "neigh", "add", "proxy", "10.244.1.77", "dev", "flannel.1", NULL);

	assert_int_equal(dump(KERNEL_NEXTHOP, (struct netlink_dump_filter){ 0 }), 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(seen.objects[i].nexthop.other, seen.objects[i].nexthop.id != 6);
	assert_int_equal(dump(KERNEL_FDB, (struct netlink_dump_filter){ 0, device, 0, 0 }), 2);
	assert_true(seen.objects[0].fdb.other && seen.objects[1].fdb.other);
	assert_int_equal(dump(KERNEL_NEIGH, (struct netlink_dump_filter){ AF_INET, device, 0, 0 }), 0);

	assert_int_equal(dump(KERNEL_ROUTE, (struct netlink_dump_filter){ .family = AF_INET }), 6);
	assert_int_equal(ip_parse("fe80::7", &via), 0);
	for (size_t i = 0; i < 6; i++) {
		const struct route *route = &seen.objects[i].route;

		switch (ip_v4_value(&route->dst.addr) >> 16) {
		case 0:
			assert_int_equal(route->dst.len, 0);
			assert_int_equal(route->type, RTN_BLACKHOLE);
			assert_int_equal(route->metric, 9);
			break;
		case 0x0a09:
			assert_true(route->multipath);
			assert_false(ip_is_set(&route->gateway));
			break;
		case 0x0a08:
		case 0x0a06:
			assert_true(route->other);
			break;
		case 0x0a07:
			assert_true(ip_equal(&route->gateway, &via));
			assert_true(route->onlink);
			break;
		case 0x0af4:
			assert_int_equal(route->protocol, RTPROT_KERNEL);
			assert_int_equal(route->scope, RT_SCOPE_LINK);
			assert_int_equal(ip_v4_value(&route->prefsrc), 0x0af40100);
			break;
		default:
			fail_msg("a route that nobody made");
		}
	}
	// The whole entry of a MAC goes when its remote is one that we could not have made.
	assert_int_equal(dump(KERNEL_FDB, (struct netlink_dump_filter){ 0, device, 0, 0 }), 2);
	{
		struct netlink_batch *batch = netlink_batch_new(nl);
		struct err e = { 0 };

		netlink_batch_add(batch, NETLINK_DELETE, &seen.objects[0], 0);
		netlink_batch_add(batch, NETLINK_DELETE, &seen.objects[1], 1);
		check(netlink_batch_commit(batch, add_result, NULL, &e), &e);
		netlink_batch_free(batch);
	}
	assert_int_equal(netns_json_count("bridge", "-j", "fdb", "show", "dev", "flannel.1", NULL), 0);
	netlink_close(nl);
}

// The same answers whether the kernel filters or we do.
static void filters(unsigned int without)
{
	struct netlink_dump_filter none = { 0 }, by_device = { 0 };
	size_t permanent = 0;

	set_up(without);
	assert_int_equal(netlink_has(nl, NETLINK_FEATURE_STRICT), !without);
	by_device.ifindex = device;
	add_peer(1, device);
	add_peer(2, other);
	netns_run("ip", "route", "add", "10.5.0.0/16", "dev", "flannel.1", NULL);
	netns_run("ip", "route", "add", "10.6.0.0/16", "dev", "flannel.1", "table", "200", NULL);
	netns_run("ip", "route", "add", "10.7.0.0/16", "dev", "flannel.1", "table", "2000", NULL);
	netns_run("ip", "-6", "route", "add", "fd00:5::/64", "dev", "flannel.1", NULL);
	netns_run("ip", "-6", "neigh", "add", "fd00:5::7", "lladdr", "02:00:00:00:00:07", "dev",
		  "flannel.1", NULL);

	assert_int_equal(dump(KERNEL_FDB, none), 2);
	assert_int_equal(dump(KERNEL_FDB, by_device), 1);
	assert_int_equal(seen.objects[0].fdb.ifindex, device);
	assert_int_equal(dump(KERNEL_NEXTHOP, none), 2);
	assert_int_equal(dump(KERNEL_NEXTHOP, by_device), 1);
	assert_int_equal(seen.objects[0].nexthop.id, 1001);
	assert_int_equal(dump(KERNEL_NEXTHOP, (struct netlink_dump_filter){ .protocol = 3 }), 0);
	assert_int_equal(dump(KERNEL_NEXTHOP, (struct netlink_dump_filter){ .family = AF_INET6 }), 0);
	assert_int_equal(dump(KERNEL_NEIGH, (struct netlink_dump_filter){ .family = AF_INET }), 2);
	assert_int_equal(dump(KERNEL_NEIGH, (struct netlink_dump_filter){ AF_INET, device, 0, 0 }), 1);
	// IPv6 has neighbours of its own making, for the multicast groups that it joins.
	dump(KERNEL_NEIGH, (struct netlink_dump_filter){ AF_INET6, device, 0, 0 });
	for (size_t i = 0; i < seen.count; i++)
		permanent += seen.objects[i].neigh.state == NUD_PERMANENT;
	assert_int_equal(permanent, 1);

	assert_int_equal(dump(KERNEL_ROUTE, (struct netlink_dump_filter){ .family = AF_INET }), 3);
	assert_int_equal(dump(KERNEL_ROUTE, (struct netlink_dump_filter){ AF_INET, device, 0, 0 }), 2);
	assert_int_equal(dump(KERNEL_ROUTE, (struct netlink_dump_filter){ .protocol = 157 }), 2);
	assert_int_equal(dump(KERNEL_ROUTE, (struct netlink_dump_filter){ AF_INET, device, 0, 157 }),
			 1);
	assert_int_equal(seen.objects[0].route.nexthop_id, 1001);
	assert_int_equal(dump(KERNEL_ROUTE, (struct netlink_dump_filter){ .table = 200 }), 1);
	assert_int_equal(dump(KERNEL_ROUTE, (struct netlink_dump_filter){ .table = 2000 }), 1);
	assert_int_equal(seen.objects[0].route.table, 2000);
	assert_int_equal(dump(KERNEL_ROUTE, (struct netlink_dump_filter){ .family = AF_INET6 }),
			 3); // two fe80::/64
	assert_int_equal(dump(KERNEL_ADDR, (struct netlink_dump_filter){ AF_INET6, device, 0, 0 }), 1);
	assert_int_equal(dump(KERNEL_ADDR, (struct netlink_dump_filter){ AF_INET6, 0, 0, 0 }), 3);

	// What is not there has no entries: a table that was never made, a device that went away.
	assert_int_equal(dump(KERNEL_ROUTE, (struct netlink_dump_filter){ AF_INET, 0, 77, 0 }), 0);
	for (enum kernel_kind kind = KERNEL_ADDR; kind < KERNEL_WG_PEER; kind++)
		assert_int_equal(dump(kind, (struct netlink_dump_filter){ AF_INET, 4711, 0, 0 }), 0);
	netlink_close(nl);
}

static void test_filters_of_the_kernel(void **state)
{
	(void)state;
	filters(0);
}

static void test_filters_without_the_kernel(void **state)
{
	(void)state;
	filters(1u << NETLINK_FEATURE_STRICT);
}

// Without strict checking the kernel takes an ndmsg for a wish without a filter: then the filter is all ours.
static void test_fdb_of_all_devices(void **state)
{
	(void)state;
	set_up(1u << NETLINK_FEATURE_STRICT);
	add_peer(1, device);
	add_peer(2, other);
	nl->dumps.strict = true;
	assert_int_equal(dump(KERNEL_FDB, (struct netlink_dump_filter){ 0 }), 2);
	assert_int_equal(dump(KERNEL_FDB, (struct netlink_dump_filter){ .ifindex = other }), 1);
	assert_int_equal(seen.objects[0].fdb.ifindex, other);
	netlink_close(nl);
}

static void test_empty_namespace(void **state)
{
	struct err e = { 0 };

	(void)state;
	netns_enter();
	check(netlink_open(0, &nl, &e), &e);
	// The main table of IPv4 is not even made yet.
	assert_int_equal(dump(KERNEL_ROUTE, (struct netlink_dump_filter){ .family = AF_INET }), 0);
	assert_int_equal(dump(KERNEL_LINK, (struct netlink_dump_filter){ 0 }), 1);
	assert_int_equal(dump(KERNEL_FDB, (struct netlink_dump_filter){ 0 }), 0);
	netlink_close(nl);
}

static void fill(void)
{
	struct netlink_batch *batch = netlink_batch_new(nl);
	struct err e = { 0 };

	for (unsigned int i = 0; i < MANY; i++) {
		struct kernel_object object = { .kind = KERNEL_NEIGH,
						.neigh = { device, gateway_of(i), mac_of(i), 0 } };

		netlink_batch_add(batch, NETLINK_CREATE, &object, i);
	}
	check(netlink_batch_commit(batch, add_result, NULL, &e), &e);
	netlink_batch_free(batch);
}

static void test_slices(void **state)
{
	struct netlink_dump_filter filter = { .family = AF_INET };
	struct netlink_dump *running, *second;
	static bool met[MANY];
	struct err e = { 0 };
	size_t steps = 0;
	int r;

	(void)state;
	set_up(0);
	fill();
	seen.count = 0;
	check(netlink_dump_start(nl, KERNEL_NEIGH, &filter, &running, &e), &e);
	assert_int_equal(netlink_dump_start(nl, KERNEL_NEIGH, &filter, &second, &e), -EBUSY);
	do {
		size_t before = seen.count;

		r = netlink_dump_step(running, 100, see, NULL, &e);
		check(r, &e);
		assert_true(seen.count - before <= 100);
		steps++;
	} while (r > 0);
	assert_in_range(steps, MANY / 100, MANY / 100 + 1);
	netlink_dump_free(running);
	assert_int_equal(seen.count, MANY);
	for (size_t i = 0; i < MANY; i++)
		met[(ip_v4_value(&seen.objects[i].neigh.ip) - 0x0b000000) >> 8] = true;
	for (size_t i = 0; i < MANY; i++)
		assert_true(met[i]);

	// One left in the middle disturbs neither the next dump nor a request between its slices.
	check(netlink_dump_start(nl, KERNEL_NEIGH, &filter, &running, &e), &e);
	assert_int_equal(netlink_dump_step(running, 1, see, NULL, &e), 1);
	add_peer(2000, device);
	netlink_dump_free(running);
	assert_int_equal(dump(KERNEL_NEIGH, filter), MANY + 1);
	assert_int_equal(netlink_stats(nl)->dumps, 3);
	netlink_close(nl);
}

// Links are numbered by a generation that every change of the list moves on.
static void test_a_table_that_changes_meanwhile(void **state)
{
	struct netlink_dump *running;
	struct err e = { 0 };
	int r;

	(void)state;
	set_up(0);
	for (uint32_t i = 0; i < 60; i++) {
		char name[IFNAMSIZ] = "many00";

		name[4] = (char)('0' + i / 10);
		name[5] = (char)('0' + i % 10);
		make_vxlan(name, 100 + i);
	}
	seen.count = 0;
	check(netlink_dump_start(nl, KERNEL_LINK, NULL, &running, &e), &e);
	assert_int_equal(netlink_dump_step(running, 1, see, NULL, &e), 1);
	make_vxlan("newcomer", 99);
	do
		r = netlink_dump_step(running, 1, see, NULL, &e);
	while (r > 0);
	assert_int_equal(r, -EINTR);
	assert_non_null(strstr(e.msg, "links"));
	netlink_dump_free(running);
	assert_int_equal(dump(KERNEL_LINK, (struct netlink_dump_filter){ 0 }), 64);
	netlink_close(nl);
}

static void test_broken_socket(void **state)
{
	struct netlink_dump *running = NULL;
	struct err e = { 0 };

	(void)state;
	set_up(0);
	assert_int_equal(dup2(STDERR_FILENO, nl->dumps.fd), nl->dumps.fd);
	assert_int_equal(netlink_dump_start(nl, KERNEL_LINK, NULL, &running, &e), -ENOTSOCK);
	assert_null(running);
	assert_non_null(strstr(e.msg, "dump of links"));
	assert_int_equal(dump(KERNEL_LINK, (struct netlink_dump_filter){ 0 }), 3);
	netlink_close(nl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_attribute_comes_back),
		cmocka_unit_test(test_foreign_objects_are_told_apart),
		cmocka_unit_test(test_filters_of_the_kernel),
		cmocka_unit_test(test_filters_without_the_kernel),
		cmocka_unit_test(test_fdb_of_all_devices),
		cmocka_unit_test(test_empty_namespace),
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_a_table_that_changes_meanwhile),
		cmocka_unit_test(test_broken_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
