// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: searching for the MTU of the paths to peers, a few at a time and within the rate of the other probes.
#include "probe/prober_internal.h"

#include <errno.h>

// Many probes of a search are lost, so it does not wait longer for each than the peer is known to need.
#define TIMEOUT_LEAST_MS 300
#define TIMEOUT_MOST_MS 1000
#define TIMEOUT_RTTS 8

static struct target *find_target(const struct prober *prober, const struct search *search)
{
	const struct probe_group *group = prober_find_group(prober, search->group);

	return group ? target_table_find(group->table, &search->key) : NULL;
}

bool prober_has_searches(const struct prober *prober)
{
	for (size_t i = 0; i < PROBER_SEARCHES_MAX; i++)
		if (prober->searches[i].is_active)
			return true;
	return false;
}

static void end_search(struct prober *prober, struct search *search, uint16_t mtu_bytes)
{
	const struct probe_group *group = prober_find_group(prober, search->group);
	struct target *target = find_target(prober, search);

	search->is_active = false;
	if (!target)
		return;
	target->path_mtu_bytes = mtu_bytes & 0x7fff;
	prober->config.mtu->found(group->arg, target);
}

static void step(struct prober *prober, struct search *search, bool is_answered, bool is_sure)
{
	enum mtu_step next = mtu_search_step(&search->state, is_answered, is_sure);

	search->is_waiting = false;
	if (next == MTU_FOUND)
		end_search(prober, search, search->state.good);
	else if (next == MTU_NONE)
		end_search(prober, search, TARGET_MTU_UNMEASURABLE);
}

void prober_search_result(struct prober *prober, const struct flight *flight, bool is_answered)
{
	struct search *search = &prober->searches[flight->search - 1];

	if (search->is_active && search->is_waiting)
		step(prober, search, is_answered, false);
}

// Whether a path that is known is to be looked at again. Each answer of a peer is a throw of the dice, so that none needs a clock of its own.
static bool is_due(const struct prober *prober)
{
	uint64_t round_ms = PROBE_WAY_COUNT * prober_count_targets(prober) *
			    prober_least_pause_ms(prober);
	uint64_t between_ms = round_ms > prober->config.period_ms ? round_ms
								  : prober->config.period_ms;

	return random_below(prober->config.mtu->recheck_ms) < between_ms;
}

void prober_consider_search(struct prober *prober, const struct probe_group *group,
			    struct target *target)
{
	const struct prober_mtu *mtu = prober->config.mtu;
	uint16_t floor = 0, ceiling = 0;
	struct search *free = NULL;

	if (!mtu || (target->path_mtu_bytes != TARGET_MTU_UNKNOWN && !is_due(prober)))
		return;
	for (size_t i = 0; i < PROBER_SEARCHES_MAX; i++) {
		struct search *search = &prober->searches[i];

		if (!search->is_active)
			free = search;
		else if (find_target(prober, search) == target)
			return;
	}
	if (!free || !mtu->range(group->arg, &target->key, &floor, &ceiling) || floor > ceiling ||
	    ceiling > ECHO_PACKET_MAX)
		return;
	*free = (struct search){ .is_active = true, .group = group->id, .key = target->key };
	mtu_search_begin(&free->state, floor, ceiling);
}

static uint64_t timeout_ms(const struct target *target)
{
	uint64_t ms = TIMEOUT_LEAST_MS +
		      (uint64_t)target->ways[PROBE_UNDERLAY].average_us * TIMEOUT_RTTS / 1000;

	return ms < TIMEOUT_MOST_MS ? ms : TIMEOUT_MOST_MS;
}

// False: it has nothing to ask now.
static bool ask(struct prober *prober, struct search *search)
{
	const struct target *target = find_target(prober, search);
	struct probe_request request = { .key = &search->key,
					 .way = PROBE_UNDERLAY,
					 .packet_bytes = search->state.size,
					 .search = (uint8_t)(search - prober->searches + 1) };
	int r = -ENOENT;

	if (target) {
		request.group = prober_find_group(prober, search->group);
		request.timeout_ms = timeout_ms(target);
		r = prober_send(prober, &request);
	}
	if (r == -ENOENT) {
		search->is_active = false;
		return false;
	}
	if (r > 0)
		search->is_waiting = true;
	else if (r < 0)
		step(prober, search, false, r == -EMSGSIZE);
	return true;
}

bool prober_probe_search(struct prober *prober)
{
	for (size_t i = 0; i < PROBER_SEARCHES_MAX; i++) {
		struct search *search = &prober->searches[i];

		if (search->is_active && !search->is_waiting && ask(prober, search))
			return true;
	}
	return false;
}
