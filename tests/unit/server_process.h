// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what tests with a server of somebody else's have in common: its directory, its log, its life.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SERVER_DIR_MAX 64

// In memory where there is such a place: on a busy disk a sync takes longer than an election.
void server_make_dir(const char *name, char ret[static SERVER_DIR_MAX]);
// In the child, before it becomes the server: it ends with us, and writes to DIR/NAME.log.
void server_child_begin(const char *dir, const char *name);
// At a port of this machine, without TLS. request NULL: that it listens is enough; else its answer has this text.
bool server_answers(unsigned int port, const char *request, const char *wanted);
// Has it ended (then it is waited for), or is the time over? Fails the test with the end of its log.
void server_check(const char *dir, const char *name, pid_t *pid, uint64_t until_ms);
void server_signal(pid_t pid, int signal_number);
void server_end(pid_t *pid, int signal_number); // and waits; *pid is 0 then
