// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one piece of work that would block the loop, done on a thread of its own.
#include "io/work.h"

#include "core/mem.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct work {
	pthread_t thread;
	bool is_joined;
	int fd; // readable once fn has returned
	struct fd_watch *watch;
	work_fn *fn;
	work_done_fn *done;
	void *arg;
};

static void *run(void *opaque)
{
	struct work *work = opaque;
	uint64_t one = 1;

	work->fn(work->arg);
	if (write(work->fd, &one, sizeof(one)) < 0)
		assert(false); // a counter of one does not overflow
	return NULL;
}

static void join(struct work *work)
{
	if (!work->is_joined)
		pthread_join(work->thread, NULL);
	work->is_joined = true;
}

static void on_ended(void *arg, unsigned int events)
{
	struct work *work = arg;

	(void)events;
	join(work);
	fd_watch_set(work->watch, 0);
	work->done(work->arg);
}

// Signals are for the loop's thread.
static int start_thread(struct work *work)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&work->thread, NULL, run, work);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

struct work *work_start(struct loop *loop, work_fn *fn, work_done_fn *done, void *arg)
{
	struct work *work = xnew(struct work);
	int r;

	*work = (struct work){ .fn = fn, .done = done, .arg = arg };
	work->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	// Without a thread or a descriptor nothing else goes on either: as running out of memory.
	assert(work->fd >= 0);
	work->watch = fd_watch_new(loop, work->fd, on_ended, work);
	fd_watch_set(work->watch, FD_READABLE);
	r = start_thread(work);
	assert(r == 0);
	(void)r;
	return work;
}

struct work *work_free(struct work *work)
{
	if (!work)
		return NULL;
	join(work);
	fd_watch_free(work->watch);
	close(work->fd);
	free(work);
	return NULL;
}
