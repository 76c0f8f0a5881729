// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one request to the embedded store on its way from the loop to the worker's thread and back.
// Whoever has it in a queue is the only one to touch it, but for the part that is the loop's.
#pragma once

#include "store/sqlite_data.h"

#define SQLITE_EVENTS_MAX 512	       // that one job reads
#define SQLITE_WRITE_MAX (1536 * 1024) // bytes of keys and values of one transaction, as in etcd

enum sqlite_job_kind {
	JOB_RANGE,
	JOB_SESSION_QUERY,
	JOB_WATCH,
	JOB_READS, // those above only read
	JOB_TXN = JOB_READS,
	JOB_SESSION_OPEN,
	JOB_SESSION_KEEP_ALIVE,
	JOB_SESSION_CLOSE,
	JOB_COMPACT,
};

struct sqlite_job {
	struct sqlite_job *next; // in a queue
	enum sqlite_job_kind kind;

	// What is asked.
	char *key;
	bool is_prefix;
	int64_t session;
	int64_t ttl_s; // and the answer
	struct kv_compare *compares;
	size_t compare_count;
	struct kv_write *writes;
	size_t write_count;
	char *prefixes[KV_WATCH_PREFIXES_MAX + 1];
	int64_t from;	     // of a watch that has no event id yet
	uint64_t cluster_id; // 0: any
	int64_t event;	     // 0: none yet; the answer is the one to go on from

	// The answer. r < 0: err says why.
	int r;
	struct err err;
	struct kv_header header;
	bool succeeded;
	bool store_changed; // with r -ESTALE
	bool more;	    // events
	struct sqlite_rows rows;

	// The loop's part.
	struct sqlite_job *older, *younger; // of all that are not answered
	struct kv *kv;			    // NULL: nobody waits any more
	struct sqlite_watch *watch;
	kv_pair_fn *each;
	kv_range_done_fn *range_done;
	kv_txn_done_fn *txn_done;
	kv_session_fn *session_done;
	void *arg;
	uint64_t deadline_ms;
	size_t told; // rows
};

struct sqlite_job *sqlite_job_free(struct sqlite_job *job);
void sqlite_job_take_txn(struct sqlite_job *job, const struct kv_txn *txn); // copies it

// Does it within the present transaction. 0: job->r and the answer are set; else the database failed
// and what was done of it must be undone.
int sqlite_job_run(struct sqlite_job *job, struct sqlite_data *data, struct err *e);
void sqlite_job_fail(struct sqlite_job *job, int r, const struct err *e);
