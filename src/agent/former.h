// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which devices are left of another backend that carried this network on this host, flannel's or ours.
#pragma once

#include "core/lease.h"
#include "kernel/netlink.h"

#define FORMER_MAX 16

// A tunnel named as flannel's that has the first address of the host's own subnet: nothing but the network's own backend gives it that.
bool former_is_left(struct netlink *nl, const struct link *link, const struct subnet *own);

// All of those that are there, at most FORMER_MAX; how many. Blocking, a few dumps.
size_t former_find(struct netlink *nl, const struct subnet *own, struct link ret[static FORMER_MAX]);
