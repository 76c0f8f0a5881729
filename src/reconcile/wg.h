// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the WireGuard devices of one network, whoever runs them: the kernel, or a wireguard-go that we start and that outlives us. Reads and
// writes what they have in the order in which it is asked for, one at a time.
#pragma once

#include "core/err.h"
#include "io/loop.h"
#include "kernel/object.h"

#define WG_KIND "wireguard" // of a wanted link; in user space it is a "tun"
#define WG_DEVICES_MAX 2

struct wg;
struct wg *wg_new(struct loop *loop);
struct wg *wg_free(struct wg *wg); // devices stay. What was asked for ends with -ECANCELED, within this call

// The kernel has no such devices: starts the process that has. -EINPROGRESS: ask again in a moment, and until then do not make the device.
int wg_launch(struct wg *wg, const char *device, struct err *e);
bool wg_is_launching(const struct wg *wg, const char *device);
// It came up, and was not attached since: what it is given now is no repair.
bool wg_was_launched(const struct wg *wg, const char *device);

// The device is there. Settings are copied. -EEXIST: it is a TUN that nobody answers for.
int wg_attach(struct wg *wg, const struct link *link, const struct wg_settings *settings,
	      struct err *e);
// What writes use from now on.
void wg_set_settings(struct wg *wg, uint32_t ifindex, const struct wg_settings *settings);
// "kernel" or "wireguard-go"; NULL: no device is attached.
const char *wg_engine(const struct wg *wg);

// Callbacks never run before the call has returned, but for -ECANCELED of wg_free. state is NULL if r < 0.
typedef void wg_read_fn(void *arg, int r, const struct wg_state *state, const struct err *e);
typedef void wg_write_fn(void *arg, int r, const struct err *e);
void wg_read(struct wg *wg, uint32_t ifindex, wg_peer_fn *fn, wg_read_fn *done, void *arg);
// settings: also the device's own, as attached. changes are copied. On failure some may have been made.
void wg_write(struct wg *wg, uint32_t ifindex, bool settings, const struct wg_change *changes,
	      size_t count, wg_write_fn *done, void *arg);
