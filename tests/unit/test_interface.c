// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the interface choice on real devices of a network namespace.
//
//   d0: 10.50.1.1/24 .. 10.50.1.4/24, 169.254.9.1/16, fd50:1::1/64, a deprecated and a temporary-looking one, mtu 1400
//   d1: 10.50.2.1/24, fd50:2::1/64; default routes of both families by d1 (metric 10) and by d0 (metric 20)
//   n0: nothing      v4: 10.50.3.1/24 only     v6: fd50:4::1/64 only
#include "unit.h"

#include "agent/interface.h"
#include "agent/interface_regex.h"
#include "core/log.h"
#include "core/mem.h"
#include "netns.h"

#include <errno.h>
#include <string.h>

static struct netlink *nl;

// With a carrier, which a veth has when both ends are up. Some kernels lack the dummy kind.
static void device(const char *name, const char *peer)
{
	netns_run("ip", "link", "add", name, "type", "veth", "peer", "name", peer, NULL);
	netns_run("ip", "link", "set", peer, "addrgenmode", "none", NULL);
	netns_run("ip", "link", "set", peer, "up", NULL);
	// No link-local addresses by chance: the kernel's come late.
	netns_run("ip", "link", "set", name, "addrgenmode", "none", NULL);
	netns_run("ip", "link", "set", name, "up", NULL);
}

static void address(const char *address, const char *device)
{
	netns_run("ip", "address", "add", address, "dev", device,
		  strchr(address, ':') ? "nodad" : NULL, NULL);
}

static int set_up(void **state)
{
	static const char *const devices[] = { "d0", "d1", "n0", "v4", "v6" };
	static const char *const peers[] = { "pa", "pb", "pc", "pd", "pe" };
	struct err e = { 0 };

	(void)state;
	netns_enter();
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
		device(devices[i], peers[i]);
	netns_run("ip", "link", "set", "d0", "mtu", "1400", NULL);
	address("169.254.9.1/16", "d0");
	address("10.50.1.1/24", "d0");
	address("10.50.1.2/24", "d0");
	address("10.50.1.3/24", "d0");
	address("10.50.1.4/24", "d0");
	address("fe80::9/64", "d0");
	netns_run("ip", "address", "add", "fd50:1::dead/64", "dev", "d0", "nodad", "preferred_lft",
		  "0", NULL);
	netns_run("ip", "address", "add", "fd50:1::5/64", "dev", "d0", "nodad", "valid_lft", "1000",
		  "preferred_lft", "1000", NULL);
	address("fd50:1::1/64", "d0");
	address("10.50.2.1/24", "d1");
	address("fd50:2::1/64", "d1");
	address("10.50.3.1/24", "v4");
	address("fd50:4::1/64", "v6");
	netns_run("ip", "route", "add", "default", "via", "10.50.1.254", "metric", "20", NULL);
	netns_run("ip", "route", "add", "default", "via", "10.50.2.254", "metric", "10", NULL);
	netns_run("ip", "-6", "route", "add", "default", "via", "fd50:1::fe", "metric", "20", NULL);
	netns_run("ip", "-6", "route", "add", "default", "via", "fd50:2::fe", "metric", "10", NULL);
	netns_run("ip", "route", "add", "192.0.2.0/24", "via", "10.50.1.254", "src", "10.50.1.3", NULL);
	netns_run("ip", "-6", "route", "add", "2001:db8::/32", "via", "fd50:1::fe", "src",
		  "fd50:1::5", NULL);
	check(netlink_open(0, &nl, &e) == 0, "%s", e.msg);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	nl = netlink_close(nl);
	return 0;
}

enum stack { V4 = 1, V6 = 2, DUAL = V4 | V6 };

struct row {
	const char *what;
	enum stack stack;
	const char *iface[4], *regex[4], *reach, *public_ip, *public_ipv6;
	// wanted; NULL: none
	const char *name, *ip4, *ip6, *out4, *out6;
	int code; // of the refusal, with a part of its message in name
};

static struct ip ip_of(const char *text)
{
	struct ip ip = { 0 };

	if (text)
		check(ip_parse(text, &ip) == 0, "%s", text);
	return ip;
}

static void compare(const char *what, const char *member, const char *want, const struct ip *got)
{
	struct ip ip = ip_of(want);
	char text[IP_STR_MAX];

	check(ip_equal(&ip, got), "%s: %s: want %s, got %s", what, member, want ? want : "none",
	      ip_str(got, text));
}

static void run(const struct row *row)
{
	const struct interface_request request = {
		.ifaces = row->iface,
		.regexes = row->regex,
		.can_reach = row->reach,
		.public_ip = ip_of(row->public_ip),
		.public_ipv6 = ip_of(row->public_ipv6),
		.want_v4 = row->stack & V4,
		.want_v6 = row->stack & V6,
	};
	struct underlay_choice choice = { 0 };
	struct err e = { 0 };
	int r = interface_choose(nl, &request, &choice, &e);

	check(r == row->code, "%s: %d %s", row->what, r, e.msg);
	if (row->code < 0) {
		check(strncmp(e.msg, row->name, strlen(row->name)) == 0, "%s: %s", row->what, e.msg);
		check(strstr(e.msg, " (there are: lo (127.0.0.1"), "%s: %s", row->what, e.msg);
		check(choice.ifindex == 0, "%s: written", row->what);
		return;
	}
	check(strcmp(choice.name, row->name) == 0, "%s: got %s", row->what, choice.name);
	check(choice.ifindex == if_nametoindex(row->name), "%s: index %u", row->what, choice.ifindex);
	check(choice.mtu_bytes == (strcmp(row->name, "d0") == 0 ? 1400 : 1500), "%s: mtu", row->what);
	compare(row->what, "IPv4", row->ip4, &choice.ip4);
	compare(row->what, "IPv6", row->ip6, &choice.ip6);
	compare(row->what, "public IPv4", row->out4, &choice.public_ip);
	compare(row->what, "public IPv6", row->out6, &choice.public_ipv6);
}

static const struct row by_flag[] = {
	{ "name", V4, .iface = { "d0" }, .name = "d0", .ip4 = "10.50.1.1", .out4 = "10.50.1.1" },
	{ "name, v6", V6, .iface = { "d0" }, .name = "d0", .ip6 = "fd50:1::1", .out6 = "fd50:1::1" },
	{ "name, dual", DUAL, .iface = { "d0" }, .name = "d0", .ip4 = "10.50.1.1",
	  .ip6 = "fd50:1::1", .out4 = "10.50.1.1", .out6 = "fd50:1::1" },
	{ "address", V4, .iface = { "10.50.1.2" }, .name = "d0", .ip4 = "10.50.1.2",
	  .out4 = "10.50.1.2" },
	{ "link-local address", V4, .iface = { "169.254.9.1" }, .name = "d0", .ip4 = "169.254.9.1",
	  .out4 = "169.254.9.1" },
	{ "address, v6", V6, .iface = { "fd50:1::5" }, .name = "d0", .ip6 = "fd50:1::5",
	  .out6 = "fd50:1::5" },
	{ "deprecated address, v6", V6, .iface = { "fd50:1::dead" }, .name = "d0",
	  .ip6 = "fd50:1::dead", .out6 = "fd50:1::dead" },
	{ "address, dual", DUAL, .iface = { "10.50.1.3" }, .name = "d0", .ip4 = "10.50.1.3",
	  .ip6 = "fd50:1::1", .out4 = "10.50.1.3", .out6 = "fd50:1::1" },
	{ "address, dual, public", DUAL, .iface = { "10.50.1.3" }, .public_ipv6 = "fd50:1::5",
	  .name = "d0", .ip4 = "10.50.1.3", .ip6 = "fd50:1::5", .out4 = "10.50.1.3",
	  .out6 = "fd50:1::5" },
	{ "v6 address, dual", DUAL, .iface = { "fd50:1::5" }, .name = "d0", .ip4 = "10.50.1.1",
	  .ip6 = "fd50:1::5", .out4 = "10.50.1.1", .out6 = "fd50:1::5" },
	{ "v6 address, dual, public", DUAL, .iface = { "fd50:1::5" }, .public_ipv6 = "fd50:2::1",
	  .name = "d1", .ip4 = "10.50.2.1", .ip6 = "fd50:2::1", .out4 = "10.50.2.1",
	  .out6 = "fd50:2::1" },
	{ "addresses of two, dual", DUAL, .iface = { "10.50.1.3" }, .public_ipv6 = "fd50:2::1",
	  .code = -ENODEV, .name = "--iface: 10.50.1.3 is on d0 but --public-ipv6 fd50:2::1 is on d1" },
	{ "public", V4, .iface = { "d0" }, .public_ip = "198.51.100.1", .name = "d0",
	  .ip4 = "10.50.1.1", .out4 = "198.51.100.1" },
	{ "public of both, v4", V4, .iface = { "d0" }, .public_ip = "198.51.100.1",
	  .public_ipv6 = "2001:db8::9", .name = "d0", .ip4 = "10.50.1.1", .out4 = "198.51.100.1",
	  .out6 = "2001:db8::9" },
	{ "public of both, v6", V6, .iface = { "d0" }, .public_ip = "198.51.100.1",
	  .public_ipv6 = "2001:db8::9", .name = "d0", .ip6 = "fd50:1::1", .out6 = "2001:db8::9" },
	{ "second of two", V4, .iface = { "e9", "d1" }, .name = "d1", .ip4 = "10.50.2.1",
	  .out4 = "10.50.2.1" },
	{ "first of two", V4, .iface = { "d0", "d1" }, .name = "d0", .ip4 = "10.50.1.1",
	  .out4 = "10.50.1.1" },
	{ "one without addresses", V4, .iface = { "n0", "d1" }, .name = "d1", .ip4 = "10.50.2.1",
	  .out4 = "10.50.2.1" },
	{ "dual on v4 alone", DUAL, .iface = { "v4", "d1" }, .name = "d1", .ip4 = "10.50.2.1",
	  .ip6 = "fd50:2::1", .out4 = "10.50.2.1", .out6 = "fd50:2::1" },
	{ "no such", V4, .iface = { "e9" }, .code = -ENODEV, .name = "--iface: no interface \"e9\"" },
	{ "no address", V4, .iface = { "n0" }, .code = -EADDRNOTAVAIL,
	  .name = "--iface: interface n0 has no usable IPv4 address" },
	{ "no v6 address", DUAL, .iface = { "v4" }, .code = -EADDRNOTAVAIL,
	  .name = "--iface: interface v4 has no usable IPv6 address" },
	{ "loopback only", V4, .iface = { "lo" }, .code = -EADDRNOTAVAIL,
	  .name = "--iface: interface lo has no usable IPv4 address" },
	{ "foreign address", V4, .iface = { "10.9.9.9" }, .code = -EADDRNOTAVAIL,
	  .name = "--iface: no interface has the address 10.9.9.9" },
	{ "wrong family", V4, .iface = { "fd50:1::1" }, .code = -EADDRNOTAVAIL,
	  .name = "--iface: fd50:1::1 is of a family that the network does not have" },
	{ "all reasons", V4, .iface = { "e8", "e9" }, .code = -ENODEV,
	  .name = "--iface: no interface \"e8\"; --iface: no interface \"e9\"" },
};

static const struct row by_regex[] = {
	{ "address", V4, .regex = { "^10\\.50\\.1\\.[34]$" }, .name = "d0", .ip4 = "10.50.1.3",
	  .out4 = "10.50.1.3" },
	{ "unanchored address", V4, .regex = { "50.2" }, .name = "d1", .ip4 = "10.50.2.1",
	  .out4 = "10.50.2.1" },
	{ "name", V4, .regex = { "^d[0-9]" }, .name = "d0", .ip4 = "10.50.1.1", .out4 = "10.50.1.1" },
	{ "unanchored name", V4, .regex = { "1$" }, .name = "d0", .ip4 = "10.50.1.1",
	  .out4 = "10.50.1.1" },
	{ "not a link-local one first", V4, .regex = { "169|\\.1\\.4" }, .name = "d0",
	  .ip4 = "10.50.1.4", .out4 = "10.50.1.4" },
	{ "link-local when asked", V4, .regex = { "^169" }, .name = "d0", .ip4 = "169.254.9.1",
	  .out4 = "169.254.9.1" },
	{ "v6", V6, .regex = { "^fd50:2:" }, .name = "d1", .ip6 = "fd50:2::1", .out6 = "fd50:2::1" },
	{ "no deprecated", V6, .regex = { "dead$", "^d1$" }, .name = "d1", .ip6 = "fd50:2::1",
	  .out6 = "fd50:2::1" },
	{ "dual needs both", DUAL, .regex = { "^(10.50.3|fd50:4)", "^(10\\.50\\.2|fd50:2)" },
	  .name = "d1", .ip4 = "10.50.2.1", .ip6 = "fd50:2::1", .out4 = "10.50.2.1",
	  .out6 = "fd50:2::1" },
	{ "public", V4, .regex = { "^d0$" }, .public_ip = "198.51.100.1", .name = "d0",
	  .ip4 = "10.50.1.1", .out4 = "198.51.100.1" },
	{ "after iface", V4, .iface = { "e9" }, .regex = { "^d1$" }, .name = "d1",
	  .ip4 = "10.50.2.1", .out4 = "10.50.2.1" },
	{ "iface first", V4, .iface = { "d1" }, .regex = { "^d0$" }, .name = "d1",
	  .ip4 = "10.50.2.1", .out4 = "10.50.2.1" },
	{ "bad one, then a good one", V4, .regex = { "d(", "^d1$" }, .name = "d1",
	  .ip4 = "10.50.2.1", .out4 = "10.50.2.1" },
	{ "bad", V4, .regex = { "d(" }, .code = -EINVAL,
	  .name = "--iface-regex: \"d(\": missing closing parenthesis at character 3" },
	{ "none", V4, .regex = { "^e" }, .code = -ENODEV,
	  .name = "--iface-regex: \"^e\" matches no interface" },
	{ "one that never ends", V4, .regex = { "^(([a-z0-9.]+)+)+#$" }, .code = -ENODEV,
	  .name = "--iface-regex: \"^(([a-z0-9.]+)+)+#$\" matches no interface" },
};

static const struct row by_route[] = {
	{ "reach", V4, .reach = "192.0.2.7", .name = "d0", .ip4 = "10.50.1.3", .out4 = "10.50.1.3" },
	{ "reach, dual", DUAL, .reach = "192.0.2.7", .name = "d0", .ip4 = "10.50.1.3",
	  .ip6 = "fd50:1::1", .out4 = "10.50.1.3", .out6 = "fd50:1::1" },
	{ "reach by v6", V6, .reach = "2001:db8::1", .name = "d0", .ip6 = "fd50:1::5",
	  .out6 = "fd50:1::5" },
	{ "reach, v6 network", V6, .reach = "192.0.2.7", .name = "d0", .ip6 = "fd50:1::1",
	  .out6 = "fd50:1::1" },
	{ "reach after regex", V4, .regex = { "^e" }, .reach = "192.0.2.7", .name = "d0",
	  .ip4 = "10.50.1.3", .out4 = "10.50.1.3" },
	{ "regex first", V4, .regex = { "^d1$" }, .reach = "192.0.2.7", .name = "d1",
	  .ip4 = "10.50.2.1", .out4 = "10.50.2.1" },
	{ "default", V4, .name = "d1", .ip4 = "10.50.2.1", .out4 = "10.50.2.1" },
	{ "default, v6", V6, .name = "d1", .ip6 = "fd50:2::1", .out6 = "fd50:2::1" },
	{ "default, dual", DUAL, .name = "d1", .ip4 = "10.50.2.1", .ip6 = "fd50:2::1",
	  .out4 = "10.50.2.1", .out6 = "fd50:2::1" },
	{ "owner of public-ip", V4, .public_ip = "10.50.1.2", .name = "d0", .ip4 = "10.50.1.2",
	  .out4 = "10.50.1.2" },
	{ "owner of public-ipv6", V6, .public_ipv6 = "fd50:1::1", .name = "d0", .ip6 = "fd50:1::1",
	  .out6 = "fd50:1::1" },
	{ "owner of both", DUAL, .public_ip = "10.50.1.2", .public_ipv6 = "fd50:1::5", .name = "d0",
	  .ip4 = "10.50.1.2", .ip6 = "fd50:1::5", .out4 = "10.50.1.2", .out6 = "fd50:1::5" },
	{ "public of the other family is no hint", V6, .public_ip = "10.50.1.2", .name = "d1",
	  .ip6 = "fd50:2::1", .out6 = "fd50:2::1" },
	{ "nobody's public-ip", V4, .public_ip = "198.51.100.1", .code = -EADDRNOTAVAIL,
	  .name = "--public-ip without --iface: no interface has the address 198.51.100.1" },
};

static void run_all(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		run(&rows[i]);
}

static void test_flag(void **state)
{
	(void)state;
	run_all(by_flag, ARRAY_SIZE(by_flag));
}

static void test_regex(void **state)
{
	(void)state;
	run_all(by_regex, ARRAY_SIZE(by_regex));
}

static void test_route(void **state)
{
	(void)state;
	run_all(by_route, ARRAY_SIZE(by_route));
}

static void test_default_routes_that_do_not_help(void **state)
{
	static const struct row two = {
		"two devices", DUAL, .code = -ENODEV,
		.name = "interface: the default routes are on d0 (IPv4) and d1 (IPv6); --iface names one"
	};
	static const struct row multipath = {
		"multipath", V4, .code = -ENODEV,
		.name = "interface: the IPv4 default route is over several interfaces; --iface names one"
	};
	static const struct row none = {
		"none", V4, .code = -ENETUNREACH,
		.name = "interface: no IPv4 default route; --iface names an interface"
	};
	static const struct row blackhole = {
		"none but a blackhole", V4, .code = -ENETUNREACH,
		.name = "interface: no IPv4 default route; --iface names an interface"
	};
	static const struct row unreachable = { "reach", V4, .reach = "8.8.8.8",
						.code = -ENETUNREACH, .name = "--iface-can-reach: " };

	(void)state;
	netns_run("ip", "route", "del", "default", "metric", "10", NULL);
	run(&two);
	netns_run("ip", "route", "add", "default", "metric", "5", "nexthop", "via", "10.50.1.254",
		  "nexthop", "via", "10.50.2.254", NULL);
	run(&multipath);
	netns_run("ip", "route", "del", "default", "metric", "5", NULL);
	netns_run("ip", "route", "del", "default", "metric", "20", NULL);
	run(&none);
	run(&unreachable);
	netns_run("ip", "route", "add", "blackhole", "default", NULL);
	run(&blackhole);
}

// What the agent must see to follow an interface that changes under it.
static void test_equal(void **state)
{
	const struct interface_request request = { .ifaces = (const char *const[]){ "d0", NULL },
						   .want_v4 = true };
	struct underlay_choice before, after;
	struct err e;

	(void)state;
	assert_int_equal(interface_choose(nl, &request, &before, &e), 0);
	assert_int_equal(interface_choose(nl, &request, &after, &e), 0);
	assert_true(underlay_choice_equal(&before, &after));
	netns_run("ip", "link", "set", "d0", "mtu", "1390", NULL);
	assert_int_equal(interface_choose(nl, &request, &after, &e), 0);
	assert_false(underlay_choice_equal(&before, &after));
	assert_int_equal(after.mtu_bytes, 1390);
	netns_run("ip", "link", "set", "d0", "mtu", "1400", NULL);
	netns_run("ip", "address", "flush", "dev", "d0", "to", "10.50.1.0/24", NULL);
	assert_int_equal(interface_choose(nl, &request, &after, &e), 0);
	assert_false(underlay_choice_equal(&before, &after));
}

static void test_patterns(void **state)
{
	struct interface_regex *regex = NULL;
	char longest[1100];
	struct err e;

	(void)state;
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(interface_regex_new(longest, &regex, &e), -EINVAL);
	assert_int_equal(interface_regex_new("\\C", &regex, &e), -EINVAL);
	memset(longest, '(', 200);
	memset(longest + 200, ')', 200);
	longest[400] = '\0';
	assert_int_equal(interface_regex_new(longest, &regex, &e), -EINVAL);
	assert_int_equal(interface_regex_new("", &regex, &e), 0);
	assert_true(interface_regex_matches(regex, ""));
	assert_null(interface_regex_free(regex));
	// The right side would match, but the left one takes hundreds of thousands of steps to say no.
	assert_int_equal(interface_regex_new("^(([a-z]+)+)+#|^abc", &regex, &e), 0);
	assert_true(interface_regex_matches(regex, "abcd"));
	assert_false(interface_regex_matches(regex, "abcdefghijklm"));
	interface_regex_free(regex);
	assert_null(interface_regex_free(NULL));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_flag),  TEST(test_regex),
		TEST(test_route), TEST(test_default_routes_that_do_not_help),
		TEST(test_equal), cmocka_unit_test(test_patterns),
	};

	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
