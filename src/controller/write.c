// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what goes through the controller to the store: transactions and sessions.
#include "controller/controller_internal.h"

#include "core/mem.h"
#include "store/wire.h"

#include <errno.h>
#include <string.h>

#define PAIRS_MAX (KV_TXN_MAX * (size_t)WIRE_LINE_MAX)

// ---- requests to the store ----

struct op *op_new(struct controller *controller, struct http_exchange *exchange)
{
	struct op *op = xnew(struct op);

	op->controller = controller;
	op->exchange = exchange;
	op->pairs = STRBUF_INIT(PAIRS_MAX);
	op->next = controller->ops;
	if (op->next)
		op->next->previous = op;
	controller->ops = op;
	return op;
}

static void op_free(struct op *op)
{
	strbuf_free(&op->pairs);
	free(op);
}

void op_end(struct op *op)
{
	if (op->previous)
		op->previous->next = op->next;
	else
		op->controller->ops = op->next;
	if (op->next)
		op->next->previous = op->previous;
	op_free(op);
}

void ops_end(struct controller *controller)
{
	while (controller->ops) {
		struct op *op = controller->ops;

		controller->ops = op->next;
		kv_forget(controller->kv, op);
		op_free(op);
	}
}

// ---- transactions ----

static void on_pair(void *arg, const struct kv_pair *pair)
{
	struct op *op = arg;
	_cleanup_free_ char *text = wire_pair_text(pair);

	strbuf_printf(&op->pairs, "%s%s", op->pairs.len > 0 ? "," : "", text);
}

static void on_txn(void *arg, int r, bool succeeded, const struct kv_header *header,
		   const struct err *e)
{
	struct op *op = arg;
	struct strbuf answer = STRBUF_INIT(PAIRS_MAX + 1024);

	if (r < 0) {
		answer_error(op->exchange, r, err_msg(e));
	} else {
		_cleanup_json_ json_t *object = wire_header(header);
		_cleanup_free_ char *text = json_text(object);

		if (succeeded && op->surely_writes && op->controller->written < header->revision)
			op->controller->written = header->revision;
		strbuf_printf(&answer, "{\"succeeded\":%s,\"header\":%s,\"pairs\":[",
			      succeeded ? "true" : "false", text);
		strbuf_add(&answer, strbuf_text(&op->pairs), op->pairs.len);
		strbuf_puts(&answer, "]}");
		http_answer(op->exchange, 200, TYPE_JSON, strbuf_text(&answer), answer.len);
	}
	strbuf_free(&answer);
	op_end(op);
}

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

void serve_txn(struct controller *controller, struct http_exchange *exchange, const json_t *request)
{
	struct wire_txn txn;
	struct err e;
	int r = wire_read_txn(request, &txn, &e);

	if (r == 0)
		r = check_keys(controller, &txn.txn, &e);
	if (r < 0) {
		answer_error(exchange, r, err_msg(&e));
	} else {
		struct op *op = op_new(controller, exchange);

		op->surely_writes = surely_writes(&txn.txn);
		kv_txn(controller->kv, &txn.txn, on_pair, on_txn, op);
	}
	wire_txn_free(&txn);
}

// ---- sessions ----

static void on_session(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct op *op = arg;

	if (r < 0)
		answer_error(op->exchange, r, err_msg(e));
	else
		answer_json(op->exchange, 200,
			    json_pack("{s:I,s:I}", "session", (json_int_t)session, "ttl_s",
				      (json_int_t)ttl_s));
	op_end(op);
}

// The member, which must be there. False: answered.
static bool read_number(struct http_exchange *exchange, const json_t *request, const char *name,
			int64_t min, int64_t max, int64_t *ret)
{
	struct err e;
	int r = wire_read_int(request, name, min, max, ret, &e);

	if (r < 0)
		answer_error(exchange, -EINVAL, err_msg(&e));
	return r == 0;
}

void serve_session_open(struct controller *controller, struct http_exchange *exchange,
			const json_t *request)
{
	int64_t ttl_s;

	if (read_number(exchange, request, "ttl_s", 1, INT32_MAX, &ttl_s))
		kv_session_open(controller->kv, ttl_s, on_session, op_new(controller, exchange));
}

void serve_session_keep_alive(struct controller *controller, struct http_exchange *exchange,
			      const json_t *request)
{
	int64_t session;

	if (read_number(exchange, request, "session", INT64_MIN, INT64_MAX, &session))
		kv_session_keep_alive(controller->kv, session, on_session,
				      op_new(controller, exchange));
}

void serve_session_query(struct controller *controller, struct http_exchange *exchange,
			 const json_t *request)
{
	int64_t session;

	if (read_number(exchange, request, "session", INT64_MIN, INT64_MAX, &session))
		kv_session_query(controller->kv, session, on_session, op_new(controller, exchange));
}

void serve_session_close(struct controller *controller, struct http_exchange *exchange,
			 const json_t *request)
{
	int64_t session;

	if (read_number(exchange, request, "session", INT64_MIN, INT64_MAX, &session))
		kv_session_close(controller->kv, session, on_session, op_new(controller, exchange));
}
