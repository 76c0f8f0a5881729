// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: requests to Consul: which endpoint is asked, and which next when it fails.
#include "core/mem.h"
#include "core/parse.h"
#include "store/consul_internal.h"

#include <errno.h>
#include <string.h>

#define LONG_IDLE_FACTOR 3
#define LONG_TOTAL_FACTOR 20
// An answer that is an array is read as if it were this member of an object.
#define WHOLE "pairs"
#define WHOLE_HEAD "{\"" WHOLE "\":"

struct consul_call {
	struct kv_http_call base;
	struct consul *consul;
	struct consul_request request;
	struct json_stream *stream; // cuts the answer
	struct err stream_err;
	int64_t index; // that the headers tell; 0: none, or none that makes sense
	enum consul_verdict verdict;
};

// ---- the end of a call ----

static void attempt(struct consul_call *call);

static void call_free(struct kv_http_call *base)
{
	struct consul_call *call = (struct consul_call *)base;

	free(call->request.path);
	free(call->request.body);
	if (call->request.free_arg)
		call->request.free_arg(call->request.arg);
	json_stream_free(call->stream);
	free(call);
}

static void finish(struct consul_call *call, const struct consul_answer *answer)
{
	kv_http_call_end(&call->base);
	call->request.done(call->request.arg, answer);
	call_free(&call->base);
}

static void fail(struct consul_call *call)
{
	const struct consul_answer answer = {
		.r = call->base.err.code,
		.err = &call->base.err,
		.verdict = call->verdict,
	};

	finish(call, &answer);
}

// call->base.err says why.
static void judge(struct consul_call *call, enum consul_verdict verdict)
{
	call->verdict = verdict;
	(void)err_wrap(&call->base.err, "%s", kv_http_call_url(&call->base));
	if (verdict == CONSUL_REFUSED) {
		kv_http_call_works(&call->base);
		fail(call);
		return;
	}
	if (kv_http_call_moves_on(&call->base, verdict == CONSUL_UNKNOWN))
		attempt(call);
	else
		fail(call);
}

static bool takes_status(const struct consul_request *request, int status)
{
	return status == 200 || (status == 404 && request->takes_404) ||
	       (status == 409 && request->takes_409);
}

// Its elements were cut out: is the rest what it should be?
static bool stream_is_good(struct consul_call *call, enum consul_verdict *ret)
{
	const char *array = call->request.array;
	_cleanup_json_ json_t *answer = NULL;
	const json_t *rest;
	const char *text;
	size_t len;

	if ((!array && json_stream_feed(call->stream, "}", 1, NULL) < 0) ||
	    json_stream_end(call->stream, &text, &len, NULL) < 0 ||
	    json_read(text, len, CONSUL_ANSWER_MAX, &answer, NULL) < 0) {
		err_set(&call->base.err, -EPROTO, "not an answer of Consul, or cut short");
		*ret = CONSUL_UNKNOWN;
		return false;
	}
	rest = json_object_get(answer, array ? array : WHOLE);
	if (json_is_array(rest) || (array && json_is_null(rest)))
		return true;
	err_set(&call->base.err, -EPROTO, "not an answer of Consul");
	*ret = CONSUL_NOT_DONE;
	return false;
}

static void answered(struct consul_call *call, const struct http_response *response)
{
	enum consul_verdict verdict;
	struct consul_answer answer = { .status = response->status,
					.text = response->body,
					.len = response->len,
					.endpoint = call->base.endpoint };

	if (!takes_status(&call->request, response->status)) {
		judge(call, consul_read_error(response->status, response->body, response->len,
					      &call->base.err));
		return;
	}
	answer.index = call->index;
	if (call->request.index_wanted && answer.index <= 0) {
		err_set(&call->base.err, -EPROTO, "not an answer of Consul: no index");
		judge(call, CONSUL_NOT_DONE);
		return;
	}
	if (call->stream && response->status == 200 && !stream_is_good(call, &verdict)) {
		judge(call, verdict);
		return;
	}
	kv_http_call_works(&call->base);
	finish(call, &answer);
}

static void http_done(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct consul_call *call = arg;

	call->base.http = NULL;
	if (r == 0) {
		answered(call, response);
		return;
	}
	// An element that makes no sense does not get better elsewhere, if others before it were good.
	call->base.err = call->stream_err.code < 0 ? call->stream_err : *e;
	judge(call, response->sent ? CONSUL_UNKNOWN : CONSUL_NOT_DONE);
}

// ---- a request ----

static int got_head(void *arg, const struct http_head *head)
{
	struct consul_call *call = arg;
	const char *text = http_head_get(head, "X-Consul-Index");

	if (!text || parse_whole_i64(text, &call->index) < 0)
		call->index = 0;
	return 0;
}

static int got_element(void *arg, const char *text, size_t len)
{
	struct consul_call *call = arg;
	int r = call->request.element(call->request.arg, text, len);

	if (r == 0)
		call->base.taken++;
	return r;
}

static int got_chunk(void *arg, const char *data, size_t len)
{
	struct consul_call *call = arg;

	if (json_stream_feed(call->stream, data, len, &call->stream_err) == 0)
		return 0;
	call->stream_err.code = -EPROTO;
	return -EPROTO;
}

static void set_times(const struct consul_call *call, struct http_request *ret)
{
	const struct consul_request *request = &call->request;
	uint32_t timeout_ms = request->timeout_ms ? request->timeout_ms
						  : call->consul->http.request_timeout_ms;
	// Consul stretches the time to wait by up to a sixteenth.
	uint32_t wait_ms = request->wait_ms + request->wait_ms / 16;

	ret->connect_timeout_ms = call->consul->http.endpoints.connect_timeout_ms < timeout_ms
					  ? call->consul->http.endpoints.connect_timeout_ms
					  : timeout_ms;
	ret->total_timeout_ms = (request->is_long ? LONG_TOTAL_FACTOR : 1) * timeout_ms + wait_ms;
	if (request->is_long)
		ret->idle_timeout_ms = LONG_IDLE_FACTOR * timeout_ms + wait_ms;
}

static void attempt(struct consul_call *call)
{
	struct consul *consul = call->consul;
	const struct consul_request *request = &call->request;
	_cleanup_free_ char *url = NULL;
	const char *headers[] = { "Content-Type: application/json", consul->token, NULL };
	struct http_request http = {
		.method = request->method,
		.headers = headers,
		.body = request->body,
		.body_len = request->body ? strlen(request->body) : 0,
		.response_max = CONSUL_ANSWER_MAX,
		.head = got_head,
		.done = http_done,
		.arg = call,
	};

	call->base.endpoint = endpoint_set_pick(&consul->http.endpoints, call->base.tried);
	url = xasprintf("%s/v1%s", consul->http.endpoints.items[call->base.endpoint].url,
			request->path);
	http.url = url;
	set_times(call, &http);
	call->stream_err.code = 0;
	call->index = 0;
	call->stream = json_stream_free(call->stream);
	if (request->element) {
		call->stream = json_stream_new(request->array ? request->array : WHOLE,
					       CONSUL_ELEMENT_MAX, CONSUL_ANSWER_MAX, got_element,
					       call);
		// The answer is an array, and the stream reads a member that is one.
		if (!request->array)
			(void)json_stream_feed(call->stream, WHOLE_HEAD, strlen(WHOLE_HEAD), NULL);
		http.chunk = got_chunk;
	}
	kv_http_call_send(&call->base, &http);
}

struct kv_http_call *consul_call_start(struct consul *consul, const struct consul_request *request)
{
	struct consul_call *call = xnew(struct consul_call);

	call->consul = consul;
	call->request = *request;
	kv_http_call_begin(&call->base, &consul->http, !request->idempotent, call_free);
	attempt(call);
	return &call->base;
}

// ---- the revision of the store ----

// By default Consul refuses a URL with other characters, though not a key.
static size_t printable_len(const char *key)
{
	size_t len = 0;

	while (key[len] >= ' ' && key[len] <= '~')
		len++;
	return len;
}

// path: behind "/v1"; taken over.
static struct kv_http_call *ask(struct consul *consul, char *path, uint32_t timeout_ms,
				void (*done)(void *arg, const struct consul_answer *answer),
				void *arg, void (*free_arg)(void *arg))
{
	const struct consul_request request = {
		.method = "GET",
		.path = path,
		.idempotent = true,
		.timeout_ms = timeout_ms,
		.takes_404 = true,
		.index_wanted = true,
		.done = done,
		.arg = arg,
		.free_arg = free_arg,
	};

	return consul_call_start(consul, &request);
}

void consul_ask_revision(struct consul *consul, const char *key, uint32_t timeout_ms,
			 void (*done)(void *arg, const struct consul_answer *answer), void *arg,
			 void (*free_arg)(void *arg), struct kv_http_call **ret)
{
	// Of a key that exists Consul tells the revision of that key, of one that does not the store's.
	struct strbuf path = STRBUF_INIT(CONSUL_ELEMENT_MAX);
	struct kv_http_call *call;

	consul_add_key_path(&path, key, printable_len(key));
	strbuf_puts(&path, ".weft-no-such-key?consistent");
	call = ask(consul, strbuf_take(&path), timeout_ms, done, arg, free_arg);
	if (ret)
		*ret = call;
}

void consul_ask_key_revision(struct consul *consul, const char *key,
			     void (*done)(void *arg, const struct consul_answer *answer), void *arg,
			     void (*free_arg)(void *arg))
{
	// A list of names that start with the key, though it be empty, is as old as the last deletion of one.
	struct strbuf path = STRBUF_INIT(CONSUL_ELEMENT_MAX);

	consul_add_key_path(&path, key, printable_len(key));
	strbuf_puts(&path, "?consistent&keys&separator=/");
	(void)ask(consul, strbuf_take(&path), 0, done, arg, free_arg);
}

// ---- answers that need no request ----

struct consul_late {
	struct consul *consul;
	struct consul_late *previous;
	struct consul_late *next;
	struct timer *timer;
	void (*done)(void *arg, int r, const struct err *e);
	void *arg;
	void (*free_arg)(void *arg);
	struct err err;
};

static void late_unlink(struct consul_late *late)
{
	if (late->previous)
		late->previous->next = late->next;
	else
		late->consul->late = late->next;
	if (late->next)
		late->next->previous = late->previous;
	timer_free(late->timer);
}

static void late_due(void *arg)
{
	struct consul_late *late = arg;

	late_unlink(late);
	late->done(late->arg, late->err.code, &late->err);
	late->free_arg(late->arg);
	free(late);
}

void consul_later(struct consul *consul, int r, const char *why,
		  void (*done)(void *arg, int r, const struct err *e), void *arg,
		  void (*free_arg)(void *arg))
{
	struct consul_late *late = xnew(struct consul_late);

	late->consul = consul;
	late->done = done;
	late->arg = arg;
	late->free_arg = free_arg;
	err_set(&late->err, r, "%s", why);
	late->next = consul->late;
	if (consul->late)
		consul->late->previous = late;
	consul->late = late;
	late->timer = timer_new(consul->http.base.loop, late_due, late);
	timer_start(late->timer, 0);
}

void consul_late_drop(struct consul *consul)
{
	struct consul_late *late = consul->late;

	consul->late = NULL;
	while (late) {
		struct consul_late *next = late->next;

		timer_free(late->timer);
		late->free_arg(late->arg);
		free(late);
		late = next;
	}
}
