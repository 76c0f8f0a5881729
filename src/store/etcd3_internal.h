// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts of the etcd store share: its endpoints, its token, its requests.
#pragma once

#include "core/json_stream.h"
#include "store/etcd3_json.h"
#include "store/etcd3_lines.h"
#include "store/kv_watch_life.h"

// Somebody who needs a token; linked while waiting.
struct etcd3_waiter {
	struct etcd3_waiter *previous;
	struct etcd3_waiter *next;
	void (*ready)(void *arg, int r, const struct err *e);
	void *arg;
	uint64_t token_number; // the last one known when the waiting began
	bool waiting;
};

struct etcd3 {
	struct kv_http http; // older_api of an endpoint: "/v3beta", for etcd 3.3, in place of "/v3"

	char *username; // NULL: none
	char *password;
	char *token;	       // NULL: none yet
	bool token_needless;   // the store has authentication off
	uint64_t token_number; // counts the tokens, so that a refused one is thrown away once
	bool token_coming;
	struct etcd3_waiter *waiters;

	struct etcd3_watch *watches;
};

// ---- URLs ----
char *etcd3_url(const struct etcd3 *etcd, size_t endpoint, bool older_api,
		const char *path); // caller frees

// ---- token ----
bool etcd3_token_ready(const struct etcd3 *etcd);
// Calls ready, not before it returned, when there is a token or none can be had.
void etcd3_token_wait(struct etcd3 *etcd, struct etcd3_waiter *waiter);
void etcd3_token_forget(struct etcd3 *etcd, struct etcd3_waiter *waiter);
// The token of this number was refused: the next one who needs one asks for another. False: there
// is none to be had.
bool etcd3_token_refused(struct etcd3 *etcd, uint64_t number);
// Header lines for a request, ending with NULL; ret_header holds the one that carries the token.
#define ETCD3_HEADERS_MAX 4
void etcd3_headers(const struct etcd3 *etcd, bool with_token, char **ret_header,
		   const char *ret[static ETCD3_HEADERS_MAX]);

// ---- requests ----
struct etcd3_answer {
	int r;
	const json_t *json;	    // r 0: the answer, its array emptied
	const struct err *err;	    // r < 0
	enum etcd3_verdict verdict; // r < 0
	unsigned int sendings;	    // how often it may have reached a server
};
struct etcd3_request {
	const char *path; // behind the API's version
	char *body;	  // taken over
	bool idempotent;  // may be sent again when an answer was lost
	bool without_token;
	bool is_long;	   // of any length: may take many times as long, if it does not stand still
	bool is_line;	   // the answer is one line of a stream, {"result":...}
	const char *array; // elements of this member go to element; NULL: none do
	json_element_fn *element;
	void (*done)(void *arg, const struct etcd3_answer *answer);
	void *arg;		     // freed after done, or when the store is closed
	void (*free_arg)(void *arg); // NULL: free()
};
struct kv_http_call *etcd3_call_start(struct etcd3 *etcd, const struct etcd3_request *request);

// ---- watches ----
// How far a watch has come with one of its prefixes.
struct etcd3_progress {
	char *prefix;
	int64_t next; // revision to resume from
	// Events of revision `next` that were handed on already: their message is not complete.
	unsigned int seen;
	unsigned int to_skip; // of those, in the present stream
	int64_t watch_id;     // in the present stream; -1: not created yet
};
struct etcd3_watch {
	struct kv_watch base;
	struct etcd3 *etcd;
	struct etcd3_watch *previous;
	struct etcd3_watch *next;
	struct etcd3_progress progress[KV_WATCH_PREFIXES_MAX];
	size_t prefix_count;
	size_t created; // of the prefixes, in the present stream
	uint64_t cluster_id;
	uint64_t raft_term;	  // highest seen
	int64_t revision;	  // highest seen
	int64_t complete;	  // as last told
	struct http_call *stream; // NULL: none
	struct etcd3_lines *lines;
	bool parsing;
	size_t endpoint;
	bool older_api; // of the present stream
	bool other_api; // the endpoint's usual one was not found there
	struct etcd3_waiter waiter;
	uint64_t token_number;
	struct kv_http_call *check; // under way: has the store really gone back in time?
	int64_t check_revision;	    // what it must have at least
	uint64_t check_term;
	struct watch_life life; // with a stream its timer is for asking for the next sign of life
	uint64_t alive_ms;	// last byte
	struct err err;		// of an element that made no sense
};
void etcd3_watch_start(struct kv_watch *base, const char *const *prefixes, int64_t from,
		       uint64_t cluster_id);
void etcd3_watch_end(struct kv_watch *base); // what it owns, not the watch itself
