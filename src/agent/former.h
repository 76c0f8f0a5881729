// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the devices that carried a network on this host and are not wanted any more, flannel's or ours.
#pragma once

#include "agent/agent_internal.h"

// An earlier life of the network made it, by the word of the disk; or it is a tunnel named as flannel's that has the first address of the own
// subnet: nothing but the network's own backend gives it that.
bool former_is_left(const struct network *network, const struct link *link);

// Of a kind and a name that only flannel's devices and ours have.
bool former_is_tunnel(const struct link *link);

// Deletes those that the network's backend does not want and no other network of this host has; what cannot be deleted is logged.
// Blocking, a few dumps.
void former_remove(const struct network *network);

// Of a network that leaves: the devices of its backend, which is freed, and then as above.
void former_remove_all(struct network *network);
