// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of whole passes against a real kernel: what they program, adopt, sweep and leave alone, and what a plan says.
#include "netns.h"
#include "reconcile/reconcile_internal.h"
#include "reconcile_world.h"
#include "unit.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

static const struct world_options plain = { 0 };

#define assert_programmed(world, peers)                                    \
	do {                                                               \
		assert_int_equal(world_count(world, "neighbour "), peers); \
		assert_int_equal(world_count(world, "fdb "), peers);       \
		assert_int_equal(world_count(world, "nexthop "), peers);   \
		assert_int_equal(world_count(world, "route "), peers);     \
	} while (0)

static void expect_members(json_t *array, const char *key, const char *value, const char *literal)
{
	json_t *entry, *got = NULL, *want = json_loads(literal, 0, NULL), *member;
	const char *name;
	size_t i;
	assert_non_null(want);
	json_array_foreach(array, i, entry)
		if (strcmp(json_text_of(entry, key), value) == 0)
			got = entry;
	check(got, "no %s %s", key, value);
	json_object_foreach(want, name, member)
		check(json_equal(member, json_object_get(got, name)), "%s: want %s, got %s", name,
		      literal, json_dumps(got, 0));
	check(json_object_size(got) == json_object_size(want), "want %s, got %s", literal,
	      json_dumps(got, 0));
	json_decref(want);
	json_decref(array);
}

// ---- programming ----

static void test_three_peers_look_as_flannel_makes_them(void **state)
{
	(void)state;
	struct world *world = world_open(&plain);
	world_fill(world, 1, 3);
	world_start(world);
	assert_programmed(world, 3);
	expect_members(
		netns_json("ip", "-j", "-4", "neigh", "show", "dev", "flannel.1", NULL), "dst",
		"10.1.2.0",
		"{\"dst\":\"10.1.2.0\",\"lladdr\":\"02:11:22:00:00:02\",\"state\":[\"PERMANENT\"]}");
	expect_members(
		netns_json("bridge", "-j", "fdb", "show", "dev", "flannel.1", NULL), "mac",
		"02:11:22:00:00:02",
		"{\"mac\":\"02:11:22:00:00:02\",\"dst\":\"172.16.0.3\",\"flags\":[\"self\"],\"state\":\"permanent\"}");
	json_t *routes = netns_json("ip", "-j", "-N", "-4", "route", "show", "10.1.2.0/24", NULL);
	json_object_del(json_array_get(routes, 0), "nhid");
	expect_members(
		routes, "dst", "10.1.2.0/24",
		"{\"dst\":\"10.1.2.0/24\",\"gateway\":\"10.1.2.0\",\"dev\":\"flannel.1\",\"protocol\":\"157\",\"flags\":[\"onlink\"]}");
	assert_true(world_has(world, "address 10.0.1.0/32 dev 1000"));
	assert_int_equal(world_repairs(world), 0);
	assert_int_equal(trouble_count(reconcile_trouble(world->reconcile), false), 0);
	world_close(world);
}

static void test_the_second_pass_changes_nothing(void **state)
{
	static const enum reconcile_reason reasons[] = { RECONCILE_START, RECONCILE_CHANGE,
							 RECONCILE_DRIFT };
	(void)state;
	struct world *world = world_open(&plain);
	world_fill(world, 1, 2000);
	world_start(world);
	assert_programmed(world, 2000);
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		uint64_t messages = world_messages(world);
		world_pass(world, reasons[i]);
		// The one request is the look at the device.
		assert_int_equal(world_messages(world) - messages, 1);
	}
	assert_int_equal(world_repairs(world), 0);
	assert_programmed(world, 2000);
	world_close(world);
}

static void test_the_first_pass_sends_little(void **state)
{
	(void)state;
	struct world *world = world_open(&plain);
	world_fill(world, 1, 2000);
	uint64_t messages = world_messages(world), sends = netlink_stats(world->nl)->sends;
	world_start(world);
	// Four for each peer; the device is looked up, made, addressed, set up and looked up again.
	assert_in_range(world_messages(world) - messages, 4 * 2000, 4 * 2000 + 8);
	assert_in_range(netlink_stats(world->nl)->sends - sends, 1, 20);
	world_close(world);
}

static void test_our_own_echoes_cause_no_pass(void **state)
{
	(void)state;
	struct world *world = world_open(&plain);
	world_start(world);
	world_settle(world); // the making of the device may look like drift once
	uint64_t passes = reconcile_stats(world->reconcile)->passes, events = world->events;
	world_fill(world, 1, 500);
	world_pass(world, RECONCILE_CHANGE);
	struct lease lease = world_lease(world, 501);
	world_put(world, &lease);
	world_remove(world, world_subnet(world, 3));
	world_await_changes(world);
	world_settle(world);
	assert_programmed(world, 500);
	assert_int_equal(world->events, events);
	assert_int_equal(reconcile_stats(world->reconcile)->passes, passes + 1);
	assert_int_equal(world->lost, 0);
	world_close(world);
}

static void test_both_families(void **state)
{
	struct world_options options = { .config = WORLD_DUAL_CONFIG };
	(void)state;
	struct world *world = world_open(&options);
	world_fill(world, 1, 5);
	world_start(world);
	assert_programmed(world, 10);
	assert_true(world_has(world, "neighbour fd10:0:1:2:: lladdr 02:11:22:00:00:02 dev 1001"));
	assert_true(world_has(world, "fdb 02:11:22:00:00:02 dst fd99:1::4 dev 1001"));
	assert_true(world_has(world, "route fd10:0:1:2::/64 nexthop"));
	assert_true(world_has(world, "address fd10:0:0:1::/128 dev 1001"));
	uint64_t messages = world_messages(world);
	world_pass(world, RECONCILE_DRIFT);
	assert_int_equal(world_messages(world) - messages, 2);
	world_close(world);
}

static void test_without_nexthop_objects(void **state)
{
	struct world_options options = { .config = WORLD_DUAL_CONFIG,
					 .without = 1u << NETLINK_FEATURE_NEXTHOP };
	(void)state;
	struct world *world = world_open(&options);
	world_fill(world, 1, 5);
	world_start(world);
	assert_int_equal(world_count(world, "nexthop "), 0);
	assert_true(world_has(world, "route 10.1.2.0/24 via 10.1.2.0 dev 1000 onlink proto 157"));
	assert_true(world_has(world,
			      "route fd10:0:1:2::/64 via fd10:0:1:2:: dev 1001 onlink proto 157"));
	uint64_t messages = world_messages(world);
	world_pass(world, RECONCILE_DRIFT);
	assert_int_equal(world_messages(world) - messages, 2);
	world_remove(world, world_subnet(world, 2));
	world_await_changes(world);
	assert_int_equal(world_count(world, "route "), 8);
	world_close(world);
}

static void test_without_strict_checking(void **state)
{
	struct world_options options = { .config = WORLD_DUAL_CONFIG,
					 .without = 1u << NETLINK_FEATURE_STRICT };
	(void)state;
	struct world *world = world_open(&options);
	world_fill(world, 1, 5);
	world_start(world);
	assert_programmed(world, 10);
	uint64_t messages = world_messages(world);
	world_pass(world, RECONCILE_DRIFT);
	assert_int_equal(world_messages(world) - messages, 2);
	world_close(world);
}

// ---- what an earlier life left ----

static void test_a_restart_changes_nothing(void **state)
{
	struct world_options again = { .keep_kernel = true };
	(void)state;
	struct world *world = world_open(&plain);
	world_fill(world, 1, 20);
	world_start(world);
	_cleanup_free_ char *before = world_snapshot(world);
	world_close(world);
	world = world_open(&again);
	world_fill(world, 1, 20);
	uint64_t messages = world_messages(world);
	world_start(world);
	assert_int_equal(world_messages(world) - messages, 1);
	world_await_snapshot(world, before);
	world_close(world);
}

static void test_stale_entries_are_swept_once_that_is_allowed(void **state)
{
	struct world_options again = { .keep_kernel = true };
	(void)state;
	struct world *world = world_open(&plain);
	world_fill(world, 1, 20);
	world_start(world);
	world_close(world);
	world = world_open(&again);
	world_fill(world, 1, 5);
	world_pass(world, RECONCILE_START);
	assert_programmed(world, 20); // the peers may come from a cache
	reconcile_allow_sweep(world->reconcile, true);
	world_await_passes(world, 2);
	assert_programmed(world, 5);
	assert_int_equal(world_repairs(world), 0);
	world_close(world);
}

static void test_flannels_leftovers_are_adopted(void **state)
{
	(void)state;
	netns_enter();
	netns_run("ip", "link", "add", "e0", "type", "veth", "peer", "name", "e1", NULL);
	netns_run("ip", "addr", "add", "192.168.9.1/24", "dev", "e0", NULL);
	netns_run("ip", "addr", "add", "fd99::1/64", "dev", "e0", "nodad", NULL);
	netns_run("ip", "link", "set", "e0", "up", NULL);
	netns_run("ip", "link", "set", "e1", "up", NULL);
	netns_run("ip", "link", "add", "flannel.1", "address", "06:55:00:00:00:07", "type", "vxlan",
		  "id", "1", "local", "192.168.9.1", "dev", "e0", "dstport", "8472", "nolearning",
		  NULL);
	netns_run("ip", "addr", "add", "10.0.1.0/32", "dev", "flannel.1", NULL);
	netns_run("ip", "link", "set", "flannel.1", "mtu", "1450", "up", NULL);
	netns_run("ip", "route", "add", "10.1.1.0/24", "via", "10.1.1.0", "dev", "flannel.1",
		  "onlink", NULL);
	netns_run("ip", "route", "add", "10.1.9.0/24", "via", "10.1.9.0", "dev", "flannel.1",
		  "onlink", NULL);
	netns_run("ip", "neigh", "add", "10.1.9.0", "lladdr", "06:55:00:00:00:09", "dev",
		  "flannel.1", "nud", "permanent", NULL);
	netns_run("bridge", "fdb", "append", "06:55:00:00:00:09", "dev", "flannel.1", "dst",
		  "172.16.9.9", "self", "permanent", NULL);

	struct world_options options = { .keep_kernel = true };
	struct world *world = world_open(&options);
	uint32_t ifindex = (uint32_t)json_int_of(
		json_array_get(netns_json("ip", "-j", "link", "show", "flannel.1", NULL), 0),
		"ifindex");
	world_fill(world, 1, 1);
	world_start(world);
	json_t *link = json_array_get(netns_json("ip", "-j", "link", "show", "flannel.1", NULL), 0);
	assert_int_equal(json_int_of(link, "ifindex"), ifindex); // the same device
	assert_string_equal(json_text_of(link, "address"), "06:55:00:00:00:07");
	struct lease_attrs attrs;
	backend_attrs(world->backend, &attrs);
	assert_string_equal(attrs.backend_data, "{\"VNI\":1,\"VtepMAC\":\"06:55:00:00:00:07\"}");
	lease_attrs_free(&attrs);
	assert_programmed(world, 1);
	assert_true(world_has(world, "route 10.1.1.0/24 nexthop "));
	world_close(world);
}

// A route that is replaced is there all the time: the kernel tells of one change and of no removal.
struct watched {
	size_t removed, replaced;
};

static void watch_route(void *arg, const struct kernel_event *event)
{
	struct watched *watched = arg;
	if (event->object.kind != KERNEL_ROUTE || event->object.route.dst.len != 24 ||
	    event->object.route.protocol == 2)
		return;
	watched->removed += event->removed;
	watched->replaced += !event->removed;
}

static void test_an_adopted_route_has_no_gap(void **state)
{
	(void)state;
	struct world *world = world_open(&plain);
	struct err e;
	world_start(world); // makes the device
	netns_run("ip", "route", "add", "10.1.1.0/24", "via", "10.1.1.0", "dev", "flannel.1",
		  "onlink", NULL);
	struct monitor *monitor = NULL;
	assert_int_equal(monitor_open(&monitor, &e), 0);
	world_fill(world, 1, 1);
	world_pass(world, RECONCILE_CHANGE);
	struct watched watched = { 0 };
	assert_int_equal(monitor_read(monitor, 1000, watch_route, &watched, &e), 0);
	assert_int_equal(watched.removed, 0);
	assert_int_equal(watched.replaced, 1);
	assert_true(world_has(world, "route 10.1.1.0/24 nexthop "));
	monitor_close(monitor);
	world_close(world);
}

// ---- what is not ours ----

static void test_what_is_foreign_is_left_alone(void **state)
{
	static const char *const foreign[] = {
		"ip route add 10.200.0.0/16 dev flannel.1 proto static",
		"ip route add 10.201.0.0/16 dev flannel.1 proto 99",
		"ip route add 10.202.0.0/16 dev flannel.1", // boot, but not of flannel's shape
		"ip route add 10.203.0.0/24 via 192.168.9.7 dev e0",
		"ip route add 10.204.0.0/24 dev flannel.1 proto 157 table 77",
		"ip route add 10.1.1.0/24 dev e0 metric 50",
		"ip nexthop add id 5 via 192.168.9.7 dev e0",
		"ip nexthop add id 7 via 10.1.1.0 dev flannel.1 onlink",
		"ip nexthop add id 1459617792 via 192.168.9.8 dev e0 proto static", // of our range
		"ip -6 neigh add ff02::77 lladdr 33:33:00:00:00:77 dev flannel.1 nud noarp",
		"bridge fdb append 06:00:00:00:00:01 dev flannel.1 dst 172.16.9.1 port 4789 self permanent",
		"ip rule add from 10.9.9.9 table 77",
	};
	(void)state;
	struct world *world = world_open(&plain);
	world_fill(world, 1, 3);
	world_start(world);
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		netns_run("sh", "-c", foreign[i], NULL);
	_cleanup_free_ char *before = world_snapshot(world);
	json_t *table = netns_json("ip", "-j", "route", "show", "table", "77", NULL);
	world_pass(world, RECONCILE_DRIFT);
	world_pass(world, RECONCILE_CHANGE);
	world_await_snapshot(world, before);
	assert_int_equal(json_array_size(table), 1);
	assert_true(json_equal(table, netns_json("ip", "-j", "route", "show", "table", "77", NULL)));
	assert_int_equal(netns_json_count("ip", "-j", "-6", "neigh", "show", "ff02::77", "dev",
					  "flannel.1", "nud", "noarp", NULL),
			 1);
	assert_int_equal(world_repairs(world), 0);
	assert_int_equal(trouble_count(reconcile_trouble(world->reconcile), false), 0);
	world_close(world);
}

static void test_a_nexthop_id_that_is_taken_is_not_used(void **state)
{
	(void)state;
	struct world *world = world_open(&plain);
	world_fill(world, 1, 1);
	world_start(world);
	json_t *ours = netns_json("ip", "-j", "nexthop", "show", NULL);
	char id[16];
	assert_int_equal(json_array_size(ours), 1);
	assert_int_equal(
		text_format(id, sizeof(id), "%ld", json_int_of(json_array_get(ours, 0), "id")), 0);
	netns_run("ip", "nexthop", "del", "id", id, NULL);
	netns_run("ip", "nexthop", "add", "id", id, "via", "192.168.9.8", "dev", "e0", "proto",
		  "static", NULL);
	world_pass(world, RECONCILE_DRIFT);
	json_t *all = netns_json("ip", "-j", "nexthop", "show", NULL);
	assert_int_equal(json_array_size(all), 2);
	json_t *foreign = netns_json("ip", "-j", "nexthop", "show", "id", id, NULL);
	assert_string_equal(json_text_of(json_array_get(foreign, 0), "gateway"), "192.168.9.8");
	assert_int_equal(world_count(world, "route 10.1.1.0/24 nexthop "), 1);
	world_close(world);
}

static void test_a_device_of_another_kind_is_not_touched(void **state)
{
	struct world_options options = { .keep_kernel = true };
	(void)state;
	struct world *world = world_open(&plain);
	netns_run("ip", "link", "add", "flannel.1", "type", "bridge", NULL);
	struct err e = { 0 };
	assert_int_equal(reconcile_devices(world->reconcile, &e), -EEXIST);
	assert_string_equal(
		e.msg,
		"flannel.1 is there and is no vxlan device: rename or remove it ('ip link del flannel.1')");
	assert_int_equal(netns_json_count("ip", "-j", "link", "show", "type", "bridge", NULL), 1);
	netns_run("ip", "link", "del", "flannel.1", NULL);
	assert_int_equal(reconcile_devices(world->reconcile, &e), 0);
	world_close(world);
	(void)options;
}

// ---- peers that cannot be programmed ----

static bool first_is_fine(struct world *world)
{
	return !world_trouble(world, world_subnet(world, 1));
}

static void route_in_the_way(const char *route, const char *text)
{
	struct world *world = world_open(&plain);
	netns_run("sh", "-c", route, NULL);
	world_fill(world, 1, 5);
	world_start(world);
	assert_int_equal(world_count(world, "route 10.1."), 5); // four of ours
	assert_int_equal(world_count(world, "nexthop "), 5);
	const char *why = world_trouble(world, world_subnet(world, 1));
	check(why && strstr(why, text), "%s: %s", route, why ? why : "no trouble");
	assert_int_equal(trouble_count(reconcile_trouble(world->reconcile), false), 1);
	// Its removal is noticed; the back-off is not waited for.
	netns_run("ip", "route", "del", "10.1.1.0/24", NULL);
	uint64_t start = loop_now_ms();
	assert_true(world_await(world, first_is_fine, 900));
	assert_in_range(loop_now_ms() - start, 0, 900);
	assert_programmed(world, 5);
	world_close(world);
}

static void test_a_route_in_the_way(void **state)
{
	(void)state;
	route_in_the_way(
		"ip route add 10.1.1.0/24 via 192.168.9.7 dev e0",
		"route 10.1.1.0/24 via 192.168.9.7 dev 3 is in the way and not weft's; remove it with 'ip route del'");
	route_in_the_way(
		"ip route add 10.1.1.0/24 via 192.168.9.7 dev e0 proto static",
		": a route to it that is not weft's is in the way; remove it with 'ip route del'");
}

static bool second_is_fine(struct world *world)
{
	return !world_trouble(world, world_subnet(world, 2));
}

static void test_a_refused_peer_disturbs_nobody(void **state)
{
	(void)state;
	struct world *world = world_open(&plain);
	world_fill(world, 1, 5);
	world_start(world);
	world->refused = *world_subnet(world, 2);
	world->refusal = -EINVAL;
	world_pass(world, RECONCILE_CHANGE);
	assert_programmed(world, 4);
	assert_string_equal(world_trouble(world, world_subnet(world, 2)), "refused by the test");
	assert_int_equal(trouble_count(reconcile_trouble(world->reconcile), false), 1);
	world->refusal = -EPROTONOSUPPORT;
	world_pass(world, RECONCILE_CHANGE);
	world->refusal = 0;
	assert_true(world_await(world, second_is_fine, 5000)); // when its back-off ends
	assert_programmed(world, 5);
	world_close(world);
}

static void test_two_peers_with_one_mac_do_not_fight(void **state)
{
	(void)state;
	struct world *world = world_open(&plain);
	world_fill(world, 1, 3);
	world_start(world);
	struct lease rival = world_lease(world, 4);
	world_set_mac(&rival, "02:11:22:00:00:02");
	lease_set_put(world->peers, &rival);
	world_pass(world, RECONCILE_CHANGE);
	world_pass(world, RECONCILE_CHANGE);
	assert_int_equal(trouble_count(reconcile_trouble(world->reconcile), false), 1);
	_cleanup_free_ char *settled = world_snapshot(world);
	uint64_t messages = world_messages(world);
	for (int i = 0; i < 8; i++)
		world_pass(world, RECONCILE_DRIFT);
	world_await_snapshot(world, settled);
	assert_int_equal(world_messages(world) - messages, 8);
	assert_int_equal(world->wars, 0);
	world_close(world);
}

static void test_two_new_peers_with_one_mac(void **state)
{
	(void)state;
	struct world *world = world_open(&plain);
	world_fill(world, 1, 3);
	struct lease rival = world_lease(world, 4);
	world_set_mac(&rival, "02:11:22:00:00:02");
	lease_set_put(world->peers, &rival);
	world_start(world);
	// The first pass decides, and says so.
	assert_int_equal(trouble_count(reconcile_trouble(world->reconcile), false), 1);
	assert_int_equal(world_count(world, "fdb "), 3);
	_cleanup_free_ char *settled = world_snapshot(world);
	for (int i = 0; i < 8; i++)
		world_pass(world, RECONCILE_DRIFT);
	world_await_snapshot(world, settled);
	assert_int_equal(world_repairs(world), 0);
	assert_int_equal(world->wars, 0);
	world_close(world);
}

// ---- plans ----

struct plan {
	struct strbuf text;
	bool done;
	int r;
};

static void plan_change(void *arg, enum netlink_verb verb, const struct kernel_object *object)
{
	static const char *const verbs[] = {
		[NETLINK_CREATE] = "create", [NETLINK_REPLACE] = "replace", [NETLINK_DELETE] = "delete"
	};
	struct plan *plan = arg;
	char text[KERNEL_OBJECT_STR_MAX];
	assert_int_equal(strbuf_printf(&plan->text, "%s %s\n", verbs[verb],
				       kernel_object_str(object, text)),
			 0);
}

static void plan_done(void *arg, int r, const struct err *e)
{
	struct plan *plan = arg;
	(void)e;
	plan->done = true;
	plan->r = r;
}

static void make_plan(struct world *world, struct plan *ret)
{
	*ret = (struct plan){ .text = STRBUF_INIT(1 << 20) };
	assert_int_equal(reconcile_plan(world->reconcile, plan_change, plan_done, ret), 0);
	assert_int_equal(reconcile_plan(world->reconcile, plan_change, plan_done, ret), -EBUSY);
	for (int i = 0; i < 2000 && !ret->done; i++)
		loop_turn(world->loop, 5);
	assert_true(ret->done);
	assert_int_equal(ret->r, 0);
}

static size_t lines_of(const struct plan *plan, const char *start)
{
	size_t count = 0;
	for (const char *line = strbuf_text(&plan->text); *line; line = strchr(line, '\n') + 1)
		count += strncmp(line, start, strlen(start)) == 0;
	return count;
}

static void test_a_plan_tells_and_does_nothing(void **state)
{
	struct world_options deaf = { .deaf = true };
	(void)state;
	struct world *world = world_open(&deaf);
	struct plan plan;
	world_fill(world, 1, 5);
	world_start(world);
	make_plan(world, &plan);
	assert_string_equal(strbuf_text(&plan.text), "");
	strbuf_free(&plan.text);
	// Five differences.
	netns_run("ip", "neigh", "del", "10.1.1.0", "dev", "flannel.1", NULL);
	netns_run("ip", "route", "del", "10.1.2.0/24", NULL);
	netns_run("bridge", "fdb", "del", "02:11:22:00:00:03", "dev", "flannel.1", NULL);
	netns_run("ip", "link", "set", "flannel.1", "mtu", "1400", NULL);
	netns_run("ip", "neigh", "add", "10.77.0.0", "lladdr", "02:00:00:00:00:01", "dev",
		  "flannel.1", "nud", "permanent", NULL);
	_cleanup_free_ char *before = world_snapshot(world);
	uint64_t messages = world_messages(world);
	make_plan(world, &plan);
	assert_int_equal(lines_of(&plan, ""), 5);
	assert_int_equal(lines_of(&plan, "create neighbour 10.1.1.0 lladdr 02:11:22:00:00:01 dev "), 1);
	assert_int_equal(lines_of(&plan, "create route 10.1.2.0/24 nexthop "), 1);
	assert_int_equal(lines_of(&plan, "create fdb 02:11:22:00:00:03 dst 172.16.0.4 dev "), 1);
	assert_int_equal(lines_of(&plan, "replace link flannel.1 "), 1);
	assert_int_equal(lines_of(&plan, "delete neighbour 10.77.0.0 "), 1);
	strbuf_free(&plan.text);
	assert_int_equal(world_messages(world) - messages, 1);
	world_await_snapshot(world, before);
	world_pass(world, RECONCILE_DRIFT);
	make_plan(world, &plan);
	assert_string_equal(strbuf_text(&plan.text), "");
	strbuf_free(&plan.text);
	world_close(world);
}

static void test_a_plan_for_a_device_that_is_gone(void **state)
{
	struct world_options deaf = { .deaf = true };
	(void)state;
	struct world *world = world_open(&deaf);
	struct plan plan;
	world_fill(world, 1, 5);
	world_start(world);
	netns_run("ip", "link", "del", "flannel.1", NULL);
	make_plan(world, &plan);
	assert_int_equal(lines_of(&plan, "create "), 2 + 4 * 5);
	assert_int_equal(lines_of(&plan, ""), 2 + 4 * 5);
	strbuf_free(&plan.text);
	// What is known of the device that was there stays known.
	assert_int_not_equal(world->reconcile->underlay.device_ifindex[0], 0);
	world_pass(world, RECONCILE_DRIFT);
	assert_programmed(world, 5);
	world_close(world);
}

static void test_a_plan_for_a_device_that_does_not_fit(void **state)
{
	struct world_options deaf = { .deaf = true };
	(void)state;
	struct world *world = world_open(&deaf);
	struct plan plan;
	world_fill(world, 1, 5);
	world_start(world);
	netns_run("ip", "link", "del", "flannel.1", NULL);
	netns_run("ip", "link", "add", "flannel.1", "type", "vxlan", "id", "1", "local",
		  "192.168.9.1", "dev", "e0", "dstport", "4789", NULL);
	netns_run("ip", "neigh", "add", "10.1.1.0", "lladdr", "02:11:22:00:00:01", "dev",
		  "flannel.1", "nud", "permanent", NULL);
	make_plan(world, &plan);
	assert_int_equal(lines_of(&plan, "replace link flannel.1 "), 1);
	assert_int_equal(lines_of(&plan, ""), 2 + 4 * 5);
	strbuf_free(&plan.text);
	world_close(world);
}

static void test_a_plan_does_not_wait_for_a_retry(void **state)
{
	struct world_options deaf = { .deaf = true };
	(void)state;
	struct world *world = world_open(&deaf);
	struct plan plan;
	netns_run("ip", "route", "add", "10.1.1.0/24", "via", "192.168.9.7", "dev", "e0", NULL);
	world_fill(world, 1, 5);
	world_start(world);
	make_plan(world, &plan);
	assert_string_equal(strbuf_text(&plan.text), "");
	strbuf_free(&plan.text);
	netns_run("ip", "route", "del", "10.1.1.0/24", NULL);
	make_plan(world, &plan);
	assert_int_equal(lines_of(&plan, "create route 10.1.1.0/24 "), 1);
	assert_int_equal(lines_of(&plan, ""), 1);
	strbuf_free(&plan.text);
	assert_non_null(world_trouble(world, world_subnet(world, 1)));
	world_close(world);
}

static void test_a_plan_says_why_there_is_none(void **state)
{
	(void)state;
	struct world *world = world_open(&plain);
	struct plan plan = { .text = STRBUF_INIT(1024) };
	netns_run("ip", "link", "add", "flannel.1", "type", "bridge", NULL);
	reconcile_request(world->reconcile, RECONCILE_START); // fails, and is tried again every two seconds
	while (world->device_error[0] == '\0')
		loop_turn(world->loop, 5);
	assert_int_equal(reconcile_plan(world->reconcile, plan_change, plan_done, &plan), 0);
	for (uint64_t end = loop_now_ms() + 5000; !plan.done && loop_now_ms() < end;)
		loop_turn(world->loop, 5);
	assert_true(plan.done);
	assert_int_equal(plan.r, -EEXIST);
	// What we know to have changed is not kept waiting for the next try.
	netns_run("ip", "link", "del", "flannel.1", NULL);
	uint64_t start = loop_now_ms();
	reconcile_request(world->reconcile, RECONCILE_CHANGE);
	world_await_passes(world, 1);
	assert_in_range(loop_now_ms() - start, 0, 1000);
	assert_string_equal(world->device_error, "");
	world_close(world);
}

// ---- a pass that cannot be finished ----

static bool is_between_two_dumps(struct world *world)
{
	const struct pass *pass = world->reconcile->pass;
	return pass && pass->phase == PASS_SCAN && !pass->dump && pass->dump_next > 0;
}

static bool is_given_up(struct world *world)
{
	return !world->reconcile->pass;
}

static void test_a_scan_that_fails_is_repeated(void **state)
{
	(void)state;
	struct world *world = world_open(&plain);
	struct netlink_dump *dump = NULL;
	struct err e;
	world_fill(world, 1, 3);
	reconcile_request(world->reconcile, RECONCILE_START);
	while (!is_between_two_dumps(world))
		loop_turn(world->loop, 5);
	assert_int_equal(netlink_dump_start(world->nl, KERNEL_LINK, NULL, &dump, &e), 0);
	assert_true(world_await(world, is_given_up, 1000));
	netlink_dump_free(dump);
	world_await_passes(world, 1);
	assert_programmed(world, 3);
	world_close(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_three_peers_look_as_flannel_makes_them),
		cmocka_unit_test(test_the_second_pass_changes_nothing),
		cmocka_unit_test(test_the_first_pass_sends_little),
		cmocka_unit_test(test_our_own_echoes_cause_no_pass),
		cmocka_unit_test(test_both_families),
		cmocka_unit_test(test_without_nexthop_objects),
		cmocka_unit_test(test_without_strict_checking),
		cmocka_unit_test(test_a_restart_changes_nothing),
		cmocka_unit_test(test_stale_entries_are_swept_once_that_is_allowed),
		cmocka_unit_test(test_flannels_leftovers_are_adopted),
		cmocka_unit_test(test_an_adopted_route_has_no_gap),
		cmocka_unit_test(test_what_is_foreign_is_left_alone),
		cmocka_unit_test(test_a_nexthop_id_that_is_taken_is_not_used),
		cmocka_unit_test(test_a_device_of_another_kind_is_not_touched),
		cmocka_unit_test(test_a_route_in_the_way),
		cmocka_unit_test(test_a_refused_peer_disturbs_nobody),
		cmocka_unit_test(test_two_peers_with_one_mac_do_not_fight),
		cmocka_unit_test(test_two_new_peers_with_one_mac),
		cmocka_unit_test(test_a_plan_tells_and_does_nothing),
		cmocka_unit_test(test_a_plan_for_a_device_that_is_gone),
		cmocka_unit_test(test_a_plan_for_a_device_that_does_not_fit),
		cmocka_unit_test(test_a_plan_does_not_wait_for_a_retry),
		cmocka_unit_test(test_a_plan_says_why_there_is_none),
		cmocka_unit_test(test_a_scan_that_fails_is_repeated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
