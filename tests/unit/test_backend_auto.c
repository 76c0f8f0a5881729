// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the auto backend: which way it chooses for whom, what its lease says, and which config it is opened with.
#include "unit.h"

#include "backend/auto.h"
#include "backend/backend.h"
#include "core/mem.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

#define V4 "\"Network\":\"10.0.0.0/8\",\"SubnetLen\":24"
#define DUAL "\"EnableIPv6\":true,\"IPv6Network\":\"fd10::/32\",\"IPv6SubnetLen\":64," V4
#define AUTO(families, members) "{" families ",\"Backend\":{\"Type\":\"auto\"" members "}}"

static struct ip ip_of(const char *text)
{
	struct ip ip = { 0 };
	assert_int_equal(ip_parse(text, &ip), 0);
	return ip;
}

static bool no_link(void *arg, const char *name, struct link *ret)
{
	(void)arg, (void)name, (void)ret;
	return false;
}

static bool no_mac(void *arg, const char *name, struct mac *ret)
{
	(void)arg, (void)name, (void)ret;
	return false;
}

static int wg_key(void *arg, struct wg_key *ret_private, struct wg_key *ret_public, struct err *e)
{
	(void)arg, (void)e;
	*ret_private = (struct wg_key){ { 1 } };
	*ret_public = (struct wg_key){ { 2 } };
	return 0;
}

static int try_open(const char *config, bool untrusted, struct backend **ret, struct err *e)
{
	struct backend_host host = { .find_link = no_link,
				     .find_mac = no_mac,
				     .wg_key = wg_key,
				     .identity = "a host",
				     .untrusted = untrusted };
	struct underlay underlay = { .ifindex = 3, .name = "eth0", .mtu_bytes = 1500 };
	_cleanup_netconf_ struct netconf conf = { 0 };
	struct subnet own;
	underlay.ip4 = ip_of("192.168.9.1");
	underlay.ip6 = ip_of("fd99::1");
	check(netconf_parse(config, strlen(config), &conf, e) == 0, "%s: %s", config, err_msg(e));
	int r = backend_new(&conf, &underlay, &underlay.ip4, &underlay.ip6, &host, ret, e);
	if (r < 0)
		return r;
	assert_int_equal(ipnet_parse("10.0.1.0/24", &own.v4), 0);
	assert_int_equal(ipnet_parse("fd10:0:0:1::/64", &own.v6), 0);
	backend_set_subnet(*ret, &own);
	return 0;
}

static struct backend *open_auto(const char *config, bool untrusted)
{
	struct backend *backend = NULL;
	struct err e = { 0 };
	int r = try_open(config, untrusted, &backend, &e);
	check(r == 0, "%s: %s", config, e.msg);
	return backend;
}

// ---- what is wanted of a peer ----

#define MAC_DATA "{\"VNI\":1,\"VtepMAC\":\"02:11:22:33:44:55\"}"
#define TUNNEL_V4                                              \
	"neighbour 10.5.34.0 lladdr 02:11:22:33:44:55 dev 7\n" \
	"fdb 02:11:22:33:44:55 dst 172.16.0.2 dev 7\n"         \
	"route 10.5.34.0/24 via 10.5.34.0 dev 7 onlink\n"
#define TUNNEL_V6                                                  \
	"neighbour fd10:0:5:22:: lladdr 02:11:22:33:44:55 dev 8\n" \
	"fdb 02:11:22:33:44:55 dst fd98::2 dev 8\n"                \
	"route fd10:0:5:22::/64 via fd10:0:5:22:: dev 8 onlink\n"
#define ROUTE_V4 "route 10.5.34.0/24 via 172.16.0.2 dev 3\n"
#define ROUTE_V6 "route fd10:0:5:22::/64 via fd98::2 dev 3\n"
#define SAME ": its public address is on the same segment\n"
#define ROUTER ": its public address is behind a router\n"
#define ON_LINK                                                \
	{                                                      \
		.answer = {.ifindex = 3, .type = RTN_UNICAST } \
	}
#define ROUTED                                                       \
	{                                                            \
		.answer = {                                          \
			.ifindex = 3,                                \
			.type = RTN_UNICAST,                         \
			.gateway = { AF_INET, { 192, 168, 9, 254 } } \
		}                                                    \
	}

static int want_text(const struct backend *backend, const char *type, const char *paths_member,
		     const struct underlay_path *paths, char *ret, size_t size)
{
	const struct underlay underlay = { .ifindex = 3, .device_ifindex = { 7, 8, 9, 10 } };
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(4096);
	_cleanup_lease_ struct lease lease = { .session = 5 };
	struct wanted wanted = { 0 };
	struct err e = { 0 };
	assert_int_equal(ipnet_parse("10.5.34.0/24", &lease.subnet.v4), 0);
	assert_int_equal(ipnet_parse("fd10:0:5:22::/64", &lease.subnet.v6), 0);
	lease.attrs.public_ip = ip_of("172.16.0.2");
	lease.attrs.public_ipv6 = ip_of("fd98::2");
	(void)text_copy(lease.attrs.backend_type, sizeof(lease.attrs.backend_type), type);
	if (*type) {
		lease.attrs.backend_data = xstrdup(MAC_DATA);
		lease.attrs.backend_v6_data = xstrdup(MAC_DATA);
	} else {
		lease.session = 0;
	}
	lease.attrs.paths = xstrdup(paths_member);
	int r = backend_want(backend, &lease, &underlay, paths, &wanted, &e);
	if (r < 0) {
		(void)text_copy(ret, size, e.msg);
		return r;
	}
	for (size_t i = 0; i < wanted.count; i++) {
		char object[KERNEL_OBJECT_STR_MAX];
		(void)strbuf_printf(&text, "%s\n", kernel_object_str(&wanted.objects[i], object));
	}
	(void)strbuf_printf(&text, "%s: %s\n", wanted.path, wanted.why);
	(void)text_copy(ret, size, strbuf_text(&text));
	return 0;
}

static void test_ways(void **state)
{
	static const struct {
		const char *config;
		const char *type, *member;
		struct underlay_path paths[UNDERLAY_FAMILY_COUNT];
		int r;
		const char *text;
		bool untrusted; // we are
	} cases[] = {
		{ AUTO(V4, ""), "vxlan", "{\"Direct\":true}", { ON_LINK }, 0, ROUTE_V4 "direct" SAME },
		{ AUTO(V4, ""), "vxlan", "{\"Direct\":true}", { ROUTED }, 0, TUNNEL_V4 "vxlan" ROUTER },
		{ AUTO(V4, ""),
		  "vxlan",
		  "{\"Direct\":true}",
		  { { .error = -ENETUNREACH } },
		  0,
		  TUNNEL_V4 "vxlan: there is no route to its public address\n" },
		{ AUTO(V4, ""),
		  "vxlan",
		  "{\"Direct\":true}",
		  { { .error = -ENOBUFS } },
		  0,
		  TUNNEL_V4 "vxlan: the way to its public address is not known\n" },
		// flannel, and weft's vxlan: whatever the segment.
		{ AUTO(V4, ""),
		  "vxlan",
		  NULL,
		  { ON_LINK },
		  0,
		  TUNNEL_V4 "vxlan: its host takes no other way than vxlan\n" },
		{ AUTO(V4, ""),
		  "vxlan",
		  "{\"Direct\":false}",
		  { ON_LINK },
		  0,
		  TUNNEL_V4 "vxlan: its host takes no other way than vxlan\n" },
		// What a later version says is no matter of ours.
		{ AUTO(V4, ""),
		  "vxlan",
		  "{\"Direct\":true,\"Teleport\":[1]}",
		  { ON_LINK },
		  0,
		  ROUTE_V4 "direct" SAME },
		// Each family for itself.
		{ AUTO(DUAL, ""),
		  "vxlan",
		  "{\"Direct\":true}",
		  { ON_LINK, ON_LINK },
		  0,
		  ROUTE_V4 ROUTE_V6 "direct" SAME },
		{ AUTO(DUAL, ""),
		  "vxlan",
		  "{\"Direct\":true}",
		  { ROUTED, ON_LINK },
		  0,
		  TUNNEL_V4 ROUTE_V6 "mixed: IPv4 vxlan, IPv6 direct\n" },
		{ AUTO(DUAL, ""),
		  "vxlan",
		  "{\"Direct\":true}",
		  { ON_LINK, { .error = -ENETUNREACH } },
		  0,
		  ROUTE_V4 TUNNEL_V6 "mixed: IPv4 direct, IPv6 vxlan\n" },
		// The config says that those of the segment take packets as they are, flannel's too.
		{ AUTO(V4, ",\"DirectRouting\":true"), "vxlan", NULL, { ON_LINK }, 0, ROUTE_V4 "direct" SAME },
		{ AUTO(V4, ",\"DirectRouting\":true"), "vxlan", NULL, { ROUTED }, 0, TUNNEL_V4 "vxlan" ROUTER },
		// Nothing in the clear where others read.
		{ AUTO(V4, ""),
		  "vxlan",
		  "{\"Direct\":true,\"Untrusted\":true}",
		  { ON_LINK },
		  -EOPNOTSUPP,
		  "its host is on an untrusted segment and needs wireguard" },
		{ AUTO(V4, ""),
		  "vxlan",
		  "{\"Direct\":true}",
		  { ON_LINK },
		  -EOPNOTSUPP,
		  "this host is on an untrusted segment and needs wireguard",
		  .untrusted = true },
		{ AUTO(V4, ""),
		  "vxlan",
		  NULL,
		  { ROUTED },
		  -EOPNOTSUPP,
		  "this host is on an untrusted segment",
		  .untrusted = true },
		// What cannot be understood may have said that it is untrusted.
		{ AUTO(V4, ""), "vxlan", "[]", { ON_LINK }, -EINVAL, "WeftPaths: it is not an object" },
		{ AUTO(V4, ""), "vxlan", "7", { ON_LINK }, -EINVAL, "WeftPaths: it is not an object" },
		{ AUTO(V4, ""), "vxlan", "{\"Untrusted\":\"yes\"}", { ON_LINK }, -EINVAL, "WeftPaths: Untrusted" },
		{ AUTO(V4, ""),
		  "host-gw",
		  NULL,
		  { ON_LINK },
		  -EPROTONOSUPPORT,
		  "its backend is \"host-gw\", and auto" },
		{ AUTO(V4, ""), "", NULL, { ON_LINK }, 0, "none: reserved, and its host has not been here yet\n" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backend *backend = open_auto(cases[i].config, cases[i].untrusted);
		char text[4096];
		assert_true(backend_needs_paths(backend));
		int r = want_text(backend, cases[i].type, cases[i].member, cases[i].paths, text,
				  sizeof(text));
		check(r == cases[i].r, "case %zu: %d\n%s", i, r, text);
		check(r == 0 ? strcmp(text, cases[i].text) == 0 : strstr(text, cases[i].text) == text,
		      "case %zu:\n%s", i, text);
		backend_free(backend);
	}
}

#define WG_KEY "AwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define WG_DATA "{\"PublicKey\":\"" WG_KEY "\",\"Port\":51820}"
#define WG(families) AUTO(families, ",\"WireGuard\":true")

// WireGuard's devices come after those of vxlan, and a family that has none moves them.
static void test_wireguard(void **state)
{
	static const struct {
		const char *config;
		const char *member;
		bool untrusted; // we are
		int r;
		const char *text; // a part of it
	} cases[] = {
		{ WG(V4), "{\"Untrusted\":true,\"WireGuard\":" WG_DATA "}", false, 0,
		  "wireguard: its host is on an untrusted segment\n" },
		{ WG(V4), "{\"Direct\":true,\"WireGuard\":" WG_DATA "}", true, 0,
		  "wireguard: this host is on an untrusted segment\n" },
		{ WG(V4), "{\"Direct\":true,\"WireGuard\":" WG_DATA "}", false, 0,
		  ROUTE_V4 "direct" SAME },
		{ WG(DUAL), "{\"Untrusted\":true,\"WireGuard\":" WG_DATA ",\"WireGuardV6\":" WG_DATA "}",
		  false, 0, "wireguard: its host is on an untrusted segment\n" },
		{ WG(V4), "{\"Untrusted\":true}", false, -EOPNOTSUPP, "which its lease does not offer" },
		{ WG(V4), NULL, true, -EOPNOTSUPP,
		  "this host is on an untrusted segment and needs wireguard, which its" },
		{ WG(V4), "{\"Untrusted\":true,\"WireGuard\":{\"PublicKey\":\"x\"}}", false,
		  -EINVAL, "PublicKey" },
		{ WG(V4), "{\"Untrusted\":true,\"WireGuard\":[]}", false, -EINVAL, "PublicKey" },
		{ AUTO(V4, ""), "{\"Untrusted\":true,\"WireGuard\":" WG_DATA "}", false,
		  -EOPNOTSUPP, "set Backend.WireGuard to true" },
	};
	static const struct underlay_path paths[UNDERLAY_FAMILY_COUNT] = { ON_LINK, ON_LINK };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backend *backend = open_auto(cases[i].config, cases[i].untrusted);
		bool is_dual = strstr(cases[i].config, "IPv6Network") != NULL;
		char text[4096];
		int r = want_text(backend, "vxlan", cases[i].member, paths, text, sizeof(text));
		check(r == cases[i].r && strstr(text, cases[i].text), "case %zu: %d\n%s", i, r, text);
		bool is_secure = r == 0 && strstr(text, "wireguard: ");
		check(!is_secure || !strstr(text, "route "), "case %zu: in the clear:\n%s", i, text);
		check(!is_secure || strstr(text, is_dual ? "dev 9" : "dev 8"), "case %zu:\n%s", i,
		      text);
		check(!is_secure || !is_dual || strstr(text, "dev 10"), "case %zu:\n%s", i, text);
		backend_free(backend);
	}
	struct backend *backend = open_auto(WG(DUAL), false);
	struct wanted_devices devices;
	struct lease_attrs attrs;
	backend_devices(backend, &devices);
	assert_int_equal(devices.count, 4);
	assert_string_equal(devices.devices[2].link.name, "flannel-wg");
	assert_int_equal(backend_mtu_bytes(backend), 1420);
	backend_attrs(backend, &attrs);
	assert_string_equal(attrs.backend_type, "vxlan");
	assert_non_null(strstr(
		attrs.paths,
		"\"WireGuard\":{\"PublicKey\":\"AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\""));
	assert_non_null(strstr(attrs.paths, "\"WireGuardV6\":{"));
	lease_attrs_free(&attrs);
	backend_free(backend);
}

// ---- our own ----

static void test_lease_and_devices(void **state)
{
	struct backend *backend = open_auto(AUTO(DUAL, ",\"VNI\":7"), true);
	struct wanted_devices devices;
	struct lease_attrs attrs;
	char ip[IP_STR_MAX];
	(void)state;
	backend_attrs(backend, &attrs);
	// As flannel reads it.
	assert_string_equal(attrs.backend_type, "vxlan");
	assert_int_equal(strncmp(attrs.backend_data, "{\"VNI\":7,\"VtepMAC\":\"", 20), 0);
	assert_non_null(attrs.backend_v6_data);
	assert_string_equal(attrs.paths, "{\"Direct\":true,\"Untrusted\":true}");
	lease_attrs_free(&attrs);
	assert_int_equal(backend_mtu_bytes(backend), 1430);
	assert_int_equal(backend_outer_mtu_bytes(backend), 1500); // with one part of two
	backend_devices(backend, &devices);
	assert_int_equal(devices.count, 2);
	assert_string_equal(devices.devices[0].link.name, "flannel.7");
	assert_string_equal(ip_str(&devices.devices[0].address, ip), "10.0.1.0");

	// What changes reaches the part whose device it is.
	struct underlay moved = { .ifindex = 4, .name = "eth1", .mtu_bytes = 9000 };
	moved.ip4 = ip_of("192.168.8.1");
	moved.ip6 = ip_of("fd99::2");
	backend_set_underlay(backend, &moved, &moved.ip4, &moved.ip6);
	backend_devices(backend, &devices);
	assert_int_equal(devices.devices[0].link.vxlan.underlay_ifindex, 4);
	assert_string_equal(ip_str(&devices.devices[0].link.vxlan.local, ip), "192.168.8.1");
	assert_int_equal(backend_mtu_bytes(backend), 8930);
	backend_attrs(backend, &attrs);
	assert_string_equal(ip_str(&attrs.public_ip, ip), "192.168.8.1");
	lease_attrs_free(&attrs);
	backend_free(backend);
}

static void test_paths_survive(void **state)
{
	(void)state;
	for (unsigned int bits = 0; bits < 4; bits++) {
		const struct auto_paths paths = { .direct = bits & 1, .untrusted = bits & 2 };
		struct auto_paths again = { 0 };
		_cleanup_free_ char *text = auto_paths_format(&paths);
		assert_int_equal(auto_paths_read(text, &again, NULL), 0);
		assert_int_equal(again.direct, paths.direct);
		assert_int_equal(again.untrusted, paths.untrusted);
	}
}

// ---- the config ----

static void change(struct backend *backend, const char *config, int r, const char *restart)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	_cleanup_strbuf_ struct strbuf lines = STRBUF_INIT(1024);
	struct err e = { 0 };
	assert_int_equal(netconf_parse(config, strlen(config), &conf, &e), 0);
	assert_int_equal(backend_set_netconf(backend, &conf, &lines, &e), r);
	assert_string_equal(strbuf_text(&lines), restart);
}

static void test_config(void **state)
{
	static const struct {
		const char *config;
		bool untrusted;
		int r;
		const char *text;
	} cases[] = {
		{ AUTO(V4, ",\"VNI\":-1"), false, -EINVAL, "backend auto: backend vxlan: VNI" },
		{ AUTO(V4, ""), true, 0, "" },
		{ "{" V4 ",\"Backend\":{\"Type\":\"vxlan\"}}", true, -EACCES,
		  "Backend.Type \"vxlan\" sends what others could read on this host's segment, which --untrusted says" },
		{ "{" V4 ",\"Backend\":{\"Type\":\"host-gw\"}}", true, -EACCES,
		  "set Backend.Type to \"auto\"" },
		{ "{" V4 ",\"Backend\":{\"Type\":\"ipip\"}}", true, -EACCES, "--untrusted" },
		{ "{" V4 ",\"Backend\":{\"Type\":\"alloc\"}}", true, 0, "" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backend *backend = NULL;
		struct err e = { 0 };
		int r = try_open(cases[i].config, cases[i].untrusted, &backend, &e);
		check(r == cases[i].r && strstr(e.msg, cases[i].text), "case %zu: %d %s", i, r, e.msg);
		backend_free(backend);
	}
	struct backend *backend = open_auto(AUTO(V4, ",\"VNI\":7"), false);
	change(backend, AUTO(V4, ",\"VNI\":7,\"MTU\":1400"), 0, "");
	assert_int_equal(backend_mtu_bytes(backend), 1350);
	change(backend, AUTO(V4, ",\"VNI\":8,\"MTU\":1400"), 0, "Backend.VNI\n");
	change(backend, AUTO(V4, ",\"VNI\":7,\"MTU\":60"), -EINVAL, "");
	change(backend, AUTO(DUAL, ",\"VNI\":7"), 0, "EnableIPv6\n");
	change(backend, WG(V4), 0, "Backend.WireGuard\nBackend.VNI\n");
	change(backend, "{" V4 ",\"Backend\":{\"Type\":\"vxlan\"}}", 0, "Backend.Type\n");
	backend_free(backend);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ways),
		cmocka_unit_test(test_wireguard),
		cmocka_unit_test(test_lease_and_devices),
		cmocka_unit_test(test_paths_survive),
		cmocka_unit_test(test_config),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
