// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the search for the largest packet that a path carries.
#include "probe/mtu_search.h"

void mtu_search_begin(struct mtu_search *search, uint16_t floor, uint16_t ceiling)
{
	*search = (struct mtu_search){
		.size = ceiling, .bad = (uint16_t)(ceiling + 1), .floor = floor, .ceiling = ceiling
	};
}

static enum mtu_step ask(struct mtu_search *search, uint16_t size)
{
	search->size = size;
	search->losses = 0;
	return MTU_ASK;
}

static enum mtu_step ask_between(struct mtu_search *search)
{
	search->is_confirming = false;
	return ask(search, (uint16_t)(search->good + (search->bad - search->good) / 2));
}

static enum mtu_step take_good(struct mtu_search *search)
{
	search->good = search->size;
	// What was too large a moment ago is not: nothing is known of what lies above it.
	if (search->is_confirming)
		search->bad = (uint16_t)(search->ceiling + 1);
	if (search->good >= search->ceiling)
		return MTU_FOUND;
	if (search->bad - search->good > 1)
		return ask_between(search);
	search->is_confirming = true;
	return ask(search, search->bad);
}

static enum mtu_step take_bad(struct mtu_search *search)
{
	search->bad = search->size;
	if (search->good == 0)
		return search->size > search->floor ? ask(search, search->floor) : MTU_NONE;
	if (search->is_confirming)
		return MTU_FOUND;
	if (search->bad - search->good > 1)
		return ask_between(search);
	search->is_confirming = true;
	return ask(search, search->bad);
}

enum mtu_step mtu_search_step(struct mtu_search *search, bool is_answered, bool is_sure)
{
	if (is_answered)
		return take_good(search);
	if (!is_sure && ++search->losses < MTU_TRIES)
		return MTU_ASK;
	return take_bad(search);
}
