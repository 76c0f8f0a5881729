// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what weft asks of a key-value store. One kv_ops per store; only kv.c calls through them.
#pragma once

#include "core/err.h"
#include "core/histogram.h"
#include "io/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kv;

// Where the store is and how to speak to it. Strings are copied by kv_open.
struct store_config {
	const char *kind; // "etcd3", "etcd2", "consul", "controller", "sqlite", "memory"
	const char *const *endpoints; // NULL-terminated URLs; tried in order, fail-over between them
	const char *username;	      // NULL: no authentication
	const char *password;
	const char *ca_file;
	const char *cert_file;
	const char *key_file;
	const char *path; // "sqlite": its file
	const char *pin; // controller: keys of servers, see io/http_pin.h; NULL: any that the CA vouches for
	const char *token; // controller, Consul; NULL: none
	const char *prefix; // controller: of flannel's keys, for a server of flannel's that has no others; NULL: "/"
	const char *identity;	     // controller: ours, see store/owner.h; NULL: none
	uint32_t request_timeout_ms; // 0: 5000
	uint32_t dead_man_ms;	     // a watch that shows no life for this long is dead; 0: 15000
};

#define KV_KEY_SHOWN_MAX 1024	 // bytes of a key
#define KV_VALUE_MAX (64 * 1024) // a larger value is not handed on
#define KV_WATCH_PREFIXES_MAX 4

// One key with its value. Borrowed during a callback.
struct kv_pair {
	// Terminated, and fit to be shown: bytes that no text has are written \xNN, one of more than
	// KV_KEY_SHOWN_MAX bytes is cut.
	const char *key;
	// As the store has it: the one to compare and to write by.
	const char *raw_key;
	size_t raw_key_len;
	const void *value;
	size_t value_len;
	int64_t create_revision;
	int64_t mod_revision;
	int64_t session; // 0: not tied to one
};

// What kv_pair.key is for this key; NULL: the raw key itself, if terminated. Caller frees.
char *kv_key_shown(const char *raw_key, size_t len);

// As of when an answer is true.
struct kv_header {
	int64_t revision;
	uint64_t cluster_id; // 0 where the store has none
};

// ---- every call below is asynchronous, has a deadline, and calls its done function exactly once,
// unless kv_close came before (-ECANCELED is given to none: after kv_close nothing is called).
// Errors: -ETIMEDOUT, -ECONNREFUSED and other transport errors after all endpoints were tried once,
// -EACCES (authentication or permission), -EAGAIN (no leader / no quorum), -EPROTO (an answer that
// makes no sense), -E2BIG (a transaction larger than the store takes). Of a store in a file also
// -ENOSPC (the disk is full), -EIO (it fails) and -EUCLEAN (the file is corrupt): nothing was written,
// and it is worth another try when the operator has seen to it.

int kv_open(struct loop *loop, const struct store_config *config, struct kv **ret, struct err *e);
// Not from within a callback of this kv. Its watches must be freed before.
struct kv *kv_close(struct kv *kv);
// Calls that were made with this arg and are still under way end without calling back.
void kv_forget(struct kv *kv, const void *arg);
struct loop *kv_loop(const struct kv *kv);
const char *kv_kind(const struct kv *kv);
// The endpoint in use, for people; "" if none.
const char *kv_endpoint(const struct kv *kv);
// Our own address changed: connections from the old one would never hear of it. Calls go on over new
// ones, watches resume.
void kv_reconnect(struct kv *kv);

// What a call was, for its share of the statistics.
enum kv_op { KV_OP_RANGE, KV_OP_TXN, KV_OP_SESSION, KV_OP_COUNT };
extern const char *const kv_op_names[KV_OP_COUNT];

struct kv_stats {
	uint64_t requests;
	uint64_t failures;
	uint64_t events;
	uint64_t watch_restarts;
	struct histogram latency[KV_OP_COUNT]; // of calls that ended, well or not
};
const struct kv_stats *kv_stats(const struct kv *kv);

typedef void kv_pair_fn(void *arg, const struct kv_pair *pair);
// A pair that the store holds but that is larger than we read (value over 64 KiB) comes with value
// NULL.
typedef void kv_range_done_fn(void *arg, int r, const struct kv_header *header, const struct err *e);
// All keys that start with `key` (is_prefix) or just that key, streamed to each in key order, at
// one revision. A call that fails after some pairs came still ends with r < 0: the caller drops
// them.
void kv_range(struct kv *kv, const char *key, bool is_prefix, kv_pair_fn *each,
	      kv_range_done_fn *done, void *arg);

enum kv_compare_kind {
	KV_ABSENT,	 // the key does not exist
	KV_MOD_REVISION, // it exists with this mod_revision
	KV_PRESENT,	 // it exists
};
struct kv_compare {
	const char *key;
	enum kv_compare_kind kind;
	int64_t mod_revision;
	size_t key_len; // 0: the key is terminated
};
struct kv_write {
	const char *key;
	const void *value; // NULL: delete
	size_t value_len;
	int64_t session; // put: tie to this session, 0: none
	size_t key_len;	 // 0: the key is terminated
};
size_t kv_key_len(const char *key, size_t key_len); // of a compare or a write
struct kv_txn {
	const struct kv_compare *compares;
	size_t compare_count;
	const struct kv_write *writes;
	size_t write_count;
};
#define KV_TXN_MAX 64 // compares, and writes, at the most
// Of this store, 1 to KV_TXN_MAX. 1: a transaction has one key, that it compares and writes.
unsigned int kv_txn_max(const struct kv *kv);
// What a store cannot do of what others can. A write that asks for it ends with -EINVAL. A controller cannot do either what
// the store behind it cannot, which its clients are not told.
enum kv_limit {
	// A key is a path, of text: "/a" cannot be written while "/a/b" is there, nor "a", nor "/a//b".
	KV_LIMIT_PATHS = 1,
	// A value is UTF-8 text.
	KV_LIMIT_TEXT = 2,
	// A session is of one key, which its first write names. Until then it is nothing but a number of
	// this client's; others, and this one after a restart, know the key by another number.
	KV_LIMIT_KEY_SESSIONS = 4,
	// A key is UTF-8 text.
	KV_LIMIT_TEXT_KEYS = 8,
	// The store has no history (Consul): a watch tells of several changes of a key the last one alone, and a DELETE
	// has the revision as of which the key is gone. What its owner is to know of the past it must have read through
	// this kv: where a deletion may be hidden from one who has not, the watch is lost at its start.
	KV_LIMIT_HISTORY = 16,
	// It hands out subnets by itself: a lease is got by creating the leases' prefix, "PREFIX/subnets/", and `each` is
	// given the pair that was made of it. One of a given name can be created, but is surely only compared when chosen.
	KV_LIMIT_CHOOSES = 32,
};
unsigned int kv_limits(const struct kv *kv);

// All compares hold: all writes are done, succeeded is true, header->revision is their
// mod_revision. Otherwise nothing is written, and `each` got the current pair of every compared key
// that exists, before done.
// -EINPROGRESS: the answer was lost after the request was sent, so that it may or may not have been
// done; the caller reads to find out.
// -ENOENT: a write names a session that does not exist; nothing was written.
typedef void kv_txn_done_fn(void *arg, int r, bool succeeded, const struct kv_header *header,
			    const struct err *e);
void kv_txn(struct kv *kv, const struct kv_txn *txn, kv_pair_fn *each, kv_txn_done_fn *done, void *arg);

// Every store has sessions: keys tied to one vanish with it. A number stands for it, never 0 and
// always the same, for every client and after every restart: callers compare it and keep it on disk.
// Where the store's own ids are numbers (etcd) it is the id. Where they are longer (Consul: a UUID) it
// is hash_stable() of the id as text without the top bit, 1 in place of 0, and the store keeps a table
// from number to id of those it has seen: that it opened, or that were on a pair it handed on. For a
// number that it has not seen a call ends with -ENOENT, so that a caller who has it from elsewhere
// reads the key first; for one that stands for two ids that were seen it ends with -EPROTO, rather
// than to touch a stranger's. Where only a key itself can have a time to live (etcd v2) the session
// is of one key, and the number is made of the key and of its create_revision, so that the key's next
// owner has another one; see KV_LIMIT_KEY_SESSIONS for a session that has no key yet.
//
// ttl_s: what the store granted or still counts. -ENOENT: the session does not exist (any more).
// A failed open with session not 0: the answer was lost and a session of that id may exist; the
// caller closes it.
typedef void kv_session_fn(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e);
void kv_session_open(struct kv *kv, int64_t ttl_s, kv_session_fn *done, void *arg);
void kv_session_keep_alive(struct kv *kv, int64_t session, kv_session_fn *done, void *arg);
// How long it still lives, without renewing it.
void kv_session_query(struct kv *kv, int64_t session, kv_session_fn *done, void *arg);
void kv_session_close(struct kv *kv, int64_t session, kv_session_fn *done, void *arg);

enum kv_watch_kind {
	KV_WATCH_PUT,	 // pair complete (value NULL if over 64 KiB)
	KV_WATCH_DELETE, // pair->key and mod_revision only; an expiry looks the same
	// The stream works; again after each DOWN, resumed behind the last event that was told.
	KV_WATCH_UP,
	// All changes up to header.revision were told. Follows the last change of each revision, in one go
	// with others or later; with several prefixes it may be long in coming.
	KV_WATCH_PROGRESS,
	KV_WATCH_DOWN, // broken, being re-tried with back-off for ever; err says why
	// History was compacted, or the store is another one (cluster id) or went back in time: the
	// caller must take a snapshot and watch anew. This watch is dead, nothing more comes; free it.
	KV_WATCH_LOST,
};
struct kv_watch_event {
	enum kv_watch_kind kind;
	struct kv_pair pair;
	struct kv_header header;
	const struct err *err; // DOWN, LOST
	bool store_changed;    // LOST: other cluster id or older revision, not a compaction
};
typedef void kv_watch_fn(void *arg, const struct kv_watch_event *event);
struct kv_watch;
// Changes of keys starting with any of the prefixes (NULL-terminated array, 4 at most), from
// revision `from` on (inclusive). cluster_id: of the snapshot that `from` belongs to.
struct kv_watch *kv_watch_start(struct kv *kv, const char *const *prefixes, int64_t from,
				uint64_t cluster_id, kv_watch_fn *fn, void *arg);
struct kv_watch *kv_watch_free(struct kv_watch *watch); // may be called from within fn
