// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a lease, its store key and its store value.
#pragma once

#include "core/err.h"
#include "core/ipnet.h"
#include "core/netconf.h"
#include "core/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEASE_VALUE_MAX (64 * 1024)
#define LEASE_KEY_MAX \
	96 // bytes of "10.5.34.0-24&fd00:10:5:22::-64" with the terminator, at the most

// What a lease is a lease of. v4 unset: an IPv6-only lease, key form "0.0.0.0-0&<v6>-<len>".
struct subnet {
	struct ipnet v4;
	struct ipnet v6;
};

#define SUBNET_STR_MAX (2 * IPNET_STR_MAX + 4)

bool subnet_equal(const struct subnet *a, const struct subnet *b);
uint64_t subnet_hash(const struct subnet *subnet);
bool subnet_overlaps(const struct subnet *a, const struct subnet *b); // in either family
const char *subnet_str(const struct subnet *subnet,
		       char buf[static SUBNET_STR_MAX]); // "10.1.2.0/24,fd00::/64"

// "10.5.34.0-24" or "10.5.34.0-24&fd00:10:5:22::-64"; host bits are an error. -EINVAL.
int subnet_parse_key(const char *text, size_t len, struct subnet *ret, struct err *e);
void subnet_format_key(const struct subnet *subnet, char ret[static LEASE_KEY_MAX]);

// What its owner says about itself. Owns its strings.
struct lease_attrs {
	struct ip public_ip;   // AF_UNSPEC if the lease has none (reads as 0.0.0.0 in flannel)
	struct ip public_ipv6; // AF_UNSPEC if none
	char backend_type[BACKEND_TYPE_MAX]; // "" if none
	char *backend_data;		     // compact JSON text or NULL
	char *backend_v6_data;		     // compact JSON text or NULL
	char *paths; // weft's own member WeftPaths, which flannel ignores: compact JSON text or NULL
	char *extra; // members that we do not know, as compact JSON object text, or NULL
};

void lease_attrs_free(struct lease_attrs *attrs); // leaves it zero
void lease_attrs_copy(const struct lease_attrs *src, struct lease_attrs *ret);
bool lease_attrs_equal(const struct lease_attrs *a, const struct lease_attrs *b);
bool lease_attrs_same_data(const struct lease_attrs *a, const struct lease_attrs *b); // the backend's
// The store value. Members in flannel's order; a bare lease is exactly {"PublicIP":"1.2.3.4","PublicIPv6":null}. COMPAT.
int lease_attrs_parse(const char *text, size_t len, struct lease_attrs *ret, struct err *e);
char *lease_attrs_format(const struct lease_attrs *attrs); // caller frees

struct lease {
	struct subnet subnet;
	uint32_t mark; // for whoever keeps the lease in a set of his; says nothing about the lease
	struct lease_attrs attrs;
	int64_t mod_revision; // of the store's key; the compare of every later write
	int64_t session;      // the store's lease or session id; 0: a reservation, without expiry
	int64_t create_revision; // of the key, since it was last absent; 0: unknown
};

void lease_free(struct lease *lease); // frees what it owns, leaves it zero
void lease_copy(const struct lease *src, struct lease *ret);
#define _cleanup_lease_ _cleanup_(lease_free)
