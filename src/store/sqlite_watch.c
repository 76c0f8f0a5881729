// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the watches of the embedded store: each asks for the events behind those it has told, again
// whenever the revision rose.
#include "store/sqlite_internal.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

static struct sqlite *client_of(const struct sqlite_watch *watch)
{
	return (struct sqlite *)watch->base.kv;
}

static void ask(struct sqlite_watch *watch)
{
	struct sqlite_job *job = sqlite_job_new(client_of(watch), JOB_WATCH);

	for (size_t i = 0; watch->prefixes[i]; i++)
		job->prefixes[i] = xstrdup(watch->prefixes[i]);
	job->from = watch->from;
	job->cluster_id = watch->cluster_id;
	job->event = watch->event;
	job->watch = watch;
	watch->job = job;
	sqlite_job_ask(client_of(watch), job);
}

static void retry(void *arg)
{
	ask(arg);
}

void sqlite_watch_wake(struct sqlite *client)
{
	struct sqlite_watch *watch;

	for (watch = client->watches; watch; watch = watch->next)
		if (watch->base.up && !watch->job && watch->seen < client->store->revision)
			ask(watch);
}

static bool tell_events(struct sqlite_watch *watch, const struct sqlite_job *job)
{
	if (!watch->base.up && !kv_watch_up(&watch->base, &job->header))
		return false;
	for (size_t i = 0; i < job->rows.count; i++) {
		const struct sqlite_row *row = job->rows.items[i];
		struct kv_watch_event event = {
			.kind = row->is_delete ? KV_WATCH_DELETE : KV_WATCH_PUT,
			.pair = row->pair,
			.header = job->header,
		};

		if (row->is_delete)
			event.pair.value = NULL;
		if (!kv_watch_emit(&watch->base, &event))
			return false;
	}
	if (job->more || watch->seen >= job->header.revision)
		return true;
	watch->seen = job->header.revision;
	return kv_watch_progress(&watch->base, &job->header);
}

void sqlite_watch_answered(struct sqlite_job *job)
{
	struct sqlite_watch *watch = job->watch;
	bool is_left;

	watch->job = NULL;
	if (job->r == -ESTALE) {
		kv_watch_lose(&watch->base, job->store_changed, &job->err);
		return;
	}
	if (job->r < 0) {
		timer_start(watch->retry, backoff_next_ms(&watch->backoff));
		kv_watch_down(&watch->base, &job->err);
		return;
	}
	backoff_reset(&watch->backoff);
	watch->event = job->event;
	watch->cluster_id = job->header.cluster_id;
	kv_watch_hold(&watch->base);
	is_left = tell_events(watch, job);
	if (is_left && (job->more || watch->seen < client_of(watch)->store->revision))
		ask(watch);
	kv_watch_release(&watch->base);
}

void sqlite_watch_start(struct kv_watch *base, const char *const *prefixes, int64_t from,
			uint64_t cluster_id)
{
	struct sqlite_watch *watch = (struct sqlite_watch *)base;
	struct sqlite *client = client_of(watch);

	for (size_t i = 0; prefixes[i]; i++)
		watch->prefixes[i] = xstrdup(prefixes[i]);
	watch->from = from;
	watch->cluster_id = cluster_id;
	watch->backoff = (struct backoff){ .base_ms = 100, .max_ms = 5000 };
	watch->retry = timer_new(base->kv->loop, retry, watch);
	watch->next = client->watches;
	client->watches = watch;
	base->kv->stats.requests++;
	ask(watch);
}

void sqlite_watch_end(struct kv_watch *base)
{
	struct sqlite_watch *watch = (struct sqlite_watch *)base;
	struct sqlite_watch **link = &client_of(watch)->watches;

	while (*link != watch)
		link = &(*link)->next;
	*link = watch->next;
	if (watch->job)
		watch->job->kv = NULL;
	watch->retry = timer_free(watch->retry);
	for (size_t i = 0; watch->prefixes[i]; i++)
		free(watch->prefixes[i]);
}
