// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the last probes of one peer came to.
#include "probe/window.h"

#include "core/mem.h"

#include <assert.h>
#include <string.h>

enum { OUTCOME_NONE = 0, OUTCOME_STEPS = 254, OUTCOME_LOST = 255 };

const char *const window_state_names[WINDOW_STATE_COUNT] = {
	[WINDOW_UNKNOWN] = "unknown",
	[WINDOW_OK] = "ok",
	[WINDOW_LOSSY] = "lossy",
	[WINDOW_UNREACHABLE] = "unreachable",
};

// steps[k] is the time that outcome k stands for: 1, 2, ... and from 33 on 6 % more each, which ends beyond 3 s.
static const uint32_t *steps(void)
{
	static uint32_t table[OUTCOME_STEPS + 1];

	for (unsigned int k = 1; table[OUTCOME_STEPS] == 0 && k <= OUTCOME_STEPS; k++)
		table[k] = table[k - 1] + (table[k - 1] < 33 ? 1 : table[k - 1] * 3 / 50);
	return table;
}

static uint8_t nearest_step(uint32_t rtt_us)
{
	const uint32_t *table = steps();
	unsigned int low = 1, high = OUTCOME_STEPS;

	while (low < high) {
		unsigned int middle = (low + high) / 2;

		if (table[middle] < rtt_us)
			low = middle + 1;
		else
			high = middle;
	}
	if (low > 1 && rtt_us < table[low] && rtt_us - table[low - 1] < table[low] - rtt_us)
		low--;
	return (uint8_t)low;
}

static void push(struct window *window, uint8_t outcome)
{
	memmove(window->outcomes + 1, window->outcomes, WINDOW_PROBES - 1);
	window->outcomes[0] = outcome;
}

void window_add_reply(struct window *window, uint32_t rtt_us)
{
	int64_t difference = (int64_t)rtt_us - window->average_us;

	push(window, nearest_step(rtt_us));
	if (window->average_us == 0)
		window->average_us = rtt_us > 0 ? rtt_us : 1;
	else
		window->average_us = (uint32_t)((int64_t)window->average_us + difference / 8);
}

void window_add_loss(struct window *window)
{
	push(window, OUTCOME_LOST);
}

// Smallest first; there are few.
static void insert_sorted(uint8_t *sorted, unsigned int count, uint8_t value)
{
	unsigned int at = count;

	for (; at > 0 && sorted[at - 1] > value; at--)
		sorted[at] = sorted[at - 1];
	sorted[at] = value;
}

static enum window_state state_of(const struct window_summary *sum)
{
	if (sum->sent == 0)
		return WINDOW_UNKNOWN;
	if (sum->lost_in_a_row >= WINDOW_DOWN || sum->lost == sum->sent)
		return WINDOW_UNREACHABLE;
	return sum->lost > 0 ? WINDOW_LOSSY : WINDOW_OK;
}

void window_sum(const struct window *window, struct window_summary *ret)
{
	struct window_summary sum = { 0 };
	uint8_t sorted[WINDOW_PROBES];
	unsigned int answered = 0;

	for (size_t i = 0; i < WINDOW_PROBES && window->outcomes[i] != OUTCOME_NONE; i++) {
		sum.sent++;
		if (window->outcomes[i] != OUTCOME_LOST) {
			insert_sorted(sorted, answered++, window->outcomes[i]);
			continue;
		}
		sum.lost++;
		if (sum.lost == sum.sent)
			sum.lost_in_a_row++;
	}
	if (answered > 0) {
		sum.average_us = window->average_us;
		sum.min_us = steps()[sorted[0]];
		sum.p90_us = steps()[sorted[(answered * 9 + 9) / 10 - 1]];
	}
	sum.state = state_of(&sum);
	*ret = sum;
}
