// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one request to a controller and its way from endpoint to endpoint.
//
// DOC: life of a call
//
//   SEND to an endpoint -> answer -> done
//            ^               |
//            +--- not done --+   each endpoint once
//
// A call moves on only if the request surely was not done, or may be done twice.
#include "store/remote_internal.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define HTTP_UNAUTHORIZED 401
#define HTTP_NOT_FOUND 404
#define HTTP_TOO_MANY 429
#define RETRY_MAX_MS 10000
// A stream of any length may take its time, but not stand still, nor go on for ever.
#define LINES_IDLE_FACTOR 3
#define LINES_TOTAL_FACTOR 20
#define ANSWER_MAX (KV_TXN_MAX * (size_t)WIRE_LINE_MAX + 1024) // all pairs of a refused transaction

struct remote_call {
	struct kv_http_call base;
	struct remote *remote;
	struct remote_request request;
	char *body;
	struct remote_lines lines;
	bool is_unknown;     // to some server: no path of its
	struct timer *pause; // of one that is to be asked again; NULL: was never put off
	uint32_t paused_ms;  // in all
};

static void attempt(struct remote_call *call);

static void call_free(struct kv_http_call *base)
{
	struct remote_call *call = (struct remote_call *)base;

	remote_lines_free(&call->lines);
	timer_free(call->pause);
	free(call->body);
	free(call->request.arg);
	free(call);
}

static void finish(struct remote_call *call, int r)
{
	if (r < 0 && call->is_unknown && call->request.falls_back)
		r = -EPROTONOSUPPORT;
	kv_http_call_end(&call->base);
	call->request.done(call->request.arg, r, r < 0 ? &call->base.err : NULL);
	call_free(&call->base);
}

// call->base.err says why. unknown: it may have been done there.
static void move_on(struct remote_call *call, bool unknown)
{
	(void)err_wrap(&call->base.err, "%s", kv_http_call_url(&call->base));
	if (kv_http_call_moves_on(&call->base, unknown))
		attempt(call);
	else
		finish(call, call->base.err.code);
}

void remote_headers(const struct remote *remote, const char *ret[static REMOTE_HEADERS_MAX])
{
	ret[0] = "Content-Type: application/json";
	ret[1] = remote->authorization; // NULL ends them
	ret[2] = remote->identity;
	ret[3] = NULL;
}

int remote_read_refusal(const struct remote *remote, const struct http_response *response,
			bool *ret_foreign, struct err *e)
{
	_cleanup_json_ json_t *answer = NULL;

	*ret_foreign = true;
	if (json_read(response->body, response->len, ANSWER_MAX, &answer, NULL) < 0 ||
	    !json_is_object(answer))
		return err_set(e, -EPROTO, "not an answer of a controller (HTTP status %d)",
			       response->status);
	*ret_foreign = !json_is_object(json_object_get(answer, "error"));
	if (response->status == HTTP_UNAUTHORIZED && !*ret_foreign)
		return err_set(e, -EACCES, "the controller %s; --token-file or --token names its own",
			       remote->authorization ? "refuses our token" : "asks for a token");
	return wire_read_error(answer, e);
}

uint32_t remote_retry_ms(const struct http_response *response)
{
	_cleanup_json_ json_t *answer = NULL;
	int64_t retry_ms = 0;

	if (response->status != HTTP_TOO_MANY ||
	    json_read(response->body, response->len, ANSWER_MAX, &answer, NULL) < 0 ||
	    json_get_int(answer, "retry_ms", 1, INT64_MAX, &retry_ms, NULL) < 0)
		return 0;
	return retry_ms < RETRY_MAX_MS ? (uint32_t)retry_ms : RETRY_MAX_MS;
}

static void pause_over(void *arg)
{
	attempt(arg);
}

// We asked too often; nothing was done. Again when the controller says so, within the time that a call has, and not at the
// same time as all others that were put off. False: it is too late for that.
static bool try_later(struct remote_call *call, uint32_t retry_ms)
{
	struct remote *remote = call->remote;

	retry_ms += (uint32_t)random_below(retry_ms / 2 + 1);
	if (retry_ms == 0 || call->paused_ms + retry_ms > remote->http.request_timeout_ms)
		return false;
	call->paused_ms += retry_ms;
	if (!call->pause)
		call->pause = timer_new(remote->http.base.loop, pause_over, call);
	timer_start(call->pause, retry_ms);
	return true;
}

// May the request have been done, if nobody says so who knows?
static bool is_unclear(int status)
{
	return status < 300 || status >= 500;
}

// An answer that says no. Where a proxy says so, the controller may have got the request.
static void refused(struct remote_call *call, const struct http_response *response)
{
	bool is_foreign;
	int r = remote_read_refusal(call->remote, response, &is_foreign, &call->base.err);

	if (response->status == HTTP_NOT_FOUND && is_foreign)
		call->is_unknown = true;
	if (response->status == HTTP_UNAUTHORIZED) {
		move_on(call, false); // another one may know us
		return;
	}
	if (r == -EBUSY) {
		if (!try_later(call, remote_retry_ms(response)))
			move_on(call, false);
		return;
	}
	switch (r) {
	case -EPROTO: // a foreign server
	case -EAGAIN: // the controller has lost its store: another one may have it
	case -ECONNREFUSED:
	case -ETIMEDOUT:
		move_on(call, is_foreign && is_unclear(response->status));
		return;
	default:
		kv_http_call_works(&call->base);
		(void)err_wrap(&call->base.err, "%s", kv_http_call_url(&call->base));
		finish(call, r);
	}
}

static void accepted(struct remote_call *call, const json_t *answer)
{
	if (call->request.read(call->request.arg, answer, &call->base.err) < 0) {
		move_on(call, true);
		return;
	}
	kv_http_call_works(&call->base);
	finish(call, 0);
}

static void http_done(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct remote_call *call = arg;
	_cleanup_json_ json_t *answer = NULL;

	call->base.http = NULL;
	if (r < 0) {
		if (call->base.err.code == 0)
			call->base.err = *e;
		move_on(call, response->sent);
		return;
	}
	if (response->status == 200 && call->request.line) {
		accepted(call, NULL);
		return;
	}
	if (response->status != 200) {
		refused(call, response);
		return;
	}
	if (json_read(response->body, response->len, ANSWER_MAX, &answer, NULL) < 0 ||
	    !json_is_object(answer)) {
		err_set(&call->base.err, -EPROTO, "not an answer of a controller");
		move_on(call, true);
		return;
	}
	accepted(call, answer);
}

static int got_line(void *arg, const json_t *line)
{
	struct remote_call *call = arg;

	int r = call->request.line(call->request.arg, line);

	if (r == 0)
		call->base.taken++;
	return r;
}

static int got_chunk(void *arg, const char *data, size_t len)
{
	struct remote_call *call = arg;
	int r = remote_lines_feed(&call->lines, data, len);

	if (r < 0)
		err_set(&call->base.err, -EPROTO, "not an answer of a controller");
	return r;
}

static void attempt(struct remote_call *call)
{
	struct remote *remote = call->remote;
	const char *headers[REMOTE_HEADERS_MAX];
	_cleanup_free_ char *url = NULL;
	struct http_request request = {
		.method = "POST",
		.headers = headers,
		.body = call->body,
		.body_len = strlen(call->body),
		.response_max = ANSWER_MAX,
		.done = http_done,
		.arg = call,
	};

	remote_headers(remote, headers);
	call->base.endpoint = endpoint_set_pick(&remote->http.endpoints, call->base.tried);
	call->base.err.code = 0;
	url = xasprintf("%s%s", remote->http.endpoints.items[call->base.endpoint].url,
			call->request.path);
	request.url = url;
	if (call->request.line) {
		request.chunk = got_chunk;
		request.idle_timeout_ms = LINES_IDLE_FACTOR * remote->http.request_timeout_ms;
		request.total_timeout_ms = LINES_TOTAL_FACTOR * remote->http.request_timeout_ms;
		remote_lines_free(&call->lines);
		remote_lines_init(&call->lines, got_line, call);
	} else {
		request.total_timeout_ms = remote->http.request_timeout_ms;
	}
	kv_http_call_send(&call->base, &request);
}

void remote_call_start(struct remote *remote, const struct remote_request *request)
{
	struct remote_call *call = xnew(struct remote_call);

	call->remote = remote;
	call->request = *request;
	call->request.body = NULL;
	call->body = json_text(request->body);
	json_decref(request->body);
	kv_http_call_begin(&call->base, &remote->http, !request->idempotent, call_free);
	attempt(call);
}
