// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the statements of the embedded store, prepared once, and what its keys, history and sessions share.
#pragma once

#include "core/mem.h"
#include "store/sqlite_data.h"
#include "store/sqlite_file.h"

#include <sqlite3.h>

enum sqlite_sql {
	SQL_BEGIN_READ,
	SQL_BEGIN_WRITE,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_PART_BEGIN,
	SQL_PART_END,
	SQL_PART_UNDO,
	SQL_STORE_READ,
	SQL_STORE_WRITE,
	SQL_PAIR_GET,
	SQL_PAIR_REVISION,
	SQL_PAIR_FROM,
	SQL_PAIR_BETWEEN,
	SQL_PAIR_PUT,
	SQL_PAIR_DELETE,
	SQL_PAIR_OF_SESSION,
	SQL_EVENT_ADD,
	SQL_EVENT_FIND,
	SQL_EVENT_FROM,
	SQL_EVENT_REVISION,
	SQL_EVENT_DROP,
	SQL_EVENT_FIRST,
	SQL_SESSION_ADD,
	SQL_SESSION_GET,
	SQL_SESSION_RENEW,
	SQL_SESSION_END,
	SQL_SESSION_DUE,
	SQL_SESSION_NEXT,
	SQL_COUNT,
};

// The row of the table `store`, as of the present transaction.
struct sqlite_state {
	uint64_t cluster_id;
	int64_t revision;
	int64_t compacted;
	int64_t event_first;
	int64_t event_next;
	int64_t clock_ms;
};

struct sqlite_data {
	struct sqlite_file file;
	sqlite3_stmt *statements[SQL_COUNT];
	struct sqlite_state state;
	struct sqlite_state part; // as it was before the part
	bool is_changed;	  // the state is to be written
	bool part_is_changed;
	int64_t committed;
	// The clock stood at clock_ms when CLOCK_BOOTTIME stood at boot_ms.
	int64_t clock_ms;
	int64_t boot_ms;
	bool clock_stands;
	uint64_t noted_ms; // when the clock was written, by loop_now_ms
};

// *ret is lent until it is reset; use `_cleanup_sql_`.
int sqlite_sql_get(struct sqlite_data *data, enum sqlite_sql which, sqlite3_stmt **ret, struct err *e);
int sqlite_sql_step(struct sqlite_data *data, sqlite3_stmt *sql, struct err *e); // 1: a row; 0: the end
// For one that answers with no row and has at most one number.
int sqlite_sql_run(struct sqlite_data *data, enum sqlite_sql which, int64_t number, struct err *e);
void sqlite_sql_bytes(sqlite3_stmt *sql, int column, const void *bytes, size_t len); // len 0: not NULL
void sqlite_sql_free(struct sqlite_data *data);

static inline void sqlite_sql_resetp(sqlite3_stmt **sql)
{
	if (!*sql)
		return;
	(void)sqlite3_reset(*sql);
	(void)sqlite3_clear_bindings(*sql);
}
#define _cleanup_sql_ _cleanup_(sqlite_sql_resetp)

// Adds what the statement stands on; its columns are those of pairs or events.
struct sqlite_row *sqlite_rows_add(struct sqlite_rows *rows, sqlite3_stmt *sql);
void sqlite_rows_drop_last(struct sqlite_rows *rows);
// At the present revision. create_revision 0: it was deleted.
int sqlite_event_add(struct sqlite_data *data, const struct kv_write *write,
		     int64_t create_revision, struct err *e);
int sqlite_history_limit(struct sqlite_data *data, struct err *e);
int64_t sqlite_clock_now(const struct sqlite_data *data);
