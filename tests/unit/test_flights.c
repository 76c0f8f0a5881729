// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of echo as bytes, and of which replies count as the answer to a probe.
#include "unit.h"

#include "core/mem.h"
#include "probe/flights.h"

#include <string.h>

#define PAYLOAD 56
#define IP_HEADER 20

static const uint8_t cookie[ECHO_COOKIE_BYTES] = { 1, 2, 3, 4, 5, 6, 7, 8 };

static uint16_t sum16(const uint8_t *data, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += (uint32_t)data[i] << (i % 2 == 0 ? 8 : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

// What a raw socket gets when the request in packet is answered: returns its length.
static size_t answer(int family, const uint8_t *packet, size_t len, uint8_t *ret)
{
	size_t header = family == AF_INET ? IP_HEADER : 0;
	uint16_t sum;

	memset(ret, 0, header);
	if (family == AF_INET) {
		ret[0] = 0x45;
		ret[9] = 1;
	}
	memcpy(ret + header, packet, len);
	ret[header] = family == AF_INET ? ECHO_REPLY_TYPE_V4 : ECHO_REPLY_TYPE_V6;
	ret[header + 2] = ret[header + 3] = 0;
	sum = sum16(ret + header, len);
	ret[header + 2] = (uint8_t)(sum >> 8);
	ret[header + 3] = (uint8_t)sum;
	return header + len;
}

static void test_encode(void **state)
{
	static const int families[] = { AF_INET, AF_INET6 };
	uint8_t packet[ICMP_HEADER_BYTES + PAYLOAD];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		size_t len = echo_encode(families[i], 0x1234, 0xabcd, cookie, PAYLOAD, packet);

		assert_int_equal(len, sizeof(packet));
		assert_int_equal(packet[0], families[i] == AF_INET ? 8 : 128);
		assert_memory_equal(packet + 4, "\x12\x34\xab\xcd", 4);
		assert_memory_equal(packet + ICMP_HEADER_BYTES, cookie, sizeof(cookie));
		assert_int_equal(packet[len - 1], 0);
		if (families[i] == AF_INET)
			assert_int_equal(sum16(packet, len), 0);
	}
}

static void test_decode(void **state)
{
	static const struct {
		const char *what;
		int family;
		int at; // byte that is changed; -1: none
		uint8_t value;
		size_t cut; // bytes that are missing
		bool is_good;
	} cases[] = {
		{ "whole", AF_INET, -1, 0, 0, true },
		{ "whole v6", AF_INET6, -1, 0, 0, true },
		{ "a request", AF_INET, IP_HEADER, 8, 0, false },
		{ "a request v6", AF_INET6, 0, 128, 0, false },
		{ "a code", AF_INET6, 1, 1, 0, false },
		{ "a wrong checksum", AF_INET, IP_HEADER + 3, 0xff, 0, false },
		{ "a changed payload", AF_INET, IP_HEADER + 20, 0xff, 0, false },
		{ "IPv6 in place of IPv4", AF_INET, 0, 0x65, 0, false },
		{ "a short IP header", AF_INET, 0, 0x44, 0, false },
		{ "an IP header beyond the end", AF_INET, 0, 0x4f, PAYLOAD + 8, false },
		{ "another protocol", AF_INET, 9, 17, 0, false },
		{ "cut in the header", AF_INET, -1, 0, PAYLOAD + 1, false },
		{ "cut in the header v6", AF_INET6, -1, 0, PAYLOAD + 1, false },
		{ "cut in the IP header", AF_INET, -1, 0, PAYLOAD + 9, false },
	};
	uint8_t packet[ICMP_HEADER_BYTES + PAYLOAD], reply[IP_HEADER + sizeof(packet)];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct echo_reply decoded = { 0 };
		size_t len = echo_encode(cases[i].family, 7, 9, cookie, PAYLOAD, packet);

		len = answer(cases[i].family, packet, len, reply);
		if (cases[i].at >= 0)
			reply[cases[i].at] = cases[i].value;
		check(echo_decode(cases[i].family, reply, len - cases[i].cut, &decoded) ==
			      cases[i].is_good,
		      "%s", cases[i].what);
		check(!cases[i].is_good || (decoded.id == 7 && decoded.sequence == 9 &&
					    decoded.payload_len == PAYLOAD),
		      "%s: reads as %u, %u", cases[i].what, decoded.id, decoded.sequence);
	}
}

static void test_hostile_replies(void **state)
{
	struct flights flights;
	struct flight *flight, *found = NULL;
	uint8_t payload[PAYLOAD + 1] = { 0 };
	struct ip right = ip_v4(0x0a000001), wrong = ip_v4(0x0a000002);
	struct echo_reply reply = { .payload = payload, .payload_len = PAYLOAD };

	(void)state;
	flights_init(&flights);
	flight = flights_open(&flights);
	assert_non_null(flight);
	flight->to = right;
	flight->payload_len = PAYLOAD;
	memcpy(payload, flight->cookie, sizeof(flight->cookie));
	reply.id = (uint16_t)(flights.id + 1);
	reply.sequence = flight->sequence;
	assert_int_equal(flights_match(&flights, &right, &reply, &found), FLIGHT_WRONG_ID);
	reply.id = flights.id;
	reply.sequence = (uint16_t)(flight->sequence + 1);
	assert_int_equal(flights_match(&flights, &right, &reply, &found), FLIGHT_WRONG_SEQUENCE);
	reply.sequence = (uint16_t)(flight->sequence + FLIGHTS_MAX); // the same place
	assert_int_equal(flights_match(&flights, &right, &reply, &found), FLIGHT_WRONG_SEQUENCE);
	reply.sequence = flight->sequence;
	assert_int_equal(flights_match(&flights, &wrong, &reply, &found), FLIGHT_WRONG_SOURCE);
	reply.payload_len = PAYLOAD - 1;
	assert_int_equal(flights_match(&flights, &right, &reply, &found), FLIGHT_WRONG_CONTENT);
	reply.payload_len = PAYLOAD + 1;
	assert_int_equal(flights_match(&flights, &right, &reply, &found), FLIGHT_WRONG_CONTENT);
	reply.payload_len = PAYLOAD;
	payload[0] ^= 1;
	assert_int_equal(flights_match(&flights, &right, &reply, &found), FLIGHT_WRONG_CONTENT);
	payload[0] ^= 1;
	payload[PAYLOAD - 1] = 1;
	assert_int_equal(flights_match(&flights, &right, &reply, &found), FLIGHT_WRONG_CONTENT);
	payload[PAYLOAD - 1] = 0;
	// None of them spoils the answer.
	assert_null(found);
	assert_int_equal(flights_match(&flights, &right, &reply, &found), FLIGHT_MINE);
	assert_ptr_equal(found, flight);
	assert_int_equal(flights_match(&flights, &right, &reply, &found), FLIGHT_DUPLICATE);
	assert_null(flights_expire(&flights, UINT64_MAX)); // what was answered is not lost
}

static void test_late(void **state)
{
	struct flights flights;
	struct flight *flight, *found = NULL;
	uint8_t payload[PAYLOAD] = { 0 };
	struct echo_reply reply = { .payload = payload, .payload_len = PAYLOAD };

	(void)state;
	flights_init(&flights);
	flight = flights_open(&flights);
	flight->payload_len = PAYLOAD;
	flight->lost_at_us = 1000;
	assert_null(flights_expire(&flights, 1000));
	assert_ptr_equal(flights_expire(&flights, 1001), flight);
	assert_null(flights_expire(&flights, 1001)); // once
	memcpy(payload, flight->cookie, sizeof(flight->cookie));
	reply.id = flights.id;
	reply.sequence = flight->sequence;
	assert_int_equal(flights_match(&flights, &flight->to, &reply, &found), FLIGHT_LATE);
	assert_null(found);
}

static void test_places(void **state)
{
	struct flights flights;
	struct flight *first, *flight;

	(void)state;
	flights_init(&flights);
	first = flights_open(&flights);
	for (int i = 1; i < FLIGHTS_MAX; i++) {
		flight = flights_open(&flights);
		assert_non_null(flight);
		assert_memory_not_equal(flight->cookie, first->cookie, sizeof(flight->cookie));
	}
	assert_null(flights_open(&flights));
	first->state = FLIGHT_LOST;
	assert_ptr_equal(flights_open(&flights), first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encode),		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_hostile_replies), cmocka_unit_test(test_late),
		cmocka_unit_test(test_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
