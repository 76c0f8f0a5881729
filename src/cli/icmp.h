// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: ICMP messages as bytes: what a probe asks, and reading what comes back, which may be anything.
#pragma once

#include "core/icmp.h"
#include "core/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ICMP_COOKIE_BYTES 8

enum icmp_kind { ICMP_KIND_ECHO, ICMP_KIND_TIMESTAMP }; // the second in IPv4 only

struct icmp_probe {
	enum icmp_kind kind;
	uint16_t id;
	uint16_t sequence;
	uint8_t cookie[ICMP_COOKIE_BYTES]; // echo: tells ours from others with the same id
};

// Writes a request of `len` bytes, at least ICMP_HEADER_BYTES + ICMP_COOKIE_BYTES for an echo and 20 for a timestamp, with its checksum (that
// of ICMPv6 is left to the kernel). originate_ms: timestamp, since midnight UTC.
void icmp_encode(const struct icmp_probe *probe, int family, uint32_t originate_ms, uint8_t *ret,
		 size_t len);

struct icmp_answer {
	uint16_t sequence;
	bool has_time;
	uint32_t receive_ms; // timestamp: since midnight UTC by the answerer's clock
};

// What a raw socket received: IPv4 with its header, IPv6 without. 0; -ENOMSG: it is no answer to this probe (its sequence is not
// looked at); -EBADMSG: malformed.
int icmp_decode(const struct icmp_probe *probe, int family, const uint8_t *data, size_t len,
		struct icmp_answer *ret);
