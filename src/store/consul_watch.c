// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: watches of Consul: reads that the server answers when something changed.
//
// DOC: life of a watch
//
//   CONNECT: ask for the store's revision -> READ each prefix at once -> UP -> changes, READ each prefix when it changed ...
//      ^                                                                           |
//      +--- back-off <--- DOWN (a request failed at all endpoints) <---------------+
//                         LOST (the store went back in time, or a deletion is hidden): the end
//
// Consul has no history. A read gives the whole set again, and the difference to what was told makes the events: of several changes of a key
// the last one alone. They are told in the order of their revisions. A deletion has none: it gets that of the read which missed the key.
//
// What the caller knows of keys it knows by way of this store, and that is remembered: what a range handed on before the watch began, what a
// transaction wrote or showed, what the watch told. A key that is known and not in the set any more was deleted, so no deletion is lost,
// neither one between the range and the first read nor one of a key that no read has seen. `since` keeps a read that is older than the
// knowledge from counting as a deletion. A watch whose prefix was not read before has nothing to compare with: if the index of the prefix says
// that the last change was a deletion, from the revision on that is asked for, the watch is lost.
//
// The index of a prefix falls when Consul forgets deletions, and when the store was emptied or restored. The revision of the whole store
// (see consul_range.c) does only the latter: it is asked for when a watch connects, when an index fell, and as a sign of life meanwhile, for a
// server that hangs says nothing at all. The reads themselves may wait for minutes, as each that ends gives the whole set again.
#include "store/consul_internal.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define CHANGES_IN_A_TURN 256
#define CHANGES_BYTES_MAX (256 * 1024 * 1024)
#define WAIT_FACTOR 20 // of dead_man_ms
#define WAIT_MAX_MS 600000

static void connect_start(struct consul_watch *watch);
static void read_parts(struct consul_watch *watch);

// ---- telling the owner ----

static void drop_changes(struct consul_changes *changes)
{
	for (; changes->told < changes->count; changes->told++)
		consul_pair_free(&changes->items[changes->told].pair);
	free(changes->items);
	*changes = (struct consul_changes){ 0 };
}

static void drop_read(struct consul_part *part)
{
	part->read = consul_known_free(part->read);
	drop_changes(&part->changes);
}

static void drop_calls(void *arg)
{
	struct consul_watch *watch = arg;
	size_t i;

	watch->probe = kv_http_call_cancel(watch->probe);
	for (i = 0; i < watch->part_count; i++) {
		struct consul_part *part = &watch->parts[i];

		part->call = kv_http_call_cancel(part->call);
		drop_read(part);
		part->is_current = false;
		part->index = 0;
	}
}

static void lose(struct consul_watch *watch, bool store_changed, const char *why)
{
	drop_changes(&watch->changes);
	timer_stop(watch->turn);
	watch_life_lose(&watch->life, store_changed, why);
}

// False: the owner freed the watch.
static bool come_up(struct consul_watch *watch)
{
	timer_start(watch->life.timer, watch->consul->http.dead_man_ms / 3 + 1);
	return watch_life_up(&watch->life, &(struct kv_header){ .revision = watch->revision });
}

// What each prefix was read as of, at the least. False: the owner freed the watch.
static bool tell_progress(struct consul_watch *watch)
{
	struct kv_header header = { .revision = INT64_MAX };
	size_t i;

	for (i = 0; i < watch->part_count; i++)
		if (header.revision > watch->parts[i].complete)
			header.revision = watch->parts[i].complete;
	if (header.revision <= watch->complete)
		return true;
	watch->complete = header.revision;
	return kv_watch_progress(&watch->base, &header);
}

static void tell_changes(void *arg)
{
	struct consul_watch *watch = arg;
	struct consul_changes *changes = &watch->changes;
	size_t end = changes->told + CHANGES_IN_A_TURN;
	bool is_there = true;

	kv_watch_hold(&watch->base);
	while (is_there && changes->told < changes->count && changes->told < end) {
		struct consul_change *change = &changes->items[changes->told++];
		_cleanup_consul_pair_ struct consul_pair pair = change->pair;
		struct kv_watch_event event = {
			.kind = change->kind,
			.pair = pair.pair,
			.header.revision = pair.pair.mod_revision,
		};

		change->pair = (struct consul_pair){ 0 };
		is_there = kv_watch_emit(&watch->base, &event);
	}
	if (!kv_watch_release(&watch->base))
		return;
	if (changes->told < changes->count) {
		timer_start(watch->turn, 0);
		return;
	}
	drop_changes(changes);
	if (watch->base.up && tell_progress(watch))
		read_parts(watch);
}

// ---- the difference between a read and what is known ----

static void change_add(struct consul_changes *changes, enum kv_watch_kind kind, struct consul_pair *pair)
{
	if (changes->count == changes->capacity) {
		changes->capacity = changes->capacity ? 2 * changes->capacity : 8;
		changes->items =
			xrealloc_array(changes->items, changes->capacity, sizeof(*changes->items));
	}
	changes->items[changes->count++] = (struct consul_change){ .kind = kind, .pair = *pair };
	changes->value_bytes += pair->value ? pair->pair.value_len : 0;
	*pair = (struct consul_pair){ 0 };
}

static bool is_news(const struct consul_part *part, const struct kv_pair *pair)
{
	const struct consul_known_key *known =
		consul_known_find(part->known, pair->raw_key, pair->raw_key_len);

	if (!part->is_begun)
		return pair->mod_revision >= part->watch->from;
	return !known || known->told != pair->mod_revision;
}

static int pair_came(struct consul_part *part, struct consul_pair *pair)
{
	struct consul_watch *watch = part->watch;
	const struct consul_known *read = part->read;
	const struct consul_known_key *last = read->count > 0 ? &read->keys[read->count - 1] : NULL;
	int r;

	if (!consul_known_has_prefix(read, pair->raw_key, pair->pair.raw_key_len) ||
	    (last && consul_key_order(last->key, last->len, pair->raw_key, pair->pair.raw_key_len) >= 0))
		return err_set(&watch->err, -EPROTO, "answer: %s was not asked for, or comes twice",
			       pair->pair.key);
	consul_known_add(part->read, pair->raw_key, pair->pair.raw_key_len, pair->pair.mod_revision)->told =
		pair->pair.mod_revision;
	if (part->highest < pair->pair.mod_revision)
		part->highest = pair->pair.mod_revision;
	if (!is_news(part, &pair->pair))
		return 0;
	r = consul_complete_pair(watch->consul, pair, &watch->err);
	if (r < 0)
		return r;
	change_add(&part->changes, KV_WATCH_PUT, pair);
	if (part->changes.value_bytes > CHANGES_BYTES_MAX)
		return err_set(&watch->err, -E2BIG, "answer: too much has changed");
	return 0;
}

static int part_element(void *arg, const char *text, size_t len)
{
	struct consul_part *part = arg;
	_cleanup_consul_pair_ struct consul_pair pair = { 0 };
	int r = consul_read_pair(text, len, false, &pair, &part->watch->err);

	return r < 0 ? r : pair_came(part, &pair);
}

static void key_missed(struct consul_part *part, const struct consul_known_key *key, int64_t revision)
{
	struct consul_pair pair = { 0 };

	pair.raw_key = xmemdup(key->key, key->len + 1);
	pair.shown_key = kv_key_shown(pair.raw_key, key->len);
	pair.pair.raw_key = pair.raw_key;
	pair.pair.raw_key_len = key->len;
	pair.pair.key = pair.shown_key ? pair.shown_key : pair.raw_key;
	pair.pair.mod_revision = revision;
	change_add(&part->changes, KV_WATCH_DELETE, &pair);
}

// What was known and is not in the read, which is of this revision at least.
static void find_missed(struct consul_part *part, int64_t revision)
{
	size_t i;

	for (i = 0; i < part->known->count; i++) {
		const struct consul_known_key *known = &part->known->keys[i];

		if (consul_known_find(part->read, known->key, known->len))
			continue;
		if (known->since <= revision)
			key_missed(part, known, revision);
		else
			(void)consul_known_add(part->read, known->key, known->len, known->since);
	}
}

static int change_order(const void *a, const void *b)
{
	const struct consul_change *left = a;
	const struct consul_change *right = b;
	int64_t x = left->pair.pair.mod_revision, y = right->pair.pair.mod_revision;

	if (x != y)
		return x < y ? -1 : 1;
	return consul_key_order(left->pair.raw_key, left->pair.pair.raw_key_len,
				right->pair.raw_key, right->pair.pair.raw_key_len);
}

// ---- reads ----

static bool is_up_to_date(const struct consul_watch *watch)
{
	size_t i;

	for (i = 0; i < watch->part_count; i++)
		if (!watch->parts[i].is_current)
			return false;
	return true;
}

// Changes that were found are told when all prefixes were read, so that they come in order.
static void go_on(struct consul_watch *watch)
{
	struct consul_changes *changes = &watch->changes;

	if (!is_up_to_date(watch))
		return;
	if (changes->count > changes->told)
		qsort(changes->items + changes->told, changes->count - changes->told,
		      sizeof(*changes->items), change_order);
	if (!watch->base.up && !come_up(watch))
		return;
	if (changes->told < changes->count)
		timer_start(watch->turn, 0);
	else if (tell_progress(watch))
		read_parts(watch);
}

static void hand_over(struct consul_part *part)
{
	struct consul_changes *changes = &part->changes;

	for (; changes->told < changes->count; changes->told++)
		change_add(&part->watch->changes, changes->items[changes->told].kind,
			   &changes->items[changes->told].pair);
	drop_changes(changes);
}

static void part_failed(struct consul_watch *watch, const struct consul_answer *answer)
{
	struct err e = watch->err.code < 0 ? watch->err : *answer->err;

	watch->err.code = 0;
	if (e.code == -E2BIG)
		lose(watch, false, "consul: too much has changed at once");
	else
		watch_life_down(&watch->life, &e);
}

static void part_answered(void *arg, const struct consul_answer *answer)
{
	struct consul_part *part = arg;
	struct consul_watch *watch = part->watch;
	int64_t revision;

	part->call = NULL;
	if (answer->r < 0) {
		part_failed(watch, answer);
		return;
	}
	if (answer->index < part->index) {
		connect_start(watch);
		return;
	}
	// Only a deletion moves the index of a prefix beyond that of its keys.
	if (!part->is_begun && !part->is_based && answer->index >= watch->from &&
	    answer->index > part->highest) {
		lose(watch, false, "consul: something was deleted since, and what is not known");
		return;
	}
	revision = answer->index > part->floor ? answer->index : part->floor;
	find_missed(part, revision);
	hand_over(part);
	consul_known_free(part->known);
	part->known = TAKE_PTR(part->read);
	part->is_begun = true;
	part->is_current = true;
	part->index = answer->index;
	part->complete = revision;
	watch->endpoint = answer->endpoint;
	if (watch->revision < part->highest)
		watch->revision = part->highest;
	go_on(watch);
}

static void read_part(struct consul_part *part)
{
	struct consul_watch *watch = part->watch;
	uint64_t wait_ms = (uint64_t)watch->consul->http.dead_man_ms * WAIT_FACTOR;
	struct strbuf path = STRBUF_INIT(CONSUL_ELEMENT_MAX);
	struct consul_request request = {
		.method = "GET",
		.idempotent = true,
		.is_long = true,
		.takes_404 = true,
		.index_wanted = true,
		.element = part_element,
		.done = part_answered,
		.arg = part,
	};

	consul_add_key_path(&path, part->known->prefix, strlen(part->known->prefix));
	strbuf_puts(&path, "?consistent&recurse");
	if (part->index > 0) {
		request.wait_ms = (uint32_t)(wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS);
		strbuf_printf(&path, "&index=%lld&wait=%ums", (long long)part->index, request.wait_ms);
	}
	request.path = strbuf_take(&path);
	drop_read(part);
	part->read = consul_known_new(part->known->prefix);
	part->floor = watch->revision;
	part->highest = 0;
	part->call = consul_call_start(watch->consul, &request);
}

static void read_parts(struct consul_watch *watch)
{
	size_t i;

	for (i = 0; i < watch->part_count; i++)
		if (!watch->parts[i].call)
			read_part(&watch->parts[i]);
}

// ---- the revision of the store ----

// False: the watch is lost, or it goes down.
static bool check_revision(struct consul_watch *watch, const struct consul_answer *answer)
{
	watch->probe = NULL;
	if (answer->r < 0) {
		watch_life_down(&watch->life, answer->err);
		return false;
	}
	if (answer->index < watch->revision) {
		lose(watch, true, "consul: the store went back in time: was it restored or emptied?");
		return false;
	}
	watch->revision = answer->index;
	return true;
}

static void connected(void *arg, const struct consul_answer *answer)
{
	struct consul_watch *watch = arg;

	if (!check_revision(watch, answer))
		return;
	if (watch->base.up)
		timer_start(watch->life.timer, watch->consul->http.dead_man_ms / 3 + 1);
	read_parts(watch);
}

static void connect_start(struct consul_watch *watch)
{
	drop_calls(watch);
	consul_ask_revision(watch->consul, watch->parts[0].known->prefix, 0, connected, watch, NULL,
			    &watch->probe);
}

static void probed(void *arg, const struct consul_answer *answer)
{
	struct consul_watch *watch = arg;

	if (!check_revision(watch, answer))
		return;
	timer_start(watch->life.timer, watch->consul->http.dead_man_ms / 3 + 1);
	// Where the reads wait nobody may be alive any more.
	if (answer->endpoint != watch->endpoint)
		connect_start(watch);
}

static void timer_due(void *arg)
{
	struct consul_watch *watch = arg;
	uint32_t dead_man_ms = watch->consul->http.dead_man_ms;

	if (watch->is_foreign) {
		lose(watch, true, "consul: the store is another one: this one has no cluster id");
		return;
	}
	if (!watch->base.up) {
		connect_start(watch);
		return;
	}
	if (!watch->probe)
		consul_ask_revision(watch->consul, watch->parts[0].known->prefix,
				    dead_man_ms * 2 / 3 + 1, probed, watch, NULL, &watch->probe);
}

// ---- start and end ----

// What a range handed on belongs to the watch that follows it.
static struct consul_known *take_range(struct consul *consul, const char *prefix)
{
	size_t i;

	for (i = 0; i < KV_WATCH_PREFIXES_MAX; i++)
		if (consul->ranges[i] && strcmp(consul->ranges[i]->prefix, prefix) == 0)
			return TAKE_PTR(consul->ranges[i]);
	return NULL;
}

void consul_watch_start(struct kv_watch *base, const char *const *prefixes, int64_t from,
			uint64_t cluster_id)
{
	struct consul_watch *watch = (struct consul_watch *)base;
	struct consul *consul = (struct consul *)base->kv;

	watch->consul = consul;
	watch->from = from;
	watch->revision = from - 1;
	watch->is_foreign = cluster_id != 0;
	for (; prefixes[watch->part_count]; watch->part_count++) {
		struct consul_part *part = &watch->parts[watch->part_count];

		part->watch = watch;
		part->known = take_range(consul, prefixes[watch->part_count]);
		part->is_based = part->known != NULL;
		if (!part->known)
			part->known = consul_known_new(prefixes[watch->part_count]);
	}
	watch_life_begin(&watch->life, base, drop_calls, timer_due, watch);
	watch->turn = timer_new(base->kv->loop, tell_changes, watch);
	watch->next = consul->watches;
	if (consul->watches)
		consul->watches->previous = watch;
	consul->watches = watch;
	timer_start(watch->life.timer, 0);
}

void consul_watch_end(struct kv_watch *base)
{
	struct consul_watch *watch = (struct consul_watch *)base;
	size_t i;

	watch_life_end(&watch->life);
	drop_changes(&watch->changes);
	watch->turn = timer_free(watch->turn);
	for (i = 0; i < watch->part_count; i++)
		consul_known_free(watch->parts[i].known);
	watch->part_count = 0;
	if (watch->previous)
		watch->previous->next = watch->next;
	else
		watch->consul->watches = watch->next;
	if (watch->next)
		watch->next->previous = watch->previous;
}
