// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what weft-udp is told: the config, all peers in slices, then changes; and what it is asked.
#include "agent/udp_process_internal.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

enum {
	SLICE_PEERS = CONTROL_CHANGES_MAX / UNDERLAY_FAMILY_COUNT,
	CHANGED_MAX = 4 * SLICE_PEERS, // with more of them, all are told
	GATHER_MS = 5,
	REFUSED_MS = 5000, // until what was refused is told again
	COUNTERS_MS = 2000,
};

static void list_add(struct subnet_list *list, const struct subnet *subnet)
{
	if (list->count == list->capacity) {
		list->capacity = list->capacity ? 2 * list->capacity : 64;
		list->items = xrealloc_array(list->items, list->capacity, sizeof(list->items[0]));
	}
	list->items[list->count++] = *subnet;
}

static void list_free(struct subnet_list *list)
{
	free(list->items);
	*list = (struct subnet_list){ 0 };
}

void feed_free(struct udp_feed *feed)
{
	list_free(&feed->whole);
	list_free(&feed->changed);
}

// ---- one message ----

static void add_removal(struct control_change *changes, size_t *count, const struct ipnet *subnet)
{
	if (ipnet_is_set(subnet))
		changes[(*count)++] = (struct control_change){ .remove = true, .peer.subnet = *subnet };
}

// A peer that is gone, or that cannot be sent to, is removed; in a set that is told whole it just is not there.
static void add_peer(const struct udp_process *p, const struct subnet *subnet, bool is_set,
		     struct control_change *changes, size_t *count)
{
	const struct lease *lease = lease_set_find(p->hooks->peers(p->arg), subnet);
	struct wanted_host hosts[UNDERLAY_FAMILY_COUNT];
	size_t host_count = lease ? p->hooks->want(p->arg, lease, hosts) : 0;
	for (size_t i = 0; i < host_count; i++)
		changes[(*count)++] = (struct control_change){
			.peer = { hosts[i].subnet, hosts[i].host, hosts[i].port }
		};
	if (host_count == 0 && !is_set) {
		add_removal(changes, count, &subnet->v4);
		add_removal(changes, count, &subnet->v6);
	}
}

static void write_peers(struct udp_process *p, const struct subnet *subnets, size_t count,
			unsigned int flags, bool is_set)
{
	struct control_change *changes = xnew0_array(struct control_change, CONTROL_CHANGES_MAX);
	size_t change_count = 0;
	for (size_t i = 0; i < count; i++)
		add_peer(p, &subnets[i], is_set, changes, &change_count);
	control_write_peers(&p->message, flags, changes, change_count);
	free(changes);
}

// ---- what is told ----

static void note_refusal(struct udp_process *p, const char *what, const struct err *e)
{
	struct err why = *e;
	err_wrap(&why, "weft-udp does not take %s", what);
	if (strcmp(p->feed.refused.msg, why.msg) != 0)
		log_error("udp: %s", why.msg);
	p->feed.refused = why;
	timer_start(p->feed_timer, REFUSED_MS);
}

static void take_refusal(struct udp_process *p, const char *what, const struct err *e)
{
	list_free(&p->feed.whole);
	list_free(&p->feed.changed);
	p->feed.is_telling = false;
	p->feed.peers_due = true;
	note_refusal(p, what, e);
}

static void on_config(void *arg, int r, struct control_reader *answer, const struct err *e)
{
	struct udp_process *p = arg;
	(void)answer;
	p->feed.config_due = r < 0;
	if (r == 0) {
		p->feed.refused.code = 0;
		process_is_up(p);
		feed_go_on(p);
	} else if (!p->feed.emptied) {
		// Its peers may be of another network: they go first.
		p->feed.emptied = p->feed.peers_due = true;
		feed_go_on(p);
	} else {
		note_refusal(p, "its config", e);
	}
}

static void on_emptied(void *arg, int r, struct control_reader *answer, const struct err *e)
{
	struct udp_process *p = arg;
	(void)answer;
	if (r < 0)
		note_refusal(p, "an empty set of peers", e);
	else
		feed_go_on(p);
}

static void tell_config(struct udp_process *p)
{
	const struct backend_process *wanted = &p->wanted;
	struct route_config config = {
		.v4 = { wanted->network[UNDERLAY_V4], wanted->own[UNDERLAY_V4],
			wanted->own[UNDERLAY_V4].addr },
		.v6 = { wanted->network[UNDERLAY_V6], wanted->own[UNDERLAY_V6],
			wanted->own[UNDERLAY_V6].addr },
		.mtu = (uint16_t)wanted->mtu_bytes,
	};
	control_write_config(&p->message, &config);
	udp_client_ask(p->client, &p->message, on_config);
}

static void on_whole(void *arg, int r, struct control_reader *answer, const struct err *e)
{
	struct udp_process *p = arg;
	struct udp_feed *feed = &p->feed;
	(void)answer;
	if (r < 0) {
		take_refusal(p, "the peers", e);
		return;
	}
	if (feed->whole_next == feed->whole.count) {
		list_free(&feed->whole);
		feed->is_telling = false;
		feed->refused.code = 0;
	}
	feed_go_on(p);
}

static void begin_whole(struct udp_process *p)
{
	struct udp_feed *feed = &p->feed;
	const struct lease_set *peers = p->hooks->peers(p->arg);
	const struct lease *lease;
	size_t position = 0;
	list_free(&feed->whole);
	list_free(&feed->changed);
	feed->whole_next = 0;
	feed->peers_due = false;
	feed->is_telling = true;
	feed->is_set = feed->all_are_known;
	while ((lease = lease_set_next(peers, &position)))
		list_add(&feed->whole, &lease->subnet);
}

static void tell_slice(struct udp_process *p)
{
	struct udp_feed *feed = &p->feed;
	size_t left = feed->whole.count - feed->whole_next;
	size_t count = left < SLICE_PEERS ? left : SLICE_PEERS;
	unsigned int flags = feed->is_set && feed->whole_next == 0 ? CONTROL_BEGIN : 0;
	if (!feed->is_set || count == left)
		flags |= CONTROL_COMMIT;
	write_peers(p, count > 0 ? feed->whole.items + feed->whole_next : NULL, count, flags,
		    feed->is_set);
	feed->whole_next += count;
	udp_client_ask(p->client, &p->message, on_whole);
}

static void on_changes(void *arg, int r, struct control_reader *answer, const struct err *e)
{
	struct udp_process *p = arg;
	(void)answer;
	if (r < 0)
		take_refusal(p, "a change of peers", e);
	else
		feed_go_on(p);
}

static void tell_changes(struct udp_process *p)
{
	struct subnet_list *changed = &p->feed.changed;
	size_t count = changed->count < SLICE_PEERS ? changed->count : SLICE_PEERS;
	write_peers(p, changed->items, count, CONTROL_COMMIT, false);
	changed->count -= count;
	memmove(changed->items, changed->items + count, changed->count * sizeof(changed->items[0]));
	udp_client_ask(p->client, &p->message, on_changes);
}

// ---- what is asked ----

static enum counter counter_named(const char *name)
{
	size_t i = 0;
	while (i < COUNTER_COUNT && strcmp(counter_name((enum counter)i), name) != 0)
		i++;
	return (enum counter)i;
}

static void on_counters(void *arg, int r, struct control_reader *answer, const struct err *e)
{
	struct udp_process *p = arg;
	char name[CONTROL_NAME_MAX + 1];
	uint64_t value;
	(void)e;
	while (r == 0 && control_read_counter(answer, name, &value, NULL) > 0) {
		enum counter counter = counter_named(name);
		if (counter < COUNTER_COUNT)
			p->counters[counter] = value;
	}
	p->has_counters = p->has_counters || r == 0;
	feed_go_on(p);
}

// ---- what is next ----

static bool knows_its_subnet(const struct udp_process *p)
{
	return ipnet_is_set(&p->wanted.own[UNDERLAY_V4]) || ipnet_is_set(&p->wanted.own[UNDERLAY_V6]);
}

void feed_go_on(struct udp_process *p)
{
	struct udp_feed *feed = &p->feed;
	if (p->step != UDP_STEP_WORK || udp_client_is_busy(p->client) ||
	    timer_is_pending(p->feed_timer))
		return;
	if (feed->config_due && feed->emptied && feed->peers_due) {
		feed->peers_due = false;
		control_write_peers(&p->message, CONTROL_BEGIN | CONTROL_COMMIT, NULL, 0);
		udp_client_ask(p->client, &p->message, on_emptied);
		return;
	}
	if (feed->config_due && knows_its_subnet(p)) {
		tell_config(p);
		return;
	}
	if (feed->emptied && !feed->config_due) {
		feed->emptied = false;
		feed->peers_due = true;
	}
	if (p->up && feed->peers_due)
		begin_whole(p);
	if (p->up && feed->is_telling)
		tell_slice(p);
	else if (p->up && feed->changed.count > 0)
		tell_changes(p);
	else if (feed->counters_due) {
		feed->counters_due = false;
		control_write_request(&p->message, CONTROL_COUNTERS);
		udp_client_ask(p->client, &p->message, on_counters);
	}
}

void feed_tick(void *arg)
{
	feed_go_on(arg);
}

void feed_counter_tick(void *arg)
{
	struct udp_process *p = arg;
	process_reap(p);
	p->feed.counters_due = true;
	timer_start(p->counter_timer, COUNTERS_MS);
	feed_go_on(p);
}

void feed_begin(struct udp_process *p)
{
	p->feed.config_due = p->feed.peers_due = true;
	timer_start(p->counter_timer, COUNTERS_MS);
}

void feed_end(struct udp_process *p)
{
	bool all_are_known = p->feed.all_are_known;
	feed_free(&p->feed);
	p->feed = (struct udp_feed){ .all_are_known = all_are_known };
	timer_stop(p->feed_timer);
	timer_stop(p->counter_timer);
}

void udp_process_peers_reset(struct udp_process *p, bool all_are_known)
{
	p->feed.all_are_known = all_are_known;
	p->feed.peers_due = true;
	feed_go_on(p);
}

void udp_process_peer_changed(struct udp_process *p, const struct subnet *subnet)
{
	struct udp_feed *feed = &p->feed;
	if (feed->peers_due || p->step != UDP_STEP_WORK)
		return; // it is told of all
	if (feed->changed.count >= CHANGED_MAX) {
		list_free(&feed->changed);
		feed->peers_due = true;
	} else {
		list_add(&feed->changed, subnet);
	}
	if (!timer_is_pending(p->feed_timer))
		timer_start(p->feed_timer, GATHER_MS);
}
