// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of udp/coalesce and udp/segment: what may be joined and what may not, and what comes out.
#include "unit.h"

#include "core/mem.h"
#include "udp/checksum.h"
#include "udp/coalesce.h"
#include "udp/segment.h"

#include <string.h>

enum { PAYLOAD = 100, TCP_LEN = 20 + 32 + PAYLOAD, PACKET_ROOM = 1500 };

static struct coalescer coalescer;
static uint8_t room[COALESCE_PACKETS_MAX][PACKET_ROOM];

static void finish(uint8_t *data, size_t len)
{
	struct packet packet;
	assert_int_equal(packet_parse(data, len, &packet), PACKET_FINE);
	size_t at = packet.l4 + (packet.protocol == 6 ? 16 : 6);
	if (packet.version == 4) {
		store16(data + 10, 0);
		checksum_store(data + 10, (uint16_t)~checksum_fold(checksum_add(0, data, packet.l4)));
	}
	store16(data + at, 0);
	uint64_t sum = packet_pseudo_sum(&packet, packet.protocol, packet.len - packet.l4);
	checksum_store(data + at, (uint16_t)~checksum_fold(checksum_add(sum, data + packet.l4,
									packet.len - packet.l4)));
}

// Number index of one flow: TCP with timestamps over IPv4, DF clear.
static void make_tcp(uint8_t *data, unsigned int index)
{
	static const uint8_t options[12] = { 1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 6 };
	memset(data, 0, PACKET_ROOM);
	data[0] = 0x45;
	store16(data + 2, TCP_LEN);
	store16(data + 4, (uint16_t)(65530 + index));
	data[8] = 60;
	data[9] = 6;
	memcpy(data + 12, (uint8_t[]){ 10, 1, 1, 2, 10, 1, 2, 3 }, 8);
	store16(data + 20, 40000);
	store16(data + 22, 80);
	store32(data + 24, 0xffffff80 + index * PAYLOAD);
	store32(data + 28, 77);
	data[32] = 8 << 4;
	data[33] = 0x10;
	store16(data + 34, 500);
	memcpy(data + 40, options, sizeof(options));
	for (size_t i = 0; i < PAYLOAD; i++)
		data[52 + i] = (uint8_t)(index + i);
	finish(data, TCP_LEN);
}

static void make_udp(uint8_t *data, unsigned int index)
{
	memset(data, 0, PACKET_ROOM);
	data[0] = 0x45;
	store16(data + 2, 28 + PAYLOAD);
	store16(data + 4, (uint16_t)index);
	data[8] = 60;
	data[9] = 17;
	memcpy(data + 12, (uint8_t[]){ 10, 1, 1, 2, 10, 1, 2, 3 }, 8);
	store16(data + 20, 40000);
	store16(data + 22, 53);
	store16(data + 24, 8 + PAYLOAD);
	memset(data + 28, (int)index, PAYLOAD);
	finish(data, 28 + PAYLOAD);
}

static void make_tcp6(uint8_t *data, unsigned int index)
{
	uint8_t v4[PACKET_ROOM];
	make_tcp(v4, index);
	memset(data, 0, PACKET_ROOM);
	data[0] = 0x60;
	store16(data + 4, TCP_LEN - 20);
	data[6] = 6;
	data[7] = 60;
	data[8] = data[24] = 0xfc;
	data[39] = 1;
	memcpy(data + 40, v4 + 20, TCP_LEN - 20);
	finish(data, 20 + TCP_LEN);
}

static void start(void)
{
	coalescer_empty(&coalescer);
	coalescer.join_tcp = coalescer.join_udp = true;
}

static void add(uint8_t *data)
{
	struct packet packet;
	assert_int_equal(packet_parse(data, PACKET_ROOM, &packet), PACKET_FINE);
	coalescer_add(&coalescer, &packet);
}

static void add_all(void (*make)(uint8_t *, unsigned int), unsigned int count)
{
	start();
	for (unsigned int i = 0; i < count; i++) {
		make(room[i], i);
		add(room[i]);
	}
}

struct change {
	const char *name;
	size_t at; // into the second packet, and which bits
	uint8_t bits;
	bool wrong_sum; // left as it is, else computed anew
	bool joins;
};

static void try_changes(void (*make)(uint8_t *, unsigned int), const struct change *cases,
			size_t count, size_t len)
{
	for (size_t i = 0; i < count; i++) {
		start();
		make(room[0], 0);
		make(room[1], 1);
		room[1][cases[i].at] ^= cases[i].bits;
		if (!cases[i].wrong_sum)
			finish(room[1], len);
		add(room[0]);
		add(room[1]);
		check(coalescer.run_count == (cases[i].joins ? 1 : 2), "%s: %u runs", cases[i].name,
		      coalescer.run_count);
	}
}

static void test_what_joins_tcp(void **state)
{
	(void)state;
	static const struct change cases[] = {
		{ "nothing", 0, 0, false, true },	 { "payload", 60, 1, false, true },
		{ "wrong sum", 60, 1, true, false },	 { "PSH", 33, 0x08, false, true },
		{ "tos", 1, 4, false, false },		 { "ECN", 1, 1, false, false },
		{ "id", 5, 0x10, false, false },	 { "DF", 6, 0x40, false, false },
		{ "ttl", 8, 1, false, false },		 { "source", 15, 1, false, false },
		{ "destination", 19, 1, false, false },	 { "source port", 21, 1, false, false },
		{ "port", 23, 1, false, false },	 { "sequence", 27, 1, false, false },
		{ "acknowledged", 31, 1, false, false }, { "reserved bit", 32, 1, false, false },
		{ "FIN", 33, 1, false, false },		 { "SYN", 33, 2, false, false },
		{ "RST", 33, 4, false, false },		 { "URG", 33, 0x20, false, false },
		{ "ECE", 33, 0x40, false, false },	 { "CWR", 33, 0x80, false, false },
		{ "no ACK", 33, 0x10, false, false },	 { "window", 35, 1, false, false },
		{ "urgent", 39, 1, false, false },	 { "timestamp", 47, 1, false, false },
		{ "fragment", 6, 0x20, false, false },
	};
	try_changes(make_tcp, cases, ARRAY_SIZE(cases), TCP_LEN);
}

static void test_what_joins_udp(void **state)
{
	(void)state;
	static const struct change cases[] = {
		{ "nothing", 0, 0, false, true },	{ "payload", 60, 1, false, true },
		{ "wrong sum", 60, 1, true, false },	{ "tos", 1, 4, false, false },
		{ "id", 5, 0x10, false, false },	{ "source port", 21, 1, false, false },
		{ "destination", 19, 1, false, false },
	};
	try_changes(make_udp, cases, ARRAY_SIZE(cases), 28 + PAYLOAD);
	// Without a checksum there is nothing to verify.
	add_all(make_udp, 1);
	make_udp(room[1], 1);
	store16(room[1] + 26, 0);
	add(room[1]);
	assert_int_equal(coalescer.run_count, 2);
}

static void test_what_joins_ipv6(void **state)
{
	(void)state;
	static const struct change cases[] = {
		{ "nothing", 0, 0, false, true },    { "class", 1, 0x10, false, false },
		{ "flow", 3, 1, false, false },	     { "hops", 7, 1, false, false },
		{ "source", 9, 1, false, false },    { "destination", 39, 1, false, false },
		{ "sequence", 47, 1, false, false },
	};
	try_changes(make_tcp6, cases, ARRAY_SIZE(cases), 20 + TCP_LEN);
}

static void test_switched_off(void **state)
{
	(void)state;
	start();
	coalescer.join_tcp = false;
	for (unsigned int i = 0; i < 4; i++) {
		(i < 2 ? make_tcp : make_udp)(room[i], i);
		add(room[i]);
	}
	assert_int_equal(coalescer.run_count, 3);
	start();
	coalescer.join_udp = false;
	for (unsigned int i = 0; i < 4; i++)
		add(room[i]);
	assert_int_equal(coalescer.run_count, 3);
}

static size_t gather(size_t run, uint8_t *whole, struct vnet *ret)
{
	uint8_t vnet[VNET_HEADER];
	struct iovec pieces[COALESCE_PIECES_MAX];
	size_t count = coalescer_emit(&coalescer, run, vnet, pieces), len = 0;
	for (size_t i = 1; i < count; i++) {
		memcpy(whole + len, pieces[i].iov_base, pieces[i].iov_len);
		len += pieces[i].iov_len;
	}
	*ret = vnet_load(vnet);
	return len;
}

// What is joined and cut again is byte for byte what came; what TUN sees fits the kernel's rules.
static void round_trip(void (*make)(uint8_t *, unsigned int), size_t len, size_t header,
		       uint8_t gso, uint16_t offset)
{
	_cleanup_free_ uint8_t *whole = xmalloc(65536);
	struct vnet vnet;
	struct packet packet;
	struct superpacket super;
	add_all(make, 5);
	assert_int_equal(coalescer.run_count, 1);
	assert_int_equal(gather(0, whole, &vnet), header + 5 * PAYLOAD);
	assert_true(vnet.needs_checksum);
	assert_int_equal(vnet.gso, gso);
	assert_int_equal(vnet.segment, PAYLOAD);
	assert_int_equal(vnet.header_len, header);
	assert_int_equal(vnet.sum_offset, offset);
	assert_int_equal(packet_parse(whole, 65536, &packet), PACKET_FINE);
	assert_int_equal(packet.len, header + 5 * PAYLOAD);
	assert_true(packet_checksum_fits(&packet));
	uint64_t pseudo = packet_pseudo_sum(&packet, packet.protocol, packet.len - packet.l4);
	uint16_t field;
	memcpy(&field, whole + packet.l4 + offset, 2);
	assert_int_equal(field, checksum_fold(pseudo));
	// The kernel's hint may cover more than the headers.
	vnet.header_len = (uint16_t)packet.len;
	assert_true(superpacket_open(&vnet, &packet, &super));
	superpacket_sum(&super);
	assert_int_equal(super.count, 5);
	for (unsigned int i = 0; i < 5; i++) {
		uint8_t head[SEGMENT_HEADER_MAX], want[PACKET_ROOM];
		const uint8_t *payload;
		make(want, i);
		assert_int_equal(superpacket_segment(&super, i, head, &payload), PAYLOAD);
		assert_memory_equal(head, want, header);
		assert_memory_equal(payload, want + header, len - header);
	}
}

static void test_round_trips(void **state)
{
	(void)state;
	round_trip(make_tcp, TCP_LEN, 52, VNET_GSO_TCPV4, 16);
	round_trip(make_tcp6, 20 + TCP_LEN, 72, VNET_GSO_TCPV6, 16);
	round_trip(make_udp, 28 + PAYLOAD, 28, VNET_GSO_UDP_L4, 6);
}

static void count_packets(void *arg, const struct iovec *packet)
{
	unsigned int *count = arg;
	uint8_t want[PACKET_ROOM];
	make_tcp(want, (*count)++);
	assert_int_equal(packet->iov_len, TCP_LEN);
	assert_memory_equal(packet->iov_base, want, TCP_LEN);
}

static void test_parting(void **state)
{
	(void)state;
	_cleanup_free_ uint8_t *whole = xmalloc(65536);
	struct vnet vnet;
	unsigned int count = 0;
	add_all(make_tcp, 7);
	gather(0, whole, &vnet);
	coalescer_part(&coalescer, 0, count_packets, &count);
	assert_int_equal(count, 7);
}

static void test_limits(void **state)
{
	(void)state;
	add_all(make_tcp, 130);
	assert_int_equal(coalescer.run_count, 3);
	assert_int_equal(coalescer.runs[0].count, 64);
	assert_int_equal(coalescer.runs[2].count, 2);
}

// A flow's packets leave as they came: what cannot be joined ends the run before it.
static void test_order(void **state)
{
	(void)state;
	start();
	for (unsigned int i = 0; i < 5; i++)
		make_tcp(room[i], i);
	room[2][33] |= 0x40;
	finish(room[2], TCP_LEN);
	for (unsigned int i = 0; i < 5; i++)
		add(room[i]);
	assert_int_equal(coalescer.run_count, 3);
	assert_int_equal(coalescer.runs[0].count, 2);
	assert_int_equal(coalescer.runs[1].count, 1);
	assert_int_equal(coalescer.runs[2].count, 2);
	// Also where what follows would fit what was before.
	start();
	make_udp(room[0], 0);
	make_udp(room[1], 7);
	store16(room[1] + 26, 0);
	make_udp(room[2], 1);
	for (unsigned int i = 0; i < 3; i++)
		add(room[i]);
	assert_int_equal(coalescer.run_count, 3);
	// A fragment has no ports and so ends all.
	start();
	make_tcp(room[0], 0);
	make_udp(room[1], 0);
	store16(room[1] + 6, 0x2000);
	finish(room[1], 28 + PAYLOAD);
	make_tcp(room[2], 1);
	for (unsigned int i = 0; i < 3; i++)
		add(room[i]);
	assert_int_equal(coalescer.run_count, 3);
}

static void test_interleaved_flows(void **state)
{
	(void)state;
	start();
	for (unsigned int i = 0; i < 20; i++) {
		(i % 2 ? make_udp : make_tcp)(room[i], i / 2);
		add(room[i]);
	}
	assert_int_equal(coalescer.run_count, 2);
	assert_int_equal(coalescer.runs[0].count, 10);
	assert_int_equal(coalescer.runs[1].count, 10);
}

static void test_short_and_pushed_end_a_run(void **state)
{
	(void)state;
	start();
	for (unsigned int i = 0; i < 4; i++)
		make_tcp(room[i], i);
	room[1][33] |= 0x08;
	finish(room[1], TCP_LEN);
	for (unsigned int i = 0; i < 4; i++)
		add(room[i]);
	assert_int_equal(coalescer.run_count, 2);
	assert_true(coalescer.runs[0].push);
	start();
	for (unsigned int i = 0; i < 3; i++)
		make_udp(room[i], i);
	store16(room[1] + 2, 28 + 50);
	store16(room[1] + 24, 8 + 50);
	finish(room[1], 28 + 50);
	for (unsigned int i = 0; i < 3; i++)
		add(room[i]);
	assert_int_equal(coalescer.run_count, 2);
	assert_int_equal(coalescer.runs[0].count, 2);
	// A longer one than the first begins another.
	start();
	add(room[1]);
	add(room[2]);
	assert_int_equal(coalescer.run_count, 2);
}

static void test_flags_of_segments(void **state)
{
	(void)state;
	uint8_t head[SEGMENT_HEADER_MAX];
	const uint8_t *payload;
	struct packet packet;
	struct superpacket super;
	struct vnet vnet = { .needs_checksum = true,
			     .gso = VNET_GSO_TCPV4 | VNET_GSO_ECN,
			     .segment = 40,
			     .sum_start = 20,
			     .sum_offset = 16 };
	static const uint8_t want[] = { 0x90 | 0x40, 0x10 | 0x40, 0x19 | 0x40 };
	make_tcp(room[0], 0);
	room[0][33] = 0xd9; // CWR, ECE, ACK, PSH, FIN
	assert_int_equal(packet_parse(room[0], TCP_LEN, &packet), PACKET_FINE);
	assert_true(superpacket_open(&vnet, &packet, &super));
	superpacket_sum(&super);
	assert_int_equal(super.count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(superpacket_segment(&super, i, head, &payload), i < 2 ? 40 : 20);
		assert_int_equal(head[33], want[i]);
		assert_int_equal(load32(head + 24), 0xffffff80 + i * 40);
		assert_int_equal(load16(head + 4), (uint16_t)(65530 + i));
	}
}

static void test_superpackets_that_are_none(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		struct vnet vnet;
	} cases[] = {
		{ "no size", { true, VNET_GSO_TCPV4, 0, 0, 20, 16 } },
		{ "no checksum", { false, VNET_GSO_TCPV4, 0, 40, 20, 16 } },
		{ "other family", { true, VNET_GSO_TCPV6, 0, 40, 20, 16 } },
		{ "other protocol", { true, VNET_GSO_UDP_L4, 0, 40, 20, 6 } },
		{ "other begin", { true, VNET_GSO_TCPV4, 0, 40, 24, 16 } },
		{ "unknown", { true, 3, 0, 40, 20, 16 } },
	};
	make_tcp(room[0], 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct packet packet;
		struct superpacket super;
		assert_int_equal(packet_parse(room[0], TCP_LEN, &packet), PACKET_FINE);
		check(!superpacket_open(&cases[i].vnet, &packet, &super), "%s", cases[i].name);
	}
}

static void test_finishing_a_checksum(void **state)
{
	(void)state;
	uint8_t want[PACKET_ROOM];
	struct packet packet;
	struct vnet vnet = { .needs_checksum = true, .sum_start = 20, .sum_offset = 6 };
	for (unsigned int i = 0; i < 3; i++) {
		make_udp(want, i);
		make_udp(room[0], i);
		assert_int_equal(packet_parse(room[0], PACKET_ROOM, &packet), PACKET_FINE);
		checksum_store(room[0] + 26,
			       checksum_fold(packet_pseudo_sum(&packet, 17, 8 + PAYLOAD)));
		assert_true(segment_finish_checksum(&vnet, &packet));
		assert_memory_equal(room[0], want, 28 + PAYLOAD);
	}
	vnet.sum_start = 28 + PAYLOAD - 6;
	assert_false(segment_finish_checksum(&vnet, &packet));
	// A sum of 0 is written as 0xffff, for 0 says that there is none.
	vnet.sum_start = 20;
	memset(room[0] + 20, 0, 8 + PAYLOAD);
	store16(room[0] + 20, 0xffff);
	assert_true(segment_finish_checksum(&vnet, &packet));
	assert_int_equal(load16(room[0] + 26), 0xffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_joins_tcp),
		cmocka_unit_test(test_what_joins_udp),
		cmocka_unit_test(test_what_joins_ipv6),
		cmocka_unit_test(test_switched_off),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_parting),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_interleaved_flows),
		cmocka_unit_test(test_short_and_pushed_end_a_run),
		cmocka_unit_test(test_flags_of_segments),
		cmocka_unit_test(test_superpackets_that_are_none),
		cmocka_unit_test(test_finishing_a_checksum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
