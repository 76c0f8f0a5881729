// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/ip.
#include "unit.h"

#include "core/ip.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

static struct ip ip_of(const char *text)
{
	struct ip ip = { 0 };

	check(ip_parse(text, &ip) == 0, "%s is refused", text);
	return ip;
}

static void test_parse_and_print(void **state)
{
	static const struct {
		const char *text;
		const char *canonical; // NULL: as text
	} cases[] = {
		{ "0.0.0.0", NULL },
		{ "255.255.255.255", NULL },
		{ "10.99.0.3", NULL },
		{ "100.20.3.0", NULL },
		{ "::", NULL },
		{ "::1", NULL },
		{ "1::", NULL },
		{ "fd00:10:5:22::", NULL },
		{ "FD00:0010:0005:0022:0:0:0:0", "fd00:10:5:22::" },
		{ "2001:db8::1:0:0:1", NULL }, // the first of two equal runs
		{ "2001:db8:0:0:1::1", "2001:db8::1:0:0:1" },
		{ "1:0:0:2:0:0:0:3", "1:0:0:2::3" }, // the longer run
		{ "1:0:2:3:4:5:6:7", NULL },	     // one group is no run
		{ "1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0" },
		{ "::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8" },
		{ "0:0:1:0:0:1:0:0", "::1:0:0:1:0:0" },
		{ "1:1:1:1:1:1::", "1:1:1:1:1:1::" },
		{ "::1.2.3.4", "::102:304" },
		{ "64:ff9b::1.2.3.4", "64:ff9b::102:304" },
		{ "::ffff:1.2.3.4", "1.2.3.4" }, // mapped: IPv4, as in Go
		{ "::ffff:102:304", "1.2.3.4" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *want = cases[i].canonical ? cases[i].canonical : cases[i].text;
		struct ip ip = ip_of(cases[i].text), again;
		char text[IP_STR_MAX];

		assert_string_equal(ip_str(&ip, text), want);
		again = ip_of(text);
		assert_memory_equal(&ip, &again, sizeof(ip));
	}
}

static void test_refused(void **state)
{
	static const char *const cases[] = {
		"",
		" ",
		"10.1.2",
		"10.1.2.3.4",
		"10.1.2.256",
		"010.1.2.3",
		"10.1.2.03",
		"10.1..3",
		"10.1.2.3 ",
		" 10.1.2.3",
		"10.1.2.3/8",
		"0x0a.1.2.3",
		"-1.2.3.4",
		"1e1.2.3.4",
		":",
		":::",
		"1:2:3",
		"1::2::3",
		"12345::",
		"g::",
		"fe80::1%eth0",
		"::1/64",
		"1:2:3:4:5:6:7:8:9",
		":1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:",
		"1:2:3:4::5:6:7:8",
		"::1.2.3",
		"::1.2.3.400",
		"1.2.3.4::",
		"localhost",
		"none",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ip ip = ip_v4(7);

		check(ip_parse(cases[i], &ip) == -EINVAL, "\"%s\" was taken", cases[i]);
		assert_int_equal(ip_v4_value(&ip), 7); // untouched
	}
}

static void test_none(void **state)
{
	struct ip none = { 0 }, sum;
	char text[IP_STR_MAX];

	(void)state;
	assert_string_equal(ip_str(&none, text), "none");
	assert_false(ip_is_set(&none));
	assert_int_equal(ip_width_bits(&none), 0);
	assert_true(ip_value(&none) == 0);
	sum = ip_add(&none, 5);
	assert_memory_equal(&sum, &none, sizeof(none));
	assert_false(ip_is_unspecified(&none));
	assert_false(ip_is_global_unicast(&none));
	assert_false(ip_is_usable_endpoint(&none));
	sum = ip_from_bytes(AF_UNIX, "12345678901234567");
	assert_memory_equal(&sum, &none, sizeof(none));
	sum = ip_from_value(AF_UNIX, 7);
	assert_memory_equal(&sum, &none, sizeof(none));
}

static void test_values(void **state)
{
	static const uint8_t v6_bytes[16] = { 0xfd, 0, [15] = 9 };
	struct ip v4 = ip_v4(0x0a010203), v6 = ip_from_bytes(AF_INET6, v6_bytes);
	struct ip same = ip_from_bytes(AF_INET, "\x0a\x01\x02\x03");
	char text[IP_STR_MAX];

	(void)state;
	assert_memory_equal(&v4, &same, sizeof(v4));
	assert_string_equal(ip_str(&v4, text), "10.1.2.3");
	assert_string_equal(ip_str(&v6, text), "fd00::9");
	assert_int_equal(ip_width_bits(&v4), 32);
	assert_int_equal(ip_width_bytes(&v6), 16);
	assert_int_equal(ip_v4_value(&v4), 0x0a010203);
	assert_int_equal(ip_v4_value(&v6), 0);
	assert_true(ip_value(&v6) == ((u128)0xfd << 120 | 9));
	same = ip_from_value(AF_INET, ((u128)1 << 32) + 5);
	assert_string_equal(ip_str(&same, text), "0.0.0.5");
}

static void test_add_wraps(void **state)
{
	static const struct {
		const char *from;
		uint64_t delta;
		const char *want;
	} cases[] = {
		{ "10.0.0.255", 1, "10.0.1.0" },
		{ "255.255.255.255", 1, "0.0.0.0" },
		{ "255.255.255.0", 512, "0.0.1.0" },
		{ "fd00::ffff:ffff:ffff:ffff", 1, "fd00:0:0:1::" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 2, "::1" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ip from = ip_of(cases[i].from), sum = ip_add(&from, cases[i].delta);
		char text[IP_STR_MAX];

		assert_string_equal(ip_str(&sum, text), cases[i].want);
	}
}

static void test_order(void **state)
{
	static const char *const sorted[] = { "0.0.0.0",  "9.255.255.255", "10.0.0.0",
					      "10.0.0.1", "200.0.0.0",	   "::",
					      "::1",	  "fd00::",	   "fd00:0:0:1::" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(sorted); k++) {
			struct ip a = ip_of(sorted[i]), b = ip_of(sorted[k]);
			int order = ip_compare(&a, &b);

			check((order > 0) - (order < 0) == (i > k) - (i < k), "%s and %s",
			      sorted[i], sorted[k]);
			assert_int_equal(ip_equal(&a, &b), i == k);
		}
	}
}

static void test_kinds(void **state)
{
	static const struct {
		const char *text;
		bool unspecified, link_local, global, endpoint;
	} cases[] = {
		{ "0.0.0.0", true, false, false, false },
		{ "0.1.2.3", false, false, true, false },
		{ "10.1.2.3", false, false, true, true },
		{ "127.0.0.1", false, false, false, false },
		{ "127.255.0.1", false, false, false, false },
		{ "169.254.1.1", false, true, false, true },
		{ "169.253.1.1", false, false, true, true },
		{ "192.168.0.1", false, false, true, true },
		{ "224.0.0.1", false, false, false, false },
		{ "239.1.1.1", false, false, false, false },
		{ "240.0.0.1", false, false, true, true },
		{ "255.255.255.255", false, false, false, false },
		{ "::", true, false, false, false },
		{ "::1", false, false, false, false },
		{ "fe80::1", false, true, false, true },
		{ "febf::1", false, true, false, true },
		{ "fec0::1", false, false, true, true },
		{ "fd00::1", false, false, true, true },
		{ "ff02::1", false, false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ip ip = ip_of(cases[i].text);
		const char *text = cases[i].text;

		check(ip_is_unspecified(&ip) == cases[i].unspecified, "%s unspecified", text);
		check(ip_is_link_local(&ip) == cases[i].link_local, "%s link-local", text);
		check(ip_is_global_unicast(&ip) == cases[i].global, "%s global", text);
		check(ip_is_usable_endpoint(&ip) == cases[i].endpoint, "%s endpoint", text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_print),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_add_wraps),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
