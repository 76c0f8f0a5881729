// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: ICMP and ICMPv6 echo as bytes.
#include "probe/echo.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#define ICMP4_ECHO 8
#define ICMP6_ECHO 128

size_t echo_encode(int family, uint16_t id, uint16_t sequence,
		   const uint8_t cookie[static ECHO_COOKIE_BYTES], size_t payload_len, void *packet)
{
	uint8_t *bytes = packet;
	size_t len = ICMP_HEADER_BYTES + payload_len;

	assert(payload_len >= ECHO_COOKIE_BYTES && len <= ECHO_PACKET_MAX);
	memset(bytes, 0, len);
	bytes[0] = family == AF_INET6 ? ICMP6_ECHO : ICMP4_ECHO;
	icmp_put16(bytes + 4, id);
	icmp_put16(bytes + 6, sequence);
	memcpy(bytes + ICMP_HEADER_BYTES, cookie, ECHO_COOKIE_BYTES);
	if (family == AF_INET)
		icmp_put16(bytes + 2, icmp_checksum(bytes, len));
	return len;
}

bool echo_decode(int family, const void *packet, size_t len, struct echo_reply *ret)
{
	const uint8_t *bytes = packet;
	uint8_t type = family == AF_INET6 ? ECHO_REPLY_TYPE_V6 : ECHO_REPLY_TYPE_V4;

	if (family == AF_INET && icmp_skip_ipv4(&bytes, &len) < 0)
		return false;
	if (len < ICMP_HEADER_BYTES || bytes[0] != type || bytes[1] != 0)
		return false;
	if (family == AF_INET && icmp_checksum(bytes, len) != 0)
		return false;
	*ret = (struct echo_reply){ .id = icmp_get16(bytes + 4),
				    .sequence = icmp_get16(bytes + 6),
				    .payload = bytes + ICMP_HEADER_BYTES,
				    .payload_len = len - ICMP_HEADER_BYTES };
	return true;
}
