// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the segmenter and the coalescer: what was cut, joined and cut again is the same packets.
//
// The input is what TUN gives: a virtio-net header and a packet.
#include "fuzz.h"

#include "core/mem.h"
#include "udp/checksum.h"
#include "udp/coalesce.h"
#include "udp/segment.h"

enum { SEGMENTS_MAX = COALESCE_PACKETS_MAX };

struct packets {
	uint8_t *data[SEGMENTS_MAX];
	size_t len[SEGMENTS_MAX];
	size_t count;
};

static void packets_free(struct packets *packets)
{
	for (size_t i = 0; i < packets->count; i++)
		free(packets->data[i]);
}

static void keep(struct packets *packets, const void *head, size_t head_len, const void *rest,
		 size_t rest_len)
{
	uint8_t *data = malloc(head_len + rest_len);
	must(data && packets->count < SEGMENTS_MAX);
	memcpy(data, head, head_len);
	memcpy(data + head_len, rest, rest_len);
	packets->data[packets->count] = data;
	packets->len[packets->count++] = head_len + rest_len;
}

static void cut(struct superpacket *super, struct packets *ret)
{
	uint8_t header[SEGMENT_HEADER_MAX];
	uint32_t payload = 0;
	superpacket_sum(super);
	for (uint32_t i = 0; i < super->count; i++) {
		const uint8_t *at = NULL;
		uint32_t len = superpacket_segment(super, i, header, &at);
		must(len > 0 && len <= super->segment &&
		     (len == super->segment || i + 1 == super->count));
		must(at == super->data + super->header_len + payload);
		payload += len;
		keep(ret, header, super->header_len, at, len);
	}
	must(payload == super->payload_len);
}

// What every packet on the wire must be. The sum of l4 says so only where nothing stands before it.
static void judge(const struct packets *packets, bool plain)
{
	for (size_t i = 0; i < packets->count; i++) {
		struct packet packet;
		must(packet_parse(packets->data[i], packets->len[i], &packet) == PACKET_FINE);
		must(packet.len == packets->len[i] && packet_checksum_fits(&packet));
		if (!plain)
			continue;
		uint64_t sum = packet_pseudo_sum(&packet, packet.protocol, packet.len - packet.l4);
		must(checksum_fold(checksum_add(sum, packet.data + packet.l4,
						packet.len - packet.l4)) == 0xffff);
	}
}

static void keep_one(void *arg, const struct iovec *packet)
{
	keep(arg, packet->iov_base, packet->iov_len, "", 0);
}

static void again(struct coalescer *c, size_t run, struct packets *ret, struct packets *ret_parted)
{
	uint8_t vnet_bytes[VNET_HEADER];
	struct iovec pieces[COALESCE_PIECES_MAX];
	size_t count = coalescer_emit(c, run, vnet_bytes, pieces), len = 0;
	struct vnet vnet = vnet_load(vnet_bytes);
	struct packet packet;
	struct superpacket super;
	must(count == (size_t)c->runs[run].count + 1 && pieces[0].iov_len == VNET_HEADER);
	if (count == 2) {
		keep(ret, pieces[1].iov_base, pieces[1].iov_len, "", 0);
		keep(ret_parted, pieces[1].iov_base, pieces[1].iov_len, "", 0);
		return;
	}
	for (size_t i = 1; i < count; i++)
		len += pieces[i].iov_len;
	must(len > 0);
	uint8_t *whole = malloc(len), *at = whole;
	must(whole != NULL);
	for (size_t i = 1; i < count; i++) {
		memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
		at += pieces[i].iov_len;
	}
	must(packet_parse(whole, len, &packet) == PACKET_FINE && packet.len == len &&
	     packet_checksum_fits(&packet));
	must(superpacket_open(&vnet, &packet, &super) && super.count == c->runs[run].count);
	cut(&super, ret);
	free(whole);
	coalescer_part(c, run, keep_one, ret_parted);
}

static void same(const struct packets *a, const struct packets *b)
{
	must(a->count == b->count);
	for (size_t i = 0; i < a->count; i++) {
		must(a->len[i] == b->len[i]);
		must(memcmp(a->data[i], b->data[i], a->len[i]) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct coalescer coalescer = { .join_tcp = true, .join_udp = true };
	static struct packets first, second, parted;
	struct packet packet;
	struct superpacket super;
	if (size < VNET_HEADER)
		return 0;
	struct vnet vnet = vnet_load(data);
	uint8_t *copy = (uint8_t *)text_of(data + VNET_HEADER, size - VNET_HEADER);
	if (packet_parse(copy, size - VNET_HEADER, &packet) == PACKET_FINE) {
		if (packet.version == 4) {
			store16(copy + 10, 0);
			checksum_store(copy + 10,
				       (uint16_t)~checksum_fold(checksum_add(0, copy, packet.l4)));
		}
		first.count = second.count = parted.count = 0;
		if (superpacket_open(&vnet, &packet, &super) && super.count <= SEGMENTS_MAX) {
			cut(&super, &first);
			judge(&first, super.l4 == packet.l4);
			coalescer_empty(&coalescer);
			for (size_t i = 0; i < first.count; i++) {
				must(packet_parse(first.data[i], first.len[i], &packet) == PACKET_FINE);
				coalescer_add(&coalescer, &packet);
			}
			struct packets before = { .count = 0 };
			for (size_t i = 0; i < first.count; i++)
				keep(&before, first.data[i], first.len[i], "", 0);
			for (size_t run = 0; run < coalescer.run_count; run++)
				again(&coalescer, run, &second, &parted);
			same(&before, &second);
			same(&before, &parted);
			packets_free(&before);
		} else if (vnet.needs_checksum) {
			(void)segment_finish_checksum(&vnet, &packet);
		}
		packets_free(&first);
		packets_free(&second);
		packets_free(&parted);
	}
	free(copy);
	return 0;
}
