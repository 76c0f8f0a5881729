// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of route look-ups against a real kernel.

#include "kernel/route.h"
#include "netns.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MANY 5000

static struct netlink *nl;
static uint32_t device;

static void set_up(unsigned int without)
{
	struct err e = { 0 };

	netns_enter();
	netns_run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", NULL);
	netns_run("ip", "link", "set", "v0", "up", NULL);
	netns_run("ip", "link", "set", "v1", "up", NULL);
	netns_run("ip", "addr", "add", "10.99.0.1/24", "dev", "v0", NULL);
	netns_run("ip", "addr", "add", "fd99::1/64", "dev", "v0", "nodad", NULL);
	netns_run("ip", "route", "add", "10.98.0.0/16", "via", "10.99.0.254", NULL);
	netns_run("ip", "route", "add", "unreachable", "10.97.0.0/16", NULL);
	netns_run("ip", "route", "add", "prohibit", "10.96.0.0/16", NULL);
	netns_run("ip", "-6", "route", "add", "fd98::/64", "via", "fd99::254", NULL);
	netns_run("ip", "-6", "route", "add", "unreachable", "fd97::/64", NULL);
	netns_run("ip", "-6", "route", "add", "blackhole", "fd96::/64", NULL);
	netns_run("ip", "-6", "route", "add", "prohibit", "fd95::/64", NULL);
	device = if_nametoindex("v0");
	if (netlink_open(without, &nl, &e) < 0)
		fail_msg("netlink_open: %s", e.msg);
}

struct question {
	const char *destination;
	int error;
	const char *gateway; // NULL: none
	const char *prefsrc;
	uint8_t type;
};

static const struct question questions[] = {
	{ "10.99.0.7", 0, NULL, "10.99.0.1", RTN_UNICAST },
	{ "10.98.3.7", 0, "10.99.0.254", "10.99.0.1", RTN_UNICAST },
	{ "10.99.0.1", 0, NULL, "10.99.0.1", RTN_LOCAL },
	{ "10.97.0.1", -EHOSTUNREACH, NULL, NULL, 0 },
	{ "10.96.0.1", -EACCES, NULL, NULL, 0 },
	{ "8.8.8.8", -ENETUNREACH, NULL, NULL, 0 },
	{ "fd99::7", 0, NULL, "fd99::1", RTN_UNICAST },
	{ "fd98::7", 0, "fd99::254", "fd99::1", RTN_UNICAST },
	{ "fd97::7", -EHOSTUNREACH, NULL, NULL, 0 },
	{ "fd96::7", -EINVAL, NULL, NULL, 0 },
	{ "fd95::7", -EACCES, NULL, NULL, 0 },
	{ "2001:db8::1", -ENETUNREACH, NULL, NULL, 0 },
};

static void compare(const char *question, const char *want, const struct ip *got)
{
	char text[IP_STR_MAX];

	if (want && strcmp(ip_str(got, text), want) != 0)
		fail_msg("%s: want %s, got %s", question, want, text);
	if (!want && ip_is_set(got))
		fail_msg("%s: want none, got %s", question, ip_str(got, text));
}

static void ask_all(unsigned int without)
{
	struct route_answer answer;
	struct ip destination;
	struct err e;
	int r;

	set_up(without);
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
		const struct question *question = &questions[i];

		e = (struct err){ 0 };
		answer = (struct route_answer){ .ifindex = 4711 };
		assert_int_equal(ip_parse(question->destination, &destination), 0);
		r = route_get(nl, &destination, &answer, &e);
		if (r != question->error)
			fail_msg("%s: want %d, got %d (%s)", question->destination, question->error,
				 r, e.msg);
		if (r < 0) {
			assert_non_null(strstr(e.msg, question->destination));
			assert_int_equal(answer.ifindex, 4711);
			continue;
		}
		compare(question->destination, question->gateway, &answer.gateway);
		compare(question->destination, question->prefsrc, &answer.prefsrc);
		assert_int_equal(answer.type, question->type);
		if (answer.type == RTN_UNICAST)
			assert_int_equal(answer.ifindex, device);
	}
	netlink_close(nl);
}

static void test_answers(void **state)
{
	(void)state;
	ask_all(0);
}

static void test_answers_without_strict_checking(void **state)
{
	(void)state;
	ask_all(1u << NETLINK_FEATURE_STRICT);
}

static void test_many(void **state)
{
	static struct ip destinations[MANY];
	static struct route_answer answers[MANY];
	static int errors[MANY];
	struct err e = { 0 };
	uint64_t sends;

	(void)state;
	set_up(0);
	for (uint32_t i = 0; i < MANY; i++)
		destinations[i] = ip_v4((i % 3 == 0   ? 0x0a620000
					 : i % 3 == 1 ? 0x0a610000
						      : 0x0a630002) +
					i / 100);
	sends = netlink_stats(nl)->sends;
	if (route_get_many(nl, destinations, MANY, answers, errors, &e) < 0)
		fail_msg("%s", e.msg);
	for (uint32_t i = 0; i < MANY; i++) {
		assert_int_equal(errors[i], i % 3 == 1 ? -EHOSTUNREACH : 0);
		if (errors[i] == 0)
			assert_int_equal(ip_is_set(&answers[i].gateway), i % 3 == 0);
	}
	assert_in_range(netlink_stats(nl)->sends - sends, 1, MANY / 100);
	assert_int_equal(route_get_many(nl, destinations, 0, answers, errors, &e), 0);
	netlink_close(nl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_answers_without_strict_checking),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
