// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: finding and opening the store that network and lease commands speak to, and waiting for it.
#pragma once

#include "cli/cli.h"
#include "core/netconf.h"
#include "store/registry.h"

struct store_access {
	struct cli *cli;
	struct kv *kv;
	struct registry *registry;
	char *prefix; // of the network asked for, without a slash at the end
	char *base;   // above all networks, likewise
	char *where;  // the store, for people: "etcd3 http://192.0.2.1:2379"
	// The call being waited for.
	bool is_done;
	int r;
	struct err err;
};

// Where the store is: flags and environment; else what the agent on this host uses; else the defaults. CLI_OK, or what was
// printed.
// The same without opening it. What *ret points to belongs to the options.
enum cli_exit store_access_find(struct cli *cli, struct store_config *ret);
enum cli_exit store_access_open(struct cli *cli, struct store_access *ret);
// The one that the --to- flags name. Its prefix is the source's unless it was given.
enum cli_exit store_access_open_target(struct cli *cli, struct store_access *ret);
bool store_access_has_target(const struct cli *cli); // was one named?
void store_access_close(struct store_access *store);
// One of the networks below an open store: name "" is the one at the prefix. Shares the connection of store,
// which must outlive it.
int store_access_network(const struct store_access *store, const char *name,
			 struct store_access *ret, struct err *e);
void store_access_leave(struct store_access *network);
#define _cleanup_store_ _cleanup_(store_access_close)

// Before a call, and after it: waits for store_access_end, which the call's done function calls, and gives its r.
void store_access_begin(struct store_access *store);
void store_access_end(struct store_access *store, int r, const struct err *e);
int store_access_wait(struct store_access *store);
// For calls that need nothing but the result: a registry_done_fn with the store_access as arg.
void store_access_done(void *arg, int r, const struct err *e);
// Prints why the last call failed.
enum cli_exit store_access_fail(const struct store_access *store);

// The network's config as it is stored. -ENOENT without one; store->err says so.
struct stored_config {
	char *text; // NULL: none
	int64_t mod_revision;
};
int store_access_config(struct store_access *store, struct stored_config *ret);
void stored_config_free(struct stored_config *config);
#define _cleanup_stored_config_ _cleanup_(stored_config_free)
