// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one request to a server of flannel 0.5 to 0.7, and its way from endpoint to endpoint.
#include "store/remote_v1.h"

#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define ELEMENT_MAX (LEASE_VALUE_MAX + 4096)
#define REST_MAX (1024 * 1024) // an answer without its elements
#define TOTAL_FACTOR 4	       // an answer with all leases may take its time

struct v1_call {
	struct kv_http_call base;
	struct remote_v1 *v1;
	struct v1_ask ask;
	struct json_stream *stream;
	int64_t date_ms;
};

static void attempt(struct v1_call *call);

static void call_free(struct kv_http_call *base)
{
	struct v1_call *call = (struct v1_call *)base;

	json_stream_free(call->stream);
	free(call->ask.path);
	free(call->ask.body);
	free(call);
}

static void finish(struct v1_call *call, int r, const struct http_response *response)
{
	kv_http_call_end(&call->base); // its owner may end everything
	call->ask.done(call->ask.arg, r, response, call->date_ms, r < 0 ? &call->base.err : NULL);
	call_free(&call->base);
}

static bool is_read(const struct v1_call *call)
{
	return strcmp(call->ask.method, "GET") == 0;
}

// call->base.err says why. unknown: it may have been done there.
static void move_on(struct v1_call *call, bool unknown, const struct http_response *response)
{
	(void)err_wrap(&call->base.err, "%s", kv_http_call_url(&call->base));
	if (kv_http_call_moves_on(&call->base, unknown))
		attempt(call);
	else
		finish(call, call->base.err.code, response);
}

// What is no 200: flannel says why as a text.
static void refused(struct v1_call *call, const struct http_response *response)
{
	struct endpoint_set *endpoints = &call->v1->remote->http.endpoints;
	char shown[TEXT_EXCERPT_MAX];
	bool is_missing = strncmp(response->body, "100:", 4) == 0 ||
			  strstr(response->body, "Key not found") != NULL;
	int r = -EAGAIN;

	if (response->status == 404 || response->status == 405 || response->status == 401)
		r = -EPROTONOSUPPORT;
	else if (response->status == 400)
		r = -EINVAL;
	else if (response->status == 500 && is_missing)
		r = -ENOENT;
	else if (response->status == 500 && strstr(response->body, "out of subnets"))
		r = -ENOSPC;
	(void)text_excerpt(response->body, strcspn(response->body, "\r\n"), shown);
	err_set(&call->base.err, r, "HTTP status %d: %s", response->status, shown);
	if (response->status == 502 || response->status == 503 || response->status == 504) {
		move_on(call, true, response); // a proxy says so
		return;
	}
	if (response->status == 500)
		kv_http_call_works(&call->base);
	(void)err_wrap(&call->base.err, "%s", endpoints->items[call->base.endpoint].url);
	finish(call, r, response);
}

static void answered(struct v1_call *call, const struct http_response *response)
{
	struct http_response rest = *response;

	kv_http_call_works(&call->base);
	if (call->stream && json_stream_end(call->stream, &rest.body, &rest.len, &call->base.err) < 0) {
		(void)err_wrap(&call->base.err, "not an answer of a server of flannel");
		call->base.err.code = -EPROTO;
		finish(call, -EPROTO, response);
		return;
	}
	finish(call, 0, &rest);
}

static void http_done(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct v1_call *call = arg;

	call->base.http = NULL;
	if (r < 0) {
		if (call->base.err.code == 0)
			call->base.err = *e;
		move_on(call, response->sent, response);
	} else if (response->status != 200) {
		refused(call, response);
	} else {
		answered(call, response);
	}
}

static int got_element(void *arg, const char *text, size_t len)
{
	struct v1_call *call = arg;

	call->base.taken++;
	return call->ask.element(call->ask.arg, text, len);
}

static int got_chunk(void *arg, const char *data, size_t len)
{
	struct v1_call *call = arg;
	int r = json_stream_feed(call->stream, data, len, &call->base.err);

	if (r < 0 && call->base.err.code == 0)
		err_set(&call->base.err, r, "not an answer of a server of flannel");
	return r;
}

static int got_head(void *arg, const struct http_head *head)
{
	struct v1_call *call = arg;
	const char *date = http_head_get(head, "Date");

	if (!date || timestamp_parse_http(date, &call->date_ms) < 0)
		call->date_ms = timestamp_now_ms();
	return 0;
}

static void attempt(struct v1_call *call)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	struct remote *remote = call->v1->remote;
	_cleanup_free_ char *url = NULL;
	struct http_request request = {
		.method = call->ask.method,
		.headers = headers,
		.body = call->ask.body,
		.body_len = call->ask.body ? strlen(call->ask.body) : 0,
		.response_max = REST_MAX,
		.total_timeout_ms = call->ask.is_poll ? 0 : remote->http.request_timeout_ms,
		.head = got_head,
		.done = http_done,
		.arg = call,
	};

	call->base.endpoint = endpoint_set_pick(&remote->http.endpoints, call->base.tried);
	call->base.err.code = 0;
	call->date_ms = timestamp_now_ms();
	url = xasprintf("%s%s", remote->http.endpoints.items[call->base.endpoint].url, call->ask.path);
	request.url = url;
	if (call->ask.array) {
		json_stream_free(call->stream);
		call->stream =
			json_stream_new(call->ask.array, ELEMENT_MAX, REST_MAX, got_element, call);
		request.chunk = got_chunk;
		request.total_timeout_ms *= TOTAL_FACTOR;
	}
	kv_http_call_send(&call->base, &request);
}

struct kv_http_call *v1_call_start(struct remote_v1 *v1, const struct v1_ask *ask)
{
	struct v1_call *call = xnew(struct v1_call);

	call->v1 = v1;
	call->ask = *ask;
	kv_http_call_begin(&call->base, &v1->remote->http, !is_read(call), call_free);
	attempt(call);
	return &call->base;
}
