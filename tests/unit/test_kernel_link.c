// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of kernel/link.h against a real kernel.

#include "kernel/exchange.h"
#include "kernel/link.h"
#include "netns.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct netlink *open_netlink(void)
{
	struct netlink *nl = NULL;
	struct err e = { 0 };

	if (netlink_open(0, &nl, &e) < 0)
		fail_msg("netlink_open: %s", e.msg);
	return nl;
}

static void check(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%d: %s", r, e->msg);
}

static json_t *show(const char *name)
{
	json_t *all = netns_json("ip", "-j", "-d", "link", "show", "dev", name, NULL);
	json_t *link = json_incref(json_array_get(all, 0));

	json_decref(all);
	return link;
}

static struct link flannel_link(void)
{
	return (struct link){
		.name = "flannel.12345",
		.mac = { { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 } },
		.mtu_bytes = 1450,
		.vxlan = { .vni = 12345, .local = ip_v4(0x0a630001) },
	};
}

// Two ends of a cable stand for the underlay.
static void make_underlay(void)
{
	netns_run("ip", "link", "add", "under", "type", "veth", "peer", "name", "far", NULL);
	netns_run("ip", "addr", "add", "10.99.0.1/24", "dev", "under", NULL);
	netns_run("ip", "addr", "add", "fd99::1/64", "dev", "under", "nodad", NULL);
	netns_run("ip", "link", "set", "under", "up", NULL);
	netns_run("ip", "link", "set", "far", "up", NULL);
}

static void test_vxlan_as_flannel_makes_it(void **state)
{
	struct link want = flannel_link(), got = { 0 };
	struct netlink *nl;
	struct err e = { 0 };
	json_t *seen, *data;

	(void)state;
	netns_enter();
	make_underlay();
	nl = open_netlink();
	check(link_get_by_name(nl, "under", &got, &e), &e);
	want.vxlan.underlay_ifindex = got.ifindex;
	check(link_create_vxlan(nl, &want, &e), &e);

	seen = show("flannel.12345");
	assert_string_equal(json_text_of(seen, "address"), "02:11:22:33:44:55");
	assert_int_equal(json_int_of(seen, "mtu"), 1450);
	assert_string_equal(json_text_of(seen, "operstate"), "DOWN");
	// A queue length of zero has no qdisc to queue in.
	assert_null(json_object_get(seen, "txqlen"));
	data = json_object_get(json_object_get(seen, "linkinfo"), "info_data");
	assert_int_equal(json_int_of(data, "id"), 12345);
	assert_string_equal(json_text_of(data, "local"), "10.99.0.1");
	assert_string_equal(json_text_of(data, "link"), "under");
	assert_int_equal(json_int_of(data, "port"), 8472);
	assert_int_equal(json_int_of(data, "ttl"), 0);
	assert_false(json_bool_of(data, "learning"));
	assert_true(json_bool_of(data, "udp_csum"));
	assert_false(json_bool_of(data, "udp_zero_csum6_tx"));
	assert_false(json_bool_of(data, "udp_zero_csum6_rx"));
	assert_null(json_object_get(data, "gbp"));
	assert_null(json_object_get(data, "proxy"));
	assert_null(json_object_get(data, "rsc"));
	assert_null(json_object_get(data, "l2miss"));
	assert_null(json_object_get(data, "l3miss"));
	json_decref(seen);

	check(link_get_by_name(nl, "flannel.12345", &got, &e), &e);
	assert_string_equal(got.name, "flannel.12345");
	assert_string_equal(got.kind, "vxlan");
	assert_true(mac_equal(&got.mac, &want.mac));
	assert_int_equal(got.mtu_bytes, 1450);
	assert_false(got.up);
	assert_false(got.loopback);
	assert_int_equal(got.vxlan.vni, 12345);
	assert_int_equal(got.vxlan.underlay_ifindex, want.vxlan.underlay_ifindex);
	assert_true(ip_equal(&got.vxlan.local, &want.vxlan.local));
	assert_false(ip_is_set(&got.vxlan.group));
	assert_int_equal(got.vxlan.port, 8472);
	assert_false(got.vxlan.learning || got.vxlan.proxy || got.vxlan.l2miss ||
		     got.vxlan.l3miss || got.vxlan.gbp);
	netlink_close(nl);
}

static void test_vxlan_with_every_switch_on(void **state)
{
	struct link want = flannel_link(), got = { 0 };
	struct netlink *nl;
	struct err e = { 0 };
	json_t *seen, *data;

	(void)state;
	netns_enter();
	make_underlay();
	nl = open_netlink();
	assert_int_equal(ip_parse("fd99::1", &want.vxlan.local), 0);
	want.mac = (struct mac){ 0 };
	want.mtu_bytes = 0;
	want.vxlan.port = 4789;
	want.vxlan.learning = want.vxlan.proxy = want.vxlan.l2miss = want.vxlan.l3miss =
		want.vxlan.gbp = true;
	check(link_create_vxlan(nl, &want, &e), &e);

	seen = show("flannel.12345");
	data = json_object_get(json_object_get(seen, "linkinfo"), "info_data");
	assert_string_equal(json_text_of(data, "local6"), "fd99::1");
	assert_int_equal(json_int_of(data, "port"), 4789);
	assert_true(json_bool_of(data, "learning"));
	assert_true(json_bool_of(data, "proxy"));
	assert_true(json_bool_of(data, "l2miss"));
	assert_true(json_bool_of(data, "l3miss"));
	assert_non_null(json_object_get(data, "gbp"));
	json_decref(seen);

	check(link_get_by_name(nl, "flannel.12345", &got, &e), &e);
	assert_true(mac_is_usable(&got.mac)); // the kernel's choice
	assert_true(got.mtu_bytes > 0);
	assert_true(ip_equal(&got.vxlan.local, &want.vxlan.local));
	assert_int_equal(got.vxlan.port, 4789);
	assert_true(got.vxlan.learning && got.vxlan.proxy && got.vxlan.l2miss && got.vxlan.l3miss &&
		    got.vxlan.gbp);
	netlink_close(nl);
}

static void test_vxlan_of_another_maker(void **state)
{
	struct ip group = ip_v4(0xef010101), remote;
	struct link got = { 0 };
	struct netlink *nl;
	struct err e = { 0 };

	(void)state;
	netns_enter();
	make_underlay();
	nl = open_netlink();
	netns_run("ip", "link", "add", "vx0", "type", "vxlan", "id", "7", "group", "239.1.1.1",
		  "dev", "under", "dstport", "4789", NULL);
	netns_run("ip", "link", "add", "vx6", "type", "vxlan", "id", "8", "remote", "fd99::2",
		  "dstport", "9", NULL);
	check(link_get_by_name(nl, "vx0", &got, &e), &e);
	assert_true(ip_equal(&got.vxlan.group, &group));
	assert_true(got.vxlan.learning);
	check(link_get_by_name(nl, "vx6", &got, &e), &e);
	assert_int_equal(ip_parse("fd99::2", &remote), 0);
	assert_true(ip_equal(&got.vxlan.group, &remote));
	assert_int_equal(got.vxlan.port, 9);
	check(link_get_by_name(nl, "under", &got, &e), &e);
	assert_string_equal(got.kind, "veth");
	assert_int_equal(got.vxlan.vni, 0);
	check(link_get_by_name(nl, "lo", &got, &e), &e);
	assert_string_equal(got.kind, "");
	assert_true(got.loopback && got.up);
	netlink_close(nl);
}

static void test_changes(void **state)
{
	struct mac mac = { { 0x02, 0, 0, 0, 0, 9 } };
	struct link want = flannel_link(), got = { 0 };
	struct netlink *nl;
	struct err e = { 0 };
	json_t *seen;

	(void)state;
	netns_enter();
	nl = open_netlink();
	check(link_create_vxlan(nl, &want, &e), &e);
	check(link_get_by_name(nl, want.name, &got, &e), &e);
	check(link_set_up(nl, got.ifindex, true, &e), &e);
	check(link_set_mtu(nl, got.ifindex, 1400, &e), &e);
	check(link_set_mac(nl, got.ifindex, &mac, &e), &e);
	seen = show(want.name);
	assert_int_equal(json_int_of(seen, "mtu"), 1400);
	assert_string_equal(json_text_of(seen, "address"), "02:00:00:00:00:09");
	assert_string_equal(json_string_value(json_array_get(json_object_get(seen, "flags"), 2)), "UP");
	json_decref(seen);
	check(link_get_by_index(nl, got.ifindex, &got, &e), &e);
	assert_true(got.up && mac_equal(&got.mac, &mac) && got.mtu_bytes == 1400);
	check(link_set_up(nl, got.ifindex, false, &e), &e);
	check(link_get_by_index(nl, got.ifindex, &got, &e), &e);
	assert_false(got.up);
	check(link_delete(nl, got.ifindex, &e), &e);
	assert_int_equal(link_get_by_index(nl, got.ifindex, &got, &e), -ENODEV);
	netlink_close(nl);
}

static void test_errors_name_the_thing(void **state)
{
	struct link link = flannel_link(), untouched = { .ifindex = 4711 };
	struct netlink *nl;
	struct err e = { 0 };

	(void)state;
	netns_enter();
	nl = open_netlink();
	assert_int_equal(link_get_by_name(nl, "nosuch0", &untouched, &e), -ENODEV);
	assert_non_null(strstr(e.msg, "nosuch0"));
	assert_int_equal(link_get_by_name(nl, "a-name-that-is-too-long", &untouched, &e), -ENODEV);
	assert_int_equal(link_get_by_name(nl, "", &untouched, &e), -ENODEV);
	assert_int_equal(link_get_by_index(nl, 0, &untouched, &e), -ENODEV);
	assert_int_equal(link_get_by_index(nl, 99, &untouched, &e), -ENODEV);
	assert_non_null(strstr(e.msg, "99"));
	assert_int_equal(untouched.ifindex, 4711);

	check(link_create_vxlan(nl, &link, &e), &e);
	assert_int_equal(link_create_vxlan(nl, &link, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "flannel.12345"));
	// The kernel's own words come through: the same VNI on another device.
	link.name[0] = 'g';
	assert_int_equal(link_create_vxlan(nl, &link, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "A VXLAN device with the specified VNI already exists"));
	assert_int_equal(link_delete(nl, 99, &e), -ENODEV);
	check(link_get_by_name(nl, "flannel.12345", &link, &e), &e);
	assert_int_equal(link_set_mtu(nl, link.ifindex, 0x7fffffff, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "setting the MTU"));
	assert_non_null(strstr(e.msg, "mtu greater than device maximum"));
	netlink_close(nl);
}

// This kernel has vxlan, so it is asked for a kind of device that none has.
static void test_missing_kind_of_device_is_named(void **state)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];
	const struct link link = flannel_link();
	struct nlmsg_ack ack = { 0 };
	struct netlink *nl;
	struct err e = { 0 };
	size_t len;
	char *kind;

	(void)state;
	netns_enter();
	nl = open_netlink();
	len = encode_vxlan_create(&link, buffer);
	kind = memmem(buffer, len, "vxlan", sizeof("vxlan"));
	assert_non_null(kind);
	kind[3] = 'e';
	check(exchange_one(nl, buffer, len, &ack, &e), &e);
	assert_int_equal(ack.error, -EOPNOTSUPP);
	assert_int_equal(link_create_refused(&e, "vxlen", link.name, &ack), -EOPNOTSUPP);
	assert_string_equal(e.msg, "making flannel.12345: the kernel has no vxlen devices; load its "
				   "module (modprobe vxlen)");
	netlink_close(nl);
}

// 0 when a process without capabilities is told which one it lacks.
static int try_without_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };
	struct link link = flannel_link(), lo = { 0 };
	struct netlink *nl = NULL;
	struct err e = { 0 };

	if (syscall(SYS_capset, &header, none) < 0)
		return 1;
	if (netlink_open(0, &nl, &e) < 0)
		return 2;
	if (link_create_vxlan(nl, &link, &e) != -EPERM || !strstr(e.msg, "CAP_NET_ADMIN"))
		return 3;
	// Reading needs none.
	if (link_get_by_name(nl, "lo", &lo, &e) < 0)
		return 4;
	netlink_close(nl);
	return 0;
}

static void test_missing_capability_is_named(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	netns_enter();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(try_without_capabilities());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vxlan_as_flannel_makes_it),
		cmocka_unit_test(test_vxlan_with_every_switch_on),
		cmocka_unit_test(test_vxlan_of_another_maker),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_errors_name_the_thing),
		cmocka_unit_test(test_missing_kind_of_device_is_named),
		cmocka_unit_test(test_missing_capability_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
