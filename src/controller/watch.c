// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the watchers: streams of lines, each fed from the mirror as fast as its client reads.
//
// DOC: the lines
//
//   {"up":{"revision":..,"cluster_id":".."}}   the store is watched, and everything before was told
//   {"put":{pair}}, {"delete":{pair}}	    in the store's order
//   {"down":"why"}			    the store cannot be watched; goes on by itself
//   {"complete":revision}		    all changes up to it were told (0: none yet); again each heartbeat_ms
//   {"lost":"why","store_changed":bool}	    take a snapshot; the last line
//
// A watcher holds no queue of its own: it has the number of the change that is next. One that reads too
// slowly falls behind what the mirror keeps, and is lost.
#include "controller/controller_internal.h"
#include "controller/guard.h"

#include "core/log.h"
#include "core/mem.h"
#include "store/wire.h"

#include <errno.h>
#include <string.h>

#define HEARTBEAT_DEFAULT_MS 5000
#define WATCHERS_A_MS 50 // for each so many changes are gathered for a millisecond
#define GATHER_MAX_MS 100
#define STREAM_RETRY_MS 5000 // for a client that has too many

struct watcher {
	struct controller *controller;
	struct watcher *previous;
	struct watcher *next;
	struct http_exchange *exchange;
	struct timer *heartbeat;
	uint64_t heartbeat_ms;
	char *prefixes[KV_WATCH_PREFIXES_MAX];
	size_t prefix_lens[KV_WATCH_PREFIXES_MAX];
	size_t prefix_count;
	int64_t from;
	uint64_t cluster_id; // 0: any

	bool placed;	  // number is set
	bool checking;	  // whether the store is as far as the client says
	uint64_t number;  // of the change that is next
	int64_t complete; // the revision that was told to be
	bool up_told;
	bool down_told;
	bool alive_due;
	bool denied; // its token is none any more
	struct caller caller;
	const char *lost; // why; the last line is still to be written
	bool store_changed;
};

static void lose(struct watcher *watcher, bool store_changed, const char *why)
{
	watcher->lost = why;
	watcher->store_changed = store_changed;
}

// ---- where it begins ----

static const char other_store[] = "the store is another one";

static void find_place(struct watcher *watcher)
{
	watcher->placed = mirror_find(watcher->controller->mirror, watcher->from, &watcher->number);
	if (!watcher->placed)
		lose(watcher, false, "changes since then are not kept any more");
}

static void on_checked(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct watcher *watcher = arg;

	watcher->checking = false;
	if (r < 0) {
		// Again with the next sign of life: at once would be for as long as the store refuses.
		log_rl(LOG_LEVEL_WARN, "controller: where is the store: %s", err_msg(e));
		return;
	}
	if (header->revision < watcher->from - 1)
		lose(watcher, true, "the store went back in time: was it restored or emptied?");
	else if (watcher->cluster_id != 0 && watcher->cluster_id != header->cluster_id)
		lose(watcher, true, other_store);
	else
		find_place(watcher); // the mirror may have gone on meanwhile
	http_stream_wake(watcher->exchange);
}

static void on_no_pair(void *arg, const struct kv_pair *pair)
{
	(void)arg;
	(void)pair;
}

static void place(struct watcher *watcher)
{
	struct controller *controller = watcher->controller;
	struct kv_header header = mirror_header(controller->mirror);

	if (watcher->cluster_id != 0 && watcher->cluster_id != header.cluster_id)
		lose(watcher, true, other_store);
	else if (watcher->from > header.revision + 1) {
		watcher->checking = true;
		kv_range(controller->kv, controller->prefix, false, on_no_pair, on_checked, watcher);
	} else {
		find_place(watcher);
	}
}

// ---- lines ----

static bool wants(const struct watcher *watcher, const struct pair *pair)
{
	if (pair->mod_revision < watcher->from)
		return false;
	for (size_t i = 0; i < watcher->prefix_count; i++)
		if (pair_starts_with(pair, watcher->prefixes[i], watcher->prefix_lens[i]))
			return !guard_is_hidden(watcher->controller, pair->bytes, pair->key_len);
	return false;
}

static void add_change(struct strbuf *out, const struct change *change)
{
	size_t len;
	const char *text = pair_text(change->pair, &len);

	strbuf_puts(out, change->is_delete ? "{\"delete\":" : "{\"put\":");
	strbuf_add(out, text, len);
	strbuf_puts(out, "}\n");
}

// Takes line over.
static void add_line(struct strbuf *out, json_t *line)
{
	_cleanup_free_ char *text = json_text(line);

	json_decref(line);
	strbuf_puts(out, text);
	strbuf_putc(out, '\n');
}

static void add_state(struct watcher *watcher, struct strbuf *out)
{
	const struct mirror *mirror = watcher->controller->mirror;
	struct kv_header header = mirror_header(mirror);
	const struct err *why;
	bool up = mirror_is_up(mirror, &why);

	if (up && watcher->placed && !watcher->up_told) {
		watcher->up_told = true;
		watcher->down_told = false;
		add_line(out, json_pack("{s:o}", "up", wire_header(&header)));
	} else if (!up && !watcher->down_told) {
		watcher->down_told = true;
		watcher->up_told = false;
		add_line(out, json_pack("{s:s}", "down", err_msg(why)));
	}
}

static void add_changes(struct watcher *watcher, struct strbuf *out)
{
	const struct mirror *mirror = watcher->controller->mirror;
	const struct change *change;

	while (out->len < HTTP_PIECE_GOOD && (change = mirror_change(mirror, watcher->number))) {
		watcher->number++;
		if (wants(watcher, change->pair))
			add_change(out, change);
	}
}

static bool told_all(const struct watcher *watcher)
{
	const struct mirror *mirror = watcher->controller->mirror;

	return watcher->placed && mirror_is_whole(mirror) && !mirror_change(mirror, watcher->number);
}

// Also as a sign of life, which one that waits for its place needs as well.
static void add_complete(struct watcher *watcher, struct strbuf *out)
{
	int64_t revision = mirror_header(watcher->controller->mirror).revision;
	bool is_news = told_all(watcher) && revision > watcher->complete;

	if (is_news)
		watcher->complete = revision;
	if (is_news || (watcher->alive_due && out->len == 0))
		add_line(out, json_pack("{s:I}", "complete", (json_int_t)watcher->complete));
	watcher->alive_due = false;
}

static int watcher_next(void *arg, struct strbuf *out)
{
	struct watcher *watcher = arg;
	const struct mirror *mirror = watcher->controller->mirror;

	if (watcher->denied)
		return -EACCES;
	if (!watcher->placed && !watcher->checking && !watcher->lost && mirror_is_up(mirror, NULL))
		place(watcher);
	if (watcher->placed && mirror_has_dropped(mirror, watcher->number))
		lose(watcher, false, "read too slowly: changes since then are not kept any more");
	if (watcher->lost) {
		add_line(out, json_pack("{s:s,s:b}", "lost", watcher->lost, "store_changed",
					watcher->store_changed));
		return 0;
	}
	add_state(watcher, out);
	if (watcher->placed)
		add_changes(watcher, out);
	add_complete(watcher, out);
	return out->len > 0 ? 1 : -EAGAIN;
}

static void on_heartbeat(void *arg)
{
	struct watcher *watcher = arg;

	watcher->alive_due = true;
	watcher->denied = access_role(watcher->controller, watcher->exchange) == CALLER_STRANGER;
	timer_start(watcher->heartbeat, watcher->heartbeat_ms);
	http_stream_wake(watcher->exchange);
}

// Each watcher is a system call and each change is told to all: of many watchers each hears of several changes at once.
void watchers_wake_soon(struct controller *controller)
{
	size_t delay_ms = controller->watcher_count / WATCHERS_A_MS;

	if (!timer_is_pending(controller->wake))
		timer_start(controller->wake, delay_ms < GATHER_MAX_MS ? delay_ms : GATHER_MAX_MS);
}

void watchers_wake(void *arg)
{
	struct controller *controller = arg;

	for (struct watcher *watcher = controller->watchers; watcher; watcher = watcher->next)
		http_stream_wake(watcher->exchange);
}

void watchers_lose(struct controller *controller)
{
	for (struct watcher *watcher = controller->watchers; watcher; watcher = watcher->next) {
		if (watcher->placed)
			lose(watcher, true, "the store is another one, or went back in time");
		http_stream_wake(watcher->exchange);
	}
}

// ---- life ----

static void watcher_free(struct watcher *watcher)
{
	for (size_t i = 0; i < watcher->prefix_count; i++)
		free(watcher->prefixes[i]);
	timer_free(watcher->heartbeat);
	free(watcher);
}

static void watcher_closed(void *arg)
{
	struct watcher *watcher = arg;

	kv_forget(watcher->controller->kv, watcher);
	limits_stream_end(watcher->controller->limits, &watcher->caller);
	watcher->controller->watcher_count--;
	if (watcher->previous)
		watcher->previous->next = watcher->next;
	else
		watcher->controller->watchers = watcher->next;
	if (watcher->next)
		watcher->next->previous = watcher->previous;
	watcher_free(watcher);
}

static int read_request(struct watcher *watcher, const json_t *request, struct err *e)
{
	const json_t *prefixes = json_object_get(request, "prefixes");
	int64_t heartbeat_ms = HEARTBEAT_DEFAULT_MS;
	const char *cluster_id = NULL;
	struct kv_header header = { 0 };
	int r = json_get_int(request, "from", 1, INT64_MAX, &watcher->from, e);

	if (r == 0 && watcher->from == 0)
		r = err_set(e, -EINVAL, "from: absent");
	if (r == 0)
		r = json_get_int(request, "heartbeat_ms", WIRE_HEARTBEAT_MIN_MS,
				 WIRE_HEARTBEAT_MAX_MS, &heartbeat_ms, e);
	if (r == 0)
		r = json_get_string(request, "cluster_id", &cluster_id, e);
	if (r < 0)
		return r;
	if (cluster_id && wire_read_cluster_id(cluster_id, &header.cluster_id) < 0)
		return err_set(e, -EINVAL, "cluster_id: not one");
	if (!json_is_array(prefixes) || json_array_size(prefixes) == 0 ||
	    json_array_size(prefixes) > KV_WATCH_PREFIXES_MAX)
		return err_set(e, -EINVAL, "prefixes: not an array of 1 to %d", KV_WATCH_PREFIXES_MAX);
	watcher->cluster_id = header.cluster_id;
	watcher->heartbeat_ms = (uint64_t)heartbeat_ms;
	for (size_t i = 0; r == 0 && i < json_array_size(prefixes); i++) {
		r = read_our_key(watcher->controller, json_array_get(prefixes, i), "prefix",
				 &watcher->prefixes[i], &watcher->prefix_lens[i], e);
		watcher->prefix_count = r == 0 ? i + 1 : i;
	}
	return r;
}

void serve_watch(struct controller *controller, struct http_exchange *exchange, const json_t *request)
{
	struct watcher *watcher = xnew(struct watcher);
	struct err e;
	int r;

	watcher->controller = controller;
	watcher->exchange = exchange;
	r = read_request(watcher, request, &e);
	if (r < 0) {
		watcher_free(watcher);
		answer_error(exchange, r, err_msg(&e));
		return;
	}
	access_caller(controller, exchange, &watcher->caller);
	if (!limits_stream_begin(controller->limits, &watcher->caller)) {
		answer_busy(exchange, &watcher->caller, STREAM_RETRY_MS, "too many watches");
		watcher_free(watcher);
		return;
	}
	watcher->heartbeat = timer_new(controller->loop, on_heartbeat, watcher);
	timer_start(watcher->heartbeat, watcher->heartbeat_ms);
	watcher->next = controller->watchers;
	if (watcher->next)
		watcher->next->previous = watcher;
	controller->watchers = watcher;
	controller->watcher_count++;
	http_answer_stream(exchange, 200, TYPE_LINES, watcher_next, watcher_closed, watcher);
}
