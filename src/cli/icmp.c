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
#define IPV4_HEAD_BYTES 20
#define PROTOCOL_ICMP 1
#define NOT_STANDARD 0x80000000u // a timestamp that is not milliseconds since midnight
#define DAY_MS 86400000u

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, (uint16_t)(value >> 16));
	put16(at + 2, (uint16_t)value);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

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

void icmp_encode(const struct icmp_probe *probe, int family, uint32_t originate_ms, uint8_t *ret,
		 size_t len)
{
	bool is_time = probe->kind == ICMP_KIND_TIMESTAMP;

	assert(len >= (is_time ? TIMESTAMP_BYTES : ICMP_HEAD_BYTES + ICMP_COOKIE_BYTES));
	memset(ret, 0, len);
	ret[0] = family == AF_INET6 ? ECHO6_REQUEST : is_time ? TIMESTAMP_REQUEST : ECHO_REQUEST;
	put16(ret + 4, probe->id);
	put16(ret + 6, probe->sequence);
	if (is_time)
		put32(ret + ICMP_HEAD_BYTES, originate_ms);
	else
		memcpy(ret + ICMP_HEAD_BYTES, probe->cookie, ICMP_COOKIE_BYTES);
	if (family == AF_INET)
		put16(ret + 2, checksum(ret, len));
}

// Moves past the IPv4 header.
static int skip_ipv4(const uint8_t **data, size_t *len)
{
	size_t head;

	if (*len < IPV4_HEAD_BYTES || (*data)[0] >> 4 != 4)
		return -EBADMSG;
	head = (size_t)((*data)[0] & 0xf) * 4;
	if (head < IPV4_HEAD_BYTES || head > *len)
		return -EBADMSG;
	if ((*data)[9] != PROTOCOL_ICMP)
		return -ENOMSG;
	*data += head;
	*len -= head;
	return 0;
}

static int read_time(const uint8_t *data, size_t len, struct icmp_answer *ret)
{
	uint32_t receive_ms;

	if (len < TIMESTAMP_BYTES)
		return -EBADMSG;
	receive_ms = get32(data + ICMP_HEAD_BYTES + 4);
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
		r = skip_ipv4(&data, &len);
	if (r < 0)
		return r;
	if (len < ICMP_HEAD_BYTES)
		return -EBADMSG;
	if (data[0] != wanted || data[1] != 0 || get16(data + 4) != probe->id)
		return -ENOMSG;
	answer.sequence = get16(data + 6);
	if (is_time)
		r = read_time(data, len, &answer);
	else if (len < ICMP_HEAD_BYTES + ICMP_COOKIE_BYTES ||
		 memcmp(data + ICMP_HEAD_BYTES, probe->cookie, ICMP_COOKIE_BYTES) != 0)
		r = -ENOMSG;
	if (r < 0)
		return r;
	*ret = answer;
	return 0;
}
