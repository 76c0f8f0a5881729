// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a program that the loop runs as a child: its input, its output, its time, its end.
//
// DOC: what a child may leave
//
// Nothing. It leads a process group of its own, which is killed when its time is up, when it says more and more, when child_free is called, and
// also when it has ended by itself: what a shell put into the background ends with it (setsid takes a daemon out of the group). Should this
// program be killed, the kernel kills the child. What is to outlive us is started by io/daemon.
#pragma once

#include "core/err.h"
#include "io/loop.h"

#define CHILD_ARGUMENTS_MAX 8
#define CHILD_SAID_MAX 4096 // bytes that are kept of what it says; the rest is read and dropped
#define CHILD_SAID_LIMIT (1024UL * 1024) // what it may say before it is killed

struct child_request {
	const char *argv[CHILD_ARGUMENTS_MAX]; // the program (looked for in PATH) and its arguments, NULL behind them
	char *const *environment; // all of it, as environ; NULL: ours
	const char *input;	  // its standard input; NULL: empty
	uint64_t timeout_ms;
	// Is given its standard output as it comes, without a limit; what it says is then its standard error. NULL: what it says is both in one.
	void (*output)(void *arg, const char *data, size_t len);
};

// r: 0, or it failed and e says how, with the beginning of what it said: -ETIMEDOUT, -EFBIG (CHILD_SAID_LIMIT), -EIO (its exit status, or the
// signal). said: without white space at both ends; is_whole: nothing of it was dropped. Called once; the child is then to be freed, which may be
// done here.
typedef void child_fn(void *arg, int r, const char *said, bool is_whole, const struct err *e);

struct child;
// Nothing is called before this returns; arg is for fn and for request->output. -ENOENT: there is no such program.
int child_start(struct loop *loop, const struct child_request *request, child_fn *fn, void *arg,
		struct child **ret, struct err *e);
struct child *child_free(struct child *child); // kills it if it runs; nothing is called any more

// Of what waitpid tells: "exit status 1", "signal 9".
const char *child_status_str(int status, char buf[static 32]);
