// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the operations of the etcd store: what each asks and how its answer is told.
#include "store/etcd3.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "store/etcd3_internal.h"
#include "store/etcd3_range.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static struct etcd3 *etcd3_of(const struct kv *kv)
{
	assert(kv->ops == &etcd3_ops);
	return (struct etcd3 *)kv;
}

// What is kept of a caller until its answer is there.
struct operation {
	kv_pair_fn *each;
	union {
		kv_txn_done_fn *txn;
		kv_session_fn *session;
	} done;
	void *arg;
	int64_t session;
	struct err element_err; // of an element that made no sense
};

static struct operation *operation_new(kv_pair_fn *each, void *arg)
{
	struct operation *operation = xnew(struct operation);

	operation->each = each;
	operation->arg = arg;
	return operation;
}

static int64_t read_number(const json_t *json, const char *name, int *r, struct err *e)
{
	int64_t number = 0;

	if (*r == 0)
		*r = etcd3_read_int(json, name, &number, e);
	return number;
}

// ---- keys ----

static void range(struct kv *kv, const char *key, bool is_prefix, kv_pair_fn *each,
		  kv_range_done_fn *done, void *arg)
{
	etcd3_range(etcd3_of(kv), key, is_prefix, each, done, arg);
}

static int read_answer_header(const struct operation *operation, const struct etcd3_answer *answer,
			      struct etcd3_header *ret, struct err *e)
{
	if (answer->r == 0)
		return etcd3_read_header(answer->json, ret, e);
	*e = operation->element_err.code < 0 ? operation->element_err : *answer->err;
	return answer->r;
}

static int txn_element(void *arg, const char *text, size_t len)
{
	struct operation *operation = arg;

	return etcd3_read_response(text, len, operation->each, operation->arg, &operation->element_err);
}

static void txn_answered(void *arg, const struct etcd3_answer *answer)
{
	struct operation *operation = arg;
	struct etcd3_header header = { 0 };
	struct err e;
	int r = read_answer_header(operation, answer, &header, &e);
	bool succeeded = r == 0 && etcd3_read_bool(answer->json, "succeeded");

	operation->done.txn(operation->arg, r, succeeded, r == 0 ? &header.kv : NULL,
			    r < 0 ? &e : NULL);
}

static void txn(struct kv *kv, const struct kv_txn *txn, kv_pair_fn *each, kv_txn_done_fn *done,
		void *arg)
{
	struct operation *operation = operation_new(each, arg);
	struct etcd3_request request = {
		.path = "/kv/txn",
		.body = etcd3_txn_body(txn),
		.array = "responses",
		.element = txn_element,
		.done = txn_answered,
		.arg = operation,
	};

	operation->done.txn = done;
	etcd3_call_start(etcd3_of(kv), &request);
}

// ---- sessions, which are etcd's leases ----

static struct operation *session_operation_new(int64_t session, kv_session_fn *done, void *arg)
{
	struct operation *operation = operation_new(NULL, arg);

	operation->session = session;
	operation->done.session = done;
	return operation;
}

static void session_told(const struct operation *operation, int r, int64_t ttl_s, const struct err *e)
{
	operation->done.session(operation->arg, r, operation->session, ttl_s, r < 0 ? e : NULL);
}

static void grant_answered(void *arg, const struct etcd3_answer *answer)
{
	struct operation *operation = arg;
	struct err e;
	int r = answer->r;
	int64_t ttl_s = 0;

	if (r == 0) {
		ttl_s = read_number(answer->json, "TTL", &r, &e);
	} else {
		e = *answer->err;
		// Nothing of an id that no server has taken up can be left behind.
		if (answer->verdict != ETCD3_UNKNOWN)
			operation->session = 0;
	}
	session_told(operation, r, ttl_s, &e);
}

static void session_open(struct kv *kv, int64_t ttl_s, kv_session_fn *done, void *arg)
{
	// The id is ours to choose, so that a session whose answer was lost can be closed.
	struct operation *operation =
		session_operation_new(1 + (int64_t)random_below(INT64_MAX - 1), done, arg);
	struct etcd3_request request = {
		.path = "/lease/grant",
		.body = etcd3_grant_body(operation->session, ttl_s),
		.done = grant_answered,
		.arg = operation,
	};

	etcd3_call_start(etcd3_of(kv), &request);
}

static void session_request(struct kv *kv, const char *path, int64_t session, bool is_line,
			    void (*answered)(void *arg, const struct etcd3_answer *answer),
			    kv_session_fn *done, void *arg)
{
	struct etcd3_request request = {
		.path = path,
		.body = etcd3_session_body(session),
		.idempotent = true,
		.is_line = is_line,
		.done = answered,
		.arg = session_operation_new(session, done, arg),
	};

	etcd3_call_start(etcd3_of(kv), &request);
}

static int no_session(const struct operation *operation, struct err *e)
{
	return err_set(e, -ENOENT, "etcd: no lease %016llx", (unsigned long long)operation->session);
}

static void keep_alive_answered(void *arg, const struct etcd3_answer *answer)
{
	struct operation *operation = arg;
	struct err e;
	int r = answer->r;
	int64_t ttl_s = 0;

	if (r == 0) {
		ttl_s = read_number(answer->json, "TTL", &r, &e);
		// An ended lease is answered like a living one, but for the time.
		if (r == 0 && ttl_s <= 0)
			r = no_session(operation, &e);
	} else {
		e = *answer->err;
	}
	session_told(operation, r, ttl_s, &e);
}

static void session_keep_alive(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	session_request(kv, "/lease/keepalive", session, true, keep_alive_answered, done, arg);
}

static void query_answered(void *arg, const struct etcd3_answer *answer)
{
	struct operation *operation = arg;
	struct err e;
	int r = answer->r;
	int64_t ttl_s = 0;

	if (r == 0) {
		ttl_s = read_number(answer->json, "TTL", &r, &e);
		if (r == 0 && ttl_s < 0)
			r = no_session(operation, &e);
	} else {
		e = *answer->err;
	}
	session_told(operation, r, ttl_s, &e);
}

static void session_query(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	session_request(kv, "/lease/timetolive", session, false, query_answered, done, arg);
}

static void revoke_answered(void *arg, const struct etcd3_answer *answer)
{
	const struct operation *operation = arg;
	// Not found by a second sending: the first one did it.
	bool done_before = answer->r == -ENOENT && answer->sendings > 1;

	session_told(operation, done_before ? 0 : answer->r, 0, answer->err);
}

static void session_close(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	session_request(kv, "/lease/revoke", session, false, revoke_answered, done, arg);
}

// ---- open and close ----

static int etcd3_open(struct kv *kv, const struct store_config *config, struct err *e)
{
	struct etcd3 *etcd = etcd3_of(kv);
	int r;

	if (config->username && config->username[0]) {
		etcd->username = xstrdup(config->username);
		etcd->password = xstrdup(config->password ? config->password : "");
	}
	r = kv_http_open(&etcd->http, config, e);
	return r < 0 ? err_wrap(e, "etcd") : 0;
}

static void etcd3_close(struct kv *kv)
{
	struct etcd3 *etcd = etcd3_of(kv);

	kv_http_close(&etcd->http);
	free(etcd->username);
	secret_text_free(etcd->password);
	secret_text_free(etcd->token);
}

const struct kv_ops etcd3_ops = {
	.kind = "etcd3",
	.txn_max = KV_TXN_MAX,
	.size = sizeof(struct etcd3),
	.watch_size = sizeof(struct etcd3_watch),
	.open = etcd3_open,
	.close = etcd3_close,
	.range = range,
	.txn = txn,
	.session_open = session_open,
	.session_keep_alive = session_keep_alive,
	.session_query = session_query,
	.session_close = session_close,
	.watch = etcd3_watch_start,
	.watch_free = etcd3_watch_end,
	.endpoint = kv_http_endpoint,
	.reconnect = kv_http_reconnect,
};
