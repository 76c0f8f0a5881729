// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/netconf: every rule and every message.
#include "unit.h"

#include "core/mem.h"
#include "core/netconf.h"
#include "core/strbuf.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *text;
	const char *v4; // "network min max len", or "off"
	const char *v6;
	const char *type;
	const char *backend;
} good[] = {
	{ "{\"Network\":\"10.3.0.0/16\"}", "10.3.0.0/16 10.3.1.0 10.3.255.0 24", "off", "udp", "{}" },
	{ "{\"Network\":\"10.5.6.7/16\",\"Backend\":{\"Type\":\"vxlan\",\"VNI\":12345}}",
	  "10.5.0.0/16 10.5.1.0 10.5.255.0 24", "off", "vxlan", "{\"Type\":\"vxlan\",\"VNI\":12345}" },
	{ "{\"Network\":\"10.3.0.0/16\",\"SubnetMin\":\"10.3.5.0\",\"SubnetMax\":\"10.3.8.0\",\"SubnetLen\":28}",
	  "10.3.0.0/16 10.3.5.0 10.3.8.0 28", "off", "udp", "{}" },
	// names match whatever their case; unknown members are nobody's business
	{ "{\"NETWORK\":\"10.3.0.0/16\",\"subnetlen\":25,\"Comment\":{},\"backend\":{\"TYPE\":\"Host-GW\"}}",
	  "10.3.0.0/16 10.3.0.128 10.3.255.128 25", "off", "host-gw", "{\"TYPE\":\"Host-GW\"}" },
	{ "{\"Network\":\"10.3.0.0/16\",\"Network\":\"10.4.0.0/16\"}",
	  "10.4.0.0/16 10.4.1.0 10.4.255.0 24", "off", "udp", "{}" },
	// of several variants of a name the last wins, an exact one or not
	{ "{\"Network\":\"10.3.0.0/16\",\"network\":\"10.4.0.0/16\"}",
	  "10.4.0.0/16 10.4.1.0 10.4.255.0 24", "off", "udp", "{}" },
	{ "{\"Network\":\"10.3.0.0/16\",\"network\":\"10.4.0.0/16\",\"Network\":\"10.5.0.0/16\"}",
	  "10.5.0.0/16 10.5.1.0 10.5.255.0 24", "off", "udp", "{}" },
	// null is "not given" for numbers and booleans
	{ "{\"Network\":\"10.3.0.0/16\",\"SubnetLen\":null,\"EnableIPv4\":null,\"EnableIPv6\":null,"
	  "\"EnableNFTables\":null}",
	  "10.3.0.0/16 10.3.1.0 10.3.255.0 24", "off", "udp", "{}" },
	{ "{\"Network\":\"10.3.0.0/16\",\"SubnetLen\":0,\"SubnetMin\":\"0.0.0.0\",\"SubnetMax\":\"0.0.0.0\"}",
	  "10.3.0.0/16 10.3.1.0 10.3.255.0 24", "off", "udp", "{}" },
	// the usual length: 24 up to /22, then two more
	{ "{\"Network\":\"10.0.0.0/8\"}", "10.0.0.0/8 10.0.1.0 10.255.255.0 24", "off", "udp", "{}" },
	{ "{\"Network\":\"10.3.0.0/22\"}", "10.3.0.0/22 10.3.1.0 10.3.3.0 24", "off", "udp", "{}" },
	{ "{\"Network\":\"10.3.0.0/23\"}", "10.3.0.0/23 10.3.0.128 10.3.1.128 25", "off", "udp", "{}" },
	{ "{\"Network\":\"10.3.0.0/28\"}", "10.3.0.0/28 10.3.0.4 10.3.0.12 30", "off", "udp", "{}" },
	{ "{\"Network\":\"10.3.0.0/28\",\"SubnetLen\":30}", "10.3.0.0/28 10.3.0.4 10.3.0.12 30",
	  "off", "udp", "{}" },
	{ "{\"Network\":\"10.3.0.0/16\",\"SubnetLen\":18}", "10.3.0.0/16 10.3.64.0 10.3.192.0 18",
	  "off", "udp", "{}" },
	{ "{\"Network\":\"10.0.0.0/1\",\"SubnetLen\":3}", "0.0.0.0/1 32.0.0.0 96.0.0.0 3", "off",
	  "udp", "{}" },
	// the end of the address space
	{ "{\"Network\":\"255.0.0.0/8\"}", "255.0.0.0/8 255.0.1.0 255.255.255.0 24", "off", "udp",
	  "{}" },
	// one subnet, and the first of the network when asked for
	{ "{\"Network\":\"10.3.0.0/16\",\"SubnetMin\":\"10.3.0.0\",\"SubnetMax\":\"10.3.0.0\"}",
	  "10.3.0.0/16 10.3.0.0 10.3.0.0 24", "off", "udp", "{}" },
	// IPv6
	{ "{\"Network\":\"10.3.0.0/16\",\"EnableIPv6\":true,\"IPv6Network\":\"fc00:1::9/48\"}",
	  "10.3.0.0/16 10.3.1.0 10.3.255.0 24", "fc00:1::/48 fc00:1:0:1:: fc00:1:0:ffff:: 64",
	  "udp", "{}" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/62\"}", "off",
	  "fc00::/62 fc00:0:0:1:: fc00:0:0:3:: 64", "udp", "{}" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/63\"}", "off",
	  "fc00::/63 fc00::8000:0:0:0 fc00:0:0:1:8000:: 65", "udp", "{}" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/124\"}", "off",
	  "fc00::/124 fc00::4 fc00::c 126", "udp", "{}" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/48\",\"IPv6SubnetLen\":56,"
	  "\"IPv6SubnetMin\":\"fc00:0:0:200::\",\"IPv6SubnetMax\":\"fc00:0:0:400::\"}",
	  "off", "fc00::/48 fc00:0:0:200:: fc00:0:0:400:: 56", "udp", "{}" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/48\",\"IPv6SubnetMin\":null,"
	  "\"IPv6SubnetMax\":null}",
	  "off", "fc00::/48 fc00:0:0:1:: fc00:0:0:ffff:: 64", "udp", "{}" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/48\",\"IPv6SubnetMin\":\"::\"}",
	  "off", "fc00::/48 fc00:0:0:1:: fc00:0:0:ffff:: 64", "udp", "{}" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"ff00::/8\"}", "off",
	  "ff00::/8 ff00:0:0:1:: ffff:ffff:ffff:ffff:: 64", "udp", "{}" },
	// the other family's members may stand there while it is off, and are all zero then
	{ "{\"Network\":\"10.3.0.0/16\",\"IPv6Network\":\"fc00::/48\",\"IPv6SubnetLen\":200}",
	  "10.3.0.0/16 10.3.1.0 10.3.255.0 24", "off", "udp", "{}" },
	{ "{\"EnableIPv4\":false,\"Network\":\"10.3.0.0/31\",\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/48\"}",
	  "off", "fc00::/48 fc00:0:0:1:: fc00:0:0:ffff:: 64", "udp", "{}" },
	{ "{\"Network\":\"10.3.0.0/16\",\"Backend\":{\"Type\":\"12345678901234567890123\"}}",
	  "10.3.0.0/16 10.3.1.0 10.3.255.0 24", "off", "12345678901234567890123",
	  "{\"Type\":\"12345678901234567890123\"}" },
};

static void expect_family(const struct netconf_family *family, const char *want, const char *text)
{
	static const struct netconf_family off;
	char net[IPNET_STR_MAX], min[IP_STR_MAX], max[IP_STR_MAX];
	char got[200];

	if (strcmp(want, "off") == 0) {
		check(memcmp(family, &off, sizeof(off)) == 0, "%s: a family is not off", text);
		return;
	}
	assert_true(family->enabled);
	assert_int_equal(text_format(got, sizeof(got), "%s %s %s %u", ipnet_str(&family->network, net),
				     ip_str(&family->subnet_min, min),
				     ip_str(&family->subnet_max, max), family->subnet_len),
			 0);
	check(strcmp(got, want) == 0, "%s: %s", text, got);
}

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_netconf_ struct netconf conf = { 0 };
		struct err e = { 0 };

		check(netconf_parse(good[i].text, strlen(good[i].text), &conf, &e) == 0, "%s: %s",
		      good[i].text, e.msg);
		expect_family(&conf.v4, good[i].v4, good[i].text);
		expect_family(&conf.v6, good[i].v6, good[i].text);
		assert_string_equal(conf.backend_type, good[i].type);
		assert_string_equal(conf.backend, good[i].backend);
		assert_false(conf.enable_nftables);
	}
}

static const struct {
	const char *text;
	const char *message;
} bad[] = {
	{ "", "not valid JSON: unexpected token near end of file (line 1, column 0)" },
	{ "{", "not valid JSON: string or '}' expected near end of file (line 1, column 1)" },
	{ "[]", "must be a JSON object like {\"Network\":\"10.1.0.0/16\"}" },
	{ "null", "must be a JSON object like {\"Network\":\"10.1.0.0/16\"}" },
	{ "{}", "Network: missing; needed because EnableIPv4 is true" },
	{ "{\"Network\":null}", "Network: null is not a network like 10.1.0.0/16" },
	{ "{\"Network\":\"\"}", "Network: \"\" is not a network like 10.1.0.0/16" },
	{ "{\"Network\":\"10.1.0.0\"}", "Network: \"10.1.0.0\" is not a network like 10.1.0.0/16" },
	{ "{\"Network\":[\"10.1.0.0/16\"]}", "Network: an array is not a network like 10.1.0.0/16" },
	{ "{\"Network\":\"fc00::/48\"}", "Network: fc00::/48 is not an IPv4 network" },
	{ "{\"Network\":\"0.0.0.0/0\"}",
	  "Network: 0.0.0.0/0 is everything, not a network to lease from" },
	{ "{\"Network\":\"10.1.0.0/29\"}",
	  "Network: 10.1.0.0/29 is too small: at least a /28 is needed" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetLen\":31}", "SubnetLen: 31 is too long: at most 30" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetLen\":17}",
	  "SubnetLen: 17 is too short for Network 10.1.0.0/16: at least 18, so that four fit" },
	{ "{\"Network\":\"10.1.0.0/29\",\"SubnetLen\":30}",
	  "SubnetLen: 30 is too short for Network 10.1.0.0/29: at least 31, so that four fit" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetLen\":-1}", "SubnetLen: -1 is less than 0" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetLen\":\"24\"}",
	  "SubnetLen: \"24\" is not a whole number" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetLen\":24.5}", "SubnetLen: 24.5 is not a whole number" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":null}", "SubnetMin: null is not an IP address" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetMax\":\"\"}", "SubnetMax: \"\" is not an IP address" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.0.0/24\"}",
	  "SubnetMin: \"10.1.0.0/24\" is not an IP address" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"fc00::\"}",
	  "SubnetMin: fc00:: is not an IPv4 address" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.2.0.0\"}",
	  "SubnetMin: 10.2.0.0 is outside Network 10.1.0.0/16" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetMax\":\"10.0.255.0\"}",
	  "SubnetMax: 10.0.255.0 is outside Network 10.1.0.0/16" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.5.1\"}",
	  "SubnetMin: 10.1.5.1 is not the start of a /24 subnet" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetMax\":\"10.1.5.128\"}",
	  "SubnetMax: 10.1.5.128 is not the start of a /24 subnet" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.9.0\",\"SubnetMax\":\"10.1.8.0\"}",
	  "SubnetMin: 10.1.9.0 is above SubnetMax 10.1.8.0" },
	{ "{\"Network\":\"10.1.0.0/16\",\"SubnetMax\":\"10.1.0.0\"}",
	  "SubnetMin: 10.1.1.0 is above SubnetMax 10.1.0.0" },
	{ "{\"Network\":\"10.1.0.0/16\",\"EnableIPv4\":1}", "EnableIPv4: 1 is not true or false" },
	{ "{\"Network\":\"10.1.0.0/16\",\"EnableIPv6\":\"true\"}",
	  "EnableIPv6: \"true\" is not true or false" },
	{ "{\"Network\":\"10.1.0.0/16\",\"EnableNFTables\":{}}",
	  "EnableNFTables: an object is not true or false" },
	{ "{\"EnableIPv4\":false}", "EnableIPv4 and EnableIPv6: one of them must be true" },
	// IPv6
	{ "{\"Network\":\"10.1.0.0/16\",\"EnableIPv6\":true}",
	  "IPv6Network: missing; needed because EnableIPv6 is true" },
	{ "{\"Network\":\"10.1.0.0/16\",\"IPv6Network\":null}",
	  "IPv6Network: null is not a network like 10.1.0.0/16" },
	{ "{\"Network\":\"10.1.0.0/16\",\"IPv6Network\":\"10.2.0.0/16\"}",
	  "IPv6Network: 10.2.0.0/16 is not an IPv6 network" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"::/0\"}",
	  "IPv6Network: ::/0 is everything, not a network to lease from" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/125\"}",
	  "IPv6Network: fc00::/125 is too small: at least a /124 is needed" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/48\",\"IPv6SubnetLen\":127}",
	  "IPv6SubnetLen: 127 is too long: at most 126" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/48\",\"IPv6SubnetLen\":49}",
	  "IPv6SubnetLen: 49 is too short for IPv6Network fc00::/48: at least 50, so that four fit" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/48\",\"IPv6SubnetMin\":\"fd00::\"}",
	  "IPv6SubnetMin: fd00:: is outside IPv6Network fc00::/48" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/48\",\"IPv6SubnetMax\":\"fc00::1\"}",
	  "IPv6SubnetMax: fc00::1 is not the start of a /64 subnet" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/48\","
	  "\"IPv6SubnetMin\":\"10.1.0.0\"}",
	  "IPv6SubnetMin: 10.1.0.0 is not an IPv6 address" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/48\","
	  "\"IPv6SubnetMin\":\"fc00:0:0:2::\",\"IPv6SubnetMax\":\"fc00:0:0:1::\"}",
	  "IPv6SubnetMin: fc00:0:0:2:: is above IPv6SubnetMax fc00:0:0:1::" },
	// what flannel cannot decode is refused even for a family that is off
	{ "{\"Network\":\"10.1.0.0/16\",\"IPv6SubnetLen\":\"64\"}",
	  "IPv6SubnetLen: \"64\" is not a whole number" },
	{ "{\"EnableIPv4\":false,\"SubnetMin\":\"x\",\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/48\"}",
	  "SubnetMin: \"x\" is not an IP address" },
	// the backend
	{ "{\"Network\":\"10.1.0.0/16\",\"Backend\":\"vxlan\"}",
	  "Backend: must be an object like {\"Type\":\"vxlan\"}" },
	{ "{\"Network\":\"10.1.0.0/16\",\"Backend\":null}",
	  "Backend: must be an object like {\"Type\":\"vxlan\"}" },
	{ "{\"Network\":\"10.1.0.0/16\",\"Backend\":{}}", "Backend: Type is missing" },
	{ "{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"\"}}", "Backend: Type is missing" },
	{ "{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":null}}", "Backend: Type is missing" },
	{ "{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":7}}", "Backend: Type: 7 is not a string" },
	{ "{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"123456789012345678901234\"}}",
	  "Backend: Type: \"123456789012345678901234\" is too long: at most 23 bytes" },
};

static void test_bad(void **state)
{
	static const struct netconf untouched;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct netconf conf = { 0 };
		struct err e = { 0 };

		check(netconf_parse(bad[i].text, strlen(bad[i].text), &conf, &e) == -EINVAL,
		      "%s was taken", bad[i].text);
		check(strcmp(e.msg, bad[i].message) == 0, "%s says: %s", bad[i].text, e.msg);
		assert_memory_equal(&conf, &untouched, sizeof(conf));
	}
}

static void test_too_long(void **state)
{
	static char text[NETCONF_TEXT_MAX + 1] = "{\"Network\":\"10.1.0.0/16\"}";
	_cleanup_netconf_ struct netconf conf = { 0 };
	struct err e = { 0 };

	(void)state;
	memset(text + strlen(text), ' ', sizeof(text) - strlen(text));
	assert_int_equal(netconf_parse(text, sizeof(text), &conf, &e), -E2BIG);
	assert_string_equal(e.msg, "JSON of 65537 bytes is too long: at most 65536");
	assert_int_equal(netconf_parse(text, sizeof(text) - 1, &conf, &e), 0);
}

static void test_nftables(void **state)
{
	static const char text[] = "{\"Network\":\"10.1.0.0/16\",\"EnableNFTables\":true}";
	_cleanup_netconf_ struct netconf conf = { 0 };

	(void)state;
	assert_int_equal(netconf_parse(text, strlen(text), &conf, NULL), 0);
	assert_true(conf.enable_nftables);
}

static void test_copy(void **state)
{
	static const char text[] = "{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"vxlan\"}}";
	_cleanup_netconf_ struct netconf conf = { 0 }, copy = { 0 }, empty = { 0 };

	(void)state;
	assert_int_equal(netconf_parse(text, strlen(text), &conf, NULL), 0);
	netconf_copy(&conf, &copy);
	netconf_free(&conf);
	assert_null(conf.backend);
	assert_string_equal(copy.backend, "{\"Type\":\"vxlan\"}");
	assert_string_equal(copy.backend_type, "vxlan");
	assert_int_equal(copy.v4.subnet_len, 24);
	netconf_copy(&empty, &conf);
	assert_null(conf.backend);
}

static void test_count_and_fit(void **state)
{
	static const struct {
		const char *text;
		uint64_t v4, v6;
	} cases[] = {
		{ "{\"Network\":\"10.1.0.0/16\"}", 255, 0 },
		{ "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.0.0\"}", 256, 0 },
		{ "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.7.0\",\"SubnetMax\":\"10.1.7.0\"}",
		  1, 0 },
		{ "{\"Network\":\"10.0.0.0/8\",\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/48\"}",
		  65535, 65535 },
		{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/8\",\"IPv6SubnetLen\":126,"
		  "\"IPv6SubnetMin\":\"fc00::\"}",
		  0, UINT64_MAX },
		{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fc00::/8\",\"IPv6SubnetLen\":72}",
		  0, UINT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_netconf_ struct netconf conf = { 0 };

		assert_int_equal(netconf_parse(cases[i].text, strlen(cases[i].text), &conf, NULL), 0);
		check(netconf_family_subnets(&conf.v4) == cases[i].v4, "%s", cases[i].text);
		check(netconf_family_subnets(&conf.v6) == cases[i].v6, "%s", cases[i].text);
	}
}

static void test_count_of_made_up_families(void **state)
{
	struct netconf_family family = { .enabled = true, .subnet_len = 24 };

	(void)state;
	assert_int_equal(ipnet_parse("10.1.0.0/16", &family.network), 0);
	assert_int_equal(ip_parse("10.1.9.0", &family.subnet_min), 0);
	assert_int_equal(ip_parse("10.1.8.0", &family.subnet_max), 0);
	assert_int_equal(netconf_family_subnets(&family), 0);
	family.subnet_max = family.subnet_min;
	assert_int_equal(netconf_family_subnets(&family), 1);
	family.enabled = false;
	assert_int_equal(netconf_family_subnets(&family), 0);
	family = (struct netconf_family){ .enabled = true };
	assert_int_equal(ipnet_parse("::/0", &family.network), 0);
	assert_int_equal(netconf_family_subnets(&family), 0); // no shift by 128
}

static void test_fits(void **state)
{
	static const char text[] =
		"{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.5.0\",\"SubnetMax\":\"10.1.9.0\"}";
	static const struct {
		const char *subnet;
		bool want;
	} cases[] = {
		{ "10.1.5.0/24", true },   { "10.1.9.0/24", true },  { "10.1.4.0/24", false },
		{ "10.1.10.0/24", false }, { "10.1.5.0/25", false }, { "10.1.6.0/23", false },
		{ "10.2.5.0/24", false },  { "fc00::/24", false },
	};
	_cleanup_netconf_ struct netconf conf = { 0 };
	struct ipnet subnet, none = { 0 };

	(void)state;
	assert_int_equal(netconf_parse(text, strlen(text), &conf, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(ipnet_parse(cases[i].subnet, &subnet), 0);
		check(netconf_family_fits(&conf.v4, &subnet) == cases[i].want, "%s", cases[i].subnet);
		check(!netconf_family_fits(&conf.v6, &subnet), "%s", cases[i].subnet);
	}
	assert_false(netconf_family_fits(&conf.v4, &none));
	assert_false(netconf_family_fits(&conf.v6, &none));
}

static void test_secrets_are_not_shown(void **state)
{
	static const struct {
		const char *text, *shown;
	} cases[] = {
		{ "{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"wireguard\",\"PSK\":\"c2VjcmV0\"}}",
		  "{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"wireguard\",\"PSK\":\"(hidden)\"}}" },
		{ "{\"backend\":{\"psk\":\"c2VjcmV0\",\"Psk\":7}}",
		  "{\"backend\":{\"psk\":\"(hidden)\",\"Psk\":\"(hidden)\"}}" },
		{ "{ \"Network\": \"10.1.0.0/16\" }", "{ \"Network\": \"10.1.0.0/16\" }" },
		{ "{\"Backend\":[\"PSK\"]}", "{\"Backend\":[\"PSK\"]}" },
		{ "c2VjcmV0", "(unreadable)" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *shown = netconf_text_shown(cases[i].text);
		assert_string_equal(shown, cases[i].shown);
	}
	_cleanup_free_ char *backend = netconf_backend_shown("{\"PSK\":\"c2VjcmV0\"}");
	assert_string_equal(backend, "{\"PSK\":\"(hidden)\"}");
}

// What is in place of a number is for the agent; all else is the backend's to judge.
static void test_auto_mtu(void **state)
{
	static const struct {
		const char *mtu;
		bool is_auto;
	} cases[] = {
		{ "\"MTU\":\"auto\"", true },	 { "\"mtu\":\"auto\"", true },
		{ "\"MTU\":1400", false },	 { "\"MTU\":\"AUTO\"", false },
		{ "\"MTU\":null", false },	 { "\"Other\":\"auto\"", false },
		{ "\"MTU\":[\"auto\"]", false }, { "\"MTU\":\"auto\",\"mtu\":1400", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text =
			xasprintf("{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"vxlan\",%s}}",
				  cases[i].mtu);
		_cleanup_netconf_ struct netconf conf = { 0 }, copy = { 0 };

		assert_int_equal(netconf_parse(text, strlen(text), &conf, NULL), 0);
		check(conf.mtu_auto == cases[i].is_auto, "%s", cases[i].mtu);
		netconf_copy(&conf, &copy);
		check(copy.mtu_auto == cases[i].is_auto, "%s, copied", cases[i].mtu);
		assert_non_null(strstr(conf.backend, cases[i].mtu));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_auto_mtu),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_nftables),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_count_and_fit),
		cmocka_unit_test(test_count_of_made_up_families),
		cmocka_unit_test(test_fits),
		cmocka_unit_test(test_secrets_are_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
