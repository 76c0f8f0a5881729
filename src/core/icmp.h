// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what ICMP messages of all kinds share as bytes (RFC 792, RFC 4443): numbers, checksum, and what a raw socket puts before them.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ICMP_HEADER_BYTES 8

static inline uint16_t icmp_get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline void icmp_put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

// RFC 1071, as a number. Of a message whose checksum is right: 0.
uint16_t icmp_checksum(const uint8_t *data, size_t len);
// Moves past the IPv4 header, which a raw socket hands over with the message. -EBADMSG: there is none; -ENOMSG: not of ICMP.
int icmp_skip_ipv4(const uint8_t **data, size_t *len);
