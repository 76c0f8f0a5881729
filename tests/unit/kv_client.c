// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: for tests of stores: calls that wait for their answer, and a watch that writes down what it
// is told.
#include "kv_client.h"

#include "unit.h"

#include <string.h>

#define TEXT_MAX (64 * 1024 * 1024)

static bool starting; // a call has not returned yet

static void answer_reset(struct kv_answer *answer)
{
	*answer = (struct kv_answer){ .pairs = STRBUF_INIT(TEXT_MAX), .sorted = true };
}

void kv_answer_free(struct kv_answer *answer)
{
	strbuf_free(&answer->pairs);
}

static void got_pair(void *arg, const struct kv_pair *pair)
{
	struct kv_answer *answer = arg;

	assert_false(starting);
	assert_false(answer->done);
	if (answer->pair_count > 0 && strcmp(answer->last_key, pair->key) >= 0)
		answer->sorted = false;
	(void)text_copy(answer->last_key, sizeof(answer->last_key), pair->key);
	assert_in_range(pair->raw_key_len, 1, sizeof(answer->last_raw_key));
	memcpy(answer->last_raw_key, pair->raw_key, pair->raw_key_len);
	answer->last_raw_key_len = pair->raw_key_len;
	answer->pair_count++;
	answer->last = *pair;
	strbuf_printf(&answer->pairs, "%s=", pair->key);
	if (pair->value)
		strbuf_add(&answer->pairs, pair->value, pair->value_len);
	else
		strbuf_printf(&answer->pairs, "<NULL %zu>", pair->value_len);
	strbuf_printf(&answer->pairs, "@%lld\n", (long long)pair->mod_revision);
}

static void answered(struct kv_answer *answer, int r, const struct err *e)
{
	assert_false(starting);
	assert_false(answer->done);
	answer->done = true;
	answer->r = r;
	if (r < 0) {
		assert_non_null(e);
		answer->err = *e;
		assert_true(e->msg[0] != '\0');
	}
}

static void range_done(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct kv_answer *answer = arg;

	answered(answer, r, e);
	if (r == 0)
		answer->header = *header;
}

static void txn_done(void *arg, int r, bool succeeded, const struct kv_header *header,
		     const struct err *e)
{
	struct kv_answer *answer = arg;

	answered(answer, r, e);
	answer->succeeded = succeeded;
	if (r == 0)
		answer->header = *header;
}

static void session_done(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct kv_answer *answer = arg;

	answered(answer, r, e);
	answer->session = session;
	answer->ttl_s = ttl_s;
}

void start_range(struct kv *kv, const char *key, bool is_prefix, struct kv_answer *ret)
{
	answer_reset(ret);
	starting = true;
	kv_range(kv, key, is_prefix, got_pair, range_done, ret);
	starting = false;
}

void start_txn(struct kv *kv, const struct kv_txn *txn, struct kv_answer *ret)
{
	answer_reset(ret);
	starting = true;
	kv_txn(kv, txn, got_pair, txn_done, ret);
	starting = false;
}

void do_range(struct kv *kv, const char *key, bool is_prefix, struct kv_answer *ret)
{
	start_range(kv, key, is_prefix, ret);
	turn_until(kv_loop(kv), ret->done);
}

void do_txn(struct kv *kv, const struct kv_txn *txn, struct kv_answer *ret)
{
	start_txn(kv, txn, ret);
	turn_until(kv_loop(kv), ret->done);
}

void do_session_open(struct kv *kv, int64_t ttl_s, struct kv_answer *ret)
{
	answer_reset(ret);
	starting = true;
	kv_session_open(kv, ttl_s, session_done, ret);
	starting = false;
	turn_until(kv_loop(kv), ret->done);
}

typedef void session_call_fn(struct kv *kv, int64_t session, kv_session_fn *done, void *arg);

static void do_session(session_call_fn *fn, struct kv *kv, int64_t session, struct kv_answer *ret)
{
	answer_reset(ret);
	starting = true;
	fn(kv, session, session_done, ret);
	starting = false;
	turn_until(kv_loop(kv), ret->done);
}

void do_session_keep_alive(struct kv *kv, int64_t session, struct kv_answer *ret)
{
	do_session(kv_session_keep_alive, kv, session, ret);
}

void do_session_query(struct kv *kv, int64_t session, struct kv_answer *ret)
{
	do_session(kv_session_query, kv, session, ret);
}

void do_session_close(struct kv *kv, int64_t session, struct kv_answer *ret)
{
	do_session(kv_session_close, kv, session, ret);
}

void do_write(struct kv *kv, const char *key, const char *value, int64_t compare_revision,
	      int64_t session, struct kv_answer *ret)
{
	struct kv_compare compare = {
		.key = key,
		.kind = compare_revision == 0 ? KV_ABSENT : KV_MOD_REVISION,
		.mod_revision = compare_revision,
	};
	struct kv_write write = {
		.key = key, .value = value, .value_len = value ? strlen(value) : 0, .session = session
	};
	struct kv_txn txn = { .compares = &compare,
			      .compare_count = compare_revision >= 0,
			      .writes = &write,
			      .write_count = 1 };

	do_txn(kv, &txn, ret);
}

static int64_t must_write(struct kv *kv, const char *key, const char *value)
{
	struct kv_answer answer;

	do_write(kv, key, value, -1, 0, &answer);
	check(answer.r == 0 && answer.succeeded, "write of %s: %s", key, err_msg(&answer.err));
	kv_answer_free(&answer);
	return answer.header.revision;
}

int64_t must_put(struct kv *kv, const char *key, const char *value)
{
	return must_write(kv, key, value);
}

int64_t must_delete(struct kv *kv, const char *key)
{
	return must_write(kv, key, NULL);
}

int64_t now_revision(struct kv *kv, uint64_t *ret_cluster_id)
{
	struct kv_answer answer;

	do_range(kv, "/none", false, &answer);
	assert_int_equal(answer.r, 0);
	if (ret_cluster_id)
		*ret_cluster_id = answer.header.cluster_id;
	kv_answer_free(&answer);
	return answer.header.revision;
}

static void note_change(struct watch_log *log, const struct kv_watch_event *event)
{
	const struct kv_pair *pair = &event->pair;

	log->events++;
	check(pair->mod_revision > log->progress,
	      "%s: a change of revision %lld, which was said to be complete", pair->key,
	      (long long)pair->mod_revision);
	if (pair->mod_revision < log->last_revision)
		log->in_order = false;
	log->last_revision = pair->mod_revision;
	strbuf_printf(&log->text, "%s %s", event->kind == KV_WATCH_PUT ? "PUT" : "DELETE", pair->key);
	if (event->kind == KV_WATCH_PUT) {
		strbuf_puts(&log->text, "=");
		if (pair->value)
			strbuf_add(&log->text, pair->value, pair->value_len);
		else
			strbuf_printf(&log->text, "<NULL %zu>", pair->value_len);
	}
	strbuf_puts(&log->text, "\n");
	if (log->events == log->free_at_event)
		log->watch = kv_watch_free(log->watch);
}

static void watch_event(void *arg, const struct kv_watch_event *event)
{
	struct watch_log *log = arg;

	assert_false(starting);
	assert_int_equal(log->losts, 0);
	switch (event->kind) {
	case KV_WATCH_PUT:
	case KV_WATCH_DELETE:
		note_change(log, event);
		return;
	case KV_WATCH_PROGRESS:
		assert_true(event->header.revision > log->progress);
		log->progress = event->header.revision;
		return;
	case KV_WATCH_UP:
		log->ups++;
		return;
	case KV_WATCH_DOWN:
		log->downs++;
		log->err = *event->err;
		return;
	case KV_WATCH_LOST:
		log->losts++;
		log->err = *event->err;
		log->store_changed = event->store_changed;
		return;
	}
}

void watch_log_start(struct watch_log *log, struct kv *kv, const char *const *prefixes,
		     int64_t from, uint64_t cluster_id)
{
	*log = (struct watch_log){ .text = STRBUF_INIT(TEXT_MAX),
				   .in_order = true,
				   .free_at_event = log->free_at_event };
	starting = true;
	log->watch = kv_watch_start(kv, prefixes, from, cluster_id, watch_event, log);
	starting = false;
}

void watch_log_free(struct watch_log *log)
{
	log->watch = kv_watch_free(log->watch);
	strbuf_free(&log->text);
}
