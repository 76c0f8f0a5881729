// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what fabric.c (config, snapshot, watch) and own_lease.c (our own lease) share.
#pragma once

#include "fabric/fabric.h"
#include "fabric/peer_table.h"

struct fabric {
	struct loop *loop;
	struct registry *registry;
	struct fabric_config config;
	struct subnet previous; // of this host's disk
	bool has_previous;
	struct fabric_hooks hooks;
	void *arg;

	bool has_conf;
	struct netconf conf;
	int64_t conf_revision;	     // of the store's key; 0: not known
	bool conf_is_absent;	     // the store has none at all
	bool is_frozen;		     // the store's says that nobody gets a new lease
	struct err frozen;	     // why
	struct kv_header conf_as_of; // of the answer that it came with
	char *conf_text;
	struct netconf base; // the config with which the agent joined
	bool has_base;
	char *conf_error; // as last told
	bool rests;	  // fabric_rest

	struct peer_table *peers;
	bool peers_told;    // hook peers_reset was called: from then on changes are told one by one
	bool peers_partial; // as last told by it
	struct registry_watch *watch;
	bool reading_config;
	bool reading_leases;
	bool snapshot_done;	   // the table is the store's
	int64_t snapshot_revision; // of the leases in it; what the watch tells of before is old
	bool store_was_changed;	   // the snapshot being read is of another store than before
	bool seeded;		   // the hooks have not been told of the cache yet
	bool read_anew;		   // what is being read is out of date already
	bool config_is_fresh;	   // read, and the leases not yet: waiting for the agent to join
	struct timer *start_timer; // deferred beginnings and retries of config and snapshot
	struct timer *seed_timer;  // how long the cache waits for the store's config
	struct backoff start_backoff;
	struct timer *hold_timer;

	bool up;
	bool up_told;
	struct err down_why;
	uint64_t up_since_ms;

	// our own lease
	bool joined;
	struct lease_attrs attrs; // what we say of ourselves
	bool has_lease;
	struct lease lease;
	enum fabric_lease_state state;
	struct err why;
	bool was_held;	 // in this life
	bool busy;	 // a request about our lease is under way
	bool again;	 // something happened meanwhile
	bool has_at_key; // what the store has at our subnet's key
	struct lease at_key;
	bool key_is_junk;
	bool has_candidate; // a lease with our public address, before we have one
	struct lease candidate;
	uint64_t candidate_until_ms; // loop_boottime_ms clock: it is known to be alive until then
	bool lease_changed;	     // since its state was last told
	bool proving; // created, and not yet sure that nobody had an overlapping one before
	struct lease proof;
	uint64_t proof_until_ms;
	int64_t seen_revision;	  // up to which the watch has told everything
	uint64_t confirmed_at_ms; // loop_boottime_ms clock; 0: not in this life
	uint64_t expires_at_ms;	  // loop_boottime_ms clock; 0: does not expire, or unknown
	struct timer *renew_timer;
	struct timer *retry_timer;
	struct backoff retry_backoff;
	unsigned int collisions;
	bool found_full; // no subnet was free when we last looked
};

// ---- fabric.c ----
void fabric_tell_rules(struct fabric *fabric); // our lease, attributes or the config changed: judge the peers anew
int64_t fabric_ttl_s(const struct fabric *fabric);
void fabric_read_again(struct fabric *fabric,
		       const char *why); // the watch cannot be trusted: a snapshot, soon

// ---- own_lease.c ----
bool lease_is_own(const struct fabric *fabric,
		  const struct lease *lease); // about our key, or with our identity: not a peer's
void own_snapshot_begin(struct fabric *fabric);
void own_snapshot_end(struct fabric *fabric, int64_t revision);	 // which it is of
void own_seen(struct fabric *fabric, const struct lease *lease); // in a snapshot or an event
void own_gone(struct fabric *fabric, const struct subnet *subnet, int64_t revision);
void own_junk(struct fabric *fabric, const struct registry_bad *bad);
void own_verify_soon(struct fabric *fabric); // the store was away: is our session still there
// Works towards a held lease: whatever is next, if nothing is under way.
void own_step(struct fabric *fabric);
void own_watched(struct fabric *fabric, int64_t revision); // an event of this revision was told
void own_retry_soon(struct fabric *fabric); // a lease went: perhaps there is room now
void own_config_changed(struct fabric *fabric);
void own_free(struct fabric *fabric);

// ---- choose.c ----
// The first free subnet from a place that the public address decides, `skip` places further. False: none is free.
bool choose_subnet(const struct netconf *conf, const struct peer_table *peers,
		   const struct ip *public_ip, uint64_t skip, struct subnet *ret);
bool subnet_fits(const struct netconf *conf, const struct subnet *subnet);
