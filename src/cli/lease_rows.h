// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: all leases of a network as a sorted list, with what is wrong among them.
#pragma once

#include "cli/store_access.h"
#include "core/lease.h"

#include <jansson.h>

#define EXPIRY_UNKNOWN (-1)   // was not asked for, or the store did not say
#define EXPIRY_NEVER (-2)     // a reservation
#define EXPIRY_ASKED_MAX 1000 // each is a request of its own

struct lease_row {
	struct lease lease;
	int64_t expires_in_s;
};

// A key or value that cannot be used.
struct lease_fault {
	char *key;
	char *why;
	int64_t mod_revision;
};

struct lease_rows {
	struct lease_row *rows; // in subnet order
	size_t count;
	struct lease_fault *faults;
	size_t fault_count;
	// For filling them.
	struct store_access *store;
	size_t capacity;
	size_t fault_capacity;
};

// -errno: store->err says why.
int lease_rows_read(struct store_access *store, struct lease_rows *ret);
// Fills expires_in_s of rows[from..to), at the most EXPIRY_ASKED_MAX of them.
int lease_rows_ask_expiry(struct lease_rows *rows, size_t from, size_t to);
// Adds faults for what is readable but wrong: outside the network of conf (NULL: not checked), overlapping, two of one host.
void lease_rows_check(struct lease_rows *rows, const struct netconf *conf);
void lease_rows_free(struct lease_rows *rows);
#define _cleanup_lease_rows_ _cleanup_(lease_rows_free)

json_t *lease_row_json(const struct lease_row *row);
json_t *lease_faults_json(const struct lease_rows *rows);
