// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the store in memory, the fake that stands in for a real one: what is above stores is tested
// on it, with faults on demand.
#pragma once

#include "store/kv.h"

struct kv_ops;
extern const struct kv_ops memory_ops;

// A second client of the same data. The data lives as long as one of its clients.
struct kv *memory_share(struct kv *kv);

// As a store with smaller transactions; of the clients that are shared from then on too.
void memory_set_txn_max(struct kv *kv, unsigned int max);

// ---- faults of one client ----
void memory_set_reachable(struct kv *kv,
			  bool reachable); // not: calls fail with -ECONNREFUSED, watches are down
void memory_lose_answers(struct kv *kv,
			 unsigned int count); // the next transactions are done and end with -EINPROGRESS
void memory_lose_requests(struct kv *kv,
			  unsigned int count); // the next transactions are not done and end with -EINPROGRESS
void memory_refuse_keys(struct kv *kv, bool refuse); // reading a single key ends with -EACCES
void memory_refuse_key(struct kv *kv,
		       const char *key); // transactions that write it end with -EPROTO; NULL: none

// ---- the data, as if another client or an operator had acted; at once, without the loop ----
void memory_put(struct kv *kv, const char *key, const void *value, size_t len, int64_t session);
bool memory_delete(struct kv *kv, const char *key);			    // false: there was none
bool memory_get(const struct kv *kv, const char *key, struct kv_pair *ret); // borrowed until the next change
size_t memory_key_count(const struct kv *kv);
size_t memory_session_count(const struct kv *kv);
int64_t memory_revision(const struct kv *kv);
uint64_t memory_cluster_id(const struct kv *kv);
bool memory_expire_session(struct kv *kv, int64_t session); // as if its time were over; false: there is none
void memory_compact(struct kv *kv);			    // history up to now is gone
void memory_wipe(struct kv *kv); // an empty store with another cluster id
