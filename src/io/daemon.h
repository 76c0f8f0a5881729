// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: starting programs that outlive us.
#pragma once

#include "core/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct daemon_request {
	const char *const *argv; // the program (looked for in PATH) and its arguments, ended by NULL
	const char *const *environment; // all of it, ended by NULL; NULL: nothing of ours, which may have secrets
	int output, errors; // its standard output and error; -1: /dev/null
};

// In a session of its own and in "/", with none of our descriptors but those of the request. -ENOENT: there is no such program.
int daemon_start(const struct daemon_request *request, pid_t *ret, struct err *e);
// Has one that we started ended? Then *ret_status is waitpid's, once; child_status_str says it.
bool daemon_ended(pid_t pid, int *ret_status);
