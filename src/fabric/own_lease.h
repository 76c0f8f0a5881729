// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts of our own lease share: own_identity.c, own_acquire.c, own_lease.c, own_renew.c.
#pragma once

#include "fabric/fabric_internal.h"

// ---- own_identity.c ----
const struct ip *own_address(const struct fabric *fabric); // by which a host is known in this network
bool own_has_address(const struct fabric *fabric, const struct lease *lease);
bool own_is_on_disk(const struct fabric *fabric,
		    const struct lease *lease); // this host's disk says that it was ours
bool own_is_ours(const struct fabric *fabric, const struct lease *lease);
void own_describe_other(const struct lease *other, struct err *ret, const char *what);

// ---- own_acquire.c ----
void own_acquire(struct fabric *fabric);
void own_prove(struct fabric *fabric); // of the lease just created, when the watch has told enough

// ---- own_lease.c ----
void own_set_state(struct fabric *fabric, enum fabric_lease_state state,
		   const struct err *why);			       // why NULL: none
void own_set_at_key(struct fabric *fabric, const struct lease *lease); // NULL: the store has nothing there
void own_set_candidate(struct fabric *fabric, const struct lease *lease);
void own_take(struct fabric *fabric, const struct lease *lease); // this is our lease from now on
void own_hold(struct fabric *fabric, const struct lease *lease,
	      bool fresh);		       // the store confirms it; fresh: just written
bool own_is_kept(const struct fabric *fabric); // the store confirms it, whether or not it fits the config
void own_settle(struct fabric *fabric);
// Begins to create our key, for as long as the config is the one we know. -EBUSY: the network is frozen, and
// the state says so.
int own_create(struct fabric *fabric, const struct subnet *subnet, registry_lease_fn *fn);
void own_read_again_if_moved(struct fabric *fabric, int r); // what creating it ended with
void own_retry_later(struct fabric *fabric);

// ---- own_renew.c ----
int64_t own_longest_period_s(const struct fabric *fabric); // of any weft with this TTL, jitter aside
uint64_t own_renew_period_ms(const struct fabric *fabric); // with jitter
void own_renew(struct fabric *fabric);			   // now
void own_renew_tick(void *arg);
