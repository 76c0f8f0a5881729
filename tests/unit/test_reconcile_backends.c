// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of what reconcile makes of backends without a device (host-gw) and with a device of another kind (ipip, where the kernel has it).
#include "reconcile_world.h"

#include "core/mem.h"
#include "kernel/link.h"
#include "netns.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

#define BACKEND(families, type) "{" families ",\"Backend\":{\"Type\":\"" type "\"}}"
#define V4 "\"Network\":\"10.0.0.0/8\",\"SubnetLen\":24"
#define DUAL "\"EnableIPv6\":true,\"IPv6Network\":\"fd10::/32\",\"IPv6SubnetLen\":64," V4

static const struct world_options hostgw = { .config = BACKEND(V4, "host-gw") };

static struct lease lease_at(struct world *world, unsigned int i, const char *type, const char *ip)
{
	struct lease lease = world_lease(world, i);
	free(lease.attrs.backend_data);
	free(lease.attrs.backend_v6_data);
	lease.attrs.backend_data = lease.attrs.backend_v6_data = NULL;
	(void)text_copy(lease.attrs.backend_type, sizeof(lease.attrs.backend_type), type);
	assert_int_equal(ip_parse(ip, &lease.attrs.public_ip), 0);
	return lease;
}

static void fill(struct world *world, unsigned int i, const char *type, const char *ip)
{
	struct lease lease = lease_at(world, i, type, ip);
	lease_set_put(world->peers, &lease);
}

// ---- host-gw ----

static void test_hostgw_routes_to_its_segment(void **state)
{
	(void)state;
	struct world *world = world_open(&hostgw);
	fill(world, 1, "host-gw", "192.168.9.11");
	fill(world, 2, "host-gw", "192.168.9.12");
	fill(world, 3, "host-gw", "172.16.0.3");
	fill(world, 4, "vxlan", "192.168.9.14");
	world_start(world);
	assert_int_equal(world_count(world, "nexthop "), 2);
	assert_int_equal(world_count(world, "route 10.1."), 2);
	struct link link;
	assert_int_equal(link_get_by_name(world->eyes, "flannel.1", &link, NULL), -ENODEV);
	json_t *routes = netns_json("ip", "-j", "-N", "route", "show", "10.1.2.0/24", NULL);
	assert_string_equal(json_text_of(json_array_get(routes, 0), "gateway"), "192.168.9.12");
	assert_string_equal(json_text_of(json_array_get(routes, 0), "dev"), "e0");
	assert_int_equal(json_array_size(json_object_get(json_array_get(routes, 0), "flags")), 0);
	json_decref(routes);
	assert_string_equal(
		world_trouble(world, world_subnet(world, 3)),
		"not on the same segment: there is no route to its public address (172.16.0.3)");
	assert_string_equal(world_trouble(world, world_subnet(world, 4)),
			    "its backend is \"vxlan\", ours is host-gw");
	assert_int_equal(trouble_count(reconcile_trouble(world->reconcile), false), 1);
	assert_int_equal(trouble_count(reconcile_trouble(world->reconcile), true), 1);
	uint64_t messages = world_messages(world);
	world_pass(world, RECONCILE_DRIFT);
	assert_int_equal(world_messages(world) - messages, 4); // the ways, and nothing else
	world_close(world);
}

// The first pass after the change does it, whatever the back-off says.
static void test_a_refused_peer_does_not_wait(void **state)
{
	struct world_options deaf = { .config = hostgw.config, .deaf = true };
	(void)state;
	struct world *world = world_open(&deaf);
	fill(world, 1, "host-gw", "172.16.0.1");
	world_start(world);
	assert_non_null(world_trouble(world, world_subnet(world, 1)));
	netns_run("ip", "route", "add", "172.16.0.0/16", "via", "192.168.9.250", NULL);
	world_pass(world, RECONCILE_CHANGE);
	assert_string_equal(
		world_trouble(world, world_subnet(world, 1)),
		"not on the same segment: its public address 172.16.0.1 is behind the router 192.168.9.250");
	netns_run("ip", "route", "del", "172.16.0.0/16", NULL);
	netns_run("ip", "addr", "add", "172.16.0.9/16", "dev", "e0", NULL);
	world_pass(world, RECONCILE_CHANGE);
	assert_null(world_trouble(world, world_subnet(world, 1)));
	assert_true(world_has(world, "route 10.1.1.0/24 nexthop "));
	netns_run("ip", "addr", "del", "172.16.0.9/16", "dev", "e0", NULL);
	world_pass(world, RECONCILE_CHANGE);
	assert_non_null(world_trouble(world, world_subnet(world, 1)));
	assert_int_equal(world_count(world, "route 10.1."), 0);
	assert_int_equal(world_count(world, "nexthop "), 0);
	world_close(world);
}

static bool first_is_programmed(struct world *world)
{
	return world_has(world, "route 10.1.1.0/24 nexthop ");
}

static bool first_is_not(struct world *world)
{
	return !first_is_programmed(world) && world_trouble(world, world_subnet(world, 1));
}

static void test_hostgw_follows_notifications(void **state)
{
	(void)state;
	struct world *world = world_open(&hostgw);
	fill(world, 1, "host-gw", "172.16.0.1");
	fill(world, 2, "host-gw", "192.168.9.12");
	world_start(world);
	assert_true(first_is_not(world));
	netns_run("ip", "addr", "add", "172.16.0.9/16", "dev", "e0", NULL);
	assert_true(world_await(world, first_is_programmed, 5000));
	_cleanup_free_ char *before = world_snapshot(world);
	netns_run("ip", "addr", "del", "172.16.0.9/16", "dev", "e0", NULL);
	assert_true(world_await(world, first_is_not, 5000));
	netns_run("ip", "addr", "add", "172.16.0.9/16", "dev", "e0", NULL);
	(void)world_await_snapshot(world, before);
	// The interface goes down and up: routes over it vanish without a word.
	netns_run("ip", "link", "set", "e0", "down", NULL);
	netns_run("ip", "link", "set", "e0", "up", NULL);
	(void)world_await_snapshot(world, before);
	world_settle(world);
	assert_int_equal(world_repairs(world), 0);
	netns_run("ip", "route", "del", "10.1.2.0/24", NULL);
	(void)world_await_snapshot(world, before);
	world_settle(world);
	assert_int_equal(world->repaired[KERNEL_ROUTE], 1);
	world_close(world);
}

// The segment is on another interface than the underlay's, whose end is told of by its link alone.
static void test_hostgw_on_a_second_interface(void **state)
{
	(void)state;
	struct world *world = world_open(&hostgw);
	// IPv6 has a word for more.
	netns_run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6", NULL);
	netns_run("ip", "link", "add", "f0", "type", "veth", "peer", "name", "f1", NULL);
	netns_run("ip", "addr", "add", "172.16.0.9/16", "dev", "f0", NULL);
	netns_run("ip", "link", "set", "f1", "up", NULL);
	netns_run("ip", "link", "set", "f0", "up", NULL);
	fill(world, 1, "host-gw", "172.16.0.1");
	world_start(world);
	assert_true(first_is_programmed(world));
	_cleanup_free_ char *before = world_snapshot(world);
	netns_run("ip", "link", "set", "f0", "down", NULL);
	assert_true(world_await(world, first_is_not, 5000));
	netns_run("ip", "link", "set", "f0", "up", NULL);
	(void)world_await_snapshot(world, before);
	// So fast that the routes are there again, and ours are not.
	netns_run("sh", "-c", "ip link set f0 down; ip link set f0 up", NULL);
	(void)world_await_snapshot(world, before);
	world_settle(world);
	assert_int_equal(world_repairs(world), 0);
	world_close(world);
}

static void test_hostgw_peers_come_and_go(void **state)
{
	(void)state;
	struct world *world = world_open(&hostgw);
	world_start(world);
	_cleanup_free_ char *empty = world_snapshot(world);
	struct lease lease = lease_at(world, 1, "host-gw", "172.16.0.1");
	world_put(world, &lease);
	world_await_changes(world);
	assert_non_null(world_trouble(world, world_subnet(world, 1)));
	lease = lease_at(world, 1, "host-gw", "192.168.9.11"); // it moves to our segment
	world_put(world, &lease);
	world_await_changes(world);
	world_settle(world);
	assert_null(world_trouble(world, world_subnet(world, 1)));
	assert_true(first_is_programmed(world));
	lease = lease_at(world, 1, "host-gw", "192.168.9.12");
	world_put(world, &lease);
	world_await_changes(world);
	assert_int_equal(netns_json_count("ip", "-j", "route", "show", "via", "192.168.9.12", NULL), 1);
	assert_int_equal(world_count(world, "nexthop "), 1);
	lease = lease_at(world, 1, "host-gw", "172.16.0.1"); // and away
	world_put(world, &lease);
	world_await_changes(world);
	assert_int_equal(world_count(world, "route 10.1."), 0);
	world_remove(world, world_subnet(world, 1));
	world_await_changes(world);
	world_settle(world);
	(void)world_await_snapshot(world, empty);
	assert_null(world_trouble(world, world_subnet(world, 1)));
	assert_int_equal(world_repairs(world), 0);
	world_close(world);
}

static bool six_is_missing(struct world *world)
{
	const char *text = world_trouble(world, world_subnet(world, 1));
	return text && strstr(text, "fd99:1::3") && world_count(world, "route fd10:") == 0;
}

static bool all_is_fine(struct world *world)
{
	return !world_trouble(world, world_subnet(world, 1));
}

// By a pass and by a change: the half that can be is programmed, and the other is told of.
static void test_half_a_peer(void **state)
{
	struct world_options dual = { .config = BACKEND(DUAL, "host-gw") };
	(void)state;
	struct world *world = world_open(&dual);
	fill(world, 1, "host-gw", "192.168.9.11"); // fd99:1::3 is nowhere
	world_start(world);
	assert_true(six_is_missing(world));
	assert_true(first_is_programmed(world));
	netns_run("ip", "addr", "add", "fd99:1::1/64", "dev", "e0", "nodad", NULL);
	assert_true(world_await(world, all_is_fine, 5000));
	assert_int_equal(world_count(world, "route fd10:"), 1);
	netns_run("ip", "addr", "del", "fd99:1::1/64", "dev", "e0", NULL);
	assert_true(world_await(world, six_is_missing, 5000));
	assert_true(first_is_programmed(world));

	world_remove(world, world_subnet(world, 1));
	world_await_changes(world);
	assert_int_equal(world_count(world, "route 10.1."), 0);
	struct lease lease = lease_at(world, 1, "host-gw", "192.168.9.11");
	world_put(world, &lease);
	world_await_changes(world);
	world_settle(world);
	assert_true(six_is_missing(world));
	assert_true(first_is_programmed(world));
	world_close(world);
}

static void test_hostgw_without_nexthop_objects(void **state)
{
	struct world_options options = { .config = hostgw.config,
					 .without = 1u << NETLINK_FEATURE_NEXTHOP };
	(void)state;
	struct world *world = world_open(&options);
	fill(world, 1, "host-gw", "192.168.9.11");
	world_start(world);
	assert_int_equal(netns_json_count("ip", "-j", "route", "show", "10.1.1.0/24", "via",
					  "192.168.9.11", "dev", "e0", NULL),
			 1);
	assert_int_equal(world_count(world, "nexthop "), 0);
	world_close(world);
}

// ---- ipip ----

static bool kernel_has_ipip(struct world *world, struct err *e)
{
	int r = reconcile_devices(world->reconcile, e);
	if (r == 0)
		return true;
	assert_int_equal(r, -EOPNOTSUPP);
	assert_string_equal(
		e->msg,
		"making flannel.ipip: the kernel has no ipip devices; load its module (modprobe ipip)");
	return false;
}

static void check_device(struct world *world, const char *local, uint32_t ifindex)
{
	struct link link = { 0 };
	struct err e = { 0 };
	char text[IP_STR_MAX];
	assert_int_equal(link_get_by_name(world->eyes, "flannel.ipip", &link, &e), 0);
	assert_string_equal(ip_str(&link.ipip.local, text), local);
	assert_false(ip_is_set(&link.ipip.remote));
	assert_int_equal(link.mtu_bytes, world->underlay.mtu_bytes - 20);
	assert_true(link.up);
	if (ifindex != 0)
		assert_int_equal(link.ifindex, ifindex);
}

static void test_ipip(void **state)
{
	struct world_options options = { .config = BACKEND(V4, "ipip") };
	(void)state;
	struct world *world = world_open(&options);
	struct err e = { 0 };
	if (!kernel_has_ipip(world, &e)) {
		world_close(world);
		return; // what it says then was the test
	}
	fill(world, 1, "ipip", "192.168.9.11");
	fill(world, 2, "ipip", "172.16.0.2");
	// What flannel left of a peer that is gone, and what is not of its network.
	netns_run("ip", "route", "add", "10.1.9.0/24", "via", "172.16.0.9", "dev", "flannel.ipip",
		  "onlink", NULL);
	netns_run("ip", "route", "add", "10.1.2.0/24", "via", "172.16.0.7", "dev", "flannel.ipip",
		  "onlink", NULL);
	netns_run("ip", "route", "add", "192.0.2.0/24", "via", "172.16.0.9", "dev", "flannel.ipip",
		  "onlink", NULL);
	world_start(world);
	check_device(world, "192.168.9.1", 0);
	assert_int_equal(world_count(world, "route 10.1."), 2);
	assert_int_equal(world_count(world, "route 192.0.2.0/24 "), 1);
	assert_int_equal(world_count(world, "nexthop "), 2);
	json_t *routes = netns_json("ip", "-j", "-N", "route", "show", "10.1.2.0/24", NULL);
	assert_string_equal(json_text_of(json_array_get(routes, 0), "gateway"), "172.16.0.2");
	assert_string_equal(json_text_of(json_array_get(routes, 0), "dev"), "flannel.ipip");
	json_decref(routes);

	// Another address of the interface: the device stays, and so does what is on it.
	struct link before = { 0 };
	assert_int_equal(link_get_by_name(world->eyes, "flannel.ipip", &before, &e), 0);
	_cleanup_free_ char *snapshot = world_snapshot(world);
	world->underlay.ip4 = ip_v4(0xc0a80909);
	backend_set_underlay(world->backend, &world->underlay, &world->underlay.ip4,
			     &world->underlay.ip6);
	world_pass(world, RECONCILE_CHANGE);
	check_device(world, "192.168.9.9", before.ifindex);
	(void)world_await_snapshot(world, snapshot);
	world_settle(world);
	assert_int_equal(world_repairs(world), 0);

	netns_run("ip", "link", "set", "flannel.ipip", "type", "ipip", "local", "192.168.9.77", NULL);
	(void)world_await_snapshot(world, snapshot);
	world_settle(world);
	check_device(world, "192.168.9.9", before.ifindex);
	assert_int_equal(world->repaired[KERNEL_LINK], 1);

	// One with a remote of its own cannot be changed, and is made anew.
	netns_run("ip", "link", "del", "flannel.ipip", NULL);
	world_settle(world);
	netns_run("ip", "link", "del", "flannel.ipip", NULL);
	netns_run("ip", "link", "add", "flannel.ipip", "type", "ipip", "local", "192.168.9.9",
		  "remote", "192.168.9.8", NULL);
	world_settle(world);
	check_device(world, "192.168.9.9", 0);
	assert_int_equal(world_count(world, "route 10.1."), 2);
	world_close(world);
}

// ---- udp ----

static bool has_network_route(struct world *world)
{
	return world_has(world, "route 10.0.0.0/8 dev 1000 proto 157");
}

static bool has_device_error(struct world *world)
{
	return world->device_error[0] != '\0';
}

// Its device is a process's, and carries the whole network by one route, whatever peers there are.
static void test_udp(void **state)
{
	static const struct world_options udp = { .config = BACKEND(V4, "udp") };
	struct err e = { 0 };
	(void)state;
	struct world *world = world_open(&udp);
	fill(world, 1, "vxlan", "192.168.9.11");
	fill(world, 2, "", "192.168.9.12");
	assert_int_equal(reconcile_devices(world->reconcile, &e), -EINPROGRESS);
	assert_string_equal(e.msg, "flannel0 is not there yet: its process makes it");
	netns_run("ip", "tuntap", "add", "flannel0", "mode", "tun", NULL);
	world_start(world);
	assert_true(has_network_route(world));
	assert_int_equal(world_count(world, "route 10."), 1);
	assert_int_equal(world_count(world, "nexthop "), 0);
	struct link link;
	assert_int_equal(link_get_by_name(world->eyes, "flannel0", &link, NULL), 0);
	assert_true(link.up && link.mtu_bytes == 1472);
	uint64_t repairs = world_repairs(world);
	world_pass(world, RECONCILE_DRIFT);
	assert_int_equal(world_repairs(world), repairs);

	netns_run("ip", "route", "del", "10.0.0.0/8", NULL);
	assert_true(world_await(world, has_network_route, 5000));
	assert_int_equal(world->repaired[KERNEL_ROUTE], 1);
	netns_run("ip", "link", "set", "flannel0", "down", NULL);
	assert_true(world_await(world, has_network_route, 5000));
	netns_run("ip", "route", "replace", "10.0.0.0/8", "dev", "e0", "proto", "static", NULL);
	reconcile_request(world->reconcile, RECONCILE_CHANGE);
	assert_true(world_await(world, has_device_error, 5000));
	assert_non_null(strstr(world->device_error, "in the way; remove it with 'ip route del'"));
	netns_run("ip", "route", "del", "10.0.0.0/8", "dev", "e0", NULL);
	assert_true(world_await(world, has_network_route, 5000));
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostgw_routes_to_its_segment),
		cmocka_unit_test(test_a_refused_peer_does_not_wait),
		cmocka_unit_test(test_hostgw_follows_notifications),
		cmocka_unit_test(test_hostgw_on_a_second_interface),
		cmocka_unit_test(test_hostgw_peers_come_and_go),
		cmocka_unit_test(test_half_a_peer),
		cmocka_unit_test(test_hostgw_without_nexthop_objects),
		cmocka_unit_test(test_ipip),
		cmocka_unit_test(test_udp),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
