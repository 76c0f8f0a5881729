// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the event loop (libuv below): timers, descriptors, signals. One thread. Callbacks never run
// before the call that asked for them has returned.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct loop *loop_new(void);
struct loop *loop_free(struct loop *loop); // runs the pending closes; every timer and watch must be freed before
size_t loop_users(const struct loop *loop); // how many timers and watches there are
void loop_run(struct loop *loop);	    // until loop_stop
void loop_stop(struct loop *loop);
// One turn, waiting at most timeout_ms for something to do; for tests and one-shot commands.
void loop_turn(struct loop *loop, uint64_t timeout_ms);
uint64_t loop_now_ms(void);	 // CLOCK_MONOTONIC, not cached
uint64_t loop_boottime_ms(void); // CLOCK_BOOTTIME: goes on while the machine sleeps; for leases

// The longest time that one callback held the loop since the last call, in milliseconds.
uint64_t loop_longest_hold_ms(struct loop *loop);

typedef void timer_fn(void *arg);
struct timer;
struct timer *timer_new(struct loop *loop, timer_fn *fn, void *arg);
struct timer *timer_free(struct timer *timer);
void timer_start(struct timer *timer,
		 uint64_t delay_ms); // one shot; a running one is re-armed. 0: the next turn
void timer_stop(struct timer *timer);
bool timer_is_pending(const struct timer *timer);

enum fd_event { FD_READABLE = 1, FD_WRITABLE = 2 };
typedef void fd_watch_fn(void *arg, unsigned int events);
struct fd_watch;
struct fd_watch *fd_watch_new(struct loop *loop, int fd, fd_watch_fn *fn,
			      void *arg); // watches nothing yet; does not own fd
struct fd_watch *fd_watch_free(struct fd_watch *watch);
void fd_watch_set(struct fd_watch *watch, unsigned int events); // 0: stop

typedef void signal_fn(void *arg, int signal_number);
struct signal_watch;
struct signal_watch *signal_watch_new(struct loop *loop, int signal_number, signal_fn *fn, void *arg);
struct signal_watch *signal_watch_free(struct signal_watch *watch);

// Back-off with full jitter: state for one thing that is retried. Starts at base_ms, doubles, stops
// at max_ms.
struct backoff {
	uint64_t base_ms;
	uint64_t max_ms;
	unsigned int attempt;
};
uint64_t backoff_next_ms(struct backoff *backoff); // counts the attempt
// The same from the later half of the time: for what must be let alone for a while.
uint64_t backoff_next_late_ms(struct backoff *backoff);
void backoff_reset(struct backoff *backoff);
uint64_t random_below(uint64_t limit); // uniform; not for keys
