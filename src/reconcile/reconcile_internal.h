// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what reconcile.c (when to work), change.c (peers changed by events), notice.c (what the kernel tells), pass.c (scan, compare, sweep)
// and apply.c (changes to the kernel) share.
#pragma once

#include "reconcile/have.h"
#include "reconcile/nexthop_table.h"
#include "reconcile/reconcile.h"
#include "reconcile/wg.h"
#include "reconcile/wg_contacts.h"

#define SLICE_PEERS 512
#define PENDING_MAX (4 * SLICE_PEERS) // changed peers that wait; with more a pass is cheaper
#define TOUCHED_MAX SLICE_PEERS
#define GATHER_MS 5 // changes that come within this are one batch
#define PASS_WAITS 2
#define PASS_BUSY 3

// One change to the kernel, and the peer it is for.
struct op {
	enum netlink_verb verb;
	uint32_t peer; // index into ops.peers; OP_NO_PEER for a sweep
	bool repair;
	struct kernel_object object;
};
#define OP_NO_PEER UINT32_MAX

// The changes of one slice.
struct ops {
	struct op *items;
	size_t count;
	size_t capacity;
	struct subnet peers[SLICE_PEERS];
	uint8_t peer_failed[SLICE_PEERS];
	size_t peer_count;
};

// One peer of a slice with what is wanted of it.
struct want_result {
	int r;
	struct err err;
	struct wanted wanted;
};

enum pass_phase { PASS_SCAN, PASS_PEERS, PASS_SWEEP };

struct pass {
	enum pass_phase phase;
	enum reconcile_reason reason;
	bool dry_run;
	bool devices_changed; // then missing entries are no acts of war
	bool overrun; // so many peers changed meanwhile that this pass judges nobody; another one follows
	struct underlay underlay; // of a dry run: device_ifindex is 0 for a device that would be made
	uint64_t started_ms;
	unsigned int scan_restarts;
	size_t dump_next; // which dump comes next
	struct netlink_dump *dump;
	bool disturbed; // peers changed during the scan, and dumps of changing tables leave things out
	struct have *have;
	struct subnet *subnets; // the peers as they were when the comparison began, and those taken in since
	size_t subnet_count;
	size_t subnet_capacity;
	size_t subnet_next;
	size_t late_count; // at the front of subnets, of those that were compared: what they want another one may have
	bool late; // they are being compared
	struct subnet *touched; // changed by events during this pass: the scan knows less than we do. Room for TOUCHED_MAX
	size_t touched_count;
	enum kernel_kind sweep_kind;
	size_t sweep_position;
	bool sweeps;	      // it does so, now
	size_t wg_next;	      // which WireGuard device is read next
	bool wg_reading;      // one is
	int wg_error;	      // of it
	bool routes_compared; // those of the devices
	bool devices_route;   // to the whole network, one of them at least
};

struct pending {
	struct subnet subnet;
	bool has_old;
	struct lease old;
};

struct reconcile {
	struct loop *loop;
	struct netlink *nl;
	struct reconcile_source source;
	void *arg;
	uint64_t scan_interval_ms;
	struct underlay underlay; // the source's, with device_ifindex
	bool devices_ready;
	bool device_error_told;
	bool device_failed; // a change failed because the device was gone or down
	bool changing;	    // the ops at hand come from change.c

	struct timer *pass_timer;   // starts a requested pass, and steps a running one
	struct timer *scan_timer;   // the periodic look
	struct timer *retry_timer;  // failed peers
	struct timer *change_timer; // gathers changed peers
	bool requested;
	enum reconcile_reason requested_reason;
	uint64_t pass_ended_ms;
	bool synced;
	bool sweep_allowed;
	bool more_peers;      // are coming: the pass at hand takes them in
	bool routes_are_left; // flannel's, it seems, past our devices: who it was to may come later
	struct pass *pass;

	struct pending *pending;
	size_t pending_count;
	size_t pending_capacity;

	bool has_neighbours; // other networks on this host: our mark is theirs as well
	char *label;	     // begins what is logged: "network a", else "reconcile"
	struct nexthop_table *nexthops;
	struct trouble *trouble;
	struct war *war;
	struct wg *wg;		      // NULL: no WireGuard device
	struct timer *wg_timer;	      // looks at it from time to time: nobody tells of a change
	struct timer *wg_sweep_timer; // old keys go
	struct wg_look *wg_look;      // what was seen last
	struct wg_contacts *wg_contacts;
	reconcile_rekey_fn *rekey_done; // NULL: none is under way
	void *rekey_arg;
	size_t rekey_writes;	// that are not answered yet
	struct err rekey_error; // the first; code 0: none
	struct ops ops;		// of the slice at hand; its memory is given back when a pass ends
	struct netlink_batch *batch;
	struct reconcile_stats stats;

	reconcile_plan_fn *plan_fn;
	reconcile_plan_done_fn *plan_done;
	void *plan_arg;
	bool plan_requested;
};

// ---- apply.c ----
void ops_reset(struct ops *ops);
void ops_add(struct ops *ops, enum netlink_verb verb, const struct kernel_object *object,
	     uint32_t peer, bool repair);
// Sends the ops of the slice, records what failed and what is fine again, empties them.
void ops_apply(struct reconcile *reconcile);
// The ways to the public addresses of count peers, where the backend asks for them.
void look_up_paths(struct reconcile *reconcile, const struct lease *const *peers, size_t count,
		   struct underlay_path (*ret)[UNDERLAY_FAMILY_COUNT]);
// Notes that a peer is not programmed, or ignored, because the backend says so.
void note_refusal(struct reconcile *reconcile, const struct subnet *subnet, int r,
		  const struct err *e);
void want_peer(struct reconcile *reconcile, const struct lease *peer,
	       const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct want_result *ret);
// False if the object is being fought over and is to be left alone now.
bool repair_allowed(struct reconcile *reconcile, const struct kernel_object *object);
// Turns a route with a gateway into one over a nexthop object: fills *nexthop, changes *route. False where routes stay classic.
bool route_over_nexthop(struct reconcile *reconcile, struct kernel_object *route,
			struct kernel_object *ret_nexthop);
// Entries that another lease of the same host also wants must not go with this peer.
bool peer_shares_host(const struct reconcile *reconcile, const struct lease *peer);
// ret: the source's underlay with device_ifindex.
int ensure_devices(struct reconcile *reconcile, enum reconcile_reason reason, bool dry_run,
		   struct underlay *ret, bool *ret_changed, struct err *e);

// A repair was made.
void count_repair(struct reconcile *reconcile, const struct kernel_object *object);
// The change was made, or was not.
void op_done(struct reconcile *reconcile, const struct op *op, const struct subnet *peer, int error,
	     const char *extack);

// ---- wg_peers.c ----
// Attaches a device that is there. Makes what is needed at the first.
int wg_peers_attach(struct reconcile *reconcile, const struct wanted_device *device,
		    uint32_t ifindex, struct err *e);
// The process that has the device must be started, or is being started: -EINPROGRESS.
int wg_peers_launch(struct reconcile *reconcile, const struct wanted_device *device, struct err *e);
bool wg_peers_launching(const struct reconcile *reconcile, const struct wanted_device *device);
// The pass's look at the devices. 0: all were read; PASS_WAITS: one is being read, and then the pass goes on by itself; negative.
int wg_peers_scan(struct reconcile *reconcile, struct err *e);
// Takes the changes of peers out of the ops of the slice and writes them; how it went is told by op_done.
void wg_peers_apply(struct reconcile *reconcile);
// Has the device a peer with this key, as far as is known? Whose it is a pass can judge.
bool wg_peers_known(const struct reconcile *reconcile, const struct wg_peer *peer);
// A peer's old key has lost its addresses to the new one, but what is being encrypted with it is to get out before it goes.
void wg_peers_sweep_soon(struct reconcile *reconcile);
// What is there now is what we left: a look that finds something else asks for a pass.
void wg_peers_settle(struct reconcile *reconcile);
void wg_peers_free(struct reconcile *reconcile);

// ---- reconcile.c ----
// May a route with our mark to this destination be this network's?
bool is_our_destination(const struct reconcile *reconcile, const struct ipnet *dst);
// Until the next periodic scan. It reads four objects a peer, and what it may cost of a quiet host does not grow with the network.
uint64_t scan_pause_ms(uint64_t interval_ms, size_t peers);

// ---- change.c ----
void change_tick(void *arg);
// One slice of the changed peers. Only when the devices are ready.
void changes_flush(struct reconcile *reconcile);
void changes_clear(struct reconcile *reconcile);

// ---- pass.c ----
void pass_begin(struct reconcile *reconcile, enum reconcile_reason reason, bool dry_run);
// One slice. 1: there is more to do; PASS_WAITS: not until more peers come, or it is known that none do; PASS_BUSY: in a moment; 0: done; negative: given up. If done
// or given up, the pass is freed.
int pass_step(struct reconcile *reconcile);
// A peer that came while the first pass runs. False: too late for it.
bool pass_take_in(struct reconcile *reconcile, const struct subnet *subnet);
struct pass *pass_free(struct pass *pass);
// An event wrote or removed this object while the pass runs.
void pass_touch_object(struct pass *pass, const struct kernel_object *object);
// False: too many are touched.
bool pass_touch_peer(struct pass *pass, const struct subnet *subnet);
