// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the files of weft mesh share.
#pragma once

#include "cli/cli.h"
#include "cli/mesh_read.h"

// Peers in an array that grows.
struct mesh_list {
	struct mesh_peer *peers;
	size_t count;
	size_t capacity;
};
void mesh_list_add(void *arg, const struct mesh_peer *peer); // a mesh_peer_fn
void mesh_list_free(struct mesh_list *list);
// What the agent on this host measured. Prints why not.
enum cli_exit mesh_ask_own(const struct cli *cli, struct mesh_head *head, struct mesh_list *ret);

#define MESH_TIME_MAX 24
// "0.42ms", "?" if nothing was answered yet, "lost" if nothing is answered. Returns buf.
const char *mesh_time(const struct mesh_way *way, char buf[static MESH_TIME_MAX]);

// ---- mesh_all.c ----
enum cli_exit mesh_all(struct cli *cli, const struct mesh_head *own, const struct mesh_list *peers);
