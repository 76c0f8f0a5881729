// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: transactions of Consul.
//
// DOC: one transaction
//
//   SEND --200--> (REVISION, if nothing was put) --> done, succeeded
//     |  --409, a compare failed--> READ the compared keys, one by one --> done, not succeeded
//     |  --409, a key is locked by another session--> SEND, another way, some times
//
// A session is tied to a key by locking it, and Consul keeps a lock over any write that is not told to release it by the session's id. As the
// key may be locked or not, a put goes the way that fits most keys, with a check that refuses all of it if that was wrong and names the
// session that is in the way; the next try releases the key of that one. Each try is one transaction: either all was done, or nothing.
//
// Consul leaves a pair as it is, with its revision, if what is put is what is there. A number in the pair's flags, another one for each
// transaction, sees to it that it never is.
#include "store/consul_internal.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define TRIES_MAX 8

struct txn {
	struct consul *consul;
	kv_pair_fn *each;
	kv_txn_done_fn *done;
	void *arg;
	struct kv_txn what;
	struct kv_compare compares[CONSUL_TXN_MAX]; // their keys are ours, terminated
	struct kv_write writes[CONSUL_TXN_MAX];	    // keys and values are ours
	struct consul_write ways[CONSUL_TXN_MAX];
	int write_of[CONSUL_OPERATIONS_MAX];
	unsigned int tries;
	size_t read; // of the compares
	bool found;  // the present one
	struct kv_header header;
	struct err element_err;
};

static void txn_free(struct txn *txn)
{
	size_t i;

	for (i = 0; i < txn->what.compare_count; i++)
		free((char *)txn->compares[i].key);
	for (i = 0; i < txn->what.write_count; i++) {
		free((char *)txn->writes[i].key);
		free((void *)txn->writes[i].value);
	}
	free(txn);
}

// Each step has a handle, which owns the transaction until the step hands it on to the next one.
static void free_handle(void *arg)
{
	struct txn **handle = arg;

	if (*handle)
		txn_free(*handle);
	free(handle);
}

static struct txn **handle_new(struct txn *txn)
{
	return xmemdup(&txn, sizeof(struct txn *));
}

static struct txn *handle_take(void *arg)
{
	struct txn **handle = arg;

	return TAKE_PTR(*handle);
}

static void txn_end(struct txn *txn, int r, bool succeeded, const struct err *e)
{
	txn->done(txn->arg, r, succeeded, r == 0 ? &txn->header : NULL, r < 0 ? e : NULL);
	txn_free(txn);
}

// ---- all of it was done ----

static void txn_succeeded(struct txn *txn)
{
	size_t i;

	// Who wrote a key knows of it; who deleted one hears of that as any other does.
	for (i = 0; i < txn->what.write_count; i++)
		if (txn->writes[i].value)
			consul_note(txn->consul, txn->writes[i].key, txn->writes[i].key_len,
				    txn->header.revision);
	txn_end(txn, 0, true, NULL);
}

static void revision_answered(void *arg, const struct consul_answer *answer)
{
	struct txn *txn = handle_take(arg);
	struct err e;

	if (answer->r < 0) {
		err_set(&e, -EINPROGRESS, "done, but when is not known: %s", err_msg(answer->err));
		txn_end(txn, -EINPROGRESS, false, &e);
		return;
	}
	txn->header.revision = answer->index;
	txn_succeeded(txn);
}

// ---- a compare failed ----

static void read_next(struct txn *txn);

static int compared_element(void *arg, const char *text, size_t len)
{
	struct txn *txn = *(struct txn **)arg;
	const struct kv_compare *compare = &txn->compares[txn->read];
	_cleanup_consul_pair_ struct consul_pair pair = { 0 };
	int r = consul_read_pair(text, len, false, &pair, &txn->element_err);

	if (r == 0 && (txn->found || pair.pair.raw_key_len != compare->key_len ||
		       memcmp(pair.raw_key, compare->key, compare->key_len) != 0))
		r = err_set(&txn->element_err, -EPROTO, "answer: %s was not asked for", pair.pair.key);
	if (r == 0)
		r = consul_complete_pair(txn->consul, &pair, &txn->element_err);
	if (r < 0)
		return r;
	txn->found = true;
	consul_note(txn->consul, pair.raw_key, pair.pair.raw_key_len, pair.pair.mod_revision);
	txn->each(txn->arg, &pair.pair);
	return 0;
}

static void compared_answered(void *arg, const struct consul_answer *answer)
{
	struct txn *txn = handle_take(arg);
	struct err e;

	if (answer->r < 0) {
		e = txn->element_err.code < 0 ? txn->element_err : *answer->err;
		txn_end(txn, answer->r, false, &e);
		return;
	}
	if (txn->header.revision < answer->index)
		txn->header.revision = answer->index;
	txn->read++;
	read_next(txn);
}

static bool is_compared_before(const struct txn *txn, size_t index)
{
	size_t i;

	for (i = 0; i < index; i++)
		if (txn->compares[i].key_len == txn->compares[index].key_len &&
		    memcmp(txn->compares[i].key, txn->compares[index].key,
			   txn->compares[i].key_len) == 0)
			return true;
	return false;
}

// A NUL byte is no end of a key.
static char *path_of(const struct kv_compare *compare)
{
	struct strbuf path = STRBUF_INIT(CONSUL_ELEMENT_MAX);

	consul_add_key_path(&path, compare->key, compare->key_len);
	strbuf_puts(&path, "?consistent");
	return strbuf_take(&path);
}

static void read_next(struct txn *txn)
{
	struct consul_request request = {
		.method = "GET",
		.idempotent = true,
		.takes_404 = true,
		.index_wanted = true,
		.element = compared_element,
		.done = compared_answered,
		.free_arg = free_handle,
	};

	while (txn->read < txn->what.compare_count && is_compared_before(txn, txn->read))
		txn->read++;
	if (txn->read == txn->what.compare_count) {
		txn_end(txn, 0, false, NULL);
		return;
	}
	txn->found = false;
	request.path = path_of(&txn->compares[txn->read]);
	request.arg = handle_new(txn);
	consul_call_start(txn->consul, &request);
}

// ---- a write was refused ----

static int no_session(struct err *e)
{
	return err_set(e, -ENOENT, "consul: no such session");
}

// How this write is to be tried next; -errno: it cannot be done.
static int change_way(struct consul_write *way, const struct consul_refusal *refusal, struct err *e)
{
	if (strstr(refusal->what, "invalid session") || strstr(refusal->what, "failed session lookup"))
		return no_session(e);
	if (refusal->session[0] != '\0') {
		way->way = CONSUL_RELEASE;
		return text_copy(way->present, sizeof(way->present), refusal->session);
	}
	if (strstr(refusal->what, "failed to unlock")) {
		way->way = way->has_session ? CONSUL_LOCK : CONSUL_PLAIN;
		return 0;
	}
	if (strstr(refusal->what, "failed to lock") && way->way == CONSUL_LOCK) {
		way->way = CONSUL_ASK_LOCK;
		return 0;
	}
	return err_set(e, -EPROTO, "consul: %s", refusal->what);
}

static void txn_send(struct txn *txn);

static int change_ways(struct txn *txn, const struct consul_refusal *refusals, size_t count,
		       struct err *e)
{
	bool is_changed[CONSUL_TXN_MAX] = { false };
	size_t i;

	for (i = 0; i < count; i++) {
		int operation = refusals[i].operation;
		int write = operation < 0 ? -1 : txn->write_of[operation];
		int r;

		if (write < 0)
			return err_set(e, -EPROTO, "consul: %s", refusals[i].what);
		// Consul goes on after a refusal, and what it refuses then follows from the first.
		if (is_changed[write])
			continue;
		is_changed[write] = true;
		r = change_way(&txn->ways[write], &refusals[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_refusals(struct txn *txn, const struct consul_refusal *refusals, size_t count,
			 bool *ret_compare_failed, struct err *e)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strstr(refusals[i].what, "Permission denied"))
			return err_set(e, -EACCES, "consul: %s", refusals[i].what);
	for (i = 0; i < count; i++) {
		int operation = refusals[i].operation;

		if (operation >= 0 && (size_t)operation < txn->what.compare_count) {
			*ret_compare_failed = true;
			return 0;
		}
	}
	return change_ways(txn, refusals, count, e);
}

static void txn_refused(struct txn *txn, const char *text, size_t len)
{
	struct consul_refusal refusals[CONSUL_OPERATIONS_MAX];
	bool compare_failed = false;
	size_t count = 0;
	struct err e;
	int r = consul_read_refusals(text, len, refusals, CONSUL_OPERATIONS_MAX, &count, &e);

	if (r == 0)
		r = read_refusals(txn, refusals, count, &compare_failed, &e);
	if (r < 0)
		txn_end(txn, r, false, &e);
	else if (compare_failed)
		read_next(txn);
	else
		txn_send(txn);
}

// ---- sending it ----

static bool has_put(const struct txn *txn)
{
	size_t i;

	for (i = 0; i < txn->what.write_count; i++)
		if (txn->writes[i].value)
			return true;
	return false;
}

// The highest revision among its results is that of its writes.
static int result_element(void *arg, const char *text, size_t len)
{
	struct txn *txn = *(struct txn **)arg;
	_cleanup_consul_pair_ struct consul_pair pair = { 0 };
	int r = consul_read_pair(text, len, true, &pair, &txn->element_err);

	if (r == 0 && txn->header.revision < pair.pair.mod_revision)
		txn->header.revision = pair.pair.mod_revision;
	return r;
}

// The answer to a transaction that puts nothing has none. A watch may wait long for one that is not of what it watches.
static void ask_revision(struct txn *txn)
{
	if (txn->what.write_count > 0)
		consul_ask_key_revision(txn->consul, txn->writes[0].key, revision_answered,
					handle_new(txn), free_handle);
	else
		consul_ask_revision(txn->consul, txn->compares[0].key, 0, revision_answered,
				    handle_new(txn), free_handle, NULL);
}

static void txn_answered(void *arg, const struct consul_answer *answer)
{
	struct txn *txn = handle_take(arg);
	struct err e;

	if (answer->r < 0) {
		txn_end(txn, answer->r, false, answer->err);
	} else if (answer->status == 409) {
		txn_refused(txn, answer->text, answer->len);
	} else if (has_put(txn) && txn->header.revision == 0) {
		err_set(&e, -EPROTO, "not an answer of Consul: no index");
		txn_end(txn, -EPROTO, false, &e);
	} else if (has_put(txn)) {
		txn_succeeded(txn);
	} else {
		ask_revision(txn);
	}
}

static void txn_send(struct txn *txn)
{
	struct consul_request request = {
		.method = "PUT",
		.takes_409 = true,
		.element = result_element,
		.array = "Results",
		.done = txn_answered,
		.free_arg = free_handle,
	};
	struct err e;

	if (++txn->tries > TRIES_MAX) {
		err_set(&e, -EAGAIN, "consul: a key is locked by one session after the other");
		txn_end(txn, -EAGAIN, false, &e);
		return;
	}
	txn->header.revision = 0;
	request.path = xstrdup("/txn");
	request.body = consul_txn_body(&txn->what, txn->ways,
				       1 + (int64_t)random_below(INT64_MAX - 1), txn->write_of);
	request.arg = handle_new(txn);
	consul_call_start(txn->consul, &request);
}

// ---- start ----

static char *key_copy(const char *key, size_t *len)
{
	char *copy;

	*len = kv_key_len(key, *len);
	copy = xnew0_array(char, *len + 1);
	memcpy(copy, key, *len);
	return copy;
}

static void copy_txn(struct txn *txn, const struct kv_txn *what)
{
	size_t i;

	for (i = 0; i < what->compare_count; i++) {
		txn->compares[i] = what->compares[i];
		txn->compares[i].key = key_copy(what->compares[i].key, &txn->compares[i].key_len);
	}
	for (i = 0; i < what->write_count; i++) {
		const struct kv_write *write = &what->writes[i];

		txn->writes[i] = *write;
		txn->writes[i].key = key_copy(write->key, &txn->writes[i].key_len);
		if (write->value)
			txn->writes[i].value = xmemdup(write->value_len ? write->value : "",
						       write->value_len + !write->value_len);
	}
	txn->what = (struct kv_txn){ txn->compares, what->compare_count, txn->writes,
				     what->write_count };
}

static int check_keys(const struct txn *txn, struct err *e)
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < txn->what.compare_count; i++)
		r = consul_key_check(txn->compares[i].key, txn->compares[i].key_len, e);
	for (i = 0; r == 0 && i < txn->what.write_count; i++)
		r = consul_key_check(txn->writes[i].key, txn->writes[i].key_len, e);
	return r;
}

static int choose_ways(struct txn *txn, struct err *e)
{
	size_t i;

	for (i = 0; i < txn->what.write_count; i++) {
		const struct kv_write *write = &txn->writes[i];
		struct consul_write *way = &txn->ways[i];
		const char *id;
		int r;

		if (!write->value || write->session == 0)
			continue;
		r = consul_session_id(txn->consul->sessions, write->session, &id);
		if (r == -ENOENT)
			return no_session(e);
		if (r < 0)
			return err_set(e, r, "consul: two sessions of one number");
		way->way = CONSUL_LOCK;
		way->has_session = true;
		(void)text_copy(way->session, sizeof(way->session), id);
	}
	return 0;
}

static void refused(void *arg, int r, const struct err *e)
{
	txn_end(handle_take(arg), r, false, e);
}

void consul_txn(struct kv *kv, const struct kv_txn *what, kv_pair_fn *each, kv_txn_done_fn *done,
		void *arg)
{
	struct txn *txn = xnew(struct txn);
	struct err e;
	int r;

	txn->consul = (struct consul *)kv;
	txn->each = each;
	txn->done = done;
	txn->arg = arg;
	copy_txn(txn, what);
	r = check_keys(txn, &e);
	if (r == 0)
		r = choose_ways(txn, &e);
	if (r < 0)
		consul_later(txn->consul, r, e.msg, refused, handle_new(txn), free_handle);
	else
		txn_send(txn);
}
