// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading through the controller: a prefix from the mirror, a single key from the store itself.
//
// DOC: which age an answer has
//
// A single key is read from the store, as compare-and-set asks for. A prefix, which is what thousands of
// agents want at once, comes from the mirror, and waits until the mirror has what was last written
// through this controller: who wrote sees what it wrote.
#include "controller/controller_internal.h"
#include "controller/guard.h"

#include "core/mem.h"
#include "store/wire.h"

#include <errno.h>
#include <string.h>

#define TRIM_MS 5000
#define STREAM_RETRY_MS 1000 // for a client that reads too little of what it asked for
#define WAIT_MS 4000	     // below what a client waits for an answer

// ---- prefixes ----

// A range that the mirror is not new enough for.
struct range_wait {
	struct range_wait *next;
	struct http_exchange *exchange;
	char *prefix;
	size_t prefix_len;
	int64_t revision;
	uint64_t until_ms;
};

struct range_answer {
	struct controller *controller;
	struct pair_set *view;
	struct kv_header header;
	struct pair_position position;
	char *prefix;
	size_t prefix_len;
	struct caller caller;
};

void range_trim(void *arg)
{
	(void)arg;
	mem_trim();
}

static void add_header(struct strbuf *out, const struct kv_header *header)
{
	_cleanup_json_ json_t *object = wire_header(header);
	_cleanup_free_ char *text = json_text(object);

	strbuf_printf(out, "{\"header\":%s}\n", text);
}

static int range_next(void *arg, struct strbuf *out)
{
	struct range_answer *answer = arg;

	while (out->len < HTTP_PIECE_GOOD) {
		struct pair *pair = pair_set_next(answer->view, &answer->position);
		const char *text;
		size_t len;

		if (!pair || !pair_starts_with(pair, answer->prefix, answer->prefix_len)) {
			add_header(out, &answer->header);
			return 0;
		}
		if (guard_is_hidden(answer->controller, pair->bytes, pair->key_len))
			continue;
		text = pair_text(pair, &len);
		strbuf_puts(out, "{\"pair\":");
		strbuf_add(out, text, len);
		strbuf_puts(out, "}\n");
	}
	return 1;
}

static void range_closed(void *arg)
{
	struct range_answer *answer = arg;

	if (!timer_is_pending(answer->controller->trim))
		timer_start(answer->controller->trim, TRIM_MS);
	limits_stream_end(answer->controller->limits, &answer->caller);
	pair_set_unref(answer->view);
	free(answer->prefix);
	free(answer);
}

// Takes prefix over.
static void answer_range(struct controller *controller, struct http_exchange *exchange,
			 char *prefix, size_t prefix_len)
{
	struct range_answer *answer = xnew(struct range_answer);

	access_caller(controller, exchange, &answer->caller);
	if (!limits_stream_begin(controller->limits, &answer->caller)) {
		answer_busy(exchange, &answer->caller, STREAM_RETRY_MS,
			    "too many answers that are not read");
		free(prefix);
		free(answer);
		return;
	}
	answer->controller = controller;
	answer->view = pair_set_ref(mirror_pairs(controller->mirror));
	answer->header = mirror_header(controller->mirror);
	answer->position = pair_set_seek(answer->view, prefix, prefix_len);
	answer->prefix = prefix;
	answer->prefix_len = prefix_len;
	http_answer_stream(exchange, 200, TYPE_LINES, range_next, range_closed, answer);
}

static bool is_new_enough(const struct controller *controller, int64_t revision)
{
	return mirror_is_up(controller->mirror, NULL) &&
	       mirror_header(controller->mirror).revision >= revision;
}

static void wait_end(struct range_wait *wait)
{
	free(wait->prefix);
	free(wait);
}

void ranges_go_on(struct controller *controller)
{
	struct range_wait **link = &controller->waits;

	while (*link) {
		struct range_wait *wait = *link;

		if (!is_new_enough(controller, wait->revision)) {
			link = &wait->next;
			continue;
		}
		*link = wait->next;
		answer_range(controller, wait->exchange, TAKE_PTR(wait->prefix), wait->prefix_len);
		wait_end(wait);
	}
}

// They stand in the order in which they end.
void range_late(void *arg)
{
	struct controller *controller = arg;
	const struct err *why;

	while (controller->waits && controller->waits->until_ms <= loop_now_ms()) {
		struct range_wait *wait = controller->waits;

		controller->waits = wait->next;
		if (mirror_is_up(controller->mirror, &why))
			answer_error(wait->exchange, -EAGAIN, "the store's watch lags behind");
		else
			answer_error(wait->exchange, -EAGAIN, err_msg(why));
		wait_end(wait);
	}
	if (controller->waits)
		timer_start(controller->late, controller->waits->until_ms - loop_now_ms());
}

void ranges_end(struct controller *controller)
{
	while (controller->waits) {
		struct range_wait *wait = controller->waits;

		controller->waits = wait->next;
		wait_end(wait);
	}
}

static void serve_prefix(struct controller *controller, struct http_exchange *exchange,
			 char *prefix, size_t prefix_len)
{
	struct range_wait **link = &controller->waits;
	struct range_wait *wait;

	if (is_new_enough(controller, controller->written)) {
		answer_range(controller, exchange, prefix, prefix_len);
		return;
	}
	wait = xnew(struct range_wait);
	wait->exchange = exchange;
	wait->prefix = prefix;
	wait->prefix_len = prefix_len;
	wait->revision = controller->written;
	wait->until_ms = loop_now_ms() + WAIT_MS;
	if (!*link)
		timer_start(controller->late, WAIT_MS);
	while (*link)
		link = &(*link)->next;
	*link = wait;
}

// ---- single keys ----

static void on_pair(void *arg, const struct kv_pair *pair)
{
	struct op *op = arg;
	_cleanup_free_ char *text = wire_pair_text(pair);

	strbuf_printf(&op->pairs, "{\"pair\":%s}\n", text);
}

static void on_key_read(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct op *op = arg;

	if (r < 0) {
		answer_error(op->exchange, r, err_msg(e));
	} else {
		add_header(&op->pairs, header);
		http_answer(op->exchange, 200, TYPE_LINES, strbuf_text(&op->pairs), op->pairs.len);
	}
	op_end(op);
}

static void serve_key(struct controller *controller, struct http_exchange *exchange,
		      const char *key, size_t len)
{
	if (strlen(key) != len)
		answer_error(exchange, -EINVAL, "key: has a NUL byte");
	else
		kv_range(controller->kv, key, false, on_pair, on_key_read,
			 op_new(controller, exchange));
}

void serve_range(struct controller *controller, struct http_exchange *exchange, const json_t *request)
{
	bool is_prefix = json_object_get(request, "prefix") || json_object_get(request, "prefix64");
	struct err e;
	char *key = NULL;
	size_t len;
	int r = read_our_key(controller, request, is_prefix ? "prefix" : "key", &key, &len, &e);

	if (r < 0) {
		answer_error(exchange, r, err_msg(&e));
		return;
	}
	if (is_prefix) {
		serve_prefix(controller, exchange, key, len);
		return;
	}
	serve_key(controller, exchange, key, len);
	free(key);
}
