// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: starting a program that puts itself into the background: its end, which says that it runs now, or why not.
#pragma once

#include "core/err.h"
#include "io/loop.h"

struct launch;
// status: the exit code; -ETIMEDOUT: it did not come to its end; -ECHILD: a signal ended it. said: the beginning of its standard error.
typedef void launch_fn(void *arg, int status, const char *said);

// argv and environment end with NULL; argv[0] is looked for in our PATH. In a session of its own, with /dev/null for input and output.
// -ENOENT: there is no such program.
int launch_start(struct loop *loop, const char *const *argv, const char *const *environment,
		 launch_fn *fn, void *arg, struct launch **ret, struct err *e);
struct launch *launch_free(struct launch *launch); // the program is left to itself. Also from within fn
