// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the operations of the store "controller": what each asks and how its answer is told.
#include "core/mem.h"
#include "store/remote_v1.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static struct remote *remote_of(const struct kv *kv)
{
	assert(kv->ops == &remote_ops);
	return (struct remote *)kv;
}

// What is kept of a caller until its answer is there.
struct operation {
	struct remote *remote;
	kv_pair_fn *each;
	union {
		kv_range_done_fn *range;
		kv_txn_done_fn *txn;
		kv_session_fn *session;
	} done;
	void *arg;
	// The answer.
	struct kv_header header;
	bool complete; // a range has come to its end
	bool succeeded;
	int64_t session;
	int64_t ttl_s;
	// A range, for asking it of another kind of server.
	bool is_prefix;
	char key[];
};

static struct operation *operation_new(struct kv *kv, const char *key, kv_pair_fn *each, void *arg)
{
	struct operation *operation = xcalloc(1, sizeof(*operation) + strlen(key) + 1);

	memcpy(operation->key, key, strlen(key));
	operation->remote = remote_of(kv);
	operation->each = each;
	operation->arg = arg;
	return operation;
}

// ---- keys ----

static int hand_on(const struct operation *operation, const json_t *object, struct err *e)
{
	_cleanup_wire_pair_ struct wire_pair pair = { 0 };
	int r = wire_read_pair(object, &pair, e);

	if (r == 0)
		operation->each(operation->arg, &pair.pair);
	return r;
}

static int range_line(void *arg, const json_t *line)
{
	struct operation *operation = arg;
	const json_t *pair = json_object_get(line, "pair");

	if (operation->complete)
		return -EPROTO;
	if (pair)
		return hand_on(operation, pair, NULL);
	if (wire_read_header(json_object_get(line, "header"), &operation->header, NULL) < 0)
		return -EPROTO;
	operation->complete = true;
	return 0;
}

static int range_read(void *arg, const json_t *json, struct err *e)
{
	const struct operation *operation = arg;

	(void)json;
	return operation->complete ? 0 : err_set(e, -EPROTO, "a range that was cut short");
}

static void range_done(void *arg, int r, const struct err *e)
{
	const struct operation *operation = arg;

	if (r == -EPROTONOSUPPORT) {
		// A server of flannel's, perhaps.
		v1_range(operation->remote->v1, operation->key, operation->is_prefix, e,
			 operation->each, operation->done.range, operation->arg);
		return;
	}
	operation->done.range(operation->arg, r, r == 0 ? &operation->header : NULL, e);
}

static void range(struct kv *kv, const char *key, bool is_prefix, kv_pair_fn *each,
		  kv_range_done_fn *done, void *arg)
{
	struct operation *operation;
	struct remote_request request = {
		.path = "/v2/range",
		.idempotent = true,
		.falls_back = true,
		.line = range_line,
		.read = range_read,
		.done = range_done,
	};

	if (remote_v1_is_used(remote_of(kv))) {
		v1_range(remote_of(kv)->v1, key, is_prefix, NULL, each, done, arg);
		return;
	}
	request.arg = operation = operation_new(kv, key, each, arg);
	request.body = json_object();
	operation->is_prefix = is_prefix;
	wire_set_bytes(request.body, is_prefix ? "prefix" : "key", key, strlen(key));
	operation->done.range = done;
	remote_call_start(remote_of(kv), &request);
}

// ---- proofs ----

static void keep_proof(struct remote *remote, int64_t session, const json_t *json)
{
	struct remote_proof *proof = &remote->proofs[remote->proof_next];
	const char *text = NULL;

	if (json_get_string(json, "proof", &text, NULL) < 0 || !text ||
	    text_copy(proof->text, sizeof(proof->text), text) < 0)
		return; // of a controller that asks for none
	proof->session = session;
	remote->proof_next = (remote->proof_next + 1) % REMOTE_PROOFS_MAX;
}

static void add_proof(const struct remote *remote, json_t *body, int64_t session)
{
	for (size_t i = 0; session != 0 && i < REMOTE_PROOFS_MAX; i++)
		if (remote->proofs[i].session == session)
			json_object_set_new(body, "proof", json_string(remote->proofs[i].text));
}

// ---- transactions ----

static int txn_read(void *arg, const json_t *json, struct err *e)
{
	struct operation *operation = arg;
	const json_t *pairs = json_object_get(json, "pairs");
	const json_t *succeeded = json_object_get(json, "succeeded");
	int r = wire_read_header(json_object_get(json, "header"), &operation->header, e);

	if (r == 0 && !json_is_boolean(succeeded))
		r = err_set(e, -EPROTO, "succeeded: neither true nor false");
	operation->succeeded = json_is_true(succeeded);
	for (size_t i = 0; r == 0 && i < json_array_size(pairs); i++)
		r = hand_on(operation, json_array_get(pairs, i), e);
	return r;
}

static void txn_done(void *arg, int r, const struct err *e)
{
	const struct operation *operation = arg;

	operation->done.txn(operation->arg, r, r == 0 && operation->succeeded,
			    r == 0 ? &operation->header : NULL, e);
}

static void txn(struct kv *kv, const struct kv_txn *txn, kv_pair_fn *each, kv_txn_done_fn *done,
		void *arg)
{
	struct operation *operation;
	struct remote_request request = {
		.path = "/v2/txn",
		.read = txn_read,
		.done = txn_done,
	};

	if (remote_v1_is_used(remote_of(kv))) {
		v1_txn(remote_of(kv)->v1, txn, each, done, arg);
		return;
	}
	request.arg = operation = operation_new(kv, "", each, arg);
	request.body = wire_txn(txn);
	operation->done.txn = done;
	for (size_t i = 0; i < txn->write_count; i++)
		add_proof(remote_of(kv), request.body, txn->writes[i].session);
	remote_call_start(remote_of(kv), &request);
}

// ---- sessions ----

static int session_read(void *arg, const json_t *json, struct err *e)
{
	struct operation *operation = arg;

	if (wire_read_int(json, "session", INT64_MIN, INT64_MAX, &operation->session, NULL) < 0 ||
	    wire_read_int(json, "ttl_s", 0, INT64_MAX, &operation->ttl_s, NULL) < 0 ||
	    operation->session == 0)
		return err_set(e, -EPROTO, "not a session of a controller");
	keep_proof(operation->remote, operation->session, json);
	return 0;
}

static void session_done(void *arg, int r, const struct err *e)
{
	const struct operation *operation = arg;

	operation->done.session(operation->arg, r, r == 0 ? operation->session : 0,
				r == 0 ? operation->ttl_s : 0, e);
}

// Takes body over.
static void session_request(struct kv *kv, const char *path, json_t *body, bool idempotent,
			    kv_session_fn *done, void *arg)
{
	struct operation *operation = operation_new(kv, "", NULL, arg);
	struct remote_request request = {
		.path = path,
		.body = body,
		.idempotent = idempotent,
		.read = session_read,
		.done = session_done,
		.arg = operation,
	};

	operation->done.session = done;
	remote_call_start(remote_of(kv), &request);
}

// An answer that is lost leaves a session that nobody knows, which ends by itself.
static void session_open(struct kv *kv, int64_t ttl_s, kv_session_fn *done, void *arg)
{
	if (remote_v1_is_used(remote_of(kv)))
		v1_session_open(remote_of(kv)->v1, ttl_s, done, arg);
	else
		session_request(kv, "/v2/session/open",
				json_pack("{s:I}", "ttl_s", (json_int_t)ttl_s), false, done, arg);
}

static json_t *session_body(struct kv *kv, int64_t session)
{
	json_t *body = json_pack("{s:I}", "session", (json_int_t)session);

	add_proof(remote_of(kv), body, session);
	return body;
}

static void session_keep_alive(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	if (remote_v1_is_used(remote_of(kv)))
		v1_session_keep_alive(remote_of(kv)->v1, session, done, arg);
	else
		session_request(kv, "/v2/session/keep-alive", session_body(kv, session), true, done,
				arg);
}

static void session_query(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	if (remote_v1_is_used(remote_of(kv)))
		v1_session_query(remote_of(kv)->v1, session, done, arg);
	else
		session_request(kv, "/v2/session/query", session_body(kv, session), true, done, arg);
}

static void session_close(struct kv *kv, int64_t session, kv_session_fn *done, void *arg)
{
	if (remote_v1_is_used(remote_of(kv)))
		v1_session_close(remote_of(kv)->v1, session, done, arg);
	else
		session_request(kv, "/v2/session/close", session_body(kv, session), true, done, arg);
}

// ---- open and close ----

static int remote_open(struct kv *kv, const struct store_config *config, struct err *e)
{
	struct remote *remote = remote_of(kv);
	int r;

	if (config->token)
		remote->authorization = xasprintf("Authorization: Bearer %s", config->token);
	remote->v1 = remote_v1_new(remote, config->prefix);
	if (config->identity)
		remote->identity = xasprintf("Weft-Identity: %s", config->identity);
	r = kv_http_open(&remote->http, config, e);
	return r < 0 ? err_wrap(e, "controller") : 0;
}

static void remote_close(struct kv *kv)
{
	struct remote *remote = remote_of(kv);

	kv_http_close(&remote->http);
	remote_v1_free(remote->v1);
	secret_text_free(remote->authorization);
	secret_text_free(remote->identity);
}

const struct kv_ops remote_ops = {
	.kind = "controller",
	.txn_max = KV_TXN_MAX,
	.size = sizeof(struct remote),
	.watch_size = sizeof(struct remote_watch),
	.open = remote_open,
	.close = remote_close,
	.range = range,
	.txn = txn,
	.session_open = session_open,
	.session_keep_alive = session_keep_alive,
	.session_query = session_query,
	.session_close = session_close,
	.watch = remote_watch_start,
	.watch_free = remote_watch_end,
	.endpoint = kv_http_endpoint,
	.reconnect = kv_http_reconnect,
};
