// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: listing the networks below the prefix, and deleting one with its leases.
#include "store/registry.h"

#include "core/mem.h"
#include "store/registry_internal.h"

#include <errno.h>
#include <string.h>

#define DELETE_ROUNDS_MAX 10
#define REFUSED_MAX 64		     // keys that the store refuses to delete
#define BATCH_BYTES_MAX (128 * 1024) // of keys; a store has a limit for a whole request

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

bool registry_config_name(const char *key, char **ret)
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

	if (strncmp(pair->key, op->below, len) != 0 || !registry_config_name(pair->key + len, &name))
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
	char *raw_key;
	size_t raw_key_len;
	int64_t mod_revision;
	int64_t session;
};

struct victims {
	struct victim *items;
	size_t count;
	size_t capacity;
};

// Read the config and the leases, delete the config first so that nobody joins, then the leases in
// batches until a reading finds none. What a failure leaves is found by the next deletion, with or
// without a config. Of a batch that the store refuses each key is tried by itself; one that is
// refused alone is left out of the rest, and told in the end.
struct delete_op {
	struct registry_op op;
	registry_done_fn *done;
	void *arg;
	bool force;
	bool half_done;		 // the config was deleted
	int64_t config_revision; // 0: there is none
	unsigned int rounds;
	struct victims victims;
	size_t batch;	    // first of the present batch
	size_t deleted;	    // of the victims, keys
	size_t closed;	    // of the victims, sessions
	size_t singly_upto; // of the victims
	struct victims refused;
	size_t left; // of the refused, those found by the last reading
	struct err refusal;
};

static void delete_leases(struct delete_op *op);
static void read_config(struct delete_op *op);
static void delete_list(struct delete_op *op);

static void victims_add(struct victims *victims, const struct kv_pair *pair)
{
	if (victims->count == victims->capacity) {
		victims->capacity = victims->capacity ? 2 * victims->capacity : 64;
		victims->items =
			xrealloc_array(victims->items, victims->capacity, sizeof(*victims->items));
	}
	victims->items[victims->count++] = (struct victim){
		.raw_key = xmemdup(pair->raw_key, pair->raw_key_len),
		.raw_key_len = pair->raw_key_len,
		.mod_revision = pair->mod_revision,
		.session = pair->session,
	};
}

static bool victims_have(const struct victims *victims, const struct kv_pair *pair)
{
	size_t i;

	for (i = 0; i < victims->count; i++)
		if (victims->items[i].raw_key_len == pair->raw_key_len &&
		    memcmp(victims->items[i].raw_key, pair->raw_key, pair->raw_key_len) == 0)
			return true;
	return false;
}

static void victims_reset(struct victims *victims)
{
	size_t i;

	for (i = 0; i < victims->count; i++)
		free(victims->items[i].raw_key);
	victims->count = 0;
}

static void delete_op_destroy(struct registry_op *op)
{
	struct delete_op *deletion = (struct delete_op *)op;

	victims_reset(&deletion->victims);
	victims_reset(&deletion->refused);
	free(deletion->victims.items);
	free(deletion->refused.items);
	free(deletion);
}

static void delete_end(struct delete_op *op, int r, const struct err *e)
{
	struct err told;

	if (r < 0) {
		told = *e;
		if (op->half_done)
			(void)err_wrap(&told, "the config is deleted, not all leases are (repeat it)");
	}
	registry_op_end(&op->op);
	op->done(op->arg, r, r < 0 ? &told : NULL);
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

// Is it about what was asked, and would another request fare better?
static bool is_refusal(int r)
{
	return r == -EPROTO || r == -EINVAL || r == -E2BIG || r == -ENOSPC;
}

static void batch_refused(struct delete_op *op, int r, const struct err *e)
{
	const struct victim *victim = &op->victims.items[op->batch];
	const struct kv_pair pair = { .raw_key = victim->raw_key, .raw_key_len = victim->raw_key_len };
	_cleanup_free_ char *key = NULL;
	char shown[REGISTRY_KEY_SHOWN_MAX];

	if (op->deleted - op->batch > 1) {
		op->singly_upto = op->deleted;
		op->deleted = op->batch;
		delete_leases(op);
		return;
	}
	if (op->refused.count == REFUSED_MAX) {
		delete_end(op, r, e);
		return;
	}
	if (op->refused.count == 0) {
		key = kv_key_shown(pair.raw_key, pair.raw_key_len);
		if (!key)
			key = xstrndup(pair.raw_key, pair.raw_key_len);
		registry_show_key(op->op.registry, key, shown);
		op->refusal = *e;
		(void)err_wrap(&op->refusal, "cannot delete %s", shown);
	}
	victims_add(&op->refused, &pair);
	// Its session, if it has one, takes it along.
	delete_leases(op);
}

static void batch_deleted(void *arg, int r, bool succeeded, const struct kv_header *header,
			  const struct err *e)
{
	struct delete_op *op = arg;

	(void)header;
	if (is_refusal(r))
		batch_refused(op, r, e);
	else if (r < 0 && r != -EINPROGRESS)
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
	size_t max = op->deleted < op->singly_upto ? 1 : kv_txn_max(op->op.registry->kv);
	size_t bytes = 0;

	op->batch = op->deleted;
	while (op->deleted < op->victims.count && txn.write_count < max && bytes < BATCH_BYTES_MAX) {
		const struct victim *victim = &op->victims.items[op->deleted++];

		bytes += victim->raw_key_len;
		compares[txn.compare_count++] = (struct kv_compare){
			.key = victim->raw_key,
			.key_len = victim->raw_key_len,
			.kind = KV_MOD_REVISION,
			.mod_revision = victim->mod_revision,
		};
		writes[txn.write_count++] =
			(struct kv_write){ .key = victim->raw_key, .key_len = victim->raw_key_len };
	}
	kv_txn(op->op.registry->kv, &txn, NULL, batch_deleted, op);
}

static void delete_leases(struct delete_op *op)
{
	while (op->closed < op->deleted) {
		int64_t session = op->victims.items[op->closed++].session;

		if (session == 0)
			continue;
		kv_session_close(op->op.registry->kv, session, session_closed, op);
		return;
	}
	if (op->deleted < op->victims.count)
		delete_batch(op);
	else
		delete_list(op);
}

static void victim_found(void *arg, const struct kv_pair *pair)
{
	struct delete_op *op = arg;

	if (victims_have(&op->refused, pair))
		op->left++;
	else
		victims_add(&op->victims, pair);
}

static void config_deleted(void *arg, int r, bool succeeded, const struct kv_header *header,
			   const struct err *e)
{
	struct delete_op *op = arg;

	(void)header;
	if (r == -EINPROGRESS) {
		read_config(op);
	} else if (r < 0) {
		delete_end(op, r, e);
	} else if (!succeeded) {
		delete_fail(op, -ESTALE, "the config was changed meanwhile");
	} else {
		op->half_done = op->victims.count > 0;
		delete_leases(op);
	}
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

static void nothing_to_delete(struct delete_op *op)
{
	if (op->left > 0) {
		if (op->left > 1)
			(void)err_wrap(&op->refusal, "%zu keys are left", op->left);
		delete_end(op, op->refusal.code, &op->refusal);
	} else if (op->rounds == 1) {
		delete_fail(op, -ENOENT, "no such network");
	} else {
		delete_end(op, 0, NULL);
	}
}

static void list_read(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct delete_op *op = arg;
	size_t count = op->victims.count;
	struct err busy;

	(void)header;
	if (r < 0) {
		delete_end(op, r, e);
	} else if (count > 0 && !op->force) {
		err_set(&busy, -EBUSY, "%s: still has %zu leases", op->op.registry->prefix, count);
		delete_end(op, busy.code, &busy);
	} else if (op->rounds > DELETE_ROUNDS_MAX) {
		delete_fail(op, -EAGAIN, "leases keep coming back, or the store loses its answers");
	} else if (op->config_revision != 0) {
		delete_config(op);
	} else if (count == 0) {
		nothing_to_delete(op);
	} else {
		delete_leases(op);
	}
}

static void delete_list(struct delete_op *op)
{
	victims_reset(&op->victims);
	op->deleted = 0;
	op->closed = 0;
	op->singly_upto = 0;
	op->left = 0;
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

static void read_config(struct delete_op *op)
{
	kv_range(op->op.registry->kv, op->op.registry->config_key, false, config_seen, config_read, op);
}

void registry_network_delete(struct registry *registry, bool force, registry_done_fn *fn, void *arg)
{
	struct delete_op *op = xnew(struct delete_op);

	op->done = fn;
	op->arg = arg;
	op->force = force;
	registry_op_begin(registry, &op->op, delete_op_destroy);
	read_config(op);
}
