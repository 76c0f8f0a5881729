// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of io/loop.
#include "unit.h"

#include "core/strbuf.h"
#include "io/loop.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;

static int setup(void **state)
{
	(void)state;
	loop = loop_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	loop = loop_free(loop);
	return 0;
}

// ---- timers ----

struct ticker {
	struct timer *timer;
	unsigned int count;
	unsigned int stop_at; // stops the loop
	uint64_t again_ms;
	bool frees;
	struct timer *victim; // freed in the callback
	uint64_t at_ms;
};

static void tick(void *arg)
{
	struct ticker *ticker = arg;

	ticker->count++;
	ticker->at_ms = loop_now_ms();
	if (ticker->victim)
		ticker->victim = timer_free(ticker->victim);
	if (ticker->frees)
		ticker->timer = timer_free(ticker->timer);
	else if (ticker->count < ticker->stop_at)
		timer_start(ticker->timer, ticker->again_ms);
	if (ticker->count == ticker->stop_at)
		loop_stop(loop);
}

static void test_timer_waits(void **state)
{
	struct ticker ticker = { .stop_at = 1 };
	uint64_t started = loop_now_ms();

	(void)state;
	ticker.timer = timer_new(loop, tick, &ticker);
	assert_false(timer_is_pending(ticker.timer));
	timer_start(ticker.timer, 30);
	assert_true(timer_is_pending(ticker.timer));
	assert_int_equal(ticker.count, 0);
	loop_run(loop);
	assert_int_equal(ticker.count, 1);
	assert_in_range(ticker.at_ms - started, 29, 5000);
	assert_false(timer_is_pending(ticker.timer));
	timer_free(ticker.timer);
}

static void test_timer_is_not_shortened_by_a_long_callback(void **state)
{
	struct ticker ticker = { .stop_at = 1 };
	uint64_t started;

	(void)state;
	ticker.timer = timer_new(loop, tick, &ticker);
	loop_turn(loop, 0);
	// The loop's own clock stands still meanwhile.
	poll(NULL, 0, 60);
	started = loop_now_ms();
	timer_start(ticker.timer, 50);
	loop_run(loop);
	assert_in_range(ticker.at_ms - started, 49, 5000);
	timer_free(ticker.timer);
}

static void test_timer_restarted_and_stopped(void **state)
{
	struct ticker ticker = { .stop_at = 1 };
	struct ticker stopped = { .stop_at = 1 };
	uint64_t started = loop_now_ms();

	(void)state;
	ticker.timer = timer_new(loop, tick, &ticker);
	stopped.timer = timer_new(loop, tick, &stopped);
	timer_start(ticker.timer, 0);
	timer_start(ticker.timer, 40);
	timer_start(stopped.timer, 0);
	timer_stop(stopped.timer);
	assert_false(timer_is_pending(stopped.timer));
	timer_start(stopped.timer, 5);
	timer_stop(stopped.timer);
	loop_run(loop);
	assert_int_equal(ticker.count, 1);
	assert_in_range(ticker.at_ms - started, 39, 5000);
	assert_int_equal(stopped.count, 0);
	timer_free(ticker.timer);
	timer_free(stopped.timer);
}

// One that always asks for the next turn leaves the others their share.
static void test_timer_of_next_turn(void **state)
{
	struct ticker greedy = { .stop_at = 1000000 };
	struct ticker other = { .stop_at = 1 };

	(void)state;
	greedy.timer = timer_new(loop, tick, &greedy);
	other.timer = timer_new(loop, tick, &other);
	timer_start(greedy.timer, 0);
	assert_int_equal(greedy.count, 0);
	loop_turn(loop, 1000);
	assert_int_equal(greedy.count, 1);
	loop_turn(loop, 1000);
	assert_int_equal(greedy.count, 2);
	timer_start(other.timer, 5);
	loop_run(loop);
	assert_int_equal(other.count, 1);
	assert_true(greedy.count < 1000000);
	timer_free(greedy.timer);
	timer_free(other.timer);
}

static void test_timer_freed_within(void **state)
{
	struct ticker first = { .stop_at = 100, .frees = true };
	struct ticker second = { .stop_at = 1 };
	struct ticker last = { .stop_at = 1 };

	(void)state;
	first.timer = timer_new(loop, tick, &first);
	second.timer = timer_new(loop, tick, &second);
	last.timer = timer_new(loop, tick, &last);
	first.victim = second.timer;
	timer_start(first.timer, 0);
	timer_start(second.timer, 0);
	timer_start(last.timer, 0);
	loop_run(loop);
	assert_int_equal(first.count, 1);
	assert_null(first.timer);
	assert_int_equal(second.count, 0);
	assert_int_equal(last.count, 1);
	timer_free(last.timer);
	assert_null(timer_free(NULL));
}

static void test_turn_has_an_end(void **state)
{
	uint64_t started = loop_now_ms();

	(void)state;
	loop_turn(loop, 20);
	assert_in_range(loop_now_ms() - started, 19, 5000);
}

static void test_stop_before_run(void **state)
{
	struct ticker ticker = { .stop_at = 1 };

	(void)state;
	loop_stop(loop);
	loop_run(loop);
	ticker.timer = timer_new(loop, tick, &ticker);
	timer_start(ticker.timer, 1);
	loop_run(loop);
	assert_int_equal(ticker.count, 1);
	timer_free(ticker.timer);
}

static void hold(void *arg)
{
	(void)arg;
	poll(NULL, 0, 25);
	loop_stop(loop);
}

static void test_longest_hold(void **state)
{
	struct timer *timer = timer_new(loop, hold, NULL);

	(void)state;
	timer_start(timer, 0);
	loop_run(loop);
	assert_in_range(loop_longest_hold_ms(loop), 24, 5000);
	assert_int_equal(loop_longest_hold_ms(loop), 0);
	timer_start(timer, 1);
	loop_run(loop);
	assert_in_range(loop_longest_hold_ms(loop), 24, 5000);
	timer_free(timer);
}

// ---- descriptors and signals ----

struct reader {
	struct fd_watch *watch;
	int fd;
	unsigned int events;
	unsigned int calls;
	char got[16];
	ssize_t len;
};

static void readable(void *arg, unsigned int events)
{
	struct reader *reader = arg;

	reader->calls++;
	reader->events = events;
	if (events & FD_READABLE)
		reader->len = read(reader->fd, reader->got, sizeof(reader->got));
	loop_stop(loop);
}

static void test_descriptor(void **state)
{
	struct reader reader = { 0 };
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	reader.fd = ends[0];
	reader.watch = fd_watch_new(loop, ends[0], readable, &reader);
	assert_int_equal(write(ends[1], "abc", 3), 3);
	loop_turn(loop, 10);
	assert_int_equal(reader.calls, 0); // watches nothing yet
	fd_watch_set(reader.watch, FD_READABLE);
	loop_run(loop);
	assert_int_equal(reader.events, FD_READABLE);
	assert_int_equal(reader.len, 3);
	fd_watch_set(reader.watch, 0);
	assert_int_equal(write(ends[1], "d", 1), 1);
	loop_turn(loop, 10);
	assert_int_equal(reader.calls, 1);
	fd_watch_set(reader.watch, FD_READABLE);
	loop_run(loop);
	close(ends[1]);
	loop_run(loop);
	assert_int_equal(reader.len, 0); // the end is read like data
	reader.watch = fd_watch_free(reader.watch);
	close(ends[0]);
}

static int udp_socket(struct sockaddr_in *address)
{
	socklen_t len = sizeof(*address);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)address, &len), 0);
	return fd;
}

// It is told of once, and what comes after it is told of, too.
static void test_descriptor_with_an_error_that_passes(void **state)
{
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_in peer = own;
	struct reader reader = { 0 };
	int fd;

	(void)state;
	reader.fd = udp_socket(&own);
	fd = udp_socket(&peer);
	assert_int_equal(connect(reader.fd, (struct sockaddr *)&peer, sizeof(peer)), 0);
	reader.watch = fd_watch_new(loop, reader.fd, readable, &reader);
	fd_watch_set(reader.watch, FD_READABLE);
	close(fd);
	assert_int_equal(write(reader.fd, "x", 1), 1); // nobody is there: refused
	loop_run(loop);
	assert_int_equal(reader.len, -1);
	loop_turn(loop, 10);
	assert_int_equal(reader.calls, 1);
	fd = udp_socket(&peer);
	assert_int_equal(sendto(fd, "abc", 3, 0, (struct sockaddr *)&own, sizeof(own)), 3);
	loop_turn(loop, 1000);
	assert_int_equal(reader.calls, 2);
	assert_int_equal(reader.len, 3);
	fd_watch_free(reader.watch);
	close(reader.fd);
	close(fd);
}

static void test_descriptor_writable(void **state)
{
	struct reader reader = { 0 };
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	reader.watch = fd_watch_new(loop, ends[1], readable, &reader);
	fd_watch_set(reader.watch, FD_WRITABLE);
	loop_run(loop);
	assert_int_equal(reader.events, FD_WRITABLE);
	fd_watch_free(reader.watch);
	close(ends[0]);
	close(ends[1]);
}

// A number that is closed and given out again is another descriptor.
static void test_descriptor_number_reused(void **state)
{
	struct reader first = { 0 };
	struct reader second = { 0 };
	int old[2];
	int new[2];

	(void)state;
	assert_int_equal(pipe(old), 0);
	first.fd = old[0];
	first.watch = fd_watch_new(loop, old[0], readable, &first);
	fd_watch_set(first.watch, FD_READABLE);
	loop_turn(loop, 0);
	fd_watch_free(first.watch);
	close(old[0]);
	close(old[1]);
	assert_int_equal(pipe(new), 0);
	assert_int_equal(new[0], old[0]);
	second.fd = new[0];
	second.watch = fd_watch_new(loop, new[0], readable, &second);
	fd_watch_set(second.watch, FD_READABLE);
	assert_int_equal(write(new[1], "x", 1), 1);
	loop_run(loop);
	assert_int_equal(first.calls, 0);
	assert_int_equal(second.calls, 1);
	fd_watch_free(second.watch);
	close(new[0]);
	close(new[1]);
}

static void signalled(void *arg, int signal_number)
{
	*(int *)arg = signal_number;
	loop_stop(loop);
}

static void test_signal(void **state)
{
	int got = 0;
	struct signal_watch *watch = signal_watch_new(loop, SIGUSR1, signalled, &got);

	(void)state;
	raise(SIGUSR1);
	assert_int_equal(got, 0);
	loop_run(loop);
	assert_int_equal(got, SIGUSR1);
	assert_null(signal_watch_free(watch));
}

// ---- back-off ----

static void test_backoff(void **state)
{
	struct backoff backoff = { .base_ms = 100, .max_ms = 5000 };
	uint64_t cap = 100;
	uint64_t highest = 0;
	int i;

	(void)state;
	for (i = 0; i < 100; i++) {
		uint64_t next = backoff_next_ms(&backoff);

		assert_in_range(next, 1, cap);
		if (next > highest)
			highest = next;
		cap = cap * 2 < 5000 ? cap * 2 : 5000;
	}
	assert_true(highest > 2500);
	backoff_reset(&backoff);
	assert_in_range(backoff_next_ms(&backoff), 1, 100);
	assert_in_range(backoff_next_late_ms(&backoff), 101, 201);
	assert_in_range(backoff_next_late_ms(&backoff), 201, 401);
}

static void test_random_below(void **state)
{
	unsigned int counts[10] = { 0 };
	int i;

	(void)state;
	assert_int_equal(random_below(0), 0);
	assert_int_equal(random_below(1), 0);
	for (i = 0; i < 10000; i++) {
		uint64_t n = random_below(10);

		assert_true(n < 10);
		counts[n]++;
	}
	for (i = 0; i < 10; i++)
		assert_in_range(counts[i], 800, 1200);
	assert_true(random_below(UINT64_MAX) != random_below(UINT64_MAX));
}

static void test_clocks(void **state)
{
	uint64_t now = loop_now_ms();
	uint64_t boot = loop_boottime_ms();

	(void)state;
	assert_true(boot >= now);
	assert_true(loop_now_ms() >= now);
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		LOOP_TEST(test_timer_waits),
		LOOP_TEST(test_timer_is_not_shortened_by_a_long_callback),
		LOOP_TEST(test_timer_restarted_and_stopped),
		LOOP_TEST(test_timer_of_next_turn),
		LOOP_TEST(test_timer_freed_within),
		LOOP_TEST(test_turn_has_an_end),
		LOOP_TEST(test_stop_before_run),
		LOOP_TEST(test_longest_hold),
		LOOP_TEST(test_descriptor),
		LOOP_TEST(test_descriptor_with_an_error_that_passes),
		LOOP_TEST(test_descriptor_writable),
		LOOP_TEST(test_descriptor_number_reused),
		LOOP_TEST(test_signal),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_random_below),
		cmocka_unit_test(test_clocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
