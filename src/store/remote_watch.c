// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the watch stream of a controller.
//
// DOC: life of a watch
//
//   OPEN a stream -> "up" -> changes, "complete" ... -> "down" -> "up" -> ...   the controller's store comes and goes
//        ^                                    |
//        +------ back-off <-------------------+ the stream broke, or showed no sign of life
//                "lost": the end
//
// Nothing is lost and nothing comes twice: a stream resumes with the last revision that is not surely
// complete, and of that the keys that were told are skipped. By key, not by number: a controller that had
// to read everything again does not know the order within a revision. Only the deletions of before,
// which it tells as of that reading, may come twice, from another controller.
#include "core/hash.h"
#include "core/mem.h"
#include "store/remote_v1.h"

#include <errno.h>
#include <string.h>

#define TOLD_MAX (1024 * 1024)

static void stream_open(struct remote_watch *watch);

// ---- telling the owner ----

static void stream_drop(void *arg)
{
	struct remote_watch *watch = arg;

	if (watch->stream)
		http_call_cancel(watch->stream);
	watch->stream = NULL;
}

// That we are refused is news also where the stream had broken before: it does not pass by itself.
static void note_refusal(struct remote_watch *watch, const struct err *e)
{
	if (e->code != -EACCES || watch->refusal_told)
		return;
	watch->refusal_told = true;
	watch->base.down_told = false;
}

// The stream broke, or could not be opened: try again later.
static void fail(struct remote_watch *watch, const struct err *e)
{
	note_refusal(watch, e);
	watch_life_fail(&watch->life, watch->endpoint, e);
}

// ---- lines; each returns 0, or negative to end the stream ----

static int line_up(struct remote_watch *watch, const json_t *object)
{
	struct kv_header header;
	int r = wire_read_header(object, &header, &watch->err);

	if (r < 0)
		return r;
	watch->refusal_told = false;
	watch->cluster_id = header.cluster_id;
	endpoint_set_works(&watch->remote->http.endpoints, watch->endpoint);
	return watch_life_up(&watch->life, &header) ? 0 : -ECANCELED;
}

static const char *reason(const json_t *text)
{
	return json_is_string(text) ? json_string_value(text) : "no reason given";
}

static int line_down(struct remote_watch *watch, const json_t *text)
{
	struct err e;

	err_set(&e, -EAGAIN, "%s", reason(text));
	// With another controller there may be another way to the store.
	if (watch->remote->http.endpoints.count > 1) {
		watch->err = e;
		return -EAGAIN;
	}
	(void)err_wrap(&e, "%s", watch->remote->http.endpoints.items[watch->endpoint].url);
	kv_watch_down(&watch->base, &e);
	return watch->stream ? 0 : -ECANCELED;
}

static int line_lost(struct remote_watch *watch, const json_t *text, const json_t *line)
{
	watch_life_lose(&watch->life, json_is_true(json_object_get(line, "store_changed")),
			reason(text));
	return -ECANCELED;
}

static void go_on_to(struct remote_watch *watch, int64_t revision)
{
	watch->next = revision;
	watch->told_count = watch->skip_first = watch->skip_end = 0;
}

// Was it told by an earlier stream? Each that was is skipped once.
static bool skip(struct remote_watch *watch, uint64_t key)
{
	for (size_t i = watch->skip_first; i < watch->skip_end; i++) {
		if (watch->told[i] != key)
			continue;
		// Mostly the first: the order is the same but after a controller read everything again.
		watch->told[i] = watch->told[watch->skip_first];
		watch->told[watch->skip_first++] = key;
		return true;
	}
	return false;
}

// 1: it is new, and remembered. 0: it was told already. -EPROTO: no store does so much at once.
static int note_event(struct remote_watch *watch, const struct kv_pair *pair)
{
	uint64_t key = hash_bytes(pair->raw_key, pair->raw_key_len);

	if (pair->mod_revision > watch->next)
		go_on_to(watch, pair->mod_revision);
	else if (pair->mod_revision < watch->next || skip(watch, key))
		return 0;
	if (watch->told_count == TOLD_MAX)
		return err_set(&watch->err, -EPROTO, "more than %d changes of one revision", TOLD_MAX);
	if (watch->told_count == watch->told_capacity) {
		watch->told_capacity = watch->told_capacity ? 2 * watch->told_capacity : 8;
		watch->told = xrealloc_array(watch->told, watch->told_capacity, sizeof(*watch->told));
	}
	watch->told[watch->told_count++] = key;
	return 1;
}

static int line_change(struct remote_watch *watch, const json_t *object, enum kv_watch_kind kind)
{
	_cleanup_wire_pair_ struct wire_pair pair = { 0 };
	struct kv_watch_event event = { .kind = kind };
	int r = wire_read_pair(object, &pair, &watch->err);

	if (r == 0)
		r = note_event(watch, &pair.pair);
	if (r <= 0)
		return r;
	event.pair = pair.pair;
	if (kind == KV_WATCH_DELETE)
		event.pair.value = NULL;
	event.header = (struct kv_header){ .revision = pair.pair.mod_revision,
					   .cluster_id = watch->cluster_id };
	return kv_watch_emit(&watch->base, &event) ? 0 : -ECANCELED;
}

static int line_complete(struct remote_watch *watch, const json_t *revision)
{
	const struct kv_header header = { .revision = json_integer_value(revision),
					  .cluster_id = watch->cluster_id };

	if (header.revision > WIRE_REVISION_MAX)
		return -EPROTO;
	if (header.revision < watch->next)
		return 0;
	go_on_to(watch, header.revision + 1);
	return kv_watch_progress(&watch->base, &header) ? 0 : -ECANCELED;
}

static int got_line(void *arg, const json_t *line)
{
	struct remote_watch *watch = arg;
	const json_t *member;

	if ((member = json_object_get(line, "put")))
		return line_change(watch, member, KV_WATCH_PUT);
	if ((member = json_object_get(line, "delete")))
		return line_change(watch, member, KV_WATCH_DELETE);
	if ((member = json_object_get(line, "complete")))
		return line_complete(watch, member);
	if ((member = json_object_get(line, "up")))
		return line_up(watch, member);
	if ((member = json_object_get(line, "down")))
		return line_down(watch, member);
	if ((member = json_object_get(line, "lost")))
		return line_lost(watch, member, line);
	return 0; // of a later version
}

// ---- the stream ----

static int got_chunk(void *arg, const char *data, size_t len)
{
	struct remote_watch *watch = arg;
	int r;

	watch->alive_ms = loop_now_ms();
	err_set(&watch->err, -EPROTO, "not a controller's stream");
	kv_watch_hold(&watch->base);
	watch->parsing = true;
	r = remote_lines_feed(&watch->lines, data, len);
	watch->parsing = false;
	if (!watch->stream) // lost, or freed by its owner
		remote_lines_free(&watch->lines);
	else if (r == -ECANCELED)
		stream_drop(watch);
	else if (r < 0)
		fail(watch, &watch->err);
	kv_watch_release(&watch->base);
	return r;
}

static void stream_ended(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct remote_watch *watch = arg;
	bool is_foreign;
	struct err told;

	watch->stream = NULL;
	watch->life.retry_ms = r == 0 ? remote_retry_ms(response) : 0;
	if (r < 0)
		told = *e;
	else if (response->status == 200)
		err_set(&told, -EPIPE, "the controller ended the watch");
	else
		(void)remote_read_refusal(watch->remote, response, &is_foreign, &told);
	fail(watch, &told);
}

static char *request_body(const struct remote_watch *watch)
{
	_cleanup_json_ json_t *body = json_object();
	json_t *prefixes = json_array();
	uint64_t heartbeat_ms = watch->remote->http.dead_man_ms / 3;
	char cluster_id[WIRE_CLUSTER_ID_MAX];

	for (size_t i = 0; i < watch->prefix_count; i++) {
		json_t *object = json_object();

		wire_set_bytes(object, "prefix", watch->prefixes[i], strlen(watch->prefixes[i]));
		json_array_append_new(prefixes, object);
	}
	json_object_set_new(body, "prefixes", prefixes);
	json_object_set_new(body, "from", json_integer(watch->next));
	wire_cluster_id(watch->cluster_id, cluster_id);
	json_object_set_new(body, "cluster_id", json_string(cluster_id));
	if (heartbeat_ms < WIRE_HEARTBEAT_MIN_MS)
		heartbeat_ms = WIRE_HEARTBEAT_MIN_MS;
	if (heartbeat_ms > WIRE_HEARTBEAT_MAX_MS)
		heartbeat_ms = WIRE_HEARTBEAT_MAX_MS;
	json_object_set_new(body, "heartbeat_ms", json_integer((json_int_t)heartbeat_ms));
	return json_text(body);
}

static void stream_open(struct remote_watch *watch)
{
	const char *headers[REMOTE_HEADERS_MAX];
	struct remote *remote = watch->remote;
	_cleanup_free_ char *body = request_body(watch);
	_cleanup_free_ char *url = NULL;
	struct http_request request = {
		.method = "POST",
		.headers = headers,
		.body = body,
		.body_len = strlen(body),
		.response_max = JSON_TEXT_MAX,
		.chunk = got_chunk,
		.done = stream_ended,
		.arg = watch,
	};

	remote_headers(remote, headers);
	watch->skip_first = 0;
	watch->skip_end = watch->told_count;
	watch->endpoint = endpoint_set_pick(&remote->http.endpoints, 0);
	watch->alive_ms = loop_now_ms();
	remote_lines_free(&watch->lines);
	url = xasprintf("%s/v2/watch", remote->http.endpoints.items[watch->endpoint].url);
	request.url = url;
	watch->stream = kv_http_start(&remote->http, &request);
	timer_start(watch->life.timer, remote->http.dead_man_ms);
}

static void timer_due(void *arg)
{
	struct remote_watch *watch = arg;
	uint64_t silent_ms = loop_now_ms() - watch->alive_ms;
	uint64_t dead_man_ms = watch->remote->http.dead_man_ms;
	struct err e;

	if (!watch->stream) {
		stream_open(watch);
	} else if (silent_ms < dead_man_ms) {
		timer_start(watch->life.timer, dead_man_ms - silent_ms);
	} else {
		err_set(&e, -ETIMEDOUT, "no sign of life for %u ms", watch->remote->http.dead_man_ms);
		fail(watch, &e);
	}
}

// ---- start and end ----

void remote_watch_start(struct kv_watch *base, const char *const *prefixes, int64_t from,
			uint64_t cluster_id)
{
	struct remote_watch *watch = (struct remote_watch *)base;

	watch->remote = (struct remote *)base->kv;
	for (; prefixes[watch->prefix_count]; watch->prefix_count++)
		watch->prefixes[watch->prefix_count] = xstrdup(prefixes[watch->prefix_count]);
	if (remote_v1_is_used(watch->remote)) {
		watch->v1 = v1_watch_start(watch->remote->v1, base, watch->prefixes,
					   watch->prefix_count);
		return;
	}
	watch->next = from;
	watch->cluster_id = cluster_id;
	watch_life_begin(&watch->life, base, stream_drop, timer_due, watch);
	remote_lines_init(&watch->lines, got_line, watch);
	stream_open(watch);
}

void remote_watch_end(struct kv_watch *base)
{
	struct remote_watch *watch = (struct remote_watch *)base;

	if (watch->v1)
		watch->v1 = v1_watch_free(watch->v1);
	else
		watch_life_end(&watch->life);
	free(TAKE_PTR(watch->told));
	// A line that is being read is let go of when it has been read.
	if (!watch->parsing)
		remote_lines_free(&watch->lines);
	for (size_t i = 0; i < watch->prefix_count; i++)
		free(watch->prefixes[i]);
	watch->prefix_count = 0;
}
