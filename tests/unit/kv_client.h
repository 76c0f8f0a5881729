// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: for tests of stores: calls that wait for their answer by turning the loop, and a watch that
// writes down what it is told.
#pragma once

#include "core/strbuf.h"
#include "store/kv.h"

#include <stdbool.h>

#define KV_CLIENT_DEADLINE_MS 30000

// Turns the loop until the condition holds; fails the test after the deadline.
#define turn_until(loop, condition)                                                            \
	do {                                                                                   \
		uint64_t end_ = loop_now_ms() + KV_CLIENT_DEADLINE_MS;                         \
		while (!(condition)) {                                                         \
			check(loop_now_ms() < end_, "%s:%d: waited in vain for: %s", __FILE__, \
			      __LINE__, #condition);                                           \
			loop_turn(loop, 100);                                                  \
		}                                                                              \
	} while (0)

// What a call was answered.
struct kv_answer {
	bool done;
	bool succeeded;
	int r;
	struct kv_header header;
	int64_t session;
	int64_t ttl_s;
	struct err err;
	size_t pair_count;
	struct strbuf pairs; // "key=value@mod_revision\n" each; a value that did not come is "<NULL len>"
	struct kv_pair last; // numbers of the last pair; its texts are gone
	bool sorted;	     // the keys came in rising order
	char last_key[256];
	char last_raw_key[4096];
	size_t last_raw_key_len;
};
void kv_answer_free(struct kv_answer *answer);

// Each starts a call; the answer is there when answer->done. They fail the test if called back
// before they return.
void start_range(struct kv *kv, const char *key, bool is_prefix, struct kv_answer *ret);
void start_txn(struct kv *kv, const struct kv_txn *txn, struct kv_answer *ret);
// These wait for it.
void do_range(struct kv *kv, const char *key, bool is_prefix, struct kv_answer *ret);
void do_txn(struct kv *kv, const struct kv_txn *txn, struct kv_answer *ret);
void do_session_open(struct kv *kv, int64_t ttl_s, struct kv_answer *ret);
void do_session_keep_alive(struct kv *kv, int64_t session, struct kv_answer *ret);
void do_session_query(struct kv *kv, int64_t session, struct kv_answer *ret);
void do_session_close(struct kv *kv, int64_t session, struct kv_answer *ret);

// One compare, one write. value NULL: delete. compare_revision -1: no compare, 0: absent.
void do_write(struct kv *kv, const char *key, const char *value, int64_t compare_revision,
	      int64_t session, struct kv_answer *ret);
// The same, which must succeed. Returns the revision.
int64_t must_put(struct kv *kv, const char *key, const char *value);
int64_t must_delete(struct kv *kv, const char *key);
int64_t now_revision(struct kv *kv, uint64_t *ret_cluster_id);

struct watch_log {
	struct kv_watch *watch;
	struct strbuf text; // "PUT key=value\n", "DELETE key\n"; the rest is only counted
	size_t events;
	unsigned int ups;
	unsigned int downs;
	unsigned int losts;
	bool store_changed;
	int64_t last_revision;
	int64_t progress;
	bool in_order;	      // revisions never fell
	struct err err;	      // of the last DOWN or LOST
	size_t free_at_event; // frees the watch when so many events came; 0: never
};
void watch_log_start(struct watch_log *log, struct kv *kv, const char *const *prefixes,
		     int64_t from, uint64_t cluster_id);
void watch_log_free(struct watch_log *log);
