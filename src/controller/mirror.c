// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a store has below a prefix, and the last changes of it: one watch for all who want to know.
#include "controller/mirror.h"

#include "core/log.h"
#include "core/mem.h"
#include "store/wire.h"

#include <errno.h>
#include <string.h>

#define CHANGES_MIN 256

struct mirror {
	struct kv *kv;
	char *prefix;
	struct mirror_hooks hooks;
	void *arg;
	struct timer *timer; // for the next try to read everything
	struct backoff backoff;

	struct pair_set *pairs; // as of the header's revision; NULL: not read yet
	struct kv_header header;
	struct pair_set *latest; // with what came of a revision that may go on
	int64_t latest_revision;
	struct pair_set *reading; // what came of the store so far
	bool store_changed;	  // what is being read is another store's
	struct kv_watch *watch;
	bool up;
	struct err why;

	struct change *changes; // a ring: change n is at n modulo capacity
	size_t capacity;
	uint64_t first; // number of the oldest
	uint64_t next;	// number of the one to come
	int64_t floor;	// changes up to this revision may be missing
	size_t bytes;	// of the pairs in them
};

static void read_all(void *arg);

static void set_state(struct mirror *mirror, bool up, const struct err *why)
{
	bool is_news = mirror->up != up;

	mirror->up = up;
	if (!up && why)
		mirror->why = *why;
	if (is_news)
		mirror->hooks.state(mirror->arg);
}

// ---- changes ----

static struct change *change_at(const struct mirror *mirror, uint64_t number)
{
	return &mirror->changes[number & (mirror->capacity - 1)];
}

// What it takes, with its text, which may be made later.
static size_t pair_bytes(const struct pair *pair)
{
	return sizeof(*pair) + 2 * (pair->key_len + (pair->has_value ? pair->value_len : 0));
}

static void drop_first(struct mirror *mirror)
{
	struct change *change = change_at(mirror, mirror->first++);

	mirror->floor = change->pair->mod_revision;
	mirror->bytes -= pair_bytes(change->pair);
	change->pair = pair_unref(change->pair);
}

static void grow(struct mirror *mirror)
{
	struct change *old = mirror->changes;
	size_t old_capacity = mirror->capacity;

	mirror->capacity = old_capacity ? old_capacity * 2 : CHANGES_MIN;
	mirror->changes = xnew0_array(struct change, mirror->capacity);
	for (uint64_t i = mirror->first; i != mirror->next; i++)
		*change_at(mirror, i) = old[i & (old_capacity - 1)];
	free(old);
}

// Takes pair over.
static void add_change(struct mirror *mirror, bool is_delete, struct pair *pair)
{
	if (mirror->next - mirror->first == mirror->capacity) {
		if (mirror->capacity < MIRROR_CHANGES_MAX)
			grow(mirror);
		else
			drop_first(mirror);
	}
	*change_at(mirror, mirror->next++) = (struct change){ .is_delete = is_delete, .pair = pair };
	mirror->bytes += pair_bytes(pair);
	while (mirror->bytes > MIRROR_BYTES_MAX)
		drop_first(mirror);
}

static void forget_changes(struct mirror *mirror)
{
	while (mirror->first != mirror->next)
		drop_first(mirror);
	mirror->floor = mirror->header.revision;
}

bool mirror_find(const struct mirror *mirror, int64_t from, uint64_t *ret_number)
{
	uint64_t low = mirror->first, high = mirror->next;

	if (from <= mirror->floor)
		return false;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (change_at(mirror, middle)->pair->mod_revision < from)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_number = low;
	return true;
}

const struct change *mirror_change(const struct mirror *mirror, uint64_t number)
{
	return number < mirror->next ? change_at(mirror, number) : NULL;
}

bool mirror_has_dropped(const struct mirror *mirror, uint64_t number)
{
	return number < mirror->first;
}

// ---- the watch ----

static bool is_too_long(const struct kv_pair *pair)
{
	if (pair->raw_key_len <= WIRE_KEY_MAX)
		return false;
	log_rl(LOG_LEVEL_WARN, "controller: pass over a key of %zu bytes: %s", pair->raw_key_len,
	       pair->key);
	return true;
}

static void on_change(struct mirror *mirror, const struct kv_watch_event *event)
{
	struct pair *pair;

	if (is_too_long(&event->pair))
		return;
	pair = pair_new(&event->pair);
	if (mirror->latest_revision < pair->mod_revision)
		mirror->latest_revision = pair->mod_revision;
	if (event->kind == KV_WATCH_PUT)
		pair_set_put(&mirror->latest, pair);
	else
		pair_set_remove(&mirror->latest, pair->bytes, pair->key_len);
	add_change(mirror, event->kind == KV_WATCH_DELETE, pair);
}

// Everything up to this revision came.
static void on_progress(struct mirror *mirror, int64_t revision)
{
	if (mirror->latest_revision < revision)
		mirror->latest_revision = revision;
	if (mirror->header.revision >= revision)
		return;
	mirror->header.revision = revision;
	pair_set_unref(mirror->pairs);
	mirror->pairs = pair_set_ref(mirror->latest);
	mirror->hooks.changed(mirror->arg);
}

static void on_event(void *arg, const struct kv_watch_event *event)
{
	struct mirror *mirror = arg;

	switch (event->kind) {
	case KV_WATCH_PUT:
	case KV_WATCH_DELETE:
		on_change(mirror, event);
		return;
	case KV_WATCH_PROGRESS:
		on_progress(mirror, event->header.revision);
		return;
	case KV_WATCH_UP:
		backoff_reset(&mirror->backoff);
		set_state(mirror, true, NULL);
		return;
	case KV_WATCH_DOWN:
		set_state(mirror, false, event->err);
		return;
	case KV_WATCH_LOST:
		log_info("controller: read the store again: %s", err_msg(event->err));
		mirror->store_changed = mirror->store_changed || event->store_changed;
		mirror->watch = kv_watch_free(mirror->watch);
		set_state(mirror, false, event->err);
		timer_start(mirror->timer, backoff_next_ms(&mirror->backoff));
		return;
	}
}

// ---- reading everything ----

static void on_pair(void *arg, const struct kv_pair *from)
{
	struct mirror *mirror = arg;
	struct pair *pair;

	if (is_too_long(from))
		return;
	pair = pair_new(from);
	pair_set_put(&mirror->reading, pair);
	pair_unref(pair);
}

static int by_revision(const void *a, const void *b)
{
	const struct pair *const *left = a;
	const struct pair *const *right = b;

	return ((*left)->mod_revision > (*right)->mod_revision) -
	       ((*left)->mod_revision < (*right)->mod_revision);
}

// In the order in which the store did them.
static void add_puts(struct mirror *mirror, const struct pair_set *before)
{
	struct pair **puts = xnew0_array(struct pair *, pair_set_count(mirror->reading) + 1);
	struct pair_position position = { 0 };
	struct pair *pair;
	size_t count = 0;

	while ((pair = pair_set_next(mirror->reading, &position))) {
		const struct pair *old = pair_set_find(before, pair->bytes, pair->key_len);

		if (!old || old->mod_revision != pair->mod_revision)
			puts[count++] = pair;
	}
	qsort(puts, count, sizeof(*puts), by_revision);
	for (size_t i = 0; i < count; i++)
		add_change(mirror, false, pair_ref(puts[i]));
	free(puts);
}

// When they were done is not known: at the latest now.
static void add_deletes(struct mirror *mirror, const struct pair_set *before)
{
	struct pair_position position = { 0 };
	const struct pair *old;

	while ((old = pair_set_next(before, &position))) {
		const struct kv_pair gone = { .raw_key = old->bytes,
					      .raw_key_len = old->key_len,
					      .mod_revision = mirror->header.revision };

		if (!pair_set_find(mirror->reading, old->bytes, old->key_len))
			add_change(mirror, true, pair_new(&gone));
	}
}

static void take(struct mirror *mirror, const struct kv_header *header)
{
	struct pair_set *before = mirror->latest;
	bool replaced = before &&
			(mirror->store_changed || header->cluster_id != mirror->header.cluster_id ||
			 header->revision < mirror->latest_revision);

	mirror->store_changed = false;
	mirror->header = *header;
	mirror->latest_revision = header->revision;
	if (before && !replaced) {
		add_puts(mirror, before);
		add_deletes(mirror, before);
	} else {
		forget_changes(mirror);
	}
	mirror->latest = TAKE_PTR(mirror->reading);
	pair_set_unref(before);
	pair_set_unref(mirror->pairs);
	mirror->pairs = pair_set_ref(mirror->latest);
	if (replaced)
		mirror->hooks.replaced(mirror->arg);
	else
		mirror->hooks.changed(mirror->arg);
}

static void on_read(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct mirror *mirror = arg;
	const char *const prefixes[] = { mirror->prefix, NULL };

	if (r < 0) {
		log_rl(LOG_LEVEL_WARN, "controller: reading the store: %s", err_msg(e));
		mirror->reading = pair_set_unref(mirror->reading);
		set_state(mirror, false, e);
		timer_start(mirror->timer, backoff_next_ms(&mirror->backoff));
		return;
	}
	take(mirror, header);
	mirror->watch = kv_watch_start(mirror->kv, prefixes, header->revision + 1,
				       header->cluster_id, on_event, mirror);
}

static void read_all(void *arg)
{
	struct mirror *mirror = arg;

	mirror->reading = pair_set_new();
	kv_range(mirror->kv, mirror->prefix, true, on_pair, on_read, mirror);
}

// ---- life ----

struct mirror *mirror_new(struct kv *kv, const char *prefix, const struct mirror_hooks *hooks,
			  void *arg)
{
	struct mirror *mirror = xnew(struct mirror);

	mirror->kv = kv;
	mirror->prefix = xstrdup(prefix);
	mirror->hooks = *hooks;
	mirror->arg = arg;
	mirror->timer = timer_new(kv_loop(kv), read_all, mirror);
	mirror->backoff = (struct backoff){ .base_ms = 100, .max_ms = 2000 };
	err_set(&mirror->why, -EAGAIN, "the controller has not read its store yet");
	timer_start(mirror->timer, 0);
	return mirror;
}

struct mirror *mirror_free(struct mirror *mirror)
{
	if (!mirror)
		return NULL;
	kv_watch_free(mirror->watch);
	kv_forget(mirror->kv, mirror);
	timer_free(mirror->timer);
	while (mirror->first != mirror->next)
		drop_first(mirror);
	free(mirror->changes);
	pair_set_unref(mirror->pairs);
	pair_set_unref(mirror->latest);
	pair_set_unref(mirror->reading);
	free(mirror->prefix);
	free(mirror);
	return NULL;
}

struct pair_set *mirror_pairs(const struct mirror *mirror)
{
	return mirror->pairs;
}

bool mirror_is_whole(const struct mirror *mirror)
{
	return mirror->header.revision >= mirror->latest_revision;
}

struct kv_header mirror_header(const struct mirror *mirror)
{
	return mirror->header;
}

bool mirror_is_up(const struct mirror *mirror, const struct err **ret_why)
{
	if (ret_why)
		*ret_why = &mirror->why;
	return mirror->up;
}
