// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft-udp as the agent sees it: that it runs, works for this host, and knows the peers.
//
// DOC: its life
//
// It outlives the agent. So first somebody is looked for at the socket: one with another device, address or port is stopped; one of another
// build is asked for its work by a new one, which takes over (udp/take_over.h); else it goes on as it is. If nobody is there one is started.
//
// Then it is told, one message after the other, each answered: the config where that differs; all peers, if all are known, as one set that
// takes effect as a whole, else as additions to what it has; and from then on changes, gathered for a moment. When the connection ends all
// begins anew, at once if the process worked for a while, later if not.
#pragma once

#include "backend/backend.h"
#include "core/lease_set.h"
#include "io/loop.h"
#include "udp/control.h"

#include <sys/types.h>

struct udp_process;

#define UDP_PROCESS_SOCKET_NAME "udp.sock" // in the run directory

struct udp_process_hooks {
	const struct lease_set *(*peers)(void *arg);
	// What it is told of one peer: up to UNDERLAY_FAMILY_COUNT; 0: nothing.
	size_t (*want)(void *arg, const struct lease *peer, struct wanted_host *ret);
	// It has its device and its config now, or (false) not any more.
	void (*changed)(void *arg, bool is_up);
};

// run_dir is copied; hooks and flags, further arguments of weft-udp that a NULL ends, are borrowed.
struct udp_process *udp_process_new(struct loop *loop, const char *run_dir, const char *const *flags,
				    const struct udp_process_hooks *hooks, void *arg);
struct udp_process *udp_process_free(struct udp_process *process); // weft-udp goes on
void udp_process_stop(struct udp_process *process); // it ends, for good; what is left to do is udp_process_free, later
// Ends what another life of the agent left at this run directory.
void udp_process_end_former(struct loop *loop, const char *run_dir);

// What it is to be. The first call starts it.
void udp_process_set(struct udp_process *process, const struct backend_process *wanted);
// Are all peers known, so that others are to be forgotten? Then, or when it is said that the set is another, it is told of all of them.
void udp_process_peers_reset(struct udp_process *process, bool all_are_known);
void udp_process_peer_changed(struct udp_process *process, const struct subnet *subnet);

bool udp_process_is_up(const struct udp_process *process);
const struct err *udp_process_error(const struct udp_process *process); // code 0: none
const char *udp_process_engine(const struct udp_process *process);	// "" unless it is up
pid_t udp_process_pid(const struct udp_process *process);		// 0 unless it is up
// As last asked for, every few seconds; false: there are none.
bool udp_process_counters(const struct udp_process *process, const uint64_t **ret);
