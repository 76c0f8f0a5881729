// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the monitor against a real kernel.

#include "core/mem.h"
#include "kernel/exchange.h"
#include "kernel/link.h"
#include "kernel/monitor.h"
#include "netns.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static struct netlink *nl;
static struct monitor *monitor;
static uint32_t device;

struct events {
	struct kernel_event list[4096];
	size_t count;
};

static struct events events;

static void note(void *arg, const struct kernel_event *event)
{
	(void)arg;
	assert_true(events.count < ARRAY_SIZE(events.list));
	events.list[events.count++] = *event;
}

static void check(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%d: %s", r, e->msg);
}

// The kernel has put every notification of a change into our socket by the time the change is acknowledged.
static int read_all(void)
{
	struct err e = { 0 };

	events.count = 0;
	return monitor_read(monitor, SIZE_MAX, note, NULL, &e);
}

static const struct kernel_event *find(enum kernel_kind kind, bool removed)
{
	for (size_t i = 0; i < events.count; i++)
		if (events.list[i].object.kind == kind && events.list[i].removed == removed)
			return &events.list[i];
	return NULL;
}

static void result(void *arg, uint32_t tag, int error, const char *extack)
{
	(void)arg;
	if (error < 0)
		fail_msg("request %u: %d %s", tag, error, extack);
}

static void change(enum netlink_verb verb, struct kernel_object object)
{
	struct netlink_batch *batch = netlink_batch_new(nl);
	struct err e = { 0 };

	netlink_batch_add(batch, verb, &object, 0);
	check(netlink_batch_commit(batch, result, NULL, &e), &e);
	netlink_batch_free(batch);
}

static void set_up(void)
{
	struct link link = { .name = "flannel.1", .vxlan = { .vni = 1, .local = ip_v4(0x0a630001) } };
	struct err e = { 0 };

	netns_enter();
	check(netlink_open(0, &nl, &e), &e);
	check(link_create_vxlan(nl, &link, &e), &e);
	check(link_get_by_name(nl, "flannel.1", &link, &e), &e);
	device = link.ifindex;
	check(link_set_up(nl, device, true, &e), &e);
	check(monitor_open(&monitor, &e), &e);
}

static void tear_down(void)
{
	monitor = monitor_close(monitor);
	nl = netlink_close(nl);
}

static const struct mac mac = { { 2, 0, 0, 0, 0, 7 } };

static struct kernel_object neigh(void)
{
	return (struct kernel_object){ .kind = KERNEL_NEIGH,
				       .neigh = { device, ip_v4(0x0b000700), mac, 0 } };
}

static struct kernel_object nexthop(void)
{
	return (struct kernel_object){
		.kind = KERNEL_NEXTHOP,
		.nexthop = { .id = 9, .ifindex = device, .gateway = ip_v4(0x0b000700), .onlink = true },
	};
}

static struct kernel_object route(void)
{
	struct ip ip = ip_v4(0x0b000700);

	return (struct kernel_object){ .kind = KERNEL_ROUTE,
				       .route = { .dst = ipnet_of(&ip, 24), .nexthop_id = 9 } };
}

static void test_own_changes_carry_our_port(void **state)
{
	struct kernel_object (*const objects[])(void) = { neigh, nexthop, route };
	const struct kernel_event *event;

	(void)state;
	set_up();
	assert_int_equal(read_all(), 0);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		change(NETLINK_REPLACE, objects[i]());
		assert_int_equal(read_all(), 0);
		event = find(objects[i]().kind, false);
		assert_non_null(event);
		assert_int_equal(event->port_id, netlink_port_id(nl));
	}
	event = find(KERNEL_ROUTE, false);
	assert_int_equal(event->object.route.nexthop_id, 9);
	assert_int_equal(event->object.route.dst.len, 24);
	for (size_t i = ARRAY_SIZE(objects); i-- > 0;) {
		change(NETLINK_DELETE, objects[i]());
		assert_int_equal(read_all(), 0);
		event = find(objects[i]().kind, true);
		assert_non_null(event);
		// A neighbour's removal is the kernel's own deed, whoever asked for it.
		assert_int_equal(event->port_id, objects[i] == neigh ? 0 : netlink_port_id(nl));
	}
	tear_down();
}

static void test_changes_by_others(void **state)
{
	const struct kernel_event *event;

	(void)state;
	set_up();
	change(NETLINK_REPLACE, neigh());
	change(NETLINK_REPLACE, nexthop());
	change(NETLINK_REPLACE, route());
	netns_run("bridge", "fdb", "add", "02:00:00:00:00:07", "dev", "flannel.1", "dst",
		  "10.100.0.7", "self", "permanent", NULL);
	assert_int_equal(read_all(), 0);
	netns_run("ip", "route", "del", "11.0.7.0/24", NULL);
	assert_int_equal(read_all(), 0);
	event = find(KERNEL_ROUTE, true);
	assert_non_null(event);
	assert_int_not_equal(event->port_id, netlink_port_id(nl));
	assert_int_not_equal(event->port_id, 0);
	assert_int_equal(ip_v4_value(&event->object.route.dst.addr), 0x0b000700);
	netns_run("ip", "neigh", "del", "11.0.7.0", "dev", "flannel.1", NULL);
	netns_run("bridge", "fdb", "del", "02:00:00:00:00:07", "dev", "flannel.1", "dst",
		  "10.100.0.7", "self", NULL);
	netns_run("ip", "nexthop", "del", "id", "9", NULL);
	netns_run("ip", "addr", "add", "10.244.1.0/32", "dev", "flannel.1", NULL);
	netns_run("ip", "addr", "del", "10.244.1.0/32", "dev", "flannel.1", NULL);
	assert_int_equal(read_all(), 0);
	event = find(KERNEL_NEIGH, true);
	assert_non_null(event);
	assert_int_not_equal(event->port_id, netlink_port_id(nl));
	event = find(KERNEL_FDB, true);
	assert_non_null(event);
	assert_true(mac_equal(&event->object.fdb.mac, &mac));
	assert_non_null(find(KERNEL_NEXTHOP, true));
	event = find(KERNEL_ADDR, true);
	assert_non_null(event);
	assert_int_equal(event->object.addr.ifindex, device);
	netns_run("ip", "link", "del", "flannel.1", NULL);
	assert_int_equal(read_all(), 0);
	event = find(KERNEL_LINK, true);
	assert_non_null(event);
	assert_string_equal(event->object.link.name, "flannel.1");
	tear_down();
}

// A bridge tells of a port that leaves it in the words of a device that goes away.
static void test_leaving_a_bridge_is_no_removal(void **state)
{
	(void)state;
	set_up();
	netns_run("ip", "link", "add", "br0", "type", "bridge", NULL);
	netns_run("ip", "link", "set", "flannel.1", "master", "br0", NULL);
	assert_int_equal(read_all(), 0);
	netns_run("ip", "link", "set", "flannel.1", "nomaster", NULL);
	assert_int_equal(read_all(), 0);
	assert_non_null(find(KERNEL_LINK, false));
	assert_null(find(KERNEL_LINK, true));
	tear_down();
}

static struct kernel_object fdb(void)
{
	return (struct kernel_object){
		.kind = KERNEL_FDB,
		.fdb = { .ifindex = device, .mac = mac, .remote = ip_v4(0x0a640007) },
	};
}

static void skip_own(void)
{
	struct err e = { 0 };

	assert_int_equal(read_all(), 0);
	check(monitor_skip_own(monitor, nl, &e), &e);
}

static void test_skipping_our_own(void **state)
{
	struct pollfd poll_fd;

	(void)state;
	set_up();
	skip_own();
	change(NETLINK_REPLACE, neigh());
	change(NETLINK_REPLACE, nexthop());
	change(NETLINK_REPLACE, route());
	poll_fd = (struct pollfd){ .fd = monitor_fd(monitor), .events = POLLIN };
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	netns_run("ip", "route", "del", "11.0.7.0/24", NULL);
	assert_int_equal(poll(&poll_fd, 1, 0), 1);
	assert_int_equal(read_all(), 0);
	assert_int_equal(events.count, 1);
	assert_non_null(find(KERNEL_ROUTE, true));
	tear_down();
}

// FDB entries and the removal of neighbours come without the port id of who asked.
static void test_skipping_our_own_without_port(void **state)
{
	struct kernel_object moved, other;

	(void)state;
	set_up();
	skip_own();
	change(NETLINK_REPLACE, fdb());
	change(NETLINK_REPLACE, fdb()); // changes nothing and is not told
	moved = fdb();
	moved.fdb.remote = ip_v4(0x0a640008);
	change(NETLINK_REPLACE, moved);
	change(NETLINK_REPLACE, neigh());
	change(NETLINK_DELETE, neigh());
	assert_int_equal(read_all(), 0);
	assert_int_equal(events.count, 0);

	// Another's doing among our own is told, be it the same deed to another object or the undoing of ours.
	other = neigh();
	other.neigh.ip = ip_v4(0x0b000800);
	change(NETLINK_REPLACE, other);
	change(NETLINK_REPLACE, neigh());
	netns_run("ip", "neigh", "del", "11.0.8.0", "dev", "flannel.1", NULL);
	change(NETLINK_DELETE, neigh());
	netns_run("bridge", "fdb", "del", "02:00:00:00:00:07", "dev", "flannel.1", "dst",
		  "10.100.0.8", "self", NULL);
	change(NETLINK_REPLACE, fdb());
	assert_int_equal(read_all(), 0);
	assert_non_null(find(KERNEL_FDB, true));
	assert_non_null(find(KERNEL_NEIGH, true));
	assert_int_equal(ip_v4_value(&find(KERNEL_NEIGH, true)->object.neigh.ip), 0x0b000800);
	assert_null(find(KERNEL_FDB, false));

	// One deed of ours excuses one of another, not two.
	change(NETLINK_REPLACE, neigh());
	change(NETLINK_DELETE, neigh());
	netns_run("ip", "neigh", "add", "11.0.7.0", "lladdr", "02:00:00:00:00:07", "dev",
		  "flannel.1", NULL);
	netns_run("ip", "neigh", "del", "11.0.7.0", "dev", "flannel.1", NULL);
	assert_int_equal(read_all(), 0);
	assert_non_null(find(KERNEL_NEIGH, true));

	// A request that caused no word leaves no note behind that another's deed could take.
	change(NETLINK_DELETE, moved); // of a remote that is not there: the kernel calls it a success
	assert_int_equal(read_all(), 0);
	assert_int_equal(events.count, 0);
	netns_run("bridge", "fdb", "replace", "02:00:00:00:00:07", "dev", "flannel.1", "dst",
		  "10.100.0.8", "self", NULL);
	netns_run("bridge", "fdb", "del", "02:00:00:00:00:07", "dev", "flannel.1", "dst",
		  "10.100.0.8", "self", NULL);
	assert_int_equal(read_all(), 0);
	assert_non_null(find(KERNEL_FDB, false));
	assert_non_null(find(KERNEL_FDB, true));
	tear_down();
}

static void test_skipping_survives_a_new_socket(void **state)
{
	struct netlink *older;
	struct err e = { 0 };
	uint32_t port_id;

	(void)state;
	set_up();
	older = nl;
	nl = NULL;
	check(netlink_open(0, &nl, &e), &e);
	skip_own();
	port_id = netlink_port_id(nl);
	nlsock_close(&nl->requests); // forgets the port id, so that it is not asked for
	check(netlink_reopen_requests(nl, &e), &e);
	assert_int_not_equal(netlink_port_id(nl), port_id);
	change(NETLINK_REPLACE, neigh());
	assert_int_equal(read_all(), 0);
	assert_int_equal(events.count, 0);
	change(NETLINK_DELETE, neigh());
	assert_int_equal(read_all(), 0);
	assert_int_equal(events.count, 0);
	netlink_close(older);
	tear_down();
}

static void test_reads_in_slices(void **state)
{
	struct err e = { 0 };
	size_t all;

	(void)state;
	set_up();
	assert_int_equal(read_all(), 0);
	for (unsigned int i = 0; i < 100; i++) {
		struct kernel_object object = neigh();

		object.neigh.ip = ip_v4(0x0b000000 + i);
		change(NETLINK_REPLACE, object);
	}
	events.count = 0;
	check(monitor_read(monitor, 20, note, NULL, &e), &e);
	assert_in_range(events.count, 20, 20 + 16); // a whole ring at a time
	all = events.count;
	assert_int_equal(read_all(), 0);
	assert_int_equal(all + events.count, 100);
	assert_int_equal(read_all(), 0);
	assert_int_equal(events.count, 0);
	tear_down();
}

static void test_lost_notifications_are_told(void **state)
{
	int tiny = 1;

	(void)state;
	set_up();
	assert_int_equal(read_all(), 0);
	assert_int_equal(
		setsockopt(monitor_fd(monitor), SOL_SOCKET, SO_RCVBUFFORCE, &tiny, sizeof(tiny)), 0);
	for (unsigned int i = 0; i < 50; i++) {
		struct kernel_object object = neigh();

		object.neigh.ip = ip_v4(0x0b000000 + i);
		change(NETLINK_REPLACE, object);
	}
	assert_int_equal(read_all(), -ENOBUFS);
	assert_in_range(events.count, 1, 49); // what there was is handed over
	// Once told it is over, and later changes come again.
	assert_int_equal(read_all(), 0);
	change(NETLINK_REPLACE, neigh());
	assert_int_equal(read_all(), 0);
	assert_non_null(find(KERNEL_NEIGH, false));
	tear_down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_changes_carry_our_port),
		cmocka_unit_test(test_changes_by_others),
		cmocka_unit_test(test_leaving_a_bridge_is_no_removal),
		cmocka_unit_test(test_skipping_our_own),
		cmocka_unit_test(test_skipping_our_own_without_port),
		cmocka_unit_test(test_skipping_survives_a_new_socket),
		cmocka_unit_test(test_reads_in_slices),
		cmocka_unit_test(test_lost_notifications_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
