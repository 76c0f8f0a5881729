// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a store implements of kv.h, and what it gets of kv.c for that. For stores only.
#pragma once

#include "store/kv.h"

// kv.c stands between callers and store: it holds what a caller asked for until the store answers,
// so that a store may answer at any time from the loop, and drops it when the caller forgets it or
// closes the store. A store calls back with the arg it was given.
struct kv_ops {
	const char *kind;
	unsigned int txn_max;
	unsigned int limits; // enum kv_limit
	size_t size;	     // of struct etcd3 { struct kv base; ... }
	size_t watch_size;   // of struct etcd3_watch { struct kv_watch base; ... }
	int (*open)(struct kv *kv, const struct store_config *config, // its times are filled in
		    struct err *e);   // close is called after a failed one too
	void (*close)(struct kv *kv); // nothing is called back from then on
	void (*range)(struct kv *kv, const char *key, bool is_prefix, kv_pair_fn *each,
		      kv_range_done_fn *done, void *arg);
	void (*txn)(struct kv *kv, const struct kv_txn *txn, kv_pair_fn *each, kv_txn_done_fn *done,
		    void *arg);
	void (*session_open)(struct kv *kv, int64_t ttl_s, kv_session_fn *done, void *arg);
	void (*session_keep_alive)(struct kv *kv, int64_t session, kv_session_fn *done, void *arg);
	void (*session_query)(struct kv *kv, int64_t session, kv_session_fn *done, void *arg);
	void (*session_close)(struct kv *kv, int64_t session, kv_session_fn *done, void *arg);
	// base is filled. The strings of prefixes are borrowed for this call only.
	void (*watch)(struct kv_watch *watch, const char *const *prefixes, int64_t from,
		      uint64_t cluster_id);
	void (*watch_free)(struct kv_watch *watch);   // what it owns, not the watch itself
	const char *(*endpoint)(const struct kv *kv); // NULL: ""
	void (*reconnect)(struct kv *kv);	      // NULL: has no connections
};

// What every store begins with. A store sets value_len of a pair also if it leaves out the value; kv.c
// hands on none that is larger than KV_VALUE_MAX.
struct kv_call;
struct kv {
	const struct kv_ops *ops;
	struct loop *loop;
	struct kv_stats stats;
	struct kv_call *calls;
	unsigned int watches;
	unsigned int depth;   // of callbacks
	unsigned int txn_max; // as its ops have it
	unsigned int limits;
};
struct kv_watch {
	struct kv *kv;
	kv_watch_fn *fn;
	void *arg;
	bool up;	    // as was told
	bool down_told;	    // since it was up last
	unsigned int depth; // of emits
	bool freed;	    // within an emit; the memory goes when the outermost returns
};
// Hands an event to the watch's owner. False: the owner freed the watch, and ops->watch_free was
// called; do not touch what it freed. While a store works on a watch over several emits it holds it
// by kv_watch_hold, and lets it go after; release answers the same.
bool kv_watch_emit(struct kv_watch *watch, const struct kv_watch_event *event);
// The same for the events that have no pair. That it is down is told once, until it is up again.
bool kv_watch_up(struct kv_watch *watch, const struct kv_header *header);
void kv_watch_down(struct kv_watch *watch, const struct err *e);
bool kv_watch_progress(struct kv_watch *watch, const struct kv_header *header);
void kv_watch_lose(struct kv_watch *watch, bool store_changed, const struct err *e);
void kv_watch_hold(struct kv_watch *watch);
bool kv_watch_release(struct kv_watch *watch);
