// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: probing peers: when which one is asked, and what came of it.
#include "probe/prober.h"

#include "core/log.h"
#include "core/mem.h"
#include "probe/prober_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define IP4_HEADER_BYTES 20
#define IP6_HEADER_BYTES 40
#define PACKET_BYTES 104 // of an ordinary probe, with the IP header
#define TRIES_MAX 8	 // targets looked at for one probe: more of them have nowhere to be asked

const uint32_t probe_bucket_us[PROBE_BUCKETS] = { 50,	  100,	  250,	  500,	  1000,
						  2500,	  5000,	  10000,  25000,  50000,
						  100000, 250000, 500000, 1000000 };

struct probe_group *prober_find_group(const struct prober *prober, uint64_t id)
{
	struct probe_group *group = prober->groups;

	while (group && group->id != id)
		group = group->next;
	return group;
}

static struct target *find_target(const struct prober *prober, uint64_t group_id,
				  const struct target_key *key)
{
	struct probe_group *group = prober_find_group(prober, group_id);

	return group ? target_table_find(group->table, key) : NULL;
}

size_t prober_count_targets(const struct prober *prober)
{
	size_t count = 0;

	for (const struct probe_group *group = prober->groups; group; group = group->next)
		count += target_table_count(group->table);
	return count;
}

// ---- when ----

uint64_t prober_least_pause_ms(const struct prober *prober)
{
	return (1000 + prober->config.rate - 1) / prober->config.rate;
}

static uint64_t pause_ms(const struct prober *prober, size_t targets)
{
	uint64_t least_ms = prober_least_pause_ms(prober);
	uint64_t even_ms = prober->config.period_ms / (PROBE_WAY_COUNT * targets);
	bool is_eager = prober->urgent_count > 0 || prober_has_searches(prober);
	uint64_t pause = is_eager || even_ms < least_ms ? least_ms : even_ms;

	return pause + random_below(pause / 4 + 1);
}

static void schedule(struct prober *prober)
{
	size_t targets = prober_count_targets(prober);

	if (targets == 0)
		timer_stop(prober->timer);
	else
		timer_start(prober->timer, pause_ms(prober, targets));
}

// Where there is no room the rounds come to it.
static void push_urgent(struct prober *prober, const struct urgent *urgent)
{
	if (prober->urgent_count == PROBER_URGENT_MAX)
		return;
	prober->urgent[(prober->urgent_first + prober->urgent_count++) % PROBER_URGENT_MAX] = *urgent;
}

// ---- what came of it ----

static void take_loss(struct prober *prober, const struct flight *flight)
{
	struct target *target;
	struct window_summary sum;

	if (flight->search > 0) {
		prober_search_result(prober, flight, false);
		return;
	}
	target = find_target(prober, flight->group, &flight->key);
	prober->stats.ways[flight->way].lost++;
	if (!target)
		return;
	window_add_loss(&target->ways[flight->way]);
	window_sum(&target->ways[flight->way], &sum);
	// Whether it is down is to be known soon, and only once.
	if (sum.lost_in_a_row < WINDOW_DOWN)
		push_urgent(prober, &(struct urgent){ flight->group, flight->key, flight->way });
}

static void take_answer(struct prober *prober, const struct flight *flight, uint64_t rtt_us)
{
	struct target *target = find_target(prober, flight->group, &flight->key);
	struct probe_way_stats *stats = &prober->stats.ways[flight->way];
	uint32_t bounded_us = rtt_us < UINT32_MAX ? (uint32_t)rtt_us : UINT32_MAX;

	stats->answered++;
	stats->rtt_sum_us += rtt_us;
	for (size_t i = 0; i < PROBE_BUCKETS; i++) {
		if (rtt_us > probe_bucket_us[i])
			continue;
		stats->buckets[i]++;
		break;
	}
	if (!target)
		return;
	window_add_reply(&target->ways[flight->way], bounded_us);
	if (flight->way == PROBE_UNDERLAY)
		prober_consider_search(prober, prober_find_group(prober, flight->group), target);
}

static void on_packet(void *arg, int family, const struct ip *from, const void *packet, size_t len,
		      uint64_t age_us)
{
	struct prober *prober = arg;
	struct flight *flight = NULL;
	enum flight_verdict verdict;
	struct echo_reply reply;
	uint64_t rtt_us;

	if (!echo_decode(family, packet, len, &reply)) {
		prober->stats.ignored[FLIGHT_WRONG_CONTENT]++;
		return;
	}
	verdict = flights_match(&prober->flights, from, &reply, &flight);
	if (verdict != FLIGHT_MINE) {
		prober->stats.ignored[verdict]++;
		return;
	}
	if (flight->search > 0) {
		prober_search_result(prober, flight, true);
		return;
	}
	rtt_us = echo_now_us() - flight->sent_us;
	take_answer(prober, flight, age_us < rtt_us ? rtt_us - age_us : rtt_us);
}

static void on_packet4(void *arg, const struct ip *from, const void *packet, size_t len, uint64_t age_us)
{
	on_packet(arg, AF_INET, from, packet, len, age_us);
}

static void on_packet6(void *arg, const struct ip *from, const void *packet, size_t len, uint64_t age_us)
{
	on_packet(arg, AF_INET6, from, packet, len, age_us);
}

// ---- who ----

static void fill_flight(struct flight *flight, const struct probe_request *request, const struct ip *to)
{
	uint16_t headers = (to->family == AF_INET6 ? IP6_HEADER_BYTES : IP4_HEADER_BYTES) +
			   ICMP_HEADER_BYTES;

	flight->payload_len = (uint16_t)(request->packet_bytes - headers);
	flight->to = *to;
	flight->group = request->group->id;
	flight->key = *request->key;
	flight->way = request->way;
	flight->search = request->search;
	flight->sent_us = echo_now_us();
	flight->lost_at_us = flight->sent_us + request->timeout_ms * 1000;
}

int prober_send(struct prober *prober, const struct probe_request *request)
{
	struct echo_socket *sock;
	struct flight *flight;
	struct ip to = { 0 };
	size_t len;
	int r;

	if (prober->address(request->group->arg, request->key, request->way, &to) < 0)
		return -ENOENT;
	sock = prober->sockets[to.family == AF_INET6 ? PROBER_SOCKET_V6 : PROBER_SOCKET_V4];
	if (!sock)
		return -ENOENT;
	flight = flights_open(&prober->flights);
	if (!flight)
		return 0;
	fill_flight(flight, request, &to);
	len = echo_encode(to.family, prober->flights.id, flight->sequence, flight->cookie,
			  flight->payload_len, prober->packet);
	r = echo_socket_send(sock, &to, prober->packet, len);
	if (r < 0)
		flight->state = FLIGHT_NONE;
	if (r == -EAGAIN || r == -ENOBUFS) {
		prober->stats.not_sent++;
		return 0;
	}
	if (request->search > 0)
		prober->stats.mtu_sent++;
	else
		prober->stats.ways[request->way].sent++;
	return r < 0 ? r : 1;
}

// False: it has nowhere to be asked. True: it was, or could not be.
static bool probe(struct prober *prober, const struct probe_group *group,
		  const struct target_key *key, enum probe_way way)
{
	const struct probe_request request = { .group = group,
					       .key = key,
					       .way = way,
					       .packet_bytes = PACKET_BYTES,
					       .timeout_ms = prober->config.timeout_ms };
	int r = prober_send(prober, &request);

	if (r < 0 && r != -ENOENT)
		take_loss(prober, &(struct flight){ .group = group->id, .key = *key, .way = way });
	return r != -ENOENT;
}

static bool probe_urgent(struct prober *prober)
{
	while (prober->urgent_count > 0) {
		struct urgent urgent = prober->urgent[prober->urgent_first];
		struct probe_group *group = prober_find_group(prober, urgent.group);

		prober->urgent_first = (prober->urgent_first + 1) % PROBER_URGENT_MAX;
		prober->urgent_count--;
		if (group && target_table_find(group->table, &urgent.key) &&
		    probe(prober, group, &urgent.key, urgent.way))
			return true;
	}
	return false;
}

// A network in proportion to its peers, so that each peer of all of them is asked equally often.
static struct probe_group *draw_group(const struct prober *prober, size_t targets)
{
	uint64_t drawn = random_below(targets);
	struct probe_group *group = prober->groups;

	for (; group; group = group->next) {
		size_t count = target_table_count(group->table);

		if (drawn < count)
			break;
		drawn -= count;
	}
	return group;
}

static bool probe_next(struct prober *prober, size_t targets)
{
	for (int i = 0; i < TRIES_MAX; i++) {
		const struct probe_group *group = draw_group(prober, targets);
		uint64_t round = 0;
		const struct target *target = target_table_next(group->table, &round);
		struct target_key key = target->key;

		if (probe(prober, group, &key, round % 2 == 0 ? PROBE_UNDERLAY : PROBE_OVERLAY))
			return true;
	}
	return false;
}

static bool probe_kind(struct prober *prober, enum probe_kind kind, size_t targets)
{
	switch (kind) {
	case PROBE_OF_ROUND:
		return probe_next(prober, targets);
	case PROBE_OF_URGENT:
		return probe_urgent(prober);
	case PROBE_OF_SEARCH:
		return prober_probe_search(prober);
	case PROBE_KIND_COUNT:
		break;
	}
	return false;
}

static void on_timer(void *arg)
{
	struct prober *prober = arg;
	uint64_t now_us = echo_now_us();
	const struct flight *lost;
	size_t targets = prober_count_targets(prober);

	while ((lost = flights_expire(&prober->flights, now_us)))
		take_loss(prober, lost);
	// By turns, as far as each has somebody to ask.
	for (int i = 1; targets > 0 && i <= PROBE_KIND_COUNT; i++) {
		enum probe_kind kind = (prober->last + (unsigned int)i) % PROBE_KIND_COUNT;

		if (!probe_kind(prober, kind, targets))
			continue;
		prober->last = kind;
		break;
	}
	schedule(prober);
}

// ---- groups ----

struct probe_group *probe_group_new(struct prober *prober, void *arg)
{
	struct probe_group *group = xnew(struct probe_group);

	group->prober = prober;
	group->id = ++prober->group_ids;
	group->arg = arg;
	group->table = target_table_new();
	group->next = prober->groups;
	prober->groups = group;
	return group;
}

struct probe_group *probe_group_free(struct probe_group *group)
{
	struct probe_group **link;

	if (!group)
		return NULL;
	link = &group->prober->groups;
	while (*link != group)
		link = &(*link)->next;
	*link = group->next;
	target_table_free(group->table);
	free(group);
	return NULL;
}

static void put_family(struct probe_group *group, const struct subnet *subnet, int family,
		       bool is_changed)
{
	struct prober *prober = group->prober;
	struct target_key key = target_key_of(subnet, family);
	bool is_new = false;
	struct target *target = target_table_put(group->table, &key, &is_new);

	if (!is_new && !is_changed)
		return;
	*target = (struct target){ .key = key };
	for (int way = 0; way < PROBE_WAY_COUNT; way++)
		push_urgent(prober, &(struct urgent){ group->id, key, (enum probe_way)way });
}

void probe_group_put(struct probe_group *group, const struct subnet *subnet, bool is_changed)
{
	bool was_urgent = group->prober->urgent_count > 0;

	if (ipnet_is_set(&subnet->v4))
		put_family(group, subnet, AF_INET, is_changed);
	if (ipnet_is_set(&subnet->v6))
		put_family(group, subnet, AF_INET6, is_changed);
	// With others that wait the next probe comes as soon as may be anyway.
	if (!was_urgent || !timer_is_pending(group->prober->timer))
		schedule(group->prober);
}

void probe_group_remove(struct probe_group *group, const struct subnet *subnet)
{
	struct target_key v4 = target_key_of(subnet, AF_INET), v6 = target_key_of(subnet, AF_INET6);

	(void)target_table_remove(group->table, &v4);
	(void)target_table_remove(group->table, &v6);
}

void probe_group_retain(struct probe_group *group,
			bool (*is_wanted)(void *arg, const struct subnet *subnet))
{
	const struct target *target;
	size_t position = 0;

	// What a removal moves to its place comes from behind it.
	while ((target = target_table_at(group->table, position))) {
		struct subnet subnet = target_key_subnet(&target->key);

		if (is_wanted(group->arg, &subnet))
			position++;
		else
			(void)target_table_remove(group->table, &target->key);
	}
}

const struct target *probe_group_find(const struct probe_group *group, const struct subnet *subnet,
				      int family)
{
	struct target_key key = target_key_of(subnet, family);

	return target_table_find(group->table, &key);
}

const struct target *probe_group_at(const struct probe_group *group, size_t position)
{
	return target_table_at(group->table, position);
}

size_t probe_group_count(const struct probe_group *group)
{
	return target_table_count(group->table);
}

// ---- life ----

static int open_sockets(struct prober *prober, struct err *e)
{
	struct err of_v6;
	uint16_t id = prober->flights.id;
	int r4 = echo_socket_new(prober->loop, AF_INET, id, on_packet4, prober,
				 &prober->sockets[PROBER_SOCKET_V4], e);
	int r6 = echo_socket_new(prober->loop, AF_INET6, id, on_packet6, prober,
				 &prober->sockets[PROBER_SOCKET_V6], &of_v6);

	if (r4 < 0 && r6 < 0)
		return r4;
	if (r4 < 0 || r6 < 0)
		log_info("mesh: IPv%d is not probed: %s", r4 < 0 ? 4 : 6,
			 err_msg(r4 < 0 ? e : &of_v6));
	return 0;
}

int prober_new(struct loop *loop, const struct prober_config *config, probe_address_fn *address,
	       struct prober **ret, struct err *e)
{
	struct prober *prober = xnew(struct prober);
	int r;

	assert(config->rate > 0 && config->rate <= PROBE_RATE_MAX);
	prober->loop = loop;
	prober->config = *config;
	prober->address = address;
	prober->timer = timer_new(loop, on_timer, prober);
	flights_init(&prober->flights);
	r = open_sockets(prober, e);
	if (r < 0) {
		prober_free(prober);
		return r;
	}
	*ret = prober;
	return 0;
}

struct prober *prober_free(struct prober *prober)
{
	if (!prober)
		return NULL;
	assert(!prober->groups);
	timer_free(prober->timer);
	for (size_t i = 0; i < PROBER_SOCKET_COUNT; i++)
		echo_socket_free(prober->sockets[i]);
	free(prober);
	return NULL;
}

const struct prober_stats *prober_stats(const struct prober *prober)
{
	return &prober->stats;
}
