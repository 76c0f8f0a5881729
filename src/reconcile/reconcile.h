// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: making the kernel agree with what the backend wants, and keeping it so.
//
// DOC: two ways in, one way of comparing
//
//   pass    devices -> scan (dumps, read in slices) -> peers (512 at a time: wanted against scanned, the difference applied in one batch)
//           -> sweep (what is ours and was not wanted: routes before nexthops, or the kernel walks its table for each).
//           The first one begins while peers are still being read, takes in those that come, and sweeps when all are there.
//           Runs at start, when the underlay or the peers' set changed, when the kernel says that something of ours was touched,
//           when a failed peer's back-off ends, and every scan interval (later in large networks) in case a notification was lost.
//   change  a peer changed: what is wanted of it now against what was wanted of it before. Gathered for 5 ms, then one batch.
//           Runs also between the slices of a pass; what it writes is marked in the pass's table so that the sweep leaves it alone.
//
// The loop is never held for longer than one slice. A peer that cannot be programmed is noted with a retry time of its own and delays no other.
// The first pass programs; later ones repair, which is counted, logged and, where another program keeps undoing it, held back (war.h).
#pragma once

#include "core/lease_set.h"
#include "io/loop.h"
#include "kernel/monitor.h"
#include "kernel/netlink.h"
#include "reconcile/trouble.h"
#include "reconcile/wanted.h"
#include "reconcile/war.h"
#include "reconcile/wg_contacts.h"

struct reconcile;

// Where the wanted state comes from. All but event are pure look-ups.
struct reconcile_source {
	void (*devices)(void *arg, struct wanted_devices *ret);
	// 0; -EPROTONOSUPPORT: this peer is not for this backend (ignored, e says why); other: the peer cannot be programmed.
	int (*peer)(void *arg, const struct lease *peer, const struct underlay *underlay,
		    const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		    struct err *e);
	// Does the backend want to know the way to each peer's public address? (One route look-up per peer and pass.)
	bool (*needs_paths)(void *arg);
	const struct lease_set *(*peers)(void *arg);
	const struct underlay *(*underlay)(void *arg); // device_ifindex is filled in by reconcile

	// Is this destination inside the network? Asked only after reconcile_share_host.
	bool (*owns)(void *arg, const struct ipnet *dst);

	// A repair was made (text: the object), or a war declared.
	void (*repaired)(void *arg, const struct kernel_object *object, bool war);
	// The devices could not be made, or can again (e NULL).
	void (*device_error)(void *arg, const struct err *e);
	// A pass ended that swept: what was not wanted when it began is gone. NULL: nobody asks.
	void (*swept)(void *arg);
};

enum reconcile_reason {
	RECONCILE_START, // program what is wanted
	RECONCILE_CHANGE, // something that we know of changed (underlay, config, whole set): differences are no repairs
	RECONCILE_DRIFT, // somebody else touched something, or a periodic look: differences are repairs
};

struct reconcile_stats {
	uint64_t passes;
	uint64_t repairs[KERNEL_KIND_COUNT];
	uint64_t wars;
	uint64_t changes;	    // peers changed by events
	uint64_t last_pass_ms;	    // how long the last pass took
	uint64_t last_repair_at_ms; // loop_now_ms; 0: never
	char last_repair[KERNEL_OBJECT_STR_MAX];
};

struct reconcile *reconcile_new(struct loop *loop, struct netlink *nl,
				const struct reconcile_source *source, void *arg,
				uint64_t scan_interval_ms);
struct reconcile *reconcile_free(struct reconcile *reconcile); // the kernel state stays
// Before anything else: the host has other networks, and what has our mark may be theirs. Ours are then routes on our devices or to
// what source.owns, and nexthops of this slot (nexthop_table.h) that no route of theirs stands on. The log names the network.
void reconcile_share_host(struct reconcile *reconcile, uint32_t slot, const char *network);

// Makes the devices now, synchronously: at start, where an error must be told at once.
int reconcile_devices(struct reconcile *reconcile, struct err *e);

void reconcile_request(struct reconcile *reconcile, enum reconcile_reason reason);
// The peer set is not complete: a pass that meets its end waits for the rest, which comes by reconcile_peer_changed.
void reconcile_expect_peers(struct reconcile *reconcile, bool more);
// May what is not wanted be removed? Off at first: as long as the peers come from a cache, an entry that the cache does not
// know may be right.
void reconcile_allow_sweep(struct reconcile *reconcile, bool allowed);
// One peer appeared (old NULL), changed, or went (now NULL). Both are borrowed; the peer set already has the new state.
void reconcile_peer_changed(struct reconcile *reconcile, const struct lease *old,
			    const struct lease *now);
void reconcile_kernel_event(struct reconcile *reconcile, const struct kernel_event *event);

bool reconcile_is_synced(const struct reconcile *reconcile); // a whole pass was done and no change is waiting
const struct reconcile_stats *reconcile_stats(const struct reconcile *reconcile);
const struct trouble *reconcile_trouble(const struct reconcile *reconcile);
// What runs our devices, where that is a question: "kernel" or "wireguard-go". NULL: nothing to choose from.
const char *reconcile_engine(const struct reconcile *reconcile);
// The devices' own keys are others now: writes them at once, for a pass comes late. done is called when they are in use, or cannot be;
// not after reconcile_free. -EAGAIN: there is no device, or the same is under way.
typedef void reconcile_rekey_fn(void *arg, int r, const struct err *e);
int reconcile_rekey(struct reconcile *reconcile, reconcile_rekey_fn *done, void *arg, struct err *e);

// When the peer was last heard, where a device says so. False: nothing is known. With several devices the one that is worst off.
bool reconcile_heard(const struct reconcile *reconcile, const struct wanted *wanted,
		     struct wg_heard *ret);
size_t reconcile_silent_peers(const struct reconcile *reconcile); // are called and do not answer
const struct war *reconcile_war(const struct reconcile *reconcile);
// What is wanted of a peer now, for people: path and why.
int reconcile_explain(struct reconcile *reconcile, const struct lease *peer, struct wanted *ret,
		      struct err *e);

// What a pass would change, without changing it. fn is called for each change, then done once; not after reconcile_free.
typedef void reconcile_plan_fn(void *arg, enum netlink_verb verb, const struct kernel_object *object);
typedef void reconcile_plan_done_fn(void *arg, int r, const struct err *e);
// -EBUSY: another plan is being made.
int reconcile_plan(struct reconcile *reconcile, reconcile_plan_fn *fn, reconcile_plan_done_fn *done,
		   void *arg);
