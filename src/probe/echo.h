// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: ICMP and ICMPv6 echo as bytes (RFC 792, RFC 4443 section 4): a request, and a reply that is told from all else.
#pragma once

#include "core/icmp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ECHO_REPLY_TYPE_V4 0
#define ECHO_REPLY_TYPE_V6 129
#define ECHO_COOKIE_BYTES 8
#define ECHO_PACKET_MAX 10240 // more than a jumbo frame

struct echo_reply {
	uint16_t id;
	uint16_t sequence;
	const uint8_t *payload; // into the packet
	size_t payload_len;
};

// payload_len bytes at least ECHO_COOKIE_BYTES: the cookie, then zeros. packet has room for ICMP_HEADER_BYTES more; returns how many bytes were
// written. The checksum of ICMPv6 is the kernel's affair.
size_t echo_encode(int family, uint16_t id, uint16_t sequence,
		   const uint8_t cookie[static ECHO_COOKIE_BYTES], size_t payload_len, void *packet);
// What a raw socket got: for IPv4 with the IP header, for IPv6 without. False: no whole echo reply, or a wrong checksum (of IPv4; a raw socket
// gets the packet before the kernel looks at that).
bool echo_decode(int family, const void *packet, size_t len, struct echo_reply *ret);
