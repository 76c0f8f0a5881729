// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: who is to go when: subnets in the order in which their time is over.
#pragma once

#include "core/lease.h"

struct hold {
	struct subnet subnet;
	uint32_t serial; // tells this hold from an earlier one of the same subnet
	uint64_t until_ms;
};

struct hold_queue {
	struct hold *holds;
	size_t first;
	size_t count;
	size_t capacity;
};

void hold_queue_clear(struct hold_queue *queue);			// leaves it zero
void hold_queue_add(struct hold_queue *queue, const struct hold *hold); // not before the last one's time
const struct hold *hold_queue_first(const struct hold_queue *queue); // NULL if empty
void hold_queue_drop(struct hold_queue *queue);			     // the first one
