// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a 48-bit MAC address as a value.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mac {
	uint8_t bytes[6];
};

#define MAC_STR_MAX 18

int mac_parse(const char *text, struct mac *ret); // exactly six hex pairs with ':'; -EINVAL
const char *mac_str(const struct mac *mac, char buf[static MAC_STR_MAX]);
bool mac_equal(const struct mac *a, const struct mac *b);
bool mac_is_usable(const struct mac *mac); // unicast and not all zero
// A locally administered unicast MAC that is a pure function of the seed bytes.
struct mac mac_derive(const void *seed, size_t len);
