// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the sessions of the embedded store, and the clock that they live by.
//
// DOC: a clock that counts only while the store serves
//
// A session is kept as the time at which it ends, on a clock of the store's own: CLOCK_BOOTTIME less
// all the time in which nobody could renew anything. Its reading is in the table `store` and is written
// with every commit, with one each minute while there is nothing else to write, and at the end. After a
// restart the clock goes on from there. So no session is shortened by a stop of the process, by a disk
// that is full, or by somebody who sets the wall clock; after a crash each has what it had left when
// the clock was last written, which is at most a minute more.
#include "store/sqlite_data.h"

#include "store/sqlite_sql.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#define TTL_MAX_S 9000000000 // as etcd has it

// ---- the clock ----

int64_t sqlite_clock_now(const struct sqlite_data *data)
{
	int64_t passed = (int64_t)loop_boottime_ms() - data->boot_ms;

	return data->clock_stands ? data->clock_ms : data->clock_ms + passed;
}

void sqlite_clock_note(struct sqlite_data *data)
{
	data->is_changed = true;
}

int64_t sqlite_clock_age_ms(const struct sqlite_data *data)
{
	return (int64_t)(loop_now_ms() - data->noted_ms);
}

void sqlite_clock_stop(struct sqlite_data *data)
{
	data->clock_ms = sqlite_clock_now(data);
	data->clock_stands = true;
}

void sqlite_clock_go_on(struct sqlite_data *data)
{
	data->boot_ms = (int64_t)loop_boottime_ms();
	data->clock_stands = false;
}

bool sqlite_clock_stands(const struct sqlite_data *data)
{
	return data->clock_stands;
}

// ---- sessions ----

static int no_session(int64_t id, struct err *e)
{
	return err_set(e, -ENOENT, "sqlite: there is no session %" PRIx64, (uint64_t)id);
}

static int64_t in_bounds(int64_t ttl_s)
{
	if (ttl_s < 1)
		return 1;
	return ttl_s > TTL_MAX_S ? TTL_MAX_S : ttl_s;
}

// By chance, so that a store that was put back from a backup hands out none that was in use since.
static int draw_id(int64_t *ret, struct err *e)
{
	uint64_t id = 0;

	while (id == 0) {
		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			return err_set(e, -errno, "getrandom: %s", strerror(errno));
		id &= INT64_MAX;
	}
	*ret = (int64_t)id;
	return 0;
}

int sqlite_session_new(struct sqlite_data *data, int64_t *ttl_s, int64_t *ret, struct err *e)
{
	int64_t ttl_ms = in_bounds(*ttl_s) * 1000;
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int64_t id = 0;
	int r;

	r = draw_id(&id, e);
	if (r == 0)
		r = sqlite_sql_get(data, SQL_SESSION_ADD, &sql, e);
	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(sql, 1, id);
	(void)sqlite3_bind_int64(sql, 2, ttl_ms);
	(void)sqlite3_bind_int64(sql, 3, sqlite_clock_now(data) + ttl_ms);
	r = sqlite_sql_step(data, sql, e);
	if (r < 0)
		return r;
	data->is_changed = true;
	*ret = id;
	*ttl_s = ttl_ms / 1000;
	return 0;
}

static int get(struct sqlite_data *data, int64_t id, int64_t *ret_ttl_ms, int64_t *ret_expires_ms,
	       struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r = sqlite_sql_get(data, SQL_SESSION_GET, &sql, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(sql, 1, id);
	r = sqlite_sql_step(data, sql, e);
	if (r < 0)
		return r;
	if (r == 0)
		return no_session(id, e);
	*ret_ttl_ms = sqlite3_column_int64(sql, 0);
	*ret_expires_ms = sqlite3_column_int64(sql, 1);
	return 0;
}

int sqlite_session_ttl(struct sqlite_data *data, int64_t id, int64_t *ret_s, struct err *e)
{
	int64_t ttl_ms = 0, expires_ms = 0, now = sqlite_clock_now(data);
	int r = get(data, id, &ttl_ms, &expires_ms, e);

	if (r == 0)
		*ret_s = expires_ms > now ? (expires_ms - now) / 1000 : 0;
	return r;
}

int sqlite_session_renew(struct sqlite_data *data, int64_t id, int64_t *ret_s, struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int64_t ttl_ms = 0, expires_ms = 0;
	int r = get(data, id, &ttl_ms, &expires_ms, e);

	if (r == 0)
		r = sqlite_sql_get(data, SQL_SESSION_RENEW, &sql, e);
	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(sql, 1, id);
	(void)sqlite3_bind_int64(sql, 2, sqlite_clock_now(data) + ttl_ms);
	r = sqlite_sql_step(data, sql, e);
	if (r < 0)
		return r;
	data->is_changed = true;
	*ret_s = ttl_ms / 1000;
	return 0;
}

// ---- ends ----

struct keys {
	struct kv_write *deletes;
	size_t count;
	size_t capacity;
};

static void keys_add(struct keys *keys, sqlite3_stmt *sql)
{
	size_t len = (size_t)sqlite3_column_bytes(sql, 0);

	if (keys->count == keys->capacity) {
		keys->capacity = keys->capacity ? 2 * keys->capacity : 8;
		keys->deletes = xrealloc_array(keys->deletes, keys->capacity, sizeof(*keys->deletes));
	}
	keys->deletes[keys->count++] = (struct kv_write){
		.key = xmemdup(len > 0 ? sqlite3_column_blob(sql, 0) : "", len > 0 ? len : 1),
		.key_len = len,
	};
}

static void keys_free(struct keys *keys)
{
	for (size_t i = 0; i < keys->count; i++)
		free((char *)keys->deletes[i].key);
	free(keys->deletes);
}

static int read_keys(struct sqlite_data *data, int64_t session, struct keys *keys, struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r = sqlite_sql_get(data, SQL_PAIR_OF_SESSION, &sql, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(sql, 1, session);
	while ((r = sqlite_sql_step(data, sql, e)) > 0)
		keys_add(keys, sql);
	return r;
}

int sqlite_session_end(struct sqlite_data *data, int64_t id, struct err *e)
{
	_cleanup_(keys_free) struct keys keys = { 0 };
	int r = sqlite_sql_run(data, SQL_SESSION_END, id, e);

	if (r < 0)
		return r;
	if (sqlite3_changes(data->file.db) == 0)
		return no_session(id, e);
	data->is_changed = true;
	r = read_keys(data, id, &keys, e);
	return r < 0 ? r : sqlite_data_write(data, keys.deletes, keys.count, e);
}

static int find_due(struct sqlite_data *data, int64_t *ret, struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int r = sqlite_sql_get(data, SQL_SESSION_DUE, &sql, e);

	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(sql, 1, sqlite_clock_now(data));
	r = sqlite_sql_step(data, sql, e);
	if (r > 0)
		*ret = sqlite3_column_int64(sql, 0);
	return r;
}

int sqlite_session_expire(struct sqlite_data *data, struct err *e)
{
	int64_t id;
	int r;

	while ((r = find_due(data, &id, e)) > 0) {
		r = sqlite_session_end(data, id, e);
		if (r < 0)
			return r;
	}
	return r;
}

int sqlite_session_next(struct sqlite_data *data, int64_t *ret_ms, struct err *e)
{
	_cleanup_sql_ sqlite3_stmt *sql = NULL;
	int64_t left;
	int r = sqlite_sql_get(data, SQL_SESSION_NEXT, &sql, e);

	if (r == 0)
		r = sqlite_sql_step(data, sql, e);
	if (r < 0)
		return r;
	if (sqlite3_column_type(sql, 0) == SQLITE_NULL) {
		*ret_ms = -1;
		return 0;
	}
	left = sqlite3_column_int64(sql, 0) - sqlite_clock_now(data);
	*ret_ms = left > 0 ? left : 0;
	return 0;
}
