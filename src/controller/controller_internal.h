// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts of the controller share.
#pragma once

#include "controller/caller.h"
#include "controller/controller.h"
#include "controller/join_token.h"
#include "controller/limits.h"
#include "controller/mirror.h"
#include "core/json.h"
#include "store/wire.h"

#define TYPE_JSON "application/json"
#define TYPE_LINES "application/x-ndjson"

#define OP_PAIRS_MAX (KV_TXN_MAX * (size_t)WIRE_LINE_MAX)

// A request that the store is asked for.
struct op {
	struct controller *controller;
	struct op *previous;
	struct op *next;
	struct http_exchange *exchange;
	struct strbuf pairs;	 // that came, as they are sent
	bool surely_writes;	 // a transaction that changes something if it succeeds
	json_t *answer;		 // of a token's request that the store did; NULL otherwise
	struct judging *judging; // of a transaction that is not with the store yet; NULL otherwise
};

// Tokens, and what follows from the admin's, so that all controllers that share it agree.
#define ACCESS_KEY_BYTES 32
struct access {
	char *admin_token; // NULL: nobody is asked for one, and all may do everything
	char join_token[JOIN_TOKEN_MAX];
	unsigned char proof_key[ACCESS_KEY_BYTES]; // of guard_proof
};

// What agents ask for, for the metrics.
enum request_kind {
	REQUEST_RANGE,
	REQUEST_TXN,
	REQUEST_WATCH,
	REQUEST_SESSION,
	REQUEST_TOKEN,
	REQUEST_FLANNEL, // by the API of flannel's server
	REQUEST_KIND_COUNT
};

struct controller_counts {
	uint64_t requests[REQUEST_KIND_COUNT];
	uint64_t refused;
	uint64_t put_off;
};

struct controller {
	struct kv *kv;
	struct loop *loop;
	char *prefix; // with the slash at its end
	struct access access;
	struct limits *limits;
	struct mirror *mirror;
	struct http_server *server;
	struct timer *late; // for the range that has waited longest
	struct timer *trim; // gives back the memory of many ranges
	struct range_wait *waits;
	struct op *ops;
	struct watcher *watchers;
	size_t watcher_count;
	struct v1 *v1;
	struct controller_counts counts;
	struct timer *wake; // gathers changes for the watchers
	char sweep;	    // stands for the removal of tokens that have ended
	int64_t written;    // the last revision that was written through us: ranges are not older
};

// ---- access.c ----
void access_init(struct access *access, const char *admin_token); // anew, too; NULL: as struct access has it
void access_free(struct access *access);
enum caller_role access_role(const struct controller *controller, const struct http_exchange *exchange);
void access_caller(const struct controller *controller, const struct http_exchange *exchange,
		   struct caller *ret);
bool access_is_guarded(const struct controller *controller); // false: with --insecure
bool access_is_granted(enum caller_role role);
void access_refuse(struct http_exchange *exchange, enum caller_role role); // answers

// ---- requests to the store, write.c ----
struct op *op_new(struct controller *controller, struct http_exchange *exchange);
void op_end(struct op *op);		     // was answered
void ops_end(struct controller *controller); // the store is not to answer any more
// Takes value over.
void answer_json(struct http_exchange *exchange, unsigned int status, json_t *value);
void answer_error(struct http_exchange *exchange, int r, const char *text);
void answer_busy(struct http_exchange *exchange, const struct caller *caller, uint32_t retry_ms,
		 const char *why); // 429
// Of a request: a key or prefix that is ours to serve, terminated, caller frees. -EINVAL, -EACCES.
int read_our_key(const struct controller *controller, const json_t *object, const char *name,
		 char **ret, size_t *ret_len, struct err *e);
bool is_our_key(const struct controller *controller, const char *key, size_t len);

// ---- metrics.c ----
void serve_metrics(const struct controller *controller, struct http_exchange *exchange);

// ---- range.c ----
void serve_range(struct controller *controller, struct http_exchange *exchange, const json_t *request);
void ranges_go_on(struct controller *controller); // the mirror has news
void ranges_end(struct controller *controller);
void range_late(void *arg);
void range_trim(void *arg);

// ---- txn.c ----
struct judging *judging_free(struct judging *judging);
void serve_txn(struct controller *controller, struct http_exchange *exchange, const json_t *request);

// ---- sessions, write.c ----
void serve_session_open(struct controller *controller, struct http_exchange *exchange,
			const json_t *request);
void serve_session_keep_alive(struct controller *controller, struct http_exchange *exchange,
			      const json_t *request);
void serve_session_query(struct controller *controller, struct http_exchange *exchange,
			 const json_t *request);
void serve_session_close(struct controller *controller, struct http_exchange *exchange,
			 const json_t *request);

// ---- watch.c ----
void serve_watch(struct controller *controller, struct http_exchange *exchange, const json_t *request);
void watchers_wake_soon(struct controller *controller);
void watchers_wake(void *arg);
void watchers_lose(struct controller *controller); // the store is another one
