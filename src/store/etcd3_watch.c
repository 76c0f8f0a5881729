// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the watch stream: one request that stays open, with a watch of etcd's for each prefix.
//
// DOC: life of a watch
//
//   WAIT for a token -> CREATE the etcd watches -> UP (when all are created) -> events ...
//        ^                    |                          |
//        +--- back-off <--- DOWN (the stream broke) <----+
//                           LOST (history was compacted, or the store is another one): the end
//
// Nothing is lost: a stream resumes behind the last complete message, for each prefix by itself.
// The revision in the header of "created" is never resumed from, since older events may still
// follow. Nothing comes twice: of a message that broke off, the events that were handed on are
// counted (`seen`), and skipped when etcd sends that revision again.
//
// A member that hangs says nothing at all, so signs of life are asked for (progress requests);
// after dead_man_ms without one the stream is dropped and another member asked. A member that lags
// behind the one before looks like a store that went back in time; a linearizable read, which no
// member that lags can answer with less than we saw, tells the two apart.
#include "store/etcd3_internal.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <string.h>

static void stream_open(struct etcd3_watch *watch);

// ---- telling the owner ----

static void stream_drop(void *arg)
{
	struct etcd3_watch *watch = arg;

	if (watch->stream)
		http_call_cancel(watch->stream);
	watch->stream = NULL;
	watch->check = kv_http_call_cancel(watch->check);
	// A stream that is being read is let go of when it has been read.
	if (!watch->parsing)
		watch->lines = etcd3_lines_free(watch->lines);
}

static void fail(struct etcd3_watch *watch, const struct err *e)
{
	watch_life_fail(&watch->life, watch->endpoint, e);
}

static struct kv_header header_at(const struct etcd3_watch *watch, int64_t revision)
{
	return (struct kv_header){ .revision = revision, .cluster_id = watch->cluster_id };
}

static void come_up(struct etcd3_watch *watch)
{
	const struct kv_header header = header_at(watch, watch->revision);

	if (watch->base.up || watch->check || watch->created < watch->prefix_count)
		return;
	endpoint_set_works(&watch->etcd->http.endpoints, watch->endpoint);
	watch_life_up(&watch->life, &header);
}

// ---- has the store gone back in time? ----

static void check_answered(void *arg, const struct etcd3_answer *answer)
{
	struct etcd3_watch *watch = *(struct etcd3_watch **)arg;
	struct etcd3_header header;
	struct err e;

	watch->check = NULL;
	if (answer->r < 0) {
		watch_life_down(&watch->life, answer->err);
		return;
	}
	if (etcd3_read_header(answer->json, &header, &e) < 0) {
		watch_life_down(&watch->life, &e);
		return;
	}
	if (header.kv.cluster_id != watch->cluster_id)
		watch_life_lose(&watch->life, true, "the store is another one: its cluster id changed");
	else if (header.kv.revision < watch->check_revision || header.raft_term < watch->check_term)
		watch_life_lose(&watch->life, true,
				"the store went back in time: was it restored or emptied?");
	else
		come_up(watch);
}

static void check_start(struct etcd3_watch *watch)
{
	struct etcd3_request request = {
		.path = "/kv/range",
		.idempotent = true,
		.done = check_answered,
	};

	if (watch->check)
		return;
	watch->check_revision = watch->revision;
	watch->check_term = watch->raft_term;
	request.body = etcd3_probe_body(watch->progress[0].prefix);
	request.arg = xmemdup(&watch, sizeof(watch));
	watch->check = etcd3_call_start(watch->etcd, &request);
}

// ---- messages ----

static struct etcd3_progress *find_progress(struct etcd3_watch *watch, const char *key)
{
	size_t i;

	for (i = 0; i < watch->prefix_count; i++)
		if (strncmp(key, watch->progress[i].prefix, strlen(watch->progress[i].prefix)) == 0)
			return &watch->progress[i];
	return NULL;
}

// Is it new? Counts it then.
static bool count_event(struct etcd3_progress *progress, int64_t revision)
{
	if (revision < progress->next)
		return false;
	if (revision == progress->next && progress->to_skip > 0) {
		progress->to_skip--;
		return false;
	}
	if (revision > progress->next) {
		progress->next = revision;
		progress->seen = 0;
		progress->to_skip = 0;
	}
	progress->seen++;
	return true;
}

// -EPROTO, or -ECANCELED: the owner freed the watch.
static int got_event(void *arg, const char *text, size_t len)
{
	struct etcd3_watch *watch = arg;
	_cleanup_etcd3_pair_ struct etcd3_pair pair = { 0 };
	struct kv_watch_event event = { .kind = KV_WATCH_PUT };
	struct etcd3_progress *progress;
	bool is_delete;
	int r = etcd3_read_event(text, len, &is_delete, &pair, &watch->err);

	if (r < 0)
		return r;
	progress = find_progress(watch, pair.raw_key);
	if (!progress) {
		log_rl(LOG_LEVEL_WARN, "etcd: ignore an event of a key that was not asked for: %s",
		       pair.pair.key);
		return 0;
	}
	if (!count_event(progress, pair.pair.mod_revision))
		return 0;
	if (watch->revision < pair.pair.mod_revision)
		watch->revision = pair.pair.mod_revision;
	event.pair = pair.pair;
	if (is_delete) {
		event.kind = KV_WATCH_DELETE;
		event.pair.value = NULL;
	}
	event.header = header_at(watch, pair.pair.mod_revision);
	return kv_watch_emit(&watch->base, &event) ? 0 : -ECANCELED;
}

static void tell_progress(struct etcd3_watch *watch)
{
	struct kv_header header;
	int64_t complete = INT64_MAX;

	for (size_t i = 0; i < watch->prefix_count; i++)
		if (watch->progress[i].next - 1 < complete)
			complete = watch->progress[i].next - 1;
	if (complete <= watch->complete)
		return;
	watch->complete = complete;
	header = header_at(watch, complete);
	kv_watch_progress(&watch->base, &header);
}

// The whole of a message was handed on, so that its last revision is complete. One without events
// tells how far the store is.
static void message_complete(struct etcd3_watch *watch, int64_t watch_id, bool has_events,
			     int64_t revision)
{
	size_t i;

	for (i = 0; i < watch->prefix_count; i++) {
		struct etcd3_progress *progress = &watch->progress[i];

		if (progress->watch_id != watch_id || progress->to_skip > 0)
			continue;
		if (progress->seen > 0)
			progress->next++;
		else if (!has_events && progress->next <= revision)
			progress->next = revision + 1;
		progress->seen = 0;
	}
	tell_progress(watch);
}

static void cancelled(struct etcd3_watch *watch, const json_t *message)
{
	const char *reason = etcd3_read_text(message, "cancel_reason");
	int64_t compacted = 0;
	struct err e;

	if (etcd3_read_int(message, "compact_revision", &compacted, NULL) == 0 && compacted > 0) {
		watch_life_lose(&watch->life, false,
				"the store's history was compacted beyond what we have seen");
		return;
	}
	if (strstr(reason, "ermission") || strstr(reason, "auth") || strstr(reason, "user name")) {
		(void)etcd3_token_refused(watch->etcd, watch->token_number);
		err_set(&e, -EACCES, "watch refused: %s", reason);
	} else {
		err_set(&e, -EPROTO, "watch ended by the store: %s",
			reason[0] ? reason : "no reason given");
	}
	watch_life_down(&watch->life, &e);
}

// False: the message is not to be used. is_first: of a member that may not be the one before.
static bool check_header(struct etcd3_watch *watch, const struct etcd3_header *header, bool is_first)
{
	if (watch->cluster_id != 0 && header->kv.cluster_id != watch->cluster_id) {
		watch_life_lose(&watch->life, true, "the store is another one: its cluster id changed");
		return false;
	}
	watch->cluster_id = header->kv.cluster_id;
	if (is_first && (header->kv.revision < watch->revision || header->raft_term < watch->raft_term))
		check_start(watch);
	if (watch->revision < header->kv.revision)
		watch->revision = header->kv.revision;
	if (watch->raft_term < header->raft_term)
		watch->raft_term = header->raft_term;
	return true;
}

static void stream_error(struct etcd3_watch *watch, int status, const char *text, size_t len)
{
	struct etcd3 *etcd = watch->etcd;
	struct err e;

	switch (etcd3_read_error(status, text, len, &e)) {
	case ETCD3_TOKEN_REFUSED:
		(void)etcd3_token_refused(etcd, watch->token_number);
		break;
	case ETCD3_NO_SUCH_PATH:
		if (watch->other_api)
			endpoint_set_failed(&etcd->http.endpoints, watch->endpoint);
		watch->other_api = !watch->other_api;
		break;
	case ETCD3_NOT_DONE:
	case ETCD3_UNKNOWN:
		endpoint_set_failed(&etcd->http.endpoints, watch->endpoint);
		break;
	case ETCD3_REFUSED:
		break;
	}
	(void)err_wrap(&e, "%s", etcd->http.endpoints.items[watch->endpoint].url);
	watch_life_down(&watch->life, &e);
}

static void use_message(struct etcd3_watch *watch, const json_t *message,
			const struct etcd3_header *header, int64_t watch_id)
{
	bool created = etcd3_read_bool(message, "created");

	if (etcd3_read_bool(message, "canceled")) {
		cancelled(watch, message);
		return;
	}
	if (!check_header(watch, header, created))
		return;
	if (created) {
		// They are answered in the order in which they were asked for.
		if (watch->created < watch->prefix_count)
			watch->progress[watch->created++].watch_id = watch_id;
		watch->etcd->http.endpoints.items[watch->endpoint].older_api = watch->older_api;
		watch->other_api = false;
		come_up(watch);
		return;
	}
	if (etcd3_read_bool(message, "fragment"))
		return;
	// The answer to a progress request has the id -1, and in etcd before 3.4.25 may be ahead of
	// events still to come: a sign of life, no more.
	if (watch_id >= 0)
		message_complete(watch, watch_id, json_object_get(message, "events") != NULL,
				 header->kv.revision);
}

static int got_message(void *arg, bool is_error, const char *text, size_t len)
{
	struct etcd3_watch *watch = arg;
	_cleanup_json_ json_t *message = NULL;
	struct etcd3_header header;
	int64_t watch_id = 0;
	int r;

	if (is_error) {
		stream_error(watch, 200, text, len);
		return -ECANCELED;
	}
	if (json_read(text, len, ETCD3_ANSWER_MAX, &message, NULL) < 0)
		return err_set(&watch->err, -EPROTO, "not a message of etcd's gateway");
	r = etcd3_read_header(message, &header, &watch->err);
	if (r == 0)
		r = etcd3_read_int(message, "watch_id", &watch_id, &watch->err);
	if (r < 0)
		return r;
	use_message(watch, message, &header, watch_id);
	// It went down, was lost, or was freed: what follows in the stream is not ours any more.
	return watch->stream ? 0 : -ECANCELED;
}

// ---- the stream ----

static int got_chunk(void *arg, const char *data, size_t len)
{
	struct etcd3_watch *watch = arg;
	struct etcd3_lines *lines = watch->lines;
	struct err e;
	int r;

	watch->alive_ms = loop_now_ms();
	watch->err.code = 0;
	kv_watch_hold(&watch->base);
	watch->parsing = true;
	r = etcd3_lines_feed(lines, data, len, &e);
	watch->parsing = false;
	if (r != 0) {
		etcd3_lines_free(lines);
		watch->lines = NULL;
	}
	if (r != 0 && r != -ECANCELED) {
		if (watch->err.code == 0)
			watch->err = e;
		fail(watch, &watch->err);
	}
	kv_watch_release(&watch->base);
	return r;
}

static void stream_ended(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct etcd3_watch *watch = arg;
	struct err told;

	watch->stream = NULL;
	if (r == 0 && response->status != 200) {
		stream_error(watch, response->status, response->body, response->len);
		return;
	}
	if (r < 0)
		told = *e;
	else
		err_set(&told, -EPIPE, "the store ended the watch");
	fail(watch, &told);
}

static char *create_requests(struct etcd3_watch *watch)
{
	struct strbuf all = STRBUF_INIT(1024 * 1024);
	size_t i;

	watch->created = 0;
	for (i = 0; i < watch->prefix_count; i++) {
		struct etcd3_progress *progress = &watch->progress[i];
		_cleanup_free_ char *body = etcd3_watch_body(progress->prefix, progress->next);

		progress->watch_id = -1;
		progress->to_skip = progress->seen;
		strbuf_puts(&all, body);
	}
	return strbuf_take(&all);
}

static void token_came(void *arg, int r, const struct err *e)
{
	struct etcd3_watch *watch = arg;

	if (r < 0)
		watch_life_down(&watch->life, e);
	else
		stream_open(watch);
}

static void stream_open(struct etcd3_watch *watch)
{
	struct etcd3 *etcd = watch->etcd;
	_cleanup_free_ char *url = NULL;
	_cleanup_free_ char *body = NULL;
	_cleanup_secret_ char *token_header = NULL;
	const char *headers[ETCD3_HEADERS_MAX];
	size_t endpoint;
	struct http_request request = {
		.method = "POST",
		.headers = headers,
		.upload_stays_open = true,
		.response_max = ETCD3_ANSWER_MAX,
		.chunk = got_chunk,
		.done = stream_ended,
		.arg = watch,
	};

	if (!etcd3_token_ready(etcd)) {
		watch->waiter.ready = token_came;
		watch->waiter.arg = watch;
		etcd3_token_wait(etcd, &watch->waiter);
		return;
	}
	endpoint = endpoint_set_pick(&etcd->http.endpoints, 0);
	if (endpoint != watch->endpoint)
		watch->other_api = false;
	watch->endpoint = endpoint;
	watch->older_api = etcd->http.endpoints.items[endpoint].older_api != watch->other_api;
	watch->token_number = etcd->token_number;
	watch->lines = etcd3_lines_new(got_event, got_message, watch);
	watch->alive_ms = loop_now_ms();
	url = etcd3_url(etcd, watch->endpoint, watch->older_api, "/watch");
	body = create_requests(watch);
	etcd3_headers(etcd, true, &token_header, headers);
	request.url = url;
	request.body = body;
	request.body_len = strlen(body);
	watch->stream = kv_http_start(&etcd->http, &request);
	timer_start(watch->life.timer, etcd->http.dead_man_ms / 3 + 1);
}

static void timer_due(void *arg)
{
	struct etcd3_watch *watch = arg;
	uint64_t silent_ms = loop_now_ms() - watch->alive_ms;
	struct err e;

	if (!watch->stream) {
		stream_open(watch);
		return;
	}
	if (silent_ms > watch->etcd->http.dead_man_ms) {
		err_set(&e, -ETIMEDOUT, "no sign of life for %u ms", watch->etcd->http.dead_man_ms);
		fail(watch, &e);
		return;
	}
	http_call_send(watch->stream, ETCD3_PROGRESS_REQUEST, strlen(ETCD3_PROGRESS_REQUEST));
	timer_start(watch->life.timer, watch->etcd->http.dead_man_ms / 3 + 1);
}

// ---- start and end ----

void etcd3_watch_start(struct kv_watch *base, const char *const *prefixes, int64_t from,
		       uint64_t cluster_id)
{
	struct etcd3_watch *watch = (struct etcd3_watch *)base;
	struct etcd3 *etcd = (struct etcd3 *)base->kv;

	watch->etcd = etcd;
	for (; prefixes[watch->prefix_count]; watch->prefix_count++) {
		struct etcd3_progress *progress = &watch->progress[watch->prefix_count];

		progress->prefix = xstrdup(prefixes[watch->prefix_count]);
		progress->next = from;
	}
	watch->cluster_id = cluster_id;
	watch->revision = from - 1;
	watch->complete = from - 1;
	watch_life_begin(&watch->life, base, stream_drop, timer_due, watch);
	watch->next = etcd->watches;
	if (etcd->watches)
		etcd->watches->previous = watch;
	etcd->watches = watch;
	stream_open(watch);
}

void etcd3_watch_end(struct kv_watch *base)
{
	struct etcd3_watch *watch = (struct etcd3_watch *)base;
	size_t i;

	watch_life_end(&watch->life);
	etcd3_token_forget(watch->etcd, &watch->waiter);
	for (i = 0; i < watch->prefix_count; i++)
		free(watch->progress[i].prefix);
	watch->prefix_count = 0;
	if (watch->previous)
		watch->previous->next = watch->next;
	else
		watch->etcd->watches = watch->next;
	if (watch->next)
		watch->next->previous = watch->previous;
}
