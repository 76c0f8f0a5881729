// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the bodies that the address service is sent.
#include "unit.h"

#include "agent/ipam_request.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define OWNER "\"name\":\"cbr0\",\"cid\":\"c-1\",\"if\":\"eth0\""

static int parse(enum ipam_verb verb, const char *text, struct ipam_request *ret, struct err *e)
{
	return ipam_request_parse(verb, text, strlen(text), ret, e);
}

static void test_add(void **state)
{
	struct ipam_request request;
	char text[IP_STR_MAX];
	struct err e;

	(void)state;
	check(parse(IPAM_ADD,
		    "{\"net\":\"blue\"," OWNER
		    ",\"netns\":\"/run/netns/x\",\"host_if\":\"veth1\",\"ns\":\"n\",\"pod\":\"p\","
		    "\"uid\":\"u\",\"ips\":[\"10.5.34.9/24\",\"fd00::9\"],\"mode\":\"strict\",\"sticky\":true,\"more\":5}",
		    &request, &e) == 0,
	      "%s", e.msg);
	assert_string_equal(request.net, "blue");
	assert_string_equal(request.key.name, "cbr0");
	assert_string_equal(request.key.cid, "c-1");
	assert_string_equal(request.key.ifname, "eth0");
	assert_string_equal(request.netns, "/run/netns/x");
	assert_string_equal(request.pod, "p");
	assert_string_equal(ip_str(&request.asked[FAMILY_V4], text), "10.5.34.9");
	assert_string_equal(ip_str(&request.asked[FAMILY_V6], text), "fd00::9");
	assert_int_equal(request.mode, IPAM_STRICT);
	assert_true(request.sticky);
	ipam_request_free(&request);
	assert_int_equal(parse(IPAM_ADD, "{" OWNER ",\"ips\":null}", &request, &e), 0);
	assert_int_equal(request.mode, IPAM_BEST);
	assert_string_equal(request.pod, "");
	ipam_request_free(&request);
}

static void test_gc(void **state)
{
	struct ipam_request request;
	struct err e;

	(void)state;
	assert_int_equal(parse(IPAM_GC, "{\"name\":\"n\",\"keep\":[{\"cid\":\"a\",\"if\":\"b\"}]}",
			       &request, &e),
			 0);
	assert_int_equal(request.keep_count, 1);
	assert_string_equal(request.keep[0].cid, "a");
	ipam_request_free(&request);
	assert_int_equal(parse(IPAM_GC, "{\"name\":\"n\",\"keep\":[]}", &request, &e), 0);
	assert_int_equal(request.keep_count, 0);
	ipam_request_free(&request);
}

static void test_refused(void **state)
{
	static const struct {
		enum ipam_verb verb;
		const char *text;
		const char *why;
	} cases[] = {
		{ IPAM_ADD, "", "" },
		{ IPAM_ADD, "[]", "object" },
		{ IPAM_ADD, "{}", "name" },
		{ IPAM_ADD, "{\"name\":5}", "name" },
		{ IPAM_ADD, "{\"name\":\"n\"}", "cid" },
		{ IPAM_ADD, "{\"name\":\"n\",\"cid\":\"-x\",\"if\":\"e\"}", "cid" },
		{ IPAM_ADD, "{\"name\":\"n\",\"cid\":\"x/y\",\"if\":\"e\"}", "cid" },
		{ IPAM_ADD, "{\"name\":\"n\",\"cid\":\"x\"}", "if" },
		{ IPAM_ADD, "{\"name\":\"n\",\"cid\":\"x\",\"if\":\"..\"}", "if" },
		{ IPAM_ADD, "{\"name\":\"n\",\"cid\":\"x\",\"if\":\"0123456789abcdef\"}", "if" },
		{ IPAM_ADD, "{" OWNER ",\"ips\":\"10.1.2.3\"}", "ips" },
		{ IPAM_ADD, "{" OWNER ",\"ips\":[5]}", "ips" },
		{ IPAM_ADD, "{" OWNER ",\"ips\":[\"10.1.2.3/33\"]}", "ips" },
		{ IPAM_ADD, "{" OWNER ",\"ips\":[\"10.1.2.3\",\"10.1.2.4\"]}", "more than one" },
		{ IPAM_ADD, "{" OWNER ",\"mode\":\"often\"}", "mode" },
		{ IPAM_ADD, "{" OWNER ",\"sticky\":true}", "sticky" },
		{ IPAM_ADD, "{" OWNER ",\"netns\":\"a\\nb\"}", "netns" },
		{ IPAM_DEL, "{" OWNER ",\"ips\":[\"x\"]}", "ips" },
		{ IPAM_GC, "{\"name\":\"n\"}", "keep" },
		{ IPAM_GC, "{\"name\":\"n\",\"keep\":null}", "keep" },
		{ IPAM_GC, "{\"name\":\"n\",\"keep\":[\"x\"]}", "keep" },
		{ IPAM_GC, "{\"name\":\"n\",\"keep\":[{\"cid\":\"x\"}]}", "if" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ipam_request request;
		struct err e = { 0 };
		int r = parse(cases[i].verb, cases[i].text, &request, &e);

		check(r == -EINVAL && strstr(e.msg, cases[i].why), "%s: %d %s", cases[i].text, r,
		      e.msg);
		ipam_request_free(&request);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_gc),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
