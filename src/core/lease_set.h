// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a set of leases keyed by subnet, in no order; the table of peers stands on it.
#pragma once

#include "core/lease.h"

struct lease_set;
struct lease_set *lease_set_new(void);
struct lease_set *lease_set_free(struct lease_set *set); // and all leases in it; returns NULL
static inline void lease_set_freep(struct lease_set **set)
{
	lease_set_free(*set);
}

size_t lease_set_count(const struct lease_set *set);
// Borrowed; pointers stay valid until that lease is removed or replaced. NULL if absent.
struct lease *lease_set_find(const struct lease_set *set, const struct subnet *subnet);
// Takes over what *lease owns (leaves it zero); an equal subnet is replaced. Returns the stored lease.
struct lease *lease_set_put(struct lease_set *set, struct lease *lease);
bool lease_set_remove(struct lease_set *set, const struct subnet *subnet);
// The first lease that overlaps in either family, or NULL. Linear.
struct lease *lease_set_find_overlap(const struct lease_set *set, const struct subnet *subnet);
// The first lease (in subnet order) with this public IPv4 (or, for an IPv6 address, public IPv6), or NULL. Linear.
struct lease *lease_set_find_public_ip(const struct lease_set *set, const struct ip *ip);
// Iteration: start with *position = 0; NULL at the end. Removing the lease just returned is allowed.
struct lease *lease_set_next(const struct lease_set *set, size_t *position);
