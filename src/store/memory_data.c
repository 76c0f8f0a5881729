// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the keys, sessions and history of a store in memory.
#include "store/memory_data.h"

#include "core/mem.h"

#include "store/kv_internal.h"

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <string.h>

#define HISTORY_MAX 100000

// What was written at one revision; in the tree while it is current, in the history until
// compacted.
struct version {
	unsigned int references;
	struct kv_pair pair;
	bool is_delete;
	char *shown_key; // NULL: the key itself
	char key[];
};

struct session {
	struct memory_data *data;
	struct session *next;
	struct timer *timer;
	int64_t id;
	int64_t ttl_s;
	uint64_t expires_ms;
};

struct memory_data {
	struct loop *loop;
	memory_changed_fn *changed;
	void *arg;
	void *tree; // of struct version, by key
	size_t count;
	int64_t revision;
	uint64_t cluster_id;
	struct session *sessions;
	int64_t next_session;
	struct version **history;
	size_t history_len;
	size_t history_capacity;
	int64_t history_dropped;
	int64_t compacted; // revisions up to this one are gone
};

static struct version *version_new(const struct kv_write *write)
{
	size_t key_len = kv_key_len(write->key, write->key_len);
	size_t len = write->value ? write->value_len : 0;
	struct version *version = xcalloc(1, sizeof(*version) + key_len + 1 + len);

	version->references = 1;
	memcpy(version->key, write->key, key_len);
	if (len > 0)
		memcpy(version->key + key_len + 1, write->value, len);
	version->shown_key = kv_key_shown(version->key, key_len);
	version->pair.key = version->shown_key ? version->shown_key : version->key;
	version->pair.raw_key = version->key;
	version->pair.raw_key_len = key_len;
	version->pair.value = version->key + key_len + 1;
	version->pair.value_len = len;
	version->pair.session = write->session;
	version->is_delete = !write->value;
	return version;
}

static void version_release(void *arg)
{
	struct version *version = arg;

	if (--version->references > 0)
		return;
	free(version->shown_key);
	free(version);
}

static int compare_keys(const void *a, const void *b)
{
	const struct kv_pair *left = &((const struct version *)a)->pair;
	const struct kv_pair *right = &((const struct version *)b)->pair;
	size_t len = left->raw_key_len < right->raw_key_len ? left->raw_key_len : right->raw_key_len;
	int order = memcmp(left->raw_key, right->raw_key, len);

	if (order != 0)
		return order;
	return (left->raw_key_len > right->raw_key_len) - (left->raw_key_len < right->raw_key_len);
}

static struct version *find(const struct memory_data *data, const char *key, size_t key_len)
{
	struct version wanted = {
		.pair = { .raw_key = key, .raw_key_len = kv_key_len(key, key_len) },
	};
	void *node = tfind(&wanted, &data->tree, compare_keys);

	return node ? *(struct version **)node : NULL;
}

static struct session *find_session(const struct memory_data *data, int64_t id)
{
	struct session *session;

	for (session = data->sessions; session; session = session->next)
		if (session->id == id)
			return session;
	return NULL;
}

static void drop_history(struct memory_data *data, size_t count)
{
	size_t i;

	if (count == 0)
		return;
	for (i = 0; i < count; i++)
		version_release(data->history[i]);
	data->history_len -= count;
	data->history_dropped += (int64_t)count;
	memmove(data->history, data->history + count, data->history_len * sizeof(*data->history));
}

struct memory_data *memory_data_new(struct loop *loop, memory_changed_fn *changed, void *arg)
{
	struct memory_data *data = xnew(struct memory_data);

	data->loop = loop;
	data->changed = changed;
	data->arg = arg;
	data->revision = 1;
	data->cluster_id = 1 + random_below(UINT64_MAX - 1);
	data->next_session = 1 + (int64_t)random_below(INT64_MAX / 2);
	return data;
}

static void drop_everything(struct memory_data *data)
{
	tdestroy(data->tree, version_release);
	data->tree = NULL;
	data->count = 0;
	drop_history(data, data->history_len);
	while (data->sessions) {
		struct session *session = data->sessions;

		data->sessions = session->next;
		timer_free(session->timer);
		free(session);
	}
}

struct memory_data *memory_data_free(struct memory_data *data)
{
	if (!data)
		return NULL;
	drop_everything(data);
	free(data->history);
	free(data);
	return NULL;
}

struct kv_header memory_data_header(const struct memory_data *data)
{
	return (struct kv_header){ .revision = data->revision, .cluster_id = data->cluster_id };
}

bool memory_data_get(const struct memory_data *data, const char *key, size_t key_len,
		     struct kv_pair *ret)
{
	const struct version *version = find(data, key, key_len);

	if (!version)
		return false;
	*ret = version->pair;
	return true;
}

size_t memory_data_count(const struct memory_data *data)
{
	return data->count;
}

struct range_walk {
	const char *prefix;
	size_t len;
	kv_pair_fn *each;
	void *arg;
};

static void range_visit(const void *node, VISIT visit, void *arg)
{
	const struct version *version = *(struct version *const *)node;
	const struct range_walk *walk = arg;

	if ((visit == postorder || visit == leaf) &&
	    strncmp(version->key, walk->prefix, walk->len) == 0)
		walk->each(walk->arg, &version->pair);
}

void memory_data_range(const struct memory_data *data, const char *prefix, kv_pair_fn *each, void *arg)
{
	struct range_walk walk = { .prefix = prefix, .len = strlen(prefix), .each = each, .arg = arg };

	twalk_r(data->tree, range_visit, &walk);
}

// ---- writing ----

static void remember(struct memory_data *data, struct version *version)
{
	if (data->history_len == data->history_capacity) {
		data->history_capacity = data->history_capacity ? 2 * data->history_capacity : 64;
		data->history = xrealloc_array(data->history, data->history_capacity,
					       sizeof(*data->history));
	}
	version->references++;
	data->history[data->history_len++] = version;
}

static void apply(struct memory_data *data, const struct kv_write *write)
{
	struct version *old = find(data, write->key, write->key_len);
	struct version *version;

	if (!write->value && !old)
		return;
	version = version_new(write);
	version->pair.mod_revision = data->revision;
	version->pair.create_revision = old ? old->pair.create_revision : data->revision;
	if (old) {
		tdelete(old, &data->tree, compare_keys);
		version_release(old);
		data->count--;
	}
	remember(data, version);
	if (version->is_delete) {
		version_release(version);
		return;
	}
	tsearch(version, &data->tree, compare_keys);
	data->count++;
}

static void limit_history(struct memory_data *data)
{
	size_t excess;

	if (data->history_len <= HISTORY_MAX)
		return;
	excess = data->history_len - HISTORY_MAX / 2;
	data->compacted = data->history[excess - 1]->pair.mod_revision;
	// A revision is compacted as a whole.
	while (excess < data->history_len && data->history[excess]->pair.mod_revision == data->compacted)
		excess++;
	drop_history(data, excess);
}

void memory_data_write(struct memory_data *data, const struct kv_write *writes, size_t count)
{
	size_t before = data->history_len;
	size_t i;

	data->revision++;
	for (i = 0; i < count; i++)
		apply(data, &writes[i]);
	// As in etcd, deleting what is not there makes no revision.
	if (data->history_len == before) {
		data->revision--;
		return;
	}
	limit_history(data);
	data->changed(data->arg);
}

// ---- sessions ----

static void session_expired(void *arg)
{
	struct session *session = arg;

	memory_session_end(session->data, session->id);
}

int64_t memory_session_new(struct memory_data *data, int64_t ttl_s)
{
	struct session *session = xnew(struct session);

	session->data = data;
	session->id = data->next_session++;
	session->ttl_s = ttl_s;
	session->timer = timer_new(data->loop, session_expired, session);
	session->next = data->sessions;
	data->sessions = session;
	return memory_session_renew(data, session->id) < 0 ? 0 : session->id;
}

int64_t memory_session_ttl(const struct memory_data *data, int64_t id)
{
	const struct session *session = find_session(data, id);
	uint64_t now = loop_now_ms();

	if (!session)
		return -1;
	return session->expires_ms > now ? (int64_t)((session->expires_ms - now) / 1000) : 0;
}

int64_t memory_session_renew(struct memory_data *data, int64_t id)
{
	struct session *session = find_session(data, id);

	if (!session)
		return -1;
	session->expires_ms = loop_now_ms() + (uint64_t)session->ttl_s * 1000;
	timer_start(session->timer, (uint64_t)session->ttl_s * 1000);
	return session->ttl_s;
}

struct session_keys {
	int64_t session;
	struct kv_write *writes;
	size_t count;
};

static void collect_session_key(void *arg, const struct kv_pair *pair)
{
	struct session_keys *keys = arg;

	if (pair->session != keys->session)
		return;
	keys->writes[keys->count++] = (struct kv_write){
		.key = xmemdup(pair->raw_key, pair->raw_key_len),
		.key_len = pair->raw_key_len,
	};
}

bool memory_session_end(struct memory_data *data, int64_t id)
{
	struct session_keys keys = { .session = id };
	struct session **link = &data->sessions;
	struct session *session;
	size_t i;

	while (*link && (*link)->id != id)
		link = &(*link)->next;
	session = *link;
	if (!session)
		return false;
	*link = session->next;
	timer_free(session->timer);
	free(session);
	keys.writes = xnew0_array(struct kv_write, data->count);
	memory_data_range(data, "", collect_session_key, &keys);
	memory_data_write(data, keys.writes, keys.count);
	for (i = 0; i < keys.count; i++)
		free((char *)keys.writes[i].key);
	free(keys.writes);
	return true;
}

size_t memory_session_total(const struct memory_data *data)
{
	const struct session *session;
	size_t total = 0;

	for (session = data->sessions; session; session = session->next)
		total++;
	return total;
}

// ---- history ----

void memory_data_compact(struct memory_data *data)
{
	data->compacted = data->revision;
	drop_history(data, data->history_len);
}

void memory_data_wipe(struct memory_data *data)
{
	drop_everything(data);
	data->revision = 1;
	data->compacted = 0;
	data->cluster_id++;
}

int64_t memory_history_find(const struct memory_data *data, int64_t revision)
{
	size_t low = 0;
	size_t high = data->history_len;

	if (revision <= data->compacted)
		return -ENOENT;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (data->history[middle]->pair.mod_revision < revision)
			low = middle + 1;
		else
			high = middle;
	}
	return data->history_dropped + (int64_t)low;
}

bool memory_history_get(const struct memory_data *data, int64_t index, struct memory_event *ret,
			int *ret_r)
{
	const struct version *version;

	if (index < data->history_dropped) {
		*ret_r = -ENOENT;
		return false;
	}
	*ret_r = 0;
	if (index >= data->history_dropped + (int64_t)data->history_len)
		return false;
	version = data->history[index - data->history_dropped];
	ret->pair = version->pair;
	ret->is_delete = version->is_delete;
	return true;
}
