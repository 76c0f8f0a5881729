// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: sessions of Consul.
//
// DOC: what a session hangs on
//
// Consul ends a session, and deletes the keys locked by it, not only when its time is over, but also when a check of its node fails, and when
// its node goes. By default the node is the agent that was asked, with the check that says whether the agent is alive: a restart of the local
// agent would delete the lease of its host. So a session is opened with no checks; and as an agent in client mode that is ended takes its node
// along (leave_on_terminate is its default), it is not of the agent's node, but of one called "weft" that is in the catalog only, and that
// the first who misses it registers. A token has to allow "node" and "session" of that name to be written.
//
// Consul ends a session up to twice its TTL after it was renewed last, and never tells how long it still has: a query answers the whole TTL
// for as long as the session is there. Who judges by it whether an owner is alive takes one that is not for alive until its session has gone.
//
// The id of a session is chosen by Consul. If the answer is lost, the session is left to its TTL, with no key tied to it.
#include "store/consul_internal.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

struct session_op {
	struct consul *consul;
	kv_session_fn *done;
	void *arg;
	int64_t session;
	int64_t ttl_s;
	bool ttl_changed;
	bool node_made;
};

static void open_send(struct session_op *op);

static void told(const struct session_op *op, int r, int64_t ttl_s, const struct err *e)
{
	op->done(op->arg, r, op->session, ttl_s, r < 0 ? e : NULL);
}

// Each request has a copy, which is freed with it.
static void request_send(const struct session_op *op, const char *method, char *path, char *body,
			 bool idempotent,
			 void (*answered)(void *arg, const struct consul_answer *answer))
{
	struct consul_request request = {
		.method = method,
		.path = path,
		.body = body,
		.idempotent = idempotent,
		.takes_404 = answered != NULL,
		.done = answered,
		.arg = xmemdup(op, sizeof(*op)),
		.free_arg = free,
	};

	consul_call_start(op->consul, &request);
}

// ---- opening one ----

static void node_answered(void *arg, const struct consul_answer *answer)
{
	struct session_op *op = arg;
	struct err e;

	if (answer->r == 0 && answer->status == 200) {
		op->node_made = true;
		open_send(op);
		return;
	}
	err_set(&e, answer->r < 0 ? answer->r : -EPROTO, "consul: cannot register the node %s: %s",
		CONSUL_NODE, answer->r < 0 ? err_msg(answer->err) : "not found");
	told(op, e.code, 0, &e);
}

static void node_send(const struct session_op *op)
{
	log_debug("consul: register the node %s for our sessions", CONSUL_NODE);
	request_send(op, "PUT", xstrdup("/catalog/register"), consul_node_body(CONSUL_NODE), true,
		     node_answered);
}

static void open_answered(void *arg, const struct consul_answer *answer)
{
	struct session_op *op = arg;
	char id[CONSUL_ID_LEN + 1];
	struct err e;
	int r = answer->r;

	if (r == -ENODEV && !op->node_made) {
		node_send(op);
		return;
	}
	if (r == -ERANGE && !op->ttl_changed &&
	    consul_nearest_ttl(err_msg(answer->err), op->ttl_s, &op->ttl_s) == 0) {
		op->ttl_changed = true;
		open_send(op);
		return;
	}
	if (r == 0)
		r = consul_read_created(answer->text, answer->len, id, &e);
	else
		e = *answer->err;
	if (r == 0)
		op->session = consul_session_number(op->consul->sessions, id);
	// Of two sessions of one number neither can be used.
	told(op, r, op->ttl_s, &e);
}

static void open_send(struct session_op *op)
{
	request_send(op, "PUT", xstrdup("/session/create"),
		     consul_session_body(CONSUL_NODE, op->ttl_s), false, open_answered);
}

void consul_session_open(struct kv *kv, int64_t ttl_s, kv_session_fn *done, void *arg)
{
	struct session_op op = { .consul = (struct consul *)kv, .done = done, .arg = arg };

	op.ttl_s = ttl_s < CONSUL_TTL_MAX_S ? ttl_s : CONSUL_TTL_MAX_S;
	open_send(&op);
}

// ---- one that there is ----

static void refused(void *arg, int r, const struct err *e)
{
	told(arg, r, 0, e);
}

static void of_session(struct kv *kv, int64_t session, const char *method, const char *path,
		       void (*answered)(void *arg, const struct consul_answer *answer),
		       kv_session_fn *done, void *arg)
{
	struct session_op op = {
		.consul = (struct consul *)kv, .done = done, .arg = arg, .session = session
	};
	const char *id;
	int r = consul_session_id(op.consul->sessions, session, &id);

	if (r < 0)
		consul_later(op.consul, r,
			     r == -ENOENT ? "consul: no such session"
					  : "consul: two sessions of one number",
			     refused, xmemdup(&op, sizeof(op)), free);
	else
		request_send(&op, method, xasprintf("%s%s?consistent", path, id), NULL, true, answered);
}

static int read_ttl(const struct consul_answer *answer, int64_t *ret, struct err *e)
{
	if (answer->r < 0) {
		*e = *answer->err;
		return answer->r;
	}
	if (answer->status == 404)
		return strstr(answer->text, "not found")
			       ? err_set(e, -ENOENT, "consul: no such session")
			       : err_set(e, -EPROTO, "not an answer of Consul");
	return consul_read_ttl(answer->text, answer->len, ret, e);
}

static void ttl_answered(void *arg, const struct consul_answer *answer)
{
	int64_t ttl_s = 0;
	struct err e;
	int r = read_ttl(answer, &ttl_s, &e);

	told(arg, r, ttl_s, &e);
}

static void destroyed(void *arg, const struct consul_answer *answer)
{
	struct err e = { 0 };
	int r = answer->r;

	if (r < 0)
		e = *answer->err;
	else if (strncmp(answer->text, "true", 4) != 0)
		r = err_set(&e, -EPROTO, "not an answer of Consul");
	told(arg, r, 0, &e);
}

void consul_session_keep_alive(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	of_session(kv, session, "PUT", "/session/renew/", ttl_answered, done, arg);
}

void consul_session_query(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	of_session(kv, session, "GET", "/session/info/", ttl_answered, done, arg);
}

void consul_session_close(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	of_session(kv, session, "PUT", "/session/destroy/", destroyed, done, arg);
}
