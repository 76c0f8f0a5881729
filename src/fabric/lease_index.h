// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: leases in the order of one of their addresses, so that overlaps and equal addresses are found without looking at all.
#pragma once

#include "core/lease.h"

enum lease_index_key {
	LEASE_INDEX_V4, // the IPv4 subnet's address
	LEASE_INDEX_V6, // the IPv6 subnet's address
	LEASE_INDEX_PUBLIC_IP,
	LEASE_INDEX_PUBLIC_IPV6,
	LEASE_INDEX_KEY_COUNT
};

// The address that a lease is ordered by; none (AF_UNSPEC): the lease does not belong into that index.
const struct ip *lease_index_key(enum lease_index_key key, const struct lease *lease);

// Borrows its leases: one is taken out before its key changes or it goes away. Eight bytes a lease.
struct lease_index;
struct lease_index *lease_index_new(enum lease_index_key key);
struct lease_index *lease_index_free(struct lease_index *index);
size_t lease_index_count(const struct lease_index *index);
void lease_index_add(struct lease_index *index, struct lease *lease); // one without the key is left out
void lease_index_remove(struct lease_index *index, const struct lease *lease);

// The last lease whose key is not above this address; NULL if there is none.
struct lease *lease_index_at_or_before(const struct lease_index *index, const struct ip *ip);
// The nth (from 0) of the leases with exactly this key; NULL behind the last.
struct lease *lease_index_equal(const struct lease_index *index, const struct ip *ip, size_t nth);
