// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of udp/worker: what a thread does that loses its device.
#include "unit.h"

#include "udp/worker.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_S 30
#define TRIES 2000 // what goes wrong is a race

static void await_readable(int fd)
{
	struct pollfd polled = { .fd = fd, .events = POLLIN };
	assert_int_equal(poll(&polled, 1, DEADLINE_S * 1000), 1);
}

static void join(struct worker *worker)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += DEADLINE_S;
	check(pthread_timedjoin_np(worker->thread, NULL, &until) == 0,
	      "told to end, it goes on waiting");
	worker->started = false;
}

// Who hears of the loss ends all workers, at once.
static void test_told_to_end_when_the_device_is_lost(void **state)
{
	_Atomic(const struct route_table *) none = NULL;
	(void)state;
	for (int i = 0; i < TRIES; i++) {
		int ends[2], lost = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_int_equal(pipe(ends), 0);
		close(ends[0]); // so that polling the other says what it says of a TUN whose device is gone
		int in = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		struct worker *worker = worker_new(ends[1], in, dup(in), lost, &none);
		assert_int_equal(worker_start(worker), 0);
		worker_tell(worker, WORKER_RUN);
		await_readable(lost);
		worker_tell(worker, WORKER_QUIT);
		join(worker);
		worker_free(worker);
		close(lost);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_told_to_end_when_the_device_is_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
