// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: an IP prefix as a value, its text and its arithmetic.
#pragma once

#include "core/ip.h"

// Host bits of addr are always zero. addr.family AF_UNSPEC means "none".
struct ipnet {
	struct ip addr;
	uint8_t len;
};

#define IPNET_STR_MAX (IP_STR_MAX + 4)

// "10.5.6.7/16" gives 10.5.0.0/16. -EINVAL.
int ipnet_parse(const char *text, struct ipnet *ret);
const char *ipnet_str(const struct ipnet *net, char buf[static IPNET_STR_MAX]);

struct ipnet ipnet_of(const struct ip *ip, unsigned int len); // masks; len is clamped to the width
bool ipnet_is_set(const struct ipnet *net);
bool ipnet_equal(const struct ipnet *a, const struct ipnet *b);
int ipnet_compare(const struct ipnet *a, const struct ipnet *b); // by family, address, length
bool ipnet_contains(const struct ipnet *net, const struct ip *ip);
bool ipnet_contains_net(const struct ipnet *outer, const struct ipnet *inner);
bool ipnet_overlaps(const struct ipnet *a, const struct ipnet *b); // false for different families or none
struct ip ipnet_last(const struct ipnet *net);
u128 ipnet_size(const struct ipnet *net); // number of addresses; ::/0 gives 0 (2^128 does not fit)
struct ipnet ipnet_next(const struct ipnet *net, u128 steps); // steps prefixes further; wraps
