// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the devices that another backend left which carried this network on this host, flannel's or ours.
#pragma once

#include "backend/backend.h"
#include "core/lease.h"
#include "kernel/netlink.h"

// A tunnel named as flannel's that has the first address of the host's own subnet: nothing but the network's own backend gives it that.
// own NULL: the subnet is not known.
bool former_is_left(struct netlink *nl, const struct link *link, const struct subnet *own);

// Deletes those that the backend does not want; what cannot be deleted is logged. Blocking, a few dumps.
void former_remove(struct netlink *nl, const struct subnet *own, const struct backend *backend);
