// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: ICMP and ICMPv6 echo as bytes.
#include "probe/echo.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#define ICMP4_ECHO 8
#define ICMP6_ECHO 128
#define IP4_HEADER_MIN 20
#define PROTOCOL_ICMP 1

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

// RFC 1071. Of a message whose checksum is right: 0.
static uint16_t checksum(const uint8_t *data, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += get16(data + i);
	if (len % 2 == 1)
		sum += (uint32_t)data[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

size_t echo_encode(int family, uint16_t id, uint16_t sequence,
		   const uint8_t cookie[static ECHO_COOKIE_BYTES], size_t payload_len, void *packet)
{
	uint8_t *bytes = packet;
	size_t len = ECHO_HEADER_BYTES + payload_len;

	assert(payload_len >= ECHO_COOKIE_BYTES && len <= ECHO_PACKET_MAX);
	memset(bytes, 0, len);
	bytes[0] = family == AF_INET6 ? ICMP6_ECHO : ICMP4_ECHO;
	put16(bytes + 4, id);
	put16(bytes + 6, sequence);
	memcpy(bytes + ECHO_HEADER_BYTES, cookie, ECHO_COOKIE_BYTES);
	if (family == AF_INET)
		put16(bytes + 2, checksum(bytes, len));
	return len;
}

// Moves past the IP header. False: there is none, or it is not that of ICMP.
static bool skip_ip_header(const uint8_t **bytes, size_t *len)
{
	size_t header;

	if (*len < IP4_HEADER_MIN || (*bytes)[0] >> 4 != 4 || (*bytes)[9] != PROTOCOL_ICMP)
		return false;
	header = (size_t)((*bytes)[0] & 0x0f) * 4;
	if (header < IP4_HEADER_MIN || header > *len)
		return false;
	*bytes += header;
	*len -= header;
	return true;
}

bool echo_decode(int family, const void *packet, size_t len, struct echo_reply *ret)
{
	const uint8_t *bytes = packet;
	uint8_t type = family == AF_INET6 ? ECHO_REPLY_TYPE_V6 : ECHO_REPLY_TYPE_V4;

	if (family == AF_INET && !skip_ip_header(&bytes, &len))
		return false;
	if (len < ECHO_HEADER_BYTES || bytes[0] != type || bytes[1] != 0)
		return false;
	if (family == AF_INET && checksum(bytes, len) != 0)
		return false;
	*ret = (struct echo_reply){ .id = get16(bytes + 4),
				    .sequence = get16(bytes + 6),
				    .payload = bytes + ECHO_HEADER_BYTES,
				    .payload_len = len - ECHO_HEADER_BYTES };
	return true;
}
