// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what an IP packet says of itself, checked against the bytes that are there.
#include "udp/packet.h"

#include "udp/checksum.h"

static enum packet_fault parse_v4(uint8_t *data, size_t len, struct packet *ret)
{
	if (len < PACKET_V4_HEADER)
		return PACKET_SHORT;
	unsigned int header = (data[0] & 0x0fu) * 4;
	unsigned int total = load16(data + 2);
	if (header < PACKET_V4_HEADER || total < header)
		return PACKET_HEADER;
	if (total > len)
		return PACKET_LENGTH;
	uint16_t part = load16(data + 6) & 0x3fff;
	*ret = (struct packet){ .data = data,
				.len = total,
				.l4 = header,
				.version = 4,
				.protocol = data[9],
				.fragment = part != 0,
				.later = (part & 0x1fff) != 0 };
	return PACKET_FINE;
}

static enum packet_fault parse_v6(uint8_t *data, size_t len, struct packet *ret)
{
	if (len < PACKET_V6_HEADER)
		return PACKET_SHORT;
	unsigned int total = PACKET_V6_HEADER + load16(data + 4);
	if (total > len)
		return PACKET_LENGTH;
	*ret = (struct packet){
		.data = data, .len = total, .l4 = PACKET_V6_HEADER, .version = 6, .protocol = data[6]
	};
	return PACKET_FINE;
}

enum packet_fault packet_parse(uint8_t *data, size_t len, struct packet *ret)
{
	if (len == 0)
		return PACKET_SHORT;
	switch (data[0] >> 4) {
	case 4:
		return parse_v4(data, len, ret);
	case 6:
		return parse_v6(data, len, ret);
	default:
		return PACKET_VERSION;
	}
}

bool packet_checksum_fits(const struct packet *packet)
{
	return packet->version == 6 ||
	       checksum_fold(checksum_add(0, packet->data, packet->l4)) == 0xffff;
}

void packet_decrement_ttl(const struct packet *packet)
{
	if (packet->version == 6) {
		packet->data[7]--;
		return;
	}
	uint16_t before = load16(packet->data + 8);
	packet->data[8]--;
	uint32_t sum = (uint16_t)~load16(packet->data + 10) + (uint16_t)~before +
		       (uint32_t)load16(packet->data + 8);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	store16(packet->data + 10, (uint16_t)~sum);
}

bool packet_to_many(const struct packet *packet)
{
	const uint8_t *to = packet_destination(packet);
	if (packet->version == 6)
		return to[0] == 0xff;
	return to[0] >= 224 && (to[0] < 240 || load32(to) == UINT32_MAX);
}

uint64_t packet_pseudo_sum(const struct packet *packet, uint8_t protocol, uint32_t len)
{
	uint8_t rest[8] = { 0, 0, 0, 0, 0, 0, 0, protocol };
	store32(rest, len);
	uint64_t sum = checksum_add(0, rest, sizeof(rest));
	return checksum_add(sum, packet_source(packet), packet->version == 4 ? 8 : 32);
}
