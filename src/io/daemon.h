// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: starting programs that outlive us.
#pragma once

#include "core/err.h"

#include <stdbool.h>
#include <sys/types.h>

// Starts argv[0], a path, in a session of its own and in "/", with our standard error and else none of our descriptors, and without our
// environment, which may have secrets. *ret_words: where can be read what it writes to its standard output; without blocking, and the
// caller closes it. -errno when it cannot be executed.
int daemon_start(char *const argv[], pid_t *ret, int *ret_words, struct err *e);
// Has one that we started ended? Then *ret_status is waitpid's, once.
bool daemon_ended(pid_t pid, int *ret_status);
// "exit status 1", "signal 9".
const char *daemon_status_str(int status, char buf[static 32]);
