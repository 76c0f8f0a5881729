// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the statements of the embedded store.
#include "store/sqlite_sql.h"

#include <assert.h>

#define PAIR_COLUMNS "key, value, length(value), create_revision, mod_revision, session"
#define EVENT_COLUMNS "key, value, value_len, create_revision, revision, session, is_delete, id"

static const char *const texts[] = {
	[SQL_BEGIN_READ] = "BEGIN",
	[SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_PART_BEGIN] = "SAVEPOINT part",
	[SQL_PART_END] = "RELEASE part",
	[SQL_PART_UNDO] = "ROLLBACK TO part",
	[SQL_STORE_READ] = "SELECT cluster_id, revision, compacted, event_first, event_next, clock_ms"
			   " FROM store WHERE one = 1",
	[SQL_STORE_WRITE] = "UPDATE store SET revision = ?1, compacted = ?2, event_first = ?3,"
			    " event_next = ?4, clock_ms = ?5 WHERE one = 1",
	[SQL_PAIR_GET] = "SELECT " PAIR_COLUMNS " FROM pair WHERE key = ?1",
	[SQL_PAIR_REVISION] = "SELECT mod_revision FROM pair WHERE key = ?1",
	[SQL_PAIR_FROM] = "SELECT " PAIR_COLUMNS " FROM pair WHERE key >= ?1 ORDER BY key",
	[SQL_PAIR_BETWEEN] = "SELECT " PAIR_COLUMNS
			     " FROM pair WHERE key >= ?1 AND key < ?2 ORDER BY key",
	[SQL_PAIR_PUT] = "INSERT INTO pair (key, value, create_revision, mod_revision, session)"
			 " VALUES (?1, ?2, ?3, ?3, ?4) ON CONFLICT (key) DO UPDATE SET"
			 " value = ?2, mod_revision = ?3, session = ?4 RETURNING create_revision",
	[SQL_PAIR_DELETE] = "DELETE FROM pair WHERE key = ?1",
	[SQL_PAIR_OF_SESSION] = "SELECT key FROM pair WHERE session = ?1 AND session <> 0",
	[SQL_EVENT_ADD] = "INSERT INTO event (id, revision, is_delete, key, value, value_len,"
			  " create_revision, session) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[SQL_EVENT_FIND] = "SELECT id FROM event WHERE revision >= ?1 ORDER BY revision, id LIMIT 1",
	[SQL_EVENT_FROM] = "SELECT " EVENT_COLUMNS " FROM event WHERE id >= ?1 ORDER BY id LIMIT ?2",
	[SQL_EVENT_REVISION] = "SELECT revision FROM event WHERE id = ?1",
	[SQL_EVENT_DROP] = "DELETE FROM event WHERE revision <= ?1",
	[SQL_EVENT_FIRST] = "SELECT min(id) FROM event",
	[SQL_SESSION_ADD] = "INSERT INTO session (id, ttl_ms, expires_ms) VALUES (?1, ?2, ?3)",
	[SQL_SESSION_GET] = "SELECT ttl_ms, expires_ms FROM session WHERE id = ?1",
	[SQL_SESSION_RENEW] = "UPDATE session SET expires_ms = ?2 WHERE id = ?1",
	[SQL_SESSION_END] = "DELETE FROM session WHERE id = ?1",
	[SQL_SESSION_DUE] = "SELECT id FROM session WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT 1",
	[SQL_SESSION_NEXT] = "SELECT min(expires_ms) FROM session",
};
static_assert(ARRAY_SIZE(texts) == SQL_COUNT, "a text for each");

int sqlite_sql_get(struct sqlite_data *data, enum sqlite_sql which, sqlite3_stmt **ret, struct err *e)
{
	sqlite3_stmt **sql = &data->statements[which];

	if (!*sql) {
		int result = sqlite3_prepare_v3(data->file.db, texts[which], -1,
						SQLITE_PREPARE_PERSISTENT, sql, NULL);

		if (result != SQLITE_OK)
			return sqlite_file_error(&data->file, result, e);
	}
	*ret = *sql;
	return 0;
}

int sqlite_sql_step(struct sqlite_data *data, sqlite3_stmt *sql, struct err *e)
{
	int result = sqlite3_step(sql);

	if (result == SQLITE_ROW)
		return 1;
	return result == SQLITE_DONE ? 0 : sqlite_file_error(&data->file, result, e);
}

int sqlite_sql_run(struct sqlite_data *data, enum sqlite_sql which, int64_t number, struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r = sqlite_sql_get(data, which, &sql, e);

	if (r < 0)
		return r;
	if (sqlite3_bind_parameter_count(sql) > 0)
		(void)sqlite3_bind_int64(sql, 1, number);
	return sqlite_sql_step(data, sql, e);
}

void sqlite_sql_bytes(sqlite3_stmt *sql, int column, const void *bytes, size_t len)
{
	// Without bytes SQLite would take NULL for the value.
	(void)sqlite3_bind_blob64(sql, column, len > 0 ? bytes : "", len, SQLITE_STATIC);
}

void sqlite_sql_free(struct sqlite_data *data)
{
	for (size_t i = 0; i < SQL_COUNT; i++) {
		(void)sqlite3_finalize(data->statements[i]);
		data->statements[i] = NULL;
	}
}
