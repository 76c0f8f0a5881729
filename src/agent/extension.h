// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the commands of a network whose Backend.Type is extension: when each runs and what it is told.
//
// DOC: life
//
//   PreStartupCommand -> the lease (what it wrote is our BackendData) -> PostStartupCommand -> SubnetAddCommand, SubnetRemoveCommand of each
//   peer (peer_commands.h) -> ShutdownCommand, when the agent is stopped, or when the network leaves and all its peers were removed
//
// What fails at the start is tried again for ever, later each time, and shown meanwhile. As in flannel all of it is done again at every start: the
// commands must bear to find what they made before. When the agent stops, peers are not removed: what they have outlives it.
#pragma once

#include "core/err.h"
#include "core/lease.h"

struct network;
struct extension;

// NULL if the backend has no commands. Call only with a backend.
struct extension *extension_new(struct network *network);
struct extension *extension_free(struct extension *extension); // kills what runs

// Until then we must not have a lease: what it says of us is not known. True for NULL, as all that follows does nothing for it.
bool extension_may_join(const struct extension *extension);
void extension_lease_known(struct extension *extension);
// Everything may be different. is_partial: more peers come.
void extension_peers_reset(struct extension *extension, bool is_partial);
void extension_peer_changed(struct extension *extension, const struct lease *old,
			    const struct lease *now);

// Runs what there is for the end, and calls done; at once (false is returned, and done is not called) if there is nothing. is_leaving: peers
// are removed as well.
bool extension_end(struct extension *extension, bool is_leaving, void (*done)(void *arg), void *arg);

// Why it has not started: 0, or the error.
int extension_start_error(const struct extension *extension, struct err *e);
// That, or a remove that failed.
int extension_error(const struct extension *extension, struct err *e);
// 0: the way to it is made; -EINPROGRESS: not yet; other: its command failed.
int extension_peer_state(const struct extension *extension, const struct lease *peer, struct err *e);
size_t extension_peers_pending(const struct extension *extension);
