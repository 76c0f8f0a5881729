// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the keys, sessions and history of the embedded store. It blocks; all is called by the
// worker's thread. -errno with text in *e (never NULL) is a failure of the database, other than where
// said.
#pragma once

#include "store/kv.h"

#define SQLITE_HISTORY_MAX 10000 // events that a watch can resume over

struct sqlite_data;
int sqlite_data_open(const char *path, struct sqlite_data **ret, struct err *e);
struct sqlite_data *sqlite_data_close(struct sqlite_data *data);

// ---- transactions: everything below this runs within one ----
int sqlite_data_begin(struct sqlite_data *data, bool writes, struct err *e);
// After a failure it was rolled back. -EINPROGRESS: it was written, but the disk did not confirm it, so
// that it is found if the process ends before another one is written.
int sqlite_data_commit(struct sqlite_data *data, struct err *e);
void sqlite_data_rollback(struct sqlite_data *data);
// A part that can be undone alone. Undo: -errno if the whole transaction is gone.
int sqlite_data_part_begin(struct sqlite_data *data, struct err *e);
int sqlite_data_part_end(struct sqlite_data *data, struct err *e);
int sqlite_data_part_undo(struct sqlite_data *data);

struct kv_header sqlite_data_header(const struct sqlite_data *data);
// As of the last commit, outside of a transaction too.
int64_t sqlite_data_committed(const struct sqlite_data *data);

// ---- rows: what was read, in one piece of memory each ----
struct sqlite_row {
	struct kv_pair pair;
	char *shown_key; // NULL: the key itself
	bool is_delete;
	char bytes[]; // key, terminated; value
};
struct sqlite_rows {
	struct sqlite_row **items;
	size_t count;
	size_t capacity;
};
void sqlite_rows_free(struct sqlite_rows *rows);

// Adds what there is of this key, or of all keys that begin with it.
int sqlite_data_get(struct sqlite_data *data, const char *key, size_t len, struct sqlite_rows *rows,
		    struct err *e);
int sqlite_data_range(struct sqlite_data *data, const char *prefix, size_t len,
		      struct sqlite_rows *rows, struct err *e);
int sqlite_data_holds(struct sqlite_data *data, const struct kv_compare *compare, bool *ret,
		      struct err *e);
// One revision for all writes. The sessions must exist.
int sqlite_data_write(struct sqlite_data *data, const struct kv_write *writes, size_t count,
		      struct err *e);

// ---- history ----
int sqlite_data_compact(struct sqlite_data *data, struct err *e);
// The id of the first event of this revision or later. -ESTALE: compacted.
int sqlite_event_find(struct sqlite_data *data, int64_t revision, int64_t *ret, struct err *e);
// Adds at most max events from *id on that a prefix fits, and moves *id behind what was read; *ret_more:
// there are more. -ESTALE: compacted.
int sqlite_event_read(struct sqlite_data *data, int64_t *id, const char *const *prefixes,
		      size_t max, struct sqlite_rows *rows, bool *ret_more, struct err *e);

// ---- sessions; -ENOENT: no such session ----
// *ttl_s is put into bounds.
int sqlite_session_new(struct sqlite_data *data, int64_t *ttl_s, int64_t *ret, struct err *e);
int sqlite_session_ttl(struct sqlite_data *data, int64_t id, int64_t *ret_s, struct err *e);
int sqlite_session_renew(struct sqlite_data *data, int64_t id, int64_t *ret_s, struct err *e);
int sqlite_session_end(struct sqlite_data *data, int64_t id, struct err *e); // deletes its keys
// Ends those whose time is over.
int sqlite_session_expire(struct sqlite_data *data, struct err *e);
// Outside of a transaction: milliseconds until one's time is over; -1: there is none.
int sqlite_session_next(struct sqlite_data *data, int64_t *ret_ms, struct err *e);

// The clock that sessions live by is written with the present transaction.
void sqlite_clock_note(struct sqlite_data *data);
int64_t sqlite_clock_age_ms(const struct sqlite_data *data); // since it was written
// It stands still while nothing can be written, as nobody can renew a session then.
void sqlite_clock_stop(struct sqlite_data *data);
void sqlite_clock_go_on(struct sqlite_data *data);
bool sqlite_clock_stands(const struct sqlite_data *data);
