// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a shell command as a child that the loop watches: its input, its output, its time, its end.
//
// DOC: what a command may leave
//
// Nothing. The shell leads a process group of its own, which is killed when its time is up, when it writes without end, when command_free is
// called, and also when the shell has ended by itself: what it put into the background ends with it (setsid takes a daemon out of the group).
// Should this program be killed, the kernel kills the shell.
#pragma once

#include "core/err.h"
#include "io/loop.h"

#define COMMAND_OUTPUT_MAX \
	4096 // bytes that are kept of what it writes; the rest is read and dropped
#define COMMAND_OUTPUT_LIMIT (1024UL * 1024) // what it may write before it is killed

struct command;

struct command_request {
	const char *text;	  // for /bin/sh -c
	char *const *environment; // all of it, as environ
	const char *input;	  // its standard input
	uint64_t timeout_ms;
};

// r: 0, or the command failed and e says how: -ETIMEDOUT, -EFBIG (COMMAND_OUTPUT_LIMIT), -EIO (its exit status, or the signal), with the
// beginning of what it wrote. output: standard output and error in one, without white space at both ends; is_whole: nothing of it was dropped.
// Called once; the command is then to be freed, which may be done here.
typedef void command_fn(void *arg, int r, const char *output, bool is_whole, const struct err *e);

// fn is not called before this returns. Negative: there is no child (too many processes, say).
int command_start(struct loop *loop, const struct command_request *request, command_fn *fn,
		  void *arg, struct command **ret, struct err *e);
struct command *command_free(struct command *command); // kills it if it runs; fn is not called any more
