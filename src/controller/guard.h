// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what an agent may write: its own leases, records of addresses in their subnets (guard_address.h), and sessions of
// its own.
//
// DOC: whose is a key, whose is a session
//
// A lease's value has its owner's mark (store/owner.h). Who shows the identity behind the mark owns the key. A lease
// without a mark - a reservation, or one of an earlier version, of flannel, of a host that writes to the store itself -
// is of the client whose address is the public IP in it.
//
// A session is of whoever owns the keys below our prefix that are tied to it. One without a key yet is of whoever opened
// it: he was given a proof, a MAC over session and owner under a key that all controllers of a store have. So nothing
// about sessions is kept anywhere, and any controller judges alike, before and after a restart. A session that is neither
// tied to a key of ours nor proven is none, to everybody: others use the store as well.
//
// A transaction of an agent compares what it writes: by the revision of which the key's owner was found, or as absent.
// So between judging and writing nothing can come.
#pragma once

#include "controller/caller.h"
#include "controller/pair_set.h"
#include "core/err.h"
#include "store/kv.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct controller;

#define GUARD_PROOF_MAX 65
void guard_proof(const struct controller *controller, const struct caller *caller, int64_t session,
		 char ret[static GUARD_PROOF_MAX]);
// May this caller keep the session alive, or end it (writes), or ask after it? proof: NULL if it gave none. 0, -EACCES; -ENOENT: there is no such
// session; -EAGAIN: not known yet.
int guard_session(const struct controller *controller, const struct caller *caller, int64_t session,
		  const char *proof, bool writes, struct err *e);

// One write of a transaction. 0: it may be done; -EACCES; -EAGAIN: not known yet. 1: by the pair that the key has in the
// store it is to be judged, with guard_pair, if that has the compared revision; else the compare does not hold.
int guard_write(const struct controller *controller, const struct caller *caller,
		const struct kv_txn *txn, size_t index, const char *proof, struct err *e);
int guard_pair(const struct controller *controller, const struct caller *caller,
	       const struct kv_write *write, const struct kv_pair *pair, const char *proof,
	       struct err *e);
int64_t guard_compared_revision(const struct kv_txn *txn, size_t index); // 0: none

// Keys that only the controllers themselves read and write: below PREFIX/.weft/.
bool guard_is_hidden(const struct controller *controller, const char *key, size_t len);
