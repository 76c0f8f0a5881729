// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts of the Consul store share: its endpoints, its requests, what it has handed on.
#pragma once

#include "core/json_stream.h"
#include "store/consul_json.h"
#include "store/consul_known.h"
#include "store/consul_sessions.h"
#include "store/kv_watch_life.h"

// Our sessions are of this node of Consul's catalog, which is no machine: see consul_session.c.
#define CONSUL_NODE "weft"

struct consul {
	struct kv_http http;
	char *token; // header line, a secret; NULL: none

	struct consul_sessions *sessions;
	// What the last ranges handed on, each of another prefix, the newest first.
	struct consul_known *ranges[KV_WATCH_PREFIXES_MAX];
	struct consul_late *late;
	struct consul_watch *watches;
};

// ---- requests ----
struct consul_answer {
	int r;
	int status;	  // r 0: 200, or 404 or 409 where the request takes it
	const char *text; // terminated; of an array of pairs nothing
	size_t len;
	int64_t index;		     // r 0, index_wanted: of the store, above 0
	size_t endpoint;	     // r 0: which one answered
	const struct err *err;	     // r < 0
	enum consul_verdict verdict; // r < 0
};
struct consul_request {
	const char *method;
	char *path;	  // behind "/v1"; taken over
	char *body;	  // taken over; NULL: none
	bool idempotent;  // may be sent again when an answer was lost
	bool is_long;	  // of any length: may take many times as long, if it does not stand still
	uint32_t wait_ms; // the server may take its time so long before it answers
	uint32_t timeout_ms; // 0: the store's
	bool takes_404;
	bool takes_409;
	bool index_wanted;
	json_element_fn *element; // gets the elements of the answer, which is an array; NULL: it is kept
	const char *array;	  // the array is this member of the answer; NULL: all of it
	void (*done)(void *arg, const struct consul_answer *answer);
	void *arg;
	void (*free_arg)(void *arg); // after done, or when the store is closed; NULL: nothing
};
struct kv_http_call *consul_call_start(struct consul *consul, const struct consul_request *request);
// Calls done from the loop, for what is known without asking.
void consul_later(struct consul *consul, int r, const char *why,
		  void (*done)(void *arg, int r, const struct err *e), void *arg,
		  void (*free_arg)(void *arg));
void consul_late_drop(struct consul *consul); // all of them, freeing their args

// Asks for the revision of the whole store, as of now, by way of a key that starts like this one.
void consul_ask_revision(struct consul *consul, const char *key, uint32_t timeout_ms,
			 void (*done)(void *arg, const struct consul_answer *answer), void *arg,
			 void (*free_arg)(void *arg), struct kv_http_call **ret);
// That of the last deletion of this key, or a later one of it.
void consul_ask_key_revision(struct consul *consul, const char *key,
			     void (*done)(void *arg, const struct consul_answer *answer), void *arg,
			     void (*free_arg)(void *arg));

// ---- what was handed on ----
// Fills in session and value.
int consul_complete_pair(struct consul *consul, struct consul_pair *pair, struct err *e);
// The caller knows that this key was there: a watch that does not find it has to tell.
void consul_note(struct consul *consul, const char *key, size_t len, int64_t revision);

void consul_range(struct kv *kv, const char *key, bool is_prefix, kv_pair_fn *each,
		  kv_range_done_fn *done, void *arg);
#define CONSUL_TXN_MAX 16
void consul_txn(struct kv *kv, const struct kv_txn *what, kv_pair_fn *each, kv_txn_done_fn *done,
		void *arg);
void consul_session_open(struct kv *kv, int64_t ttl_s, kv_session_fn *done, void *arg);
void consul_session_keep_alive(struct kv *kv, int64_t session, kv_session_fn *done, void *arg);
void consul_session_query(struct kv *kv, int64_t session, kv_session_fn *done, void *arg);
void consul_session_close(struct kv *kv, int64_t session, kv_session_fn *done, void *arg);

// ---- watches ----
struct consul_change {
	enum kv_watch_kind kind;
	struct consul_pair pair; // complete; of a DELETE only its key and revision
};
struct consul_changes {
	struct consul_change *items;
	size_t count;
	size_t capacity;
	size_t told; // so many of them are told, and empty
	size_t value_bytes;
};
struct consul_part {
	struct consul_watch *watch;
	struct consul_known *known;
	struct consul_known *read;     // what the present answer has
	struct consul_changes changes; // what is new in it
	struct kv_http_call *call;     // NULL: nothing is asked
	bool is_based;		       // known is what the caller was handed
	bool is_begun;		       // the prefix was read once
	bool is_current;	       // it was read since the watch last connected
	int64_t index;		       // to wait beyond; 0: read at once
	int64_t floor;		       // the present answer is of this revision at least
	int64_t highest;	       // mod_revision in the present answer
	int64_t complete;	       // all up to it was found
};
struct consul_watch {
	struct kv_watch base;
	struct consul *consul;
	struct consul_watch *previous;
	struct consul_watch *next;
	struct consul_part parts[KV_WATCH_PREFIXES_MAX];
	size_t part_count;
	int64_t from;
	int64_t revision; // highest that the store is known to have had
	int64_t complete; // as was told
	size_t endpoint;  // that the reads wait at
	struct kv_http_call *probe;
	struct watch_life life;	       // up its timer is for the next probe
	struct timer *turn;	       // hands on changes
	struct consul_changes changes; // to be told, in order
	bool is_foreign;	       // it is to watch another store than this
	struct err err;		       // of an element that made no sense
};
void consul_watch_start(struct kv_watch *base, const char *const *prefixes, int64_t from,
			uint64_t cluster_id);
void consul_watch_end(struct kv_watch *base); // what it owns, not the watch itself
