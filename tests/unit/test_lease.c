// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/lease: keys and values to the byte.
#include "unit.h"

#include "core/lease.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

static struct subnet subnet_of(const char *key)
{
	struct subnet subnet = { 0 };
	struct err e = { 0 };

	check(subnet_parse_key(key, strlen(key), &subnet, &e) == 0, "%s: %s", key, e.msg);
	return subnet;
}

static void test_key(void **state)
{
	static const struct {
		const char *key, *subnet;
		const char *canonical; // NULL: as key
	} cases[] = {
		{ "10.5.34.0-24", "10.5.34.0/24", NULL },
		{ "10.12.13.0-24&fd00:12:13::-56", "10.12.13.0/24,fd00:12:13::/56", NULL },
		{ "10.5.34.0-24&fd00:10:5:22::-64", "10.5.34.0/24,fd00:10:5:22::/64", NULL },
		{ "0.0.0.0-0&fd00:10:5:22::-64", "fd00:10:5:22::/64", NULL },
		{ "255.255.255.255-32", "255.255.255.255/32", NULL },
		{ "128.0.0.0-1", "128.0.0.0/1", NULL },
		{ "10.5.34.0-24&fd00::1-128", "10.5.34.0/24,fd00::1/128", NULL },
		{ "10.5.34.0-24&fd00:0:0:0::-64", "10.5.34.0/24,fd00::/64", "10.5.34.0-24&fd00::-64" },
		{ "10.5.34.0-024", "10.5.34.0/24", "10.5.34.0-24" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct subnet subnet = subnet_of(cases[i].key);
		char text[SUBNET_STR_MAX], key[LEASE_KEY_MAX];

		assert_string_equal(subnet_str(&subnet, text), cases[i].subnet);
		subnet_format_key(&subnet, key);
		assert_string_equal(key, cases[i].canonical ? cases[i].canonical : cases[i].key);
	}
}

static void test_key_takes_len_bytes(void **state)
{
	struct subnet subnet;
	char key[LEASE_KEY_MAX];

	(void)state;
	assert_int_equal(subnet_parse_key("10.5.34.0-245", 12, &subnet, NULL), 0);
	subnet_format_key(&subnet, key);
	assert_string_equal(key, "10.5.34.0-24");
}

static void test_key_refused(void **state)
{
#define NO_SUBNET " is not a subnet like 10.1.2.0-24"
#define NO_V6 " has no IPv6 subnet like fd00:1::-64 behind &"
#define BEHIND " has text behind the subnet"
	static const struct {
		const char *key, *what;
		size_t len; // 0: strlen
	} cases[] = {
		{ "", NO_SUBNET },
		{ "10", NO_SUBNET },
		{ "10.12.13.0", NO_SUBNET },
		{ "10.12.13-24", NO_SUBNET },
		{ "10.12.13.300-24", NO_SUBNET },
		{ "10.12.13.0-", NO_SUBNET },
		{ "10.12.13.0-33", NO_SUBNET },
		{ "10.12.13.0-+24", NO_SUBNET },
		{ "10.12.13.0--24", NO_SUBNET },
		{ "10.12.13.0-99999999999999999999", NO_SUBNET },
		{ "010.12.13.0-24", NO_SUBNET },
		{ "10.12.13.0/24", NO_SUBNET },
		{ "x10.12.13.0-24", NO_SUBNET },
		{ " 10.12.13.0-24", NO_SUBNET },
		{ "/10.12.13.0-24", NO_SUBNET },
		{ "fd00::-64", NO_SUBNET },
		{ "&fd00::-64", NO_SUBNET },
		{ "::ffff:1.2.3.0-24", NO_SUBNET },
		{ "10.12.13.0-24hi", BEHIND },
		{ "10.12.13.0-24 ", BEHIND },
		{ "10.12.13.0-24\0", BEHIND, 14 },
		{ "10.12.13.0-24\0x", BEHIND, 15 },
		{ "10.12.13.0-24/x", BEHIND },
		{ "10.12.13.0-24&", NO_V6 },
		{ "10.12.13.0-24&:12:13:-56", NO_V6 },
		{ "10.12.13.0-24&20011::-56", NO_V6 },
		{ "10.12.13.0-24&2001-56", NO_V6 },
		{ "10.12.13.0-24&2001::", NO_V6 },
		{ "10.12.13.0-24&2001::-", NO_V6 },
		{ "10.12.13.0-24&2001::-129", NO_V6 },
		{ "10.12.13.0-24&FD00::-64", NO_V6 },
		{ "10.12.13.0-24&10.1.2.0-24", NO_V6 },
		{ "10.12.13.0-24&::ffff:102:300-24", NO_V6 },
		{ "10.12.13.0-24&2001::-56hi", BEHIND },
		{ "10.12.13.0-24&2001::-56&2002::-56", BEHIND },
		{ "10.12.13.1-24", " has host bits" },
		{ "10.12.13.0-24&2001::1-56", " has host bits" },
		{ "1.2.3.4-0&2001::-56", " has host bits" },
		{ "0.0.0.0-0", " is all of IPv4" },
		{ "10.12.13.0-24&::-0", " is all of IPv6" },
		{ "0.0.0.0-0&::-0", " is all of IPv6" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct subnet subnet, before;
		size_t len = cases[i].len > 0 ? cases[i].len : strlen(cases[i].key);
		struct err e = { 0 };

		memset(&subnet, 0x5a, sizeof(subnet));
		before = subnet;
		check(subnet_parse_key(cases[i].key, len, &subnet, &e) == -EINVAL,
		      "\"%s\" was taken", cases[i].key);
		check(strstr(e.msg, cases[i].what) != NULL, "\"%s\" says: %s", cases[i].key, e.msg);
		assert_memory_equal(&subnet, &before, sizeof(subnet));
	}
}

static void test_long_key(void **state)
{
	struct subnet subnet;
	struct err e = { 0 };
	char key[1000];

	(void)state;
	memset(key, '1', sizeof(key));
	assert_int_equal(subnet_parse_key(key, sizeof(key), &subnet, &e), -EINVAL);
	assert_string_equal(
		e.msg, "key \"1111111111111111111111111111111111111111...\" is too long for a lease");
	assert_int_equal(subnet_parse_key(key, LEASE_KEY_MAX - 1, &subnet, &e), -EINVAL);
	assert_non_null(strstr(e.msg, NO_SUBNET));
}

static void test_subnet_relations(void **state)
{
	static const struct {
		const char *a, *b;
		bool equal, overlap;
	} cases[] = {
		{ "10.1.2.0-24", "10.1.2.0-24", true, true },
		{ "10.1.2.0-24", "10.1.0.0-16", false, true },
		{ "10.1.2.0-24", "10.1.3.0-24", false, false },
		{ "10.1.2.0-24", "10.1.2.0-24&fd00::-64", false, true },
		{ "10.1.2.0-24&fd00::-64", "10.1.3.0-24&fd00::-64", false, true },
		{ "10.1.2.0-24&fd00::-64", "10.1.3.0-24&fd00:0:0:1::-64", false, false },
		// IPv6 only: the zero in front is no IPv4 subnet and overlaps nothing
		{ "0.0.0.0-0&fd00::-64", "0.0.0.0-0&fd00:0:0:1::-64", false, false },
		{ "0.0.0.0-0&fd00::-64", "0.0.0.0-0&fd00::-64", true, true },
		{ "0.0.0.0-0&fd00::-64", "10.1.2.0-24", false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct subnet a = subnet_of(cases[i].a), b = subnet_of(cases[i].b);

		check(subnet_equal(&a, &b) == cases[i].equal, "%s and %s", cases[i].a, cases[i].b);
		check(subnet_overlaps(&a, &b) == cases[i].overlap, "%s and %s", cases[i].a,
		      cases[i].b);
		check(subnet_overlaps(&b, &a) == cases[i].overlap, "%s and %s", cases[i].b,
		      cases[i].a);
		check((subnet_hash(&a) == subnet_hash(&b)) == cases[i].equal, "%s and %s",
		      cases[i].a, cases[i].b);
	}
}

// Values as flannel writes them: reading and writing gives the same bytes.
static void test_value_round_trip(void **state)
{
	static const char *const cases[] = {
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null}",
		"{\"PublicIP\":\"10.99.0.3\",\"PublicIPv6\":null,\"BackendType\":\"host-gw\"}",
		"{\"PublicIP\":\"10.99.0.3\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\","
		"\"BackendData\":{\"VNI\":1,\"VtepMAC\":\"ee:07:01:02:03:04\"}}",
		"{\"PublicIP\":\"10.99.0.2\",\"PublicIPv6\":\"fd99::2\",\"BackendType\":\"vxlan\","
		"\"BackendData\":{\"VNI\":1,\"VtepMAC\":\"aa\"},\"BackendV6Data\":{\"VNI\":1,\"VtepMAC\":\"bb\"}}",
		"{\"PublicIP\":\"0.0.0.0\",\"PublicIPv6\":\"fd99::2\"}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null,\"BackendType\":\"extension\","
		"\"BackendData\":\"free text \\\"quoted\\\" \xc3\xa9\"}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null,\"BackendData\":[1,2]}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null,\"BackendData\":7}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null,\"BackendData\":false}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null,\"BackendType\":\"a\\\"b\"}",
		// unknown members come back behind ours
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\",\"Node\":\"a\",\"x\":{\"y\":[null]}}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null,\"BackendType\":\"12345678901234567890123\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lease_attrs attrs = { 0 };
		_cleanup_free_ char *text = NULL;
		struct err e = { 0 };

		check(lease_attrs_parse(cases[i], strlen(cases[i]), &attrs, &e) == 0, "%s: %s",
		      cases[i], e.msg);
		text = lease_attrs_format(&attrs);
		assert_string_equal(text, cases[i]);
		lease_attrs_free(&attrs);
	}
}

// Values in other shapes, and what we would write for them.
static void test_value_read(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "{}", "{\"PublicIP\":\"0.0.0.0\",\"PublicIPv6\":null}" },
		{ "{\"BackendType\":\"vxlan\",\"PublicIP\":\"1.2.3.4\"}",
		  "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\"}" },
		{ "{\"publicip\":\"1.2.3.4\",\"BACKENDTYPE\":\"udp\"}",
		  "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null,\"BackendType\":\"udp\"}" },
		{ " { \"PublicIP\" : \"1.2.3.4\" , \"BackendData\" : { \"a\" : 1 } } ",
		  "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null,\"BackendData\":{\"a\":1}}" },
		{ "{\"PublicIP\":\"1.2.3.4\",\"BackendType\":null,\"BackendData\":null,\"BackendV6Data\":null}",
		  "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null}" },
		{ "{\"PublicIP\":\"1.2.3.4\",\"BackendType\":\"\"}",
		  "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null}" },
		{ "{\"PublicIP\":\"9.9.9.9\",\"PublicIP\":\"1.2.3.4\"}",
		  "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null}" },
		{ "{\"PublicIP\":\"9.9.9.9\",\"publicip\":\"1.2.3.4\"}",
		  "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null}" },
		{ "{\"PublicIP\":\"9.9.9.9\",\"publicip\":\"8.8.8.8\",\"PublicIP\":\"1.2.3.4\"}",
		  "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null}" },
		{ "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":\"FD99:0::2\"}",
		  "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":\"fd99::2\"}" },
		{ "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":\"::\"}",
		  "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null}" },
		{ "{\"Z\":1,\"weftpaths\":{\"Direct\": true},\"PublicIP\":\"1.2.3.4\"}",
		  "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null,\"WeftPaths\":{\"Direct\":true},\"Z\":1}" },
		{ "{\"PublicIP\":\"1.2.3.4\",\"WeftPaths\":null}",
		  "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null}" },
		{ "{\"Z\":1,\"PublicIP\":\"1.2.3.4\",\"A\":2}",
		  "{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null,\"Z\":1,\"A\":2}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lease_attrs attrs = { 0 };
		_cleanup_free_ char *text = NULL;
		struct err e = { 0 };

		check(lease_attrs_parse(cases[i].text, strlen(cases[i].text), &attrs, &e) == 0,
		      "%s: %s", cases[i].text, e.msg);
		text = lease_attrs_format(&attrs);
		assert_string_equal(text, cases[i].want);
		lease_attrs_free(&attrs);
	}
}

static void test_value_members(void **state)
{
	static const char text[] = "{\"PublicIP\":\"1.2.3.4\",\"BackendData\":{\"a\":1},\"n\":1}";
	struct lease_attrs attrs = { 0 };
	char ip[IP_STR_MAX];

	(void)state;
	assert_int_equal(lease_attrs_parse(text, strlen(text), &attrs, NULL), 0);
	assert_string_equal(ip_str(&attrs.public_ip, ip), "1.2.3.4");
	assert_false(ip_is_set(&attrs.public_ipv6));
	assert_string_equal(attrs.backend_type, "");
	assert_string_equal(attrs.backend_data, "{\"a\":1}");
	assert_null(attrs.backend_v6_data);
	assert_string_equal(attrs.extra, "{\"n\":1}");
	lease_attrs_free(&attrs);
	assert_null(attrs.extra);
	assert_false(ip_is_set(&attrs.public_ip));
}

static void test_value_refused(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "", "not valid JSON: unexpected token near end of file (line 1, column 0)" },
		{ "{", "not valid JSON: string or '}' expected near end of file (line 1, column 1)" },
		{ "[]", "a lease must be a JSON object" },
		{ "null", "a lease must be a JSON object" },
		{ "\"text\"", "a lease must be a JSON object" },
		{ "{\"PublicIP\":null}", "PublicIP: null is not an IP address" },
		{ "{\"PublicIP\":\"\"}", "PublicIP: \"\" is not an IP address" },
		{ "{\"PublicIP\":\"1.2.3\"}", "PublicIP: \"1.2.3\" is not an IP address" },
		{ "{\"PublicIP\":17}", "PublicIP: 17 is not an IP address" },
		{ "{\"PublicIP\":\"fd99::2\"}", "PublicIP: fd99::2 is not an IPv4 address" },
		{ "{\"PublicIPv6\":\"1.2.3.4\"}", "PublicIPv6: 1.2.3.4 is not an IPv6 address" },
		{ "{\"PublicIPv6\":7}", "PublicIPv6: 7 is not an IP address" },
		{ "{\"BackendType\":7}", "BackendType: 7 is not a string" },
		{ "{\"BackendType\":{}}", "BackendType: an object is not a string" },
		{ "{\"BackendType\":\"123456789012345678901234\"}",
		  "BackendType: \"123456789012345678901234\" is too long: at most 23 bytes" },
		{ "{\"PublicIP\":\"1.2.3.4\"}x",
		  "not valid JSON: end of file expected near 'x' (line 1, column 23)" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lease_attrs attrs, before;
		struct err e = { 0 };

		memset(&attrs, 0x5a, sizeof(attrs));
		before = attrs;
		check(lease_attrs_parse(cases[i].text, strlen(cases[i].text), &attrs, &e) == -EINVAL,
		      "%s was taken", cases[i].text);
		check(strcmp(e.msg, cases[i].message) == 0, "%s says: %s", cases[i].text, e.msg);
		assert_memory_equal(&attrs, &before, sizeof(attrs));
	}
}

static void test_value_too_long(void **state)
{
	static char text[LEASE_VALUE_MAX + 1] = "{\"PublicIP\":\"1.2.3.4\"}";
	struct lease_attrs attrs = { 0 };
	struct err e = { 0 };

	(void)state;
	memset(text + strlen(text), ' ', sizeof(text) - strlen(text));
	assert_int_equal(lease_attrs_parse(text, sizeof(text), &attrs, &e), -E2BIG);
	assert_string_equal(e.msg, "JSON of 65537 bytes is too long: at most 65536");
	assert_int_equal(lease_attrs_parse(text, sizeof(text) - 1, &attrs, &e), 0);
	lease_attrs_free(&attrs);
}

static const char full_value[] =
	"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":\"fd99::2\",\"BackendType\":\"vxlan\","
	"\"BackendData\":{\"a\":1},\"BackendV6Data\":{\"b\":1},\"c\":1}";

static void test_equal_sees_every_member(void **state)
{
	static const char *const others[] = {
		"{\"PublicIP\":\"1.2.3.5\",\"PublicIPv6\":\"fd99::2\",\"BackendType\":\"vxlan\","
		"\"BackendData\":{\"a\":1},\"BackendV6Data\":{\"b\":1},\"c\":1}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":\"fd99::3\",\"BackendType\":\"vxlan\","
		"\"BackendData\":{\"a\":1},\"BackendV6Data\":{\"b\":1},\"c\":1}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":\"fd99::2\",\"BackendType\":\"ipip\","
		"\"BackendData\":{\"a\":1},\"BackendV6Data\":{\"b\":1},\"c\":1}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":\"fd99::2\",\"BackendType\":\"vxlan\","
		"\"BackendData\":{\"a\":2},\"BackendV6Data\":{\"b\":1},\"c\":1}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":\"fd99::2\",\"BackendType\":\"vxlan\","
		"\"BackendData\":{\"a\":1},\"BackendV6Data\":{\"b\":2},\"c\":1}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":\"fd99::2\",\"BackendType\":\"vxlan\","
		"\"BackendData\":{\"a\":1},\"BackendV6Data\":{\"b\":1},\"c\":2}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":\"fd99::2\",\"BackendType\":\"vxlan\","
		"\"BackendData\":{\"a\":1},\"BackendV6Data\":{\"b\":1}}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":\"fd99::2\",\"BackendType\":\"vxlan\"}",
		"{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":\"fd99::2\",\"BackendType\":\"vxlan\","
		"\"BackendData\":{\"a\":1},\"BackendV6Data\":{\"b\":1},\"WeftPaths\":{},\"c\":1}",
	};
	struct lease_attrs first = { 0 }, same = { 0 };

	(void)state;
	assert_int_equal(lease_attrs_parse(full_value, strlen(full_value), &first, NULL), 0);
	lease_attrs_copy(&first, &same);
	assert_true(lease_attrs_equal(&first, &same));
	assert_ptr_not_equal(first.backend_data, same.backend_data);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		struct lease_attrs other = { 0 };

		assert_int_equal(lease_attrs_parse(others[i], strlen(others[i]), &other, NULL), 0);
		check(!lease_attrs_equal(&first, &other), "%s", others[i]);
		check(!lease_attrs_equal(&other, &first), "%s", others[i]);
		lease_attrs_free(&other);
	}
	lease_attrs_free(&first);
	lease_attrs_free(&same);
}

static void test_lease_copy(void **state)
{
	_cleanup_lease_ struct lease lease = { .mod_revision = 5, .session = 9 }, copy = { 0 };
	static const struct lease zero;

	(void)state;
	lease.subnet = subnet_of("10.1.2.0-24");
	assert_int_equal(lease_attrs_parse(full_value, strlen(full_value), &lease.attrs, NULL), 0);
	lease_copy(&lease, &copy);
	assert_true(subnet_equal(&copy.subnet, &lease.subnet));
	assert_true(lease_attrs_equal(&copy.attrs, &lease.attrs));
	assert_int_equal(copy.mod_revision, 5);
	assert_int_equal(copy.session, 9);
	lease_free(&lease);
	assert_memory_equal(&lease, &zero, sizeof(zero));
	assert_string_equal(copy.attrs.backend_data, "{\"a\":1}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_key_takes_len_bytes),
		cmocka_unit_test(test_key_refused),
		cmocka_unit_test(test_long_key),
		cmocka_unit_test(test_subnet_relations),
		cmocka_unit_test(test_value_round_trip),
		cmocka_unit_test(test_value_read),
		cmocka_unit_test(test_value_members),
		cmocka_unit_test(test_value_refused),
		cmocka_unit_test(test_value_too_long),
		cmocka_unit_test(test_equal_sees_every_member),
		cmocka_unit_test(test_lease_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
