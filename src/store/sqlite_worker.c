// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the thread that does all work on one database file.
//
// DOC: turns
//
// In each turn the thread takes what waits, up to TURN_MAX jobs. Those that only read are done first and
// answered at once, from what is committed. Then all those that write are done in one transaction, each
// in a savepoint of its own, and answered when it is committed: one wait for the disk for all of them.
// When the transaction fails, each is tried again in one of its own, so that one that does not fit on
// the disk takes no other with it. Time that passes without jobs ends sessions and writes their clock.
#include "store/sqlite_worker.h"

#include "core/mem.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TURN_MAX 512
#define CLOCK_NOTE_MS 60000 // how often the clock of the sessions is written, at least
#define RETRY_MS 1000	    // after a write that failed

struct queue {
	struct sqlite_job *first, *last;
};

struct sqlite_worker {
	pthread_t thread;
	int wake_fd; // wakes the loop

	pthread_mutex_t lock; // of what follows
	pthread_cond_t asked;
	struct queue waiting;
	struct queue done;
	int64_t revision;
	bool is_open;
	bool ends;
	struct err open_err;

	// The thread's own.
	char *path;
	struct sqlite_data *data;
	uint64_t retry_ms; // no write by itself before
	bool notes_clock;  // whatever its age
};

// ---- queues ----

static void queue_add(struct queue *queue, struct sqlite_job *job)
{
	job->next = NULL;
	if (queue->last)
		queue->last->next = job;
	else
		queue->first = job;
	queue->last = job;
}

static struct sqlite_job *queue_take(struct queue *queue)
{
	struct sqlite_job *job = queue->first;

	if (job)
		queue->first = job->next;
	if (!queue->first)
		queue->last = NULL;
	return job;
}

// ---- the thread ----

static void wake_loop(struct sqlite_worker *worker)
{
	uint64_t one = 1;

	// It can only fail when the counter is full, and then the loop is woken anyway.
	if (write(worker->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static void answer(struct sqlite_worker *worker, struct queue *jobs)
{
	struct sqlite_job *job;

	pthread_mutex_lock(&worker->lock);
	while ((job = queue_take(jobs)))
		queue_add(&worker->done, job);
	worker->revision = sqlite_data_committed(worker->data);
	pthread_mutex_unlock(&worker->lock);
	wake_loop(worker);
}

static void do_reads(struct sqlite_worker *worker, struct queue *jobs)
{
	struct err e = { 0 };
	int begun = sqlite_data_begin(worker->data, false, &e);

	for (struct sqlite_job *job = jobs->first; job; job = job->next) {
		int r = begun < 0 ? begun : sqlite_job_run(job, worker->data, &e);

		if (r < 0)
			sqlite_job_fail(job, r, &e);
	}
	if (begun == 0)
		(void)sqlite_data_commit(worker->data, &e);
	answer(worker, jobs);
}

// Something that is one of several in the transaction. -errno: the transaction is gone.
typedef int part_fn(void *arg, struct sqlite_data *data, struct err *e);
static int do_part(struct sqlite_data *data, part_fn *fn, void *arg, int *ret_part, struct err *e)
{
	int r = sqlite_data_part_begin(data, e);

	if (r < 0)
		return r;
	*ret_part = fn(arg, data, e);
	if (*ret_part == 0)
		return sqlite_data_part_end(data, e);
	return sqlite_data_part_undo(data) < 0 ? *ret_part : 0;
}

static int expire(void *arg, struct sqlite_data *data, struct err *e)
{
	(void)arg;
	return sqlite_session_expire(data, e);
}

static int run_job(void *arg, struct sqlite_data *data, struct err *e)
{
	return sqlite_job_run(arg, data, e);
}

// All in one transaction. last: one behind the last job; NULL: all.
static int try_writes(struct sqlite_worker *worker, struct sqlite_job *first,
		      const struct sqlite_job *last, struct err *e)
{
	struct sqlite_data *data = worker->data;
	int part = 0;
	int r = sqlite_data_begin(data, true, e);

	if (r < 0)
		return r;
	r = do_part(data, expire, NULL, &part, e);
	if (part < 0)
		worker->retry_ms = loop_now_ms() + RETRY_MS;
	for (struct sqlite_job *job = first; r == 0 && job != last; job = job->next) {
		r = do_part(data, run_job, job, &part, e);
		if (r == 0 && part < 0)
			sqlite_job_fail(job, part, e);
	}
	if (r < 0) {
		sqlite_data_rollback(data);
		return r;
	}
	if (worker->notes_clock || sqlite_clock_age_ms(data) >= CLOCK_NOTE_MS ||
	    sqlite_clock_stands(data))
		sqlite_clock_note(data);
	return sqlite_data_commit(data, e);
}

static int write_some(struct sqlite_worker *worker, struct sqlite_job *first,
		      const struct sqlite_job *last, struct err *e)
{
	struct sqlite_data *data = worker->data;
	int r = try_writes(worker, first, last, e);

	if (r < 0) {
		sqlite_clock_stop(data);
		worker->retry_ms = loop_now_ms() + RETRY_MS;
		return r;
	}
	if (sqlite_clock_stands(data))
		sqlite_clock_go_on(data);
	return 0;
}

static void do_writes(struct sqlite_worker *worker, struct queue *jobs)
{
	struct err e = { 0 };
	int r = write_some(worker, jobs->first, NULL, &e);
	// Another process that holds the file was waited for: not once more for each.
	bool is_hopeless = r == -EAGAIN;

	for (struct sqlite_job *job = r < 0 ? jobs->first : NULL; job; job = job->next) {
		if (!is_hopeless)
			r = write_some(worker, job, job->next, &e);
		if (r < 0)
			sqlite_job_fail(job, r, &e);
	}
	answer(worker, jobs);
}

// Milliseconds until there is something to write without being asked; -1: nothing is to be.
static int64_t next_write_ms(struct sqlite_worker *worker)
{
	int64_t note_ms = CLOCK_NOTE_MS - sqlite_clock_age_ms(worker->data);
	int64_t retry_ms = (int64_t)worker->retry_ms - (int64_t)loop_now_ms();
	struct err ignored;
	int64_t left_ms;

	if (sqlite_session_next(worker->data, &left_ms, &ignored) < 0)
		return RETRY_MS;
	if (sqlite_clock_stands(worker->data) || retry_ms > 0)
		return retry_ms > 0 ? retry_ms : 0;
	if (left_ms < 0)
		return -1;
	if (note_ms < left_ms)
		left_ms = note_ms;
	return left_ms > 0 ? left_ms : 0;
}

static struct timespec after_ms(int64_t ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += ms % 1000 * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

// Waits for jobs, or until it is time to write. False: it is over.
static bool take_turn(struct sqlite_worker *worker, struct queue *reads, struct queue *writes)
{
	int64_t wait_ms = next_write_ms(worker);
	struct timespec end = after_ms(wait_ms);
	unsigned int count = 0;
	bool goes_on;

	pthread_mutex_lock(&worker->lock);
	while (!worker->waiting.first && !worker->ends && wait_ms != 0) {
		if (wait_ms < 0)
			pthread_cond_wait(&worker->asked, &worker->lock);
		else if (pthread_cond_timedwait(&worker->asked, &worker->lock, &end) == ETIMEDOUT)
			break;
	}
	while (worker->waiting.first && count++ < TURN_MAX) {
		struct sqlite_job *job = queue_take(&worker->waiting);

		queue_add(job->kind < JOB_READS ? reads : writes, job);
	}
	goes_on = !worker->ends || reads->first || writes->first;
	pthread_mutex_unlock(&worker->lock);
	return goes_on;
}

static void turns(struct sqlite_worker *worker)
{
	struct queue reads = { 0 };
	struct queue writes = { 0 };
	struct err e = { 0 };

	while (take_turn(worker, &reads, &writes)) {
		if (reads.first)
			do_reads(worker, &reads);
		if (writes.first || next_write_ms(worker) == 0)
			do_writes(worker, &writes);
	}
	// Sessions have what they have left now, not what they had a while ago.
	worker->notes_clock = true;
	if (next_write_ms(worker) >= 0)
		(void)write_some(worker, NULL, NULL, &e);
}

static void *run(void *arg)
{
	struct sqlite_worker *worker = arg;
	struct err e = { 0 };
	int r = sqlite_data_open(worker->path, &worker->data, &e);

	pthread_mutex_lock(&worker->lock);
	worker->is_open = true;
	if (r < 0)
		worker->open_err = e;
	else
		worker->revision = sqlite_data_committed(worker->data);
	pthread_cond_broadcast(&worker->asked);
	pthread_mutex_unlock(&worker->lock);
	if (r == 0)
		turns(worker);
	worker->data = sqlite_data_close(worker->data);
	return NULL;
}

// ---- the loop's side ----

// Signals are for the loop's thread.
static int start_thread(struct sqlite_worker *worker)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&worker->thread, NULL, run, worker);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

static void release(struct sqlite_worker *worker)
{
	struct sqlite_job *job;

	while ((job = queue_take(&worker->done)))
		sqlite_job_free(job);
	pthread_cond_destroy(&worker->asked);
	pthread_mutex_destroy(&worker->lock);
	fd_closep(&worker->wake_fd);
	free(worker->path);
	free(worker);
}

static struct sqlite_worker *build(const char *path)
{
	struct sqlite_worker *worker = xnew(struct sqlite_worker);
	pthread_condattr_t attributes;

	worker->path = xstrdup(path);
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&worker->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&worker->asked, &attributes);
	pthread_condattr_destroy(&attributes);
	return worker;
}

int sqlite_worker_new(const char *path, struct sqlite_worker **ret, struct err *e)
{
	struct sqlite_worker *worker = build(path);
	struct err why;
	int r = worker->wake_fd < 0 ? -errno : start_thread(worker);

	if (r < 0) {
		release(worker);
		return err_set(e, r, "sqlite: a thread for %s: %s", path, strerror(-r));
	}
	pthread_mutex_lock(&worker->lock);
	while (!worker->is_open)
		pthread_cond_wait(&worker->asked, &worker->lock);
	why = worker->open_err;
	pthread_mutex_unlock(&worker->lock);
	if (why.code < 0) {
		sqlite_worker_free(worker);
		return err_set(e, why.code, "%s", why.msg);
	}
	*ret = worker;
	return 0;
}

struct sqlite_worker *sqlite_worker_free(struct sqlite_worker *worker)
{
	if (!worker)
		return NULL;
	pthread_mutex_lock(&worker->lock);
	worker->ends = true;
	pthread_cond_broadcast(&worker->asked);
	pthread_mutex_unlock(&worker->lock);
	pthread_join(worker->thread, NULL);
	release(worker);
	return NULL;
}

void sqlite_worker_ask(struct sqlite_worker *worker, struct sqlite_job *job)
{
	pthread_mutex_lock(&worker->lock);
	queue_add(&worker->waiting, job);
	pthread_cond_signal(&worker->asked);
	pthread_mutex_unlock(&worker->lock);
}

int sqlite_worker_fd(const struct sqlite_worker *worker)
{
	return worker->wake_fd;
}

struct sqlite_job *sqlite_worker_take(struct sqlite_worker *worker, int64_t *ret_revision)
{
	struct sqlite_job *first;
	uint64_t count;

	if (read(worker->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		count = 0;
	pthread_mutex_lock(&worker->lock);
	first = worker->done.first;
	worker->done = (struct queue){ 0 };
	*ret_revision = worker->revision;
	pthread_mutex_unlock(&worker->lock);
	return first;
}
