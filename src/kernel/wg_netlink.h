// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the kernel's WireGuard devices, over generic netlink.
#pragma once

#include "core/err.h"
#include "kernel/wg.h"

#define WG_NETLINK_CHANGES_MAX 64 // in one message

struct wg_netlink;
// In the calling thread's network namespace. -ENOENT: the kernel has no WireGuard.
int wg_netlink_open(struct wg_netlink **ret, struct err *e);
struct wg_netlink *wg_netlink_close(struct wg_netlink *nl);

// Sets up the device (settings NULL: leaves it) and makes at most WG_NETLINK_CHANGES_MAX changes, which the kernel makes in order up to the
// first that fails. Synchronous: the kernel works inside sendmsg.
int wg_netlink_set(struct wg_netlink *nl, uint32_t ifindex, const struct wg_settings *settings,
		   const struct wg_key *preshared_key, const struct wg_change *changes,
		   size_t count, struct err *e);

// Begins to read a device, in the place of one that is still being read.
int wg_netlink_read(struct wg_netlink *nl, uint32_t ifindex, const struct wg_settings *settings,
		    wg_peer_fn *fn, void *arg, struct err *e);
// Reads on, some hundred peers. 1: there is more; 0: that was all, and state is filled; -EINTR: it changed meanwhile, begin again; other: error.
int wg_netlink_step(struct wg_netlink *nl, struct wg_state *ret, struct err *e);
