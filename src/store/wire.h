// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how pairs, transactions and errors are written as JSON between a controller and its clients
// (docs/api.md). What is no text (UTF-8 without control characters but tab and newline) is in base64, under the member's name with "64".
#pragma once

#include "core/json.h"
#include "store/kv.h"

#define WIRE_KEY_MAX 4096	   // bytes; a pair with a longer key is not handed on
#define WIRE_LINE_MAX (192 * 1024) // of a stream: key and value, all of them escaped, fit

#define WIRE_REVISION_MAX (INT64_MAX - 1) // the one behind it is a number, too

#define WIRE_HEARTBEAT_MIN_MS 50 // of a watch
#define WIRE_HEARTBEAT_MAX_MS 60000

// One object: key, value (or, without one, its size), create, mod, session. Caller frees.
char *wire_pair_text(const struct kv_pair *pair);

// A pair that owns its memory.
struct wire_pair {
	struct kv_pair pair;
	char *raw_key;
	char *shown_key; // NULL: the raw one
	char *value;
};
int wire_read_pair(const json_t *object, struct wire_pair *ret, struct err *e); // -EPROTO
void wire_pair_free(struct wire_pair *pair);					// leaves it zero
#define _cleanup_wire_pair_ _cleanup_(wire_pair_free)

#define WIRE_CLUSTER_ID_MAX 17
void wire_cluster_id(uint64_t cluster_id, char ret[static WIRE_CLUSTER_ID_MAX]);
json_t *wire_header(const struct kv_header *header);
int wire_read_cluster_id(const char *text, uint64_t *ret);			  // -EINVAL
int wire_read_header(const json_t *object, struct kv_header *ret, struct err *e); // -EPROTO

// {"error":{"code":"no-leader","text":"..."}}: which code stands for which errno is known here only.
json_t *wire_error(int r, const char *text);
// The errno of an answer's "error"; -EPROTO if there is none that makes sense.
int wire_read_error(const json_t *answer, struct err *e);

json_t *wire_txn(const struct kv_txn *txn);
// A transaction that owns its memory.
struct wire_txn {
	struct kv_txn txn;
	struct kv_compare compares[KV_TXN_MAX];
	struct kv_write writes[KV_TXN_MAX];
	char *texts[3 * KV_TXN_MAX];
	size_t text_count;
};
int wire_read_txn(const json_t *object, struct wire_txn *ret, struct err *e); // -EINVAL naming what is wrong
void wire_txn_free(struct wire_txn *txn);

// A member of bytes, in either form. Terminated, caller frees. -EINVAL: absent, or no such thing.
int wire_read_bytes(const json_t *object, const char *name, char **ret, size_t *ret_len,
		    struct err *e);
// A number that must be there. -EINVAL.
int wire_read_int(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *ret,
		  struct err *e);
void wire_set_bytes(json_t *object, const char *name, const void *data, size_t len);
