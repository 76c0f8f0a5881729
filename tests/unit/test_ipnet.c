// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/ipnet.
#include "unit.h"

#include "core/ipnet.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

static struct ipnet net_of(const char *text)
{
	struct ipnet net = { 0 };

	if (text[0] != '\0')
		check(ipnet_parse(text, &net) == 0, "%s is refused", text);
	return net;
}

static struct ip ip_of(const char *text)
{
	struct ip ip = { 0 };

	if (text[0] != '\0')
		check(ip_parse(text, &ip) == 0, "%s is refused", text);
	return ip;
}

static void test_parse_and_print(void **state)
{
	static const struct {
		const char *text, *want, *last;
	} cases[] = {
		{ "10.5.6.7/16", "10.5.0.0/16", "10.5.255.255" },
		{ "10.5.6.7/32", "10.5.6.7/32", "10.5.6.7" },
		{ "10.5.6.7/31", "10.5.6.6/31", "10.5.6.7" },
		{ "1.2.3.4/0", "0.0.0.0/0", "255.255.255.255" },
		{ "255.255.255.255/1", "128.0.0.0/1", "255.255.255.255" },
		{ "10.0.0.0/08", "10.0.0.0/8", "10.255.255.255" },
		{ "fd00:1:2:3:4::/48", "fd00:1:2::/48", "fd00:1:2:ffff:ffff:ffff:ffff:ffff" },
		{ "fd00::1/128", "fd00::1/128", "fd00::1" },
		{ "ffff::/0", "::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "fd00::ffff/127", "fd00::fffe/127", "fd00::ffff" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipnet net = net_of(cases[i].text);
		struct ip last = ipnet_last(&net);
		char text[IPNET_STR_MAX];

		assert_string_equal(ipnet_str(&net, text), cases[i].want);
		assert_string_equal(ip_str(&last, text), cases[i].last);
	}
}

static void test_refused(void **state)
{
	static const char *const cases[] = {
		"",
		"/",
		"10.0.0.0",
		"10.0.0.0/",
		"10.0.0.0/33",
		"10.0.0.0/-1",
		"10.0.0.0/+8",
		"10.0.0.0/8 ",
		"10.0.0.0/ 8",
		"10.0.0/8",
		"/8",
		"fd00::/129",
		"fd00::/64/1",
		"10.0.0.0/0x8",
		"10.0.0.0/4294967304",
		"10.0.0.0/18446744073709551624",
		"::ffff:1.2.3.4/96",
		"none/0",
		"1111111111111111111111111111111111111111111111111111111111111111/8",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipnet net = { .len = 77 };

		check(ipnet_parse(cases[i], &net) == -EINVAL, "\"%s\" was taken", cases[i]);
		assert_int_equal(net.len, 77);
	}
}

static void test_of(void **state)
{
	struct ip ip = ip_of("10.1.2.3"), none = { 0 };
	struct ipnet net = ipnet_of(&ip, 24), want = net_of("10.1.2.0/24");

	(void)state;
	assert_memory_equal(&net, &want, sizeof(net));
	net = ipnet_of(&ip, 200); // clamped
	want = net_of("10.1.2.3/32");
	assert_memory_equal(&net, &want, sizeof(net));
	net = ipnet_of(&none, 24);
	assert_false(ipnet_is_set(&net));
	assert_int_equal(net.len, 0);
}

static void test_contains_and_overlaps(void **state)
{
	static const struct {
		const char *a, *b;
		bool a_has_b, b_has_a;
	} cases[] = {
		{ "10.1.0.0/16", "10.1.2.0/24", true, false },
		{ "10.1.0.0/16", "10.1.0.0/24", true, false }, // the same address
		{ "10.1.2.0/24", "10.1.2.0/24", true, true },
		{ "10.1.2.0/24", "10.1.3.0/24", false, false },
		{ "0.0.0.0/0", "200.0.0.0/8", true, false },
		{ "10.1.2.0/25", "10.1.2.128/25", false, false },
		{ "fd00::/48", "fd00:0:0:9::/64", true, false },
		{ "::/0", "fd00::/48", true, false },
		{ "::/0", "0.0.0.0/0", false, false }, // families never meet
		{ "fd00::/64", "fd00:0:0:1::/64", false, false },
		{ "fd00::/128", "fd00::1/128", false, false },
		{ "", "10.0.0.0/8", false, false },
		{ "", "", false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipnet a = net_of(cases[i].a), b = net_of(cases[i].b);

		check(ipnet_contains_net(&a, &b) == cases[i].a_has_b, "%s in %s", cases[i].b,
		      cases[i].a);
		check(ipnet_contains_net(&b, &a) == cases[i].b_has_a, "%s in %s", cases[i].a,
		      cases[i].b);
		check(ipnet_overlaps(&a, &b) == (cases[i].a_has_b || cases[i].b_has_a), "case %zu", i);
		check(ipnet_overlaps(&b, &a) == (cases[i].a_has_b || cases[i].b_has_a), "case %zu", i);
	}
}

static void test_contains_address(void **state)
{
	static const struct {
		const char *net, *ip;
		bool want;
	} cases[] = {
		{ "10.1.2.0/24", "10.1.2.255", true },
		{ "10.1.2.0/24", "10.1.3.0", false },
		{ "10.1.2.0/24", "10.1.1.255", false },
		{ "10.1.2.3/32", "10.1.2.3", true },
		{ "0.0.0.0/0", "255.255.255.255", true },
		{ "::/0", "10.1.2.3", false },
		{ "fd00::/64", "fd00::ffff", true },
		{ "fd00::/64", "fd00:0:0:1::", false },
		{ "10.1.2.0/24", "", false },
		{ "", "10.1.2.3", false },
		{ "", "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipnet net = net_of(cases[i].net);
		struct ip ip = ip_of(cases[i].ip);

		check(ipnet_contains(&net, &ip) == cases[i].want, "%s in %s", cases[i].ip,
		      cases[i].net);
	}
}

static void test_size_and_next(void **state)
{
	static const struct {
		const char *net;
		uint64_t size; // 0: 2^64 or more
		uint64_t steps;
		const char *next;
	} cases[] = {
		{ "10.1.2.0/24", 256, 1, "10.1.3.0/24" },
		{ "10.1.2.0/24", 256, 0, "10.1.2.0/24" },
		{ "10.1.255.0/24", 256, 1, "10.2.0.0/24" },
		{ "255.255.255.0/24", 256, 1, "0.0.0.0/24" },
		{ "255.0.0.0/8", 1 << 24, 1, "0.0.0.0/8" },
		{ "0.0.0.0/0", 1ULL << 32, 3, "0.0.0.0/0" },
		{ "1.2.3.4/32", 1, 2, "1.2.3.6/32" },
		{ "fd00::/64", 0, 0x10000, "fd00:0:1::/64" },
		{ "fd00::/65", 1ULL << 63, 3, "fd00:0:0:1:8000::/65" },
		{ "::/0", 0, 9, "::/0" },
		{ "ffff::/16", 0, 1, "::/16" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipnet net = net_of(cases[i].net), next = ipnet_next(&net, cases[i].steps);
		char text[IPNET_STR_MAX];

		if (cases[i].size > 0)
			check(ipnet_size(&net) == cases[i].size, "size of %s", cases[i].net);
		assert_string_equal(ipnet_str(&next, text), cases[i].next);
	}
}

static void test_size_of_everything(void **state)
{
	struct ipnet all = net_of("::/0"), half = net_of("::/64"), none = { 0 };

	(void)state;
	assert_true(ipnet_size(&all) == 0);
	assert_true(ipnet_size(&half) == (u128)1 << 64);
	assert_true(ipnet_size(&none) == 0);
}

static void test_order(void **state)
{
	static const char *const sorted[] = {
		"", "10.0.0.0/8", "10.0.0.0/16", "10.1.0.0/16", "fd00::/48", "fd00::/64"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sorted); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(sorted); k++) {
			struct ipnet a = net_of(sorted[i]), b = net_of(sorted[k]);
			int order = ipnet_compare(&a, &b);

			check((order > 0) - (order < 0) == (i > k) - (i < k), "\"%s\" and \"%s\"",
			      sorted[i], sorted[k]);
			assert_int_equal(ipnet_equal(&a, &b), i == k);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_print),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_of),
		cmocka_unit_test(test_contains_and_overlaps),
		cmocka_unit_test(test_contains_address),
		cmocka_unit_test(test_size_and_next),
		cmocka_unit_test(test_size_of_everything),
		cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
