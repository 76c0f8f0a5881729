// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a tree of peers by subnet, those of them that have something to run in a line, and those that wait for another try.
#include "agent/peer_commands.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <search.h>
#include <string.h>

#define RETRY_FIRST_MS 1000
#define RETRY_MAX_MS 60000

struct peer {
	struct subnet subnet; // first: the tree's key
	struct peer_commands *commands;
	struct peer *previous, *next; // of all
	struct peer *next_ready;
	bool is_ready; // in line
	uint64_t told; // by which begin; of those that are wanted

	bool is_wanted;
	struct peer_facts wanted;
	bool is_there; // an add was started: something may be there
	bool is_added; // it went well
	struct peer_facts there;

	struct child *running;
	enum peer_command which; // runs, or ran last
	struct backoff backoff;
	unsigned int failures; // in a row
	uint64_t retry_at_ms;  // 0: need not wait
	struct err error;      // of what was tried last; code 0: none
};

struct peer_commands {
	struct loop *loop;
	struct peer_commands_hooks hooks;
	void *arg;
	void *tree;
	struct peer *first;
	struct peer *ready_first, *ready_last;
	struct timer *work_timer;
	struct timer *retry_timer;
	uint64_t retry_at_ms; // when it is due
	bool is_paused;
	bool is_ending;
	size_t running;
	uint64_t told;
};

// ---- peers ----

static int compare_subnets(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct subnet)); // it has no padding
}

static struct peer *find(const struct peer_commands *commands, const struct subnet *subnet)
{
	void *const *place = tfind(subnet, &commands->tree, compare_subnets);
	return place ? *place : NULL;
}

static void facts_clear(struct peer_facts *facts)
{
	free(facts->input);
	*facts = (struct peer_facts){ 0 };
}

static bool facts_equal(const struct peer_facts *a, const struct peer_facts *b)
{
	return ip_equal(&a->public_ip, &b->public_ip) &&
	       ip_equal(&a->public_ipv6, &b->public_ipv6) && text_equal(a->input, b->input);
}

static struct peer *peer_new(struct peer_commands *commands, const struct subnet *subnet)
{
	struct peer *peer = xnew(struct peer);
	*peer = (struct peer){ .subnet = *subnet,
			       .commands = commands,
			       .next = commands->first,
			       .backoff = { .base_ms = RETRY_FIRST_MS, .max_ms = RETRY_MAX_MS } };
	if (!tsearch(peer, &commands->tree, compare_subnets))
		abort(); // out of memory
	if (commands->first)
		commands->first->previous = peer;
	commands->first = peer;
	return peer;
}

static void peer_free(struct peer *peer)
{
	child_free(peer->running);
	facts_clear(&peer->wanted);
	facts_clear(&peer->there);
	free(peer);
}

static void forget(struct peer *peer)
{
	struct peer_commands *commands = peer->commands;
	tdelete(peer, &commands->tree, compare_subnets);
	if (peer->previous)
		peer->previous->next = peer->next;
	else
		commands->first = peer->next;
	if (peer->next)
		peer->next->previous = peer->previous;
	peer_free(peer);
}

// For a tree that goes, whose peers are in the list of all.
static void keep_peer(void *peer)
{
	(void)peer;
}

static bool is_pending(const struct peer *peer)
{
	return peer->is_wanted && peer->error.code == 0 &&
	       !(peer->is_added && facts_equal(&peer->wanted, &peer->there));
}

// ---- what is to be done ----

enum step { STEP_NONE, STEP_ADD, STEP_REMOVE, STEP_FORGET };

static enum step next_step(const struct peer *peer)
{
	if (peer->is_there && !(peer->is_wanted && facts_equal(&peer->wanted, &peer->there)))
		return STEP_REMOVE;
	if (peer->is_wanted)
		return peer->is_added ? STEP_NONE : STEP_ADD;
	return STEP_FORGET;
}

static void schedule(struct peer_commands *commands)
{
	if (!commands->is_paused && !timer_is_pending(commands->work_timer))
		timer_start(commands->work_timer, 0);
}

static void make_ready(struct peer *peer)
{
	struct peer_commands *commands = peer->commands;
	if (peer->is_ready || peer->running)
		return; // it is looked at when its turn comes, or what runs ends
	peer->is_ready = true;
	peer->next_ready = NULL;
	if (commands->ready_last)
		commands->ready_last->next_ready = peer;
	else
		commands->ready_first = peer;
	commands->ready_last = peer;
	schedule(commands);
}

// Whoever is due first is not made to wait for one that has failed more often.
static void retry_by(struct peer_commands *commands, uint64_t at_ms)
{
	uint64_t now_ms = loop_now_ms();
	if (timer_is_pending(commands->retry_timer) && commands->retry_at_ms <= at_ms)
		return;
	commands->retry_at_ms = at_ms;
	timer_start(commands->retry_timer, at_ms > now_ms ? at_ms - now_ms : 0);
}

static void wait_for_retry(struct peer *peer)
{
	peer->retry_at_ms = loop_now_ms() + backoff_next_late_ms(&peer->backoff);
	retry_by(peer->commands, peer->retry_at_ms);
}

static void log_failure(const struct peer *peer)
{
	char text[SUBNET_STR_MAX];
	log_rl(LOG_LEVEL_WARN, "extension: peer %s: %s", subnet_str(&peer->subnet, text),
	       peer->error.msg);
}

static void added(struct peer *peer)
{
	peer->is_added = true;
	peer->failures = 0;
	peer->error.code = 0;
	backoff_reset(&peer->backoff);
}

static void removed(struct peer *peer)
{
	peer->is_there = peer->is_added = false;
	peer->failures = 0;
	peer->error.code = 0;
	backoff_reset(&peer->backoff);
	facts_clear(&peer->there);
}

static void remove_failed(struct peer *peer)
{
	bool is_last = peer->is_wanted || !peer->is_added || peer->commands->is_ending ||
		       peer->failures >= PEER_COMMANDS_REMOVE_TRIES;
	if (is_last)
		removed(peer);
	else
		wait_for_retry(peer);
}

static void ended(struct peer *peer, int r, const struct err *e)
{
	bool is_add = peer->which == PEER_COMMAND_ADD;
	if (r == 0 && is_add) {
		added(peer);
		return;
	}
	if (r == 0) {
		removed(peer);
		return;
	}
	bool is_news = peer->error.code == 0 || strcmp(peer->error.msg, e->msg) != 0;
	peer->failures++;
	peer->error = *e;
	(void)err_wrap(&peer->error, "%s", is_add ? "SubnetAddCommand" : "SubnetRemoveCommand");
	if (is_news)
		log_failure(peer);
	if (is_add)
		wait_for_retry(peer);
	else
		remove_failed(peer);
}

// Only the same step waits for its next try.
static void go_on(struct peer *peer)
{
	if (peer->which == PEER_COMMAND_ADD && next_step(peer) == STEP_REMOVE)
		peer->retry_at_ms = 0;
	if (peer->retry_at_ms == 0)
		make_ready(peer);
}

static void on_command_end(void *arg, int r, const char *output, bool is_whole, const struct err *e)
{
	struct peer *peer = arg;
	struct peer_commands *commands = peer->commands;
	struct subnet subnet = peer->subnet;
	char text[SUBNET_STR_MAX];
	(void)is_whole;
	if (*output && log_enabled(LOG_LEVEL_DEBUG))
		log_debug("extension: peer %s: the command wrote: %.200s",
			  subnet_str(&subnet, text), output);
	peer->running = child_free(peer->running);
	commands->running--;
	ended(peer, r, e);
	go_on(peer);
	schedule(commands);
	commands->hooks.changed(commands->arg, &subnet);
}

static void run(struct peer *peer, enum peer_command which)
{
	struct peer_commands *commands = peer->commands;
	struct err e = { 0 };
	if (which == PEER_COMMAND_ADD && !peer->is_there) {
		peer->there = peer->wanted;
		peer->there.input = xstrdup(peer->wanted.input);
		peer->is_there = true;
	}
	peer->which = which;
	peer->retry_at_ms = 0;
	int r = commands->hooks.start(commands->arg, which, &peer->subnet, &peer->there,
				      on_command_end, peer, &peer->running, &e);
	if (r == 0) {
		commands->running++;
		return;
	}
	ended(peer, r > 0 ? 0 : r, &e);
	go_on(peer);
	commands->hooks.changed(commands->arg, &peer->subnet);
}

static void look_at(struct peer *peer)
{
	if (peer->retry_at_ms > loop_now_ms())
		return;
	switch (next_step(peer)) {
	case STEP_NONE:
		break;
	case STEP_ADD:
		run(peer, PEER_COMMAND_ADD);
		break;
	case STEP_REMOVE:
		run(peer, PEER_COMMAND_REMOVE);
		break;
	case STEP_FORGET:
		forget(peer);
		break;
	}
}

static struct peer *take_ready(struct peer_commands *commands)
{
	struct peer *peer = commands->ready_first;
	commands->ready_first = peer->next_ready;
	if (!commands->ready_first)
		commands->ready_last = NULL;
	peer->is_ready = false;
	return peer;
}

// A few of them, each of which costs a fork.
static void on_work(void *arg)
{
	struct peer_commands *commands = arg;
	for (int i = 0; i < PEER_COMMANDS_AT_ONCE; i++) {
		if (!commands->ready_first || commands->running >= PEER_COMMANDS_AT_ONCE)
			break;
		look_at(take_ready(commands));
	}
	if (commands->ready_first && commands->running < PEER_COMMANDS_AT_ONCE)
		timer_start(commands->work_timer, 0);
	else if (!commands->ready_first && commands->running == 0 && commands->hooks.idle)
		commands->hooks.idle(commands->arg);
}

static void on_retry(void *arg)
{
	struct peer_commands *commands = arg;
	uint64_t now_ms = loop_now_ms(), next_ms = UINT64_MAX;
	for (struct peer *peer = commands->first; peer; peer = peer->next) {
		if (peer->retry_at_ms == 0)
			continue;
		if (peer->retry_at_ms <= now_ms)
			make_ready(peer);
		else if (peer->retry_at_ms < next_ms)
			next_ms = peer->retry_at_ms;
	}
	if (next_ms != UINT64_MAX)
		retry_by(commands, next_ms);
}

// ---- who is wanted ----

void peer_commands_want(struct peer_commands *commands, const struct subnet *subnet,
			const struct ip *public_ip, const struct ip *public_ipv6, char *input)
{
	struct peer_facts facts = { *public_ip, *public_ipv6, input };
	struct peer *peer = find(commands, subnet);
	if (!peer)
		peer = peer_new(commands, subnet);
	peer->told = commands->told;
	if (peer->is_wanted && facts_equal(&peer->wanted, &facts)) {
		facts_clear(&facts);
		return;
	}
	facts_clear(&peer->wanted);
	peer->wanted = facts;
	peer->is_wanted = true;
	peer->retry_at_ms = 0;
	backoff_reset(&peer->backoff);
	make_ready(peer);
}

static void drop(struct peer *peer)
{
	if (!peer->is_wanted)
		return;
	facts_clear(&peer->wanted);
	peer->is_wanted = false;
	peer->retry_at_ms = 0;
	peer->failures = 0;
	peer->error.code = 0;
	backoff_reset(&peer->backoff);
	make_ready(peer);
}

void peer_commands_drop(struct peer_commands *commands, const struct subnet *subnet)
{
	struct peer *peer = find(commands, subnet);
	if (peer)
		drop(peer);
}

void peer_commands_begin(struct peer_commands *commands)
{
	commands->told++;
}

void peer_commands_end(struct peer_commands *commands)
{
	for (struct peer *peer = commands->first; peer; peer = peer->next)
		if (peer->told != commands->told)
			drop(peer);
}

void peer_commands_drop_all(struct peer_commands *commands)
{
	commands->is_ending = true;
	for (struct peer *peer = commands->first; peer; peer = peer->next) {
		drop(peer);
		peer->retry_at_ms = 0;
		make_ready(peer);
	}
	peer_commands_resume(commands);
}

// ---- views ----

int peer_commands_state(const struct peer_commands *commands, const struct subnet *subnet,
			struct err *e)
{
	const struct peer *peer = find(commands, subnet);
	if (!peer || is_pending(peer))
		return err_set(e, -EINPROGRESS, "its command was not run yet");
	if (peer->error.code == 0)
		return 0;
	return err_set(e, peer->error.code, "%s", peer->error.msg);
}

size_t peer_commands_pending(const struct peer_commands *commands)
{
	size_t count = 0;
	for (const struct peer *peer = commands->first; peer; peer = peer->next)
		count += is_pending(peer);
	return count;
}

int peer_commands_remove_error(const struct peer_commands *commands, struct err *e)
{
	char text[SUBNET_STR_MAX];
	for (const struct peer *peer = commands->first; peer; peer = peer->next)
		if (!peer->is_wanted && peer->error.code != 0)
			return err_set(e, peer->error.code, "peer %s, which is gone: %s",
				       subnet_str(&peer->subnet, text), peer->error.msg);
	return 0;
}

// ---- life ----

struct peer_commands *peer_commands_new(struct loop *loop, const struct peer_commands_hooks *hooks,
					void *arg)
{
	struct peer_commands *commands = xnew(struct peer_commands);
	*commands =
		(struct peer_commands){ .loop = loop, .hooks = *hooks, .arg = arg, .is_paused = true };
	commands->work_timer = timer_new(loop, on_work, commands);
	commands->retry_timer = timer_new(loop, on_retry, commands);
	return commands;
}

void peer_commands_resume(struct peer_commands *commands)
{
	commands->is_paused = false;
	schedule(commands);
}

struct peer_commands *peer_commands_free(struct peer_commands *commands)
{
	if (!commands)
		return NULL;
	tdestroy(commands->tree, keep_peer);
	for (struct peer *peer = commands->first, *next = NULL; peer; peer = next) {
		next = peer->next;
		peer_free(peer);
	}
	timer_free(commands->work_timer);
	timer_free(commands->retry_timer);
	free(commands);
	return NULL;
}
