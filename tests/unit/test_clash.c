// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of what two networks of one host cannot both have.
#include "agent/agent_internal.h"
#include "unit.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define TYPE(type) "\"Backend\":{\"Type\":\"" type "\"}}"
#define VXLAN(members) "\"Backend\":{\"Type\":\"vxlan\"" members "}}"

static bool find_link(void *arg, const char *name, struct link *ret)
{
	(void)arg, (void)name, (void)ret;
	return false;
}

static bool find_mac(void *arg, const char *name, struct mac *ret)
{
	(void)arg, (void)name, (void)ret;
	return false;
}

static void open_backend(struct network *network, const char *config)
{
	static const struct backend_host host = { .find_link = find_link,
						  .find_mac = find_mac,
						  .identity = "a host" };
	_cleanup_netconf_ struct netconf conf = { 0 };
	struct underlay underlay = { .ifindex = 3, .name = "eth0", .mtu_bytes = 1500 };
	struct ip none = { 0 };
	struct err e = { 0 };

	assert_int_equal(ip_parse("192.168.9.1", &underlay.ip4), 0);
	assert_int_equal(ip_parse("fd99::1", &underlay.ip6), 0);
	check(netconf_parse(config, strlen(config), &conf, &e) == 0, "%s", e.msg);
	check(backend_new(&conf, &underlay, conf.v4.enabled ? &underlay.ip4 : &none,
			  conf.v6.enabled ? &underlay.ip6 : &none, &host, &network->backend, &e) == 0,
	      "%s", e.msg);
}

struct pair {
	struct agent agent;
	struct network a, b;
};

static void pair_open(struct pair *pair, const char *a, const char *b)
{
	static char name_a[] = "a", name_b[] = "b";

	*pair = (struct pair){ .a.name = name_a, .b.name = name_b };
	pair->a.agent = pair->b.agent = &pair->agent;
	pair->agent.networks = &pair->a;
	pair->a.next = &pair->b;
	if (a)
		open_backend(&pair->a, a);
	open_backend(&pair->b, b);
}

static void pair_close(struct pair *pair)
{
	backend_free(pair->a.backend);
	backend_free(pair->b.backend);
}

static const struct {
	const char *a, *b;
	const char *message; // NULL: both are fine
} cases[] = {
	{ "{\"Network\":\"10.1.0.0/16\"," VXLAN(",\"VNI\":7"),
	  "{\"Network\":\"10.2.0.0/16\"," VXLAN(",\"VNI\":8"), NULL },
	{ "{\"Network\":\"10.1.0.0/16\"," VXLAN(""), "{\"Network\":\"10.2.0.0/16\"," VXLAN(""),
	  "network b: VNI 1 is network a's on this host: choose another Backend.VNI" },
	{ "{\"Network\":\"10.1.0.0/16\"," VXLAN(",\"VNI\":7"),
	  "{\"Network\":\"10.1.0.0/16\"," VXLAN(",\"VNI\":8"),
	  "network b: 10.1.0.0/16 overlaps 10.1.0.0/16 of network a on this host: choose another Network" },
	{ "{\"Network\":\"10.1.0.0/16\"," VXLAN(",\"VNI\":7"),
	  "{\"Network\":\"10.0.0.0/8\",\"SubnetLen\":24," VXLAN(",\"VNI\":8"),
	  "network b: 10.0.0.0/8 overlaps 10.1.0.0/16 of network a on this host: choose another Network" },
	// The kernel tells two devices on one port apart, unless what they understand differs.
	{ "{\"Network\":\"10.1.0.0/16\"," VXLAN(",\"VNI\":7,\"Port\":4789"),
	  "{\"Network\":\"10.2.0.0/16\"," VXLAN(",\"VNI\":8,\"Port\":4789"), NULL },
	{ "{\"Network\":\"10.1.0.0/16\"," VXLAN(",\"VNI\":7,\"Port\":4789"),
	  "{\"Network\":\"10.2.0.0/16\"," VXLAN(",\"VNI\":8,\"Port\":4789,\"GBP\":true"),
	  "network b: UDP port 4789 is network a's on this host: choose another Backend.Port" },
	{ "{\"Network\":\"10.1.0.0/16\"," VXLAN(",\"VNI\":7,\"Port\":4789"),
	  "{\"Network\":\"10.2.0.0/16\"," VXLAN(",\"VNI\":8,\"Port\":4790,\"GBP\":true"), NULL },
	{ "{\"Network\":\"10.1.0.0/16\",\"EnableIPv6\":true,\"IPv6Network\":\"fd10::/48\"," VXLAN(
		  ",\"VNI\":7"),
	  "{\"Network\":\"10.2.0.0/16\",\"EnableIPv6\":true,\"IPv6Network\":\"fd10::/56\"," VXLAN(
		  ",\"VNI\":8"),
	  "network b: fd10::/56 overlaps fd10::/48 of network a on this host: choose another Network" },
	{ "{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"alloc\"}}",
	  "{\"Network\":\"10.2.0.0/16\",\"Backend\":{\"Type\":\"alloc\"}}", NULL },
	// There is one device of ipip, and none of host-gw.
	{ "{\"Network\":\"10.1.0.0/16\"," TYPE("ipip"), "{\"Network\":\"10.2.0.0/16\"," TYPE("ipip"),
	  "network b: device flannel.ipip is network a's on this host: choose another Backend.Type" },
	{ "{\"Network\":\"10.1.0.0/16\"," TYPE("host-gw"),
	  "{\"Network\":\"10.2.0.0/16\"," TYPE("host-gw"), NULL },
	{ "{\"Network\":\"10.1.0.0/16\"," TYPE("ipip"), "{\"Network\":\"10.2.0.0/16\"," VXLAN(""),
	  NULL },
};

static void test_pairs(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pair pair;
		struct err e = { 0 };
		int r;

		pair_open(&pair, cases[i].a, cases[i].b);
		r = clash_check(&pair.b, &e);
		check(r == (cases[i].message ? -EEXIST : 0), "case %zu: %d %s", i, r, e.msg);
		check(strcmp(e.msg, cases[i].message ? cases[i].message : "") == 0, "case %zu: %s",
		      i, e.msg);
		// One that leaves still has what it has.
		pair.agent.networks = &pair.b;
		pair.agent.leaving = &pair.a;
		pair.a.next = NULL;
		pair.a.is_leaving = true;
		assert_int_equal(clash_check(&pair.b, &e), r);
		pair_close(&pair);
	}
}

static void test_who_was_here_goes_first(void **state)
{
	struct pair pair;
	struct err e = { 0 };

	(void)state;
	pair_open(&pair, NULL, cases[0].b);
	assert_int_equal(clash_check(&pair.b, &e), 0);
	pair.a.was_here = true;
	assert_int_equal(clash_check(&pair.b, &e), -EAGAIN);
	assert_string_equal(e.msg,
			    "network b waits until network a, which was on this host before, is up");
	pair.b.was_here = true;
	assert_int_equal(clash_check(&pair.b, &e), 0);
	// Not for one that cannot come up.
	pair.b.was_here = false;
	pair.a.config_error.code = -EINVAL;
	assert_int_equal(clash_check(&pair.b, &e), 0);
	pair.a.config_error.code = 0;
	pair.a.bring_up_error.code = -ENODEV;
	assert_int_equal(clash_check(&pair.b, &e), 0);
	pair_close(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_who_was_here_goes_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
