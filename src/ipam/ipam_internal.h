// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts of ipam share.
#pragma once

#include "ipam/ipam.h"
#include "ipam/journal.h"

#define BEST_WAIT_MS 300
// A store that is merely slow is no reason to fail a container; a plugin waits 10 s.
#define STRICT_WAIT_MS 3000
#define WRITES_MAX 16 // under way at once
#define READ_PAUSE_BASE_MS 200
#define READ_PAUSE_MAX_MS 10000

struct record_write;

// An ADD that waits for the store.
struct waiting_add {
	struct waiting_add *next;
	struct ipam *ipam;
	struct holder *holder;
	struct ip asked[FAMILY_COUNT];
	bool is_strict;
	bool is_first; // others wait for addresses that the owner had before
	struct timer *timer;
	ipam_add_fn *fn;
	void *arg;
};

struct ipam {
	struct ipam_config config;
	struct allocator *allocator;
	struct journal *journal;
	struct journal_content content; // until the subnets are known
	ipam_ready_fn *on_ready;
	void *on_ready_arg;
	uint64_t leaks;

	// the lease
	enum fabric_lease_state lease_state;
	struct lease lease; // subnet unset: none yet
	int64_t fence_revision;
	char lease_why[ERR_MSG_MAX];
	char node[IP_STR_MAX];

	// reading
	bool is_ready;
	bool is_read; // the own subnets' records, in this life
	bool is_reading;
	bool reads_again; // what is being read is of a former subnet
	enum family reading;
	bool is_first_reading;
	int64_t read_revision;
	struct timer *read_timer;
	struct backoff read_backoff;

	// writing
	struct record_write *writes;
	size_t write_count;
	struct waiting_add *adds;
	struct timer *write_timer; // pending: the store failed, let it alone
	struct backoff write_backoff;
	struct timer *soon;	// writes what came together
	bool is_singly;		// the store takes one key a transaction
	bool is_sessionless;	// it has no session that several keys can share
	struct err write_error; // code 0: none

	// the session
	int64_t session;
	bool is_opening;
	bool is_session_checked; // it was found alive in this life
	struct timer *session_timer;
	struct backoff session_backoff;
	struct node_write *node_write;

	struct timer *leak_timer;
};

// ---- ipam.c ----
bool ipam_holds_lease(const struct ipam *ipam); // and the store has confirmed it
const struct ipnet *ipam_net(const struct ipam *ipam, enum family family);
// Is the record one that this host wrote, in this boot or an earlier one?
bool ipam_is_own(const struct ipam *ipam, const struct address_record *record);

// ---- attach.c ----
void adds_settle(struct ipam *ipam);	   // answers those whose records are written
void adds_store_failed(struct ipam *ipam); // it will not be now: mode by mode
// Refuses those who wait for it, and releases it if it is new.
void adds_end(struct ipam *ipam, struct holder *holder, const struct refusal *why);
void adds_refuse(struct ipam *ipam, const char *why);	// all; without releasing anything
void release(struct ipam *ipam, struct holder *holder); // with the journal
bool journal_holder(struct ipam *ipam, const struct holder *holder, struct err *e);

// ---- record_write.c ----
void writes_start(struct ipam *ipam); // as many as may be
void writes_soon(struct ipam *ipam);
void writes_forget(struct ipam *ipam);		   // those under way
bool writes_are_possible(const struct ipam *ipam); // now
bool writes_are_likely(const struct ipam *ipam); // once a session is there: the store did not fail just now

// ---- rebuild.c ----
void rebuild_start(struct ipam *ipam);
void rebuild_restore(struct ipam *ipam); // what the journal said, now that the subnets are known
void rebuild_forget(struct ipam *ipam);

// ---- node_session.c ----
void session_need(struct ipam *ipam); // opens one, or finds the former alive
void session_lost(struct ipam *ipam);
void session_forget(struct ipam *ipam);

// ---- leak.c ----
void leak_start(struct ipam *ipam);
