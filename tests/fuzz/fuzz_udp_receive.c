// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing what comes from the wire: parsed, judged, joined; each packet comes out once, whole, and in the order of its flow.
//
// The input is what UDP_GRO gives: two bytes of a datagram's size, then datagrams of that size.
#include "fuzz.h"

#include "core/ip.h"
#include "core/mem.h"
#include "udp/checksum.h"
#include "udp/coalesce.h"
#include "udp/icmp.h"

static size_t written, bytes_written;

static void count(void *arg, const struct iovec *packet)
{
	struct packet parsed;
	(void)arg;
	must(packet_parse(packet->iov_base, packet->iov_len, &parsed) == PACKET_FINE);
	must(parsed.len == packet->iov_len && packet_checksum_fits(&parsed));
	written++;
	bytes_written += packet->iov_len;
}

static void take_out(struct coalescer *c, size_t run)
{
	uint8_t vnet[VNET_HEADER];
	struct iovec pieces[COALESCE_PIECES_MAX];
	size_t n = coalescer_emit(c, run, vnet, pieces), len = 0;
	must(n >= 2 && n <= COALESCE_PIECES_MAX);
	for (size_t i = 1; i < n; i++)
		len += pieces[i].iov_len;
	must(len == c->runs[run].total && len <= PACKET_MAX);
	if (n == 2) {
		must(vnet_load(vnet).gso == VNET_GSO_NONE);
		count(NULL, &pieces[1]);
	} else {
		coalescer_part(c, run, count, NULL);
	}
}

static void tell_about(const struct packet *packet)
{
	uint8_t out[ICMP_ERROR_MAX];
	struct ip from = packet->version == 4
				 ? ip_v4(0x0a010100)
				 : ip_from_bytes(AF_INET6, "\xfc\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1");
	size_t len = icmp_error_write(ICMP_ERROR_TOO_BIG, 1280, packet, &from, out);
	struct packet told;
	must(len == 0 || (packet_parse(out, len, &told) == PACKET_FINE && told.len == len &&
			  packet_checksum_fits(&told)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct coalescer coalescer = { .join_tcp = true, .join_udp = true };
	size_t added = 0, bytes_added = 0;
	if (size < 2)
		return 0;
	size_t step = load16(data) ? load16(data) : 65535;
	uint8_t *copy = (uint8_t *)text_of(data + 2, size - 2);
	written = bytes_written = 0;
	coalescer_empty(&coalescer);
	for (size_t at = 0; at < size - 2 && !coalescer_is_full(&coalescer); at += step) {
		size_t len = step < size - 2 - at ? step : size - 2 - at;
		struct packet packet;
		if (packet_parse(copy + at, len, &packet) != PACKET_FINE ||
		    !packet_checksum_fits(&packet))
			continue;
		tell_about(&packet);
		if (packet_ttl(&packet) < 2)
			continue;
		packet_decrement_ttl(&packet);
		must(packet_checksum_fits(&packet));
		coalescer_add(&coalescer, &packet);
		added++;
		bytes_added += packet.len;
	}
	for (size_t run = 0; run < coalescer.run_count; run++)
		take_out(&coalescer, run);
	must(written == added && bytes_written == bytes_added);
	free(copy);
	return 0;
}
