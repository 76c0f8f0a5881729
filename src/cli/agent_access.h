// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking the agent on this host.
#pragma once

#include "cli/cli.h"

#include <jansson.h>
#include <stddef.h>

// Of a command about the agent, both ask for the network that --network names. GET; the answer's JSON, whatever the HTTP status but for errors, which come as err. -ECONNREFUSED, -ENOENT and -EACCES
// have a message that says what to do.
int agent_get(const struct cli *cli, const char *path, json_t **ret, struct err *e);

// The same by POST, without a body, of a command that is about the host: it has no network.
int agent_post(const struct cli *cli, const char *path, json_t **ret, struct err *e);

// GET of something long or endless: fn gets the bytes as they come and ends it by a code other than 0. idle_timeout_ms
// without a byte is -ETIMEDOUT. 0: the agent ended it.
typedef int agent_bytes_fn(void *arg, const char *data, size_t len);
int agent_stream(const struct cli *cli, const char *path, uint32_t idle_timeout_ms,
		 agent_bytes_fn *fn, void *arg, struct err *e);
// Prints what these returned and gives the exit code.
enum cli_exit agent_fail(const struct cli *cli, int r, const struct err *e);
