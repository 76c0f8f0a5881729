// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: all records of addresses in a network as a sorted list, with what is wrong among them.
#pragma once

#include "cli/store_access.h"
#include "core/ipnet.h"
#include "store/address_record.h"

#include <jansson.h>

#define ADDRESS_TROUBLE_MAX 128

struct address_row {
	struct address_record record;
	struct ipnet subnet; // of its key
	struct ip ip;	     // likewise
	int64_t mod_revision;
	bool is_readable; // false: why says why, and of the record nothing is set
	char why[ADDRESS_TROUBLE_MAX];
	char leak[ADDRESS_TROUBLE_MAX]; // why nobody may have it any more; "": somebody does
};

struct address_rows {
	struct address_row *rows; // in the order of their addresses
	size_t count;
	size_t capacity;
	int64_t revision; // as of which they are true
	uint64_t cluster_id;
	// For filling them.
	struct store_access *store;
	char *prefix; // of their keys
};

// -errno: store->err says why.
int address_rows_read(struct store_access *store, struct address_rows *ret);
// Fills in leak, from the leases and from what the agents say of themselves.
int address_rows_find_leaks(struct address_rows *rows);
void address_rows_free(struct address_rows *rows);
#define _cleanup_address_rows_ _cleanup_(address_rows_free)

// Reads a pair; false: its key is no address below prefix. *ret is to be freed.
bool address_row_read(const struct kv_pair *pair, const char *prefix, struct address_row *ret);
void address_row_free(struct address_row *row);
json_t *address_row_json(const struct address_row *row);
// "ns/pod", "pod" or "".
void address_row_pod(const struct address_row *row, char *ret, size_t size);
