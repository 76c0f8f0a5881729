// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: listing the networks below the prefix, and deleting one with its leases.
#include "store/registry.h"

#include "core/mem.h"
#include "store/registry_internal.h"

#include <errno.h>
#include <string.h>

#define DELETE_ROUNDS_MAX 10

// ---- list ----

struct list_op {
	struct registry_op op;
	registry_network_fn *each;
	registry_done_fn *done;
	void *arg;
	char *below; // the prefix with a slash
};

static void list_op_destroy(struct registry_op *op)
{
	struct list_op *list = (struct list_op *)op;

	free(list->below);
	free(list);
}

// The network's name if this is the key of a config: "config", or "NAME/config".
static bool config_name(const char *key, char **ret)
{
	const char *slash = strchr(key, '/');

	if (!slash && strcmp(key, "config") == 0) {
		*ret = xstrdup("");
		return true;
	}
	if (!slash || slash == key || strcmp(slash, "/config") != 0 || strncmp(key, "subnets/", 8) == 0)
		return false;
	*ret = xstrndup(key, (size_t)(slash - key));
	return true;
}

static void list_pair(void *arg, const struct kv_pair *pair)
{
	struct list_op *op = arg;
	_cleanup_free_ char *name = NULL;
	_cleanup_free_ char *text = NULL;
	size_t len = strlen(op->below);

	if (strncmp(pair->key, op->below, len) != 0 || !config_name(pair->key + len, &name))
		return;
	text = pair->value ? xstrndup(pair->value, pair->value_len) : xstrdup("");
	op->each(op->arg, name, text);
}

static void list_done(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct list_op *op = arg;

	(void)header;
	registry_op_end(&op->op);
	op->done(op->arg, r, e);
	list_op_destroy(&op->op);
}

void registry_network_list(struct registry *registry, registry_network_fn *each,
			   registry_done_fn *fn, void *arg)
{
	struct list_op *op = xnew(struct list_op);

	op->each = each;
	op->done = fn;
	op->arg = arg;
	op->below = xasprintf("%s/", registry->prefix);
	registry_op_begin(registry, &op->op, list_op_destroy);
	kv_range(registry->kv, op->below, true, list_pair, list_done, op);
}

// ---- delete ----

struct victim {
	char *key;
	int64_t mod_revision;
	int64_t session;
};

// Read the config and the leases, delete the config first so that nobody joins, then the leases in
// batches until a reading finds none.
struct delete_op {
	struct registry_op op;
	registry_done_fn *done;
	void *arg;
	bool force;
	int64_t config_revision; // 0: there is none
	unsigned int rounds;
	struct victim *victims;
	size_t count;
	size_t capacity;
	size_t deleted; // of the victims, keys
	size_t closed;	// of the victims, sessions
};

static void delete_leases(struct delete_op *op);
static void delete_list(struct delete_op *op);

static void victims_reset(struct delete_op *op)
{
	size_t i;

	for (i = 0; i < op->count; i++)
		free(op->victims[i].key);
	op->count = 0;
	op->deleted = 0;
	op->closed = 0;
}

static void delete_op_destroy(struct registry_op *op)
{
	struct delete_op *deletion = (struct delete_op *)op;

	victims_reset(deletion);
	free(deletion->victims);
	free(deletion);
}

static void delete_end(struct delete_op *op, int r, const struct err *e)
{
	registry_op_end(&op->op);
	op->done(op->arg, r, e);
	delete_op_destroy(&op->op);
}

static void delete_fail(struct delete_op *op, int code, const char *why)
{
	struct err e;

	err_set(&e, code, "%s: %s", op->op.registry->prefix, why);
	delete_end(op, code, &e);
}

static void session_closed(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct delete_op *op = arg;

	(void)session;
	(void)ttl_s;
	if (r < 0 && r != -ENOENT)
		delete_end(op, r, e);
	else
		delete_leases(op);
}

static void batch_deleted(void *arg, int r, bool succeeded, const struct kv_header *header,
			  const struct err *e)
{
	struct delete_op *op = arg;

	(void)header;
	if (r < 0 && r != -EINPROGRESS)
		delete_end(op, r, e);
	else if (r < 0 || !succeeded)
		delete_list(op);
	else
		delete_leases(op);
}

static void delete_batch(struct delete_op *op)
{
	struct kv_compare compares[KV_TXN_MAX];
	struct kv_write writes[KV_TXN_MAX];
	struct kv_txn txn = { .compares = compares, .writes = writes };

	while (op->deleted < op->count && txn.write_count < KV_TXN_MAX) {
		const struct victim *victim = &op->victims[op->deleted++];

		compares[txn.compare_count++] = (struct kv_compare){
			.key = victim->key, .kind = KV_MOD_REVISION, .mod_revision = victim->mod_revision
		};
		writes[txn.write_count++] = (struct kv_write){ .key = victim->key };
	}
	kv_txn(op->op.registry->kv, &txn, NULL, batch_deleted, op);
}

static void delete_leases(struct delete_op *op)
{
	while (op->closed < op->deleted) {
		int64_t session = op->victims[op->closed++].session;

		if (session == 0)
			continue;
		kv_session_close(op->op.registry->kv, session, session_closed, op);
		return;
	}
	if (op->deleted < op->count)
		delete_batch(op);
	else
		delete_list(op);
}

static void victim_found(void *arg, const struct kv_pair *pair)
{
	struct delete_op *op = arg;

	if (op->count == op->capacity) {
		op->capacity = op->capacity ? 2 * op->capacity : 64;
		op->victims = xrealloc_array(op->victims, op->capacity, sizeof(*op->victims));
	}
	op->victims[op->count++] = (struct victim){
		.key = xstrdup(pair->key),
		.mod_revision = pair->mod_revision,
		.session = pair->session,
	};
}

static void config_deleted(void *arg, int r, bool succeeded, const struct kv_header *header,
			   const struct err *e)
{
	struct delete_op *op = arg;

	(void)header;
	if (r < 0)
		delete_end(op, r, e);
	else if (!succeeded)
		delete_fail(op, -ESTALE, "the config was changed meanwhile");
	else
		delete_leases(op);
}

static void delete_config(struct delete_op *op)
{
	const char *key = op->op.registry->config_key;
	struct kv_compare compare = { .key = key,
				      .kind = KV_MOD_REVISION,
				      .mod_revision = op->config_revision };
	struct kv_write write = { .key = key };
	struct kv_txn txn = {
		.compares = &compare, .compare_count = 1, .writes = &write, .write_count = 1
	};

	op->config_revision = 0;
	kv_txn(op->op.registry->kv, &txn, NULL, config_deleted, op);
}

static void list_read(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct delete_op *op = arg;
	struct err busy;

	(void)header;
	if (r < 0) {
		delete_end(op, r, e);
	} else if (op->count > 0 && !op->force) {
		err_set(&busy, -EBUSY, "%s: still has %zu leases", op->op.registry->prefix, op->count);
		delete_end(op, busy.code, &busy);
	} else if (op->config_revision != 0) {
		delete_config(op);
	} else if (op->count == 0 && op->rounds == 1) {
		delete_fail(op, -ENOENT, "no such network");
	} else if (op->count == 0) {
		delete_end(op, 0, NULL);
	} else if (op->rounds > DELETE_ROUNDS_MAX) {
		delete_fail(op, -EAGAIN, "leases keep coming back");
	} else {
		delete_leases(op);
	}
}

static void delete_list(struct delete_op *op)
{
	victims_reset(op);
	op->rounds++;
	kv_range(op->op.registry->kv, op->op.registry->leases_prefix, true, victim_found, list_read,
		 op);
}

static void config_seen(void *arg, const struct kv_pair *pair)
{
	struct delete_op *op = arg;

	op->config_revision = pair->mod_revision;
}

static void config_read(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct delete_op *op = arg;

	(void)header;
	if (r < 0)
		delete_end(op, r, e);
	else
		delete_list(op);
}

void registry_network_delete(struct registry *registry, bool force, registry_done_fn *fn, void *arg)
{
	struct delete_op *op = xnew(struct delete_op);

	op->done = fn;
	op->arg = arg;
	op->force = force;
	registry_op_begin(registry, &op->op, delete_op_destroy);
	kv_range(registry->kv, registry->config_key, false, config_seen, config_read, op);
}
