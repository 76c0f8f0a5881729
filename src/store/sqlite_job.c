// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what each kind of request does to the data.
#include "store/sqlite_job.h"

#include "core/mem.h"
#include "store/kv_internal.h"

#include <errno.h>
#include <string.h>

struct sqlite_job *sqlite_job_free(struct sqlite_job *job)
{
	if (!job)
		return NULL;
	for (size_t i = 0; i < job->compare_count; i++)
		free((char *)job->compares[i].key);
	for (size_t i = 0; i < job->write_count; i++) {
		free((char *)job->writes[i].key);
		free((void *)job->writes[i].value);
	}
	free(job->compares);
	free(job->writes);
	for (size_t i = 0; job->prefixes[i]; i++)
		free(job->prefixes[i]);
	free(job->key);
	sqlite_rows_free(&job->rows);
	free(job);
	return NULL;
}

// Terminated, so that there is something to copy of an empty one.
static void *bytes_copy(const void *bytes, size_t len)
{
	char *copy = xmalloc(len + 1);

	if (len > 0)
		memcpy(copy, bytes, len);
	copy[len] = '\0';
	return copy;
}

void sqlite_job_take_txn(struct sqlite_job *job, const struct kv_txn *txn)
{
	job->compares = xnew0_array(struct kv_compare, txn->compare_count + 1);
	job->compare_count = txn->compare_count;
	for (size_t i = 0; i < txn->compare_count; i++) {
		struct kv_compare *compare = &job->compares[i];

		*compare = txn->compares[i];
		compare->key_len = kv_key_len(compare->key, compare->key_len);
		compare->key = bytes_copy(compare->key, compare->key_len);
	}
	job->writes = xnew0_array(struct kv_write, txn->write_count + 1);
	job->write_count = txn->write_count;
	for (size_t i = 0; i < txn->write_count; i++) {
		struct kv_write *write = &job->writes[i];

		*write = txn->writes[i];
		write->key_len = kv_key_len(write->key, write->key_len);
		write->key = bytes_copy(write->key, write->key_len);
		if (write->value)
			write->value = bytes_copy(write->value, write->value_len);
	}
}

void sqlite_job_fail(struct sqlite_job *job, int r, const struct err *e)
{
	// Only of a transaction a caller can find out whether it was done.
	job->r = r == -EINPROGRESS && job->kind != JOB_TXN ? -EIO : r;
	job->err = *e;
	job->err.code = job->r;
}

// ---- reading ----

static int run_range(struct sqlite_job *job, struct sqlite_data *data, struct err *e)
{
	size_t len = strlen(job->key);

	return job->is_prefix ? sqlite_data_range(data, job->key, len, &job->rows, e)
			      : sqlite_data_get(data, job->key, len, &job->rows, e);
}

static int run_watch(struct sqlite_job *job, struct sqlite_data *data, struct err *e)
{
	const char *const *prefixes = (const char *const *)job->prefixes;
	int r = 0;

	job->store_changed = (job->cluster_id && job->cluster_id != job->header.cluster_id) ||
			     job->from > job->header.revision + 1;
	if (job->event == 0 && job->store_changed)
		return err_set(e, -ESTALE, "sqlite: the store is another one");
	if (job->event == 0)
		r = sqlite_event_find(data, job->from, &job->event, e);
	if (r == 0)
		r = sqlite_event_read(data, &job->event, prefixes, SQLITE_EVENTS_MAX, &job->rows,
				      &job->more, e);
	return r;
}

// ---- writing ----

static int check_sessions(const struct sqlite_job *job, struct sqlite_data *data, struct err *e)
{
	int64_t ttl_s;
	int r = 0;

	for (size_t i = 0; r == 0 && i < job->write_count; i++)
		if (job->writes[i].value && job->writes[i].session != 0)
			r = sqlite_session_ttl(data, job->writes[i].session, &ttl_s, e);
	return r;
}

static int check_size(const struct sqlite_job *job, struct err *e)
{
	size_t total = 0;

	for (size_t i = 0; i < job->write_count; i++)
		total += job->writes[i].key_len + job->writes[i].value_len;
	if (total > SQLITE_WRITE_MAX)
		return err_set(e, -E2BIG, "sqlite: a write of %zu bytes; the limit is %d", total,
			       SQLITE_WRITE_MAX);
	return 0;
}

static int read_compared(struct sqlite_job *job, struct sqlite_data *data, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < job->compare_count; i++)
		r = sqlite_data_get(data, job->compares[i].key, job->compares[i].key_len,
				    &job->rows, e);
	return r;
}

static int run_txn(struct sqlite_job *job, struct sqlite_data *data, struct err *e)
{
	bool holds = true;
	int r = 0;

	for (size_t i = 0; r == 0 && holds && i < job->compare_count; i++)
		r = sqlite_data_holds(data, &job->compares[i], &holds, e);
	if (r < 0)
		return r;
	if (!holds)
		return read_compared(job, data, e);
	r = check_sessions(job, data, e);
	if (r == 0)
		r = sqlite_data_write(data, job->writes, job->write_count, e);
	job->succeeded = r == 0;
	return r;
}

static int run(struct sqlite_job *job, struct sqlite_data *data, struct err *e)
{
	switch (job->kind) {
	case JOB_RANGE:
		return run_range(job, data, e);
	case JOB_WATCH:
		return run_watch(job, data, e);
	case JOB_TXN:
		return run_txn(job, data, e);
	case JOB_SESSION_OPEN:
		return sqlite_session_new(data, &job->ttl_s, &job->session, e);
	case JOB_SESSION_QUERY:
		return sqlite_session_ttl(data, job->session, &job->ttl_s, e);
	case JOB_SESSION_KEEP_ALIVE:
		return sqlite_session_renew(data, job->session, &job->ttl_s, e);
	case JOB_SESSION_CLOSE:
		return sqlite_session_end(data, job->session, e);
	case JOB_COMPACT:
		return sqlite_data_compact(data, e);
	}
	return -EINVAL;
}

int sqlite_job_run(struct sqlite_job *job, struct sqlite_data *data, struct err *e)
{
	int r;

	// It may be the second time, after a transaction that failed.
	sqlite_rows_free(&job->rows);
	job->succeeded = false;
	job->r = 0;
	job->header = sqlite_data_header(data);
	r = check_size(job, e);
	if (r < 0) {
		sqlite_job_fail(job, r, e);
		return 0;
	}
	r = run(job, data, e);
	job->header = sqlite_data_header(data);
	// These are answers: nothing was written.
	if (r == -ENOENT || r == -ESTALE) {
		sqlite_job_fail(job, r, e);
		return 0;
	}
	return r;
}
