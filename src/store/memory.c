// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the calls and watches of the clients of a store in memory, and the faults they are to see.
#include "store/memory.h"

#include "core/mem.h"
#include "store/kv_internal.h"
#include "store/memory_data.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct shared {
	struct memory_data *data;
	struct memory *clients;
};

struct memory {
	struct kv base;
	struct shared *shared;
	struct memory *next; // of the same data
	struct memory_watch *watches;
	struct pending *first;
	struct pending *last;
	struct timer *turn; // answers what is pending
	bool unreachable;
	bool refuses_keys;
	unsigned int answers_to_lose;
	unsigned int requests_to_lose;
	char *refused_key; // NULL: none
};

struct memory_watch {
	struct kv_watch base;
	struct memory_watch *next;
	struct timer *turn;
	char *prefixes[KV_WATCH_PREFIXES_MAX];
	size_t prefix_count;
	int64_t from;
	int64_t index;	  // into the history, once up
	int64_t progress; // as last told
	uint64_t cluster_id;
	bool lost;
};

enum pending_kind {
	PENDING_RANGE,
	PENDING_TXN,
	PENDING_SESSION_OPEN,
	PENDING_SESSION_KEEP_ALIVE,
	PENDING_SESSION_QUERY,
	PENDING_SESSION_CLOSE,
};

struct pending {
	struct pending *next;
	enum pending_kind kind;
	kv_pair_fn *each;
	kv_range_done_fn *range_done;
	kv_txn_done_fn *txn_done;
	kv_session_fn *session_done;
	void *arg;
	char *key;
	bool is_prefix;
	int64_t session;
	int64_t ttl_s;
	struct kv_compare compares[KV_TXN_MAX];
	size_t compare_count;
	struct kv_write writes[KV_TXN_MAX];
	size_t write_count;
};

static struct memory *memory_of(const struct kv *kv)
{
	assert(kv->ops == &memory_ops);
	return (struct memory *)kv;
}

static struct memory_data *data_of(const struct kv *kv)
{
	return memory_of(kv)->shared->data;
}

// ---- calls ----

static void pending_free(struct pending *pending)
{
	size_t i;

	for (i = 0; i < pending->compare_count; i++)
		free((char *)pending->compares[i].key);
	for (i = 0; i < pending->write_count; i++) {
		free((char *)pending->writes[i].key);
		free((void *)pending->writes[i].value);
	}
	free(pending->key);
	free(pending);
}

static struct pending *pending_new(struct kv *kv, enum pending_kind kind, void *arg)
{
	struct memory *memory = memory_of(kv);
	struct pending *pending = xnew(struct pending);

	pending->kind = kind;
	pending->arg = arg;
	if (memory->last)
		memory->last->next = pending;
	else
		memory->first = pending;
	memory->last = pending;
	timer_start(memory->turn, 0);
	kv->stats.requests++;
	return pending;
}

static void range_run(struct memory *memory, const struct pending *pending)
{
	const struct memory_data *data = memory->shared->data;
	struct kv_header header = memory_data_header(data);
	struct kv_pair pair;

	if (memory->refuses_keys && !pending->is_prefix) {
		struct err e;

		err_set(&e, -EACCES, "memory: single keys are refused");
		pending->range_done(pending->arg, e.code, NULL, &e);
		return;
	}
	if (pending->is_prefix) {
		memory_data_range(data, pending->key, pending->each, pending->arg);
	} else if (memory_data_get(data, pending->key, 0, &pair)) {
		pending->each(pending->arg, &pair);
	}
	pending->range_done(pending->arg, 0, &header, NULL);
}

static bool compare_holds(const struct memory_data *data, const struct kv_compare *compare)
{
	struct kv_pair pair;
	bool present = memory_data_get(data, compare->key, compare->key_len, &pair);

	switch (compare->kind) {
	case KV_ABSENT:
		return !present;
	case KV_PRESENT:
		return present;
	case KV_MOD_REVISION:
		return present && pair.mod_revision == compare->mod_revision;
	}
	return false;
}

// The first write that names a session which is not there, or -1.
static int find_dead_session(const struct memory_data *data, const struct pending *pending)
{
	size_t i;

	for (i = 0; i < pending->write_count; i++)
		if (pending->writes[i].session != 0 &&
		    memory_session_ttl(data, pending->writes[i].session) < 0)
			return (int)i;
	return -1;
}

static bool take_one(unsigned int *count)
{
	if (*count == 0)
		return false;
	--*count;
	return true;
}

static void txn_lost(const struct pending *pending)
{
	struct err e;

	err_set(&e, -EINPROGRESS, "memory: the answer was lost");
	pending->txn_done(pending->arg, e.code, false, NULL, &e);
}

static void txn_failed_compare(const struct memory_data *data, const struct pending *pending)
{
	struct kv_header header = memory_data_header(data);
	struct kv_pair pair;
	size_t i;

	for (i = 0; i < pending->compare_count; i++) {
		const struct kv_compare *compare = &pending->compares[i];

		if (memory_data_get(data, compare->key, compare->key_len, &pair))
			pending->each(pending->arg, &pair);
	}
	pending->txn_done(pending->arg, 0, false, &header, NULL);
}

static bool writes_refused_key(const struct memory *memory, const struct pending *pending)
{
	size_t i;

	for (i = 0; memory->refused_key && i < pending->write_count; i++)
		if (pending->writes[i].key_len == strlen(memory->refused_key) &&
		    memcmp(pending->writes[i].key, memory->refused_key, pending->writes[i].key_len) == 0)
			return true;
	return false;
}

static void txn_run(struct memory *memory, const struct pending *pending)
{
	struct memory_data *data = memory->shared->data;
	struct kv_header header;
	struct err e;
	size_t i;

	if (writes_refused_key(memory, pending)) {
		err_set(&e, -EPROTO, "memory: this key is refused");
		pending->txn_done(pending->arg, e.code, false, NULL, &e);
		return;
	}
	if (take_one(&memory->requests_to_lose)) {
		txn_lost(pending);
		return;
	}
	for (i = 0; i < pending->compare_count; i++) {
		if (!compare_holds(data, &pending->compares[i])) {
			txn_failed_compare(data, pending);
			return;
		}
	}
	if (find_dead_session(data, pending) >= 0) {
		err_set(&e, -ENOENT, "memory: no such session");
		pending->txn_done(pending->arg, e.code, false, NULL, &e);
		return;
	}
	memory_data_write(data, pending->writes, pending->write_count);
	if (take_one(&memory->answers_to_lose)) {
		txn_lost(pending);
		return;
	}
	header = memory_data_header(data);
	pending->txn_done(pending->arg, 0, true, &header, NULL);
}

static void session_run(struct memory *memory, const struct pending *pending)
{
	struct memory_data *data = memory->shared->data;
	int64_t session = pending->session;
	int64_t ttl_s = 0;
	struct err e;

	if (pending->kind == PENDING_SESSION_OPEN) {
		ttl_s = pending->ttl_s;
		session = memory_session_new(data, ttl_s);
	} else if (pending->kind == PENDING_SESSION_KEEP_ALIVE) {
		ttl_s = memory_session_renew(data, session);
	} else if (pending->kind == PENDING_SESSION_QUERY) {
		ttl_s = memory_session_ttl(data, session);
	} else if (!memory_session_end(data, session)) {
		ttl_s = -1;
	}
	if (ttl_s >= 0) {
		pending->session_done(pending->arg, 0, session, ttl_s, NULL);
		return;
	}
	err_set(&e, -ENOENT, "memory: no such session");
	pending->session_done(pending->arg, e.code, session, 0, &e);
}

static void pending_refuse(const struct pending *pending)
{
	struct err e;

	err_set(&e, -ECONNREFUSED, "memory: not reachable");
	if (pending->kind == PENDING_RANGE)
		pending->range_done(pending->arg, e.code, NULL, &e);
	else if (pending->kind == PENDING_TXN)
		pending->txn_done(pending->arg, e.code, false, NULL, &e);
	else
		pending->session_done(pending->arg, e.code,
				      pending->kind == PENDING_SESSION_OPEN ? 0 : pending->session,
				      0, &e);
}

static void pending_run(struct memory *memory, const struct pending *pending)
{
	if (memory->unreachable)
		pending_refuse(pending);
	else if (pending->kind == PENDING_RANGE)
		range_run(memory, pending);
	else if (pending->kind == PENDING_TXN)
		txn_run(memory, pending);
	else
		session_run(memory, pending);
}

static void answer_pending(void *arg)
{
	struct memory *memory = arg;
	struct pending *pending = memory->first;

	// One a turn: what its caller asks for next comes behind what others asked before.
	memory->first = pending->next;
	if (!memory->first)
		memory->last = NULL;
	else
		timer_start(memory->turn, 0);
	pending_run(memory, pending);
	pending_free(pending);
}

static void memory_range(struct kv *kv, const char *key, bool is_prefix, kv_pair_fn *each,
			 kv_range_done_fn *done, void *arg)
{
	struct pending *pending = pending_new(kv, PENDING_RANGE, arg);

	pending->key = xstrdup(key);
	pending->is_prefix = is_prefix;
	pending->each = each;
	pending->range_done = done;
}

static char *key_copy(const char *key, size_t *len)
{
	*len = kv_key_len(key, *len);
	return xmemdup(key, *len);
}

static void memory_txn(struct kv *kv, const struct kv_txn *txn, kv_pair_fn *each,
		       kv_txn_done_fn *done, void *arg)
{
	struct pending *pending = pending_new(kv, PENDING_TXN, arg);
	size_t i;

	pending->each = each;
	pending->txn_done = done;
	pending->compare_count = txn->compare_count;
	for (i = 0; i < txn->compare_count; i++) {
		pending->compares[i] = txn->compares[i];
		pending->compares[i].key =
			key_copy(txn->compares[i].key, &pending->compares[i].key_len);
	}
	pending->write_count = txn->write_count;
	for (i = 0; i < txn->write_count; i++) {
		const struct kv_write *write = &txn->writes[i];

		pending->writes[i] = *write;
		pending->writes[i].key = key_copy(write->key, &pending->writes[i].key_len);
		if (write->value)
			pending->writes[i].value = xmemdup(write->value_len ? write->value : "",
							   write->value_len + !write->value_len);
	}
}

static void session_call(struct kv *kv, enum pending_kind kind, int64_t session,
			 kv_session_fn *done, void *arg)
{
	struct pending *pending = pending_new(kv, kind, arg);

	pending->session = session;
	pending->session_done = done;
}

static void memory_session_open(struct kv *kv, int64_t ttl_s, kv_session_fn *done, void *arg)
{
	struct pending *pending = pending_new(kv, PENDING_SESSION_OPEN, arg);

	pending->ttl_s = ttl_s;
	pending->session_done = done;
}

static void memory_session_keep_alive(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	session_call(kv, PENDING_SESSION_KEEP_ALIVE, session, done, arg);
}

static void memory_session_query(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	session_call(kv, PENDING_SESSION_QUERY, session, done, arg);
}

static void memory_session_close(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	session_call(kv, PENDING_SESSION_CLOSE, session, done, arg);
}

// ---- watches ----

static bool watch_wants(const struct memory_watch *watch, const char *key)
{
	size_t i;

	for (i = 0; i < watch->prefix_count; i++)
		if (strncmp(key, watch->prefixes[i], strlen(watch->prefixes[i])) == 0)
			return true;
	return false;
}

static void watch_lose(struct memory_watch *watch, bool store_changed, const char *why)
{
	struct err e;

	err_set(&e, -ESTALE, "memory: %s", why);
	watch->lost = true;
	kv_watch_lose(&watch->base, store_changed, &e);
}

// False: the watch ended or was freed.
static bool watch_come_up(struct memory_watch *watch)
{
	const struct memory_data *data = data_of(watch->base.kv);
	const struct kv_header header = memory_data_header(data);

	if ((watch->cluster_id && watch->cluster_id != header.cluster_id) ||
	    watch->from > header.revision + 1) {
		watch_lose(watch, true, "the store is another one");
		return false;
	}
	watch->index = memory_history_find(data, watch->from);
	if (watch->index < 0) {
		watch_lose(watch, false, "history was compacted");
		return false;
	}
	watch->cluster_id = header.cluster_id;
	return kv_watch_up(&watch->base, &header);
}

static void watch_go_down(struct memory_watch *watch)
{
	struct err e;

	err_set(&e, -ECONNREFUSED, "memory: not reachable");
	kv_watch_down(&watch->base, &e);
}

static void watch_tell_progress(struct memory_watch *watch, const struct kv_header *header)
{
	if (header->revision <= watch->progress)
		return;
	watch->progress = header->revision;
	kv_watch_progress(&watch->base, header);
}

// False: nothing more to say for now, or the watch ended or was freed.
static bool watch_step(struct memory_watch *watch)
{
	const struct memory_data *data = data_of(watch->base.kv);
	struct kv_watch_event event = { .header = memory_data_header(data) };
	struct memory_event found;
	int r;

	if (!memory_history_get(data, watch->index, &found, &r)) {
		if (r < 0)
			watch_lose(watch, false, "history was compacted");
		else
			watch_tell_progress(watch, &event.header);
		return false;
	}
	watch->index++;
	watch->from = found.pair.mod_revision + 1;
	if (!watch_wants(watch, found.pair.raw_key))
		return true;
	event.kind = found.is_delete ? KV_WATCH_DELETE : KV_WATCH_PUT;
	event.pair = found.pair;
	if (found.is_delete)
		event.pair.value = NULL;
	return kv_watch_emit(&watch->base, &event);
}

static void watch_turn(void *arg)
{
	struct memory_watch *watch = arg;
	bool more = true;

	if (watch->lost)
		return;
	if (memory_of(watch->base.kv)->unreachable) {
		watch_go_down(watch);
		return;
	}
	kv_watch_hold(&watch->base);
	if (!watch->base.up ||
	    watch->cluster_id != memory_data_header(data_of(watch->base.kv)).cluster_id)
		more = watch_come_up(watch);
	while (more)
		more = watch_step(watch);
	kv_watch_release(&watch->base);
}

static void wake_watches(void *arg)
{
	const struct shared *shared = arg;
	const struct memory *client;
	const struct memory_watch *watch;

	for (client = shared->clients; client; client = client->next)
		for (watch = client->watches; watch; watch = watch->next)
			timer_start(watch->turn, 0);
}

static void memory_watch(struct kv_watch *base, const char *const *prefixes, int64_t from,
			 uint64_t cluster_id)
{
	struct memory_watch *watch = (struct memory_watch *)base;
	struct memory *memory = memory_of(base->kv);

	for (; prefixes[watch->prefix_count]; watch->prefix_count++)
		watch->prefixes[watch->prefix_count] = xstrdup(prefixes[watch->prefix_count]);
	watch->from = from;
	watch->cluster_id = cluster_id;
	watch->next = memory->watches;
	memory->watches = watch;
	watch->turn = timer_new(base->kv->loop, watch_turn, watch);
	timer_start(watch->turn, 0);
	base->kv->stats.requests++;
}

static void memory_watch_free(struct kv_watch *base)
{
	struct memory_watch *watch = (struct memory_watch *)base;
	struct memory_watch **link = &memory_of(base->kv)->watches;
	size_t i;

	while (*link != watch)
		link = &(*link)->next;
	*link = watch->next;
	watch->turn = timer_free(watch->turn);
	for (i = 0; i < watch->prefix_count; i++)
		free(watch->prefixes[i]);
	watch->prefix_count = 0;
}

// ---- open and close ----

static void join(struct memory *memory, struct shared *shared)
{
	memory->shared = shared;
	memory->next = shared->clients;
	shared->clients = memory;
	memory->turn = timer_new(memory->base.loop, answer_pending, memory);
}

static int memory_open(struct kv *kv, const struct store_config *config, struct err *e)
{
	struct shared *shared = xnew(struct shared);

	(void)config;
	(void)e;
	shared->data = memory_data_new(kv->loop, wake_watches, shared);
	join((struct memory *)kv, shared);
	return 0;
}

struct kv *memory_share(struct kv *kv)
{
	struct memory *memory = xnew(struct memory);

	memory->base.ops = &memory_ops;
	memory->base.loop = kv->loop;
	memory->base.txn_max = kv->txn_max;
	join(memory, memory_of(kv)->shared);
	return &memory->base;
}

static void memory_close(struct kv *kv)
{
	struct memory *memory = memory_of(kv);
	struct memory **link = &memory->shared->clients;

	while (*link != memory)
		link = &(*link)->next;
	*link = memory->next;
	memory->turn = timer_free(memory->turn);
	while (memory->first) {
		struct pending *pending = memory->first;

		memory->first = pending->next;
		pending_free(pending);
	}
	free(memory->refused_key);
	if (!memory->shared->clients) {
		memory_data_free(memory->shared->data);
		free(memory->shared);
	}
}

// ---- faults, and the data from outside ----

void memory_set_reachable(struct kv *kv, bool reachable)
{
	memory_of(kv)->unreachable = !reachable;
	wake_watches(memory_of(kv)->shared);
}

void memory_refuse_keys(struct kv *kv, bool refuse)
{
	memory_of(kv)->refuses_keys = refuse;
}

void memory_lose_answers(struct kv *kv, unsigned int count)
{
	memory_of(kv)->answers_to_lose = count;
}

void memory_lose_requests(struct kv *kv, unsigned int count)
{
	memory_of(kv)->requests_to_lose = count;
}

void memory_refuse_key(struct kv *kv, const char *key)
{
	struct memory *memory = memory_of(kv);

	free(memory->refused_key);
	memory->refused_key = xstrdup(key);
}

void memory_set_txn_max(struct kv *kv, unsigned int max)
{
	assert(max >= 1 && max <= KV_TXN_MAX);
	memory_of(kv)->base.txn_max = max;
}

void memory_put(struct kv *kv, const char *key, const void *value, size_t len, int64_t session)
{
	struct kv_write write = { .key = key, .value = value, .value_len = len, .session = session };

	memory_data_write(data_of(kv), &write, 1);
}

bool memory_delete(struct kv *kv, const char *key)
{
	struct kv_write write = { .key = key };
	struct kv_pair pair;

	if (!memory_get(kv, key, &pair))
		return false;
	memory_data_write(data_of(kv), &write, 1);
	return true;
}

bool memory_get(const struct kv *kv, const char *key, struct kv_pair *ret)
{
	return memory_data_get(data_of(kv), key, 0, ret);
}

size_t memory_key_count(const struct kv *kv)
{
	return memory_data_count(data_of(kv));
}

size_t memory_session_count(const struct kv *kv)
{
	return memory_session_total(data_of(kv));
}

int64_t memory_revision(const struct kv *kv)
{
	return memory_data_header(data_of(kv)).revision;
}

uint64_t memory_cluster_id(const struct kv *kv)
{
	return memory_data_header(data_of(kv)).cluster_id;
}

bool memory_expire_session(struct kv *kv, int64_t session)
{
	return memory_session_end(data_of(kv), session);
}

void memory_compact(struct kv *kv)
{
	memory_data_compact(data_of(kv));
	wake_watches(memory_of(kv)->shared);
}

void memory_wipe(struct kv *kv)
{
	memory_data_wipe(data_of(kv));
	wake_watches(memory_of(kv)->shared);
}

const struct kv_ops memory_ops = {
	.kind = "memory",
	.txn_max = KV_TXN_MAX,
	.size = sizeof(struct memory),
	.watch_size = sizeof(struct memory_watch),
	.open = memory_open,
	.close = memory_close,
	.range = memory_range,
	.txn = memory_txn,
	.session_open = memory_session_open,
	.session_keep_alive = memory_session_keep_alive,
	.session_query = memory_session_query,
	.session_close = memory_session_close,
	.watch = memory_watch,
	.watch_free = memory_watch_free,
};
