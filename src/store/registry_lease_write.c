// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: creating and changing a lease.
//
// DOC: a write of which the answer was lost
//
//   WRITE --answer lost--> READ --ours is there--> done, 0
//                          READ --not there, own session--> CLOSE the session --> done, failed
//                          READ --not there, no session of our own--> done, unknown
//
// The write may still be on its way and arrive after the read. One that carries a session that was
// opened for it cannot do harm once that session is closed: the store refuses it, or takes the key
// away with the session. So READ and CLOSE are repeated until the store answers.
//
// DOC: a create that depends on the config
//
//   CREATE, comparing the lease's key and the config's in one go --done--> done, 0
//   CREATE of the lease's key alone --done--> LOOK at the config --the same--> done, 0
//                                                                --another--> UNDO --> done, failed
//
// The second way is for stores that compare only the key that they write. There the key is to be seen
// between CREATE and UNDO, but its creator does not use it before LOOK has answered; both are repeated
// until the store answers. Who ends between the two leaves a key behind until its session expires.
#include "store/registry.h"

#include "core/mem.h"
#include "store/owner.h"
#include "store/registry_lease_op.h"

#include <errno.h>
#include <string.h>

static void write_start(struct lease_op *op);
static void resolve_start(struct lease_op *op);

static void step_again(void *arg)
{
	struct lease_op *op = arg;

	op->step(op);
}

static void step_later(struct lease_op *op, void (*step)(struct lease_op *op))
{
	op->step = step;
	timer_start(op->timer, backoff_next_ms(&op->backoff));
}

// ---- the fence ----

static void config_moved(struct lease_op *op)
{
	lease_op_fail(op, -EBUSY, "the network's config was changed meanwhile");
}

static void config_found(void *arg, const struct kv_pair *pair)
{
	struct lease_op *op = arg;

	op->config_revision = pair->mod_revision;
}

static void fence_undo(struct lease_op *op);

// Whatever is there now is not what was created.
static void fence_undone(void *arg, int r, bool succeeded, const struct kv_header *header,
			 const struct err *e)
{
	struct lease_op *op = arg;

	(void)succeeded;
	(void)header;
	(void)e;
	if (r < 0)
		step_later(op, fence_undo);
	else
		config_moved(op);
}

static void fence_undo(struct lease_op *op)
{
	struct kv_compare compare = { .key = op->key,
				      .kind = KV_MOD_REVISION,
				      .mod_revision = op->lease.mod_revision };
	struct kv_write write = { .key = op->key };
	struct kv_txn txn = {
		.compares = &compare, .compare_count = 1, .writes = &write, .write_count = 1
	};

	kv_txn(op->op.registry->kv, &txn, NULL, fence_undone, op);
}

static void fence_look(struct lease_op *op);

static void fence_looked(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct lease_op *op = arg;

	(void)header;
	(void)e;
	if (r < 0)
		step_later(op, fence_look);
	else if (op->config_revision == op->fence_revision)
		lease_op_end(op, 0, NULL);
	else
		fence_undo(op);
}

static void fence_look(struct lease_op *op)
{
	op->config_revision = 0;
	kv_range(op->op.registry->kv, op->op.registry->config_key, false, config_found,
		 fence_looked, op);
}

// What was to be written is there.
static void write_is_there(struct lease_op *op)
{
	if (op->fenced_singly)
		fence_look(op);
	else
		lease_op_end(op, 0, NULL);
}

// ---- writing ----

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

static void resolve_closed(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct lease_op *op = arg;

	(void)session;
	(void)ttl_s;
	(void)e;
	if (r < 0 && r != -ENOENT) {
		step_later(op, resolve_start);
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
		step_later(op, resolve_start);
	else if (op->found_ours)
		write_is_there(op);
	else if (op->own_session != 0)
		kv_session_close(op->op.registry->kv, op->own_session, resolve_closed, op);
	else if (op->kind == LEASE_UPDATE && (!op->found || op->lease.mod_revision != op->mod_revision))
		write_refused(op);
	else if (op->kind == LEASE_CREATE && op->found)
		write_refused(op);
	else
		lease_op_fail(op, -EINPROGRESS,
			      "the store's answer was lost; it may or may not have been written");
}

static void resolve_start(struct lease_op *op)
{
	lease_op_found_reset(op);
	kv_range(op->op.registry->kv, op->key, false, lease_op_found, resolve_done, op);
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

	lease_op_found(op, &pair);
	write_is_there(op);
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

	if (r == 0 && succeeded && op->found_readable && op->kind == LEASE_ACQUIRE) {
		lease_op_end(op, 0, NULL); // what the store chose
	} else if (r == 0 && op->kind == LEASE_ACQUIRE) {
		lease_op_fail(op, -EPROTO, "the store did not say which lease it gave");
	} else if (r == 0 && succeeded) {
		write_succeeded(op, header->revision);
	} else if (r == 0 && op->found_ours) {
		// An earlier sending of this very write got through unseen.
		write_is_there(op);
	} else if (r == 0 && op->kind == LEASE_CREATE && !op->found) {
		config_moved(op);
	} else if (r == -EINVAL && op->kind == LEASE_CREATE && !op->fenced_singly) {
		// A controller does not tell beforehand what the store behind it can do.
		op->fenced_singly = true;
		write_start(op);
	} else if (r == 0) {
		write_refused(op);
	} else if (r == -EINPROGRESS && op->kind == LEASE_ACQUIRE) {
		lease_op_end(op, r, e); // asked for again it is the same one
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

static void compared_found(void *arg, const struct kv_pair *pair)
{
	struct lease_op *op = arg;

	bool is_key = pair->raw_key_len == strlen(op->key) &&
		      memcmp(pair->raw_key, op->key, pair->raw_key_len) == 0;

	if (is_key || op->kind == LEASE_ACQUIRE)
		lease_op_found(op, pair);
}

static void write_start(struct lease_op *op)
{
	struct kv_compare compares[] = {
		{
			.key = op->key,
			.kind = op->kind == LEASE_UPDATE ? KV_MOD_REVISION : KV_ABSENT,
			.mod_revision = op->mod_revision,
		},
		{
			.key = op->op.registry->config_key,
			.kind = op->fence_revision == 0 ? KV_ABSENT : KV_MOD_REVISION,
			.mod_revision = op->fence_revision,
		},
	};
	struct kv_write write = {
		.key = op->key,
		.value = op->value,
		.value_len = strlen(op->value),
		.session = op->session,
	};
	struct kv_txn txn = {
		.compares = compares,
		.compare_count = op->kind == LEASE_CREATE && !op->fenced_singly ? 2 : 1,
		.writes = &write,
		.write_count = 1,
	};

	lease_op_found_reset(op);
	kv_txn(op->op.registry->kv, &txn, compared_found, write_done, op);
}

// What the lease's value is to be, with our mark in it.
static char *value_of(const struct registry *registry, const struct lease_attrs *attrs)
{
	struct lease_attrs marked = *attrs;
	_cleanup_free_ char *extra = NULL;

	if (registry->owner) {
		extra = owner_mark(attrs->extra, registry->owner);
		marked.extra = extra;
	}
	return lease_attrs_format(&marked);
}

static struct lease_op *write_op_new(struct registry *registry, enum lease_op_kind kind,
				     const struct subnet *subnet, const struct lease_attrs *attrs,
				     registry_lease_fn *fn, void *arg)
{
	struct lease_op *op = lease_op_new(registry, kind, subnet, arg);

	op->fn = fn;
	op->value = value_of(registry, attrs);
	op->timer = timer_new(kv_loop(registry->kv), step_again, op);
	return op;
}

void registry_lease_create(struct registry *registry, const struct subnet *subnet,
			   const struct lease_attrs *attrs, const struct registry_create_terms *terms,
			   registry_lease_fn *fn, void *arg)
{
	struct lease_op *op = write_op_new(registry, LEASE_CREATE, subnet, attrs, fn, arg);

	op->fence_revision = terms->config_revision;
	op->fenced_singly = kv_txn_max(registry->kv) < 2;
	if (terms->ttl_s < 0)
		write_start(op);
	else
		kv_session_open(registry->kv, terms->ttl_s == 0 ? LEASE_TTL_S : terms->ttl_s,
				session_opened, op);
}

bool registry_chooses(const struct registry *registry)
{
	return kv_limits(registry->kv) & KV_LIMIT_CHOOSES;
}

void registry_lease_acquire(struct registry *registry, const struct lease_attrs *attrs,
			    registry_lease_fn *fn, void *arg)
{
	static const struct subnet any = { 0 };
	struct lease_op *op = write_op_new(registry, LEASE_ACQUIRE, &any, attrs, fn, arg);

	free(op->key);
	op->key = xstrdup(registry->leases_prefix);
	kv_session_open(registry->kv, LEASE_TTL_S, session_opened, op);
}

void registry_lease_update(struct registry *registry, const struct lease *current,
			   const struct lease_attrs *attrs, registry_lease_fn *fn, void *arg)
{
	struct lease_op *op = write_op_new(registry, LEASE_UPDATE, &current->subnet, attrs, fn, arg);

	op->mod_revision = current->mod_revision;
	op->session = current->session;
	write_start(op);
}
