// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the backends as pure functions: config, what our lease says, devices, MTU, and what is wanted of a peer.
#include "backend/backend.h"
#include "unit.h"

#include "core/mem.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#define V4 "\"Network\":\"10.0.0.0/8\",\"SubnetLen\":24"
#define DUAL "\"EnableIPv6\":true,\"IPv6Network\":\"fd10::/32\",\"IPv6SubnetLen\":64," V4
#define V6 \
	"\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fd10::/32\",\"IPv6SubnetLen\":64"
#define CONFIG(families, backend) "{" families ",\"Backend\":{" backend "}}"
#define VXLAN "\"Type\":\"vxlan\""
#define HOSTGW "\"Type\":\"host-gw\""
#define UDP "\"Type\":\"udp\""
#define IPIP "\"Type\":\"ipip\""

struct host {
	struct link link;     // name "": there is none
	struct mac disk;      // zero: none
	const char *identity; // NULL: "a host"
	uint32_t mtu_bytes;   // 0: 1500
};

static struct ip ip_of(const char *text)
{
	struct ip ip = { 0 };
	if (text && text[0])
		check(ip_parse(text, &ip) == 0, "%s", text);
	return ip;
}

static bool find_link(void *arg, const char *name, struct link *ret)
{
	const struct host *host = arg;
	if (strcmp(host->link.name, name) != 0)
		return false;
	*ret = host->link;
	return true;
}

static bool find_mac(void *arg, const char *name, struct mac *ret)
{
	const struct host *host = arg;
	static const struct mac none;
	(void)name;
	*ret = host->disk;
	return !mac_equal(&host->disk, &none);
}

static struct underlay underlay_of(uint32_t mtu_bytes)
{
	return (struct underlay){ .ifindex = 3,
				  .name = "eth0",
				  .mtu_bytes = mtu_bytes ? mtu_bytes : 1500,
				  .ip4 = ip_of("192.168.9.1"),
				  .ip6 = ip_of("fd99::1"),
				  .device_ifindex = { 7, 8 } };
}

static int try_open(const char *config, const struct host *host, struct backend **ret, struct err *e)
{
	static const struct host plain;
	_cleanup_netconf_ struct netconf conf = { 0 };
	if (!host)
		host = &plain;
	int r = netconf_parse(config, strlen(config), &conf, e);
	check(r == 0, "%s: %s", config, err_msg(e));
	struct backend_host asked = { .find_link = find_link,
				      .find_mac = find_mac,
				      .arg = (void *)host,
				      .identity = host->identity ? host->identity : "a host" };
	struct underlay underlay = underlay_of(host->mtu_bytes);
	return backend_new(&conf, &underlay, &underlay.ip4, &underlay.ip6, &asked, ret, e);
}

static struct backend *open_backend(const char *config, const struct host *host)
{
	struct backend *backend = NULL;
	struct err e = { 0 };
	int r = try_open(config, host, &backend, &e);
	check(r == 0, "%s: %s", config, err_msg(&e));
	struct subnet own;
	assert_int_equal(ipnet_parse("10.0.1.0/24", &own.v4), 0);
	assert_int_equal(ipnet_parse("fd10:0:0:1::/64", &own.v6), 0);
	backend_set_subnet(backend, &own);
	return backend;
}

// ---- config ----

static void test_refused_configs(void **state)
{
	static const struct {
		const char *config;
		int r;
		const char *text; // in the message
	} cases[] = {
		{ CONFIG(V4, VXLAN), 0, "" },
		{ CONFIG(V4, VXLAN ",\"VNI\":0"), 0, "" },
		{ CONFIG(V4, VXLAN ",\"VNI\":9999999"), 0, "" },
		{ CONFIG(V4, VXLAN ",\"VNI\":10000000"), -EINVAL, "flannel.VNI has 15 characters" },
		{ CONFIG(V4, VXLAN ",\"VNI\":16777216"), -EINVAL, "VNI" },
		{ CONFIG(V4, VXLAN ",\"VNI\":-1"), -EINVAL, "VNI" },
		{ CONFIG(V4, VXLAN ",\"VNI\":1.5"), -EINVAL, "VNI" },
		{ CONFIG(V4, VXLAN ",\"VNI\":\"1\""), -EINVAL, "VNI" },
		{ CONFIG(V4, VXLAN ",\"vni\":10000000"), -EINVAL, "VNI" }, // whatever the case
		{ CONFIG(DUAL, VXLAN ",\"VNI\":9999"), 0, "" },
		{ CONFIG(DUAL, VXLAN ",\"VNI\":10000"), -EINVAL, "flannel-v6.VNI has 15 characters" },
		{ CONFIG(V4, VXLAN ",\"Port\":65535"), 0, "" },
		{ CONFIG(V4, VXLAN ",\"Port\":65536"), -EINVAL, "Port" },
		{ CONFIG(V4, VXLAN ",\"Port\":-1"), -EINVAL, "Port" },
		{ CONFIG(V4, VXLAN ",\"MTU\":626"), 0, "" },
		{ CONFIG(V4, VXLAN ",\"MTU\":625"), -EINVAL, "MTU 625 is too small: at least 626" },
		{ CONFIG(V4, VXLAN ",\"MTU\":\"auto\""), 0, "" },
		{ CONFIG(V4, VXLAN ",\"mtu\":\"auto\""), 0, "" },
		{ CONFIG(V4, VXLAN ",\"MTU\":\"Auto\""), -EINVAL, "MTU" },
		{ CONFIG(V4, VXLAN ",\"MTU\":\"1400\""), -EINVAL, "MTU" },
		{ CONFIG(V4, VXLAN ",\"MTU\":-1"), -EINVAL, "MTU" },
		{ CONFIG(V4, VXLAN ",\"MTU\":65536"), -EINVAL, "MTU" },
		{ CONFIG(DUAL, VXLAN ",\"MTU\":1350"), 0, "" },
		{ CONFIG(DUAL, VXLAN ",\"MTU\":1349"), -EINVAL,
		  "MTU 1349 as configured leaves 1279 for IPv6 containers, which need 1280" },
		{ CONFIG(V4, VXLAN ",\"GBP\":1"), -EINVAL, "GBP" },
		{ CONFIG(V4, VXLAN ",\"Learning\":\"yes\""), -EINVAL, "Learning" },
		{ CONFIG(V4, VXLAN ",\"DirectRouting\":\"true\""), -EINVAL, "DirectRouting" },
		{ CONFIG(V4, "\"Type\":\"alloc\""), 0, "" },
		{ CONFIG(V4, "\"Type\":\"null\""), 0, "" },
		{ CONFIG(V4, HOSTGW), 0, "" },
		{ CONFIG(DUAL, HOSTGW), 0, "" },
		{ CONFIG(V6, HOSTGW ",\"VNI\":\"not its own\""), 0, "" },
		{ CONFIG(V4, IPIP), 0, "" },
		{ CONFIG(V4, IPIP ",\"DirectRouting\":true"), 0, "" },
		{ CONFIG(V4, IPIP ",\"DirectRouting\":1"), -EINVAL, "backend ipip: DirectRouting" },
		{ CONFIG(DUAL, IPIP), -EINVAL,
		  "backend ipip: it carries IPv4 only: set EnableIPv6 to false" },
		{ CONFIG(V6, IPIP), -EINVAL, "IPv4 only" },
		{ CONFIG(V4, UDP), 0, "" },
		{ CONFIG(DUAL, UDP ",\"Port\":8286"), 0, "" },
		{ CONFIG(V6, UDP), 0, "" },
		{ CONFIG(V4, UDP ",\"Port\":0"), -EINVAL, "backend udp: Port" },
		{ CONFIG(V4, UDP ",\"Port\":65536"), -EINVAL, "backend udp: Port" },
		{ CONFIG(V4, UDP ",\"Port\":\"8285\""), -EINVAL, "backend udp: Port" },
		{ CONFIG(V4, "\"Type\":\"extension\""), -EACCES,
		  "backend extension: its commands come from the store and would be run as root: start weftd with --allow-extension" },
		{ CONFIG(V4, "\"Type\":\"ipsec\""), -EOPNOTSUPP,
		  "Backend.Type \"ipsec\" is not offered; use wireguard" },
		{ CONFIG(V4, "\"Type\":\"tencent-vpc\""), -EOPNOTSUPP,
		  "Backend.Type \"tencent-vpc\" is not offered; use wireguard" },
		{ CONFIG(V4, "\"Type\":\"aws-vpc\""), -EOPNOTSUPP,
		  "Backend.Type \"aws-vpc\" is not offered; use wireguard, or vxlan" },
		{ CONFIG(V4, "\"Type\":\"gce\""), -EOPNOTSUPP, "\"gce\" is not offered; use wireguard" },
		{ CONFIG(V4, "\"Type\":\"ali-vpc\""), -EOPNOTSUPP, "is not offered; use wireguard" },
		{ CONFIG(V4, "\"Type\":\"vlxan\""), -EOPNOTSUPP,
		  "\"vlxan\" is unknown; there are \"auto\", \"vxlan\", \"host-gw\", \"udp\", \"ipip\", \"wireguard\", \"extension\" and \"alloc\"" },
		{ "{" V4 "}", 0, "" }, // COMPAT: flannel's default is udp
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backend *backend = NULL;
		struct err e = { 0 };
		int r = try_open(cases[i].config, NULL, &backend, &e);
		check(r == cases[i].r, "%s: %d, %s", cases[i].config, r, err_msg(&e));
		check((backend != NULL) == (r == 0), "%s", cases[i].config);
		check(r == 0 || strstr(e.msg, cases[i].text), "%s: %s", cases[i].config, e.msg);
		backend_free(backend);
	}
}

static void test_an_interface_that_does_not_do(void **state)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	const char *dual = CONFIG(DUAL, VXLAN);
	struct host small = { .mtu_bytes = 1340 };
	struct backend *backend = NULL;
	struct err e = { 0 };
	(void)state;
	assert_int_equal(try_open(dual, &small, &backend, &e), -EINVAL);
	assert_string_equal(
		e.msg,
		"backend vxlan: MTU 1340 of eth0 leaves 1270 for IPv6 containers, which need 1280");
	assert_int_equal(netconf_parse(dual, strlen(dual), &conf, &e), 0);
	struct backend_host host = {
		.find_link = find_link, .find_mac = find_mac, .arg = &small, .identity = "x"
	};
	struct underlay underlay = underlay_of(0);
	struct ip none = { 0 };
	assert_int_equal(backend_new(&conf, &underlay, &underlay.ip4, &none, &host, &backend, &e),
			 -EADDRNOTAVAIL);
	assert_string_equal(e.msg, "backend vxlan: interface eth0 has no IPv6 address to send from");
	assert_int_equal(backend_new(&conf, &underlay, &none, &underlay.ip6, &host, &backend, &e),
			 -EADDRNOTAVAIL);
	assert_null(backend);
}

// Peers of host-gw send to the address itself; of ipip the device sends from the interface's, whatever is published.
static void test_a_public_address_that_is_another_hosts(void **state)
{
	static const struct {
		const char *config;
		const char *ip4, *ip6;
		int r;
		const char *text; // of the message, or the local address of the device
	} cases[] = {
		{ CONFIG(V4, HOSTGW), "203.0.113.5", "fd99::1", -EADDRNOTAVAIL,
		  "backend host-gw: the public address 203.0.113.5 is not that of eth0, 192.168.9.1, which peers would have to route to: leave out --public-ip, choose another interface" },
		{ CONFIG(V6, HOSTGW), "203.0.113.5", "fd99::9", -EADDRNOTAVAIL,
		  "the public address fd99::9 is not that of eth0, fd99::1, which peers would have to route to: leave out --public-ipv6, choose another interface, or set Backend.Type to \"vxlan\"" },
		{ CONFIG(DUAL, HOSTGW), "192.168.9.1", "fd99::9", -EADDRNOTAVAIL, "fd99::9 is not" },
		{ CONFIG(V4, HOSTGW), "192.168.9.1", "fd99::9", 0, "" }, // not a family of the network
		{ CONFIG(V4, HOSTGW), "", "fd99::1", -EADDRNOTAVAIL, "the public address none is not" },
		{ CONFIG(V4, IPIP), "203.0.113.5", "fd99::1", 0, "192.168.9.1" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_netconf_ struct netconf conf = { 0 };
		struct host plain = { 0 };
		struct backend_host host = {
			.find_link = find_link, .find_mac = find_mac, .arg = &plain, .identity = "x"
		};
		struct underlay underlay = underlay_of(0);
		struct ip ip4 = ip_of(cases[i].ip4), ip6 = ip_of(cases[i].ip6);
		struct backend *backend = NULL;
		struct wanted_devices devices = { 0 };
		struct err e = { 0 };
		char text[IP_STR_MAX];
		assert_int_equal(netconf_parse(cases[i].config, strlen(cases[i].config), &conf, &e), 0);
		int r = backend_new(&conf, &underlay, &ip4, &ip6, &host, &backend, &e);
		check(r == cases[i].r && (r == 0 || strstr(e.msg, cases[i].text)),
		      "case %zu: %d, %s", i, r, err_msg(&e));
		if (r == 0)
			backend_devices(backend, &devices);
		for (size_t k = 0; k < devices.count; k++)
			assert_string_equal(ip_str(&devices.devices[k].link.ipip.local, text),
					    cases[i].text);
		backend_free(backend);
	}
}

static void test_mtu(void **state)
{
	static const struct {
		const char *config;
		uint32_t underlay;
		uint32_t containers;
		uint32_t device[2];
	} cases[] = {
		{ CONFIG(V4, VXLAN), 1500, 1450, { 1450 } },
		{ CONFIG(V6, VXLAN), 1500, 1430, { 1430 } },
		{ CONFIG(DUAL, VXLAN), 1500, 1430, { 1450, 1430 } },
		{ CONFIG(V4, VXLAN), 9000, 8950, { 8950 } },
		{ CONFIG(V4, VXLAN ",\"MTU\":1400"), 1500, 1350, { 1350 } },
		{ CONFIG(DUAL, VXLAN ",\"MTU\":1400"), 1500, 1330, { 1350, 1330 } },
		{ CONFIG(V4, VXLAN ",\"MTU\":9000"), 1500, 1450, { 1450 } },	 // more than fits
		{ CONFIG(V4, VXLAN ",\"MTU\":\"auto\""), 1400, 1350, { 1350 } }, // what the paths carry
		{ CONFIG(V4, "\"Type\":\"alloc\""), 1500, 1500, { 0 } },
		{ CONFIG(V4, HOSTGW), 1500, 1500, { 0 } },
		{ CONFIG(DUAL, HOSTGW), 9000, 9000, { 0 } },
		{ CONFIG(V4, IPIP), 1500, 1480, { 1480 } },
		{ CONFIG(V4, IPIP ",\"DirectRouting\":true"), 9000, 8980, { 8980 } },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct host host = { .mtu_bytes = cases[i].underlay };
		struct backend *backend = open_backend(cases[i].config, &host);
		struct wanted_devices devices;
		check(backend_mtu_bytes(backend) == cases[i].containers, "%s: %u", cases[i].config,
		      backend_mtu_bytes(backend));
		backend_devices(backend, &devices);
		for (size_t k = 0; k < devices.count; k++)
			check(devices.devices[k].link.mtu_bytes == cases[i].device[k],
			      "%s: device %zu: %u", cases[i].config, k,
			      devices.devices[k].link.mtu_bytes);
		// The interface's changes.
		struct underlay underlay = underlay_of(cases[i].underlay - 10);
		backend_set_underlay(backend, &underlay, &underlay.ip4, &underlay.ip6);
		bool fixed = strstr(cases[i].config, "1400");
		assert_int_equal(backend_mtu_bytes(backend), cases[i].containers - (fixed ? 0 : 10));
		backend_free(backend);
	}
}

// ---- what we say and make ----

static void test_attributes(void **state)
{
	static const struct {
		const char *config;
		const char *value; // of the store
	} cases[] = {
		{ CONFIG(V4, VXLAN ",\"VNI\":12345"),
		  "{\"PublicIP\":\"192.168.9.1\",\"PublicIPv6\":\"fd99::1\",\"BackendType\":\"vxlan\","
		  "\"BackendData\":{\"VNI\":12345,\"VtepMAC\":\"02:aa:bb:cc:dd:01\"}}" },
		{ CONFIG(DUAL, VXLAN),
		  "{\"PublicIP\":\"192.168.9.1\",\"PublicIPv6\":\"fd99::1\",\"BackendType\":\"vxlan\","
		  "\"BackendData\":{\"VNI\":1,\"VtepMAC\":\"02:aa:bb:cc:dd:01\"},"
		  "\"BackendV6Data\":{\"VNI\":1,\"VtepMAC\":\"02:aa:bb:cc:dd:01\"}}" },
		{ CONFIG(V4, "\"Type\":\"alloc\""),
		  "{\"PublicIP\":\"192.168.9.1\",\"PublicIPv6\":\"fd99::1\"}" },
		{ CONFIG(V4, "\"Type\":\"null\""),
		  "{\"PublicIP\":\"192.168.9.1\",\"PublicIPv6\":\"fd99::1\",\"BackendType\":\"null\"}" },
		{ CONFIG(DUAL, HOSTGW),
		  "{\"PublicIP\":\"192.168.9.1\",\"PublicIPv6\":\"fd99::1\",\"BackendType\":\"host-gw\"}" },
		{ CONFIG(V4, IPIP),
		  "{\"PublicIP\":\"192.168.9.1\",\"PublicIPv6\":\"fd99::1\",\"BackendType\":\"ipip\"}" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct host host = { .disk = { { 2, 0xaa, 0xbb, 0xcc, 0xdd, 1 } } };
		struct backend *backend = open_backend(cases[i].config, &host);
		struct lease_attrs attrs;
		backend_attrs(backend, &attrs);
		_cleanup_free_ char *text = lease_attrs_format(&attrs);
		assert_string_equal(text, cases[i].value);
		lease_attrs_free(&attrs);
		backend_free(backend);
	}
}

static void test_devices(void **state)
{
	(void)state;
	struct backend *backend = open_backend(
		CONFIG(DUAL, VXLAN ",\"VNI\":42,\"Port\":4789,\"GBP\":true,\"Learning\":true"), NULL);
	struct wanted_devices devices;
	backend_devices(backend, &devices);
	assert_int_equal(devices.count, 2);
	const struct wanted_device *four = &devices.devices[0], *six = &devices.devices[1];
	assert_string_equal(four->link.name, "flannel.42");
	assert_string_equal(six->link.name, "flannel-v6.42");
	assert_string_equal(four->link.kind, "vxlan");
	assert_int_equal(four->link.vxlan.vni, 42);
	assert_int_equal(six->link.vxlan.vni, 42);
	assert_int_equal(four->link.vxlan.port, 4789);
	assert_int_equal(four->link.vxlan.underlay_ifindex, 3);
	assert_true(four->link.vxlan.gbp && four->link.vxlan.learning && four->link.up);
	char text[IP_STR_MAX];
	assert_string_equal(ip_str(&four->link.vxlan.local, text), "192.168.9.1");
	assert_string_equal(ip_str(&six->link.vxlan.local, text), "fd99::1");
	assert_string_equal(ip_str(&four->address, text), "10.0.1.0");
	assert_string_equal(ip_str(&six->address, text), "fd10:0:0:1::");
	assert_int_equal(four->address_len, 32);
	assert_int_equal(six->address_len, 128);
	assert_int_equal(four->network.len, 8);
	assert_int_equal(six->network.len, 32);
	backend_free(backend);

	backend = open_backend(CONFIG(V6, VXLAN), NULL);
	backend_devices(backend, &devices);
	assert_int_equal(devices.count, 1);
	assert_string_equal(devices.devices[0].link.name, "flannel-v6.1");
	assert_int_equal(devices.devices[0].link.vxlan.port, 8472);
	backend_set_subnet(backend, &(struct subnet){ 0 });
	backend_devices(backend, &devices);
	assert_false(ip_is_set(&devices.devices[0].address)); // not yet known
	backend_free(backend);

	static const char *const without[] = { CONFIG(V4, "\"Type\":\"alloc\""), CONFIG(DUAL, HOSTGW) };
	for (size_t i = 0; i < ARRAY_SIZE(without); i++) {
		backend = open_backend(without[i], NULL);
		backend_devices(backend, &devices);
		assert_int_equal(devices.count, 0);
		backend_free(backend);
	}

	backend = open_backend(CONFIG(V4, IPIP), NULL);
	backend_devices(backend, &devices);
	assert_int_equal(devices.count, 1);
	const struct wanted_device *ipip = &devices.devices[0];
	assert_string_equal(ipip->link.name, "flannel.ipip");
	assert_string_equal(ipip->link.kind, "ipip");
	assert_string_equal(ip_str(&ipip->link.ipip.local, text), "192.168.9.1");
	assert_false(ip_is_set(&ipip->link.ipip.remote));
	assert_string_equal(ip_str(&ipip->address, text), "10.0.1.0");
	assert_int_equal(ipip->address_len, 32);
	assert_true(ipip->link.up);
	struct underlay moved = underlay_of(0);
	moved.ip4 = ip_of("192.168.9.77");
	backend_set_underlay(backend, &moved, &moved.ip4, &moved.ip6);
	backend_devices(backend, &devices);
	assert_string_equal(ip_str(&devices.devices[0].link.ipip.local, text), "192.168.9.77");
	backend_free(backend);
}

static void expect_mac(const struct host *host, const struct mac *expected, const char *what)
{
	struct backend *backend = open_backend(CONFIG(V4, VXLAN), host);
	struct wanted_devices devices;
	char a[MAC_STR_MAX], b[MAC_STR_MAX];
	backend_devices(backend, &devices);
	check(mac_equal(&devices.devices[0].link.mac, expected), "%s: %s instead of %s", what,
	      mac_str(&devices.devices[0].link.mac, a), mac_str(expected, b));
	backend_free(backend);
}

static void test_choice_of_the_mac(void **state)
{
	struct mac device = { { 2, 1, 1, 1, 1, 1 } }, disk = { { 2, 2, 2, 2, 2, 2 } };
	struct link there = {
		.ifindex = 9,
		.name = "flannel.1",
		.kind = "vxlan",
		.mac = device,
		.mtu_bytes = 1400,
		.vxlan = { .vni = 1, .underlay_ifindex = 3, .local = ip_of("192.168.9.1"), .port = 8472 }
	};
	struct host host = { .link = there, .disk = disk };
	(void)state;
	expect_mac(&host, &device, "the device's comes first");
	static const struct {
		const char *what;
		size_t offset;
	} unfit[] = { { "VNI", 0 },  { "interface", 1 }, { "address", 2 },  { "port", 3 },
		      { "kind", 4 }, { "MAC", 5 },	 { "learning", 6 }, { "group", 7 } };
	for (size_t i = 0; i < ARRAY_SIZE(unfit); i++) {
		host.link = there;
		switch (unfit[i].offset) {
		case 0:
			host.link.vxlan.vni = 2;
			break;
		case 1:
			host.link.vxlan.underlay_ifindex = 4;
			break;
		case 2:
			host.link.vxlan.local = ip_of("192.168.9.2");
			break;
		case 3:
			host.link.vxlan.port = 4789;
			break;
		case 4:
			memcpy(host.link.kind, "bridge", 7);
			break;
		case 5:
			host.link.mac.bytes[0] = 1;
			break; // of a group
		case 6:
			host.link.vxlan.learning = true;
			break;
		case 7:
			host.link.vxlan.l2miss = true;
			break;
		}
		expect_mac(&host, &disk, unfit[i].what);
	}
	// flannel's rule: where one side names nothing, nothing is compared.
	host.link = there;
	host.link.vxlan.underlay_ifindex = 0;
	host.link.vxlan.local = (struct ip){ 0 };
	host.link.vxlan.port = 0;
	expect_mac(&host, &device, "a device that names less");

	host = (struct host){ .disk = disk };
	expect_mac(&host, &disk, "then the disk's");
	host.disk.bytes[0] = 3; // of a group: not usable
	host.identity = "machine-id name 192.168.9.1";
	const char *seed = "flannel.1 machine-id name 192.168.9.1";
	struct mac derived = mac_derive(seed, strlen(seed));
	assert_true(mac_is_usable(&derived) && (derived.bytes[0] & 2));
	expect_mac(&host, &derived, "then the derived one");
}

// ---- config changes ----

static void test_config_changes(void **state)
{
	static const struct {
		const char *config;
		const char *restart;
		uint32_t mtu;
		bool direct;
		int r;
	} cases[] = {
		{ CONFIG(V4, VXLAN), "", 1450, false, 0 },
		{ CONFIG(V4, VXLAN ",\"MTU\":1400,\"DirectRouting\":true"), "", 1350, true, 0 },
		{ CONFIG(V4, VXLAN ",\"VNI\":2,\"Port\":5,\"GBP\":true,\"Learning\":true"),
		  "Backend.VNI\nBackend.Port\nBackend.GBP\nBackend.Learning\n", 1450, false, 0 },
		{ CONFIG(V4, VXLAN ",\"MTU\":\"auto\""), "", 1450, false, 0 },
		{ CONFIG(V4, VXLAN ",\"MTU\":1400,\"VNI\":2"), "Backend.VNI\n", 1350, false, 0 },
		{ CONFIG(V4, "\"Type\":\"alloc\""), "Backend.Type\n", 1450, false, 0 },
		{ "{\"Network\":\"10.0.0.0/9\",\"SubnetLen\":24,\"Backend\":{" VXLAN "}}",
		  "Network\n", 1450, false, 0 },
		{ CONFIG(DUAL, VXLAN), "EnableIPv6\n", 1450, false, 0 },
		{ CONFIG(V6, VXLAN), "EnableIPv4\nEnableIPv6\n", 1450, false, 0 },
		{ CONFIG(V4, VXLAN ",\"MTU\":5,\"DirectRouting\":true"), "", 1450, false, -EINVAL },
		{ CONFIG(V4, VXLAN ",\"VNI\":\"x\",\"DirectRouting\":true"), "", 1450, false, -EINVAL },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backend *backend = open_backend(CONFIG(V4, VXLAN), NULL);
		_cleanup_netconf_ struct netconf conf = { 0 };
		_cleanup_strbuf_ struct strbuf restart = STRBUF_INIT(1024);
		struct wanted_devices devices;
		struct err e = { 0 };
		assert_int_equal(netconf_parse(cases[i].config, strlen(cases[i].config), &conf, &e), 0);
		int r = backend_set_netconf(backend, &conf, &restart, &e);
		check(r == cases[i].r, "%s: %d", cases[i].config, r);
		check(strcmp(strbuf_text(&restart), cases[i].restart) == 0, "%s: %s",
		      cases[i].config, strbuf_text(&restart));
		check(backend_mtu_bytes(backend) == cases[i].mtu, "%s: MTU %u", cases[i].config,
		      backend_mtu_bytes(backend));
		check(backend_needs_paths(backend) == cases[i].direct, "%s: DirectRouting",
		      cases[i].config);
		backend_devices(backend, &devices);
		check(devices.count == 1 && devices.devices[0].link.vxlan.vni == 1,
		      "%s: the device changed", cases[i].config);
		backend_free(backend);
	}
}

static void test_ipip_config_changes(void **state)
{
	static const struct {
		const char *config;
		bool direct;
		int r;
	} cases[] = {
		{ CONFIG(V4, IPIP), false, 0 },
		{ CONFIG(V4, IPIP ",\"DirectRouting\":true"), true, 0 },
		{ CONFIG(V4, IPIP ",\"DirectRouting\":\"x\""), false, -EINVAL },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backend *backend = open_backend(CONFIG(V4, IPIP), NULL);
		_cleanup_netconf_ struct netconf conf = { 0 };
		_cleanup_strbuf_ struct strbuf restart = STRBUF_INIT(1024);
		struct err e = { 0 };
		assert_int_equal(netconf_parse(cases[i].config, strlen(cases[i].config), &conf, &e), 0);
		assert_int_equal(backend_set_netconf(backend, &conf, &restart, &e), cases[i].r);
		assert_int_equal(backend_needs_paths(backend), cases[i].direct);
		assert_string_equal(strbuf_text(&restart), "");
		backend_free(backend);
	}
}

// A smaller MTU that IPv6 could not live with is not taken over.
static void test_a_config_change_keeps_ipv6_alive(void **state)
{
	(void)state;
	const char *small = CONFIG(DUAL, VXLAN ",\"MTU\":1300");
	struct backend *backend = open_backend(CONFIG(DUAL, VXLAN), NULL);
	_cleanup_netconf_ struct netconf conf = { 0 };
	_cleanup_strbuf_ struct strbuf restart = STRBUF_INIT(1024);
	struct err e = { 0 };
	assert_int_equal(netconf_parse(small, strlen(small), &conf, &e), 0);
	assert_int_equal(backend_set_netconf(backend, &conf, &restart, &e), -EINVAL);
	assert_int_equal(backend_mtu_bytes(backend), 1430);
	backend_free(backend);
}

// ---- peers ----

struct peer {
	const char *subnet;
	const char *ip;
	const char *subnet6;
	const char *ip6;
	const char *type; // NULL: vxlan
	const char *data;
	const char *data6;
};

static void make_lease(const struct peer *peer, struct lease *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (peer->subnet)
		assert_int_equal(ipnet_parse(peer->subnet, &ret->subnet.v4), 0);
	if (peer->subnet6)
		assert_int_equal(ipnet_parse(peer->subnet6, &ret->subnet.v6), 0);
	ret->attrs.public_ip = ip_of(peer->ip);
	ret->attrs.public_ipv6 = ip_of(peer->ip6);
	(void)text_copy(ret->attrs.backend_type, sizeof(ret->attrs.backend_type),
			peer->type ? peer->type : "vxlan");
	ret->attrs.backend_data = xstrdup(peer->data);
	ret->attrs.backend_v6_data = xstrdup(peer->data6);
}

// The wanted objects as lines; or the error.
static int want_text(struct backend *backend, const struct peer *peer,
		     const struct underlay_path *paths, char *ret, size_t size)
{
	static const struct underlay_path not_asked[UNDERLAY_FAMILY_COUNT] = { { .error = -ENODATA },
									       { .error = -ENODATA } };
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(4096);
	_cleanup_lease_ struct lease lease;
	struct underlay underlay = underlay_of(0);
	struct wanted wanted = { 0 };
	struct err e = { 0 };
	make_lease(peer, &lease);
	int r = backend_want(backend, &lease, &underlay, paths ? paths : not_asked, &wanted, &e);
	if (r < 0) {
		(void)text_copy(ret, size, e.msg);
		return r;
	}
	for (size_t i = 0; i < wanted.count; i++) {
		char object[KERNEL_OBJECT_STR_MAX];
		assert_int_equal(strbuf_printf(&text, "%s\n",
					       kernel_object_str(&wanted.objects[i], object)),
				 0);
	}
	for (size_t i = 0; i < wanted.host_count; i++) {
		char subnet[IPNET_STR_MAX], host[IP_STR_MAX];
		assert_int_equal(strbuf_printf(&text, "%s at %s port %u\n",
					       ipnet_str(&wanted.hosts[i].subnet, subnet),
					       ip_str(&wanted.hosts[i].host, host),
					       wanted.hosts[i].port),
				 0);
	}
	assert_int_equal(strbuf_printf(&text, "%s%s%s\n", wanted.path, wanted.why[0] ? ": " : "",
				       wanted.why),
			 0);
	assert_int_equal(text_copy(ret, size, strbuf_text(&text)), 0);
	return 0;
}

#define MAC_DATA "{\"VNI\":1,\"VtepMAC\":\"02:11:22:33:44:55\"}"
#define PEER_V4 .subnet = "10.5.34.0/24", .ip = "172.16.0.2", .data = MAC_DATA
#define PEER_V6 .subnet6 = "fd10:0:5:22::/64", .ip6 = "fd98::2", .data6 = MAC_DATA
#define WANT_V4                                                \
	"neighbour 10.5.34.0 lladdr 02:11:22:33:44:55 dev 7\n" \
	"fdb 02:11:22:33:44:55 dst 172.16.0.2 dev 7\n"         \
	"route 10.5.34.0/24 via 10.5.34.0 dev 7 onlink\n"
#define WANT_V6(device)                                                     \
	"neighbour fd10:0:5:22:: lladdr 02:11:22:33:44:55 dev " device "\n" \
	"fdb 02:11:22:33:44:55 dst fd98::2 dev " device "\n"                \
	"route fd10:0:5:22::/64 via fd10:0:5:22:: dev " device " onlink\n"

#define WANT_IPIP "route 10.5.34.0/24 via 172.16.0.2 dev 7 onlink\n"

static void test_what_is_wanted(void **state)
{
	static const struct {
		const char *config;
		struct peer peer;
		const char *wanted;
	} cases[] = {
		{ CONFIG(V4, VXLAN), { PEER_V4 }, WANT_V4 "vxlan\n" },
		{ CONFIG(V6, VXLAN), { PEER_V6 }, WANT_V6("7") "vxlan\n" }, // the only device is the first
		{ CONFIG(DUAL, VXLAN), { PEER_V4, PEER_V6 }, WANT_V4 WANT_V6("8") "vxlan\n" },
		{ CONFIG(DUAL, VXLAN), { PEER_V4 }, WANT_V4 "vxlan\n" }, // a host without IPv6
		{ CONFIG(V4, VXLAN), { PEER_V4, PEER_V6 }, WANT_V4 "vxlan\n" },
		{ CONFIG(V4, VXLAN),
		  { .subnet = "10.5.34.0/24",
		    .ip = "172.16.0.2",
		    .data = "{\"vtepmac\":\"02:11:22:33:44:55\",\"VNI\":9,\"x\":[]}" },
		  WANT_V4 "vxlan\n" }, // COMPAT: its VNI is not looked at
		{ CONFIG(V4, "\"Type\":\"alloc\""),
		  { PEER_V4, .type = "" },
		  "none: the alloc backend carries no packets\n" },
		{ CONFIG(V4, "\"Type\":\"null\""),
		  { PEER_V4, .type = "udp" },
		  "none: the null backend carries no packets\n" },
		// As long as the way is not known the kernel is left to judge.
		{ CONFIG(V4, HOSTGW),
		  { PEER_V4, PEER_V6, .type = "host-gw" },
		  "route 10.5.34.0/24 via 172.16.0.2 dev 3\ndirect\n" },
		{ CONFIG(DUAL, HOSTGW),
		  { PEER_V4, PEER_V6, .type = "host-gw" },
		  "route 10.5.34.0/24 via 172.16.0.2 dev 3\nroute fd10:0:5:22::/64 via fd98::2 dev 3\ndirect\n" },
		{ CONFIG(V6, HOSTGW),
		  { .subnet6 = "fd10:0:5:22::/64", .ip6 = "fd98::2", .type = "host-gw" },
		  "route fd10:0:5:22::/64 via fd98::2 dev 3\ndirect\n" },
		{ CONFIG(V4, IPIP),
		  { .subnet = "10.5.34.0/24", .ip = "172.16.0.2", .type = "ipip" },
		  WANT_IPIP "ipip\n" },
		// COMPAT: whatever type the peer's lease says.
		{ CONFIG(V4, UDP), { PEER_V4, PEER_V6 }, "10.5.34.0/24 at 172.16.0.2 port 8285\nudp\n" },
		{ CONFIG(V4, UDP ",\"Port\":9"),
		  { .subnet = "10.5.34.0/24", .ip = "172.16.0.2", .type = "" },
		  "10.5.34.0/24 at 172.16.0.2 port 9\nudp\n" },
		{ CONFIG(DUAL, UDP),
		  { PEER_V4, PEER_V6 },
		  "10.5.34.0/24 at 172.16.0.2 port 8285\nfd10:0:5:22::/64 at 172.16.0.2 port 8285\nudp\n" },
		{ CONFIG(V6, UDP), { PEER_V6 }, "fd10:0:5:22::/64 at fd98::2 port 8285\nudp\n" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backend *backend = open_backend(cases[i].config, NULL);
		char text[4096];
		int r = want_text(backend, &cases[i].peer, NULL, text, sizeof(text));
		check(r == 0 && strcmp(text, cases[i].wanted) == 0, "case %zu: %d\n%s", i, r, text);
		backend_free(backend);
	}
}

static void test_attributes_of_the_objects(void **state)
{
	(void)state;
	struct backend *backend = open_backend(CONFIG(V4, VXLAN), NULL);
	static const struct underlay_path paths[UNDERLAY_FAMILY_COUNT] = { { .error = -ENODATA },
									   { .error = -ENODATA } };
	struct underlay underlay = underlay_of(0);
	_cleanup_lease_ struct lease lease;
	struct wanted wanted = { 0 };
	make_lease(&(struct peer){ PEER_V4 }, &lease);
	assert_int_equal(backend_want(backend, &lease, &underlay, paths, &wanted, NULL), 0);
	assert_int_equal(wanted.count, 3);
	assert_int_equal(wanted.objects[0].neigh.state, NUD_PERMANENT);
	assert_int_equal(wanted.objects[1].fdb.state, NUD_PERMANENT);
	const struct route *route = &wanted.objects[2].route;
	assert_int_equal(route->table, RT_TABLE_MAIN);
	assert_int_equal(route->protocol, 157);
	assert_int_equal(route->scope, RT_SCOPE_UNIVERSE);
	assert_int_equal(route->type, RTN_UNICAST);
	assert_int_equal(route->metric, 0);
	assert_int_equal(route->nexthop_id, 0);
	backend_free(backend);
}

// It is no trouble, and there is nothing to do about it.
static void test_a_reservation_without_its_host(void **state)
{
	struct host host = { 0 };
	struct underlay underlay = underlay_of(0);
	_cleanup_lease_ struct lease lease;
	struct wanted wanted = { 0 };
	(void)state;
	struct backend *backend = open_backend(CONFIG(V4, VXLAN), &host);
	make_lease(&(struct peer){ .subnet = "10.5.34.0/24", .ip = "172.16.0.2", .type = "" }, &lease);
	lease.session = 0;
	assert_int_equal(backend_want(backend, &lease, &underlay, NULL, &wanted, NULL), 0);
	assert_int_equal(wanted.count, 0);
	assert_string_equal(wanted.path, "none");
	lease.session = 7;
	assert_int_equal(backend_want(backend, &lease, &underlay, NULL, &wanted, NULL),
			 -EPROTONOSUPPORT);
	backend_free(backend);
}

static void test_peers_that_are_refused(void **state)
{
	static const struct {
		struct peer peer;
		int r;
		const char *text;
	} cases[] = {
		{ { PEER_V4, .type = "host-gw" },
		  -EPROTONOSUPPORT,
		  "its backend is \"host-gw\", ours is vxlan" },
		{ { PEER_V4, .type = "" }, -EPROTONOSUPPORT, "its backend is \"\", ours is vxlan" },
		{ { PEER_V4, .type = "VXLAN" },
		  -EPROTONOSUPPORT,
		  "its backend is \"VXLAN\", ours is vxlan" },
		{ { .subnet = "10.5.34.0/24", .data = MAC_DATA },
		  -EINVAL,
		  "its public IPv4 address is none: packets cannot be sent there" },
		{ { .subnet = "10.5.34.0/24", .ip = "0.0.0.0", .data = MAC_DATA },
		  -EINVAL,
		  "0.0.0.0: packets" },
		{ { .subnet = "10.5.34.0/24", .ip = "127.0.0.1", .data = MAC_DATA },
		  -EINVAL,
		  "127.0.0.1: packets" },
		{ { .subnet = "10.5.34.0/24", .ip = "224.0.0.1", .data = MAC_DATA },
		  -EINVAL,
		  "224.0.0.1: packets" },
		{ { .subnet = "10.5.34.0/24", .ip = "255.255.255.255", .data = MAC_DATA },
		  -EINVAL,
		  "packets cannot" },
		{ { .subnet = "10.5.34.0/24", .ip = "172.16.0.2" },
		  -EINVAL,
		  "its lease has no BackendData" },
#define DATA(json, what) \
	{ { .subnet = "10.5.34.0/24", .ip = "172.16.0.2", .data = json }, -EINVAL, what }
		DATA("", "BackendData"),
		DATA("null", "VtepMAC"),
		DATA("7", "VtepMAC"),
		DATA("[\"VtepMAC\"]", "VtepMAC"),
		DATA("\"VtepMAC\"", "VtepMAC"),
		DATA("{}", "BackendData.VtepMAC is \"\", not a unicast MAC address"),
		DATA("{\"VtepMAC\":null}", "VtepMAC"),
		DATA("{\"VtepMAC\":7}", "VtepMAC"),
		DATA("{\"VtepMAC\":{}}", "VtepMAC"),
		DATA("{\"VtepMAC\":\"\"}", "VtepMAC"),
		DATA("{\"VtepMAC\":\"02:11:22:33:44\"}", "02:11:22:33:44"),
		DATA("{\"VtepMAC\":\"02:11:22:33:44:55:66\"}", "not a unicast MAC"),
		DATA("{\"VtepMAC\":\"02:11:22:33:44:5g\"}", "not a unicast MAC"),
		DATA("{\"VtepMAC\":\"00:00:00:00:00:00\"}", "not a unicast MAC"),
		DATA("{\"VtepMAC\":\"ff:ff:ff:ff:ff:ff\"}", "not a unicast MAC"),
		DATA("{\"VtepMAC\":\"01:00:5e:00:00:01\"}", "not a unicast MAC"),
		DATA("{\"VtepMAC\":\"02:11:22:33:44:55\\n02:11:22:33:44:55 a key as long as a private one, which nobody wants in a log\"}",
		     "not a unicast MAC"),
		DATA("{\"VtepMAC\":\"02:aa:bb:cc:dd:01\"}",
		     "BackendData.VtepMAC 02:aa:bb:cc:dd:01 is our own"),
		DATA("{\"VtepMAC\":\"02:11:22:33:44:55\"", "BackendData"),
		DATA("{\"VtepMAC\":\"02:11:22:33:44:55\"}}", "BackendData"),
		DATA("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
		     "BackendData"),
	};
	struct host host = { .disk = { { 2, 0xaa, 0xbb, 0xcc, 0xdd, 1 } } };
	(void)state;
	struct backend *backend = open_backend(CONFIG(V4, VXLAN), &host);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[4096];
		int r = want_text(backend, &cases[i].peer, NULL, text, sizeof(text));
		check(r == cases[i].r && strstr(text, cases[i].text), "case %zu: %d, %s", i, r, text);
		check(!strstr(text, "private one, which nobody"), "case %zu: shows too much: %s", i,
		      text);
	}
	backend_free(backend);
	// In a dual-stack network each half that is claimed must be right.
	backend = open_backend(CONFIG(DUAL, VXLAN), &host);
	char text[4096];
	struct peer half = { PEER_V4, .subnet6 = "fd10:0:5:22::/64", .ip6 = "fd98::2" };
	assert_int_equal(want_text(backend, &half, NULL, text, sizeof(text)), -EINVAL);
	assert_string_equal(text, "its lease has no BackendV6Data");
	half = (struct peer){ PEER_V4, .subnet6 = "fd10:0:5:22::/64", .data6 = MAC_DATA };
	assert_int_equal(want_text(backend, &half, NULL, text, sizeof(text)), -EINVAL);
	assert_string_equal(text, "its public IPv6 address is none: packets cannot be sent there");
	backend_free(backend);
}

static void test_direct_routing(void **state)
{
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
	static const struct {
		const char *config;
		struct peer peer;
		struct underlay_path paths[UNDERLAY_FAMILY_COUNT];
		const char *wanted;
	} cases[] = {
#define DIRECT(families) CONFIG(families, VXLAN ",\"DirectRouting\":true")
		{ DIRECT(V4),
		  { PEER_V4 },
		  { ON_LINK },
		  "route 10.5.34.0/24 via 172.16.0.2 dev 3\ndirect: its public address is on the same segment\n" },
		{ DIRECT(V4),
		  { PEER_V4 },
		  { ROUTED },
		  WANT_V4 "vxlan: its public address is behind a router\n" },
		{ DIRECT(V4),
		  { PEER_V4 },
		  { { .error = -ENETUNREACH } },
		  WANT_V4 "vxlan: there is no route to its public address\n" },
		{ DIRECT(V4),
		  { PEER_V4 },
		  { { .answer = { .ifindex = 1, .type = RTN_LOCAL } } },
		  WANT_V4 "vxlan: its public address is not on a link of ours\n" },
		{ DIRECT(V4),
		  { PEER_V4 },
		  { { .answer = { .type = RTN_UNICAST } } },
		  WANT_V4 "vxlan: its public address is not on a link of ours\n" },
		{ CONFIG(V4, VXLAN), { PEER_V4 }, { ON_LINK }, WANT_V4 "vxlan\n" }, // not asked for
		{ DIRECT(V6),
		  { PEER_V6 },
		  { { .error = -ENODATA }, ON_LINK },
		  "route fd10:0:5:22::/64 via fd98::2 dev 3\ndirect: its public address is on the same segment\n" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backend *backend = open_backend(cases[i].config, NULL);
		char text[4096];
		assert_int_equal(backend_needs_paths(backend),
				 strstr(cases[i].config, "Direct") != NULL);
		int r = want_text(backend, &cases[i].peer, cases[i].paths, text, sizeof(text));
		check(r == 0 && strcmp(text, cases[i].wanted) == 0, "case %zu: %d\n%s", i, r, text);
		backend_free(backend);
	}
	static const struct underlay_path unknown[] = { { .error = -EIO }, { .error = -ENODATA } };
	struct backend *ipip = open_backend(CONFIG(V4, IPIP ",\"DirectRouting\":true"), NULL);
	struct peer tunnelled = { PEER_V4, .type = "ipip" };
	static const struct {
		struct underlay_path path;
		const char *wanted;
	} ways[] = {
		{ ON_LINK,
		  "route 10.5.34.0/24 via 172.16.0.2 dev 3\ndirect: its public address is on the same segment\n" },
		{ ROUTED, WANT_IPIP "ipip: its public address is behind a router\n" },
		{ { .error = -EHOSTUNREACH },
		  WANT_IPIP "ipip: there is no route to its public address\n" },
		{ { .error = -ENOBUFS },
		  WANT_IPIP "ipip: the way to its public address is not known\n" },
	};
	assert_true(backend_needs_paths(ipip));
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct underlay_path given[UNDERLAY_FAMILY_COUNT] = { ways[i].path, unknown[1] };
		char told[4096];
		assert_int_equal(want_text(ipip, &tunnelled, given, told, sizeof(told)), 0);
		assert_string_equal(told, ways[i].wanted);
	}
	backend_free(ipip);

	// Each family for itself.
	struct backend *backend = open_backend(DIRECT(DUAL), NULL);
	struct underlay_path paths[UNDERLAY_FAMILY_COUNT] = { ON_LINK, { .error = -ENETUNREACH } };
	struct peer both = { PEER_V4, PEER_V6 };
	char text[4096];
	assert_int_equal(want_text(backend, &both, paths, text, sizeof(text)), 0);
	assert_non_null(strstr(text, "route 10.5.34.0/24 via 172.16.0.2 dev 3\n" WANT_V6("8")));
	assert_non_null(strstr(text, "\nmixed: IPv4 direct, IPv6 vxlan\n"));
	struct underlay_path other[UNDERLAY_FAMILY_COUNT] = { { .error = -ENETUNREACH }, ON_LINK };
	assert_int_equal(want_text(backend, &both, other, text, sizeof(text)), 0);
	assert_non_null(strstr(text, "\nmixed: IPv4 vxlan, IPv6 direct\n"));
	backend_free(backend);
}

// There is no other way than the direct one: why not, or what is missing.
static void test_hostgw_needs_the_same_segment(void **state)
{
	static const struct {
		const char *config;
		struct underlay_path paths[UNDERLAY_FAMILY_COUNT];
		int r;
		const char *text; // the wanted objects, or the error
		const char *missing;
	} cases[] = {
#define FAR4 \
	"not on the same segment: its public address 172.16.0.2 is behind the router 192.168.9.254"
#define ROUTE4 "route 10.5.34.0/24 via 172.16.0.2 dev 3\n"
#define ROUTE6 "route fd10:0:5:22::/64 via fd98::2 dev 3\n"
		{ CONFIG(V4, HOSTGW), { ON_LINK }, 0, ROUTE4 "direct\n", "" },
		{ CONFIG(V4, HOSTGW), { ROUTED }, -EHOSTUNREACH, FAR4, "" },
		{ CONFIG(V4, HOSTGW),
		  { { .error = -ENETUNREACH } },
		  -EHOSTUNREACH,
		  "not on the same segment: there is no route to its public address (172.16.0.2)",
		  "" },
		{ CONFIG(V4, HOSTGW),
		  { { .answer = { .ifindex = 1, .type = RTN_LOCAL } } },
		  -EHOSTUNREACH,
		  "not on the same segment: its public address is not on a link of ours (172.16.0.2)",
		  "" },
		// The look-up failed, and not the way: traffic goes on.
		{ CONFIG(V4, HOSTGW), { { .error = -EIO } }, 0, ROUTE4 "direct\n", "" },
		{ CONFIG(DUAL, HOSTGW), { ON_LINK, ON_LINK }, 0, ROUTE4 ROUTE6 "direct\n", "" },
		{ CONFIG(DUAL, HOSTGW), { ROUTED, ON_LINK }, 0, ROUTE6 "direct\n", FAR4 },
		{ CONFIG(DUAL, HOSTGW),
		  { ON_LINK, { .error = -ENETUNREACH } },
		  0,
		  ROUTE4 "direct\n",
		  "not on the same segment: there is no route to its public address (fd98::2)" },
		{ CONFIG(DUAL, HOSTGW), { ROUTED, { .error = -ENETUNREACH } }, -EHOSTUNREACH, FAR4, "" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backend *backend = open_backend(cases[i].config, NULL);
		struct peer peer = { PEER_V4, PEER_V6, .type = "host-gw" };
		struct underlay underlay = underlay_of(0);
		_cleanup_lease_ struct lease lease;
		struct wanted wanted = { 0 };
		struct err e = { 0 };
		char text[4096];
		assert_true(backend_needs_paths(backend));
		int r = want_text(backend, &peer, cases[i].paths, text, sizeof(text));
		check(r == cases[i].r && strcmp(text, cases[i].text) == 0, "case %zu: %d\n%s", i, r,
		      text);
		make_lease(&peer, &lease);
		(void)backend_want(backend, &lease, &underlay, cases[i].paths, &wanted, &e);
		check(strcmp(wanted.missing.msg, cases[i].missing) == 0, "case %zu: %s", i,
		      wanted.missing.msg);
		check((wanted.missing.code != 0) == (cases[i].missing[0] != 0), "case %zu", i);
		backend_free(backend);
	}
}

static void test_what_hostgw_and_ipip_refuse(void **state)
{
	static const struct {
		const char *config;
		struct peer peer;
		int r;
		const char *text;
	} cases[] = {
		{ CONFIG(V4, HOSTGW),
		  { PEER_V4 },
		  -EPROTONOSUPPORT,
		  "its backend is \"vxlan\", ours is host-gw" },
		{ CONFIG(V4, IPIP),
		  { PEER_V4, .type = "host-gw" },
		  -EPROTONOSUPPORT,
		  "its backend is \"host-gw\", ours is ipip" },
		{ CONFIG(V4, HOSTGW),
		  { .subnet = "10.5.34.0/24", .ip = "0.0.0.0", .type = "host-gw" },
		  -EINVAL,
		  "its public IPv4 address is 0.0.0.0: packets cannot be sent there" },
		{ CONFIG(V6, HOSTGW),
		  { .subnet6 = "fd10:0:5:22::/64", .type = "host-gw" },
		  -EINVAL,
		  "its public IPv6 address is none: packets cannot be sent there" },
		{ CONFIG(V4, IPIP),
		  { .subnet = "10.5.34.0/24", .ip = "255.255.255.255", .type = "ipip" },
		  -EINVAL,
		  "its public IPv4 address is 255.255.255.255: packets cannot be sent there" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backend *backend = open_backend(cases[i].config, NULL);
		char text[4096];
		int r = want_text(backend, &cases[i].peer, NULL, text, sizeof(text));
		check(r == cases[i].r && strcmp(text, cases[i].text) == 0, "case %zu: %d, %s", i, r,
		      text);
		backend_free(backend);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_configs),
		cmocka_unit_test(test_an_interface_that_does_not_do),
		cmocka_unit_test(test_mtu),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_choice_of_the_mac),
		cmocka_unit_test(test_config_changes),
		cmocka_unit_test(test_a_config_change_keeps_ipv6_alive),
		cmocka_unit_test(test_what_is_wanted),
		cmocka_unit_test(test_attributes_of_the_objects),
		cmocka_unit_test(test_a_reservation_without_its_host),
		cmocka_unit_test(test_peers_that_are_refused),
		cmocka_unit_test(test_direct_routing),
		cmocka_unit_test(test_a_public_address_that_is_another_hosts),
		cmocka_unit_test(test_hostgw_needs_the_same_segment),
		cmocka_unit_test(test_what_hostgw_and_ipip_refuse),
		cmocka_unit_test(test_ipip_config_changes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
