// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: network devices: look-up, making and changing.
#pragma once

#include "core/err.h"
#include "kernel/netlink.h"

// -ENODEV when there is none (message names it).
int link_get_by_name(struct netlink *nl, const char *name, struct link *ret, struct err *e);
int link_get_by_index(struct netlink *nl, uint32_t ifindex, struct link *ret, struct err *e);

// Makes a vxlan device, down, with link->name, mac, mtu_bytes (0: kernel's) and vxlan, TXQLEN 0, TTL 0, TOS 0, no checksum attributes (flannel-compatible,
// all attributes of the compatibility list sent explicitly). -EEXIST; -EOPNOTSUPP with a message naming the missing kernel support; -EPERM naming CAP_NET_ADMIN.
int link_create_vxlan(struct netlink *nl, const struct link *link, struct err *e);
// The same for an ipip device with link->name, mtu_bytes and ipip, TTL 0, TOS 0, no path MTU discovery of its own.
int link_create_ipip(struct netlink *nl, const struct link *link, struct err *e);
// The same for a WireGuard device; key, port and peers are not rtnetlink's.
int link_create_wireguard(struct netlink *nl, const struct link *link, struct err *e);
// Gives an ipip device that is there link->mtu_bytes and ipip. The kernel refuses to add a remote or to take one away.
int link_change_ipip(struct netlink *nl, uint32_t ifindex, const struct link *link, struct err *e);
int link_delete(struct netlink *nl, uint32_t ifindex, struct err *e);
int link_set_up(struct netlink *nl, uint32_t ifindex, bool up, struct err *e);
int link_set_mtu(struct netlink *nl, uint32_t ifindex, uint32_t mtu_bytes, struct err *e);
int link_set_mac(struct netlink *nl, uint32_t ifindex, const struct mac *mac, struct err *e);
