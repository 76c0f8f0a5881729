// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weftd as a controller, alone or beside the agent of its host.
#pragma once

#include "agent/options.h"
#include "io/loop.h"

struct server;
// Errors: what keeps it from listening.
int server_new(struct loop *loop, const struct options *options, struct server **ret, struct err *e);
struct server *server_free(struct server *server);
// Until SIGTERM or SIGINT; for a controller without an agent, which has its own.
void server_run(struct server *server, char *const *environment);
