// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the last probes of one peer came to, in 20 bytes. A time is kept as one of 254 steps of 6 %, so that a minimum and a percentile
// of the last probes cost no more than a byte each.
#pragma once

#include <stdint.h>

#define WINDOW_PROBES 16
#define WINDOW_DOWN 3 // that many lost in a row: not reached

struct window {
	uint32_t average_us; // of the answered, a new one counting an eighth; 0: none yet
	uint8_t outcomes[WINDOW_PROBES]; // newest first
};

enum window_state {
	WINDOW_UNKNOWN, // not asked yet
	WINDOW_OK,
	WINDOW_LOSSY,
	WINDOW_UNREACHABLE,
	WINDOW_STATE_COUNT
};
extern const char *const window_state_names[WINDOW_STATE_COUNT];

struct window_summary {
	enum window_state state;
	unsigned int sent; // at most WINDOW_PROBES
	unsigned int lost;
	unsigned int lost_in_a_row; // the newest ones
	uint32_t average_us;	    // this and the next are 0 where nothing was answered
	uint32_t min_us;	    // of those in the window, within 3 %
	uint32_t p90_us;
};

void window_add_reply(struct window *window, uint32_t rtt_us);
void window_add_loss(struct window *window);
void window_sum(const struct window *window, struct window_summary *ret);
