// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading and deleting leases, and what the operations on one of them share.
#include "store/registry.h"

#include "core/mem.h"
#include "store/registry_lease_op.h"

#include <errno.h>
#include <string.h>

#define DELETE_ROUNDS_MAX 5

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

static void lease_op_destroy(struct registry_op *op)
{
	struct lease_op *lease = (struct lease_op *)op;

	timer_free(lease->timer);
	lease_free(&lease->lease);
	free(lease->key);
	free(lease->value);
	free(lease);
}

struct lease_op *lease_op_new(struct registry *registry, enum lease_op_kind kind,
			      const struct subnet *subnet, void *arg)
{
	struct lease_op *op = xnew(struct lease_op);

	op->kind = kind;
	op->arg = arg;
	op->key = registry_lease_key(registry, subnet);
	op->backoff = (struct backoff){ .base_ms = REGISTRY_RETRY_BASE_MS,
					.max_ms = REGISTRY_RETRY_MAX_MS };
	registry_op_begin(registry, &op->op, lease_op_destroy);
	return op;
}

void lease_op_end(struct lease_op *op, int r, const struct err *e)
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

void lease_op_fail(struct lease_op *op, int code, const char *why)
{
	struct err e;

	err_set(&e, code, "%s: %s", op->key, why);
	lease_op_end(op, code, &e);
}

void lease_op_found_reset(struct lease_op *op)
{
	op->found = false;
	op->found_ours = false;
	op->found_readable = false;
	lease_free(&op->lease);
}

void lease_op_found(void *arg, const struct kv_pair *pair)
{
	struct lease_op *op = arg;

	lease_op_found_reset(op);
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
	kv_range(registry->kv, op->key, false, lease_op_found, get_done, op);
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
	lease_op_found_reset(op);
	op->rounds++;
	kv_range(op->op.registry->kv, op->key, false, lease_op_found, delete_read_done, op);
}

void registry_lease_delete(struct registry *registry, const struct subnet *subnet,
			   int64_t mod_revision, registry_done_fn *fn, void *arg)
{
	struct lease_op *op = lease_op_new(registry, LEASE_DELETE, subnet, arg);

	op->done = fn;
	op->mod_revision = mod_revision;
	delete_read(op);
}
