// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: making one device of ours be as wanted: kind, attributes, MAC, MTU, addresses, up.
#pragma once

#include "core/err.h"
#include "kernel/netlink.h"
#include "reconcile/wanted.h"

// Asked before each change is made (or, in a dry run, would be); false: leave it alone.
typedef bool device_change_fn(void *arg, enum netlink_verb verb, const struct kernel_object *object);

// May a device that is there be kept (and its MAC adopted)? Of a vxlan device index, addresses and port count only where both sides name them:
// flannel's rule.
bool device_is_compatible(const struct link *have, const struct link *wanted);

// Has a device of ours all that we give it, addresses aside?
bool device_is_as_wanted(const struct link *have, const struct link *wanted);
// May this address not stay on the device?
bool device_address_is_stray(const struct wanted_device *wanted, const struct addr *addr);

// Synchronous, a handful of messages; each object is asked for once. dry_run: only asks. Where fn forbids it, an address, MAC or MTU stays as it
// is; a device that is then missing or down is -EBUSY. -EEXIST: the name is that of a device which is not of our kind, or the route to the network is another program's.
// -EINPROGRESS: it is a process that makes it, and has not done so yet. ret_ifindex is 0 if a dry
// run would have to make the device (anew).
int device_ensure(struct netlink *nl, const struct wanted_device *wanted, bool dry_run,
		  device_change_fn *fn, void *arg, uint32_t *ret_ifindex, struct err *e);
