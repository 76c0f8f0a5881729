// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts share of an operation of a store that is asked of a server of flannel 0.5 to 0.7.
//
// DOC: steps of an operation
//
//   config       GET config
//   networks     GET /v1/ -> GET config of each
//   leases       GET leases, handed on as they come
//   one lease    GET leases -> the one of them -> what is to be done with it: nothing, POST, PUT, DELETE
//   a new one    POST leases
#pragma once

#include "store/remote_v1.h"

enum op_kind { OP_RANGE, OP_TXN, OP_KEEP_ALIVE, OP_QUERY, OP_CLOSE, OP_OPEN };

struct v1_op {
	struct remote_v1 *v1;
	struct v1_op *previous;
	struct v1_op *next;
	enum op_kind kind;
	struct v1_place place;
	char *key;
	kv_pair_fn *each;
	union {
		kv_range_done_fn *range;
		kv_txn_done_fn *txn;
		kv_session_fn *session;
	} done;
	void *arg;
	struct timer *timer; // ends it from the loop
	struct err err;
	struct err refusal; // of a first question

	// networks
	char **names;
	size_t name_count, name_next;
	char *name_config; // its key

	// what is there
	bool found;
	struct v1_told told;
	int64_t mod;
	int64_t date_ms;

	// transaction
	bool has_compare;
	struct kv_compare compare;
	char *value; // NULL: delete
	int64_t session;

	int64_t ttl_s; // answer of a session's operation
};

// ---- remote_v1_op.c ----
void v1_op_end(struct v1_op *op, int r, bool succeeded, const struct err *e); // answers, and is gone
void v1_op_fail(struct v1_op *op, const struct err *e);
void v1_op_hand_on(struct v1_op *op, const char *key, const struct v1_told *told);
// A call of this operation; path is taken over.
struct v1_ask v1_op_ask(struct v1_op *op, const char *method, char *path, v1_done_fn *done);

// ---- remote_v1_read.c ----
void v1_op_read_config(struct v1_op *op);
void v1_op_read_networks(struct v1_op *op);
void v1_op_read_leases(struct v1_op *op);
void v1_op_find(struct v1_op *op); // the lease of its place, as it is now; then v1_op_go_on

// ---- remote_v1_write.c ----
void v1_op_post(struct v1_op *op);
void v1_op_go_on(struct v1_op *op); // with what was found
