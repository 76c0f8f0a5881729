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
// A call moves on only if the request surely was not done, or may be done twice. Each endpoint is
// tried once. A server that answers as no etcd does has done nothing; an answer of etcd's that was
// cut short may be of a request that was done.
#include "store/etcd3_internal.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define LONG_IDLE_FACTOR 3
#define LONG_TOTAL_FACTOR 20
#define TOKENS_MAX 2 // refused in one call before it gives up

struct etcd3_call {
	struct etcd3 *etcd;
	struct etcd3_call *previous;
	struct etcd3_call *next;
	struct etcd3_request request;
	struct http_call *http;
	struct json_stream *stream; // cuts the answer's array
	struct err stream_err;
	size_t elements;
	struct etcd3_waiter waiter;
	uint64_t token_number;
	unsigned int tokens_refused;
	size_t endpoint;
	uint64_t tried;
	unsigned int sendings;
	char first;	// byte of the answer that is no space; 0: none came
	bool older_api; // of the last sending
	bool other_api; // the endpoint's usual one was not found there
	enum etcd3_verdict verdict;
	struct err err; // of the last endpoint tried
};

static void attempt(struct etcd3_call *call);
static void send_request(struct etcd3_call *call);

static void call_unlink(struct etcd3_call *call)
{
	if (call->previous)
		call->previous->next = call->next;
	else
		call->etcd->calls = call->next;
	if (call->next)
		call->next->previous = call->previous;
}

static void call_free(struct etcd3_call *call)
{
	if (call->request.body)
		explicit_bzero(call->request.body, strlen(call->request.body));
	free(call->request.body);
	if (call->request.free_arg)
		call->request.free_arg(call->request.arg);
	else
		free(call->request.arg);
	json_stream_free(call->stream);
	free(call);
}

struct etcd3_call *etcd3_call_cancel(struct etcd3_call *call)
{
	if (!call)
		return NULL;
	if (call->http)
		http_call_cancel(call->http);
	etcd3_token_forget(call->etcd, &call->waiter);
	call_unlink(call);
	call_free(call);
	return NULL;
}

static void finish(struct etcd3_call *call, int r, const json_t *json)
{
	struct etcd3_answer answer = {
		.r = r,
		.json = json,
		.err = r < 0 ? &call->err : NULL,
		.verdict = call->verdict,
		.sendings = call->sendings,
	};

	call_unlink(call);
	call->request.done(call->request.arg, &answer);
	call_free(call);
}

// The request was not done there, or its answer was lost (then verdict is ETCD3_UNKNOWN). call->err
// says why.
static void move_on(struct etcd3_call *call, enum etcd3_verdict verdict)
{
	struct etcd3 *etcd = call->etcd;

	endpoint_set_failed(&etcd->endpoints, call->endpoint);
	call->tried |= (uint64_t)1 << call->endpoint;
	call->other_api = false;
	call->verdict = verdict;
	if (verdict == ETCD3_UNKNOWN && !call->request.idempotent) {
		call->err.code = -EINPROGRESS;
		finish(call, -EINPROGRESS, NULL);
	} else if (call->elements > 0 || endpoint_set_pick(&etcd->endpoints, call->tried) == SIZE_MAX) {
		finish(call, call->err.code, NULL);
	} else {
		log_debug("etcd: %s; trying another endpoint", err_msg(&call->err));
		attempt(call);
	}
}

static void retry_with_token(struct etcd3_call *call)
{
	call->verdict = ETCD3_TOKEN_REFUSED;
	if (call->request.without_token || ++call->tokens_refused > TOKENS_MAX ||
	    !etcd3_token_refused(call->etcd, call->token_number))
		finish(call, call->err.code, NULL);
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
		endpoint_set_works(&call->etcd->endpoints, call->endpoint);
		call->verdict = verdict;
		finish(call, call->err.code, NULL);
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
	err_set(&call->err, -EPROTO, "%s: %s", call->etcd->endpoints.items[call->endpoint].url, why);
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
			refused(call, etcd3_read_error(200, text, len, &call->err));
			return;
		}
	}
	if (!json_is_object(json_object_get(inner, "header"))) {
		not_understood(call, true, "not an answer of etcd: no header");
		return;
	}
	call->etcd->endpoints.items[call->endpoint].older_api = call->older_api;
	endpoint_set_works(&call->etcd->endpoints, call->endpoint);
	finish(call, 0, inner);
}

static void add_url(struct etcd3_call *call)
{
	(void)err_wrap(&call->err, "%s", call->etcd->endpoints.items[call->endpoint].url);
}

static void stream_failed(struct etcd3_call *call)
{
	struct err e = call->stream_err;

	if (call->elements == 0) {
		not_understood(call, false, e.msg);
		return;
	}
	// An element that makes no sense does not get better elsewhere.
	call->err = e;
	add_url(call);
	call->verdict = ETCD3_UNKNOWN;
	finish(call, call->err.code, NULL);
}

static void http_done(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct etcd3_call *call = arg;
	const char *text = response->body;
	size_t len = response->len;

	call->http = NULL;
	call->sendings += response->sent;
	if (r < 0 && call->stream_err.code < 0) {
		stream_failed(call);
		return;
	}
	if (r < 0) {
		call->err = *e;
		add_url(call);
		move_on(call, response->sent ? ETCD3_UNKNOWN : ETCD3_NOT_DONE);
		return;
	}
	if (response->status != 200) {
		enum etcd3_verdict verdict = etcd3_read_error(response->status, text, len, &call->err);

		add_url(call);
		refused(call, verdict);
		return;
	}
	if (call->stream && json_stream_end(call->stream, &text, &len, &call->err) < 0) {
		not_understood(call, false, "not an answer of etcd, or cut short");
		return;
	}
	answered(call, text, len);
}

static int got_element(void *arg, const char *text, size_t len)
{
	struct etcd3_call *call = arg;

	call->elements++;
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
	bool older_api = etcd->endpoints.items[call->endpoint].older_api != call->other_api;
	_cleanup_free_ char *url = etcd3_url(etcd, call->endpoint, older_api, call->request.path);
	_cleanup_free_ char *token_header = NULL;
	const char *headers[ETCD3_HEADERS_MAX];
	struct http_request request = {
		.method = "POST",
		.url = url,
		.headers = headers,
		.body = call->request.body,
		.body_len = strlen(call->request.body),
		.once = !call->request.idempotent,
		.response_max = ETCD3_ANSWER_MAX,
		.connect_timeout_ms = etcd->endpoints.connect_timeout_ms,
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
		request.idle_timeout_ms = LONG_IDLE_FACTOR * etcd->request_timeout_ms;
	request.total_timeout_ms = (call->request.is_long ? LONG_TOTAL_FACTOR : 1) *
				   etcd->request_timeout_ms;
	etcd->base.stats.requests++;
	call->http = http_call_start(etcd->http, &request);
	if (token_header)
		explicit_bzero(token_header, strlen(token_header));
}

static void token_came(void *arg, int r, const struct err *e)
{
	struct etcd3_call *call = arg;

	if (r < 0) {
		call->err = *e;
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
	endpoint = endpoint_set_pick(&etcd->endpoints, call->tried);
	if (endpoint != call->endpoint)
		call->other_api = false;
	call->endpoint = endpoint;
	send_request(call);
}

struct etcd3_call *etcd3_call_start(struct etcd3 *etcd, const struct etcd3_request *request)
{
	struct etcd3_call *call = xnew(struct etcd3_call);

	call->etcd = etcd;
	call->request = *request;
	call->verdict = ETCD3_NOT_DONE;
	call->next = etcd->calls;
	if (etcd->calls)
		etcd->calls->previous = call;
	etcd->calls = call;
	attempt(call);
	return call;
}
