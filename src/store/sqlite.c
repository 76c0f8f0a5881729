// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the clients of the embedded store, and their calls from when they are made until they are
// answered.
//
// DOC: a call
//
// A call becomes a job, which is in the store's list until it is answered, and goes to the worker's
// thread. When it comes back it is told from the loop, long ranges over several turns. A client that
// closes, and a call whose time is over, leaves its job behind with nobody to tell.
#include "store/sqlite.h"

#include "core/mem.h"
#include "store/sqlite_internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define TURN_MAX 1024 // jobs and pairs that are told in one turn of the loop
#define NEVER UINT64_MAX

static struct sqlite_store *stores; // the open ones

// ---- jobs ----

static void job_link(struct sqlite_store *store, struct sqlite_job *job)
{
	job->older = store->youngest;
	if (store->youngest)
		store->youngest->younger = job;
	else
		store->oldest = job;
	store->youngest = job;
}

static void job_end(struct sqlite_store *store, struct sqlite_job *job)
{
	if (job->older)
		job->older->younger = job->younger;
	else
		store->oldest = job->younger;
	if (job->younger)
		job->younger->older = job->older;
	else
		store->youngest = job->older;
	sqlite_job_free(job);
}

struct sqlite_job *sqlite_job_new(struct sqlite *client, enum sqlite_job_kind kind)
{
	struct sqlite_job *job = xnew(struct sqlite_job);

	job->kind = kind;
	job->kv = &client->base;
	return job;
}

static void start_deadline(struct sqlite_store *store, uint64_t at_ms, uint64_t left_ms)
{
	store->deadline_ms = at_ms;
	timer_start(store->deadline, left_ms);
}

void sqlite_job_ask(struct sqlite *client, struct sqlite_job *job)
{
	struct sqlite_store *store = client->store;

	job->deadline_ms = loop_now_ms() + client->timeout_ms;
	job_link(store, job);
	if (!timer_is_pending(store->deadline) || job->deadline_ms < store->deadline_ms)
		start_deadline(store, job->deadline_ms, client->timeout_ms);
	sqlite_worker_ask(store->worker, job);
}

// Nobody heard of a session whose opening was given up: it goes.
static void end_orphan_session(struct sqlite_store *store, int64_t session)
{
	struct sqlite_job *job = xnew(struct sqlite_job);

	job->kind = JOB_SESSION_CLOSE;
	job->session = session;
	job->deadline_ms = NEVER;
	job_link(store, job);
	sqlite_worker_ask(store->worker, job);
}

static void call_back(struct sqlite_job *job, int r, const struct err *e)
{
	const struct kv_header *header = r == 0 ? &job->header : NULL;

	if (job->range_done)
		job->range_done(job->arg, r, header, e);
	else if (job->txn_done)
		job->txn_done(job->arg, r, job->succeeded, header, e);
	else if (job->session_done)
		job->session_done(job->arg, r, job->session, job->ttl_s, e);
}

// Tells as many rows as *budget allows; true: that was all.
static bool tell_rows(struct sqlite_job *job, size_t *budget)
{
	while (job->told<job->rows.count && * budget> 0) {
		--*budget;
		job->each(job->arg, &job->rows.items[job->told++]->pair);
	}
	return job->told == job->rows.count;
}

static bool tell(struct sqlite_store *store, struct sqlite_job *job, size_t *budget)
{
	if (!job->kv) {
		if (job->kind == JOB_SESSION_OPEN && job->r == 0)
			end_orphan_session(store, job->session);
		return true;
	}
	if (job->watch) {
		sqlite_watch_answered(job);
		*budget -= job->rows.count < *budget ? job->rows.count : *budget;
		return true;
	}
	if (job->r == 0 && !tell_rows(job, budget))
		return false;
	call_back(job, job->r, job->r < 0 ? &job->err : NULL);
	return true;
}

static void tell_done(void *arg)
{
	struct sqlite_store *store = arg;
	size_t budget = TURN_MAX;

	while (store->done) {
		struct sqlite_job *job = store->done;

		if (budget == 0 || !tell(store, job, &budget)) {
			timer_start(store->turn, 0);
			return;
		}
		budget -= budget > 0;
		store->done = job->next;
		job_end(store, job);
	}
	store->done_last = NULL;
}

static void take_done(void *arg, unsigned int events)
{
	struct sqlite_store *store = arg;
	struct sqlite_job *job = sqlite_worker_take(store->worker, &store->revision);
	struct sqlite *client;

	(void)events;
	if (store->done_last)
		store->done_last->next = job;
	else
		store->done = job;
	for (; job; job = job->next) {
		job->deadline_ms = NEVER;
		store->done_last = job;
	}
	if (!timer_is_pending(store->turn))
		tell_done(store);
	for (client = store->clients; client; client = client->next)
		sqlite_watch_wake(client);
}

// ---- deadlines ----

static void give_up(struct sqlite_job *job)
{
	bool may_be_done = job->kind == JOB_TXN;
	struct err e;

	err_set(&e, may_be_done ? -EINPROGRESS : -ETIMEDOUT,
		"sqlite: %s: the disk does not answer in time",
		((const struct sqlite *)job->kv)->path);
	job->deadline_ms = NEVER;
	if (job->watch) {
		kv_watch_down(&job->watch->base, &e); // the answer brings it up again
		return;
	}
	job->kv = NULL;
	call_back(job, e.code, &e);
}

// The one whose time ends first.
static struct sqlite_job *find_first(const struct sqlite_store *store)
{
	struct sqlite_job *first = NULL;
	struct sqlite_job *job;

	for (job = store->oldest; job; job = job->younger)
		if (job->kv && job->deadline_ms != NEVER &&
		    (!first || job->deadline_ms < first->deadline_ms))
			first = job;
	return first;
}

static void check_deadlines(void *arg)
{
	struct sqlite_store *store = arg;
	uint64_t now = loop_now_ms();
	struct sqlite_job *job;
	struct sqlite_job *first;

	// Callbacks add jobs behind, and take none away.
	for (job = store->oldest; job; job = job->younger)
		if (job->kv && job->deadline_ms <= now)
			give_up(job);
	first = find_first(store);
	if (first)
		start_deadline(store, first->deadline_ms, first->deadline_ms - now);
}

// ---- calls ----

static struct sqlite_job *call_new(struct kv *kv, enum sqlite_job_kind kind, void *arg)
{
	struct sqlite_job *job = sqlite_job_new((struct sqlite *)kv, kind);

	job->arg = arg;
	kv->stats.requests++;
	return job;
}

static void sqlite_range(struct kv *kv, const char *key, bool is_prefix, kv_pair_fn *each,
			 kv_range_done_fn *done, void *arg)
{
	struct sqlite_job *job = call_new(kv, JOB_RANGE, arg);

	job->key = xstrdup(key);
	job->is_prefix = is_prefix;
	job->each = each;
	job->range_done = done;
	sqlite_job_ask((struct sqlite *)kv, job);
}

static void sqlite_txn(struct kv *kv, const struct kv_txn *txn, kv_pair_fn *each,
		       kv_txn_done_fn *done, void *arg)
{
	struct sqlite_job *job = call_new(kv, JOB_TXN, arg);

	sqlite_job_take_txn(job, txn);
	job->each = each;
	job->txn_done = done;
	sqlite_job_ask((struct sqlite *)kv, job);
}

static void session_call(struct kv *kv, enum sqlite_job_kind kind, int64_t session, int64_t ttl_s,
			 kv_session_fn *done, void *arg)
{
	struct sqlite_job *job = call_new(kv, kind, arg);

	job->session = session;
	job->ttl_s = ttl_s;
	job->session_done = done;
	sqlite_job_ask((struct sqlite *)kv, job);
}

static void sqlite_session_open(struct kv *kv, int64_t ttl_s, kv_session_fn *done, void *arg)
{
	session_call(kv, JOB_SESSION_OPEN, 0, ttl_s, done, arg);
}

static void sqlite_session_keep_alive(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	session_call(kv, JOB_SESSION_KEEP_ALIVE, session, 0, done, arg);
}

static void sqlite_session_query(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	session_call(kv, JOB_SESSION_QUERY, session, 0, done, arg);
}

static void sqlite_session_close(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	session_call(kv, JOB_SESSION_CLOSE, session, 0, done, arg);
}

void sqlite_compact(struct kv *kv)
{
	assert(kv->ops == &sqlite_ops);
	sqlite_job_ask((struct sqlite *)kv, call_new(kv, JOB_COMPACT, NULL));
}

static const char *sqlite_endpoint(const struct kv *kv)
{
	return ((const struct sqlite *)kv)->path;
}

// ---- open and close ----

static struct sqlite_store *find_store(const char *path, const struct loop *loop)
{
	struct sqlite_store *store;
	struct stat st;

	if (stat(path, &st) < 0)
		return NULL;
	for (store = stores; store; store = store->next)
		if (store->device == st.st_dev && store->inode == st.st_ino && store->loop == loop)
			return store;
	return NULL;
}

static struct sqlite_store *store_free(struct sqlite_store *store)
{
	fd_watch_free(store->wake);
	sqlite_worker_free(store->worker);
	timer_free(store->turn);
	timer_free(store->deadline);
	free(store);
	return NULL;
}

static int store_new(const char *path, struct loop *loop, struct sqlite_store **ret, struct err *e)
{
	struct sqlite_store *store = xnew(struct sqlite_store);
	struct stat st = { 0 };
	int r;

	r = sqlite_worker_new(path, &store->worker, e);
	if (r == 0 && stat(path, &st) < 0)
		r = err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (r < 0) {
		store_free(store);
		return r;
	}
	store->device = st.st_dev;
	store->inode = st.st_ino;
	store->loop = loop;
	store->turn = timer_new(loop, tell_done, store);
	store->deadline = timer_new(loop, check_deadlines, store);
	store->wake = fd_watch_new(loop, sqlite_worker_fd(store->worker), take_done, store);
	fd_watch_set(store->wake, FD_READABLE);
	store->next = stores;
	stores = store;
	*ret = store;
	return 0;
}

static int sqlite_open(struct kv *kv, const struct store_config *config, struct err *e)
{
	struct sqlite *client = (struct sqlite *)kv;
	struct sqlite_store *store;
	int r;

	if (!config->path || config->path[0] == '\0')
		return err_set(e, -EINVAL, "sqlite: the store's file is not named");
	store = find_store(config->path, kv->loop);
	if (!store) {
		r = store_new(config->path, kv->loop, &store, e);
		if (r < 0)
			return r;
	}
	client->path = xstrdup(config->path);
	client->timeout_ms = config->request_timeout_ms;
	client->store = store;
	client->next = store->clients;
	store->clients = client;
	return 0;
}

static void store_close(struct sqlite_store *store)
{
	struct sqlite_store **link = &stores;

	while (*link != store)
		link = &(*link)->next;
	*link = store->next;
	// Those that are not told go with the store; the others are the worker's to free.
	while (store->done) {
		struct sqlite_job *job = store->done;

		store->done = job->next;
		sqlite_job_free(job);
	}
	store_free(store);
}

static void sqlite_close(struct kv *kv)
{
	struct sqlite *client = (struct sqlite *)kv;
	struct sqlite_store *store = client->store;
	struct sqlite **link;
	struct sqlite_job *job;

	free(client->path);
	if (!store)
		return;
	for (job = store->oldest; job; job = job->younger)
		if (job->kv == kv)
			job->kv = NULL;
	for (link = &store->clients; *link != client;)
		link = &(*link)->next;
	*link = client->next;
	if (!store->clients)
		store_close(store);
}

const struct kv_ops sqlite_ops = {
	.kind = "sqlite",
	.txn_max = KV_TXN_MAX,
	.size = sizeof(struct sqlite),
	.watch_size = sizeof(struct sqlite_watch),
	.open = sqlite_open,
	.close = sqlite_close,
	.range = sqlite_range,
	.txn = sqlite_txn,
	.session_open = sqlite_session_open,
	.session_keep_alive = sqlite_session_keep_alive,
	.session_query = sqlite_session_query,
	.session_close = sqlite_session_close,
	.watch = sqlite_watch_start,
	.watch_free = sqlite_watch_end,
	.endpoint = sqlite_endpoint,
};
