// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a program run as a child, without a shell: its input, its output as it comes, its time, its end.
#pragma once

#include "core/err.h"
#include "io/loop.h"

#define CHILD_ARGUMENTS_MAX 8

struct child_request {
	const char *argv[CHILD_ARGUMENTS_MAX]; // the program (looked for in PATH) and its arguments, NULL behind them
	char *input;			       // its standard input, taken over; NULL: empty
	uint64_t timeout_ms;		       // then it is killed
};

struct child_fns {
	void (*output)(void *arg, const char *data, size_t len); // as it comes
	// Once, on the loop. r: 0, or it failed and e tells with the beginning of what it wrote to standard error: -ETIMEDOUT, -EIO. May call
	// child_free.
	void (*ended)(void *arg, int r, const struct err *e);
};

struct child;
// -ENOENT: there is no such program. Nothing is called before this returns.
int child_start(struct loop *loop, const struct child_request *request, const struct child_fns *fns,
		void *arg, struct child **ret, struct err *e);
struct child *child_free(struct child *child); // kills it if it runs
