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
	struct remote_v1 *v1;
	struct v1_call *previous;
	struct v1_call *next;
	struct v1_ask ask;
	struct http_call *http;
	struct json_stream *stream;
	size_t element_count; // that were handed on: they cannot be taken back
	int64_t date_ms;
	size_t endpoint;
	uint64_t tried;
	struct err err;
};

static void attempt(struct v1_call *call);

static void call_free(struct v1_call *call)
{
	json_stream_free(call->stream);
	free(call->ask.path);
	free(call->ask.body);
	free(call);
}

static void call_unlink(struct v1_call *call)
{
	if (call->previous)
		call->previous->next = call->next;
	else
		call->v1->calls = call->next;
	if (call->next)
		call->next->previous = call->previous;
}

void v1_call_cancel(struct v1_call *call)
{
	if (!call)
		return;
	if (call->http)
		http_call_cancel(call->http);
	call_unlink(call);
	call_free(call);
}

void v1_calls_end(struct remote_v1 *v1)
{
	while (v1->calls) {
		struct v1_call *call = v1->calls;

		v1->calls = call->next;
		if (call->http)
			http_call_cancel(call->http);
		call_free(call);
	}
}

static void finish(struct v1_call *call, int r, const struct http_response *response)
{
	call_unlink(call); // its owner may end everything
	call->ask.done(call->ask.arg, r, response, call->date_ms, r < 0 ? &call->err : NULL);
	call_free(call);
}

static bool is_read(const struct v1_call *call)
{
	return strcmp(call->ask.method, "GET") == 0;
}

// call->err says why. unknown: it may have been done there.
static void move_on(struct v1_call *call, bool unknown, const struct http_response *response)
{
	struct endpoint_set *endpoints = &call->v1->remote->endpoints;

	(void)err_wrap(&call->err, "%s", endpoints->items[call->endpoint].url);
	endpoint_set_failed(endpoints, call->endpoint);
	call->tried |= (uint64_t)1 << call->endpoint;
	if (unknown && !is_read(call))
		call->err.code = -EINPROGRESS;
	else if (call->element_count == 0 && endpoint_set_pick(endpoints, call->tried) != SIZE_MAX) {
		attempt(call);
		return;
	}
	finish(call, call->err.code, response);
}

// What is no 200: flannel says why as a text.
static void refused(struct v1_call *call, const struct http_response *response)
{
	struct endpoint_set *endpoints = &call->v1->remote->endpoints;
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
	err_set(&call->err, r, "HTTP status %d: %s", response->status, shown);
	if (response->status == 502 || response->status == 503 || response->status == 504) {
		move_on(call, true, response); // a proxy says so
		return;
	}
	if (response->status == 500)
		endpoint_set_works(endpoints, call->endpoint);
	(void)err_wrap(&call->err, "%s", endpoints->items[call->endpoint].url);
	finish(call, r, response);
}

static void answered(struct v1_call *call, const struct http_response *response)
{
	struct http_response rest = *response;

	endpoint_set_works(&call->v1->remote->endpoints, call->endpoint);
	if (call->stream && json_stream_end(call->stream, &rest.body, &rest.len, &call->err) < 0) {
		(void)err_wrap(&call->err, "not an answer of a server of flannel");
		call->err.code = -EPROTO;
		finish(call, -EPROTO, response);
		return;
	}
	finish(call, 0, &rest);
}

static void http_done(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct v1_call *call = arg;

	call->http = NULL;
	if (r < 0) {
		if (call->err.code == 0)
			call->err = *e;
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

	call->element_count++;
	return call->ask.element(call->ask.arg, text, len);
}

static int got_chunk(void *arg, const char *data, size_t len)
{
	struct v1_call *call = arg;
	int r = json_stream_feed(call->stream, data, len, &call->err);

	if (r < 0 && call->err.code == 0)
		err_set(&call->err, r, "not an answer of a server of flannel");
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
		.once = !is_read(call),
		.response_max = REST_MAX,
		.connect_timeout_ms = remote->endpoints.connect_timeout_ms,
		.total_timeout_ms = call->ask.is_poll ? 0 : remote->request_timeout_ms,
		.head = got_head,
		.done = http_done,
		.arg = call,
	};

	call->endpoint = endpoint_set_pick(&remote->endpoints, call->tried);
	call->err.code = 0;
	call->date_ms = timestamp_now_ms();
	url = xasprintf("%s%s", remote->endpoints.items[call->endpoint].url, call->ask.path);
	request.url = url;
	if (call->ask.array) {
		json_stream_free(call->stream);
		call->stream =
			json_stream_new(call->ask.array, ELEMENT_MAX, REST_MAX, got_element, call);
		request.chunk = got_chunk;
		request.total_timeout_ms *= TOTAL_FACTOR;
	}
	remote->base.stats.requests++;
	call->http = http_call_start(remote->http, &request);
}

struct v1_call *v1_call_start(struct remote_v1 *v1, const struct v1_ask *ask)
{
	struct v1_call *call = xnew(struct v1_call);

	call->v1 = v1;
	call->ask = *ask;
	call->next = v1->calls;
	if (call->next)
		call->next->previous = call;
	v1->calls = call;
	attempt(call);
	return call;
}
