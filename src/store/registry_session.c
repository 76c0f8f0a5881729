// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the sessions of leases: renewing them, asking for their time, closing them in the background.
#include "store/registry.h"

#include "core/mem.h"
#include "store/registry_internal.h"

#include <errno.h>

// ---- closing in the background ----

struct close_op {
	struct registry_op op;
	int64_t session;
	struct timer *timer;
	struct backoff backoff;
};

static void close_op_destroy(struct registry_op *op)
{
	struct close_op *closing = (struct close_op *)op;

	timer_free(closing->timer);
	free(closing);
}

static void close_answered(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct close_op *op = arg;

	(void)session;
	(void)ttl_s;
	(void)e;
	if (r < 0 && r != -ENOENT) {
		timer_start(op->timer, backoff_next_ms(&op->backoff));
		return;
	}
	registry_op_end(&op->op);
	close_op_destroy(&op->op);
}

static void close_try(void *arg)
{
	struct close_op *op = arg;

	kv_session_close(op->op.registry->kv, op->session, close_answered, op);
}

void registry_close_session(struct registry *registry, int64_t session)
{
	struct close_op *op;

	if (session == 0)
		return;
	op = xnew(struct close_op);
	op->session = session;
	op->backoff = (struct backoff){ .base_ms = REGISTRY_RETRY_BASE_MS,
					.max_ms = REGISTRY_RETRY_MAX_MS };
	op->timer = timer_new(kv_loop(registry->kv), close_try, op);
	registry_op_begin(registry, &op->op, close_op_destroy);
	close_try(op);
}

// ---- calls that are answered ----

struct session_op {
	struct registry_op op;
	kv_session_fn *fn;
	void *arg;
};

static void session_op_destroy(struct registry_op *op)
{
	free(op);
}

static void session_answered(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct session_op *op = arg;

	registry_op_end(&op->op);
	op->fn(op->arg, r, session, ttl_s, e);
	session_op_destroy(&op->op);
}

static struct session_op *session_op_new(struct registry *registry, kv_session_fn *fn, void *arg)
{
	struct session_op *op = xnew(struct session_op);

	op->fn = fn;
	op->arg = arg;
	registry_op_begin(registry, &op->op, session_op_destroy);
	return op;
}

void registry_lease_renew(struct registry *registry, int64_t session, kv_session_fn *fn, void *arg)
{
	kv_session_keep_alive(registry->kv, session, session_answered,
			      session_op_new(registry, fn, arg));
}

void registry_lease_ttl(struct registry *registry, int64_t session, kv_session_fn *fn, void *arg)
{
	kv_session_query(registry->kv, session, session_answered, session_op_new(registry, fn, arg));
}
