// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: backup, restore and check of the embedded store's file.
#include "store/sqlite_backup.h"

#include "core/mem.h"
#include "store/sqlite_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_sqlite_file_ _cleanup_(sqlite_file_close)

static int summarize(const struct sqlite_file *file, struct sqlite_summary *ret, struct err *e)
{
	int r;

	r = sqlite_file_number(file, "SELECT revision FROM store", &ret->revision, e);
	if (r == 0)
		r = sqlite_file_number(file, "SELECT count(*) FROM pair", &ret->keys, e);
	if (r == 0)
		r = sqlite_file_number(file, "SELECT count(*) FROM session", &ret->sessions, e);
	return r;
}

static int inspect(const struct sqlite_file *file, struct sqlite_summary *ret, struct err *e)
{
	int r = sqlite_file_check(file, true, e);

	return r < 0 ? r : summarize(file, ret, e);
}

// In one step, so that a writer does not make it begin anew.
static int copy(const struct sqlite_file *from, const struct sqlite_file *to, struct err *e)
{
	sqlite3_backup *backup = sqlite3_backup_init(to->db, "main", from->db, "main");
	int result;

	if (!backup)
		return sqlite_file_error(to, sqlite3_errcode(to->db), e);
	result = sqlite3_backup_step(backup, -1);
	(void)sqlite3_backup_finish(backup);
	if (result == SQLITE_DONE)
		return 0;
	return err_set(e, (result & 0xff) == SQLITE_FULL ? -ENOSPC : -EIO, "%s to %s: %s",
		       from->path, to->path, sqlite3_errstr(result));
}

// A copy that is one file, sound, and on the disk.
static int fill(struct sqlite_file *to, const struct sqlite_file *from, const char *more_sql,
		struct sqlite_summary *ret, struct err *e)
{
	int r;

	r = sqlite_file_make(to, e);
	if (r == 0)
		r = copy(from, to, e);
	// Without a log it can be read where nothing can be written.
	if (r == 0)
		r = sqlite_file_run(to, "PRAGMA journal_mode = DELETE", e);
	if (r == 0 && more_sql)
		r = sqlite_file_run(to, more_sql, e);
	return r < 0 ? r : inspect(to, ret, e);
}

static int copy_to(const char *path, const struct sqlite_file *from, const char *more_sql,
		   struct sqlite_summary *ret, struct err *e)
{
	struct sqlite_file to = SQLITE_FILE_INIT;
	_cleanup_free_ char *temporary = xasprintf("%s.%d.tmp", path, (int)getpid());
	struct sqlite_summary summary;
	int r;

	to.path = xstrdup(temporary);
	r = fill(&to, from, more_sql, &summary, e);
	sqlite_file_close(&to);
	if (r == 0)
		r = sqlite_file_take_place(temporary, path, e);
	if (r < 0) {
		(void)unlink(temporary);
		(void)sqlite_file_unlink_beside(temporary, "-journal");
		return r;
	}
	*ret = summary;
	return 0;
}

int sqlite_backup(const char *database, const char *file, struct sqlite_summary *ret, struct err *e)
{
	_cleanup_sqlite_file_ struct sqlite_file from = SQLITE_FILE_INIT;
	int r = sqlite_file_read(&from, database, e);

	return r < 0 ? r : copy_to(file, &from, NULL, ret, e);
}

int sqlite_restore(const char *database, const char *file, struct sqlite_summary *ret, struct err *e)
{
	_cleanup_sqlite_file_ struct sqlite_file from = SQLITE_FILE_INIT;
	_cleanup_sqlite_file_ struct sqlite_file place = SQLITE_FILE_INIT;
	_cleanup_free_ char *new_id = NULL;
	int64_t id = 0;
	int r;

	r = sqlite_file_read(&from, file, e);
	if (r == 0)
		r = sqlite_file_lock(&place, database, e);
	if (r == 0)
		r = sqlite_file_draw_id(&id, e);
	if (r < 0)
		return r;
	new_id = xasprintf("UPDATE store SET cluster_id = %" PRId64, id);
	return copy_to(place.path, &from, new_id, ret, e);
}

int sqlite_check(const char *database, struct sqlite_summary *ret, struct err *e)
{
	_cleanup_sqlite_file_ struct sqlite_file file = SQLITE_FILE_INIT;
	struct sqlite_summary summary;
	int r;

	r = sqlite_file_read(&file, database, e);
	if (r == 0)
		r = inspect(&file, &summary, e);
	if (r == 0)
		*ret = summary;
	return r;
}
