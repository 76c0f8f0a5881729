// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of kernel/bridge.h against a real kernel.
#include "netns.h"
#include "unit.h"

#include "kernel/bridge.h"
#include "kernel/link.h"

#include <errno.h>

static void test_bridge_with_a_port(void **state)
{
	struct link bridge = { .name = "br", .mac = { { 2, 0x42, 10, 1, 2, 1 } }, .mtu_bytes = 1450 };
	struct link port = { .name = "port", .mtu_bytes = 1450 }, got;
	struct netlink *nl = NULL;
	struct err e = { 0 };

	(void)state;
	netns_enter();
	check(netlink_open(0, &nl, &e) == 0, "%s", e.msg);
	check(bridge_create(nl, &bridge, &e) == 0, "%s", e.msg);
	check(link_get_by_name(nl, "br", &got, &e) == 0, "%s", e.msg);
	assert_string_equal(got.kind, "bridge");
	assert_true(mac_equal(&got.mac, &bridge.mac));
	assert_int_equal(got.mtu_bytes, 1450);
	assert_false(got.up);
	assert_int_equal(bridge_create(nl, &bridge, &e), -EEXIST);

	port.master_ifindex = got.ifindex;
	check(veth_create(nl, &port, "other", &e) == 0, "%s", e.msg);
	check(link_get_by_name(nl, "port", &got, &e) == 0, "%s", e.msg);
	assert_string_equal(got.kind, "veth");
	assert_int_equal(got.master_ifindex, port.master_ifindex);
	assert_int_equal(got.mtu_bytes, 1450);
	assert_true(got.up);
	check(link_get_by_name(nl, "other", &got, &e) == 0, "%s", e.msg);
	assert_int_equal(got.master_ifindex, 0);
	assert_int_equal(got.mtu_bytes, 1450);
	assert_false(got.up);
	assert_int_equal(veth_create(nl, &port, "other", &e), -EEXIST);
	// Its ports do not give it another MAC.
	check(link_get_by_name(nl, "br", &got, &e) == 0, "%s", e.msg);
	assert_true(mac_equal(&got.mac, &bridge.mac));
	netlink_close(nl);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_bridge_with_a_port) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
