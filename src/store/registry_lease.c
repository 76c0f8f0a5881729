// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading, creating, changing and deleting leases.
//
// DOC: a write of which the answer was lost
//
//   WRITE --answer lost--> READ --ours is there--> done, 0
//                          READ --not there, own session--> FENCE: close the session --> done, failed
//                          READ --not there, no session of our own--> done, unknown
//
// The write may still be on its way and arrive after the read. One that carries a session that was
// opened for it cannot do harm once that session is closed: the store refuses it, or takes the key
// away with the session. So READ and FENCE are repeated until the store answers.
#include "store/registry.h"

#include "core/mem.h"
#include "store/registry_internal.h"

#include <errno.h>
#include <string.h>

#define RETRY_BASE_MS 100
#define RETRY_MAX_MS 5000
#define DELETE_ROUNDS_MAX 5

// ---- closing sessions in the background ----

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
	op->backoff = (struct backoff){ .base_ms = RETRY_BASE_MS, .max_ms = RETRY_MAX_MS };
	op->timer = timer_new(kv_loop(registry->kv), close_try, op);
	registry_op_begin(registry, &op->op, close_op_destroy);
	close_try(op);
}

// ---- snapshot ----

struct snapshot_op {
	struct registry_op op;
	struct registry_snapshot_fns fns;
	void *arg;
};

static void snapshot_op_destroy(struct registry_op *op)
{
	free(op);
}

static void snapshot_pair(void *arg, const struct kv_pair *pair)
{
	struct snapshot_op *op = arg;
	struct lease lease = { 0 };
	struct registry_fault fault;

	if (registry_decode_lease(op->op.registry, pair, &lease, &fault) == 0)
		op->fns.lease(op->arg, &lease);
	else
		op->fns.bad(op->arg, &fault.bad);
	lease_free(&lease);
}

static void snapshot_done(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct snapshot_op *op = arg;

	registry_op_end(&op->op);
	op->fns.done(op->arg, r, header, e);
	snapshot_op_destroy(&op->op);
}

void registry_leases(struct registry *registry, const struct registry_snapshot_fns *fns, void *arg)
{
	struct snapshot_op *op = xnew(struct snapshot_op);

	op->fns = *fns;
	op->arg = arg;
	registry_op_begin(registry, &op->op, snapshot_op_destroy);
	kv_range(registry->kv, registry->leases_prefix, true, snapshot_pair, snapshot_done, op);
}

// ---- one lease: what the operations share ----

enum lease_op_kind { LEASE_GET, LEASE_CREATE, LEASE_UPDATE, LEASE_DELETE };

struct lease_op {
	struct registry_op op;
	enum lease_op_kind kind;
	registry_lease_fn *fn;
	registry_done_fn *done; // of delete
	void *arg;
	char *key;
	char *value;	      // to be written
	int64_t mod_revision; // that the key must have; 0: none (create), any (delete)
	int64_t session;      // to tie the key to
	int64_t own_session;  // opened for this write; closed if it fails
	int64_t ttl_s;
	struct timer *timer;
	struct backoff backoff;
	unsigned int rounds;

	// What is there, as last read.
	bool found;
	bool found_ours;
	bool found_readable;
	struct lease lease;
	struct registry_fault fault;
};

static void lease_op_destroy(struct registry_op *op)
{
	struct lease_op *lease = (struct lease_op *)op;

	timer_free(lease->timer);
	lease_free(&lease->lease);
	free(lease->key);
	free(lease->value);
	free(lease);
}

static struct lease_op *lease_op_new(struct registry *registry, enum lease_op_kind kind,
				     const struct subnet *subnet, void *arg)
{
	struct lease_op *op = xnew(struct lease_op);

	op->kind = kind;
	op->arg = arg;
	op->key = registry_lease_key(registry, subnet);
	op->backoff = (struct backoff){ .base_ms = RETRY_BASE_MS, .max_ms = RETRY_MAX_MS };
	registry_op_begin(registry, &op->op, lease_op_destroy);
	return op;
}

static void lease_op_end(struct lease_op *op, int r, const struct err *e)
{
	bool with_lease = op->found_readable && (r == 0 || r == -EEXIST || r == -ESTALE);

	if (r < 0)
		registry_close_session(op->op.registry, op->own_session);
	registry_op_end(&op->op);
	if (op->kind == LEASE_DELETE)
		op->done(op->arg, r, e);
	else
		op->fn(op->arg, r, with_lease ? &op->lease : NULL, e);
	lease_op_destroy(&op->op);
}

static void lease_op_fail(struct lease_op *op, int code, const char *why)
{
	struct err e;

	err_set(&e, code, "%s: %s", op->key, why);
	lease_op_end(op, code, &e);
}

static void found_reset(struct lease_op *op)
{
	op->found = false;
	op->found_ours = false;
	op->found_readable = false;
	lease_free(&op->lease);
}

static void lease_found(void *arg, const struct kv_pair *pair)
{
	struct lease_op *op = arg;

	found_reset(op);
	op->found = true;
	op->found_ours = op->value && pair->value && pair->session == op->session &&
			 pair->value_len == strlen(op->value) &&
			 memcmp(pair->value, op->value, pair->value_len) == 0;
	op->found_readable = registry_decode_lease(op->op.registry, pair, &op->lease, &op->fault) == 0;
	op->lease.mod_revision = pair->mod_revision;
	op->lease.session = pair->session;
}

static void get_done(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct lease_op *op = arg;

	(void)header;
	if (r < 0)
		lease_op_end(op, r, e);
	else if (!op->found)
		lease_op_fail(op, -ENOENT, "no such lease");
	else if (!op->found_readable)
		lease_op_fail(op, -EINVAL, op->fault.bad.why);
	else
		lease_op_end(op, 0, NULL);
}

void registry_lease_get(struct registry *registry, const struct subnet *subnet,
			registry_lease_fn *fn, void *arg)
{
	struct lease_op *op = lease_op_new(registry, LEASE_GET, subnet, arg);

	op->fn = fn;
	kv_range(registry->kv, op->key, false, lease_found, get_done, op);
}

// ---- create and update ----

static void write_start(struct lease_op *op);
static void resolve_start(void *arg);

// The write was not done; says what is there instead.
static void write_refused(struct lease_op *op)
{
	if (op->kind == LEASE_CREATE)
		lease_op_fail(op, -EEXIST, "is taken");
	else if (op->found)
		lease_op_fail(op, -ESTALE, "was changed by somebody else");
	else
		lease_op_fail(op, -ENOENT, "is gone");
}

static void fence_closed(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct lease_op *op = arg;

	(void)session;
	(void)ttl_s;
	(void)e;
	if (r < 0 && r != -ENOENT) {
		timer_start(op->timer, backoff_next_ms(&op->backoff));
		return;
	}
	op->own_session = 0;
	if (op->found)
		write_refused(op);
	else
		lease_op_fail(op, -ETIMEDOUT, "the store did not write it in time");
}

static void resolve_done(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct lease_op *op = arg;

	(void)header;
	(void)e;
	if (r < 0)
		timer_start(op->timer, backoff_next_ms(&op->backoff));
	else if (op->found_ours)
		lease_op_end(op, 0, NULL);
	else if (op->own_session != 0)
		kv_session_close(op->op.registry->kv, op->own_session, fence_closed, op);
	else if (op->kind == LEASE_UPDATE && (!op->found || op->lease.mod_revision != op->mod_revision))
		write_refused(op);
	else if (op->kind == LEASE_CREATE && op->found)
		write_refused(op);
	else
		lease_op_fail(op, -EINPROGRESS,
			      "the store's answer was lost; it may or may not have been written");
}

static void resolve_start(void *arg)
{
	struct lease_op *op = arg;

	found_reset(op);
	kv_range(op->op.registry->kv, op->key, false, lease_found, resolve_done, op);
}

static void write_succeeded(struct lease_op *op, int64_t revision)
{
	const struct kv_pair pair = {
		.key = op->key,
		.value = op->value,
		.value_len = strlen(op->value),
		.mod_revision = revision,
		.session = op->session,
	};

	lease_found(op, &pair);
	lease_op_end(op, 0, NULL);
}

static void session_opened(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct lease_op *op = arg;

	(void)ttl_s;
	op->own_session = session;
	if (r < 0) {
		lease_op_end(op, r, e);
		return;
	}
	op->session = session;
	write_start(op);
}

static void write_done(void *arg, int r, bool succeeded, const struct kv_header *header,
		       const struct err *e)
{
	struct lease_op *op = arg;

	if (r == 0 && succeeded) {
		write_succeeded(op, header->revision);
	} else if (r == 0 && op->found_ours) {
		// An earlier sending of this very write got through unseen.
		lease_op_end(op, 0, NULL);
	} else if (r == 0) {
		write_refused(op);
	} else if (r == -EINPROGRESS) {
		resolve_start(op);
	} else if (r == -ENOENT && op->own_session == 0 && op->session != 0) {
		kv_session_open(op->op.registry->kv, LEASE_TTL_S, session_opened, op);
	} else if (r == -ENOENT) {
		lease_op_fail(op, -ETIMEDOUT, "the session ended before the key was written");
	} else {
		lease_op_end(op, r, e);
	}
}

static void write_start(struct lease_op *op)
{
	struct kv_compare compare = {
		.key = op->key,
		.kind = op->kind == LEASE_CREATE ? KV_ABSENT : KV_MOD_REVISION,
		.mod_revision = op->mod_revision,
	};
	struct kv_write write = {
		.key = op->key,
		.value = op->value,
		.value_len = strlen(op->value),
		.session = op->session,
	};
	struct kv_txn txn = {
		.compares = &compare, .compare_count = 1, .writes = &write, .write_count = 1
	};

	found_reset(op);
	kv_txn(op->op.registry->kv, &txn, lease_found, write_done, op);
}

static struct lease_op *write_op_new(struct registry *registry, enum lease_op_kind kind,
				     const struct subnet *subnet, const struct lease_attrs *attrs,
				     registry_lease_fn *fn, void *arg)
{
	struct lease_op *op = lease_op_new(registry, kind, subnet, arg);

	op->fn = fn;
	op->value = lease_attrs_format(attrs);
	op->timer = timer_new(kv_loop(registry->kv), resolve_start, op);
	return op;
}

void registry_lease_create(struct registry *registry, const struct subnet *subnet,
			   const struct lease_attrs *attrs, int64_t ttl_s, registry_lease_fn *fn,
			   void *arg)
{
	struct lease_op *op = write_op_new(registry, LEASE_CREATE, subnet, attrs, fn, arg);

	if (ttl_s < 0)
		write_start(op);
	else
		kv_session_open(registry->kv, ttl_s == 0 ? LEASE_TTL_S : ttl_s, session_opened, op);
}

void registry_lease_update(struct registry *registry, const struct lease *current,
			   const struct lease_attrs *attrs, registry_lease_fn *fn, void *arg)
{
	struct lease_op *op = write_op_new(registry, LEASE_UPDATE, &current->subnet, attrs, fn, arg);

	op->mod_revision = current->mod_revision;
	op->session = current->session;
	write_start(op);
}

// ---- delete ----

static void delete_read(struct lease_op *op);

static void delete_session_closed(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct lease_op *op = arg;

	(void)ttl_s;
	(void)e;
	// The key is gone, which is what was asked for; the session is tidied up when the store is
	// back.
	if (r < 0 && r != -ENOENT)
		registry_close_session(op->op.registry, session);
	lease_op_end(op, 0, NULL);
}

static void delete_done(void *arg, int r, bool succeeded, const struct kv_header *header,
			const struct err *e)
{
	struct lease_op *op = arg;

	(void)header;
	if (r == -EINPROGRESS || (r == 0 && !succeeded)) {
		delete_read(op);
	} else if (r < 0) {
		lease_op_end(op, r, e);
	} else if (op->session != 0) {
		kv_session_close(op->op.registry->kv, op->session, delete_session_closed, op);
	} else {
		lease_op_end(op, 0, NULL);
	}
}

static void delete_write(struct lease_op *op)
{
	struct kv_compare compare = { .key = op->key,
				      .kind = KV_MOD_REVISION,
				      .mod_revision = op->lease.mod_revision };
	struct kv_write write = { .key = op->key };
	struct kv_txn txn = {
		.compares = &compare, .compare_count = 1, .writes = &write, .write_count = 1
	};

	op->session = op->lease.session;
	kv_txn(op->op.registry->kv, &txn, NULL, delete_done, op);
}

static void delete_read_done(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct lease_op *op = arg;

	(void)header;
	if (r < 0)
		lease_op_end(op, r, e);
	else if (!op->found && op->rounds > 1 && op->session != 0)
		kv_session_close(op->op.registry->kv, op->session, delete_session_closed, op);
	else if (!op->found && op->rounds > 1)
		lease_op_end(op, 0, NULL);
	else if (!op->found)
		lease_op_fail(op, -ENOENT, "no such lease");
	else if (op->mod_revision != 0 && op->mod_revision != op->lease.mod_revision)
		lease_op_fail(op, -ESTALE, "was changed by somebody else");
	else if (op->rounds > DELETE_ROUNDS_MAX)
		lease_op_fail(op, -EAGAIN, "keeps changing, or the store loses its answers");
	else
		delete_write(op);
}

static void delete_read(struct lease_op *op)
{
	found_reset(op);
	op->rounds++;
	kv_range(op->op.registry->kv, op->key, false, lease_found, delete_read_done, op);
}

void registry_lease_delete(struct registry *registry, const struct subnet *subnet,
			   int64_t mod_revision, registry_done_fn *fn, void *arg)
{
	struct lease_op *op = lease_op_new(registry, LEASE_DELETE, subnet, arg);

	op->done = fn;
	op->mod_revision = mod_revision;
	delete_read(op);
}

// ---- sessions ----

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
