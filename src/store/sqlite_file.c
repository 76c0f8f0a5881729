// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the file of the embedded store.
//
// DOC: who may have it open
//
// SQLite itself lets several processes write. We do not: sessions are counted by one process. So a
// lock on PATH.lock is held while the store is open, and goes with the process however that ends.
// The lock is not on the database, because closing any descriptor of a file drops the locks that
// SQLite holds on it for the whole process; for the same reason an existing database is never opened
// here but by SQLite. `weft store backup` and `check` only read, and need no lock.
#include "store/sqlite_file.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"
#include "io/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x77656674 // "weft"
#define BUSY_MS 5000		  // a reader in another process is waited for, at the most

// One row in `store`: the revision and cluster id; `compacted`: history up to this revision is gone;
// the ids of the first event that is there and of the next one; clock_ms counts while the store runs.
static const char schema[] =
	"CREATE TABLE store (one INTEGER PRIMARY KEY CHECK (one = 1), cluster_id INTEGER NOT NULL,"
	" revision INTEGER NOT NULL, compacted INTEGER NOT NULL, event_first INTEGER NOT NULL,"
	" event_next INTEGER NOT NULL, clock_ms INTEGER NOT NULL) STRICT;"
	"CREATE TABLE pair (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL,"
	" create_revision INTEGER NOT NULL, mod_revision INTEGER NOT NULL,"
	" session INTEGER NOT NULL) STRICT;"
	"CREATE INDEX pair_session ON pair (session) WHERE session <> 0;"
	"CREATE TABLE event (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL,"
	" is_delete INTEGER NOT NULL, key BLOB NOT NULL, value BLOB, value_len INTEGER NOT NULL,"
	" create_revision INTEGER NOT NULL, session INTEGER NOT NULL) STRICT;"
	"CREATE INDEX event_revision ON event (revision);"
	"CREATE TABLE session (id INTEGER PRIMARY KEY, ttl_ms INTEGER NOT NULL,"
	" expires_ms INTEGER NOT NULL) STRICT;"
	"CREATE INDEX session_expires ON session (expires_ms);";

// ---- calls of SQLite ----

static int corrupt(const struct sqlite_file *file, const char *what, struct err *e)
{
	return err_set(e, -EUCLEAN,
		       "%s is corrupt (%s); `weft store restore FILE` puts a backup in its place",
		       file->path, what);
}

int sqlite_file_error(const struct sqlite_file *file, int result, struct err *e)
{
	int system = file->db ? sqlite3_system_errno(file->db) : 0;
	const char *text = file->db ? sqlite3_errmsg(file->db) : sqlite3_errstr(result);

	switch (result & 0xff) {
	case SQLITE_FULL:
		return err_set(e, -ENOSPC, "%s: no room to write", file->path);
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		if (system == ENOSPC || system == EDQUOT)
			return err_set(e, -ENOSPC, "%s: no room to write: %s", file->path,
				       strerror(system));
		return err_set(e, -EIO, "%s: %s: %s", file->path, text,
			       system ? strerror(system) : sqlite3_errstr(result));
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return corrupt(file, text, e);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return err_set(e, -EAGAIN, "%s: another process holds it: %s", file->path, text);
	case SQLITE_TOOBIG:
		return err_set(e, -E2BIG, "%s: %s", file->path, text);
	default:
		return err_set(e, -EIO, "%s: %s", file->path, text);
	}
}

int sqlite_file_run(const struct sqlite_file *file, const char *sql, struct err *e)
{
	int result = sqlite3_exec(file->db, sql, NULL, NULL, NULL);

	return result == SQLITE_OK ? 0 : sqlite_file_error(file, result, e);
}

// The first column of the first row as text, cut to size; "" without a row.
static int ask(const struct sqlite_file *file, const char *sql, char *ret, size_t size, struct err *e)
{
	sqlite3_stmt *statement = NULL;
	const unsigned char *text = NULL;
	int result = sqlite3_prepare_v2(file->db, sql, -1, &statement, NULL);
	int r = 0;

	if (result == SQLITE_OK)
		result = sqlite3_step(statement);
	if (result == SQLITE_ROW)
		text = sqlite3_column_text(statement, 0);
	if (result == SQLITE_ROW || result == SQLITE_DONE)
		(void)text_copy(ret, size, text ? (const char *)text : "");
	else
		r = sqlite_file_error(file, result, e);
	(void)sqlite3_finalize(statement);
	return r;
}

int sqlite_file_number(const struct sqlite_file *file, const char *sql, int64_t *ret, struct err *e)
{
	char text[32];
	int r = ask(file, sql, text, sizeof(text), e);

	if (r < 0)
		return r;
	if (parse_whole_i64(text, ret) < 0)
		return corrupt(file, "no number where there must be one", e);
	return 0;
}

// ---- the lock ----

static int lock_refused(const struct sqlite_file *file, struct err *e)
{
	char text[32] = "";
	ssize_t len = pread(file->lock, text, sizeof(text) - 1, 0);
	uint64_t pid;

	text[len > 0 ? len : 0] = '\0';
	if (parse_whole_u64(text, INT_MAX, &pid) < 0)
		return err_set(e, -EBUSY, "%s is in use by another process", file->path);
	return err_set(e, -EBUSY, "%s is in use by process %" PRIu64, file->path, pid);
}

static int take_lock(struct sqlite_file *file, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s.lock", file->path);
	char pid[32];

	file->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (file->lock < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (flock(file->lock, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? lock_refused(file, e)
					    : err_set(e, -errno, "%s: %s", path, strerror(errno));
	(void)text_format(pid, sizeof(pid), "%d", (int)getpid());
	// Only for the message of who is refused: a full disk is no reason not to serve.
	if (ftruncate(file->lock, 0) < 0 || pwrite(file->lock, pid, strlen(pid), 0) < 0)
		return 0;
	return 0;
}

// The directory's links are resolved, so that one file has one lock.
static char *resolve(const char *path)
{
	char *resolved = realpath(path, NULL);
	_cleanup_free_ char *copy = xstrdup(path);
	_cleanup_free_ char *other = xstrdup(path);
	_cleanup_free_ char *directory = NULL;

	if (resolved || errno != ENOENT)
		return resolved;
	directory = realpath(dirname(copy), NULL);
	return directory ? xasprintf("%s/%s", directory, basename(other)) : NULL;
}

int sqlite_file_lock(struct sqlite_file *file, const char *path, struct err *e)
{
	assert(!file->path);
	file->path = resolve(path);
	if (!file->path)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	return take_lock(file, e);
}

// ---- placing ----

int sqlite_file_sync_directory(const char *path)
{
	_cleanup_free_ char *copy = xstrdup(path);
	_cleanup_close_ int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int sqlite_file_unlink_beside(const char *path, const char *end)
{
	_cleanup_free_ char *beside = xasprintf("%s%s", path, end);

	return unlink(beside) < 0 && errno != ENOENT ? -errno : 0;
}

int sqlite_file_take_place(const char *from, const char *path, struct err *e)
{
	int r = file_sync(from, e);

	if (r < 0)
		return r;
	// A log that belongs to what was there would be taken for one of the new file.
	r = sqlite_file_unlink_beside(path, "-wal");
	if (r == 0)
		r = sqlite_file_unlink_beside(path, "-shm");
	if (r == 0 && rename(from, path) < 0)
		r = -errno;
	if (r == 0)
		r = sqlite_file_sync_directory(path);
	return r < 0 ? err_set(e, r, "%s: %s", path, strerror(-r)) : 0;
}

// ---- opening ----

static int make_file(const struct sqlite_file *file, struct err *e)
{
	_cleanup_close_ int fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || fchmod(fd, 0600) < 0 || sqlite_file_sync_directory(file->path) < 0)
		return err_set(e, -errno, "%s: %s", file->path, strerror(errno));
	return 0;
}

// That it is there, a plain file, and nobody else's to read: it holds whatever the network's config
// holds, keys among it.
static int prepare_file(const struct sqlite_file *file, struct err *e)
{
	struct stat st;

	if (lstat(file->path, &st) < 0)
		return err_set(e, -errno, "%s: %s", file->path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s is no regular file", file->path);
	if ((st.st_mode & 07777) != 0600 && chmod(file->path, 0600) < 0)
		return err_set(e, -errno, "%s: mode 0600: %s", file->path, strerror(errno));
	return 0;
}

static int connect_file(struct sqlite_file *file, struct err *e)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	int result = sqlite3_open_v2(file->path, &file->db, flags, NULL);

	if (result != SQLITE_OK)
		return sqlite_file_error(file, result, e);
	(void)sqlite3_busy_timeout(file->db, BUSY_MS);
	// What came as a backup may have been made by anybody: it holds tables for us, not programs.
	(void)sqlite3_db_config(file->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	(void)sqlite3_db_config(file->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	(void)sqlite3_db_config(file->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	(void)sqlite3_db_config(file->db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	// What a savepoint may have to undo stays in memory, where a full disk does not matter.
	return sqlite_file_run(file,
			       "PRAGMA cell_size_check = ON; PRAGMA synchronous = FULL;"
			       "PRAGMA temp_store = MEMORY",
			       e);
}

int sqlite_file_identify(const struct sqlite_file *file, struct err *e)
{
	int64_t application, version, tables;
	int r;

	r = sqlite_file_number(file, "PRAGMA application_id", &application, e);
	if (r == 0)
		r = sqlite_file_number(file, "PRAGMA user_version", &version, e);
	if (r == 0)
		r = sqlite_file_number(file, "SELECT count(*) FROM sqlite_schema", &tables, e);
	if (r < 0)
		return r;
	if (application == 0 && version == 0 && tables == 0)
		return corrupt(file, "it is empty", e);
	if (application != APPLICATION_ID)
		return err_set(e, -EPROTO, "%s is a database of another program", file->path);
	if (version < 1 || version > SQLITE_FILE_SCHEMA)
		return err_set(e, -EPROTO,
			       "%s has schema version %" PRId64 ", this weft knows up to %d: a newer "
			       "weft wrote it",
			       file->path, version, SQLITE_FILE_SCHEMA);
	return 0;
}

static int set_wal(const struct sqlite_file *file, struct err *e)
{
	char mode[16];
	int r = ask(file, "PRAGMA journal_mode = WAL", mode, sizeof(mode), e);

	if (r < 0)
		return r;
	if (strcmp(mode, "wal") != 0)
		return err_set(e, -EIO, "%s: this file system takes no write-ahead log", file->path);
	// What a burst left of the log's length is given back.
	return sqlite_file_run(file, "PRAGMA journal_size_limit = 16777216", e);
}

int sqlite_file_draw_id(int64_t *ret, struct err *e)
{
	int64_t id = 0;

	while (id == 0)
		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			return err_set(e, -errno, "getrandom: %s", strerror(errno));
	*ret = id;
	return 0;
}

static int create(const struct sqlite_file *file, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int64_t cluster_id = 0;
	int r = sqlite_file_draw_id(&cluster_id, e);

	if (r < 0)
		return r;
	text = xasprintf("BEGIN; %s INSERT INTO store VALUES (1, %" PRId64 ", 1, 0, 1, 1, 0);"
			 "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
			 schema, cluster_id, APPLICATION_ID, SQLITE_FILE_SCHEMA);
	return sqlite_file_run(file, text, e);
}

int sqlite_file_check(const struct sqlite_file *file, bool is_thorough, struct err *e)
{
	const char *sql = is_thorough ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)";
	char text[100];
	char *end;
	int r = ask(file, sql, text, sizeof(text), e);

	if (r < 0)
		return r;
	if (strcmp(text, "ok") == 0)
		return 0;
	// "*** in database main ***" and then, in a line of its own, what is wrong.
	end = strchr(text, '\n');
	return corrupt(file, end && end[1] ? end + 1 : text, e);
}

static int fill_new(struct sqlite_file *file, struct err *e)
{
	int r;

	// What an attempt left that was cut off.
	r = unlink(file->path) < 0 && errno != ENOENT ? -errno : 0;
	if (r == 0)
		r = sqlite_file_unlink_beside(file->path, "-journal");
	if (r < 0)
		return err_set(e, r, "%s: %s", file->path, strerror(-r));
	r = sqlite_file_make(file, e);
	return r < 0 ? r : create(file, e);
}

// It is whole before it has its name: so a database that is empty has lost what it held, and is not
// one that a start before this one began to make.
static int make_if_missing(const struct sqlite_file *file, struct err *e)
{
	struct sqlite_file made = SQLITE_FILE_INIT;
	_cleanup_free_ char *temporary = NULL;
	struct stat st;
	int r;

	if (lstat(file->path, &st) == 0 || errno != ENOENT)
		return 0;
	temporary = xasprintf("%s.new", file->path);
	made.path = xstrdup(temporary);
	r = fill_new(&made, e);
	sqlite_file_close(&made);
	return r < 0 ? r : sqlite_file_take_place(temporary, file->path, e);
}

int sqlite_file_open(struct sqlite_file *file, const char *path, struct err *e)
{
	int r;

	r = sqlite_file_lock(file, path, e);
	if (r == 0)
		r = make_if_missing(file, e);
	if (r == 0)
		r = prepare_file(file, e);
	if (r == 0)
		r = connect_file(file, e);
	if (r == 0)
		r = sqlite_file_identify(file, e);
	if (r == 0)
		r = sqlite_file_check(file, false, e);
	return r < 0 ? r : set_wal(file, e);
}

int sqlite_file_read(struct sqlite_file *file, const char *path, struct err *e)
{
	struct stat st;
	int r;

	assert(!file->path);
	file->path = xstrdup(path);
	if (stat(path, &st) < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	r = connect_file(file, e);
	if (r == 0)
		r = sqlite_file_identify(file, e);
	return r;
}

int sqlite_file_make(struct sqlite_file *file, struct err *e)
{
	int r = make_file(file, e);

	return r < 0 ? r : connect_file(file, e);
}

void sqlite_file_close(struct sqlite_file *file)
{
	if (file->db)
		(void)sqlite3_close(file->db);
	file->db = NULL;
	fd_closep(&file->lock);
	file->lock = -1;
	free(file->path);
	file->path = NULL;
}
