// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the watch of etcd's v2 API: one long poll after the other, each for one event.
//
// DOC: life of a watch
//
//   POLL --headers, and the member has a leader--> UP
//    ^  ^              +---- body: an event --> POLL from behind it
//    |  |              +---- silent for a period --> POLL from a newer index
//    |  +-- back-off --+-- DOWN (it failed, or no headers for dead_man_ms)
//    |                 +-- LOST (the history was cleared, or the store is another one): the end
//    +-- (start)
//
// All prefixes are watched by one poll, on the directory that they have in common; what else happens
// there is left out. So events come in their order, and there is one index to resume from.
//
// etcd keeps the last 1,000 events of the whole store, so the index must follow what happens elsewhere,
// of which a poll says nothing while it waits. But its headers come at once, with the index as of then:
// an event up to there is in its body, at once too. A poll that stays silent is therefore made anew
// after a while. From which index? A poll that was silent for its whole period had nothing up to the
// index in its headers, unless its body was under way for as long. So an index is resumed from when two
// polls in a row were silent behind it. The period is a third of dead_man_ms, and shorter when the index
// runs so fast that two of them would take up the history.
//
// A directory that is removed with all that is in it tells of itself alone, and we do not know what was in
// it: the watch is LOST, and its owner takes a snapshot. So it is for one that takes a key's place.
//
// A member that has lost the others lets polls wait for ever. Whether it has a leader is asked before the
// watch is called UP, and now and then.
//
// A member that lags behind the one before looks like a store that went back in time; a read by quorum,
// which no member that lags can answer with less than we saw, tells the two apart.
#include "store/etcd2_internal.h"

#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <string.h>

#define PERIOD_MIN_MS 50
#define PERIOD_INDEX_MAX 200 // by how much the index may move on in one, of etcd's 1,000
#define ERROR_MAX (64 * 1024)

static void poll_open(struct etcd2_watch *watch);

// ---- telling the owner ----

static void poll_drop(struct etcd2_watch *watch)
{
	if (watch->poll)
		http_call_cancel(watch->poll);
	watch->poll = NULL;
}

static void stop(void *arg)
{
	struct etcd2_watch *watch = arg;

	poll_drop(watch);
	if (watch->leader)
		http_call_cancel(watch->leader);
	watch->leader = NULL;
	watch->check = kv_http_call_cancel(watch->check);
	watch->silent_index = 0;
	watch->led = false;
}

static void fail(struct etcd2_watch *watch, const struct err *e)
{
	watch_life_fail(&watch->life, watch->endpoint, e);
}

static void come_up(struct etcd2_watch *watch)
{
	const struct kv_header header = { .revision = watch->revision,
					  .cluster_id = watch->cluster_id };

	if (watch->base.up || watch->check || !watch->led || !watch->has_head)
		return;
	endpoint_set_works(&watch->etcd->http.endpoints, watch->endpoint);
	watch_life_up(&watch->life, &header);
}

// ---- has the store gone back in time? ----

static void check_answered(void *arg, const struct etcd2_answer *answer)
{
	struct etcd2_watch *watch = *(struct etcd2_watch **)arg;
	const struct etcd2_head *head = &answer->head;

	watch->check = NULL;
	if (answer->r < 0) {
		watch_life_down(&watch->life, answer->err);
		return;
	}
	if (head->kv.cluster_id != watch->cluster_id)
		watch_life_lose(&watch->life, true, "the store is another one: its cluster id changed");
	else if (head->kv.revision < watch->check_revision ||
		 // It is not told with an error.
		 (head->raft_term != 0 && head->raft_term < watch->check_term))
		watch_life_lose(&watch->life, true,
				"the store went back in time: was it restored or emptied?");
	else
		come_up(watch);
}

static void check_start(struct etcd2_watch *watch)
{
	struct etcd2_request request = {
		.method = "GET",
		.key = xstrdup(watch->directory),
		.query = xstrdup("quorum=true"),
		.idempotent = true,
		.is_long = true,
		.done = check_answered,
		.arg = xmemdup(&watch, sizeof(struct etcd2_watch *)),
	};

	watch->check_revision = watch->revision;
	watch->check_term = watch->raft_term;
	watch->check = etcd2_call_start(watch->etcd, &request);
}

// ---- has the member a leader? ----

// A member without a leader tells of nothing and lets polls wait for ever. It knows, and says so when asked.
static void leader_told(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct etcd2_watch *watch = arg;
	struct err told;

	watch->leader = NULL;
	if (r < 0) {
		fail(watch, e);
	} else if (response->status == 503) {
		err_set(&told, -EAGAIN, "the member has no leader");
		fail(watch, &told);
	} else {
		watch->led = true;
		come_up(watch);
	}
}

static void leader_ask(struct etcd2_watch *watch)
{
	struct etcd2 *etcd = watch->etcd;
	const char *headers[] = { etcd->authorization, NULL };
	_cleanup_free_ char *url =
		xasprintf("%s/v2/members/leader", etcd->http.endpoints.items[watch->endpoint].url);
	struct http_request request = {
		.method = "GET",
		.url = url,
		.headers = headers,
		.response_max = ERROR_MAX,
		.total_timeout_ms = etcd->http.dead_man_ms,
		.done = leader_told,
		.arg = watch,
	};

	watch->leader = kv_http_start(&etcd->http, &request);
	watch->leader_ms = loop_now_ms();
}

// ---- headers ----

// How long the next poll may be silent, by how far the index came since the one before.
static void adapt_period(struct etcd2_watch *watch, const struct etcd2_head *head)
{
	uint64_t now = loop_now_ms();
	uint64_t longest = watch->etcd->http.dead_man_ms / 3 + 1;
	int64_t moved = head->kv.revision - watch->head.kv.revision;

	watch->period_ms = longest;
	if (watch->head_ms != 0 && moved > 0)
		watch->period_ms = (now - watch->head_ms) * PERIOD_INDEX_MAX / (uint64_t)moved;
	if (watch->period_ms < PERIOD_MIN_MS)
		watch->period_ms = PERIOD_MIN_MS;
	if (watch->period_ms > longest)
		watch->period_ms = longest;
	watch->head_ms = now;
}

static void use_head(struct etcd2_watch *watch, const struct etcd2_head *head)
{
	bool is_back = head->kv.revision < watch->revision || head->raft_term < watch->raft_term;

	if (watch->cluster_id != 0 && head->kv.cluster_id != watch->cluster_id) {
		watch_life_lose(&watch->life, true, "the store is another one: its cluster id changed");
		return;
	}
	watch->cluster_id = head->kv.cluster_id;
	adapt_period(watch, head);
	watch->head = *head;
	watch->has_head = true;
	timer_start(watch->life.timer, watch->period_ms);
	if (is_back && !watch->check)
		check_start(watch);
	if (watch->revision < head->kv.revision)
		watch->revision = head->kv.revision;
	if (watch->raft_term < head->raft_term)
		watch->raft_term = head->raft_term;
	if (!watch->led && !watch->leader)
		leader_ask(watch);
	else
		come_up(watch);
}

static int got_head(void *arg, const struct http_head *http)
{
	struct etcd2_watch *watch = arg;
	struct etcd2_head head;
	int status = http_head_status(http);
	int r;

	if (status < 200 || status > 299)
		return 0;
	r = etcd2_read_head(http, &head, &watch->err);
	if (r == 0 && head.kv.cluster_id == 0)
		r = err_set(&watch->err, -EPROTO,
			    "no header X-Etcd-Cluster-Id: is this etcd's v2 API?");
	if (r < 0)
		return r;
	watch->alive_ms = loop_now_ms();
	use_head(watch, &head);
	return 0;
}

// ---- the event ----

static int got_node(void *arg, const struct etcd2_node *node, const struct etcd2_reply *so_far)
{
	struct etcd2_watch *watch = arg;

	(void)so_far;
	if (node->is_previous)
		return 0;
	watch->has_event = true;
	watch->node = *node;
	strbuf_reset(&watch->key);
	strbuf_reset(&watch->value);
	(void)strbuf_add(&watch->key, node->key, node->key_len);
	if (node->value)
		(void)strbuf_add(&watch->value, node->value, node->value_len);
	return 0;
}

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static bool is_asked_for(const struct etcd2_watch *watch, const char *key)
{
	size_t i;

	for (i = 0; i < watch->prefix_count; i++)
		if (starts_with(key, watch->prefixes[i]))
			return true;
	return false;
}

// Can there be keys that were asked for below this directory?
static bool is_above(const struct etcd2_watch *watch, const char *directory)
{
	_cleanup_free_ char *below = xasprintf("%s/", directory);
	size_t i;

	for (i = 0; i < watch->prefix_count; i++)
		if (starts_with(below, watch->prefixes[i]) || starts_with(watch->prefixes[i], below))
			return true;
	return false;
}

static int read_action(const char *action, enum kv_watch_kind *ret, struct err *e)
{
	static const struct {
		const char *name;
		enum kv_watch_kind kind;
	} actions[] = {
		{ "set", KV_WATCH_PUT },
		{ "create", KV_WATCH_PUT },
		{ "update", KV_WATCH_PUT },
		{ "compareAndSwap", KV_WATCH_PUT },
		{ "delete", KV_WATCH_DELETE },
		{ "expire", KV_WATCH_DELETE },
		{ "compareAndDelete", KV_WATCH_DELETE },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(actions); i++)
		if (strcmp(action, actions[i].name) == 0) {
			*ret = actions[i].kind;
			return 0;
		}
	return err_set(e, -EPROTO, "an event of unknown action");
}

// False: the owner freed the watch.
static bool tell_event(struct etcd2_watch *watch, enum kv_watch_kind kind)
{
	struct kv_watch_event event = {
		.kind = kind,
		.header = { .revision = watch->node.modified_index, .cluster_id = watch->cluster_id },
	};
	_cleanup_free_ char *shown = NULL;

	if (kind == KV_WATCH_DELETE) {
		etcd2_session_gone(watch->etcd, watch->node.key, watch->node.created_index);
		watch->node.has_ttl = false;
		watch->node.value = NULL;
	}
	etcd2_pair_of(watch->etcd, &watch->node, &event.pair, &shown);
	if (kind == KV_WATCH_DELETE)
		event.pair.value = NULL;
	return kv_watch_emit(&watch->base, &event);
}

// An index has one change.
static void tell_progress(struct etcd2_watch *watch)
{
	const struct kv_header header = { .revision = watch->next - 1,
					  .cluster_id = watch->cluster_id };

	kv_watch_progress(&watch->base, &header);
}

// 0; -EPROTO; -ECANCELED: the watch is no more what it was.
static int use_event(struct etcd2_watch *watch, const struct etcd2_reply *reply, struct err *e)
{
	enum kv_watch_kind kind = KV_WATCH_PUT;
	int r = read_action(reply->action, &kind, e);

	if (r < 0)
		return r;
	if (!watch->has_event || watch->node.modified_index < watch->next)
		return err_set(e, -EPROTO, "an event that was not asked for");
	watch->node.key = strbuf_text(&watch->key);
	if (watch->node.value)
		watch->node.value = strbuf_text(&watch->value);
	watch->next = watch->node.modified_index + 1;
	watch->silent_index = 0;
	if (watch->revision < watch->node.modified_index)
		watch->revision = watch->node.modified_index;
	if (watch->node.is_dir) {
		if ((kind == KV_WATCH_PUT && !reply->has_previous) || !is_above(watch, watch->node.key))
			return 0;
		watch_life_lose(&watch->life, false, "a directory with keys was removed as a whole");
		return -ECANCELED;
	}
	if (!is_asked_for(watch, watch->node.key) || tell_event(watch, kind))
		tell_progress(watch);
	return 0;
}

// ---- the poll ----

static int got_chunk(void *arg, const char *data, size_t len)
{
	struct etcd2_watch *watch = arg;

	watch->alive_ms = loop_now_ms();
	return etcd2_reader_feed(watch->reader, data, len, &watch->err);
}

static void poll_refused(struct etcd2_watch *watch, const struct http_response *response)
{
	struct etcd2_reply reply = { 0 };
	struct err e;

	if (etcd2_judge(response->status, response->body, response->len, &reply, &e) != ETCD2_REFUSED) {
		fail(watch, &e);
	} else if (reply.error_code == ETCD2_INDEX_CLEARED) {
		watch_life_lose(&watch->life, false,
				"the store's history does not reach back to what we have seen");
	} else {
		(void)err_wrap(&e, "%s", watch->etcd->http.endpoints.items[watch->endpoint].url);
		watch_life_down(&watch->life, &e);
	}
}

static void poll_answered(struct etcd2_watch *watch)
{
	struct etcd2_reply reply;
	struct err e;
	int r = etcd2_reader_end(watch->reader, &reply, &e);

	// The server's time is over: as if it had been silent.
	if (r == -ENODATA) {
		if (loop_now_ms() - watch->head_ms < PERIOD_MIN_MS)
			timer_start(watch->life.timer, PERIOD_MIN_MS);
		else
			poll_open(watch);
		return;
	}
	kv_watch_hold(&watch->base);
	if (r == 0)
		r = use_event(watch, &reply, &e);
	if (!kv_watch_release(&watch->base) || r == -ECANCELED)
		return;
	if (r < 0)
		fail(watch, &e);
	else if (!watch->check)
		poll_open(watch);
	else
		timer_start(watch->life.timer, PERIOD_MIN_MS);
}

static void poll_ended(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct etcd2_watch *watch = arg;

	watch->poll = NULL;
	if (r < 0) {
		fail(watch, watch->err.code < 0 ? &watch->err : e);
	} else if (response->status < 200 || response->status > 299) {
		poll_refused(watch, response);
	} else {
		poll_answered(watch);
	}
}

static void poll_open(struct etcd2_watch *watch)
{
	struct etcd2 *etcd = watch->etcd;
	const char *headers[] = { etcd->authorization, NULL };
	_cleanup_free_ char *query =
		xasprintf("wait=true&recursive=true&waitIndex=%lld", (long long)watch->next);
	_cleanup_free_ char *url = NULL;
	struct http_request request = {
		.method = "GET",
		.headers = headers,
		.response_max = ERROR_MAX,
		.head = got_head,
		.chunk = got_chunk,
		.done = poll_ended,
		.arg = watch,
	};

	watch->endpoint = endpoint_set_pick(&etcd->http.endpoints, 0);
	watch->has_head = false;
	watch->has_event = false;
	watch->err.code = 0;
	etcd2_reader_free(watch->reader);
	watch->reader = etcd2_reader_new(got_node, watch);
	watch->alive_ms = loop_now_ms();
	url = etcd2_url(etcd, watch->endpoint, watch->directory, query);
	request.url = url;
	watch->poll = kv_http_start(&etcd->http, &request);
	timer_start(watch->life.timer, etcd->http.dead_man_ms);
}

static void follow(struct etcd2_watch *watch)
{
	int64_t silent_index = watch->silent_index;

	if (!watch->leader && loop_now_ms() - watch->leader_ms > watch->etcd->http.dead_man_ms / 3)
		leader_ask(watch);
	// A member that lags cannot speak for what is beyond it.
	if (silent_index > watch->head.kv.revision)
		silent_index = watch->head.kv.revision;
	if (watch->next <= silent_index)
		watch->next = silent_index + 1;
	watch->silent_index = watch->head.kv.revision;
	poll_drop(watch);
	poll_open(watch);
}

static void timer_due(void *arg)
{
	struct etcd2_watch *watch = arg;
	struct err e;

	if (!watch->poll) {
		poll_open(watch);
	} else if (watch->has_head && !watch->has_event && watch->alive_ms <= watch->head_ms &&
		   !watch->check) {
		follow(watch);
	} else if (loop_now_ms() - watch->alive_ms < watch->etcd->http.dead_man_ms) {
		timer_start(watch->life.timer, watch->period_ms);
	} else {
		err_set(&e, -ETIMEDOUT, "no sign of life for %u ms", watch->etcd->http.dead_man_ms);
		fail(watch, &e);
	}
}

// ---- start and end ----

// The directory that all prefixes have in common.
static char *common_directory(const char *const *prefixes)
{
	char *directory = etcd2_directory_of(prefixes[0]);
	size_t i;

	for (i = 1; prefixes[i]; i++)
		while (strcmp(directory, "/") != 0) {
			_cleanup_free_ char *below = xasprintf("%s/", directory);
			char *above;

			if (starts_with(prefixes[i], below))
				break;
			above = etcd2_directory_of(directory);
			free(directory);
			directory = above;
		}
	return directory;
}

void etcd2_watch_start(struct kv_watch *base, const char *const *prefixes, int64_t from,
		       uint64_t cluster_id)
{
	struct etcd2_watch *watch = (struct etcd2_watch *)base;

	watch->etcd = (struct etcd2 *)base->kv;
	for (; prefixes[watch->prefix_count]; watch->prefix_count++)
		watch->prefixes[watch->prefix_count] = xstrdup(prefixes[watch->prefix_count]);
	watch->directory = common_directory(prefixes);
	// 0 would be: from now on.
	watch->next = from > 0 ? from : 1;
	watch->cluster_id = cluster_id;
	watch->revision = from - 1;
	watch->key = STRBUF_INIT(ETCD2_KEY_MAX);
	watch->value = STRBUF_INIT(KV_VALUE_MAX);
	watch->period_ms = watch->etcd->http.dead_man_ms / 3 + 1;
	watch_life_begin(&watch->life, base, stop, timer_due, watch);
	poll_open(watch);
}

void etcd2_watch_end(struct kv_watch *base)
{
	struct etcd2_watch *watch = (struct etcd2_watch *)base;
	size_t i;

	watch_life_end(&watch->life);
	watch->reader = etcd2_reader_free(watch->reader);
	for (i = 0; i < watch->prefix_count; i++)
		free(watch->prefixes[i]);
	watch->prefix_count = 0;
	free(watch->directory);
	strbuf_free(&watch->key);
	strbuf_free(&watch->value);
}
