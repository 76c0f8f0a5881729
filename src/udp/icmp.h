// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the ICMP errors that a router owes to who sent a packet.
#pragma once

#include "core/ip.h"
#include "udp/packet.h"

enum icmp_error {
	ICMP_ERROR_NO_ROUTE,
	ICMP_ERROR_TIME_EXCEEDED,
	ICMP_ERROR_TOO_BIG,
	ICMP_ERROR_COUNT
};

enum { ICMP_ERROR_MAX = 1280 };

// Writes the whole IP packet, from address `from`, about a packet whose TTL is still what it came with. mtu is only for
// ICMP_ERROR_TOO_BIG. Returns its length; 0: none may be sent about this one (RFC 1122 3.2.2, RFC
// 4443 2.4), or from is of another family.
size_t icmp_error_write(enum icmp_error error, uint16_t mtu, const struct packet *about,
			const struct ip *from, uint8_t ret[static ICMP_ERROR_MAX]);
