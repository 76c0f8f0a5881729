// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts share that let a server of flannel 0.5 to 0.7 (flanneld --listen) be a store.
//
// DOC: leases of a server that is no store
//
// Such a server has no keys, revisions or sessions; it has leases, and hands out subnets by itself. So:
//
//   key       PREFIX/config, PREFIX/subnets/10.1.2.0-24, and the same below PREFIX/NAME: nothing else can be named
//   revision  counted here, one for each lease or config that is seen to be another than before. All that was seen
//             is kept in a table for that, a hash for each
//   session   of a key and a public address, which is by what flannel knows whose lease it is: a number made of
//             both, the same for everybody. One that was opened stands for it from its first write on
//   create    of PREFIX/subnets/ itself (KV_LIMIT_CHOOSES): the server chooses
//   compare   against a reading of all leases just before, for the server writes whatever is there. Between the two
//             is the one moment in which somebody else can be written over; choosing is not concerned
//   renew     a PUT, which all peers are told of: so only when a 24th of the time has gone
//   watch     long polls, each going on where the answer before ended
//
// The first range that no controller answers is asked of such a server; if it answers, all else is.
#pragma once

#include "core/json_stream.h"
#include "store/remote_internal.h"
#include "store/v1_wire.h"

#define V1_BUCKETS 4096

// A key that was seen.
struct v1_entry {
	struct v1_entry *next;
	uint64_t value_hash;
	int64_t create, mod, session;
	bool is_seen; // by the reading that is under way
	char key[];
};

// Opened here. Of a key once it was written.
struct v1_session {
	struct v1_session *next;
	int64_t number;
	int64_t synonym; // what others call it; 0: it has no key yet
	char *key;
	int64_t ttl_s;	     // as granted
	uint64_t granted_ms; // loop_boottime_ms
	bool is_doubtful;    // the server was away meanwhile
};

// Where to go on in a network, by name.
struct v1_cursor {
	struct v1_cursor *next;
	char *text;
	char network[];
};

struct remote_v1 {
	struct remote *remote;
	char *prefix;	// of flannel's keys, with a slash at its end
	bool confirmed; // such a server has answered
	uint64_t cluster_id;
	int64_t revision;
	struct v1_entry *entries[V1_BUCKETS];
	struct v1_session *sessions;
	struct v1_cursor *cursors;
	struct v1_op *ops;
};

// ---- remote_v1_call.c: one request ----
// r 0: status 200; body as whole, or what is left of it without the elements. date_ms: by the server's clock.
typedef void v1_done_fn(void *arg, int r, const struct http_response *response, int64_t date_ms,
			const struct err *e);
struct v1_ask {
	const char *method;
	char *path; // both taken over; body NULL: none
	char *body;
	const char *array; // whose elements go to `element` as they come; NULL: none
	json_element_fn *element;
	bool is_poll; // has no end of its own
	v1_done_fn *done;
	void *arg;
};
// -ENOENT: the key is not there; -EPROTONOSUPPORT: no such path, or not for us; -ENOSPC: out of subnets; -EINPROGRESS
// for what may have been done.
struct kv_http_call *v1_call_start(struct remote_v1 *v1, const struct v1_ask *ask);

// ---- remote_v1_table.c: what was seen ----
enum v1_place_kind { V1_CONFIG, V1_LEASES, V1_LEASE, V1_NETWORKS };
struct v1_place {
	enum v1_place_kind kind;
	char network[V1_NETWORK_MAX + 1]; // V1_NO_NETWORK: the one at the prefix itself
	struct ipnet subnet;
};
int v1_read_place(const struct remote_v1 *v1, const char *key, size_t len, struct v1_place *ret,
		  struct err *e);			       // -EINVAL
char *v1_path(const struct v1_place *place, const char *what); // "/v1/_/leases" and the like; caller frees
char *v1_lease_key_of(const struct remote_v1 *v1, const char *network, const struct ipnet *subnet);
// ip NULL: the value is no lease's, and has no session.
struct v1_entry *v1_note(struct remote_v1 *v1, const char *key, const char *value, const struct ip *ip);
struct v1_entry *v1_entry_find(struct remote_v1 *v1, const char *key); // NULL: it was not seen
int64_t v1_forget(struct remote_v1 *v1, const char *key); // it is gone; the revision of that
void v1_unsee(struct remote_v1 *v1, const char *prefix);  // a reading of all that begins so begins
void v1_forget_unseen(struct remote_v1 *v1, const char *prefix);
struct kv_header v1_header(const struct remote_v1 *v1);
struct v1_session *v1_session_find(struct remote_v1 *v1, int64_t number);
struct v1_session *v1_session_of_key(struct remote_v1 *v1, const char *key);
struct v1_session *v1_session_new(struct remote_v1 *v1, int64_t ttl_s);
void v1_session_drop(struct remote_v1 *v1, struct v1_session *session);
void v1_sessions_doubt(struct remote_v1 *v1); // the next renewal of each asks
int64_t v1_synonym(const char *key, const struct ip *ip);
// The key's session, as it is to be told.
int64_t v1_entry_session(struct remote_v1 *v1, const struct v1_entry *entry);
const char *v1_cursor_get(const struct remote_v1 *v1, const char *network); // NULL: none
void v1_cursor_set(struct remote_v1 *v1, const char *network, const char *text);
void v1_table_free(struct remote_v1 *v1);

// ---- remote_v1_lease.c: what it says of leases ----
// One lease of an answer. value: what a store would have; the lease's, or just what it says, if that makes no sense.
struct v1_told {
	struct ipnet subnet;
	char *value;
	struct ip ip; // AF_UNSPEC: none that makes sense
	int64_t expires_ms;
};
void v1_told_free(struct v1_told *told);
int v1_told_read(const json_t *object, struct v1_told *ret, struct err *e); // -EPROTO
// Notes it, and fills *ret, which borrows from key and told.
void v1_told_pair(struct remote_v1 *v1, const char *key, const struct v1_told *told,
		  struct kv_pair *ret);
// The cursor, as text, caller frees. -EPROTO.
int v1_read_next(const json_t *answer, char **ret, struct err *e);

// ---- remote_v1_op.c: the operations of kv.h, see remote_v1_op.h ----
// refusal: what a server said that may be one of flannel's, to be told if it is not; NULL: it is.
void v1_range(struct remote_v1 *v1, const char *key, bool is_prefix, const struct err *refusal,
	      kv_pair_fn *each, kv_range_done_fn *done, void *arg);
void v1_txn(struct remote_v1 *v1, const struct kv_txn *txn, kv_pair_fn *each, kv_txn_done_fn *done,
	    void *arg);
void v1_session_open(struct remote_v1 *v1, int64_t ttl_s, kv_session_fn *done, void *arg);
void v1_session_keep_alive(struct remote_v1 *v1, int64_t session, kv_session_fn *done, void *arg);
void v1_session_query(struct remote_v1 *v1, int64_t session, kv_session_fn *done, void *arg);
void v1_session_close(struct remote_v1 *v1, int64_t session, kv_session_fn *done, void *arg);
void v1_ops_end(struct remote_v1 *v1);

// ---- remote_v1_watch.c ----
struct v1_watch;
struct v1_watch *v1_watch_start(struct remote_v1 *v1, struct kv_watch *base, char *const *prefixes,
				size_t prefix_count);
struct v1_watch *v1_watch_free(struct v1_watch *watch);

// ---- remote_v1.c ----
struct remote_v1 *remote_v1_new(struct remote *remote, const char *prefix);
struct remote_v1 *remote_v1_free(struct remote_v1 *v1);
bool remote_v1_is_used(const struct remote *remote); // instead of the controller's own API
void v1_confirm(struct remote_v1 *v1);
void v1_unconfirm(struct remote_v1 *v1); // it is another server by now
