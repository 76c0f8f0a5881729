// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing what raw ICMP sockets receive, and that the answer to our own request is read.
#include "fuzz.h"

#include "cli/icmp.h"

#include <errno.h>

static void decode(enum icmp_kind kind, int family, const uint8_t *data, size_t size)
{
	const struct icmp_probe probe = { .kind = kind, .id = 0x1234, .cookie = "cookie!" };
	struct icmp_answer answer = { 0 };
	int r = icmp_decode(&probe, family, data, size, &answer);

	must(r == 0 || r == -ENOMSG || r == -EBADMSG);
	must(!answer.has_time || (kind == ICMP_KIND_TIMESTAMP && answer.receive_ms < 86400000));
}

// What is sent, made an answer by its type, is read back.
static void echo(const uint8_t *data, size_t size)
{
	struct icmp_probe probe = { .kind = ICMP_KIND_ECHO, .id = 7 };
	struct icmp_answer answer = { 0 };
	uint8_t packet[256];
	size_t len = 16 + size % 200;

	memcpy(probe.cookie, data, size < ICMP_COOKIE_BYTES ? size : ICMP_COOKIE_BYTES);
	probe.sequence = size > 8 ? data[8] : 1;
	icmp_encode(&probe, AF_INET6, 0, packet, len);
	must(icmp_decode(&probe, AF_INET6, packet, len, &answer) == -ENOMSG);
	packet[0] = 129;
	must(icmp_decode(&probe, AF_INET6, packet, len, &answer) == 0);
	must(answer.sequence == probe.sequence);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	decode(ICMP_KIND_ECHO, AF_INET, data, size);
	decode(ICMP_KIND_TIMESTAMP, AF_INET, data, size);
	decode(ICMP_KIND_ECHO, AF_INET6, data, size);
	echo(data, size);
	return 0;
}
