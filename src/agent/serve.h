// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weftd as a controller, alone or beside the agent of its host.
#pragma once

#include "agent/options.h"
#include "io/loop.h"

#define SERVER_ENDPOINT_MAX (IP_STR_MAX + 32)

// How a client on this host reaches a controller; borrowed from it.
struct server_access {
	char endpoint[SERVER_ENDPOINT_MAX]; // URL
	const char *pin;		    // "" without TLS
	const char *token_file;		    // "": the token is in no file, or there is none
};

struct server;
// Errors: what keeps it from listening.
int server_new(struct loop *loop, const struct options *options, struct server **ret, struct err *e);
struct server *server_free(struct server *server);
void server_access(const struct server *server, const struct options *options,
		   struct server_access *ret);
// Until SIGTERM or SIGINT; for a controller without an agent, which has its own.
void server_run(struct server *server, char *const *environment);
