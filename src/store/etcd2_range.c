// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading keys of etcd's v2 API.
//
// DOC: prefixes and order
//
// v2 knows directories, not prefixes: the directory in which all keys of a prefix must be is read with
// all that is below it, and what does not begin with the prefix is left out.
//
// It sorts the names within each directory, which is not the order of keys: "/a/x" comes before
// "/a-b" since "/a" does, while '-' is less than '/'. As long as all keys are in one directory, as
// leases are, each is handed on when it comes. From the first one that is in a directory further down
// they are held back, and handed on in order at the end.
#include "store/etcd2_internal.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define HELD_BYTES_MAX ((size_t)256 * 1024 * 1024)

struct held {
	struct kv_pair pair;
	char *shown;
};

struct range {
	struct etcd2 *etcd;
	kv_pair_fn *each;
	kv_range_done_fn *done;
	void *arg;
	char *key;
	size_t directory_len; // of the directory's path with a slash behind it
	bool is_prefix;
	bool holding;
	struct held *held;
	size_t held_count;
	size_t held_room;
	size_t held_bytes;
	struct err err; // of an element that cannot be used
};

static void range_free(void *arg)
{
	struct range *range = arg;
	size_t i;

	for (i = 0; i < range->held_count; i++) {
		free((void *)range->held[i].pair.raw_key);
		free((void *)range->held[i].pair.value);
		free(range->held[i].shown);
	}
	free(range->held);
	free(range->key);
	free(range);
}

static bool is_asked_for(const struct range *range, const struct etcd2_node *node)
{
	size_t len = strlen(range->key);

	if (node->is_dir || node->is_previous || node->key_len == 0)
		return false;
	return range->is_prefix ? node->key_len >= len && memcmp(node->key, range->key, len) == 0
				: node->key_len == len && memcmp(node->key, range->key, len) == 0;
}

static int hold(struct range *range, const struct kv_pair *pair, char *shown)
{
	struct held *held;

	range->held_bytes += sizeof(*held) + pair->raw_key_len + (pair->value ? pair->value_len : 0);
	if (range->held_bytes > HELD_BYTES_MAX) {
		free(shown);
		return err_set(&range->err, -E2BIG, "more than %zu bytes of keys below %s",
			       HELD_BYTES_MAX, range->key);
	}
	if (range->held_count == range->held_room) {
		range->held_room = range->held_room ? 2 * range->held_room : 64;
		range->held = xrealloc_array(range->held, range->held_room, sizeof(*range->held));
	}
	held = &range->held[range->held_count++];
	held->pair = *pair;
	held->shown = shown;
	held->pair.raw_key = xstrndup(pair->raw_key, pair->raw_key_len);
	memcpy((char *)held->pair.raw_key, pair->raw_key, pair->raw_key_len);
	held->pair.key = shown ? shown : held->pair.raw_key;
	held->pair.value = pair->value ? xmemdup(pair->value, pair->value_len + 1) : NULL;
	return 0;
}

static int got_node(void *arg, const struct etcd2_node *node, const struct etcd2_reply *so_far)
{
	struct range *range = arg;
	struct kv_pair pair;
	char *shown;

	(void)so_far;
	if (!is_asked_for(range, node))
		return 0;
	etcd2_pair_of(range->etcd, node, &pair, &shown);
	if (node->key_len > range->directory_len &&
	    memchr(node->key + range->directory_len, '/', node->key_len - range->directory_len))
		range->holding = true;
	if (range->is_prefix && range->holding)
		return hold(range, &pair, shown);
	range->each(range->arg, &pair);
	free(shown);
	return 0;
}

static int compare_held(const void *a, const void *b)
{
	const struct kv_pair *left = &((const struct held *)a)->pair;
	const struct kv_pair *right = &((const struct held *)b)->pair;
	size_t len = left->raw_key_len < right->raw_key_len ? left->raw_key_len : right->raw_key_len;
	int order = memcmp(left->raw_key, right->raw_key, len);

	if (order != 0)
		return order;
	return left->raw_key_len < right->raw_key_len ? -1 : left->raw_key_len > right->raw_key_len;
}

static void answered(void *arg, const struct etcd2_answer *answer)
{
	struct range *range = arg;
	struct err e;
	size_t i;

	if (answer->r < 0) {
		e = range->err.code < 0 ? range->err : *answer->err;
		range->done(range->arg, e.code, NULL, &e);
		return;
	}
	if (range->held_count > 0)
		qsort(range->held, range->held_count, sizeof(*range->held), compare_held);
	for (i = 0; i < range->held_count; i++)
		range->each(range->arg, &range->held[i].pair);
	range->done(range->arg, 0, &answer->head.kv, NULL);
}

static int check_prefix(const char *prefix, struct err *e)
{
	_cleanup_free_ char *directory = etcd2_directory_of(prefix);

	if (prefix[0] != '/' && prefix[0] != '\0')
		return err_set(e, -EINVAL, "etcd v2 has no keys that do not begin with \"/\": %s",
			       prefix);
	return strcmp(directory, "/") == 0 ? 0 : etcd2_key_check(directory, strlen(directory), e);
}

void etcd2_range(struct etcd2 *etcd, const char *key, bool is_prefix, kv_pair_fn *each,
		 kv_range_done_fn *done, void *arg)
{
	struct range *range = xnew(struct range);
	struct etcd2_request request = {
		.method = "GET",
		.query = xstrdup(is_prefix ? "quorum=true&recursive=true&sorted=true" : "quorum=true"),
		.key = is_prefix ? etcd2_directory_of(key) : xstrdup(key),
		.idempotent = true,
		.is_long = is_prefix,
		.node = got_node,
		.done = answered,
		.arg = range,
		.free_arg = range_free,
	};
	struct err e;
	int r = is_prefix ? check_prefix(key, &e) : etcd2_key_check(key, strlen(key), &e);

	range->etcd = etcd;
	range->each = each;
	range->done = done;
	range->arg = arg;
	range->key = xstrdup(key);
	range->is_prefix = is_prefix;
	range->directory_len = strlen(request.key) > 1 ? strlen(request.key) + 1 : 1;
	if (r < 0)
		etcd2_call_end_soon(etcd, &request, r, &e);
	else
		etcd2_call_start(etcd, &request);
}
