// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which subnet a client of flannel's API gets: flannel's rule, any of the first hundred free ones.
#include "controller/v1_internal.h"

#include <errno.h>
#include <stdlib.h>

#define FREE_MAX 100

static int by_address(const void *a, const void *b)
{
	return ipnet_compare(a, b);
}

int v1_choose(const struct netconf_family *family, struct ipnet *taken, size_t count, struct ipnet *ret)
{
	const struct ipnet first = ipnet_of(&family->subnet_min, family->subnet_len);
	uint64_t subnets = netconf_family_subnets(family);
	struct ipnet found[FREE_MAX];
	size_t found_count = 0, next = 0;
	u128 taken_up_to = 0; // the end of what begins before the candidate: one past its last address

	qsort(taken, count, sizeof(*taken), by_address);
	for (uint64_t i = 0; i < subnets && found_count < FREE_MAX; i++) {
		struct ipnet candidate = ipnet_next(&first, i);
		u128 begin = ip_value(&candidate.addr), end = begin + ipnet_size(&candidate);

		for (; next < count && ip_value(&taken[next].addr) < end; next++) {
			u128 last = ip_value(&taken[next].addr) + ipnet_size(&taken[next]);

			taken_up_to = last > taken_up_to ? last : taken_up_to;
		}
		if (taken_up_to <= begin)
			found[found_count++] = candidate;
	}
	if (found_count == 0)
		return -ENOSPC;
	*ret = found[random_below(found_count)];
	return 0;
}
