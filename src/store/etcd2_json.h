// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading the answers of etcd's v2 API while they arrive. No I/O.
#pragma once

#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ETCD2_KEY_MAX (64 * 1024) // bytes; nodes with a longer key are not told
#define ETCD2_DEPTH_MAX 512	  // of brackets

// One key, or a directory without nodes below it. Borrowed while it is told.
struct etcd2_node {
	const char *key; // terminated; "" for the root
	size_t key_len;
	const char *value; // terminated; NULL: none, or larger than KV_VALUE_MAX
	size_t value_len;  // also of a value that is left out
	int64_t modified_index;
	int64_t created_index;
	int64_t ttl_s; // what is left of it
	bool has_ttl;
	bool is_dir;
	bool is_previous; // what was there before a change
};

// What an answer says beside its nodes. Texts are cut to their size.
struct etcd2_reply {
	char action[32];
	bool has_node;
	bool has_previous;
	int64_t error_code; // 0: none
	char message[128];
	char cause[128];
};

// Non-zero stops the reading with that code.
typedef int etcd2_node_fn(void *arg, const struct etcd2_node *node, const struct etcd2_reply *so_far);

struct etcd2_reader;
struct etcd2_reader *etcd2_reader_new(etcd2_node_fn *fn, void *arg);
struct etcd2_reader *etcd2_reader_free(struct etcd2_reader *reader); // not from within fn
// 0, -EPROTO, or what fn returned. Not to be fed any more after an error.
int etcd2_reader_feed(struct etcd2_reader *reader, const char *data, size_t len, struct err *e);
// After the last byte. -ENODATA: there was nothing but spaces; -EPROTO: the answer is cut short.
int etcd2_reader_end(const struct etcd2_reader *reader, struct etcd2_reply *ret, struct err *e);
