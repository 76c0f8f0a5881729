// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the transactions and the keys of the embedded store.
#include "store/sqlite_data.h"

#include "store/kv_internal.h"
#include "store/sqlite_sql.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

int sqlite_data_open(const char *path, struct sqlite_data **ret, struct err *e)
{
	struct sqlite_data *data = xnew(struct sqlite_data);
	int r;

	data->file = SQLITE_FILE_INIT;
	r = sqlite_file_open(&data->file, path, e);
	if (r == 0)
		r = sqlite_data_begin(data, false, e);
	if (r == 0) {
		data->clock_ms = data->state.clock_ms;
		sqlite_clock_go_on(data);
		data->noted_ms = loop_now_ms();
		r = sqlite_data_commit(data, e);
	}
	if (r < 0) {
		sqlite_data_close(data);
		return r;
	}
	*ret = data;
	return 0;
}

struct sqlite_data *sqlite_data_close(struct sqlite_data *data)
{
	if (!data)
		return NULL;
	sqlite_sql_free(data);
	sqlite_file_close(&data->file);
	free(data);
	return NULL;
}

// ---- transactions ----

static int read_state(struct sqlite_data *data, struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r = sqlite_sql_get(data, SQL_STORE_READ, &sql, e);

	if (r == 0)
		r = sqlite_sql_step(data, sql, e);
	if (r < 0)
		return r;
	if (r == 0 || sqlite3_column_int64(sql, 0) == 0)
		return err_set(e, -EUCLEAN, "%s is corrupt: it has no revision or no cluster id",
			       data->file.path);
	data->state = (struct sqlite_state){
		.cluster_id = (uint64_t)sqlite3_column_int64(sql, 0),
		.revision = sqlite3_column_int64(sql, 1),
		.compacted = sqlite3_column_int64(sql, 2),
		.event_first = sqlite3_column_int64(sql, 3),
		.event_next = sqlite3_column_int64(sql, 4),
		.clock_ms = sqlite3_column_int64(sql, 5),
	};
	return 0;
}

static int write_state(struct sqlite_data *data, struct err *e)
{
	const struct sqlite_state *state = &data->state;
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r = sqlite_sql_get(data, SQL_STORE_WRITE, &sql, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(sql, 1, state->revision);
	(void)sqlite3_bind_int64(sql, 2, state->compacted);
	(void)sqlite3_bind_int64(sql, 3, state->event_first);
	(void)sqlite3_bind_int64(sql, 4, state->event_next);
	(void)sqlite3_bind_int64(sql, 5, sqlite_clock_now(data));
	return sqlite_sql_step(data, sql, e);
}

int sqlite_data_begin(struct sqlite_data *data, bool writes, struct err *e)
{
	int r = sqlite_sql_run(data, writes ? SQL_BEGIN_WRITE : SQL_BEGIN_READ, 0, e);

	data->is_changed = false;
	if (r == 0)
		r = read_state(data, e);
	if (r < 0)
		sqlite_data_rollback(data);
	return r;
}

void sqlite_data_rollback(struct sqlite_data *data)
{
	struct err ignored;

	// SQLite rolls back by itself after some failures.
	if (!sqlite3_get_autocommit(data->file.db))
		(void)sqlite_sql_run(data, SQL_ROLLBACK, 0, &ignored);
}

static int end_transaction(struct sqlite_data *data, struct err *e)
{
	int r = sqlite_sql_run(data, SQL_COMMIT, 0, e);

	if (r == -EIO && data->is_changed)
		e->code = r = -EINPROGRESS;
	return r;
}

int sqlite_data_commit(struct sqlite_data *data, struct err *e)
{
	int r = 0;

	if (data->is_changed)
		r = sqlite_history_limit(data, e);
	if (r == 0 && data->is_changed)
		r = write_state(data, e);
	if (r == 0)
		r = end_transaction(data, e);
	if (r < 0) {
		sqlite_data_rollback(data);
		return r;
	}
	data->committed = data->state.revision;
	if (data->is_changed)
		data->noted_ms = loop_now_ms();
	return 0;
}

int sqlite_data_part_begin(struct sqlite_data *data, struct err *e)
{
	data->part = data->state;
	data->part_is_changed = data->is_changed;
	return sqlite_sql_run(data, SQL_PART_BEGIN, 0, e);
}

int sqlite_data_part_end(struct sqlite_data *data, struct err *e)
{
	return sqlite_sql_run(data, SQL_PART_END, 0, e);
}

int sqlite_data_part_undo(struct sqlite_data *data)
{
	struct err e;
	int r;

	if (sqlite3_get_autocommit(data->file.db))
		return -ECANCELED;
	data->state = data->part;
	data->is_changed = data->part_is_changed;
	r = sqlite_sql_run(data, SQL_PART_UNDO, 0, &e);
	return r == 0 ? sqlite_data_part_end(data, &e) : r;
}

struct kv_header sqlite_data_header(const struct sqlite_data *data)
{
	return (struct kv_header){
		.revision = data->state.revision,
		.cluster_id = data->state.cluster_id,
	};
}

int64_t sqlite_data_committed(const struct sqlite_data *data)
{
	return data->committed;
}

// ---- rows ----

struct sqlite_row *sqlite_rows_add(struct sqlite_rows *rows, sqlite3_stmt *sql)
{
	size_t key_len = (size_t)sqlite3_column_bytes(sql, 0);
	size_t stored = (size_t)sqlite3_column_bytes(sql, 1);
	struct sqlite_row *row = xcalloc(1, sizeof(*row) + key_len + 1 + stored);
	size_t value_len = (size_t)sqlite3_column_int64(sql, 2);

	if (key_len > 0)
		memcpy(row->bytes, sqlite3_column_blob(sql, 0), key_len);
	if (stored > 0)
		memcpy(row->bytes + key_len + 1, sqlite3_column_blob(sql, 1), stored);
	row->shown_key = kv_key_shown(row->bytes, key_len);
	row->pair = (struct kv_pair){
		.key = row->shown_key ? row->shown_key : row->bytes,
		.raw_key = row->bytes,
		.raw_key_len = key_len,
		// Of what is too large to be handed on there is the length only.
		.value = stored == value_len ? row->bytes + key_len + 1 : NULL,
		.value_len = value_len,
		.create_revision = sqlite3_column_int64(sql, 3),
		.mod_revision = sqlite3_column_int64(sql, 4),
		.session = sqlite3_column_int64(sql, 5),
	};
	if (rows->count == rows->capacity) {
		rows->capacity = rows->capacity ? 2 * rows->capacity : 16;
		rows->items = xrealloc_array(rows->items, rows->capacity, sizeof(*rows->items));
	}
	rows->items[rows->count++] = row;
	return row;
}

static void row_free(struct sqlite_row *row)
{
	free(row->shown_key);
	free(row);
}

void sqlite_rows_drop_last(struct sqlite_rows *rows)
{
	row_free(rows->items[--rows->count]);
}

void sqlite_rows_free(struct sqlite_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		row_free(rows->items[i]);
	free(rows->items);
	*rows = (struct sqlite_rows){ 0 };
}

static int read_pairs(struct sqlite_data *data, sqlite3_stmt *sql, struct sqlite_rows *rows,
		      struct err *e)
{
	int r;

	while ((r = sqlite_sql_step(data, sql, e)) > 0)
		(void)sqlite_rows_add(rows, sql);
	return r;
}

int sqlite_data_get(struct sqlite_data *data, const char *key, size_t len, struct sqlite_rows *rows,
		    struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r = sqlite_sql_get(data, SQL_PAIR_GET, &sql, e);

	if (r < 0)
		return r;
	sqlite_sql_bytes(sql, 1, key, len);
	return read_pairs(data, sql, rows, e);
}

// The first key behind all that begin with prefix; its length, 0: there is none.
static size_t prefix_end(char *prefix, size_t len)
{
	while (len > 0 && prefix[len - 1] == '\xff')
		len--;
	if (len > 0)
		prefix[len - 1]++;
	return len;
}

int sqlite_data_range(struct sqlite_data *data, const char *prefix, size_t len,
		      struct sqlite_rows *rows, struct err *e)
{
	_cleanup_free_ char *end = xmemdup(prefix, len + 1);
	size_t end_len = prefix_end(end, len);
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r = sqlite_sql_get(data, end_len > 0 ? SQL_PAIR_BETWEEN : SQL_PAIR_FROM, &sql, e);

	if (r < 0)
		return r;
	sqlite_sql_bytes(sql, 1, prefix, len);
	if (end_len > 0)
		sqlite_sql_bytes(sql, 2, end, end_len);
	return read_pairs(data, sql, rows, e);
}

int sqlite_data_holds(struct sqlite_data *data, const struct kv_compare *compare, bool *ret,
		      struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r = sqlite_sql_get(data, SQL_PAIR_REVISION, &sql, e);

	if (r < 0)
		return r;
	sqlite_sql_bytes(sql, 1, compare->key, compare->key_len);
	r = sqlite_sql_step(data, sql, e);
	if (r < 0)
		return r;
	switch (compare->kind) {
	case KV_ABSENT:
		*ret = r == 0;
		break;
	case KV_PRESENT:
		*ret = r > 0;
		break;
	case KV_MOD_REVISION:
		*ret = r > 0 && sqlite3_column_int64(sql, 0) == compare->mod_revision;
		break;
	}
	return 0;
}

// ---- writing ----

static int erase(struct sqlite_data *data, const struct kv_write *write, struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r = sqlite_sql_get(data, SQL_PAIR_DELETE, &sql, e);

	if (r < 0)
		return r;
	sqlite_sql_bytes(sql, 1, write->key, write->key_len);
	r = sqlite_sql_step(data, sql, e);
	if (r < 0 || sqlite3_changes(data->file.db) == 0)
		return r;
	return sqlite_event_add(data, write, 0, e);
}

static int put(struct sqlite_data *data, const struct kv_write *write, int64_t *ret_create_revision,
	       struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r = sqlite_sql_get(data, SQL_PAIR_PUT, &sql, e);

	if (r < 0)
		return r;
	sqlite_sql_bytes(sql, 1, write->key, write->key_len);
	sqlite_sql_bytes(sql, 2, write->value, write->value_len);
	(void)sqlite3_bind_int64(sql, 3, data->state.revision);
	(void)sqlite3_bind_int64(sql, 4, write->session);
	r = sqlite_sql_step(data, sql, e);
	if (r < 0)
		return r;
	*ret_create_revision = sqlite3_column_int64(sql, 0);
	// The row is written when the statement ends, not before.
	return sqlite_sql_step(data, sql, e);
}

int sqlite_data_write(struct sqlite_data *data, const struct kv_write *writes, size_t count,
		      struct err *e)
{
	int64_t before = data->state.event_next;
	int r = 0;

	data->state.revision++;
	for (size_t i = 0; r == 0 && i < count; i++) {
		int64_t create_revision = 0;

		if (!writes[i].value) {
			r = erase(data, &writes[i], e);
			continue;
		}
		r = put(data, &writes[i], &create_revision, e);
		if (r == 0)
			r = sqlite_event_add(data, &writes[i], create_revision, e);
	}
	// As in etcd, deleting what is not there makes no revision.
	if (data->state.event_next == before)
		data->state.revision--;
	return r;
}
