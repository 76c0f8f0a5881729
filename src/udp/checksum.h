// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the Internet checksum (RFC 1071), by the widest instructions that the machine has.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Adds len bytes to a sum that is not folded yet. Words are in the machine's own order, which the
// checksum does not mind: what checksum_fold gives is stored as it is. data begins at an even offset
// of what is summed; an odd length is only for the last piece.
uint64_t checksum_add(uint64_t sum, const void *data, size_t len);

// Folded to 16 bits and not complemented. Over bytes with a right checksum among them: 0xffff.
static inline uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

// Stores a folded sum, or its complement, into a header.
static inline void checksum_store(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

// One way of summing, for tests and measurements; NULL past the last one that this machine can do.
struct checksum_method {
	const char *name;
	uint64_t (*add)(uint64_t sum, const void *data, size_t len);
};
const struct checksum_method *checksum_method_at(size_t index);
