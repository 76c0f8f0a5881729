// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the calls that are under way between callers and stores, and which stores there are.
#include "store/kv_internal.h"

#include "core/log.h"
#include "core/mem.h"
#include "store/consul.h"
#include "store/etcd2.h"
#include "store/etcd3.h"
#include "store/memory.h"
#include "store/remote.h"
#include "store/sqlite.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#define REQUEST_TIMEOUT_MS 5000
#define DEAD_MAN_MS 15000

static const struct kv_ops *const stores[] = {
	&consul_ops, &etcd2_ops, &etcd3_ops, &memory_ops, &remote_ops, &sqlite_ops,
};

// What a caller asked for: the store gets this in place of the caller's arg.
struct kv_call {
	struct kv *kv;
	struct kv_call *previous;
	struct kv_call *next;
	kv_pair_fn *each;
	union {
		kv_range_done_fn *range;
		kv_txn_done_fn *txn;
		kv_session_fn *session;
	} done;
	void *arg;
	enum kv_op op;
	uint64_t started_us;
	bool forgotten;
};

const char *const kv_op_names[KV_OP_COUNT] = {
	[KV_OP_RANGE] = "range", [KV_OP_TXN] = "txn", [KV_OP_SESSION] = "session"
};

static const struct kv_ops *find_ops(const char *kind)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(stores); i++)
		if (strcmp(stores[i]->kind, kind) == 0)
			return stores[i];
	return NULL;
}

int kv_open(struct loop *loop, const struct store_config *config, struct kv **ret, struct err *e)
{
	const struct kv_ops *ops = find_ops(config->kind);
	struct store_config filled = *config;
	struct kv *kv;
	int r;

	if (!ops)
		return err_set(e, -EINVAL, "store: no such kind: %s", config->kind);
	kv = xcalloc(1, ops->size);
	kv->ops = ops;
	kv->loop = loop;
	kv->txn_max = ops->txn_max;
	kv->limits = ops->limits;
	if (filled.request_timeout_ms == 0)
		filled.request_timeout_ms = REQUEST_TIMEOUT_MS;
	if (filled.dead_man_ms == 0)
		filled.dead_man_ms = DEAD_MAN_MS;
	r = ops->open(kv, &filled, e);
	if (r < 0) {
		kv_close(kv);
		return r;
	}
	*ret = kv;
	return 0;
}

struct kv *kv_close(struct kv *kv)
{
	if (!kv)
		return NULL;
	assert(kv->depth == 0);
	assert(kv->watches == 0);
	kv->ops->close(kv);
	while (kv->calls) {
		struct kv_call *call = kv->calls;

		kv->calls = call->next;
		free(call);
	}
	free(kv);
	return NULL;
}

struct loop *kv_loop(const struct kv *kv)
{
	return kv->loop;
}

unsigned int kv_txn_max(const struct kv *kv)
{
	return kv->txn_max;
}

unsigned int kv_limits(const struct kv *kv)
{
	return kv->limits;
}

const char *kv_kind(const struct kv *kv)
{
	return kv->ops->kind;
}

const char *kv_endpoint(const struct kv *kv)
{
	return kv->ops->endpoint ? kv->ops->endpoint(kv) : "";
}

void kv_reconnect(struct kv *kv)
{
	if (kv->ops->reconnect)
		kv->ops->reconnect(kv);
}

const struct kv_stats *kv_stats(const struct kv *kv)
{
	return &kv->stats;
}

// ---- calls ----

// The loop's clock stands still while it works, and has milliseconds only.
static uint64_t now_us(void)
{
	struct timespec now = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static struct kv_call *call_new(struct kv *kv, enum kv_op op, kv_pair_fn *each, void *arg)
{
	struct kv_call *call = xnew(struct kv_call);

	call->op = op;
	call->started_us = now_us();
	call->kv = kv;
	call->each = each;
	call->arg = arg;
	call->next = kv->calls;
	if (kv->calls)
		kv->calls->previous = call;
	kv->calls = call;
	return call;
}

// Takes the call out of the list before its caller hears of it, so that a call is never answered
// twice.
static struct kv_call call_end(struct kv_call *call, int r)
{
	struct kv_call ended = *call;

	if (call->previous)
		call->previous->next = call->next;
	else
		call->kv->calls = call->next;
	if (call->next)
		call->next->previous = call->previous;
	if (r < 0)
		call->kv->stats.failures++;
	log_debug("store: %s %s after %llu us", kv_op_names[call->op],
		  r < 0 ? strerror(-r) : "done", (unsigned long long)(now_us() - call->started_us));
	histogram_add(&call->kv->stats.latency[call->op], now_us() - call->started_us);
	free(call);
	return ended;
}

void kv_forget(struct kv *kv, const void *arg)
{
	struct kv_call *call;

	for (call = kv->calls; call; call = call->next)
		if (call->arg == arg)
			call->forgotten = true;
}

static void got_pair(void *arg, const struct kv_pair *pair)
{
	struct kv_call *call = arg;
	struct kv_pair bounded = *pair;

	if (call->forgotten || !call->each)
		return;
	if (bounded.value_len > KV_VALUE_MAX)
		bounded.value = NULL;
	call->kv->depth++;
	call->each(call->arg, &bounded);
	call->kv->depth--;
}

static void range_ended(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct kv_call call = call_end(arg, r);

	if (call.forgotten)
		return;
	call.kv->depth++;
	call.done.range(call.arg, r, header, e);
	call.kv->depth--;
}

static void txn_ended(void *arg, int r, bool succeeded, const struct kv_header *header,
		      const struct err *e)
{
	struct kv_call call = call_end(arg, r);

	if (call.forgotten)
		return;
	call.kv->depth++;
	call.done.txn(call.arg, r, succeeded, header, e);
	call.kv->depth--;
}

static void session_ended(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct kv_call call = call_end(arg, r);

	if (call.forgotten)
		return;
	call.kv->depth++;
	call.done.session(call.arg, r, session, ttl_s, e);
	call.kv->depth--;
}

void kv_range(struct kv *kv, const char *key, bool is_prefix, kv_pair_fn *each,
	      kv_range_done_fn *done, void *arg)
{
	struct kv_call *call = call_new(kv, KV_OP_RANGE, each, arg);

	call->done.range = done;
	kv->ops->range(kv, key, is_prefix, got_pair, range_ended, call);
}

void kv_txn(struct kv *kv, const struct kv_txn *txn, kv_pair_fn *each, kv_txn_done_fn *done, void *arg)
{
	struct kv_call *call;

	assert(txn->compare_count <= kv->txn_max && txn->write_count <= kv->txn_max);
	call = call_new(kv, KV_OP_TXN, each, arg);
	call->done.txn = done;
	kv->ops->txn(kv, txn, got_pair, txn_ended, call);
}

static struct kv_call *session_call(struct kv *kv, kv_session_fn *done, void *arg)
{
	struct kv_call *call = call_new(kv, KV_OP_SESSION, NULL, arg);

	call->done.session = done;
	return call;
}

void kv_session_open(struct kv *kv, int64_t ttl_s, kv_session_fn *done, void *arg)
{
	kv->ops->session_open(kv, ttl_s, session_ended, session_call(kv, done, arg));
}

void kv_session_keep_alive(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	kv->ops->session_keep_alive(kv, session, session_ended, session_call(kv, done, arg));
}

void kv_session_query(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	kv->ops->session_query(kv, session, session_ended, session_call(kv, done, arg));
}

void kv_session_close(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	kv->ops->session_close(kv, session, session_ended, session_call(kv, done, arg));
}

// ---- watches ----

struct kv_watch *kv_watch_start(struct kv *kv, const char *const *prefixes, int64_t from,
				uint64_t cluster_id, kv_watch_fn *fn, void *arg)
{
	struct kv_watch *watch = xcalloc(1, kv->ops->watch_size);
	size_t count = 0;

	while (prefixes[count])
		count++;
	assert(count > 0 && count <= KV_WATCH_PREFIXES_MAX);
	watch->kv = kv;
	watch->fn = fn;
	watch->arg = arg;
	kv->watches++;
	kv->ops->watch(watch, prefixes, from, cluster_id);
	return watch;
}

struct kv_watch *kv_watch_free(struct kv_watch *watch)
{
	if (!watch)
		return NULL;
	watch->kv->ops->watch_free(watch);
	watch->kv->watches--;
	watch->freed = true;
	if (watch->depth == 0)
		free(watch);
	return NULL;
}

void kv_watch_hold(struct kv_watch *watch)
{
	watch->depth++;
}

bool kv_watch_release(struct kv_watch *watch)
{
	bool freed = watch->freed;

	if (--watch->depth == 0 && freed)
		free(watch);
	return !freed;
}

bool kv_watch_emit(struct kv_watch *watch, const struct kv_watch_event *event)
{
	struct kv *kv = watch->kv;
	struct kv_watch_event bounded = *event;

	if (bounded.pair.value_len > KV_VALUE_MAX)
		bounded.pair.value = NULL;
	if (event->kind == KV_WATCH_PUT || event->kind == KV_WATCH_DELETE)
		kv->stats.events++;
	else if (event->kind == KV_WATCH_DOWN)
		kv->stats.watch_restarts++;
	kv_watch_hold(watch);
	kv->depth++;
	watch->fn(watch->arg, &bounded);
	kv->depth--;
	return kv_watch_release(watch);
}

bool kv_watch_up(struct kv_watch *watch, const struct kv_header *header)
{
	watch->up = true;
	watch->down_told = false;
	return kv_watch_emit(watch, &(struct kv_watch_event){ .kind = KV_WATCH_UP, .header = *header });
}

void kv_watch_down(struct kv_watch *watch, const struct err *e)
{
	watch->up = false;
	if (watch->down_told)
		return;
	watch->down_told = true;
	kv_watch_emit(watch, &(struct kv_watch_event){ .kind = KV_WATCH_DOWN, .err = e });
}

bool kv_watch_progress(struct kv_watch *watch, const struct kv_header *header)
{
	return kv_watch_emit(watch, &(struct kv_watch_event){ .kind = KV_WATCH_PROGRESS,
							      .header = *header });
}

void kv_watch_lose(struct kv_watch *watch, bool store_changed, const struct err *e)
{
	watch->up = false;
	kv_watch_emit(watch, &(struct kv_watch_event){ .kind = KV_WATCH_LOST,
						       .err = e,
						       .store_changed = store_changed });
}
