// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: making one device of ours be as wanted: kind, attributes, MAC, MTU, addresses, up.
#pragma once

#include "core/err.h"
#include "kernel/netlink.h"
#include "reconcile/wanted.h"

// Asked before each change is made (or, in a dry run, would be); false: leave it alone.
typedef bool device_change_fn(void *arg, enum netlink_verb verb, const struct kernel_object *object);

// May a vxlan device that is there be kept (and its MAC adopted)? Index, addresses and port count only where both sides name them: flannel's rule.
bool device_is_compatible(const struct link *have, const struct link *wanted);

// Synchronous, a handful of messages. dry_run: only asks. -EBUSY when fn forbade a change. ret_ifindex is 0 if the device does not exist after a dry run.
int device_ensure(struct netlink *nl, const struct wanted_device *wanted, bool dry_run, device_change_fn *fn, void *arg,
		  uint32_t *ret_ifindex, struct err *e);
