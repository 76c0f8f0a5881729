// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: transactions: whether their client may do them, and their way through the store.
//
// DOC: life of a transaction
//
//   JUDGE each write -> in the store -> answered
//            |  ^
//            v  |
//      READ a key that the mirror has not, as of the compared revision
#include "controller/controller_internal.h"
#include "controller/guard.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

// An agent's transaction, until all its writes were judged.
struct judging {
	struct wire_txn txn;
	struct caller caller;
	char *proof; // NULL: none was given
	size_t index;
	// Of the key that is read.
	bool was_found;
	int r;
	struct err err;
};

struct judging *judging_free(struct judging *judging)
{
	if (!judging)
		return NULL;
	wire_txn_free(&judging->txn);
	free(judging->proof);
	free(judging);
	return NULL;
}

// ---- answers ----

static void on_pair(void *arg, const struct kv_pair *pair)
{
	struct op *op = arg;
	_cleanup_free_ char *text = wire_pair_text(pair);

	strbuf_printf(&op->pairs, "%s%s", op->pairs.len > 0 ? "," : "", text);
}

static void answer_txn(struct op *op, bool succeeded, const struct kv_header *header)
{
	_cleanup_strbuf_ struct strbuf answer = STRBUF_INIT(OP_PAIRS_MAX + 1024);
	_cleanup_json_ json_t *object = wire_header(header);
	_cleanup_free_ char *text = json_text(object);

	strbuf_printf(&answer, "{\"succeeded\":%s,\"header\":%s,\"pairs\":[",
		      succeeded ? "true" : "false", text);
	strbuf_add(&answer, strbuf_text(&op->pairs), op->pairs.len);
	strbuf_puts(&answer, "]}");
	http_answer(op->exchange, 200, TYPE_JSON, strbuf_text(&answer), answer.len);
}

static void on_txn(void *arg, int r, bool succeeded, const struct kv_header *header,
		   const struct err *e)
{
	struct op *op = arg;

	if (r < 0) {
		answer_error(op->exchange, r, err_msg(e));
	} else {
		if (succeeded && op->surely_writes && op->controller->written < header->revision)
			op->controller->written = header->revision;
		answer_txn(op, succeeded, header);
	}
	op_end(op);
}

// ---- in the store ----

static int check_keys(const struct controller *controller, const struct kv_txn *txn, struct err *e)
{
	for (size_t i = 0; i < txn->compare_count; i++)
		if (!is_our_key(controller, txn->compares[i].key, txn->compares[i].key_len))
			return err_set(e, -EACCES, "compare %zu: not below %s", i, controller->prefix);
	for (size_t i = 0; i < txn->write_count; i++)
		if (!is_our_key(controller, txn->writes[i].key, txn->writes[i].key_len))
			return err_set(e, -EACCES, "write %zu: not below %s", i, controller->prefix);
	if (txn->compare_count > kv_txn_max(controller->kv) ||
	    txn->write_count > kv_txn_max(controller->kv))
		return err_set(e, -EINVAL, "more than this store does at once, which is %u",
			       kv_txn_max(controller->kv));
	return 0;
}

// If the transaction succeeds; what is deleted without asking may have been gone before.
static bool is_there(const struct kv_txn *txn, const struct kv_write *write)
{
	for (size_t i = 0; i < txn->compare_count; i++) {
		const struct kv_compare *compare = &txn->compares[i];

		if (compare->kind != KV_ABSENT && compare->key_len == write->key_len &&
		    memcmp(compare->key, write->key, write->key_len) == 0)
			return true;
	}
	return false;
}

static bool surely_writes(const struct kv_txn *txn)
{
	for (size_t i = 0; i < txn->write_count; i++)
		if (txn->writes[i].value || is_there(txn, &txn->writes[i]))
			return true;
	return false;
}

static void send_txn(struct op *op, const struct kv_txn *txn)
{
	op->surely_writes = surely_writes(txn);
	kv_txn(op->controller->kv, txn, on_pair, on_txn, op);
}

// ---- judging ----

static void judge(struct op *op);

static void refuse(struct op *op, int r, const struct err *e)
{
	char address[IP_STR_MAX];

	if (r == -EACCES)
		log_rl(LOG_LEVEL_WARN, "controller: refuse a write of %s: %s",
		       ip_str(&op->judging->caller.peer, address), err_msg(e));
	answer_error(op->exchange, r, err_msg(e));
	op_end(op);
}

static void on_judged_pair(void *arg, const struct kv_pair *pair)
{
	struct op *op = arg;
	struct judging *judging = op->judging;

	judging->was_found = pair->mod_revision ==
			     guard_compared_revision(&judging->txn.txn, judging->index);
	if (judging->was_found)
		judging->r = guard_pair(op->controller, &judging->caller,
					&judging->txn.writes[judging->index], pair, judging->proof,
					&judging->err);
	else
		on_pair(op, pair);
}

static void on_judged_read(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct op *op = arg;
	struct judging *judging = op->judging;

	if (r < 0) {
		refuse(op, r, e);
	} else if (!judging->was_found) {
		// The compare does not hold: that is the transaction's outcome.
		answer_txn(op, false, header);
		op_end(op);
	} else if (judging->r < 0) {
		refuse(op, judging->r, &judging->err);
	} else {
		judging->index++;
		judge(op);
	}
}

static void read_key(struct op *op)
{
	struct judging *judging = op->judging;
	const struct kv_write *write = &judging->txn.writes[judging->index];
	_cleanup_free_ char *key = xstrndup(write->key, kv_key_len(write->key, write->key_len));

	judging->was_found = false;
	kv_range(op->controller->kv, key, false, on_judged_pair, on_judged_read, op);
}

static void judge(struct op *op)
{
	struct judging *judging = op->judging;
	struct err e;
	int r = 0;

	while (r == 0 && judging->index < judging->txn.txn.write_count) {
		r = guard_write(op->controller, &judging->caller, &judging->txn.txn, judging->index,
				judging->proof, &e);
		if (r == 0)
			judging->index++;
	}
	if (r < 0)
		refuse(op, r, &e);
	else if (r > 0)
		read_key(op);
	else
		send_txn(op, &judging->txn.txn);
}

void serve_txn(struct controller *controller, struct http_exchange *exchange, const json_t *request)
{
	struct judging *judging = xnew(struct judging);
	const char *proof = NULL;
	struct op *op;
	struct err e;
	int r = wire_read_txn(request, &judging->txn, &e);

	if (r == 0)
		r = check_keys(controller, &judging->txn.txn, &e);
	if (r == 0)
		r = json_get_string(request, "proof", &proof, &e);
	if (r < 0) {
		judging_free(judging);
		answer_error(exchange, r, err_msg(&e));
		return;
	}
	access_caller(controller, exchange, &judging->caller);
	judging->proof = xstrdup(proof);
	op = op_new(controller, exchange);
	op->judging = judging;
	if (judging->caller.role == CALLER_ADMIN)
		send_txn(op, &judging->txn.txn);
	else
		judge(op);
}
