// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts of the etcd v2 store share: its endpoints, its requests, its sessions.
#pragma once

#include "core/strbuf.h"
#include "store/etcd2_json.h"
#include "store/kv_watch_life.h"

struct etcd2 {
	struct kv_http http;
	char *authorization; // header line, a secret; NULL: none
	struct etcd2_sessions *sessions;
};

// ---- keys ----
// v2's keys are paths: from the root, without empty parts and "." and "..", UTF-8 without NUL. -EINVAL
// for what is none.
int etcd2_key_check(const char *key, size_t len, struct err *e);
char *etcd2_url(const struct etcd2 *etcd, size_t endpoint, const char *key,
		const char *query); // caller frees
// The directory in which all keys that start with prefix are: "/a/b" for "/a/b/" and "/a/b/c". Caller
// frees.
char *etcd2_directory_of(const char *prefix);
// Encodes for a URL or a form. keep_slash: of a path.
void etcd2_encode(struct strbuf *buf, const char *text, size_t len, bool keep_slash);

// ---- requests ----
// What the headers of an answer say; zero where they say nothing.
struct etcd2_head {
	struct kv_header kv; // revision: X-Etcd-Index
	uint64_t raft_term;
};
int etcd2_read_head(const struct http_head *head, struct etcd2_head *ret, struct err *e);

enum etcd2_verdict {
	ETCD2_REFUSED,	// surely not done, and no other endpoint would do it
	ETCD2_NOT_DONE, // surely not done here: another endpoint may
	ETCD2_UNKNOWN,	// may have been done
};
// Error codes of v2 that are answers to what was asked.
#define ETCD2_KEY_NOT_FOUND 100
#define ETCD2_COMPARE_FAILED 101
#define ETCD2_NOT_A_FILE 102
#define ETCD2_NODE_EXISTS 105
#define ETCD2_INDEX_CLEARED 401
// From an answer that is no success. e gets code and words.
enum etcd2_verdict etcd2_judge(int status, const char *text, size_t len, struct etcd2_reply *ret,
			       struct err *e);

struct etcd2_answer {
	int r;
	struct etcd2_head head;
	const struct etcd2_reply *reply; // r 0; its error_code may be one of those above but the last
	const struct err *err;		 // r < 0
};
struct etcd2_request {
	const char *method;
	char *key;	 // taken over
	char *query;	 // taken over; NULL: none
	char *form;	 // taken over; NULL: none
	bool idempotent; // may be sent again when an answer was lost
	bool is_long;	 // of any length: may take many times as long, if it does not stand still
	etcd2_node_fn *node; // NULL: nobody wants them
	void (*done)(void *arg, const struct etcd2_answer *answer);
	void *arg;		     // freed after done, or when the store is closed
	void (*free_arg)(void *arg); // NULL: free()
};
struct kv_http_call *etcd2_call_start(struct etcd2 *etcd, const struct etcd2_request *request);
// Ends from the loop with r and e, without having asked anybody. r 0: reply and head are zero.
struct kv_http_call *etcd2_call_end_soon(struct etcd2 *etcd, const struct etcd2_request *request,
					 int r, const struct err *e);

// ---- sessions ----
#define ETCD2_TTL_UNKNOWN_S 86400 // of a session that was opened elsewhere
struct etcd2_session {
	struct etcd2_session *next;
	int64_t number;	       // that callers know it by
	char *key;	       // NULL: none yet
	int64_t created_index; // of the key; 0: not known, as the answer was lost
	uint64_t value_hash;   // of what was written then
	int64_t first_index;   // the revision that callers know
	int64_t last_index;    // the key has this one since, for nothing but our refreshing it
	int64_t ttl_s;	       // to be refreshed to; 0: opened elsewhere
	uint64_t ends_ms;      // without a key
};
struct etcd2_sessions *etcd2_sessions_new(void);
struct etcd2_sessions *etcd2_sessions_free(struct etcd2_sessions *sessions);
struct etcd2_session *etcd2_session_find(struct etcd2 *etcd, int64_t number); // NULL: none
struct etcd2_session *etcd2_session_add(struct etcd2 *etcd, int64_t ttl_s);
void etcd2_session_drop(struct etcd2 *etcd, int64_t number);
// What is told of a node as a pair, with session and revision as callers know them. Remembers its
// session. shown is freed by the caller.
void etcd2_pair_of(struct etcd2 *etcd, const struct etcd2_node *node, struct kv_pair *ret,
		   char **ret_shown);
// This node was deleted.
void etcd2_session_gone(struct etcd2 *etcd, const char *key, int64_t created_index);
// Before the key is written with this session. -ENOENT; -EINVAL: the session is another key's.
int etcd2_session_tie(struct etcd2 *etcd, int64_t session, const char *key, const void *value,
		      size_t value_len, int64_t *ret_ttl_s, struct err *e);
// The write was done as this node; NULL: it was not done. Session 0: the key is tied to none now.
void etcd2_session_tied(struct etcd2 *etcd, int64_t session, const char *key,
			const struct etcd2_node *node);
// The index by which to compare for a revision that a caller knows.
int64_t etcd2_session_index(const struct etcd2 *etcd, const char *key, int64_t revision);

void etcd2_session_open(struct etcd2 *etcd, int64_t ttl_s, kv_session_fn *done, void *arg);
void etcd2_session_keep_alive(struct etcd2 *etcd, int64_t session, kv_session_fn *done, void *arg);
void etcd2_session_query(struct etcd2 *etcd, int64_t session, kv_session_fn *done, void *arg);
void etcd2_session_close(struct etcd2 *etcd, int64_t session, kv_session_fn *done, void *arg);

// ---- keys: reading and writing ----
void etcd2_range(struct etcd2 *etcd, const char *key, bool is_prefix, kv_pair_fn *each,
		 kv_range_done_fn *done, void *arg);
void etcd2_txn(struct etcd2 *etcd, const struct kv_txn *asked, kv_pair_fn *each,
	       kv_txn_done_fn *done, void *arg);

// ---- watches ----
struct etcd2_watch {
	struct kv_watch base;
	struct etcd2 *etcd;
	char *prefixes[KV_WATCH_PREFIXES_MAX];
	size_t prefix_count;
	char *directory;
	int64_t next; // to resume from
	uint64_t cluster_id;
	uint64_t raft_term; // highest seen
	int64_t revision;   // highest seen

	struct http_call *poll; // NULL: none
	size_t endpoint;
	bool has_head;		// the poll's headers came
	struct etcd2_head head; // of the last poll that had some
	uint64_t head_ms;	// when they came
	int64_t silent_index;	// of the poll before, which was silent; 0: it was not
	struct etcd2_reader *reader;
	struct err err; // of an answer that made no sense
	// The event of the present poll.
	bool has_event;
	struct etcd2_node node; // its texts are in key and value
	struct strbuf key;
	struct strbuf value;

	struct http_call *leader;   // under way: has the member one?
	bool led;		    // it had, since the watch was down
	uint64_t leader_ms;	    // when it was asked last
	struct kv_http_call *check; // under way: has the store really gone back in time?
	int64_t check_revision;	    // what it must have at least
	uint64_t check_term;
	struct watch_life life; // with a poll its timer is for the next one, or that it is dead
	uint64_t period_ms;
	uint64_t alive_ms; // last byte
};
void etcd2_watch_start(struct kv_watch *base, const char *const *prefixes, int64_t from,
		       uint64_t cluster_id);
void etcd2_watch_end(struct kv_watch *base); // what it owns, not the watch itself
