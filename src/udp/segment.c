// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: cutting a superpacket of TUN into the packets that go over the wire, without copying payload.
#include "udp/segment.h"

#include "udp/checksum.h"

#include <netinet/in.h>

enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80 };

static bool kind_fits(const struct vnet *vnet, const struct packet *packet, bool *ret_tcp)
{
	switch (vnet->gso & ~VNET_GSO_ECN) {
	case VNET_GSO_TCPV4:
		*ret_tcp = true;
		return packet->version == 4 && packet->protocol == IPPROTO_TCP;
	case VNET_GSO_TCPV6:
		*ret_tcp = true;
		return packet->version == 6;
	case VNET_GSO_UDP_L4:
		*ret_tcp = false;
		return packet->version == 6 || packet->protocol == IPPROTO_UDP;
	default:
		return false;
	}
}

static uint32_t l4_header_min(bool tcp)
{
	return tcp ? PACKET_TCP_HEADER : PACKET_UDP_HEADER;
}

// Headers of extensions stand between IPv6's own and sum_start, and are repeated as they are.
static bool l4_fits(const struct vnet *vnet, const struct packet *packet, bool tcp)
{
	if (!vnet->needs_checksum || packet->fragment || vnet->segment == 0 || (vnet->sum_start & 1))
		return false;
	if (packet->version == 4 ? vnet->sum_start != packet->l4 : vnet->sum_start < packet->l4)
		return false;
	if (packet->version == 6 && vnet->sum_start == packet->l4 &&
	    packet->protocol != (tcp ? IPPROTO_TCP : IPPROTO_UDP))
		return false;
	return vnet->sum_start + l4_header_min(tcp) < packet->len;
}

void superpacket_sum(struct superpacket *super)
{
	uint8_t header[SEGMENT_HEADER_MAX];
	struct packet packet = { .data = (uint8_t *)super->data, .version = super->version };
	memcpy(header, super->data, super->header_len);
	if (super->version == 4) {
		store16(header + 2, 0);
		store16(header + 4, 0);
		store16(header + 10, 0);
		super->ip_sum = checksum_add(0, header, super->l4);
	}
	uint8_t *l4 = header + super->l4;
	store32(l4 + 4, 0); // TCP's sequence; of UDP, length and checksum
	if (super->tcp) {
		store16(l4 + 12, 0);
		store16(l4 + 16, 0);
	}
	super->l4_sum = packet_pseudo_sum(&packet, super->tcp ? IPPROTO_TCP : IPPROTO_UDP, 0);
	super->l4_sum = checksum_add(super->l4_sum, l4, super->header_len - super->l4);
}

bool superpacket_open(const struct vnet *vnet, const struct packet *packet, struct superpacket *ret)
{
	bool tcp = false;
	if (!kind_fits(vnet, packet, &tcp) || !l4_fits(vnet, packet, tcp))
		return false;
	unsigned int header = vnet->sum_start + (tcp ? (packet->data[vnet->sum_start + 12] >> 4) * 4u
						     : PACKET_UDP_HEADER);
	if (header < vnet->sum_start + l4_header_min(tcp) || header > SEGMENT_HEADER_MAX ||
	    header >= packet->len)
		return false;
	struct superpacket super = { .data = packet->data,
				     .l4 = vnet->sum_start,
				     .header_len = (uint16_t)header,
				     .segment = vnet->segment,
				     .payload_len = packet->len - header,
				     .tcp = tcp,
				     .version = packet->version };
	super.count = (super.payload_len + super.segment - 1) / super.segment;
	if (header + super.segment > PACKET_MAX)
		return false;
	*ret = super;
	return true;
}

static void finish_tcp(const struct superpacket *super, uint32_t index, uint8_t *l4)
{
	bool last = index + 1 == super->count;
	store32(l4 + 4, load32(l4 + 4) + index * super->segment);
	if (!last)
		l4[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (index > 0)
		l4[13] &= (uint8_t)~TCP_CWR;
}

uint32_t superpacket_segment(const struct superpacket *super, uint32_t index,
			     uint8_t header[static SEGMENT_HEADER_MAX], const uint8_t **ret_payload)
{
	uint32_t begin = index * super->segment;
	uint32_t len = super->payload_len - begin < super->segment ? super->payload_len - begin
								   : super->segment;
	const uint8_t *payload = super->data + super->header_len + begin;
	uint16_t l4_len = (uint16_t)(super->header_len - super->l4 + len);
	uint8_t *l4 = header + super->l4;
	memcpy(header, super->data, super->header_len);
	if (super->version == 4) {
		store16(header + 2, (uint16_t)(super->header_len + len));
		store16(header + 4, (uint16_t)(load16(header + 4) + index));
		uint16_t sum = checksum_fold(checksum_add(super->ip_sum, header + 2, 4));
		checksum_store(header + 10, (uint16_t)~sum);
	} else {
		store16(header + 4, (uint16_t)(super->header_len - PACKET_V6_HEADER + len));
	}
	uint8_t pseudo_len[2];
	store16(pseudo_len, l4_len);
	uint64_t sum = checksum_add(checksum_add(super->l4_sum, pseudo_len, 2), payload, len);
	if (super->tcp) {
		finish_tcp(super, index, l4);
		sum = checksum_add(checksum_add(sum, l4 + 4, 4), l4 + 12, 2);
		checksum_store(l4 + 16, (uint16_t)~checksum_fold(sum));
	} else {
		store16(l4 + 4, l4_len);
		uint16_t check = (uint16_t)~checksum_fold(checksum_add(sum, l4 + 4, 2));
		checksum_store(l4 + 6, check ? check : 0xffff);
	}
	*ret_payload = payload;
	return len;
}

bool segment_finish_checksum(const struct vnet *vnet, const struct packet *packet)
{
	uint32_t at = (uint32_t)vnet->sum_start + vnet->sum_offset;
	if (vnet->sum_start < packet->l4 || (vnet->sum_offset & 1) || at + 2 > packet->len)
		return false;
	uint64_t sum = checksum_add(0, packet->data + vnet->sum_start, packet->len - vnet->sum_start);
	uint16_t check = (uint16_t)~checksum_fold(sum);
	// 0 in UDP says that there is none.
	if (check == 0 && vnet->sum_offset == 6)
		check = 0xffff;
	checksum_store(packet->data + at, check);
	return true;
}
