// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: this host's place in the network: its own lease and the table of its peers, kept in step with the store.
//
// DOC: life of a fabric
//
//   start -> config read (retried for ever) -> hook config -> the agent opens its backend -> fabric_join(attrs)
//         -> snapshot of leases -> lease acquired -> hook lease -> hook peers_reset -> watch -> hooks peer_changed, lease, config, store ...
//
// With fabric_seed (what was cached of an earlier life) the hooks config, lease and peers_reset come from the cache, and again only where the
// store says something else. The config is the store's if the store answers at once, so that one which was changed while the host was away
// needs no second start; if it does not, the cached one serves. Losing the store changes nothing but the store's state. A snapshot after a lost watch is turned
// into the same single changes as events would have been, so both paths have one effect.
#pragma once

#include "core/lease_set.h"
#include "store/registry.h"

struct fabric;

enum fabric_lease_state {
	FABRIC_LEASE_NONE, // none yet: config or store missing, or acquiring
	FABRIC_LEASE_CACHED, // serving with the subnet of an earlier life, the store has not confirmed it yet
	FABRIC_LEASE_HELD,
	FABRIC_LEASE_LOST, // the key is gone (deleted or expired): being regained, the subnet is kept
	FABRIC_LEASE_FOREIGN, // another owner holds our subnet's key (or an overlapping one): named in the error; kept, retried
	FABRIC_LEASE_UNFIT, // the config changed and our subnet no longer fits: kept until restart with --allow-subnet-change
	FABRIC_LEASE_STATE_COUNT
};
extern const char *const fabric_lease_state_names[FABRIC_LEASE_STATE_COUNT];

enum fabric_peer_state {
	FABRIC_PEER_GOOD,
	FABRIC_PEER_HELD,     // gone from the store, kept for the hold time
	FABRIC_PEER_REJECTED, // in the store, but breaks a rule: never programmed
	FABRIC_PEER_STATE_COUNT
};
extern const char *const fabric_peer_state_names[FABRIC_PEER_STATE_COUNT];

struct fabric_config {
	const struct subnet *previous; // of subnet.env or the cached lease; NULL: none
	bool allow_subnet_change;
	int64_t lease_ttl_s; // 0: LEASE_TTL_S; tests use short ones
	int64_t renew_margin_s; // --subnet-lease-renew-margin: renew at the latest when this much is left
	uint64_t peer_hold_ms;	   // 3000
	bool rests_without_config; // as fabric_rest, from the moment that the config is deleted
	uint64_t retry_max_ms; // longest pause between tries to get or regain the lease; 0: 5000
};

// Called from the loop, never from within a fabric_ call. Leases are borrowed.
struct fabric_hooks {
	// A valid config, first or changed. For a change: what can be taken live is; see agent.
	void (*config)(void *arg, const struct netconf *conf, const char *text);
	// The config is missing, invalid or unreadable; asked again by itself. Said once per reason.
	void (*config_error)(void *arg, const struct err *e);
	// State, lease (NULL in NONE, and in FOREIGN if we never had one) and the reason in words ("" if held).
	// Also when only the lease's attributes or session changed.
	void (*lease)(void *arg, enum fabric_lease_state state, const struct lease *lease,
		      const struct err *why);
	// One peer appeared (old NULL), changed, or went (now NULL): after validation and hold.
	void (*peer_changed)(void *arg, const struct lease *old, const struct lease *now);
	// The whole set may be different: compare with everything. is_partial: the first snapshot is still being read; each further
	// peer is told by peer_changed, and the end of it by peers_reset again.
	void (*peers_reset)(void *arg, bool is_partial);
	void (*store)(void *arg, bool up, const struct err *why);
};

struct fabric *fabric_new(struct loop *loop, struct registry *registry,
			  const struct fabric_config *config, const struct fabric_hooks *hooks,
			  void *arg);
// The lease stays in the store. The registry must be freed before the loop turns again: calls may be under way.
struct fabric *fabric_free(struct fabric *fabric);
// Before fabric_start: what an earlier life knew. peers is taken over. lease may be NULL.
void fabric_seed(struct fabric *fabric, const char *config_text, const struct lease *lease,
		 struct lease_set *peers);
void fabric_start(struct fabric *fabric);
// We are ready to have a lease with these attributes (copied). Again later: they changed (public IP, MAC): the subnet is kept, the value rewritten.
void fabric_join(struct fabric *fabric, const struct lease_attrs *attrs);
// Our lease is kept alive, but not written any more until the store has a config again: the network is being removed, and a lease that is
// deleted with it must not come back.
void fabric_rest(struct fabric *fabric);
// Read everything from the store again (SIGHUP).
void fabric_refresh(struct fabric *fabric);

const struct netconf *fabric_netconf(const struct fabric *fabric); // NULL until known
const char *fabric_config_text(const struct fabric *fabric);	   // as stored; NULL until known
const struct lease *fabric_lease(const struct fabric *fabric); // NULL without one: in NONE, perhaps in FOREIGN
enum fabric_lease_state fabric_lease_state(const struct fabric *fabric, const struct err **ret_why);
int64_t fabric_lease_expires_in_s(const struct fabric *fabric); // -1: does not expire or unknown
// Since the store last confirmed it, which it does as often as it is renewed; -1: a reservation, or not in this life.
int64_t fabric_lease_age_s(const struct fabric *fabric);
bool fabric_store_up(const struct fabric *fabric, const struct err **ret_why, uint64_t *ret_since_ms);

// Good and held peers: what is to be programmed. Never contains our own subnet.
const struct lease_set *fabric_peers(const struct fabric *fabric);
size_t fabric_peer_count(const struct fabric *fabric, enum fabric_peer_state state);
// Held and rejected ones only (good ones are in fabric_peers): for each, the lease if it could be read, the key and why.
typedef void fabric_odd_fn(void *arg, enum fabric_peer_state state, const char *key,
			   const struct lease *lease, const char *why);
void fabric_odd_each(const struct fabric *fabric, fabric_odd_fn *fn, void *arg);
