// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the ICMP errors that a router owes to who sent a packet.
#include "udp/icmp.h"

#include "core/mem.h"
#include "udp/checksum.h"

#include <netinet/in.h>

enum {
	ICMP_HEADER = 8,
	V4_TOTAL_MAX = 576, // RFC 1812 4.3.2.3
	V6_TOTAL_MAX = 1280,
	TTL = 64,
};

static const struct {
	uint8_t type4, code4, type6, code6;
} kinds[] = {
	[ICMP_ERROR_NO_ROUTE] = { 3, 0, 1, 0 },
	[ICMP_ERROR_TIME_EXCEEDED] = { 11, 0, 3, 0 },
	[ICMP_ERROR_TOO_BIG] = { 3, 4, 2, 0 },
};
_Static_assert(ARRAY_SIZE(kinds) == ICMP_ERROR_COUNT, "one row each");

static bool may_be_told_v4(const struct packet *about)
{
	static const uint8_t errors[] = { 3, 4, 5, 11, 12 };
	const uint8_t *from = packet_source(about);
	if (about->later || packet_to_many(about) || from[0] == 0 || from[0] == 127 || from[0] >= 224)
		return false;
	if (about->protocol != IPPROTO_ICMP)
		return true;
	return about->len > about->l4 && !memchr(errors, about->data[about->l4], sizeof(errors));
}

static bool may_be_told_v6(enum icmp_error error, const struct packet *about)
{
	static const uint8_t none[16];
	const uint8_t *from = packet_source(about);
	if ((packet_to_many(about) && error != ICMP_ERROR_TOO_BIG) || from[0] == 0xff ||
	    memcmp(from, none, 16) == 0)
		return false;
	if (about->protocol != IPPROTO_ICMPV6)
		return true;
	return about->len > about->l4 && about->data[about->l4] >= 128;
}

static size_t write_v4(enum icmp_error error, uint16_t mtu, const struct packet *about,
		       const struct ip *from, uint8_t *ret)
{
	size_t quoted = about->len < V4_TOTAL_MAX - PACKET_V4_HEADER - ICMP_HEADER
				? about->len
				: V4_TOTAL_MAX - PACKET_V4_HEADER - ICMP_HEADER;
	uint8_t *icmp = ret + PACKET_V4_HEADER;
	memset(ret, 0, PACKET_V4_HEADER + ICMP_HEADER);
	ret[0] = 0x45;
	ret[1] = 0xc0; // internetwork control, as Linux sends its own
	store16(ret + 2, (uint16_t)(PACKET_V4_HEADER + ICMP_HEADER + quoted));
	ret[8] = TTL;
	ret[9] = IPPROTO_ICMP;
	memcpy(ret + 12, from->bytes, 4);
	memcpy(ret + 16, packet_source(about), 4);
	checksum_store(ret + 10, (uint16_t)~checksum_fold(checksum_add(0, ret, PACKET_V4_HEADER)));
	icmp[0] = kinds[error].type4;
	icmp[1] = kinds[error].code4;
	if (error == ICMP_ERROR_TOO_BIG)
		store16(icmp + 6, mtu);
	memcpy(icmp + ICMP_HEADER, about->data, quoted);
	checksum_store(icmp + 2,
		       (uint16_t)~checksum_fold(checksum_add(0, icmp, ICMP_HEADER + quoted)));
	return PACKET_V4_HEADER + ICMP_HEADER + quoted;
}

static size_t write_v6(enum icmp_error error, uint16_t mtu, const struct packet *about,
		       const struct ip *from, uint8_t *ret)
{
	size_t quoted = about->len < V6_TOTAL_MAX - PACKET_V6_HEADER - ICMP_HEADER
				? about->len
				: V6_TOTAL_MAX - PACKET_V6_HEADER - ICMP_HEADER;
	uint8_t *icmp = ret + PACKET_V6_HEADER;
	memset(ret, 0, PACKET_V6_HEADER + ICMP_HEADER);
	ret[0] = 0x60;
	store16(ret + 4, (uint16_t)(ICMP_HEADER + quoted));
	ret[6] = IPPROTO_ICMPV6;
	ret[7] = TTL;
	memcpy(ret + 8, from->bytes, 16);
	memcpy(ret + 24, packet_source(about), 16);
	icmp[0] = kinds[error].type6;
	icmp[1] = kinds[error].code6;
	if (error == ICMP_ERROR_TOO_BIG)
		store32(icmp + 4, mtu);
	memcpy(icmp + ICMP_HEADER, about->data, quoted);
	struct packet own = { .data = ret, .version = 6 };
	uint64_t sum = packet_pseudo_sum(&own, IPPROTO_ICMPV6, (uint32_t)(ICMP_HEADER + quoted));
	checksum_store(icmp + 2,
		       (uint16_t)~checksum_fold(checksum_add(sum, icmp, ICMP_HEADER + quoted)));
	return PACKET_V6_HEADER + ICMP_HEADER + quoted;
}

size_t icmp_error_write(enum icmp_error error, uint16_t mtu, const struct packet *about,
			const struct ip *from, uint8_t ret[static ICMP_ERROR_MAX])
{
	if (about->version == 4)
		return from->family == AF_INET && may_be_told_v4(about)
			       ? write_v4(error, mtu, about, from, ret)
			       : 0;
	return from->family == AF_INET6 && may_be_told_v6(error, about)
		       ? write_v6(error, mtu, about, from, ret)
		       : 0;
}
