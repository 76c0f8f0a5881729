// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: ICMP messages as bytes. Their layout is that of RFC 792 and RFC 4443.
#include "cli/icmp.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define ECHO_REQUEST 8
#define ECHO_REPLY 0
#define TIMESTAMP_REQUEST 13
#define TIMESTAMP_REPLY 14
#define ECHO6_REQUEST 128
#define ECHO6_REPLY 129
#define TIMESTAMP_BYTES 20
#define NOT_STANDARD 0x80000000u // a timestamp that is not milliseconds since midnight
#define DAY_MS 86400000u

static void put32(uint8_t *at, uint32_t value)
{
	icmp_put16(at, (uint16_t)(value >> 16));
	icmp_put16(at + 2, (uint16_t)value);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)icmp_get16(at) << 16 | icmp_get16(at + 2);
}

void icmp_encode(const struct icmp_probe *probe, int family, uint32_t originate_ms, uint8_t *ret,
		 size_t len)
{
	bool is_time = probe->kind == ICMP_KIND_TIMESTAMP;

	assert(len >= (is_time ? TIMESTAMP_BYTES : ICMP_HEADER_BYTES + ICMP_COOKIE_BYTES));
	memset(ret, 0, len);
	ret[0] = family == AF_INET6 ? ECHO6_REQUEST : is_time ? TIMESTAMP_REQUEST : ECHO_REQUEST;
	icmp_put16(ret + 4, probe->id);
	icmp_put16(ret + 6, probe->sequence);
	if (is_time)
		put32(ret + ICMP_HEADER_BYTES, originate_ms);
	else
		memcpy(ret + ICMP_HEADER_BYTES, probe->cookie, ICMP_COOKIE_BYTES);
	if (family == AF_INET)
		icmp_put16(ret + 2, icmp_checksum(ret, len));
}

static int read_time(const uint8_t *data, size_t len, struct icmp_answer *ret)
{
	uint32_t receive_ms;

	if (len < TIMESTAMP_BYTES)
		return -EBADMSG;
	receive_ms = get32(data + ICMP_HEADER_BYTES + 4);
	ret->has_time = (receive_ms & NOT_STANDARD) == 0 && receive_ms < DAY_MS;
	ret->receive_ms = ret->has_time ? receive_ms : 0;
	return 0;
}

int icmp_decode(const struct icmp_probe *probe, int family, const uint8_t *data, size_t len,
		struct icmp_answer *ret)
{
	bool is_time = probe->kind == ICMP_KIND_TIMESTAMP;
	uint8_t wanted = family == AF_INET6 ? ECHO6_REPLY : is_time ? TIMESTAMP_REPLY : ECHO_REPLY;
	struct icmp_answer answer = { 0 };
	int r = 0;

	if (family == AF_INET)
		r = icmp_skip_ipv4(&data, &len);
	if (r < 0)
		return r;
	if (len < ICMP_HEADER_BYTES)
		return -EBADMSG;
	if (data[0] != wanted || data[1] != 0 || icmp_get16(data + 4) != probe->id)
		return -ENOMSG;
	answer.sequence = icmp_get16(data + 6);
	if (is_time)
		r = read_time(data, len, &answer);
	else if (len < ICMP_HEADER_BYTES + ICMP_COOKIE_BYTES ||
		 memcmp(data + ICMP_HEADER_BYTES, probe->cookie, ICMP_COOKIE_BYTES) != 0)
		r = -ENOMSG;
	if (r < 0)
		return r;
	*ret = answer;
	return 0;
}
