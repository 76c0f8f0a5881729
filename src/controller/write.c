// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: requests that go through the controller to the store, and the sessions among them.
#include "controller/controller_internal.h"
#include "controller/guard.h"

#include "core/mem.h"
#include "store/wire.h"

#include <errno.h>
#include <string.h>

// ---- requests to the store ----

struct op *op_new(struct controller *controller, struct http_exchange *exchange)
{
	struct op *op = xnew(struct op);

	op->controller = controller;
	op->exchange = exchange;
	op->pairs = STRBUF_INIT(OP_PAIRS_MAX);
	op->next = controller->ops;
	if (op->next)
		op->next->previous = op;
	controller->ops = op;
	return op;
}

static void op_free(struct op *op)
{
	strbuf_free(&op->pairs);
	json_decref(op->answer);
	judging_free(op->judging);
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

// ---- sessions ----

static void answer_session(struct http_exchange *exchange, int64_t session, int64_t ttl_s,
			   const char *proof)
{
	json_t *answer =
		json_pack("{s:I,s:I}", "session", (json_int_t)session, "ttl_s", (json_int_t)ttl_s);

	if (proof)
		json_object_set_new(answer, "proof", json_string(proof));
	answer_json(exchange, 200, answer);
}

static void on_opened(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct op *op = arg;
	char proof[GUARD_PROOF_MAX];
	struct caller caller;

	if (r < 0) {
		answer_error(op->exchange, r, err_msg(e));
	} else if (!access_is_guarded(op->controller)) {
		answer_session(op->exchange, session, ttl_s, NULL);
	} else {
		access_caller(op->controller, op->exchange, &caller);
		guard_proof(op->controller, &caller, session, proof);
		answer_session(op->exchange, session, ttl_s, proof);
	}
	op_end(op);
}

static void on_session(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct op *op = arg;

	if (r < 0)
		answer_error(op->exchange, r, err_msg(e));
	else
		answer_session(op->exchange, session, ttl_s, NULL);
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
		kv_session_open(controller->kv, ttl_s, on_opened, op_new(controller, exchange));
}

// The session that the client may ask after, or (writes) keep or end. False: answered.
static bool read_session(struct controller *controller, struct http_exchange *exchange,
			 const json_t *request, bool writes, int64_t *ret)
{
	const char *proof = NULL;
	struct caller caller;
	struct err e;
	int r;

	if (!read_number(exchange, request, "session", INT64_MIN, INT64_MAX, ret))
		return false;
	if (!access_is_guarded(controller))
		return true;
	r = json_get_string(request, "proof", &proof, &e);
	access_caller(controller, exchange, &caller);
	if (r == 0)
		r = guard_session(controller, &caller, *ret, proof, writes, &e);
	if (r < 0)
		answer_error(exchange, r, err_msg(&e));
	return r == 0;
}

void serve_session_keep_alive(struct controller *controller, struct http_exchange *exchange,
			      const json_t *request)
{
	int64_t session;

	if (read_session(controller, exchange, request, true, &session))
		kv_session_keep_alive(controller->kv, session, on_session,
				      op_new(controller, exchange));
}

void serve_session_query(struct controller *controller, struct http_exchange *exchange,
			 const json_t *request)
{
	int64_t session;

	if (read_session(controller, exchange, request, false, &session))
		kv_session_query(controller->kv, session, on_session, op_new(controller, exchange));
}

void serve_session_close(struct controller *controller, struct http_exchange *exchange,
			 const json_t *request)
{
	int64_t session;

	if (read_session(controller, exchange, request, true, &session))
		kv_session_close(controller->kv, session, on_session, op_new(controller, exchange));
}
