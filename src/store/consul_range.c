// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading keys of Consul.
//
// DOC: as of when an answer is true
//
// The index that Consul puts into an answer is not that of the store. Of a key it is the key's own, of a prefix the highest of its keys and
// of the deletions in it; and as Consul forgets deletions after a quarter of an hour, it can fall. Only of a key that does not exist it is
// the index of all keys, which rises for ever. So that is asked for first, and then the keys: they are as of then or later, and a watch that
// starts behind that revision misses nothing. Some of what it tells may be in the answer already, and a pair may be newer than the header.
//
// What a range of a prefix handed on is remembered for the watch that follows: see consul_watch.c.
#include "store/consul_internal.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

struct range {
	struct consul *consul;
	kv_pair_fn *each;
	kv_range_done_fn *done;
	void *arg;
	char *key;
	bool is_prefix;
	struct kv_header header;
	struct consul_known *known; // of what was handed on
	struct err element_err;	    // of an element that made no sense
};

static void range_free(void *arg)
{
	struct range *range = arg;

	consul_known_free(range->known);
	free(range->key);
	free(range);
}

static int pair_came(struct range *range, struct consul_pair *pair)
{
	const struct consul_known *known = range->known;
	const struct consul_known_key *last = known->count > 0 ? &known->keys[known->count - 1] : NULL;
	bool is_asked_for = range->is_prefix ? consul_known_has_prefix(known, pair->raw_key,
								       pair->pair.raw_key_len)
					     : strcmp(pair->raw_key, range->key) == 0;

	if (!is_asked_for || (last && consul_key_order(last->key, last->len, pair->raw_key,
						       pair->pair.raw_key_len) >= 0))
		return err_set(&range->element_err, -EPROTO,
			       "answer: %s was not asked for, or comes twice", pair->pair.key);
	if (consul_complete_pair(range->consul, pair, &range->element_err) < 0)
		return -EPROTO;
	consul_known_add(range->known, pair->raw_key, pair->pair.raw_key_len, pair->pair.mod_revision);
	range->each(range->arg, &pair->pair);
	return 0;
}

static int range_element(void *arg, const char *text, size_t len)
{
	struct range *range = arg;
	_cleanup_consul_pair_ struct consul_pair pair = { 0 };
	int r = consul_read_pair(text, len, false, &pair, &range->element_err);

	return r < 0 ? r : pair_came(range, &pair);
}

// In place of what was remembered of the same prefix, or of the oldest.
static void remember(struct consul *consul, struct consul_known *known)
{
	size_t i = 0;

	while (i + 1 < KV_WATCH_PREFIXES_MAX && consul->ranges[i] &&
	       strcmp(consul->ranges[i]->prefix, known->prefix) != 0)
		i++;
	consul_known_free(consul->ranges[i]);
	memmove(&consul->ranges[1], &consul->ranges[0], i * sizeof(consul->ranges[0]));
	consul->ranges[0] = known;
}

static void keys_answered(void *arg, const struct consul_answer *answer)
{
	struct range *range = arg;
	struct err e;

	if (answer->r < 0) {
		e = range->element_err.code < 0 ? range->element_err : *answer->err;
		range->done(range->arg, answer->r, NULL, &e);
		return;
	}
	remember(range->consul, TAKE_PTR(range->known));
	range->done(range->arg, 0, &range->header, NULL);
}

static void revision_answered(void *arg, const struct consul_answer *answer)
{
	struct range *range = *(struct range **)arg;
	struct strbuf path = STRBUF_INIT(CONSUL_ELEMENT_MAX);
	struct consul_request request = {
		.method = "GET",
		.idempotent = true,
		.is_long = range->is_prefix,
		.takes_404 = true,
		.index_wanted = true,
		.element = range_element,
		.done = keys_answered,
		.arg = range,
		.free_arg = range_free,
	};

	if (answer->r < 0) {
		range->done(range->arg, answer->r, NULL, answer->err);
		return;
	}
	range->header.revision = answer->index;
	// A key of Consul's has a name, behind the slash that it does not have.
	if (!range->is_prefix && strcmp(range->key, "/") == 0) {
		range->done(range->arg, 0, &range->header, NULL);
		return;
	}
	*(struct range **)arg = NULL;
	consul_add_key_path(&path, range->key, strlen(range->key));
	strbuf_puts(&path, range->is_prefix ? "?consistent&recurse" : "?consistent");
	request.path = strbuf_take(&path);
	consul_call_start(range->consul, &request);
}

static void free_handle(void *arg)
{
	struct range **handle = arg;

	if (*handle)
		range_free(*handle);
	free(handle);
}

static void refused(void *arg, int r, const struct err *e)
{
	const struct range *range = arg;

	range->done(range->arg, r, NULL, e);
}

void consul_range(struct kv *kv, const char *key, bool is_prefix, kv_pair_fn *each,
		  kv_range_done_fn *done, void *arg)
{
	struct consul *consul = (struct consul *)kv;
	struct range *range = xnew(struct range);

	range->consul = consul;
	range->each = each;
	range->done = done;
	range->arg = arg;
	if (key[0] != '/') {
		consul_later(consul, -EINVAL, "consul: a key begins with a slash", refused, range,
			     range_free);
		return;
	}
	range->key = xstrdup(key);
	range->is_prefix = is_prefix;
	range->known = consul_known_new(key);
	consul_ask_revision(consul, key, 0, revision_answered, xmemdup(&range, sizeof(range)),
			    free_handle, NULL);
}
