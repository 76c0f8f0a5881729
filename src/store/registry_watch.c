// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: turning the store's events into changes of leases and of the config.
#include "store/registry.h"

#include "core/mem.h"
#include "store/registry_internal.h"

#include <errno.h>
#include <string.h>

struct registry_watch {
	struct registry *registry;
	struct registry_watch *next;
	struct kv_watch *watch;
	registry_event_fn *fn;
	void *arg;
};

static void tell(const struct registry_watch *watch, const struct registry_event *event)
{
	watch->fn(watch->arg, event);
}

static void lease_deleted(const struct registry_watch *watch, const struct kv_pair *pair)
{
	struct registry_event event = { .kind = REGISTRY_LEASE_DELETE, .revision = pair->mod_revision };
	struct lease lease = { .mod_revision = pair->mod_revision };
	struct registry_fault fault;

	if (registry_decode_key(watch->registry, pair, &lease.subnet, &fault) == 0) {
		event.lease = &lease;
	} else {
		event.kind = REGISTRY_BAD_GONE;
		event.bad = &fault.bad;
	}
	tell(watch, &event);
}

static void lease_written(const struct registry_watch *watch, const struct kv_pair *pair)
{
	struct registry_event event = { .kind = REGISTRY_LEASE_PUT, .revision = pair->mod_revision };
	struct lease lease = { 0 };
	struct registry_fault fault;

	if (registry_decode_lease(watch->registry, pair, &lease, &fault) == 0) {
		event.lease = &lease;
	} else {
		event.kind = REGISTRY_LEASE_BAD;
		event.bad = &fault.bad;
	}
	tell(watch, &event);
	lease_free(&lease);
}

static void config_written(const struct registry_watch *watch, const struct kv_pair *pair)
{
	struct registry_event event = { .kind = REGISTRY_CONFIG_PUT, .revision = pair->mod_revision };
	_cleanup_free_ char *text = NULL;
	struct err e;

	// What cannot be a config is handed on as an empty text, which is none either, with the
	// reason.
	if (!pair->value)
		err_set(&e, -E2BIG, "%s: larger than %d bytes", pair->key, KV_VALUE_MAX);
	else if (memchr(pair->value, '\0', pair->value_len))
		err_set(&e, -EINVAL, "%s: has a NUL byte", pair->key);
	else
		text = xstrndup(pair->value, pair->value_len);
	event.text = text ? text : "";
	event.err = text ? NULL : &e;
	tell(watch, &event);
}

static void key_changed(const struct registry_watch *watch, const struct kv_watch_event *event)
{
	const struct registry *registry = watch->registry;
	const struct kv_pair *pair = &event->pair;
	bool is_delete = event->kind == KV_WATCH_DELETE;

	if (strcmp(pair->key, registry->config_key) == 0) {
		struct registry_event deleted = { .kind = REGISTRY_CONFIG_DELETE,
						  .revision = pair->mod_revision };

		if (is_delete)
			tell(watch, &deleted);
		else
			config_written(watch, pair);
	} else if (strncmp(pair->key, registry->leases_prefix, strlen(registry->leases_prefix)) == 0) {
		if (is_delete)
			lease_deleted(watch, pair);
		else
			lease_written(watch, pair);
	}
	// The rest only starts like the config's key.
}

static void stream_changed(const struct registry_watch *watch, const struct kv_watch_event *event,
			   enum registry_event_kind kind)
{
	struct registry_event told = {
		.kind = kind,
		.revision = event->header.revision,
		.err = event->err,
		.store_changed = event->store_changed,
	};

	tell(watch, &told);
}

// Its owner may free the watch in fn: nothing is read of it afterwards.
static void watch_event(void *arg, const struct kv_watch_event *event)
{
	const struct registry_watch *watch = arg;

	switch (event->kind) {
	case KV_WATCH_PUT:
	case KV_WATCH_DELETE:
		key_changed(watch, event);
		return;
	case KV_WATCH_PROGRESS:
		return;
	case KV_WATCH_UP:
		stream_changed(watch, event, REGISTRY_UP);
		return;
	case KV_WATCH_DOWN:
		stream_changed(watch, event, REGISTRY_DOWN);
		return;
	case KV_WATCH_LOST:
		stream_changed(watch, event, REGISTRY_LOST);
		return;
	}
}

struct registry_watch *registry_watch_start(struct registry *registry, int64_t from,
					    uint64_t cluster_id, registry_event_fn *fn, void *arg)
{
	const char *const prefixes[] = { registry->leases_prefix, registry->config_key, NULL };
	struct registry_watch *watch = xnew(struct registry_watch);

	watch->registry = registry;
	watch->fn = fn;
	watch->arg = arg;
	watch->next = registry->watches;
	registry->watches = watch;
	watch->watch = kv_watch_start(registry->kv, prefixes, from, cluster_id, watch_event, watch);
	return watch;
}

struct registry_watch *registry_watch_free(struct registry_watch *watch)
{
	struct registry_watch **link;

	if (!watch)
		return NULL;
	link = &watch->registry->watches;
	while (*link != watch)
		link = &(*link)->next;
	*link = watch->next;
	kv_watch_free(watch->watch);
	free(watch);
	return NULL;
}
