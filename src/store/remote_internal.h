// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts of the client of a controller share: its calls and watches.
#pragma once

#include "core/strbuf.h"
#include "store/remote.h"
#include "store/kv_watch_life.h"
#include "store/wire.h"

// What a controller gave us with a session that we opened, so that any controller of the store knows it for ours before
// there is a key that says so. A host in 64 networks has one each, and one more for the next when a lease was lost.
#define REMOTE_PROOFS_MAX 128
#define REMOTE_PROOF_MAX 65
struct remote_proof {
	int64_t session; // 0: none
	char text[REMOTE_PROOF_MAX];
};

struct remote {
	struct kv_http http;
	char *authorization;			       // a header with the token; NULL: none
	char *identity;				       // a header with who we are; NULL: none
	struct remote_proof proofs[REMOTE_PROOFS_MAX]; // of the sessions that were opened last
	size_t proof_next;
	struct remote_v1 *v1; // for a server of flannel 0.5 to 0.7, see remote_v1.h
};

// ---- lines, remote_lines.c ----
// One JSON object of a stream. Non-zero ends the stream with that code.
typedef int remote_line_fn(void *arg, const json_t *line);
struct remote_lines {
	struct strbuf line; // that has not ended yet
	remote_line_fn *fn;
	void *arg;
};
void remote_lines_init(struct remote_lines *lines, remote_line_fn *fn, void *arg);
// -EPROTO: no stream of a controller; else what fn says.
int remote_lines_feed(struct remote_lines *lines, const char *data, size_t len);
void remote_lines_free(struct remote_lines *lines);

// ---- calls, remote_call.c ----
struct remote_request {
	const char *path;
	json_t *body;	 // taken over
	bool idempotent; // may be sent again when an answer was lost
	bool falls_back; // -EPROTONOSUPPORT in place of other errors if a server was asked that knows no such path
	remote_line_fn *line; // NULL: the answer is one object
	// The whole answer is there: the object, or NULL after the last line. Negative: it makes no sense.
	int (*read)(void *arg, const json_t *json, struct err *e);
	// 0: it was read. -EINPROGRESS: it may have been done.
	void (*done)(void *arg, int r, const struct err *e);
	void *arg; // freed after done, or when the store is closed
};
void remote_call_start(struct remote *remote, const struct remote_request *request);
// Of every request, ends with NULL.
#define REMOTE_HEADERS_MAX 4
void remote_headers(const struct remote *remote, const char *ret[static REMOTE_HEADERS_MAX]);
// What an answer other than 200 says; its errno. *ret_foreign: a controller would say it in other words.
int remote_read_refusal(const struct remote *remote, const struct http_response *response,
			bool *ret_foreign, struct err *e);

// When a controller that was asked too often wants to be asked again; 0: it was not that.
uint32_t remote_retry_ms(const struct http_response *response);

// ---- watches, remote_watch.c ----
struct remote_watch {
	struct kv_watch base;
	struct remote *remote;
	struct watch_life life; // while a stream is open its timer is the dead man's
	struct http_call *stream;
	struct remote_lines lines;
	char *prefixes[KV_WATCH_PREFIXES_MAX];
	size_t prefix_count;
	size_t endpoint;
	uint64_t cluster_id;
	int64_t next;	// the revision that is not complete yet
	uint64_t *told; // hashes of the keys of its events that were told
	size_t told_count;
	size_t told_capacity;
	size_t skip_first; // of those, which the present stream is to send once more: from here
	size_t skip_end;   // to here
	uint64_t alive_ms;
	struct v1_watch *v1; // does all of it; NULL: the server is a controller
	bool refusal_told;
	bool parsing;	// a line is being read
	struct err err; // of a line that made no sense
};
void remote_watch_start(struct kv_watch *base, const char *const *prefixes, int64_t from,
			uint64_t cluster_id);
void remote_watch_end(struct kv_watch *base);
