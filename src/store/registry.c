// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the registry's keys, how a stored pair becomes a lease, and the config of its network.
#include "store/registry.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"
#include "store/owner.h"
#include "store/registry_internal.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

int registry_prefix_check(const char *prefix, struct err *e)
{
	size_t len = strlen(prefix);
	size_t step;

	if (prefix[strspn(prefix, "/")] == '\0')
		return err_set(e, -EINVAL, "must not be empty");
	if (len > REGISTRY_PREFIX_MAX)
		return err_set(e, -EINVAL, "longer than %d bytes", REGISTRY_PREFIX_MAX);
	for (; len > 0; prefix += step, len -= step) {
		step = text_utf8_len(prefix, len);
		if (step == 0 || (unsigned char)*prefix <= ' ' || *prefix == 0x7f)
			return err_set(e, -EINVAL, "has a space or a byte that is no text");
	}
	return 0;
}

int registry_network_check(const char *name, struct err *e)
{
	size_t len = strlen(name);

	if (len == 0 || len > REGISTRY_NETWORK_MAX)
		return err_set(e, -EINVAL, "a network's name has 1 to %d characters",
			       REGISTRY_NETWORK_MAX);
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("-_.", name[i]))
			return err_set(e, -EINVAL,
				       "a network's name has letters, digits, '-', '_' and '.' only");
	// A controller keeps its tokens below ".weft".
	if (strcmp(name, "subnets") == 0 || strcmp(name, "config") == 0 ||
	    strcmp(name, ".weft") == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(e, -EINVAL, "\"%s\" cannot be a network's name", name);
	return 0;
}

int registry_new(struct kv *kv, const char *prefix, struct registry **ret, struct err *e)
{
	struct registry *registry;
	size_t len = strlen(prefix);
	int r = registry_prefix_check(prefix, e);

	if (r < 0)
		return r;
	while (prefix[len - 1] == '/')
		len--;
	registry = xnew(struct registry);
	registry->kv = kv;
	registry->prefix = xstrndup(prefix, len);
	registry->config_key = xasprintf("%s/config", registry->prefix);
	registry->leases_prefix = xasprintf("%s/subnets/", registry->prefix);
	*ret = registry;
	return 0;
}

struct registry *registry_free(struct registry *registry)
{
	if (!registry)
		return NULL;
	while (registry->watches)
		registry_watch_free(registry->watches);
	while (registry->ops) {
		struct registry_op *op = registry->ops;

		registry_op_end(op);
		kv_forget(registry->kv, op);
		op->destroy(op);
	}
	free(registry->prefix);
	free(registry->config_key);
	free(registry->leases_prefix);
	free(registry->owner);
	free(registry);
	return NULL;
}

void registry_set_owner(struct registry *registry, const char *owner)
{
	free(registry->owner);
	registry->owner = xstrdup(owner);
}

bool registry_lease_is_marked(const struct registry *registry, const struct lease *lease)
{
	return !registry->owner || owner_is_marked(lease->attrs.extra, registry->owner);
}

void registry_op_begin(struct registry *registry, struct registry_op *op,
		       void (*destroy)(struct registry_op *op))
{
	op->registry = registry;
	op->destroy = destroy;
	op->next = registry->ops;
	if (registry->ops)
		registry->ops->previous = op;
	registry->ops = op;
}

void registry_op_end(struct registry_op *op)
{
	if (op->previous)
		op->previous->next = op->next;
	else
		op->registry->ops = op->next;
	if (op->next)
		op->next->previous = op->previous;
	op->previous = NULL;
	op->next = NULL;
}

// ---- keys and values ----

char *registry_lease_key(const struct registry *registry, const struct subnet *subnet)
{
	char key[LEASE_KEY_MAX];

	subnet_format_key(subnet, key);
	return xasprintf("%s%s", registry->leases_prefix, key);
}

void registry_show_key(const struct registry *registry, const char *key,
		       char ret[static REGISTRY_KEY_SHOWN_MAX])
{
	size_t len = strlen(registry->leases_prefix);

	if (strncmp(key, registry->leases_prefix, len) == 0)
		key += len;
	// A key too long to be a lease's is cut: it is bad whatever its end says.
	(void)text_copy(ret, REGISTRY_KEY_SHOWN_MAX, key);
	text_sanitize(ret);
}

static int fault_set(struct registry_fault *fault)
{
	fault->bad.key = fault->key;
	fault->bad.why = fault->why.msg;
	return -EINVAL;
}

int registry_decode_key(const struct registry *registry, const struct kv_pair *pair,
			struct subnet *ret, struct registry_fault *ret_fault)
{
	size_t prefix_len = strlen(registry->leases_prefix);
	const char *text = pair->key;
	char canonical[LEASE_KEY_MAX];
	struct subnet subnet;

	*ret_fault = (struct registry_fault){ .bad.mod_revision = pair->mod_revision };
	registry_show_key(registry, pair->key, ret_fault->key);
	if (strncmp(text, registry->leases_prefix, prefix_len) == 0)
		text += prefix_len;
	if (subnet_parse_key(text, strlen(text), &subnet, &ret_fault->why) < 0)
		return fault_set(ret_fault);
	ret_fault->bad.subnet = subnet;
	ret_fault->bad.has_subnet = true;
	// One subnet must not have two keys: which of them would be the lease?
	subnet_format_key(&subnet, canonical);
	if (strcmp(canonical, text) != 0) {
		err_set(&ret_fault->why, -EINVAL,
			"not the usual way to write this key, which is %s", canonical);
		return fault_set(ret_fault);
	}
	*ret = subnet;
	return 0;
}

int registry_decode_lease(const struct registry *registry, const struct kv_pair *pair,
			  struct lease *ret, struct registry_fault *ret_fault)
{
	struct subnet subnet;
	struct lease_attrs attrs = { 0 };
	int r = registry_decode_key(registry, pair, &subnet, ret_fault);

	if (r < 0)
		return r;
	if (!pair->value) {
		err_set(&ret_fault->why, -E2BIG, "value of %zu bytes, larger than %d",
			pair->value_len, KV_VALUE_MAX);
		return fault_set(ret_fault);
	}
	if (lease_attrs_parse(pair->value, pair->value_len, &attrs, &ret_fault->why) < 0)
		return fault_set(ret_fault);
	*ret = (struct lease){
		.subnet = subnet,
		.attrs = attrs,
		.mod_revision = pair->mod_revision,
		.session = pair->session,
		.create_revision = pair->create_revision,
	};
	return 0;
}

// ---- config ----

struct config_op {
	struct registry_op op;
	registry_config_fn *got;
	registry_done_fn *done;
	void *arg;
	char *text;
	int64_t mod_revision; // that it must have to be written; found: that it has
	struct err why;	      // of a value that is there and cannot be used
	bool found;
};

static void config_op_destroy(struct registry_op *op)
{
	struct config_op *config = (struct config_op *)op;

	free(config->text);
	free(config);
}

static struct config_op *config_op_new(struct registry *registry, void *arg)
{
	struct config_op *op = xnew(struct config_op);

	op->arg = arg;
	registry_op_begin(registry, &op->op, config_op_destroy);
	return op;
}

static void config_found(void *arg, const struct kv_pair *pair)
{
	struct config_op *op = arg;

	op->found = true;
	op->mod_revision = pair->mod_revision;
	if (!pair->value)
		err_set(&op->why, -E2BIG, "%s: larger than %d bytes", pair->key, KV_VALUE_MAX);
	else if (memchr(pair->value, '\0', pair->value_len))
		err_set(&op->why, -EINVAL, "%s: has a NUL byte", pair->key);
	else
		op->text = xstrndup(pair->value, pair->value_len);
}

static void config_read(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct config_op *op = arg;
	struct err missing;
	bool answered = r == 0;

	if (r == 0 && !op->found) {
		r = err_set(&missing, -ENOENT,
			    "no network config at %s: write one with 'weft network set' or etcdctl",
			    op->op.registry->config_key);
		e = &missing;
	} else if (r == 0 && !op->text) {
		r = op->why.code;
		e = &op->why;
	}
	registry_op_end(&op->op);
	op->got(op->arg, r, r == 0 ? op->text : NULL, op->mod_revision, answered ? header : NULL, e);
	config_op_destroy(&op->op);
}

void registry_config_get(struct registry *registry, registry_config_fn *fn, void *arg)
{
	struct config_op *op = config_op_new(registry, arg);

	op->got = fn;
	kv_range(registry->kv, registry->config_key, false, config_found, config_read, op);
}

static void config_set_end(struct config_op *op, int r, const struct err *e)
{
	registry_op_end(&op->op);
	op->done(op->arg, r, e);
	config_op_destroy(&op->op);
}

static void config_differs(void *arg, const struct kv_pair *pair)
{
	struct config_op *op = arg;

	// What we wanted to write is there: a lost answer, or somebody wrote the very same.
	if (pair->value && pair->value_len == strlen(op->text) &&
	    memcmp(pair->value, op->text, pair->value_len) == 0)
		op->found = true;
}

static void config_checked(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct config_op *op = arg;
	struct err unknown;

	(void)header;
	(void)e;
	if (r == 0 && op->found) {
		config_set_end(op, 0, NULL);
		return;
	}
	err_set(&unknown, -EINPROGRESS,
		"%s: the store's answer was lost; it may or may not have been written",
		op->op.registry->config_key);
	config_set_end(op, unknown.code, &unknown);
}

static void config_written(void *arg, int r, bool succeeded, const struct kv_header *header,
			   const struct err *e)
{
	struct config_op *op = arg;
	const char *key = op->op.registry->config_key;
	struct err refused;

	(void)header;
	if (r == -EINPROGRESS) {
		kv_range(op->op.registry->kv, key, false, config_differs, config_checked, op);
		return;
	}
	if (r < 0 || succeeded) {
		config_set_end(op, r, e);
		return;
	}
	if (op->mod_revision == 0)
		err_set(&refused, -EEXIST, "%s: exists already", key);
	else
		err_set(&refused, -ESTALE, "%s: was changed by somebody else", key);
	config_set_end(op, refused.code, &refused);
}

void registry_config_set(struct registry *registry, const char *text, int64_t mod_revision,
			 registry_done_fn *fn, void *arg)
{
	struct config_op *op = config_op_new(registry, arg);
	struct kv_compare compare = {
		.key = registry->config_key,
		.kind = mod_revision == 0 ? KV_ABSENT : KV_MOD_REVISION,
		.mod_revision = mod_revision,
	};
	struct kv_write write = { .key = registry->config_key, .value = text, .value_len = strlen(text) };
	struct kv_txn txn = {
		.compares = &compare, .compare_count = 1, .writes = &write, .write_count = 1
	};

	op->done = fn;
	op->text = xstrdup(text);
	op->mod_revision = mod_revision;
	kv_txn(registry->kv, &txn, NULL, config_written, op);
}
