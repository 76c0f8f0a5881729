// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the file of the embedded store: who may have it open, its mode, its schema, whether it is
// whole. It blocks; not for the loop's thread.
#pragma once

#include "core/err.h"

#include <stdbool.h>
#include <stdint.h>

#define SQLITE_FILE_SCHEMA 1

struct sqlite3;
struct sqlite_file {
	char *path; // with its links resolved
	int lock;
	struct sqlite3 *db;
};
#define SQLITE_FILE_INIT ((struct sqlite_file){ .lock = -1 })

// Makes the file if there is none. -EBUSY: another process has it. -EUCLEAN: not whole. -EPROTO: of
// a newer schema, or not ours. After a failure too *file is to be closed.
int sqlite_file_open(struct sqlite_file *file, const char *path, struct err *e);
void sqlite_file_close(struct sqlite_file *file);

// The steps of it. A database that is there, without the lock: others may write to it meanwhile.
int sqlite_file_read(struct sqlite_file *file, const char *path, struct err *e);
// An empty database at file->path, where nothing may be.
int sqlite_file_make(struct sqlite_file *file, struct err *e);
// Only the lock: path and lock are filled; the file need not exist.
int sqlite_file_lock(struct sqlite_file *file, const char *path, struct err *e);
// Is it a database of ours, of a schema that we know.
int sqlite_file_identify(const struct sqlite_file *file, struct err *e);
// With is_thorough the indexes are compared with the tables too.
int sqlite_file_check(const struct sqlite_file *file, bool is_thorough, struct err *e);

// Puts a database that is whole, one file and closed, on the disk and at path, whatever is there.
int sqlite_file_take_place(const char *from, const char *path, struct err *e);
// The file whose name has this at its end, if there is one.
int sqlite_file_unlink_beside(const char *path, const char *end);
int sqlite_file_sync_directory(const char *path);     // of this file
int sqlite_file_draw_id(int64_t *ret, struct err *e); // a cluster id

// The result of a call of SQLite as one of ours: -ENOSPC, -EIO, -EUCLEAN, -EAGAIN (locked), -E2BIG.
int sqlite_file_error(const struct sqlite_file *file, int result, struct err *e);
// Runs statements that answer with no rows.
int sqlite_file_run(const struct sqlite_file *file, const char *sql, struct err *e);
int sqlite_file_number(const struct sqlite_file *file, const char *sql, int64_t *ret, struct err *e);
