// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: loads and stores of numbers at any address, in the order of the network.
#pragma once

#include <endian.h>
#include <stdint.h>
#include <string.h>

// By memcpy, never through a cast pointer: a header written as one type and summed as another is
// what an optimizer may reorder.
static inline uint16_t load16(const uint8_t *at)
{
	uint16_t value;
	memcpy(&value, at, sizeof(value));
	return be16toh(value);
}

static inline uint32_t load32(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof(value));
	return be32toh(value);
}

static inline void store16(uint8_t *at, uint16_t value)
{
	value = htobe16(value);
	memcpy(at, &value, sizeof(value));
}

static inline void store32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, sizeof(value));
}
