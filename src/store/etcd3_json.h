// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the messages of etcd's JSON gateway: building what we send, reading what comes. No I/O, no
// state.
//
// Keys and values travel in base64, 64-bit numbers as strings, and members that are zero are left
// out.
#pragma once

#include "core/err.h"
#include "core/json.h"
#include "store/kv.h"

#define ETCD3_ELEMENT_MAX \
	(32 * 1024 * 1024) // text of one pair; etcd's own limit for a request is 1.5 MiB unless raised
#define ETCD3_ANSWER_MAX (1024 * 1024) // text of an answer beside its pairs

// ---- what we send: each is a text that the caller frees ----
char *etcd3_key_body(const char *key); // a range of one key
// Of the keys that start with a prefix, those behind one of them.
struct etcd3_page {
	int64_t limit;	   // 0: all
	int64_t revision;  // 0: now
	const char *after; // NULL: from the first one on
	size_t after_len;
};
char *etcd3_page_body(const char *prefix, const struct etcd3_page *page);
char *etcd3_probe_body(const char *key); // a range that answers with its header alone
char *etcd3_txn_body(const struct kv_txn *txn);
char *etcd3_grant_body(int64_t session, int64_t ttl_s);
char *etcd3_session_body(int64_t session);
char *etcd3_authenticate_body(const char *username, const char *password); // holds a secret
char *etcd3_watch_body(const char *prefix, int64_t start_revision); // one create request, with a newline
#define ETCD3_PROGRESS_REQUEST "{\"progress_request\":{}}\n"

// ---- what comes ----
struct etcd3_header {
	struct kv_header kv;
	uint64_t raft_term;
};
int etcd3_read_header(const json_t *answer, struct etcd3_header *ret, struct err *e);

// Members that may be strings or numbers; absent ones are 0.
int etcd3_read_int(const json_t *object, const char *name, int64_t *ret, struct err *e);
bool etcd3_read_bool(const json_t *object, const char *name);
const char *etcd3_read_text(const json_t *object, const char *name); // "" if absent or no string; borrowed

// A pair that owns its memory.
struct etcd3_pair {
	struct kv_pair pair;
	char *raw_key;	 // terminated
	char *shown_key; // NULL: the raw one
	char *value;
};
void etcd3_pair_free(struct etcd3_pair *pair); // leaves it zero
#define _cleanup_etcd3_pair_ _cleanup_(etcd3_pair_free)
int etcd3_read_pair(const char *text, size_t len, struct etcd3_pair *ret, struct err *e);
int etcd3_read_event(const char *text, size_t len, bool *ret_is_delete, struct etcd3_pair *ret,
		     struct err *e);
// One element of a transaction's responses: its pairs, if it is a range, go to each.
int etcd3_read_response(const char *text, size_t len, kv_pair_fn *each, void *arg, struct err *e);

// What an error means for a request.
enum etcd3_verdict {
	ETCD3_REFUSED,	     // surely not done, and no other endpoint would do it
	ETCD3_NOT_DONE,	     // surely not done here: another endpoint may
	ETCD3_UNKNOWN,	     // may have been done
	ETCD3_TOKEN_REFUSED, // surely not done: a new token may help
	ETCD3_NO_SUCH_PATH,  // this gateway has another path for it
};
// From the text of an error answer, or of the "error" member of a stream's line. e gets code and
// words.
enum etcd3_verdict etcd3_read_error(int status, const char *text, size_t len, struct err *e);
enum etcd3_verdict etcd3_judge(int status, int grpc_code, const char *message, struct err *e);
