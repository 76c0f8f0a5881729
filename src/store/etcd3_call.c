// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one request to etcd and its way from endpoint to endpoint.
//
// DOC: life of a call
//
//   START -> WAIT for a token (if one is needed) -> SEND to an endpoint -> answer -> done
//                        ^                            |  |
//                        +---- token refused, once ---+  +-- lost, or refused there --> SEND to one not yet tried, else done
//
// A server that answers as no etcd does has done nothing; an answer of etcd's that was cut short may
// be of a request that was done.
#include "store/etcd3_internal.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define LONG_IDLE_FACTOR 3
#define LONG_TOTAL_FACTOR 20
#define TOKENS_MAX 2 // refused in one call before it gives up

struct etcd3_call {
	struct kv_http_call base;
	struct etcd3 *etcd;
	struct etcd3_request request;
	struct json_stream *stream; // cuts the answer's array
	struct err stream_err;
	struct etcd3_waiter waiter;
	uint64_t token_number;
	unsigned int tokens_refused;
	unsigned int sendings;
	char first;	// byte of the answer that is no space; 0: none came
	bool older_api; // of the last sending
	bool other_api; // the endpoint's usual one was not found there
	enum etcd3_verdict verdict;
};

static void attempt(struct etcd3_call *call);
static void send_request(struct etcd3_call *call);

static void call_free(struct kv_http_call *base)
{
	struct etcd3_call *call = (struct etcd3_call *)base;

	secret_text_free(call->request.body);
	if (call->request.free_arg)
		call->request.free_arg(call->request.arg);
	else
		free(call->request.arg);
	json_stream_free(call->stream);
	etcd3_token_forget(call->etcd, &call->waiter);
	free(call);
}

static void finish(struct etcd3_call *call, int r, const json_t *json)
{
	struct etcd3_answer answer = {
		.r = r,
		.json = json,
		.err = r < 0 ? &call->base.err : NULL,
		.verdict = call->verdict,
		.sendings = call->sendings,
	};

	kv_http_call_end(&call->base);
	call->request.done(call->request.arg, &answer);
	call_free(&call->base);
}

// The request was not done there, or its answer was lost (then verdict is ETCD3_UNKNOWN). call->base.err
// says why.
static void move_on(struct etcd3_call *call, enum etcd3_verdict verdict)
{
	call->other_api = false;
	call->verdict = verdict;
	if (kv_http_call_moves_on(&call->base, verdict == ETCD3_UNKNOWN))
		attempt(call);
	else
		finish(call, call->base.err.code, NULL);
}

static void retry_with_token(struct etcd3_call *call)
{
	call->verdict = ETCD3_TOKEN_REFUSED;
	if (call->request.without_token || ++call->tokens_refused > TOKENS_MAX ||
	    !etcd3_token_refused(call->etcd, call->token_number))
		finish(call, call->base.err.code, NULL);
	else
		attempt(call);
}

static void retry_other_api(struct etcd3_call *call)
{
	if (call->other_api) {
		move_on(call, ETCD3_NOT_DONE);
		return;
	}
	call->other_api = true;
	send_request(call);
}

static void refused(struct etcd3_call *call, enum etcd3_verdict verdict)
{
	// A server that is asked something it refuses works all the same.
	switch (verdict) {
	case ETCD3_REFUSED:
		kv_http_call_works(&call->base);
		call->verdict = verdict;
		finish(call, call->base.err.code, NULL);
		return;
	case ETCD3_NOT_DONE:
	case ETCD3_UNKNOWN:
		move_on(call, verdict);
		return;
	case ETCD3_TOKEN_REFUSED:
		retry_with_token(call);
		return;
	case ETCD3_NO_SUCH_PATH:
		retry_other_api(call);
		return;
	}
}

static void note_first(struct etcd3_call *call, const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len && call->first == 0; i++)
		if (!strchr(" \t\r\n", text[i]))
			call->first = text[i];
}

// is_foreign: it is whole, and no answer of etcd's.
static void not_understood(struct etcd3_call *call, bool is_foreign, const char *why)
{
	err_set(&call->base.err, -EPROTO, "%s: %s", kv_http_call_url(&call->base), why);
	// All that etcd says is an object.
	is_foreign |= call->first != 0 && call->first != '{';
	move_on(call, is_foreign ? ETCD3_NOT_DONE : ETCD3_UNKNOWN);
}

static void answered(struct etcd3_call *call, const char *text, size_t len)
{
	_cleanup_json_ json_t *answer = NULL;
	const json_t *inner;
	char excerpt[TEXT_EXCERPT_MAX];
	char why[ERR_MSG_MAX];

	note_first(call, text, len);
	if (json_read(text, len, ETCD3_ANSWER_MAX, &answer, NULL) < 0 || !json_is_object(answer)) {
		(void)text_format(why, sizeof(why), "not an answer of etcd: \"%s\"",
				  text_excerpt(text, len, excerpt));
		not_understood(call, false, why);
		return;
	}
	inner = answer;
	if (call->request.is_line) {
		inner = json_object_get(answer, "result");
		if (json_object_get(answer, "error")) {
			refused(call, etcd3_read_error(200, text, len, &call->base.err));
			return;
		}
	}
	if (!json_is_object(json_object_get(inner, "header"))) {
		not_understood(call, true, "not an answer of etcd: no header");
		return;
	}
	call->etcd->http.endpoints.items[call->base.endpoint].older_api = call->older_api;
	kv_http_call_works(&call->base);
	finish(call, 0, inner);
}

static void add_url(struct etcd3_call *call)
{
	(void)err_wrap(&call->base.err, "%s", kv_http_call_url(&call->base));
}

static void stream_failed(struct etcd3_call *call)
{
	struct err e = call->stream_err;

	if (call->base.taken == 0) {
		not_understood(call, false, e.msg);
		return;
	}
	// An element that makes no sense does not get better elsewhere.
	call->base.err = e;
	add_url(call);
	call->verdict = ETCD3_UNKNOWN;
	finish(call, call->base.err.code, NULL);
}

static void http_done(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct etcd3_call *call = arg;
	const char *text = response->body;
	size_t len = response->len;

	call->base.http = NULL;
	call->sendings += response->sent;
	if (r < 0 && call->stream_err.code < 0) {
		stream_failed(call);
		return;
	}
	if (r < 0) {
		call->base.err = *e;
		add_url(call);
		move_on(call, response->sent ? ETCD3_UNKNOWN : ETCD3_NOT_DONE);
		return;
	}
	if (response->status != 200) {
		enum etcd3_verdict verdict =
			etcd3_read_error(response->status, text, len, &call->base.err);

		add_url(call);
		refused(call, verdict);
		return;
	}
	if (call->stream && json_stream_end(call->stream, &text, &len, &call->base.err) < 0) {
		not_understood(call, false, "not an answer of etcd, or cut short");
		return;
	}
	answered(call, text, len);
}

static int got_element(void *arg, const char *text, size_t len)
{
	struct etcd3_call *call = arg;

	call->base.taken++;
	return call->request.element(call->request.arg, text, len);
}

static int got_chunk(void *arg, const char *data, size_t len)
{
	struct etcd3_call *call = arg;
	int r;

	note_first(call, data, len);
	r = json_stream_feed(call->stream, data, len, &call->stream_err);
	if (r < 0)
		call->stream_err.code = -EPROTO;
	return r < 0 ? -EPROTO : 0;
}

static void send_request(struct etcd3_call *call)
{
	struct etcd3 *etcd = call->etcd;
	bool older_api = etcd->http.endpoints.items[call->base.endpoint].older_api != call->other_api;
	_cleanup_free_ char *url = etcd3_url(etcd, call->base.endpoint, older_api, call->request.path);
	_cleanup_secret_ char *token_header = NULL;
	const char *headers[ETCD3_HEADERS_MAX];
	struct http_request request = {
		.method = "POST",
		.url = url,
		.headers = headers,
		.body = call->request.body,
		.body_len = strlen(call->request.body),
		.response_max = ETCD3_ANSWER_MAX,
		.done = http_done,
		.arg = call,
	};

	call->older_api = older_api;
	call->first = 0;
	call->stream_err.code = 0;
	call->token_number = etcd->token_number;
	etcd3_headers(etcd, !call->request.without_token, &token_header, headers);
	call->stream = json_stream_free(call->stream);
	if (call->request.array) {
		call->stream = json_stream_new(call->request.array, ETCD3_ELEMENT_MAX,
					       ETCD3_ANSWER_MAX, got_element, call);
		request.chunk = got_chunk;
	}
	// A long range may take its time, but not stand still, and not trickle for ever. Before its
	// first byte etcd needs seconds to put all of it together.
	if (call->request.is_long)
		request.idle_timeout_ms = LONG_IDLE_FACTOR * etcd->http.request_timeout_ms;
	request.total_timeout_ms = (call->request.is_long ? LONG_TOTAL_FACTOR : 1) *
				   etcd->http.request_timeout_ms;
	kv_http_call_send(&call->base, &request);
}

static void token_came(void *arg, int r, const struct err *e)
{
	struct etcd3_call *call = arg;

	if (r < 0) {
		call->base.err = *e;
		call->verdict = ETCD3_TOKEN_REFUSED;
		finish(call, r, NULL);
		return;
	}
	attempt(call);
}

static void attempt(struct etcd3_call *call)
{
	struct etcd3 *etcd = call->etcd;
	size_t endpoint;

	if (!call->request.without_token && !etcd3_token_ready(etcd)) {
		call->waiter.ready = token_came;
		call->waiter.arg = call;
		etcd3_token_wait(etcd, &call->waiter);
		return;
	}
	endpoint = endpoint_set_pick(&etcd->http.endpoints, call->base.tried);
	if (endpoint != call->base.endpoint)
		call->other_api = false;
	call->base.endpoint = endpoint;
	send_request(call);
}

struct kv_http_call *etcd3_call_start(struct etcd3 *etcd, const struct etcd3_request *request)
{
	struct etcd3_call *call = xnew(struct etcd3_call);

	call->etcd = etcd;
	call->request = *request;
	call->verdict = ETCD3_NOT_DONE;
	kv_http_call_begin(&call->base, &etcd->http, !request->idempotent, call_free);
	attempt(call);
	return &call->base;
}
