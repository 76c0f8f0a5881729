// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how the agent and the addresses of its networks' containers are wired together.
#pragma once

#include "agent/agent_internal.h"
#include "io/http_server.h"
#include "ipam/ipam.h"

// ---- addresses.c ----
// Opens what a network knows of addresses; an agent without it goes on, and says so to those who ask for addresses.
void addresses_open(struct network *network);
void addresses_close(struct network *network);
void addresses_lease(struct network *network, enum fabric_lease_state state,
		     const struct lease *lease, const char *why);
json_t *addresses_view(const struct network *network); // a part of the status
int addresses_host_open(struct agent *agent, struct err *e);
void addresses_host_close(struct agent *agent);

// ---- ipam_api.c ----
// Paths below /agent/v1/ipam/.
void ipam_api_serve(void *arg, struct http_exchange *exchange);
// The network of this name, or NULL with why.
struct network *ipam_api_network(struct agent *agent, const char *net, struct refusal *why);

// ---- ipam_del_dir.c ----
// Releases that were asked for while the agent was down, one file each; watched.
struct ipam_del_dir;
int ipam_del_dir_new(struct agent *agent, const char *path, struct ipam_del_dir **ret, struct err *e);
struct ipam_del_dir *ipam_del_dir_free(struct ipam_del_dir *dir);
void ipam_del_dir_apply(struct ipam_del_dir *dir);
// Keeps what cannot be done yet. -errno if not even that.
int ipam_del_dir_add(struct ipam_del_dir *dir, const char *body, size_t len, struct err *e);
