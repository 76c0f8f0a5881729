// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: for tests of reconcile: a host in a network namespace of its own with an interface e0 (192.168.9.1/24, fd99::1/64), the vxlan
// backend, a set of peers, a loop and the kernel's notifications wired as the agent wires them; and a second pair of eyes on the kernel.
#pragma once

#include "backend/backend.h"
#include "core/lease_set.h"
#include "reconcile/reconcile.h"

struct world_options {
	const char *config;   // the network config; NULL: WORLD_CONFIG
	unsigned int without; // mask of netlink features
	uint64_t scan_interval_ms;
	bool keep_kernel; // the namespace is as the last world left it: only the agent's side is made anew
	bool deaf;	  // the kernel's notifications do not come
};

#define WORLD_CONFIG \
	"{\"Network\":\"10.0.0.0/8\",\"SubnetLen\":24,\"Backend\":{\"Type\":\"vxlan\"}}"
#define WORLD_DUAL_CONFIG                                                                                                      \
	"{\"EnableIPv6\":true,\"Network\":\"10.0.0.0/8\",\"SubnetLen\":24,\"IPv6Network\":\"fd10::/32\",\"IPv6SubnetLen\":64," \
	"\"Backend\":{\"Type\":\"vxlan\"}}"

struct world {
	struct netlink *nl;
	struct netlink *eyes;
	struct loop *loop;
	struct monitor *monitor;
	struct fd_watch *watch;
	struct backend *backend;
	struct underlay underlay;
	struct lease_set *peers;
	struct reconcile *reconcile;
	bool dual;
	struct subnet refused; // the backend refuses this peer
	int refusal;	       // with this error; 0: none is refused
	size_t repaired[KERNEL_KIND_COUNT];
	size_t wars;
	char war_object[KERNEL_OBJECT_STR_MAX];
	size_t device_errors;
	char device_error[256]; // "" when all is well
	uint64_t events;
	uint64_t lost; // times that notifications overflowed
};

struct world *world_open(const struct world_options *options);
void world_close(struct world *world);

// Peer i: 10.x.y.0/24 at 172.16.x.y with a MAC 02:11:22:... (and an IPv6 half in a dual-stack world).
struct lease world_lease(const struct world *world, unsigned int i);
const struct subnet *world_subnet(const struct world *world, unsigned int i); // static storage
void world_set_mac(struct lease *lease, const char *mac);
void world_fill(struct world *world, unsigned int from,
		unsigned int count);			  // into the set, without an event
void world_put(struct world *world, struct lease *lease); // with its event; takes the lease over
void world_remove(struct world *world, const struct subnet *subnet); // with its event

typedef bool world_condition_fn(struct world *world);
bool world_await(struct world *world, world_condition_fn *condition, uint64_t timeout_ms);
void world_run(struct world *world, uint64_t duration_ms);	    // for what must not happen
void world_pass(struct world *world, enum reconcile_reason reason); // asks for a pass and waits for its end
void world_settle(struct world *world);				    // until nothing is to be done
void world_start(struct world *world);				    // the first pass, sweeping
void world_await_changes(struct world *world); // until the changed peers are in the kernel
void world_await_passes(struct world *world, uint64_t passes); // until so many were made in all

// What is on our devices, and all nexthops and routes that are not the kernel's own: sorted lines, device indexes as names. Caller frees.
char *world_snapshot(struct world *world);
// Waits until the snapshot is the expected one; fails with the difference. Returns the milliseconds that it took.
uint64_t world_await_snapshot(struct world *world, const char *expected);
size_t world_count(struct world *world, const char *prefix); // lines of a snapshot that begin so
bool world_has(struct world *world, const char *line);	     // a snapshot has a line that begins so
uint64_t world_messages(const struct world *world);	     // requests sent so far
size_t world_repairs(const struct world *world);	     // of all kinds
const char *world_trouble(const struct world *world, const struct subnet *subnet); // its text, or NULL
