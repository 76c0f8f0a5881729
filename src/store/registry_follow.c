// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which networks are below the prefix: one reading, then a watch from its revision on.
//
// DOC: a store's watch is of prefixes, and a config's key ends alike in all networks; so all keys below the prefix are watched, leases too,
// and all but configs is passed over.
#include "store/registry.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/text.h"
#include "store/registry_internal.h"

#include <string.h>

#define RETRY_BASE_MS 200
#define RETRY_MAX_MS 5000
#define NAMES_MAX 4096 // more than any host is in

struct registry_follow {
	struct kv *kv;
	struct registry_follow_fns fns;
	void *arg;
	char *below; // the prefix with a slash
	struct timer *timer;
	struct backoff backoff;
	struct kv_watch *watch;
	bool store_changed;  // since the last list
	uint64_t cluster_id; // of it; with the revision 0 at first
	int64_t revision;
	char **names; // of the list being read
	size_t count;
	size_t capacity;
};

static void forget_names(struct registry_follow *follow)
{
	for (size_t i = 0; i < follow->count; i++)
		free(follow->names[i]);
	free(follow->names);
	follow->names = NULL;
	follow->count = follow->capacity = 0;
}

// A name that could be a path out of our directories is nobody's network.
static bool is_network(const struct registry_follow *follow, const char *key, char **ret)
{
	size_t len = strlen(follow->below);
	_cleanup_free_ char *name = NULL;
	struct err e;

	if (strncmp(key, follow->below, len) != 0 || !registry_config_name(key + len, &name) || !*name)
		return false;
	if (registry_network_check(name, &e) < 0) {
		text_sanitize(name);
		log_rl(LOG_LEVEL_WARN, "registry: network \"%.64s\" is not looked at: %s", name, e.msg);
		return false;
	}
	*ret = TAKE_PTR(name);
	return true;
}

static void on_pair(void *arg, const struct kv_pair *pair)
{
	struct registry_follow *follow = arg;
	char *name;

	if (follow->count == NAMES_MAX || !is_network(follow, pair->key, &name))
		return;
	if (follow->count == follow->capacity) {
		follow->capacity = follow->capacity ? 2 * follow->capacity : 16;
		follow->names =
			xrealloc_array(follow->names, follow->capacity, sizeof(*follow->names));
	}
	follow->names[follow->count++] = name;
}

static void read_later(struct registry_follow *follow)
{
	timer_start(follow->timer, backoff_next_ms(&follow->backoff) + 1);
}

static void on_event(void *arg, const struct kv_watch_event *event)
{
	struct registry_follow *follow = arg;
	_cleanup_free_ char *name = NULL;

	switch (event->kind) {
	case KV_WATCH_PUT:
	case KV_WATCH_DELETE:
		if (is_network(follow, event->pair.key, &name))
			follow->fns.changed(follow->arg, name, event->kind == KV_WATCH_PUT);
		return;
	case KV_WATCH_UP:
	case KV_WATCH_DOWN: // the networks' own watches tell that
	case KV_WATCH_PROGRESS:
		return;
	case KV_WATCH_LOST:
		follow->store_changed = follow->store_changed || event->store_changed;
		follow->watch = kv_watch_free(follow->watch);
		read_later(follow);
		return;
	}
}

static void on_read(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct registry_follow *follow = arg;
	bool is_other =
		follow->revision != 0 && r == 0 &&
		(header->cluster_id != follow->cluster_id || header->revision < follow->revision);

	if (r < 0) {
		forget_names(follow);
		follow->fns.unread(follow->arg, e);
		read_later(follow);
		return;
	}
	backoff_reset(&follow->backoff);
	follow->cluster_id = header->cluster_id;
	follow->revision = header->revision;
	follow->watch = kv_watch_start(follow->kv, (const char *const[]){ follow->below, NULL },
				       header->revision + 1, header->cluster_id, on_event, follow);
	follow->fns.listed(follow->arg, follow->names, follow->count,
			   follow->store_changed || is_other);
	follow->store_changed = false;
	forget_names(follow);
}

static void read_list(void *arg)
{
	struct registry_follow *follow = arg;

	forget_names(follow);
	kv_range(follow->kv, follow->below, true, on_pair, on_read, follow);
}

struct registry_follow *registry_follow_start(struct registry *registry,
					      const struct registry_follow_fns *fns, void *arg)
{
	struct registry_follow *follow = xnew(struct registry_follow);

	follow->kv = registry->kv;
	follow->fns = *fns;
	follow->arg = arg;
	follow->below = xasprintf("%s/", registry->prefix);
	follow->backoff = (struct backoff){ .base_ms = RETRY_BASE_MS, .max_ms = RETRY_MAX_MS };
	follow->timer = timer_new(kv_loop(follow->kv), read_list, follow);
	read_list(follow);
	return follow;
}

void registry_follow_again(struct registry_follow *follow)
{
	if (!follow->watch)
		return; // it is being read
	follow->watch = kv_watch_free(follow->watch);
	timer_start(follow->timer, 1);
}

struct registry_follow *registry_follow_free(struct registry_follow *follow)
{
	if (!follow)
		return NULL;
	kv_forget(follow->kv, follow);
	kv_watch_free(follow->watch);
	timer_free(follow->timer);
	forget_names(follow);
	free(follow->below);
	free(follow);
	return NULL;
}
