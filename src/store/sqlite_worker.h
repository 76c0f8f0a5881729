// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the thread that does all work on one database file, and the queues between it and the loop.
// All functions are the loop's.
#pragma once

#include "store/sqlite_job.h"

struct sqlite_worker;

// Returns when the database is open, or was refused: nothing is served before that.
int sqlite_worker_new(const char *path, struct sqlite_worker **ret, struct err *e);
// Waits until what was asked before is done, and frees it, answered or not.
struct sqlite_worker *sqlite_worker_free(struct sqlite_worker *worker);

void sqlite_worker_ask(struct sqlite_worker *worker, struct sqlite_job *job); // takes it over
// An eventfd, readable when there is something to take. It stays the worker's.
int sqlite_worker_fd(const struct sqlite_worker *worker);
// The jobs that are done, linked by next, the first one first; and up to which revision there are
// events.
struct sqlite_job *sqlite_worker_take(struct sqlite_worker *worker, int64_t *ret_revision);
