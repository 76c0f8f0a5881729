// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the agent: the fabric, the backend, the reconciler and the API, wired together.
#pragma once

#include "agent/options.h"
#include "core/err.h"
#include "io/loop.h"

struct agent;
// Opens everything that must be there from the start (netlink, store client, API socket); what may come later (the store's answers,
// the config, the interface) is waited for while the loop runs. options and environment are borrowed.
int agent_new(struct loop *loop, const struct options *options, char *const *environment,
	      struct agent **ret, struct err *e);
// This process is the store of others as well, who reach it so: a `weft` on this host does too. Borrowed.
struct server_access;
void agent_serves(struct agent *agent, const struct server_access *access);
// Runs until a signal ends it. 0, or an error that no waiting can mend (-EPERM).
int agent_run(struct agent *agent, struct err *e);
// The lease stays in the store, and the data plane in the kernel.
struct agent *agent_free(struct agent *agent);
