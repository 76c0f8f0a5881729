// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the calls and the watches of the embedded store share, all on the loop's thread.
#pragma once

#include "store/kv_internal.h"
#include "store/sqlite_job.h"
#include "store/sqlite_worker.h"

#include <sys/types.h>

// One open file, for all clients of it in this process.
struct sqlite_store {
	struct sqlite_store *next;
	dev_t device;
	ino_t inode;
	struct loop *loop;
	struct sqlite_worker *worker;
	struct fd_watch *wake;
	struct timer *turn;	// tells more of what is done
	struct timer *deadline; // at deadline_ms: of the next job whose time is over
	uint64_t deadline_ms;
	struct sqlite *clients;
	struct sqlite_job *oldest, *youngest; // all that are not answered
	struct sqlite_job *done, *done_last;  // of these the ones that are to be told
	int64_t revision;
};

struct sqlite {
	struct kv base;
	struct sqlite_store *store;
	struct sqlite *next; // of the same store
	struct sqlite_watch *watches;
	char *path; // as it was given
	uint32_t timeout_ms;
};

struct sqlite_watch {
	struct kv_watch base;
	struct sqlite_watch *next; // of the same client
	struct sqlite_job *job;	   // NULL: not asking
	struct timer *retry;
	struct backoff backoff;
	char *prefixes[KV_WATCH_PREFIXES_MAX + 1];
	int64_t from;
	uint64_t cluster_id;
	int64_t event; // the next one; 0: not known yet
	int64_t seen;  // the revision up to which all was told
};

struct sqlite_job *sqlite_job_new(struct sqlite *client, enum sqlite_job_kind kind);
void sqlite_job_ask(struct sqlite *client, struct sqlite_job *job);

void sqlite_watch_start(struct kv_watch *base, const char *const *prefixes, int64_t from,
			uint64_t cluster_id);
void sqlite_watch_end(struct kv_watch *base);
void sqlite_watch_answered(struct sqlite_job *job);
void sqlite_watch_wake(struct sqlite *client); // there may be events
