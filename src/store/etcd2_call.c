// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one request to etcd's v2 API and its way from endpoint to endpoint.
//
// An error that is the answer to a question (no such key, the compare failed) is no failure here.
#include "store/etcd2_internal.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define LONG_IDLE_FACTOR 3
#define LONG_TOTAL_FACTOR 20
#define ERROR_MAX (64 * 1024) // text of an answer that is no success

struct etcd2_call {
	struct kv_http_call base;
	struct etcd2 *etcd;
	struct etcd2_request request;
	struct timer *soon; // of a call that asks nobody
	int soon_r;
	struct etcd2_reader *reader;
	struct err reader_err;
	struct etcd2_head head;
	struct etcd2_reply reply;
};

static void attempt(struct etcd2_call *call);

// ---- what an answer says ----

static int read_number(const struct http_head *head, const char *name, int64_t *ret, struct err *e)
{
	const char *text = http_head_get(head, name);

	if (!text)
		return 0;
	if (parse_whole_i64(text, ret) < 0 || *ret < 0)
		return err_set(e, -EPROTO, "the header %s is not a number", name);
	return 0;
}

int etcd2_read_head(const struct http_head *head, struct etcd2_head *ret, struct err *e)
{
	const char *id = http_head_get(head, "X-Etcd-Cluster-Id");
	struct etcd2_head found = { 0 };
	int64_t term = 0;
	int r;

	if (id && (!parse_hex(&id, 16, &found.kv.cluster_id) || !parse_end(id)))
		return err_set(e, -EPROTO, "the header X-Etcd-Cluster-Id is not a number");
	r = read_number(head, "X-Etcd-Index", &found.kv.revision, e);
	if (r == 0)
		r = read_number(head, "X-Raft-Term", &term, e);
	if (r < 0)
		return r;
	found.raft_term = (uint64_t)term;
	*ret = found;
	return 0;
}

static int no_node(void *arg, const struct etcd2_node *node, const struct etcd2_reply *so_far)
{
	(void)arg;
	(void)node;
	(void)so_far;
	return 0;
}

static bool read_reply(const char *text, size_t len, struct etcd2_reply *ret)
{
	struct etcd2_reader *reader = etcd2_reader_new(no_node, NULL);
	bool good = etcd2_reader_feed(reader, text, len, NULL) == 0 &&
		    etcd2_reader_end(reader, ret, NULL) == 0;

	etcd2_reader_free(reader);
	return good;
}

// Of something that is not etcd's v2 API, or of the parts of etcd that have no error codes.
static enum etcd2_verdict judge_plain(int status, const char *text, size_t len,
				      const struct etcd2_reply *reply, struct err *e)
{
	char excerpt[TEXT_EXCERPT_MAX];

	if (status == 401 || (status == 403 && reply)) {
		err_set(e, -EACCES, "user name or password is wrong, or may not do this: %s",
			reply ? reply->message : "");
		return ETCD2_REFUSED;
	}
	if (status == 404) {
		err_set(e, -EPROTO, "not found: is this etcd, with --enable-v2?");
		return ETCD2_NOT_DONE;
	}
	err_set(e, status >= 500 ? -EAGAIN : -EPROTO, "HTTP status %d: \"%s\"", status,
		text_excerpt(text, len, excerpt));
	return status >= 500 ? ETCD2_UNKNOWN : ETCD2_NOT_DONE;
}

enum etcd2_verdict etcd2_judge(int status, const char *text, size_t len, struct etcd2_reply *ret,
			       struct err *e)
{
	struct etcd2_reply reply = { 0 };
	bool is_reply = read_reply(text, len, &reply);

	if (!is_reply || reply.error_code == 0)
		return judge_plain(status, text, len, is_reply ? &reply : NULL, e);
	*ret = reply;
	// 1xx: of the command, 2xx: of its form, 3xx: of the cluster, 4xx: of the history.
	if (reply.error_code == 110) {
		err_set(e, -EACCES, "%s", reply.message);
	} else if (reply.error_code == ETCD2_INDEX_CLEARED) {
		err_set(e, -ESTALE, "%s", reply.message);
	} else if (reply.error_code >= 300 || status >= 500) {
		err_set(e, strstr(reply.cause, "timed out") ? -ETIMEDOUT : -EAGAIN, "%s: %s",
			reply.message, reply.cause);
		return strstr(reply.cause, "no leader") ? ETCD2_NOT_DONE : ETCD2_UNKNOWN;
	} else {
		err_set(e, -EINVAL, "%s: %s", reply.message, reply.cause);
	}
	return ETCD2_REFUSED;
}

static bool is_answer(int64_t code)
{
	return code == ETCD2_KEY_NOT_FOUND || code == ETCD2_COMPARE_FAILED ||
	       code == ETCD2_NOT_A_FILE || code == ETCD2_NODE_EXISTS;
}

// ---- the way of a call ----

static void call_free(struct kv_http_call *base)
{
	struct etcd2_call *call = (struct etcd2_call *)base;

	free(call->request.key);
	free(call->request.query);
	free(call->request.form);
	if (call->request.free_arg)
		call->request.free_arg(call->request.arg);
	else
		free(call->request.arg);
	timer_free(call->soon);
	etcd2_reader_free(call->reader);
	free(call);
}

static void finish(struct etcd2_call *call, int r)
{
	struct etcd2_answer answer = {
		.r = r,
		.head = call->head,
		.reply = r == 0 ? &call->reply : NULL,
		.err = r < 0 ? &call->base.err : NULL,
	};

	kv_http_call_end(&call->base);
	call->request.done(call->request.arg, &answer);
	call_free(&call->base);
}

// The request was not done there, or its answer was lost. call->base.err says why.
static void move_on(struct etcd2_call *call, enum etcd2_verdict verdict)
{
	if (kv_http_call_moves_on(&call->base, verdict == ETCD2_UNKNOWN))
		attempt(call);
	else
		finish(call, call->base.err.code);
}

static void add_url(struct etcd2_call *call)
{
	(void)err_wrap(&call->base.err, "%s", kv_http_call_url(&call->base));
}

static void refused(struct etcd2_call *call, int status, const char *text, size_t len)
{
	enum etcd2_verdict verdict = etcd2_judge(status, text, len, &call->reply, &call->base.err);

	if (is_answer(call->reply.error_code)) {
		kv_http_call_works(&call->base);
		finish(call, 0);
		return;
	}
	add_url(call);
	if (verdict != ETCD2_REFUSED) {
		move_on(call, verdict);
		return;
	}
	// A server that is asked something it refuses works all the same.
	kv_http_call_works(&call->base);
	finish(call, call->base.err.code);
}

static void http_done(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct etcd2_call *call = arg;

	call->base.http = NULL;
	if (r < 0) {
		call->base.err = call->reader_err.code < 0 ? call->reader_err : *e;
		add_url(call);
		move_on(call, response->sent ? ETCD2_UNKNOWN : ETCD2_NOT_DONE);
		return;
	}
	if (response->status < 200 || response->status > 299) {
		refused(call, response->status, response->body, response->len);
		return;
	}
	r = etcd2_reader_end(call->reader, &call->reply, &call->base.err);
	if (r == 0 && !call->reply.has_node)
		r = err_set(&call->base.err, -EPROTO, "not an answer of etcd's v2 API: no node");
	if (r < 0) {
		call->base.err.code = -EPROTO;
		add_url(call);
		move_on(call, ETCD2_UNKNOWN);
		return;
	}
	kv_http_call_works(&call->base);
	finish(call, 0);
}

static int got_head(void *arg, const struct http_head *head)
{
	struct etcd2_call *call = arg;

	return etcd2_read_head(head, &call->head, &call->reader_err);
}

static int got_node(void *arg, const struct etcd2_node *node, const struct etcd2_reply *so_far)
{
	struct etcd2_call *call = arg;

	if (!call->request.node)
		return 0;
	call->base.taken++;
	return call->request.node(call->request.arg, node, so_far);
}

static int got_chunk(void *arg, const char *data, size_t len)
{
	struct etcd2_call *call = arg;

	return etcd2_reader_feed(call->reader, data, len, &call->reader_err);
}

static void attempt(struct etcd2_call *call)
{
	struct etcd2 *etcd = call->etcd;
	const struct etcd2_request *asked = &call->request;
	const char *headers[] = { etcd->authorization, NULL };
	_cleanup_free_ char *url = NULL;
	struct http_request request = {
		.method = asked->method,
		.headers = headers,
		.body = asked->form,
		.body_len = asked->form ? strlen(asked->form) : 0,
		.response_max = ERROR_MAX,
		.total_timeout_ms = (asked->is_long ? LONG_TOTAL_FACTOR : 1) *
				    etcd->http.request_timeout_ms,
		.idle_timeout_ms = asked->is_long ? LONG_IDLE_FACTOR * etcd->http.request_timeout_ms
						  : 0,
		.head = got_head,
		.chunk = got_chunk,
		.done = http_done,
		.arg = call,
	};

	call->base.endpoint = endpoint_set_pick(&etcd->http.endpoints, call->base.tried);
	call->reader_err.code = 0;
	call->reply = (struct etcd2_reply){ 0 };
	call->head = (struct etcd2_head){ 0 };
	etcd2_reader_free(call->reader);
	call->reader = etcd2_reader_new(got_node, call);
	url = etcd2_url(etcd, call->base.endpoint, asked->key, asked->query);
	request.url = url;
	kv_http_call_send(&call->base, &request);
}

static struct etcd2_call *call_new(struct etcd2 *etcd, const struct etcd2_request *request)
{
	struct etcd2_call *call = xnew(struct etcd2_call);

	call->etcd = etcd;
	call->request = *request;
	kv_http_call_begin(&call->base, &etcd->http, !request->idempotent, call_free);
	return call;
}

struct kv_http_call *etcd2_call_start(struct etcd2 *etcd, const struct etcd2_request *request)
{
	struct etcd2_call *call = call_new(etcd, request);

	attempt(call);
	return &call->base;
}

static void soon_due(void *arg)
{
	struct etcd2_call *call = arg;

	finish(call, call->soon_r);
}

struct kv_http_call *etcd2_call_end_soon(struct etcd2 *etcd, const struct etcd2_request *request,
					 int r, const struct err *e)
{
	struct etcd2_call *call = call_new(etcd, request);

	call->soon_r = r;
	if (r < 0)
		call->base.err = *e;
	call->soon = timer_new(etcd->http.base.loop, soon_due, call);
	timer_start(call->soon, 0);
	return &call->base;
}
