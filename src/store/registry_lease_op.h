// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the operations on one lease share: registry_lease.c, registry_lease_write.c.
#pragma once

#include "store/registry_internal.h"

enum lease_op_kind { LEASE_GET, LEASE_CREATE, LEASE_ACQUIRE, LEASE_UPDATE, LEASE_DELETE };

struct lease_op {
	struct registry_op op;
	enum lease_op_kind kind;
	registry_lease_fn *fn;
	registry_done_fn *done; // of delete
	void *arg;
	char *key;
	char *value;		 // to be written
	int64_t mod_revision;	 // that the key must have; 0: none (create), any (delete)
	bool fenced_singly;	 // by looking at it afterwards
	int64_t fence_revision;	 // 0: there must be none
	int64_t config_revision; // as last seen; 0: there is none
	int64_t session;	 // to tie the key to
	int64_t own_session;	 // opened for this write; closed if it fails
	struct timer *timer;
	void (*step)(struct lease_op *op); // that the timer tries again
	struct backoff backoff;
	unsigned int rounds;

	// What is there, as last read.
	bool found;
	bool found_ours;
	bool found_readable;
	struct lease lease;
	struct registry_fault fault;
};

struct lease_op *lease_op_new(struct registry *registry, enum lease_op_kind kind,
			      const struct subnet *subnet, void *arg);
// Tells the caller, closes the session that was opened for a write which failed, and frees op.
void lease_op_end(struct lease_op *op, int r, const struct err *e);
void lease_op_fail(struct lease_op *op, int code, const char *why); // the message names the key
void lease_op_found_reset(struct lease_op *op);
void lease_op_found(void *arg, const struct kv_pair *pair); // a kv_pair_fn: what is there
