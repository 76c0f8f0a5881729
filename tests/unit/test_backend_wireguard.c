// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the wireguard backend as a pure function: config, lease, devices, and what is wanted of a peer in each mode.
#include "backend/backend.h"
#include "unit.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define V4 "\"Network\":\"10.0.0.0/8\",\"SubnetLen\":24"
#define V6_PART "\"EnableIPv6\":true,\"IPv6Network\":\"fd10::/32\",\"IPv6SubnetLen\":64"
#define DUAL V4 "," V6_PART
#define V6 "\"EnableIPv4\":false," V6_PART
#define CONFIG(families, more) "{" families ",\"Backend\":{\"Type\":\"wireguard\"" more "}}"
#define MODE(mode) ",\"Mode\":\"" mode "\""
#define KEY_1 "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
#define KEY_2 "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
#define DATA "{\"PublicKey\":\"" KEY_2 "\"}"
#define DATA_PORT(port) "{\"PublicKey\":\"" KEY_2 "\",\"Port\":" port "}"

static int wg_key(void *arg, struct wg_key *ret_private, struct wg_key *ret_public, struct err *e)
{
	(void)arg, (void)e;
	memset(ret_private, 7, sizeof(*ret_private));
	memset(ret_public, 1, sizeof(*ret_public));
	return 0;
}

static struct ip ip_of(const char *text)
{
	struct ip ip = { 0 };
	if (text && *text)
		check(ip_parse(text, &ip) == 0, "%s", text);
	return ip;
}

static struct underlay underlay_of(const char *ip4, const char *ip6)
{
	return (struct underlay){ .ifindex = 3,
				  .name = "eth0",
				  .mtu_bytes = 1500,
				  .ip4 = ip_of(ip4),
				  .ip6 = ip_of(ip6),
				  .device_ifindex = { 7, 8 } };
}

static int try_open(const char *config, const struct underlay *underlay, struct backend **ret,
		    struct err *e)
{
	static const struct backend_host host = { .wg_key = wg_key, .identity = "a host" };
	_cleanup_netconf_ struct netconf conf = { 0 };
	int r = netconf_parse(config, strlen(config), &conf, e);
	check(r == 0, "%s: %s", config, err_msg(e));
	return backend_new(&conf, underlay, &underlay->ip4, &underlay->ip6, &host, ret, e);
}

static struct backend *open_backend(const char *config, const struct underlay *underlay)
{
	struct backend *backend = NULL;
	struct err e = { 0 };
	int r = try_open(config, underlay, &backend, &e);
	check(r == 0, "%s: %s", config, err_msg(&e));
	struct subnet subnet = { 0 };
	assert_int_equal(ipnet_parse("10.5.1.0/24", &subnet.v4), 0);
	assert_int_equal(ipnet_parse("fd10:0:5:1::/64", &subnet.v6), 0);
	backend_set_subnet(backend, &subnet);
	return backend;
}

static void test_config(void **state)
{
	static const struct {
		const char *config;
		int r;
		const char *text;
	} cases[] = {
		{ CONFIG(V4, ""), 0, "" },
		{ CONFIG(DUAL, ",\"ListenPort\":1,\"ListenPortV6\":65535,\"PSK\":\"" KEY_1 "\""), 0,
		  "" },
		{ CONFIG(V4, ",\"PSK\":\"\",\"Mode\":\"\",\"PersistentKeepaliveInterval\":65535"),
		  0, "" },
		{ CONFIG(V4, ",\"ListenPort\":0"), -EINVAL, "ListenPort" },
		{ CONFIG(V4, ",\"ListenPort\":65536"), -EINVAL, "ListenPort" },
		{ CONFIG(V4, ",\"PersistentKeepaliveInterval\":\"25s\""), -EINVAL,
		  "PersistentKeepalive" },
		{ CONFIG(V4, MODE("both")), -EINVAL, "Mode is \"both\"" },
		{ CONFIG(V4, ",\"PSK\":\"c2VjcmV0\""), -EINVAL, "PSK is no key" },
		{ CONFIG(V4, ",\"PSK\":7"), -EINVAL, "PSK is no key" },
		{ CONFIG(DUAL, ",\"ListenPort\":51821"), -EINVAL, "are both 51821" },
		{ CONFIG(DUAL, ",\"ListenPort\":51821" MODE("auto")), 0, "" },
		{ CONFIG(V4, ",\"MTU\":600"), -EINVAL,
		  "MTU 600 leaves 520 for containers, which need 576" },
		{ CONFIG(DUAL, ",\"MTU\":1300"), -EINVAL, "need 1280" },
	};
	struct underlay underlay = underlay_of("192.168.9.1", "fd99::1");
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backend *backend = NULL;
		struct err e = { 0 };
		int r = try_open(cases[i].config, &underlay, &backend, &e);
		check(r == cases[i].r, "%s: %d, %s", cases[i].config, r, err_msg(&e));
		check(r == 0 || strstr(e.msg, cases[i].text), "%s: %s", cases[i].config, e.msg);
		check(!strstr(e.msg, "c2Vj"), "the key is shown: %s", e.msg);
		backend_free(backend);
	}
}

// Each family of the mode "separate", and the one of the others, needs an address to send from.
static void test_addresses(void **state)
{
	static const struct {
		const char *config, *ip4, *ip6;
		int r;
	} cases[] = {
		{ CONFIG(DUAL, ""), "192.168.9.1", "", -EADDRNOTAVAIL },
		{ CONFIG(V6, ""), "192.168.9.1", "", -EADDRNOTAVAIL },
		{ CONFIG(DUAL, MODE("ipv4")), "192.168.9.1", "", 0 },
		{ CONFIG(DUAL, MODE("ipv6")), "192.168.9.1", "", -EADDRNOTAVAIL },
		{ CONFIG(V4, MODE("ipv6")), "", "fd99::1", 0 },
		{ CONFIG(DUAL, MODE("auto")), "", "fd99::1", 0 },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct underlay underlay = underlay_of(cases[i].ip4, cases[i].ip6);
		struct backend *backend = NULL;
		struct err e = { 0 };
		int r = try_open(cases[i].config, &underlay, &backend, &e);
		check(r == cases[i].r, "%s: %d, %s", cases[i].config, r, err_msg(&e));
		backend_free(backend);
	}
}

static void test_lease_and_devices(void **state)
{
	static const struct {
		const char *config, *value, *devices;
	} cases[] = {
		{ CONFIG(V4, ""), "\"BackendData\":{\"PublicKey\":\"" KEY_1 "\",\"Port\":51820}}",
		  "flannel-wg 10.5.1.0 51820 " },
		{ CONFIG(V6, ",\"ListenPortV6\":9"),
		  "\"BackendV6Data\":{\"PublicKey\":\"" KEY_1 "\",\"Port\":9}}",
		  "flannel-wg-v6 fd10:0:5:1:: 9 " },
		{ CONFIG(DUAL, ""),
		  "\"BackendData\":{\"PublicKey\":\"" KEY_1
		  "\",\"Port\":51820},\"BackendV6Data\":{\"PublicKey\":\"" KEY_1 "\",\"Port\":51821}}",
		  "flannel-wg 10.5.1.0 51820 flannel-wg-v6 fd10:0:5:1:: 51821 " },
		{ CONFIG(DUAL, MODE("ipv6")),
		  "\"BackendData\":{\"PublicKey\":\"" KEY_1
		  "\",\"Port\":51820},\"BackendV6Data\":{\"PublicKey\":\"" KEY_1 "\",\"Port\":51820}}",
		  "flannel-wg 10.5.1.0 51820 flannel-wg fd10:0:5:1:: 51820 " },
	};
	struct underlay underlay = underlay_of("192.168.9.1", "fd99::1");
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf devices = STRBUF_INIT(1024);
		struct backend *backend = open_backend(cases[i].config, &underlay);
		struct wanted_devices wanted;
		struct lease_attrs attrs;
		char ip[IP_STR_MAX];
		backend_attrs(backend, &attrs);
		_cleanup_free_ char *value = lease_attrs_format(&attrs);
		check(strstr(value, cases[i].value), "%s", value);
		backend_devices(backend, &wanted);
		for (size_t d = 0; d < wanted.count; d++) {
			(void)strbuf_printf(&devices, "%s %s %u ", wanted.devices[d].link.name,
					    ip_str(&wanted.devices[d].address, ip),
					    wanted.devices[d].wg->listen_port);
			assert_true(wanted.devices[d].routes_network);
			assert_int_equal(wanted.devices[d].link.mtu_bytes, 1420);
		}
		assert_string_equal(strbuf_text(&devices), cases[i].devices);
		assert_int_equal(backend_mtu_bytes(backend), 1420);
		lease_attrs_free(&attrs);
		backend_free(backend);
	}
}

struct peer {
	const char *ip, *ip6, *data, *data6, *type;
};

static int want(const struct backend *backend, const struct peer *peer,
		const struct underlay *underlay, struct strbuf *ret, struct err *e)
{
	static const struct underlay_path paths[UNDERLAY_FAMILY_COUNT];
	struct lease lease = { .session = 1 };
	struct wanted wanted = { .path = "", .why = "" };
	char net[IPNET_STR_MAX], ip[IP_STR_MAX];
	assert_int_equal(ipnet_parse("10.5.34.0/24", &lease.subnet.v4), 0);
	assert_int_equal(ipnet_parse("fd10:0:5:22::/64", &lease.subnet.v6), 0);
	lease.attrs.public_ip = ip_of(peer->ip);
	lease.attrs.public_ipv6 = ip_of(peer->ip6);
	lease.attrs.backend_data = xstrdup(peer->data);
	lease.attrs.backend_v6_data = xstrdup(peer->data6);
	(void)text_copy(lease.attrs.backend_type, sizeof(lease.attrs.backend_type),
			peer->type ? peer->type : "wireguard");
	int r = backend_want(backend, &lease, underlay, paths, &wanted, e);
	for (size_t i = 0; r == 0 && i < wanted.count; i++) {
		const struct wg_peer *wg = &wanted.objects[i].wg_peer;
		assert_int_equal(wanted.objects[i].kind, KERNEL_WG_PEER);
		assert_int_equal(wg->public_key.bytes[0], 2);
		(void)strbuf_printf(ret, "dev %u at %s %u keep %u:", wg->ifindex,
				    ip_str(&wg->endpoint, ip), wg->port, wg->keepalive_s);
		for (size_t a = 0; a < wg->allowed_count; a++)
			(void)strbuf_printf(ret, " %s", ipnet_str(&wg->allowed[a], net));
		(void)strbuf_puts(ret, "\n");
	}
	lease_free(&lease);
	return r;
}

static void test_peers(void **state)
{
	static const struct {
		const char *config, *ip4, *ip6; // ours
		struct peer peer;
		const char *wanted;
	} cases[] = {
		{ CONFIG(V4, ""),
		  "192.168.9.1",
		  "fd99::1",
		  { "172.16.0.2", "fd98::2", DATA, DATA, NULL },
		  "dev 7 at 172.16.0.2 51820 keep 0: 10.5.34.0/24\n" },
		{ CONFIG(V4, ",\"ListenPort\":5,\"PersistentKeepaliveInterval\":25"),
		  "192.168.9.1",
		  "",
		  { "172.16.0.2", "", DATA, NULL, NULL },
		  "dev 7 at 172.16.0.2 5 keep 25: 10.5.34.0/24\n" },
		{ CONFIG(V4, ",\"ListenPort\":5"),
		  "192.168.9.1",
		  "",
		  { "172.16.0.2", "", DATA_PORT("6"), NULL, NULL },
		  "dev 7 at 172.16.0.2 6 keep 0: 10.5.34.0/24\n" },
		{ CONFIG(V6, ""),
		  "",
		  "fd99::1",
		  { "172.16.0.2", "fd98::2", NULL, DATA, NULL },
		  "dev 7 at fd98::2 51821 keep 0: fd10:0:5:22::/64\n" },
		{ CONFIG(DUAL, ""),
		  "192.168.9.1",
		  "fd99::1",
		  { "172.16.0.2", "fd98::2", DATA, DATA_PORT("9"), NULL },
		  "dev 7 at 172.16.0.2 51820 keep 0: 10.5.34.0/24\ndev 8 at fd98::2 9 keep 0: fd10:0:5:22::/64\n" },
		{ CONFIG(DUAL, MODE("ipv4")),
		  "192.168.9.1",
		  "fd99::1",
		  { "172.16.0.2", "fd98::2", DATA, DATA, NULL },
		  "dev 7 at 172.16.0.2 51820 keep 0: 10.5.34.0/24 fd10:0:5:22::/64\n" },
		{ CONFIG(DUAL, MODE("ipv6")),
		  "192.168.9.1",
		  "fd99::1",
		  { "172.16.0.2", "fd98::2", DATA, DATA, NULL },
		  "dev 7 at fd98::2 51820 keep 0: 10.5.34.0/24 fd10:0:5:22::/64\n" },
		// auto: public IPv4, then public IPv6 on both sides, else IPv4.
		{ CONFIG(DUAL, MODE("auto")),
		  "192.168.9.1",
		  "2001:db8::1",
		  { "203.0.113.2", "2001:db8::2", DATA, DATA, NULL },
		  "dev 7 at 203.0.113.2 51820 keep 0: 10.5.34.0/24 fd10:0:5:22::/64\n" },
		{ CONFIG(DUAL, MODE("auto")),
		  "192.168.9.1",
		  "2001:db8::1",
		  { "172.31.0.2", "2001:db8::2", DATA, DATA, NULL },
		  "dev 7 at 2001:db8::2 51820 keep 0: 10.5.34.0/24 fd10:0:5:22::/64\n" },
		{ CONFIG(DUAL, MODE("auto")),
		  "192.168.9.1",
		  "fd99::1",
		  { "192.168.7.2", "2001:db8::2", DATA, DATA, NULL },
		  "dev 7 at 192.168.7.2 51820 keep 0: 10.5.34.0/24 fd10:0:5:22::/64\n" },
		{ CONFIG(DUAL, MODE("auto")),
		  "",
		  "2001:db8::1",
		  { "203.0.113.2", "2001:db8::2", DATA, DATA, NULL },
		  "dev 7 at 2001:db8::2 51820 keep 0: 10.5.34.0/24 fd10:0:5:22::/64\n" },
		{ CONFIG(DUAL, MODE("auto")),
		  "192.168.9.1",
		  "2001:db8::1",
		  { "10.0.0.2", "", DATA, DATA, NULL },
		  "dev 7 at 10.0.0.2 51820 keep 0: 10.5.34.0/24 fd10:0:5:22::/64\n" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(1024);
		struct underlay underlay = underlay_of(cases[i].ip4, cases[i].ip6);
		struct backend *backend = open_backend(cases[i].config, &underlay);
		struct err e = { 0 };
		int r = want(backend, &cases[i].peer, &underlay, &text, &e);
		check(r == 0 && strcmp(strbuf_text(&text), cases[i].wanted) == 0,
		      "case %zu: %d %s\n%s", i, r, err_msg(&e), strbuf_text(&text));
		backend_free(backend);
	}
}

static void test_peers_that_are_refused(void **state)
{
	static const struct {
		struct peer peer;
		int r;
		const char *text;
	} cases[] = {
		{ { "172.16.0.2", "", DATA, NULL, "vxlan" }, -EPROTONOSUPPORT, "its backend is \"vxlan\"" },
		{ { "172.16.0.2", "", NULL, NULL, NULL }, -EINVAL, "no BackendData" },
		{ { "", "", DATA, NULL, NULL }, -EINVAL, "" },
		{ { "172.16.0.2", "", "{}", NULL, NULL }, -EINVAL, "not a key" },
		{ { "172.16.0.2", "", "[1]", NULL, NULL }, -EINVAL, "not a key" },
		{ { "172.16.0.2", "", "{\"PublicKey\":\"x\"}", NULL, NULL }, -EINVAL, "not a key" },
		{ { "172.16.0.2", "", "{\"PublicKey\":\"" KEY_1 "\"}", NULL, NULL }, -EINVAL, "our own" },
		{ { "172.16.0.2", "", DATA_PORT("65536"), NULL, NULL }, -EINVAL, "Port" },
		{ { "172.16.0.2", "", DATA_PORT("-1"), NULL, NULL }, -EINVAL, "Port" },
	};
	struct underlay underlay = underlay_of("192.168.9.1", "");
	struct backend *backend = open_backend(CONFIG(V4, ""), &underlay);
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(1024);
		struct err e = { 0 };
		int r = want(backend, &cases[i].peer, &underlay, &text, &e);
		check((r == cases[i].r || (!*cases[i].text && r < 0)) &&
			      strstr(err_msg(&e), cases[i].text),
		      "case %zu: %d %s", i, r, err_msg(&e));
	}
	backend_free(backend);
}

static void test_changed_config(void **state)
{
	struct underlay underlay = underlay_of("192.168.9.1", "fd99::1");
	struct backend *backend = open_backend(CONFIG(DUAL, ""), &underlay);
	static const char other[] =
		CONFIG(DUAL, ",\"ListenPort\":7,\"ListenPortV6\":8,\"Mode\":\"auto\",\"PSK\":\"" KEY_2
			     "\",\"MTU\":1400");
	_cleanup_strbuf_ struct strbuf restart = STRBUF_INIT(1024);
	_cleanup_netconf_ struct netconf conf = { 0 };
	struct wanted_devices devices;
	(void)state;
	assert_int_equal(netconf_parse(other, strlen(other), &conf, NULL), 0);
	assert_int_equal(backend_set_netconf(backend, &conf, &restart, NULL), 0);
	assert_string_equal(strbuf_text(&restart),
			    "Backend.Mode\nBackend.ListenPort\nBackend.ListenPortV6\n");
	backend_devices(backend, &devices);
	assert_int_equal(devices.devices[0].wg->listen_port, 51820);
	assert_int_equal(devices.devices[1].wg->listen_port, 51821);
	assert_int_equal(devices.devices[1].wg->preshared_key.bytes[31], 2);
	assert_int_equal(devices.devices[1].wg->private_key.bytes[0], 7);
	assert_int_equal(devices.devices[0].link.mtu_bytes, 1320);
	backend_free(backend);
}

static void test_other_key(void **state)
{
	struct underlay underlay = underlay_of("192.168.9.1", "fd99::1");
	struct backend *backend = open_backend(CONFIG(DUAL, ""), &underlay);
	struct wanted_devices devices;
	struct lease_attrs attrs;
	struct wg_key private_key, public_key;
	(void)state;
	memset(&private_key, 9, sizeof(private_key));
	memset(&public_key, 2, sizeof(public_key));
	assert_int_equal(backend_set_wg_key(backend, &private_key, &public_key, NULL), 0);
	backend_attrs(backend, &attrs);
	assert_non_null(strstr(attrs.backend_data, KEY_2));
	assert_non_null(strstr(attrs.backend_v6_data, KEY_2));
	lease_attrs_free(&attrs);
	backend_devices(backend, &devices);
	for (size_t i = 0; i < devices.count; i++)
		assert_true(wg_key_equal(&devices.devices[i].wg->private_key, &private_key));
	backend_free(backend);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_lease_and_devices),
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_peers_that_are_refused),
		cmocka_unit_test(test_changed_config),
		cmocka_unit_test(test_other_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
