// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one transaction on records under way, between who sends it and who judges its answer.
#pragma once

#include "ipam/ipam_internal.h"

// What the store has of a key.
struct record_found {
	bool is_there;
	bool is_readable;
	int64_t revision;
	struct address_record record;
	char *text;
};

struct record_write {
	struct record_write *next;
	struct ipam *ipam;
	bool is_delete;
	size_t count;
	struct slot *slots[FAMILY_COUNT];
	char *keys[FAMILY_COUNT];
	char *values[FAMILY_COUNT];
	struct record_found found[FAMILY_COUNT];
	char *fence_key;
	bool fence_is_there;
	bool fence_is_ours;
	int64_t fence_revision; // as found
	int64_t fence_compared;
};

// ---- record_settle.c ----
// The compares did not hold. Slots are not busy any more, and want what is to be done next.
void record_settle(struct record_write *write);
