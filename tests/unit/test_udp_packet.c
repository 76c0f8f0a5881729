// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of udp/checksum, udp/packet and udp/icmp.
#include "unit.h"

#include "core/ip.h"
#include "core/mem.h"
#include "udp/checksum.h"
#include "udp/icmp.h"
#include "udp/packet.h"

#include <string.h>

// RFC 1071 word by word, as slowly as it is written there.
static uint16_t plain_checksum(const uint8_t *data, size_t len)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htobe16((uint16_t)sum);
}

static void fill(uint8_t *data, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		data[i] = (uint8_t)(seed >> 16);
	}
}

static void test_every_method_every_length(void **state)
{
	(void)state;
	uint8_t *data = xmalloc(65536);
	fill(data, 65536, 1);
	for (size_t m = 0; checksum_method_at(m); m++) {
		const struct checksum_method *method = checksum_method_at(m);
		for (size_t len = 0; len < 400; len++)
			for (size_t at = 0; at < 9; at++)
				check(checksum_fold(method->add(0, data + at, len)) ==
					      plain_checksum(data + at, len),
				      "%s: %zu bytes at %zu", method->name, len, at);
		check(checksum_fold(method->add(0, data, 65535)) == plain_checksum(data, 65535),
		      "%s: 65535", method->name);
	}
	// The sum of nothing but ones has the most carries.
	memset(data, 0xff, 65536);
	for (size_t m = 0; checksum_method_at(m); m++)
		assert_int_equal(checksum_fold(checksum_method_at(m)->add(0, data, 65536)), 0xffff);
	assert_int_equal(checksum_fold(checksum_add(checksum_add(0, data, 64), data, 1000)), 0xffff);
	free(data);
}

static const uint8_t ping[28] = { 0x45, 0, 0, 28, 0,  1, 0, 0, 64, 1, 0x66, 0xdc,
				  10,	1, 1, 1,  10, 1, 2, 2, 8,  0, 0xf7, 0xff };

static void test_parse(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		size_t at;
		uint8_t value;
		size_t len;
		enum packet_fault want;
	} cases[] = {
		{ "as it is", 0, 0x45, 28, PACKET_FINE },
		{ "nothing", 0, 0x45, 0, PACKET_SHORT },
		{ "19 bytes", 0, 0x45, 19, PACKET_SHORT },
		{ "version 5", 0, 0x55, 28, PACKET_VERSION },
		{ "header of 16", 0, 0x44, 28, PACKET_HEADER },
		{ "header longer than the packet", 0, 0x48, 28, PACKET_HEADER },
		{ "less than it says", 3, 29, 28, PACKET_LENGTH },
		{ "more than it says", 3, 27, 28, PACKET_FINE },
		{ "says less than a header", 3, 19, 28, PACKET_HEADER },
		{ "version 6, short", 0, 0x60, 28, PACKET_SHORT },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ uint8_t *data = xmalloc(cases[i].len + 1);
		uint8_t whole[28];
		struct packet packet;
		memcpy(whole, ping, 28);
		whole[cases[i].at] = cases[i].value;
		memcpy(data, whole, cases[i].len);
		check(packet_parse(data, cases[i].len, &packet) == cases[i].want, "%s", cases[i].name);
	}
}

static void test_ttl_keeps_the_checksum(void **state)
{
	(void)state;
	uint8_t data[28];
	struct packet packet;
	memcpy(data, ping, 28);
	for (unsigned int id = 0; id < 65536; id += 7) {
		store16(data + 4, (uint16_t)id);
		data[8] = 255;
		checksum_store(data + 10, 0);
		checksum_store(data + 10, (uint16_t)~plain_checksum(data, 20));
		assert_int_equal(packet_parse(data, 28, &packet), PACKET_FINE);
		for (unsigned int ttl = 255; ttl > 0; ttl -= 85) {
			assert_true(packet_checksum_fits(&packet));
			assert_int_equal(packet_ttl(&packet), ttl);
			for (unsigned int i = 0; i < 85; i++)
				packet_decrement_ttl(&packet);
		}
		check(packet_checksum_fits(&packet), "id %u", id);
	}
	data[11] ^= 1;
	assert_false(packet_checksum_fits(&packet));
}

static struct packet packet_of(uint8_t *data, size_t len)
{
	struct packet packet;
	assert_int_equal(packet_parse(data, len, &packet), PACKET_FINE);
	return packet;
}

static void test_icmp_v4(void **state)
{
	(void)state;
	uint8_t data[28], out[ICMP_ERROR_MAX];
	struct ip from = ip_v4(0x0a010100);
	memcpy(data, ping, 28);
	struct packet about = packet_of(data, 28);
	size_t len = icmp_error_write(ICMP_ERROR_TOO_BIG, 1400, &about, &from, out);
	assert_int_equal(len, 56);
	struct packet told = packet_of(out, len);
	assert_true(packet_checksum_fits(&told));
	assert_int_equal(plain_checksum(out + 20, len - 20), 0xffff);
	assert_memory_equal(out + 12, from.bytes, 4);
	assert_memory_equal(out + 16, data + 12, 4);
	assert_int_equal(out[20], 3);
	assert_int_equal(out[21], 4);
	assert_int_equal(load16(out + 26), 1400);
	assert_memory_equal(out + 28, data, 28);
	assert_int_equal(icmp_error_write(ICMP_ERROR_NO_ROUTE, 0, &about, &(struct ip){ 0 }, out), 0);

	static const struct {
		const char *name;
		size_t at;
		uint8_t value;
		bool told;
	} cases[] = {
		{ "about an echo", 20, 8, true },    { "about unreachable", 20, 3, false },
		{ "about exceeded", 20, 11, false }, { "first fragment", 6, 0x20, true },
		{ "later fragment", 7, 1, false },   { "from nobody", 12, 0, false },
		{ "from many", 12, 224, false },     { "to many", 16, 224, false },
		{ "from itself", 12, 127, false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memcpy(data, ping, 28);
		data[cases[i].at] = cases[i].value;
		about = packet_of(data, 28);
		check((icmp_error_write(ICMP_ERROR_NO_ROUTE, 0, &about, &from, out) > 0) ==
			      cases[i].told,
		      "%s", cases[i].name);
	}
}

static void test_icmp_v6(void **state)
{
	(void)state;
	uint8_t data[1400] = { 0x60, 0, 0, 0, 0x05, 0x50, 17, 1, 0xfc, 1 }, out[ICMP_ERROR_MAX];
	struct ip from;
	assert_int_equal(ip_parse("fc00:1::1", &from), 0);
	data[24] = 0xfc;
	struct packet about = packet_of(data, sizeof(data));
	assert_int_equal(about.len, 1400);
	size_t len = icmp_error_write(ICMP_ERROR_TIME_EXCEEDED, 0, &about, &from, out);
	assert_int_equal(len, 1280);
	struct packet told = packet_of(out, len);
	uint64_t sum = packet_pseudo_sum(&told, 58, 1240);
	assert_int_equal(checksum_fold(checksum_add(sum, out + 40, 1240)), 0xffff);
	assert_int_equal(out[40], 3);
	data[24] = 0xff;
	assert_int_equal(icmp_error_write(ICMP_ERROR_NO_ROUTE, 0, &about, &from, out), 0);
	assert_int_equal(icmp_error_write(ICMP_ERROR_TOO_BIG, 1280, &about, &from, out), 1280);
	data[6] = 58;
	data[24] = 0xfc;
	data[40] = 1;
	about = packet_of(data, sizeof(data));
	assert_int_equal(icmp_error_write(ICMP_ERROR_NO_ROUTE, 0, &about, &from, out), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_method_every_length),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_ttl_keeps_the_checksum),
		cmocka_unit_test(test_icmp_v4),
		cmocka_unit_test(test_icmp_v6),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
