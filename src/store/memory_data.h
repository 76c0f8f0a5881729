// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the keys, sessions and history of a store in memory.
#pragma once

#include "io/loop.h"
#include "store/kv.h"

struct memory_data;
// Called after each change of the history; not from within a callback to a client.
typedef void memory_changed_fn(void *arg);
struct memory_data *memory_data_new(struct loop *loop, memory_changed_fn *changed, void *arg);
struct memory_data *memory_data_free(struct memory_data *data);

struct kv_header memory_data_header(const struct memory_data *data);
bool memory_data_get(const struct memory_data *data, const char *key, size_t key_len,
		     struct kv_pair *ret);
size_t memory_data_count(const struct memory_data *data);
void memory_data_range(const struct memory_data *data, const char *prefix, kv_pair_fn *each, void *arg);

// One revision for all writes. The sessions must exist.
void memory_data_write(struct memory_data *data, const struct kv_write *writes, size_t count);

int64_t memory_session_new(struct memory_data *data, int64_t ttl_s);
int64_t memory_session_ttl(const struct memory_data *data, int64_t id); // seconds left; -1: no such session
int64_t memory_session_renew(struct memory_data *data, int64_t id); // the same
bool memory_session_end(struct memory_data *data, int64_t id);	    // deletes its keys
size_t memory_session_total(const struct memory_data *data);

void memory_data_compact(struct memory_data *data);
void memory_data_wipe(struct memory_data *data);

// ---- history: every write that was not compacted, counted from 0 for ever ----
struct memory_event {
	struct kv_pair pair; // of a delete: key and mod_revision
	bool is_delete;
};
// The index of the first event of this revision or later. -ENOENT: compacted.
int64_t memory_history_find(const struct memory_data *data, int64_t revision);
// False: nothing there yet. -ENOENT in *ret_r: compacted.
bool memory_history_get(const struct memory_data *data, int64_t index, struct memory_event *ret,
			int *ret_r);
