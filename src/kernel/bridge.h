// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: making the devices by which containers hang on a host: bridges, and pairs of which one end is a bridge's port.
#pragma once

#include "core/err.h"
#include "kernel/netlink.h"

// Makes a bridge, down, with bridge->name, mac and mtu_bytes. Without a MAC of its own a bridge takes that of one of its ports,
// and changes it with them. -EEXIST; -EOPNOTSUPP with a message naming the missing kernel support; -EPERM.
int bridge_create(struct netlink *nl, const struct link *bridge, struct err *e);
// Makes a pair of link->name, a port of link->master_ifindex and up, and peer, down; both with link->mtu_bytes. As bridge_create
// otherwise.
int veth_create(struct netlink *nl, const struct link *link, const char *peer, struct err *e);
