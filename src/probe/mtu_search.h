// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the search for the largest packet that a path carries, as a pure sequence of questions: does one of this size get through?
//
// DOC: order
//
// The largest first, for most paths carry it; then the smallest, for a path that carries not even that says nothing; then halves. A size counts as
// too large after several losses, and in the end the smallest of those is asked again: had it been lost by chance, the search goes on from there,
// so that a lossy path does not read as a narrow one.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MTU_TRIES 3

enum mtu_step {
	MTU_ASK,   // ask for search->size
	MTU_FOUND, // search->good is the largest
	MTU_NONE,  // nothing gets through
};

struct mtu_search {
	uint16_t size; // being asked
	uint16_t good; // gets through; 0: none known yet
	uint16_t bad;  // does not; ceiling + 1: none known yet
	uint16_t floor, ceiling;
	uint8_t losses; // of this size
	bool is_confirming;
};

// floor <= ceiling, both at least 1.
void mtu_search_begin(struct mtu_search *search, uint16_t floor, uint16_t ceiling);
// is_sure: a loss that no second try would change.
enum mtu_step mtu_search_step(struct mtu_search *search, bool is_answered, bool is_sure);
