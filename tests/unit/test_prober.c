// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the prober with real sockets, in a network namespace of its own whose loopback answers for 10.0.0.0/8 and fd00::/64.
#include "unit.h"

#include "core/mem.h"
#include "loop_end.h"
#include "netns.h"
#include "probe/echo_socket.h"
#include "probe/prober.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECOND_US 1000000
#define PATIENCE_US (60 * SECOND_US)

static const struct prober_config config = { .rate = 10, .period_ms = 20, .timeout_ms = 300 };

static struct loop *loop;
static struct prober *prober;
static struct probe_group *group;
static bool is_cut; // peers are where nobody answers

static int address(void *arg, const struct target_key *key, enum probe_way way, struct ip *ret)
{
	const struct subnet subnet = target_key_subnet(key);

	(void)arg;
	if (way == PROBE_OVERLAY)
		return -ENOENT;
	*ret = target_key_family(key) == AF_INET6 ? subnet.v6.addr : subnet.v4.addr;
	if (is_cut)
		*ret = ip_v4(0xc0000201); // no route
	return 0;
}

static struct subnet subnet_of(uint32_t number)
{
	struct ip ip = ip_v4(0x0a000000 + (number << 8));

	return (struct subnet){ .v4 = ipnet_of(&ip, 24) };
}

static int set_up(void **state)
{
	struct err e = { 0 };

	(void)state;
	netns_enter();
	netns_run("ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo", NULL);
	netns_run("ip", "-6", "route", "add", "local", "fd00::/64", "dev", "lo", NULL);
	is_cut = false;
	loop = loop_new();
	check(prober_new(loop, &config, address, &prober, &e) == 0, "%s", e.msg);
	group = probe_group_new(prober, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	group = probe_group_free(group);
	prober = prober_free(prober);
	loop = loop_end(loop);
	return 0;
}

static struct window_summary sum_of(const struct subnet *subnet, int family)
{
	const struct target *target = probe_group_find(group, subnet, family);
	struct window_summary sum;

	assert_non_null(target);
	window_sum(&target->ways[PROBE_UNDERLAY], &sum);
	return sum;
}

static void wait_for_state(const struct subnet *subnet, int family, enum window_state wanted)
{
	uint64_t end_us = echo_now_us() + PATIENCE_US;

	while (sum_of(subnet, family).state != wanted) {
		check(echo_now_us() < end_us, "it is %s, and was to be %s",
		      window_state_names[sum_of(subnet, family).state], window_state_names[wanted]);
		loop_turn(loop, 50);
	}
}

static void test_answers(void **state)
{
	struct subnet subnet = subnet_of(7);
	struct window_summary sum;

	(void)state;
	assert_int_equal(ipnet_parse("fd00::/80", &subnet.v6), 0);
	probe_group_put(group, &subnet, false);
	wait_for_state(&subnet, AF_INET, WINDOW_OK);
	wait_for_state(&subnet, AF_INET6, WINDOW_OK);
	sum = sum_of(&subnet, AF_INET);
	assert_true(sum.average_us > 0 && sum.average_us < SECOND_US);
	assert_int_equal(prober_stats(prober)->ways[PROBE_UNDERLAY].lost, 0);
	assert_int_equal(prober_stats(prober)->ways[PROBE_OVERLAY].sent, 0);
	assert_true(prober_stats(prober)->ways[PROBE_UNDERLAY].answered >= 2);
}

static void test_cut_off_and_back(void **state)
{
	struct subnet subnet = subnet_of(7);

	(void)state;
	probe_group_put(group, &subnet, false);
	wait_for_state(&subnet, AF_INET, WINDOW_OK);
	is_cut = true;
	wait_for_state(&subnet, AF_INET, WINDOW_UNREACHABLE);
	is_cut = false;
	wait_for_state(&subnet, AF_INET, WINDOW_LOSSY);
	// It is somewhere else now.
	probe_group_put(group, &subnet, true);
	assert_int_equal(sum_of(&subnet, AF_INET).state, WINDOW_UNKNOWN);
	wait_for_state(&subnet, AF_INET, WINDOW_OK);
}

// However many peers there are and however late the machine is: never more than ten in any second.
static void test_rate(void **state)
{
	enum { PEERS = 200, PROBES = 40 };
	uint64_t sent_at_us[PROBES];
	uint64_t sent = 0;

	(void)state;
	for (uint32_t i = 0; i < PEERS; i++) {
		struct subnet subnet = subnet_of(i);

		probe_group_put(group, &subnet, false);
	}
	while (sent < PROBES) {
		uint64_t now, sends;

		loop_turn(loop, 50);
		now = echo_now_us();
		sends = prober_stats(prober)->ways[PROBE_UNDERLAY].sent;
		assert_true(sends <= sent + 1); // one timer, one probe
		if (sends > sent)
			sent_at_us[sent++] = now;
	}
	// The times are of when it was seen, so the span of many is what tells.
	check(sent_at_us[PROBES - 1] - sent_at_us[0] >= (PROBES - 1) * (SECOND_US / 10) - SECOND_US / 10,
	      "%d probes in %llu us", PROBES,
	      (unsigned long long)(sent_at_us[PROBES - 1] - sent_at_us[0]));
	for (int i = 0, asked = 0; i < PEERS; i++) {
		struct subnet subnet = subnet_of((uint32_t)i);

		asked += sum_of(&subnet, AF_INET).sent > 0;
		// Those asked early and those by the round may be the same, by chance and rarely.
		assert_true(i < PEERS - 1 || asked >= PROBES / 2);
	}
}

static bool is_even(void *arg, const struct subnet *subnet)
{
	(void)arg;
	return (ip_v4_value(&subnet->v4.addr) >> 8) % 2 == 0;
}

static void test_retain(void **state)
{
	enum { PEERS = 100 };

	(void)state;
	for (uint32_t i = 0; i < PEERS; i++) {
		struct subnet subnet = subnet_of(i);

		probe_group_put(group, &subnet, false);
	}
	probe_group_retain(group, is_even);
	assert_int_equal(probe_group_count(group), PEERS / 2);
	for (uint32_t i = 0; i < PEERS; i++) {
		struct subnet subnet = subnet_of(i);

		assert_int_equal(probe_group_find(group, &subnet, AF_INET) != NULL, i % 2 == 0);
		probe_group_remove(group, &subnet);
	}
	assert_int_equal(probe_group_count(group), 0);
}

static size_t packets; // that came through the filter

static void count_packet(void *arg, const struct ip *from, const void *packet, size_t len,
			 uint64_t age_us)
{
	struct echo_reply reply;

	(void)arg, (void)from, (void)age_us;
	assert_true(echo_decode(AF_INET, packet, len, &reply));
	packets++;
}

// What others ping on this host wakes nobody: of two sockets with another identifier each hears its own answers.
static void test_filter(void **state)
{
	struct echo_socket *ours = NULL, *others = NULL;
	const struct ip to = ip_v4(INADDR_LOOPBACK);
	static const uint8_t cookie[ECHO_COOKIE_BYTES];
	uint8_t packet[ICMP_HEADER_BYTES + ECHO_COOKIE_BYTES];
	uint64_t end_us = echo_now_us() + PATIENCE_US;
	struct err e;
	size_t len;

	(void)state;
	packets = 0;
	assert_int_equal(echo_socket_new(loop, AF_INET, 100, count_packet, NULL, &ours, &e), 0);
	assert_int_equal(echo_socket_new(loop, AF_INET, 200, count_packet, NULL, &others, &e), 0);
	for (int i = 0; i < 10; i++) {
		len = echo_encode(AF_INET, 300, (uint16_t)i, cookie, ECHO_COOKIE_BYTES, packet);
		assert_int_equal(echo_socket_send(ours, &to, packet, len), 0);
	}
	len = echo_encode(AF_INET, 100, 1, cookie, ECHO_COOKIE_BYTES, packet);
	assert_int_equal(echo_socket_send(others, &to, packet, len), 0);
	while (packets == 0 && echo_now_us() < end_us)
		loop_turn(loop, 50);
	loop_turn(loop, 0);
	assert_int_equal(packets, 1);
	echo_socket_free(ours);
	echo_socket_free(others);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cut_off_and_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rate, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_retain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_filter, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
