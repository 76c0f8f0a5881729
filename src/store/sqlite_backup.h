// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what an operator does with the file of the embedded store. All of it blocks; for commands, not
// for a program with a loop to serve.
#pragma once

#include "core/err.h"

#include <stdint.h>

struct sqlite_summary {
	int64_t revision;
	int64_t keys;
	int64_t sessions;
};

// Copies the database, which may be in use, to file, which is replaced as a whole. A copy that is not
// sound is refused. -ENOENT: there is no database.
int sqlite_backup(const char *database, const char *file, struct sqlite_summary *ret, struct err *e);
// Puts a copy of file in the place of the database, as another cluster: revisions that were given out
// since the backup will be given out again. -EBUSY: a process has the database open. -ENOENT: there is
// no such file.
int sqlite_restore(const char *database, const char *file, struct sqlite_summary *ret, struct err *e);
// -EUCLEAN: not sound.
int sqlite_check(const char *database, struct sqlite_summary *ret, struct err *e);
