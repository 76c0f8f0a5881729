// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: for tests of reconcile: a host with its backend and peers, and eyes on the kernel.
#include "reconcile_world.h"

#include "core/log.h"
#include "core/mem.h"
#include "kernel/link.h"
#include "netns.h"
#include "reconcile/reconcile_internal.h"
#include "unit.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <string.h>

#define AWAIT_MS 10000
#define QUIET_MS 30
#define EVENTS_SLICE 512
#define LINES_MAX 65536

// ---- what the agent does for reconcile ----

static void source_devices(void *arg, struct wanted_devices *ret)
{
	backend_devices(((struct world *)arg)->backend, ret);
}

static int source_peer(void *arg, const struct lease *peer, const struct underlay *underlay,
		       const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		       struct err *e)
{
	struct world *world = arg;
	if (world->refusal != 0 && subnet_equal(&peer->subnet, &world->refused))
		return err_set(e, world->refusal, "refused by the test");
	return backend_want(world->backend, peer, underlay, paths, ret, e);
}

static bool source_needs_paths(void *arg)
{
	return backend_needs_paths(((struct world *)arg)->backend);
}

static const struct lease_set *source_peers(void *arg)
{
	return ((struct world *)arg)->peers;
}

static const struct underlay *source_underlay(void *arg)
{
	return &((struct world *)arg)->underlay;
}

static void source_repaired(void *arg, const struct kernel_object *object, bool war)
{
	struct world *world = arg;
	if (war) {
		world->wars++;
		kernel_object_str(object, world->war_object);
	} else {
		world->repaired[object->kind]++;
	}
}

static void source_device_error(void *arg, const struct err *e)
{
	struct world *world = arg;
	world->device_errors += e != NULL;
	(void)text_copy(world->device_error, sizeof(world->device_error), e ? e->msg : "");
}

static void on_event(void *arg, const struct kernel_event *event)
{
	struct world *world = arg;
	world->events++;
	reconcile_kernel_event(world->reconcile, event);
}

static void on_readable(void *arg, unsigned int events)
{
	struct world *world = arg;
	struct err e;
	(void)events;
	if (monitor_read(world->monitor, EVENTS_SLICE, on_event, world, &e) == -ENOBUFS) {
		world->lost++;
		reconcile_request(world->reconcile, RECONCILE_DRIFT);
	}
}

static bool find_link(void *arg, const char *name, struct link *ret)
{
	return link_get_by_name(((struct world *)arg)->eyes, name, ret, NULL) == 0;
}

static bool find_mac(void *arg, const char *name, struct mac *ret)
{
	(void)arg, (void)name, (void)ret;
	return false;
}

// ---- making it ----

static void must(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%d: %s", r, e->msg);
}

static void make_interface(void)
{
	netns_enter();
	netns_run("ip", "link", "add", "e0", "type", "veth", "peer", "name", "e1", NULL);
	netns_run("ip", "addr", "add", "192.168.9.1/24", "dev", "e0", NULL);
	netns_run("ip", "addr", "add", "fd99::1/64", "dev", "e0", "nodad", NULL);
	netns_run("ip", "link", "set", "e0", "up", NULL);
	netns_run("ip", "link", "set", "e1", "up", NULL);
}

static void open_backend(struct world *world, const char *text)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	struct err e = { 0 };
	struct link e0;
	must(link_get_by_name(world->eyes, "e0", &e0, &e), &e);
	must(netconf_parse(text, strlen(text), &conf, &e), &e);
	world->dual = conf.v4.enabled && conf.v6.enabled;
	world->underlay =
		(struct underlay){ .ifindex = e0.ifindex, .name = "e0", .mtu_bytes = e0.mtu_bytes };
	assert_int_equal(ip_parse("192.168.9.1", &world->underlay.ip4), 0);
	assert_int_equal(ip_parse("fd99::1", &world->underlay.ip6), 0);
	struct backend_host host = { .find_link = find_link,
				     .find_mac = find_mac,
				     .arg = world,
				     .identity = "the test's host" };
	must(backend_new(&conf, &world->underlay, &world->underlay.ip4, &world->underlay.ip6, &host,
			 &world->backend, &e),
	     &e);
	struct subnet own;
	assert_int_equal(ipnet_parse("10.0.1.0/24", &own.v4), 0);
	assert_int_equal(ipnet_parse("fd10:0:0:1::/64", &own.v6), 0);
	backend_set_subnet(world->backend, &own);
}

struct world *world_open(const struct world_options *options)
{
	static const struct reconcile_source source = {
		.devices = source_devices,
		.peer = source_peer,
		.needs_paths = source_needs_paths,
		.peers = source_peers,
		.underlay = source_underlay,
		.repaired = source_repaired,
		.device_error = source_device_error,
	};
	struct world *world = xnew(struct world);
	struct err e = { 0 };
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	if (!options->keep_kernel)
		make_interface();
	must(netlink_open(0, &world->eyes, &e), &e);
	must(netlink_open(options->without, &world->nl, &e), &e);
	open_backend(world, options->config ? options->config : WORLD_CONFIG);
	world->loop = loop_new();
	world->peers = lease_set_new();
	world->reconcile =
		reconcile_new(world->loop, world->nl, &source, world, options->scan_interval_ms);
	if (options->deaf)
		return world;
	must(monitor_open(&world->monitor, &e), &e);
	must(monitor_skip_own(world->monitor, world->nl, &e), &e);
	world->watch = fd_watch_new(world->loop, monitor_fd(world->monitor), on_readable, world);
	fd_watch_set(world->watch, FD_READABLE);
	return world;
}

void world_close(struct world *world)
{
	reconcile_free(world->reconcile);
	fd_watch_free(world->watch);
	monitor_close(world->monitor);
	backend_free(world->backend);
	lease_set_free(world->peers);
	loop_free(world->loop);
	netlink_close(world->nl);
	netlink_close(world->eyes);
	free(world);
}

// ---- peers ----

static struct subnet subnet_of(const struct world *world, unsigned int i)
{
	struct subnet subnet = { .v4 = { .addr = ip_v4(0x0a010000 + (i << 8)), .len = 24 } };
	if (world->dual) {
		subnet.v6.addr = (struct ip){ .family = AF_INET6,
					      .bytes = { 0xfd, 0x10, 0, 0, 0, 1, (uint8_t)(i >> 8),
							 (uint8_t)i } };
		subnet.v6.len = 64;
	}
	return subnet;
}

const struct subnet *world_subnet(const struct world *world, unsigned int i)
{
	static struct subnet subnet;
	subnet = subnet_of(world, i);
	return &subnet;
}

void world_set_mac(struct lease *lease, const char *mac)
{
	free(lease->attrs.backend_data);
	lease->attrs.backend_data = xasprintf("{\"VNI\":1,\"VtepMAC\":\"%s\"}", mac);
}

struct lease world_lease(const struct world *world, unsigned int i)
{
	struct lease lease = { .subnet = subnet_of(world, i) };
	struct mac mac = { { 2, 0x11, 0x22, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i } };
	char text[MAC_STR_MAX];
	(void)text_copy(lease.attrs.backend_type, sizeof(lease.attrs.backend_type), "vxlan");
	lease.attrs.public_ip = ip_v4(0xac100001 + i);
	world_set_mac(&lease, mac_str(&mac, text));
	if (world->dual) {
		lease.attrs.public_ipv6 =
			(struct ip){ .family = AF_INET6, .bytes = { 0xfd, 0x99, 0, 1 } };
		lease.attrs.public_ipv6.bytes[14] = (uint8_t)(i >> 8);
		lease.attrs.public_ipv6.bytes[15] = (uint8_t)(i + 2);
		lease.attrs.backend_v6_data = xstrdup(lease.attrs.backend_data);
	}
	return lease;
}

void world_fill(struct world *world, unsigned int from, unsigned int count)
{
	for (unsigned int i = from; i < from + count; i++) {
		struct lease lease = world_lease(world, i);
		lease_set_put(world->peers, &lease);
	}
}

void world_put(struct world *world, struct lease *lease)
{
	_cleanup_lease_ struct lease old = { 0 };
	const struct lease *had = lease_set_find(world->peers, &lease->subnet);
	if (had)
		lease_copy(had, &old);
	const struct lease *now = lease_set_put(world->peers, lease);
	reconcile_peer_changed(world->reconcile, had ? &old : NULL, now);
}

void world_remove(struct world *world, const struct subnet *subnet)
{
	_cleanup_lease_ struct lease old = { 0 };
	lease_copy(lease_set_find(world->peers, subnet), &old);
	lease_set_remove(world->peers, &old.subnet);
	reconcile_peer_changed(world->reconcile, &old, NULL);
}

// ---- time ----

bool world_await(struct world *world, world_condition_fn *condition, uint64_t timeout_ms)
{
	uint64_t end = loop_now_ms() + timeout_ms;
	while (!condition(world)) {
		if (loop_now_ms() >= end)
			return false;
		loop_turn(world->loop, 5);
	}
	return true;
}

void world_run(struct world *world, uint64_t duration_ms)
{
	uint64_t end = loop_now_ms() + duration_ms;
	while (loop_now_ms() < end)
		loop_turn(world->loop, 5);
}

void world_await_passes(struct world *world, uint64_t passes)
{
	uint64_t end = loop_now_ms() + AWAIT_MS;
	while (reconcile_stats(world->reconcile)->passes < passes) {
		if (loop_now_ms() >= end)
			fail_msg("no pass within %d ms (device: %s)", AWAIT_MS, world->device_error);
		loop_turn(world->loop, 5);
	}
}

void world_pass(struct world *world, enum reconcile_reason reason)
{
	// One that is under way does not count.
	uint64_t passes = reconcile_stats(world->reconcile)->passes + (world->reconcile->pass != NULL);
	reconcile_request(world->reconcile, reason);
	world_await_passes(world, passes + 1);
}

void world_start(struct world *world)
{
	reconcile_allow_sweep(world->reconcile, true);
	world_pass(world, RECONCILE_START);
	world_run(world, 0);
}

static bool has_unread(const struct world *world)
{
	if (!world->monitor)
		return false;
	struct pollfd fd = { .fd = monitor_fd(world->monitor), .events = POLLIN };
	return poll(&fd, 1, 0) > 0;
}

// A slow machine may take longer than QUIET_MS to read what it was told.
void world_settle(struct world *world)
{
	uint64_t start = loop_now_ms(), quiet_since = start;
	while (loop_now_ms() - quiet_since < QUIET_MS) {
		const struct reconcile *reconcile = world->reconcile;
		loop_turn(world->loop, 2);
		if (reconcile->pass || reconcile->requested || reconcile->pending_count > 0 ||
		    has_unread(world))
			quiet_since = loop_now_ms();
		if (loop_now_ms() - start > AWAIT_MS)
			fail_msg("no rest within %d ms (device: %s)", AWAIT_MS, world->device_error);
	}
}

static bool is_synced(struct world *world)
{
	return reconcile_is_synced(world->reconcile);
}

void world_await_changes(struct world *world)
{
	if (!world_await(world, is_synced, AWAIT_MS))
		fail_msg("changes were not applied within %d ms", AWAIT_MS);
}

// ---- eyes ----

struct snapshot {
	struct link device[WANTED_DEVICES_MAX];
	size_t devices;
	char **lines;
	size_t count;
	size_t capacity;
};

// So that a device that was made anew looks the same.
static void name_device(const struct snapshot *snapshot, uint32_t *ifindex)
{
	for (size_t i = 0; i < snapshot->devices; i++)
		if (*ifindex == snapshot->device[i].ifindex)
			*ifindex = 1000 + (uint32_t)i;
}

static bool is_shown(const struct kernel_object *object)
{
	switch (object->kind) {
	case KERNEL_ADDR:
		return !ip_is_link_local(&object->addr.ip);
	case KERNEL_NEIGH:
		return object->neigh.state & NUD_PERMANENT;
	case KERNEL_ROUTE:
		return object->route.protocol != RTPROT_KERNEL && object->route.type == RTN_UNICAST;
	case KERNEL_LINK:
	case KERNEL_FDB:
	case KERNEL_NEXTHOP:
	case KERNEL_WG_PEER:
	case KERNEL_KIND_COUNT:
		break;
	}
	return true;
}

static void show(void *arg, const struct kernel_object *shown)
{
	struct snapshot *snapshot = arg;
	struct kernel_object object = *shown;
	char text[KERNEL_OBJECT_STR_MAX];
	if (!is_shown(shown))
		return;
	if (object.kind == KERNEL_ADDR)
		name_device(snapshot, &object.addr.ifindex);
	else if (object.kind == KERNEL_NEIGH)
		name_device(snapshot, &object.neigh.ifindex);
	else if (object.kind == KERNEL_FDB)
		name_device(snapshot, &object.fdb.ifindex);
	else if (object.kind == KERNEL_NEXTHOP)
		name_device(snapshot, &object.nexthop.ifindex);
	else if (object.kind == KERNEL_ROUTE)
		name_device(snapshot, &object.route.ifindex);
	if (snapshot->count == snapshot->capacity) {
		snapshot->capacity = snapshot->capacity * 2 + 64;
		snapshot->lines = xrealloc_array(snapshot->lines, snapshot->capacity, sizeof(char *));
	}
	kernel_object_str(&object, text);
	snapshot->lines[snapshot->count++] =
		object.kind == KERNEL_ROUTE ? xasprintf("%s proto %u", text, object.route.protocol)
		: object.kind == KERNEL_FDB && !(object.fdb.state & NUD_PERMANENT)
			? xasprintf("%s passing", text)
		: object.kind == KERNEL_NEXTHOP
			? xasprintf("%s proto %u", text, object.nexthop.protocol)
			: xstrdup(text);
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void take(struct world *world, struct snapshot *ret)
{
	static const int families[] = { AF_INET, AF_INET6 };
	struct wanted_devices wanted;
	backend_devices(world->backend, &wanted);
	for (size_t i = 0; i < wanted.count; i++) {
		struct kernel_object object = { .kind = KERNEL_LINK };
		if (link_get_by_name(world->eyes, wanted.devices[i].link.name, &object.link, NULL) < 0)
			continue;
		ret->device[ret->devices++] = object.link;
		object.link.ifindex = 0;
		show(ret, &object);
	}
	for (size_t i = 0; i < ret->devices; i++) {
		struct netlink_dump_filter filter = { .ifindex = ret->device[i].ifindex };
		static const enum kernel_kind kinds[] = { KERNEL_ADDR, KERNEL_NEIGH, KERNEL_FDB };
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			assert_int_equal(netlink_dump_all(world->eyes, kinds[k], &filter, show, ret,
							  NULL),
					 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct netlink_dump_filter filter = { .family = families[i] };
		assert_int_equal(netlink_dump_all(world->eyes, KERNEL_ROUTE, &filter, show, ret, NULL),
				 0);
	}
	assert_int_equal(netlink_dump_all(world->eyes, KERNEL_NEXTHOP, NULL, show, ret, NULL), 0);
	if (ret->count > 0)
		qsort(ret->lines, ret->count, sizeof(char *), compare_lines);
}

static void drop(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->count; i++)
		free(snapshot->lines[i]);
	free(snapshot->lines);
}

char *world_snapshot(struct world *world)
{
	struct snapshot snapshot = { 0 };
	struct strbuf text = STRBUF_INIT((size_t)LINES_MAX * KERNEL_OBJECT_STR_MAX);
	take(world, &snapshot);
	for (size_t i = 0; i < snapshot.count; i++)
		assert_int_equal(strbuf_printf(&text, "%s\n", snapshot.lines[i]), 0);
	drop(&snapshot);
	return strbuf_take(&text);
}

uint64_t world_await_snapshot(struct world *world, const char *expected)
{
	uint64_t start = loop_now_ms();
	for (;;) {
		_cleanup_free_ char *now = world_snapshot(world);
		if (strcmp(now, expected) == 0)
			return loop_now_ms() - start;
		if (loop_now_ms() - start > AWAIT_MS)
			fail_msg("wanted:\n%s\nthere is:\n%s", expected, now);
		loop_turn(world->loop, 2);
	}
}

size_t world_count(struct world *world, const char *prefix)
{
	struct snapshot snapshot = { 0 };
	size_t count = 0;
	take(world, &snapshot);
	for (size_t i = 0; i < snapshot.count; i++)
		count += strncmp(snapshot.lines[i], prefix, strlen(prefix)) == 0;
	drop(&snapshot);
	return count;
}

bool world_has(struct world *world, const char *line)
{
	return world_count(world, line) > 0;
}

uint64_t world_messages(const struct world *world)
{
	return netlink_stats(world->nl)->messages;
}

size_t world_repairs(const struct world *world)
{
	size_t all = 0;
	for (size_t i = 0; i < KERNEL_KIND_COUNT; i++)
		all += world->repaired[i];
	return all;
}

const char *world_trouble(const struct world *world, const struct subnet *subnet)
{
	const struct trouble_entry *entry = trouble_find(reconcile_trouble(world->reconcile), subnet);
	return entry ? entry->text : NULL;
}
