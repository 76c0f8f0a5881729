// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the operations of a store, asked of a server of flannel 0.5 to 0.7: their life, and what of kv.h is which.
#include "store/remote_v1_op.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define FRESH_PART 24 // a renewal is asked for when so much of its time has gone: one 24th

// ---- life ----

static void op_free(struct v1_op *op)
{
	for (size_t i = 0; i < op->name_count; i++)
		free(op->names[i]);
	free(op->names);
	free(op->name_config);
	v1_told_free(&op->told);
	timer_free(op->timer);
	free(op->key);
	free(op->value);
	free(op);
}

void v1_ops_end(struct remote_v1 *v1)
{
	while (v1->ops) {
		struct v1_op *op = v1->ops;

		v1->ops = op->next;
		op_free(op);
	}
}

static struct v1_op *op_new(struct remote_v1 *v1, enum op_kind kind, kv_pair_fn *each, void *arg)
{
	struct v1_op *op = xnew(struct v1_op);

	op->v1 = v1;
	op->kind = kind;
	op->each = each;
	op->arg = arg;
	op->next = v1->ops;
	if (op->next)
		op->next->previous = op;
	v1->ops = op;
	return op;
}

void v1_op_end(struct v1_op *op, int r, bool succeeded, const struct err *e)
{
	struct kv_header header = v1_header(op->v1);
	int64_t session = op->session, ttl_s = op->ttl_s;

	if (op->previous)
		op->previous->next = op->next;
	else
		op->v1->ops = op->next;
	if (op->next)
		op->next->previous = op->previous;
	if (r == 0)
		v1_confirm(op->v1);
	if (op->kind == OP_RANGE)
		op->done.range(op->arg, r, r == 0 ? &header : NULL, e);
	else if (op->kind == OP_TXN)
		op->done.txn(op->arg, r, succeeded, r == 0 ? &header : NULL, e);
	else
		op->done.session(op->arg, r, r == 0 ? session : 0, r == 0 ? ttl_s : 0, e);
	op_free(op);
}

void v1_op_fail(struct v1_op *op, const struct err *e)
{
	struct err told = *e;

	// Nobody above knows what it would mean.
	if (told.code == -EPROTONOSUPPORT)
		told.code = -EPROTO;
	if (op->refusal.code < 0 && (told.code == -EPROTO || told.code == -EINVAL))
		told = op->refusal;
	v1_op_end(op, told.code, false, &told);
}

static void on_timer(void *arg)
{
	struct v1_op *op = arg;

	if (op->err.code < 0)
		v1_op_fail(op, &op->err);
	else
		v1_op_end(op, 0, true, NULL);
}

// With op->err, if that is set.
static void op_end_soon(struct v1_op *op)
{
	op->timer = timer_new(op->v1->remote->http.base.loop, on_timer, op);
	timer_start(op->timer, 0);
}

void v1_op_hand_on(struct v1_op *op, const char *key, const struct v1_told *told)
{
	struct kv_pair pair;

	v1_told_pair(op->v1, key, told, &pair);
	if (op->each)
		op->each(op->arg, &pair);
}

struct v1_ask v1_op_ask(struct v1_op *op, const char *method, char *path, v1_done_fn *done)
{
	return (struct v1_ask){ .method = method, .path = path, .done = done, .arg = op };
}

// ---- what is asked ----

void v1_range(struct remote_v1 *v1, const char *key, bool is_prefix, const struct err *refusal,
	      kv_pair_fn *each, kv_range_done_fn *done, void *arg)
{
	struct v1_op *op = op_new(v1, OP_RANGE, each, arg);

	op->done.range = done;
	if (refusal)
		op->refusal = *refusal;
	op->key = xstrdup(key);
	if (v1_read_place(v1, key, strlen(key), &op->place, &op->err) < 0) {
		op_end_soon(op);
	} else if (op->place.kind == V1_CONFIG) {
		v1_op_read_config(op);
	} else if (op->place.kind == V1_LEASE) {
		v1_op_find(op);
	} else if (op->place.kind == V1_LEASES && is_prefix) {
		v1_op_read_leases(op);
	} else if (op->place.kind == V1_NETWORKS && is_prefix) {
		v1_op_read_networks(op);
	} else {
		op_end_soon(op); // there is no such key
	}
}

static int read_txn(struct v1_op *op, const struct kv_txn *txn, struct err *e)
{
	const struct kv_write *write = txn->writes;
	int r;

	if (txn->write_count != 1 || txn->compare_count > 1)
		return err_set(e, -EINVAL, "a server of flannel writes one lease at a time");
	op->key = xstrndup(write->key, kv_key_len(write->key, write->key_len));
	r = v1_read_place(op->v1, op->key, kv_key_len(write->key, write->key_len), &op->place, e);
	if (r < 0)
		return r;
	if (op->place.kind != V1_LEASE && !(op->place.kind == V1_LEASES && write->value))
		return err_set(e, -EACCES,
			       "a server of flannel changes leases only; write the config to its etcd");
	if (txn->compare_count == 1) {
		const struct kv_compare *compare = txn->compares;

		if (kv_key_len(compare->key, compare->key_len) != strlen(op->key) ||
		    memcmp(compare->key, op->key, strlen(op->key)) != 0)
			return err_set(e, -EINVAL, "a server of flannel compares what it writes");
		op->has_compare = true;
		op->compare = (struct kv_compare){ .kind = compare->kind,
						   .mod_revision = compare->mod_revision };
	}
	op->value = write->value ? xstrndup(write->value, write->value_len) : NULL;
	op->session = write->session;
	return 0;
}

void v1_txn(struct remote_v1 *v1, const struct kv_txn *txn, kv_pair_fn *each, kv_txn_done_fn *done,
	    void *arg)
{
	struct v1_op *op = op_new(v1, OP_TXN, each, arg);

	op->done.txn = done;
	if (read_txn(op, txn, &op->err) < 0)
		op_end_soon(op);
	else if (op->place.kind == V1_LEASES)
		v1_op_post(op);
	else
		v1_op_find(op);
}

void v1_session_open(struct remote_v1 *v1, int64_t ttl_s, kv_session_fn *done, void *arg)
{
	struct v1_op *op = op_new(v1, OP_OPEN, NULL, arg);

	op->done.session = done;
	op->session = v1_session_new(v1, ttl_s)->number;
	op->ttl_s = ttl_s;
	op_end_soon(op);
}

static const char *key_of_session(struct remote_v1 *v1, int64_t number)
{
	const struct v1_session *session = v1_session_find(v1, number);

	if (session)
		return session->key;
	for (size_t i = 0; i < V1_BUCKETS; i++)
		for (const struct v1_entry *entry = v1->entries[i]; entry; entry = entry->next)
			if (entry->session == number)
				return entry->key;
	return NULL;
}

static struct v1_op *session_op(struct remote_v1 *v1, enum op_kind kind, int64_t session,
				kv_session_fn *done, void *arg)
{
	struct v1_op *op = op_new(v1, kind, NULL, arg);
	const char *key = key_of_session(v1, session);

	op->done.session = done;
	op->session = session;
	op->key = xstrdup(key);
	if (!key || v1_read_place(v1, key, strlen(key), &op->place, NULL) < 0)
		err_set(&op->err, -ENOENT, "no such session");
	return op;
}

// What is left without asking, if it was renewed just now.
static bool is_fresh(struct remote_v1 *v1, int64_t number, int64_t *ret_left_s)
{
	const struct v1_session *session = v1_session_find(v1, number);
	uint64_t gone_ms = session ? loop_boottime_ms() - session->granted_ms : 0;

	if (!session || session->is_doubtful || gone_ms >= (uint64_t)session->ttl_s * 1000 / FRESH_PART)
		return false;
	*ret_left_s = session->ttl_s - (int64_t)(gone_ms / 1000);
	return true;
}

void v1_session_keep_alive(struct remote_v1 *v1, int64_t session, kv_session_fn *done, void *arg)
{
	struct v1_op *op = session_op(v1, OP_KEEP_ALIVE, session, done, arg);

	if (op->err.code < 0 || is_fresh(v1, session, &op->ttl_s))
		op_end_soon(op);
	else
		v1_op_find(op);
}

void v1_session_query(struct remote_v1 *v1, int64_t session, kv_session_fn *done, void *arg)
{
	struct v1_op *op = session_op(v1, OP_QUERY, session, done, arg);

	if (op->err.code < 0)
		op_end_soon(op);
	else
		v1_op_find(op);
}

void v1_session_close(struct remote_v1 *v1, int64_t session, kv_session_fn *done, void *arg)
{
	struct v1_session *opened = v1_session_find(v1, session);
	struct v1_op *op = session_op(v1, OP_CLOSE, session, done, arg);

	if (opened && !opened->key) {
		v1_session_drop(v1, opened);
		op->err.code = 0;
	}
	if (op->err.code < 0 || !op->key)
		op_end_soon(op);
	else
		v1_op_find(op);
}
