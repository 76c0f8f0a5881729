// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the messages of Consul's HTTP API: building what we send, reading what comes. No I/O, no
// state.
//
// A key of Consul's is one of ours without the slash in front. It is text: Consul takes in other
// bytes, but neither its transactions nor its answers can say them.
#pragma once

#include "core/err.h"
#include "core/json.h"
#include "core/strbuf.h"
#include "store/kv.h"

#define CONSUL_ELEMENT_MAX \
	(32 * 1024 * 1024) // text of one pair; Consul's own limit for a value is 512 KiB unless raised
#define CONSUL_ANSWER_MAX (1024 * 1024) // text of an answer beside its pairs
#define CONSUL_ID_LEN 36
#define CONSUL_TTL_MAX_S 86400

// ---- keys ----
// -EINVAL: Consul cannot have it.
int consul_key_check(const char *key, size_t len, struct err *e);
// "/kv" and the key, fit for a URL.
void consul_add_key_path(struct strbuf *path, const char *key, size_t len);

// ---- pairs ----
// A pair that owns its memory, but for value_text.
struct consul_pair {
	struct kv_pair pair; // without its session; and its value, until it is decoded
	char *raw_key;	     // terminated
	char *shown_key;     // NULL: the raw one
	char *value;
	char session[CONSUL_ID_LEN + 1]; // "": none
	const char *value_text;		 // base64, in the text that was read
	size_t value_text_len;
};
void consul_pair_free(struct consul_pair *pair); // leaves it zero
#define _cleanup_consul_pair_ _cleanup_(consul_pair_free)
// One element of what a read of keys answers, or, if is_result, of a transaction's results.
int consul_read_pair(const char *text, size_t len, bool is_result, struct consul_pair *ret,
		     struct err *e);
// One that is too large to be handed on stays out.
int consul_decode_value(struct consul_pair *pair, struct err *e);

// ---- transactions ----
// How a write is done: the key may be locked by another session than the one it is to have.
enum consul_way {
	CONSUL_PLAIN,	 // put without a session, if the key has none; delete
	CONSUL_LOCK,	 // put with a session, if the key has that one or none
	CONSUL_ASK_LOCK, // as LOCK; where it cannot be done Consul says which session is in the way
	CONSUL_RELEASE,	 // of its present session, then as PLAIN or LOCK
};
struct consul_write {
	enum consul_way way;
	bool has_session;
	char session[CONSUL_ID_LEN + 1]; // to have
	char present[CONSUL_ID_LEN + 1]; // to be released of
};
#define CONSUL_OPERATIONS_MAX 64     // of a transaction; Consul's own limit
#define CONSUL_OPERATIONS_OF_WRITE 3 // at the most
// flags: not 0, and another one each time: a pair that is written as it is would keep its revision.
// ret_writes: which write each operation is of, -1 for those of a compare.
char *consul_txn_body(const struct kv_txn *txn, const struct consul_write *writes, int64_t flags,
		      int ret_writes[static CONSUL_OPERATIONS_MAX]);
// What a refused transaction says, one of "Errors".
struct consul_refusal {
	int operation; // -1: not one that it was asked for
	char what[ERR_MSG_MAX];
	char session[CONSUL_ID_LEN + 1]; // that the key has, if that is why; else ""
};
// At most max of them; -EPROTO.
int consul_read_refusals(const char *text, size_t len, struct consul_refusal *ret, size_t max,
			 size_t *ret_count, struct err *e);

// ---- sessions ----
char *consul_session_body(const char *node, int64_t ttl_s);
char *consul_node_body(const char *node);
int consul_read_created(const char *text, size_t len, char ret_id[static CONSUL_ID_LEN + 1],
			struct err *e);
// Of the first session in the answer; -ENOENT: there is none.
int consul_read_ttl(const char *text, size_t len, int64_t *ret_ttl_s, struct err *e);
// What Consul says of a TTL that it refuses: the nearest that it takes, or -EPROTO.
int consul_nearest_ttl(const char *message, int64_t ttl_s, int64_t *ret_ttl_s);
bool consul_id_is_good(const char *text, size_t len);

// ---- errors ----
enum consul_verdict {
	CONSUL_REFUSED,	 // surely not done, and no other endpoint would do it
	CONSUL_NOT_DONE, // surely not done here: another endpoint may
	CONSUL_UNKNOWN,	 // may have been done
};
// -ERANGE: of a session's TTL; -ENODEV: of a session's node.
enum consul_verdict consul_read_error(int status, const char *text, size_t len, struct err *e);
