// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a host of the auto backend says of its ways in its lease, beside what flannel reads: the member WeftPaths.
#pragma once

#include "core/err.h"

#include <stdbool.h>

// Owns its texts: auto_paths_free.
struct auto_paths {
	bool direct;	 // takes packets that are not encapsulated, on a segment that it shares
	bool untrusted;	 // its segment is one where others may read: nothing but WireGuard
	char *wireguard; // what BackendData is with the backend wireguard; NULL: it has none
	char *wireguard_v6;
};

// NULL: a host that knows of no such thing. -EINVAL: what is there cannot be understood.
int auto_paths_read(const char *text, struct auto_paths *ret, struct err *e);
void auto_paths_free(struct auto_paths *paths);		 // leaves it zero
char *auto_paths_format(const struct auto_paths *paths); // caller frees
