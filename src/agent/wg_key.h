// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: this host's WireGuard key of one network, on disk.
#pragma once

#include "core/err.h"
#include "kernel/wg.h"

// Reads DIRECTORY/wireguard.key (base64, as wg has it), or makes it. Blocks for the disk: once when a backend is opened, and to the disk's
// platter only when the key is made. The message names the file and says what to do. The caller wipes the private key.
int wg_key_open(const char *directory, struct wg_key *ret_private, struct wg_key *ret_public,
		struct err *e);
// Another key, in the place of the one that is there. Blocks for the disk.
int wg_key_replace(const char *directory, const struct wg_key *private_key, struct err *e);
int wg_key_generate(struct wg_key *ret_private, struct wg_key *ret_public, struct err *e);
void wg_key_public(const struct wg_key *private_key, struct wg_key *ret);
