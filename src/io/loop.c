// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the event loop over libuv.
#include "io/loop.h"

#include "core/mem.h"

#include <assert.h>
#include <sys/random.h>
#include <time.h>
#include <uv.h>

struct loop {
	uv_loop_t uv;
	uv_timer_t keep;       // never fires: a loop with nothing to do waits instead of returning
	uv_timer_t turn_limit; // of loop_turn
	uv_idle_t ready_idle;  // active while a timer of delay 0 waits, so that poll does not block
	struct timer *ready_first;
	struct timer *ready_last;
	uint64_t ready_turn;
	bool stopped;
	size_t users;
	uint64_t longest_hold_ns;
};

struct timer {
	uv_timer_t uv;
	struct loop *loop;
	timer_fn *fn;
	void *arg;
	struct timer *next;  // in the ready list
	uint64_t ready_turn; // in which it joined the list
	bool ready;
};

struct fd_watch {
	uv_poll_t uv;
	struct loop *loop;
	fd_watch_fn *fn;
	void *arg;
	unsigned int events;
};

struct signal_watch {
	uv_signal_t uv;
	struct loop *loop;
	signal_fn *fn;
	void *arg;
};

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t loop_now_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

uint64_t loop_boottime_ms(void)
{
	return clock_ns(CLOCK_BOOTTIME) / 1000000;
}

static void note_hold(struct loop *loop, uint64_t started_ns)
{
	uint64_t held = clock_ns(CLOCK_MONOTONIC) - started_ns;

	if (held > loop->longest_hold_ns)
		loop->longest_hold_ns = held;
}

uint64_t loop_longest_hold_ms(struct loop *loop)
{
	uint64_t held = loop->longest_hold_ns / 1000000;

	loop->longest_hold_ns = 0;
	return held;
}

static void nothing(uv_timer_t *uv)
{
	(void)uv;
}

// libuv runs timers of delay 0 that timers start in the same turn, without end; ours wait for the
// next one, so that descriptors get their share.
static void run_ready(uv_idle_t *idle)
{
	struct loop *loop = idle->data;
	uint64_t turn = ++loop->ready_turn;

	while (loop->ready_first && loop->ready_first->ready_turn != turn) {
		struct timer *timer = loop->ready_first;
		uint64_t started = clock_ns(CLOCK_MONOTONIC);

		timer_stop(timer);
		timer->fn(timer->arg);
		note_hold(loop, started);
	}
	if (!loop->ready_first)
		uv_idle_stop(&loop->ready_idle);
}

struct loop *loop_new(void)
{
	struct loop *loop = xnew(struct loop);
	int r = uv_loop_init(&loop->uv);

	assert(r == 0);
	(void)r;
	uv_timer_init(&loop->uv, &loop->keep);
	uv_timer_start(&loop->keep, nothing, UINT64_MAX / 2, 0);
	uv_timer_init(&loop->uv, &loop->turn_limit);
	uv_idle_init(&loop->uv, &loop->ready_idle);
	loop->ready_idle.data = loop;
	return loop;
}

struct loop *loop_free(struct loop *loop)
{
	int r;

	if (!loop)
		return NULL;
	assert(loop->users == 0);
	uv_close((uv_handle_t *)&loop->keep, NULL);
	uv_close((uv_handle_t *)&loop->turn_limit, NULL);
	uv_close((uv_handle_t *)&loop->ready_idle, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	r = uv_loop_close(&loop->uv);
	assert(r == 0);
	(void)r;
	free(loop);
	return NULL;
}

size_t loop_users(const struct loop *loop)
{
	return loop->users;
}

void loop_run(struct loop *loop)
{
	while (!loop->stopped)
		uv_run(&loop->uv, UV_RUN_ONCE);
	loop->stopped = false;
}

void loop_stop(struct loop *loop)
{
	loop->stopped = true;
	uv_stop(&loop->uv);
}

void loop_turn(struct loop *loop, uint64_t timeout_ms)
{
	uv_update_time(&loop->uv);
	// A timer of no delay fires before libuv waits, which then waits for the next one.
	if (timeout_ms == 0) {
		uv_run(&loop->uv, UV_RUN_NOWAIT);
		return;
	}
	uv_timer_start(&loop->turn_limit, nothing, timeout_ms, 0);
	uv_run(&loop->uv, UV_RUN_ONCE);
	uv_timer_stop(&loop->turn_limit);
}

// ---- users ----

static void user_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void end_user(struct loop *loop, uv_handle_t *handle)
{
	loop->users--;
	uv_close(handle, user_closed);
}

// ---- timers ----

static void timer_fired(uv_timer_t *uv)
{
	struct timer *timer = uv->data;
	struct loop *loop = timer->loop;
	uint64_t started = clock_ns(CLOCK_MONOTONIC);

	timer->fn(timer->arg);
	note_hold(loop, started);
}

struct timer *timer_new(struct loop *loop, timer_fn *fn, void *arg)
{
	struct timer *timer = xnew(struct timer);

	loop->users++;
	timer->loop = loop;
	timer->fn = fn;
	timer->arg = arg;
	uv_timer_init(&loop->uv, &timer->uv);
	timer->uv.data = timer;
	return timer;
}

struct timer *timer_free(struct timer *timer)
{
	if (!timer)
		return NULL;
	timer_stop(timer);
	end_user(timer->loop, (uv_handle_t *)&timer->uv);
	return NULL;
}

void timer_start(struct timer *timer, uint64_t delay_ms)
{
	struct loop *loop = timer->loop;

	timer_stop(timer);
	if (delay_ms > 0) {
		// The loop's clock stands still during a callback: without this a long one would
		// shorten the delay.
		uv_update_time(&loop->uv);
		uv_timer_start(&timer->uv, timer_fired, delay_ms, 0);
		return;
	}
	timer->ready = true;
	timer->ready_turn = loop->ready_turn;
	if (loop->ready_last)
		loop->ready_last->next = timer;
	else
		loop->ready_first = timer;
	loop->ready_last = timer;
	uv_idle_start(&loop->ready_idle, run_ready);
}

static void leave_ready_list(struct timer *timer)
{
	struct loop *loop = timer->loop;
	struct timer **link = &loop->ready_first;
	struct timer *previous = NULL;

	while (*link != timer) {
		previous = *link;
		link = &previous->next;
	}
	*link = timer->next;
	if (loop->ready_last == timer)
		loop->ready_last = previous;
	timer->next = NULL;
	timer->ready = false;
}

void timer_stop(struct timer *timer)
{
	if (timer->ready)
		leave_ready_list(timer);
	else
		uv_timer_stop(&timer->uv);
}

bool timer_is_pending(const struct timer *timer)
{
	return timer->ready || uv_is_active((const uv_handle_t *)&timer->uv);
}

// ---- descriptors ----

static unsigned int events_of_uv(int status, int uv_events)
{
	unsigned int events = 0;

	// An error on the descriptor is for its reader to find: reading or writing reports it.
	if (status < 0)
		return FD_READABLE | FD_WRITABLE;
	if (uv_events & (UV_READABLE | UV_DISCONNECT))
		events |= FD_READABLE;
	if (uv_events & UV_WRITABLE)
		events |= FD_WRITABLE;
	return events;
}

static void fd_ready(uv_poll_t *uv, int status, int uv_events)
{
	struct fd_watch *watch = uv->data;
	struct loop *loop = watch->loop;
	uint64_t started = clock_ns(CLOCK_MONOTONIC);
	unsigned int events = events_of_uv(status, uv_events) & watch->events;

	if (events)
		watch->fn(watch->arg, events);
	// libuv stops the handle after an error, which may be over once it is read: a netlink socket that overflowed is then as
	// good as before.
	if (status < 0 && !uv_is_closing((uv_handle_t *)uv))
		fd_watch_set(watch, watch->events);
	note_hold(loop, started);
}

struct fd_watch *fd_watch_new(struct loop *loop, int fd, fd_watch_fn *fn, void *arg)
{
	struct fd_watch *watch = xnew(struct fd_watch);
	int r;

	loop->users++;
	watch->loop = loop;
	watch->fn = fn;
	watch->arg = arg;
	r = uv_poll_init(&loop->uv, &watch->uv, fd);
	assert(r == 0);
	(void)r;
	watch->uv.data = watch;
	return watch;
}

struct fd_watch *fd_watch_free(struct fd_watch *watch)
{
	if (!watch)
		return NULL;
	end_user(watch->loop, (uv_handle_t *)&watch->uv);
	return NULL;
}

void fd_watch_set(struct fd_watch *watch, unsigned int events)
{
	int uv_events = 0;

	watch->events = events;
	if (events & FD_READABLE)
		uv_events |= UV_READABLE;
	if (events & FD_WRITABLE)
		uv_events |= UV_WRITABLE;
	if (uv_events)
		uv_poll_start(&watch->uv, uv_events, fd_ready);
	else
		uv_poll_stop(&watch->uv);
}

// ---- signals ----

static void signal_came(uv_signal_t *uv, int signal_number)
{
	struct signal_watch *watch = uv->data;
	struct loop *loop = watch->loop;
	uint64_t started = clock_ns(CLOCK_MONOTONIC);

	watch->fn(watch->arg, signal_number);
	note_hold(loop, started);
}

struct signal_watch *signal_watch_new(struct loop *loop, int signal_number, signal_fn *fn, void *arg)
{
	struct signal_watch *watch = xnew(struct signal_watch);
	int r;

	loop->users++;
	watch->loop = loop;
	watch->fn = fn;
	watch->arg = arg;
	uv_signal_init(&loop->uv, &watch->uv);
	watch->uv.data = watch;
	r = uv_signal_start(&watch->uv, signal_came, signal_number);
	assert(r == 0);
	(void)r;
	return watch;
}

struct signal_watch *signal_watch_free(struct signal_watch *watch)
{
	if (!watch)
		return NULL;
	end_user(watch->loop, (uv_handle_t *)&watch->uv);
	return NULL;
}

// ---- back-off ----

// Counts the attempt.
static uint64_t next_cap(struct backoff *backoff)
{
	uint64_t cap = backoff->base_ms;
	unsigned int i;

	for (i = 0; i < backoff->attempt && cap < backoff->max_ms; i++)
		cap *= 2;
	if (cap > backoff->max_ms)
		cap = backoff->max_ms;
	if (backoff->attempt < 63)
		backoff->attempt++;
	return cap;
}

uint64_t backoff_next_ms(struct backoff *backoff)
{
	uint64_t cap = next_cap(backoff);

	return cap ? 1 + random_below(cap) : 0;
}

uint64_t backoff_next_late_ms(struct backoff *backoff)
{
	uint64_t cap = next_cap(backoff);

	return cap ? cap / 2 + 1 + random_below(cap - cap / 2) : 0;
}

void backoff_reset(struct backoff *backoff)
{
	backoff->attempt = 0;
}

// splitmix64 over a seed of the kernel's.
static uint64_t random_u64(void)
{
	static uint64_t state;
	static bool seeded;
	uint64_t z;

	if (!seeded) {
		if (getrandom(&state, sizeof(state), GRND_NONBLOCK) != (ssize_t)sizeof(state))
			state = clock_ns(CLOCK_MONOTONIC) ^ clock_ns(CLOCK_REALTIME) << 20;
		seeded = true;
	}
	state += 0x9e3779b97f4a7c15;
	z = state;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t random_below(uint64_t limit)
{
	uint64_t ceiling;
	uint64_t value;

	if (limit < 2)
		return 0;
	ceiling = UINT64_MAX - UINT64_MAX % limit;
	do {
		value = random_u64();
	} while (value >= ceiling);
	return value % limit;
}
