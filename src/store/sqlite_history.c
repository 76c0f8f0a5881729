// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the history of the embedded store: what was written, so that watches resume, and how much of it
// is kept.
#include "store/sqlite_data.h"

#include "store/sqlite_sql.h"

#include <errno.h>
#include <string.h>

// ---- adding ----

int sqlite_event_add(struct sqlite_data *data, const struct kv_write *write,
		     int64_t create_revision, struct err *e)
{
	bool is_delete = create_revision == 0;
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r = sqlite_sql_get(data, SQL_EVENT_ADD, &sql, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(sql, 1, data->state.event_next++);
	(void)sqlite3_bind_int64(sql, 2, data->state.revision);
	(void)sqlite3_bind_int(sql, 3, is_delete);
	sqlite_sql_bytes(sql, 4, write->key, write->key_len);
	if (!is_delete && write->value_len <= KV_VALUE_MAX)
		sqlite_sql_bytes(sql, 5, write->value, write->value_len);
	(void)sqlite3_bind_int64(sql, 6, is_delete ? 0 : (int64_t)write->value_len);
	(void)sqlite3_bind_int64(sql, 7, create_revision);
	(void)sqlite3_bind_int64(sql, 8, is_delete ? 0 : write->session);
	data->is_changed = true;
	return sqlite_sql_step(data, sql, e);
}

// ---- dropping ----

static int drop_history(struct sqlite_data *data, int64_t revision, struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r = sqlite_sql_run(data, SQL_EVENT_DROP, revision, e);

	if (r == 0)
		r = sqlite_sql_get(data, SQL_EVENT_FIRST, &sql, e);
	if (r == 0)
		r = sqlite_sql_step(data, sql, e);
	if (r < 0)
		return r;
	data->state.event_first = sqlite3_column_type(sql, 0) == SQLITE_NULL
					  ? data->state.event_next
					  : sqlite3_column_int64(sql, 0);
	data->state.compacted = revision;
	data->is_changed = true;
	return 0;
}

// A revision is dropped as a whole.
int sqlite_history_limit(struct sqlite_data *data, struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int64_t last = data->state.event_next - 1 - SQLITE_HISTORY_MAX;
	int r;

	if (last < data->state.event_first)
		return 0;
	r = sqlite_sql_get(data, SQL_EVENT_REVISION, &sql, e);
	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(sql, 1, last);
	r = sqlite_sql_step(data, sql, e);
	if (r <= 0)
		return r;
	return drop_history(data, sqlite3_column_int64(sql, 0), e);
}

int sqlite_data_compact(struct sqlite_data *data, struct err *e)
{
	return drop_history(data, data->state.revision, e);
}

// ---- reading ----

int sqlite_event_find(struct sqlite_data *data, int64_t revision, int64_t *ret, struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r;

	if (revision <= data->state.compacted)
		return err_set(e, -ESTALE, "%s: history was compacted", data->file.path);
	r = sqlite_sql_get(data, SQL_EVENT_FIND, &sql, e);
	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(sql, 1, revision);
	r = sqlite_sql_step(data, sql, e);
	if (r < 0)
		return r;
	*ret = r > 0 ? sqlite3_column_int64(sql, 0) : data->state.event_next;
	return 0;
}

static bool fits(const struct sqlite_row *row, const char *const *prefixes)
{
	for (; *prefixes; prefixes++) {
		size_t len = strlen(*prefixes);

		if (row->pair.raw_key_len >= len && memcmp(row->bytes, *prefixes, len) == 0)
			return true;
	}
	return false;
}

int sqlite_event_read(struct sqlite_data *data, int64_t *id, const char *const *prefixes,
		      size_t max, struct sqlite_rows *rows, bool *ret_more, struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r;

	if (*id < data->state.event_first)
		return err_set(e, -ESTALE, "%s: history was compacted", data->file.path);
	r = sqlite_sql_get(data, SQL_EVENT_FROM, &sql, e);
	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(sql, 1, *id);
	(void)sqlite3_bind_int64(sql, 2, (int64_t)max);
	while ((r = sqlite_sql_step(data, sql, e)) > 0) {
		struct sqlite_row *row = sqlite_rows_add(rows, sql);

		row->is_delete = sqlite3_column_int(sql, 6) != 0;
		*id = sqlite3_column_int64(sql, 7) + 1;
		if (!fits(row, prefixes))
			sqlite_rows_drop_last(rows);
	}
	*ret_more = r == 0 && *id < data->state.event_next;
	return r;
}
