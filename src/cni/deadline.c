// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the time that a plugin may take.
#include "cni/deadline.h"

#include <signal.h>
#include <stdint.h>
#include <sys/time.h>
#include <time.h>

static int64_t work_end_ms, whole_end_ms;

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void wake(int number)
{
	(void)number;
}

// After the first time the alarm comes again and again, for the first may come just before a call that blocks.
static void arm(int64_t end_ms)
{
	int64_t left = end_ms - now_ms();
	struct itimerval timer = { .it_interval = { .tv_usec = 100 * 1000 } };

	if (left < 1)
		left = 1;
	timer.it_value.tv_sec = (time_t)(left / 1000);
	timer.it_value.tv_usec = (suseconds_t)(left % 1000 * 1000);
	(void)setitimer(ITIMER_REAL, &timer, NULL);
}

void deadline_start(unsigned int seconds)
{
	struct sigaction action = { .sa_handler = wake }; // no SA_RESTART: what blocks is to end

	(void)sigaction(SIGALRM, &action, NULL);
	whole_end_ms = now_ms() + (int64_t)seconds * 1000;
	work_end_ms = whole_end_ms - (int64_t)seconds * 200;
	arm(work_end_ms);
}

void deadline_extend(void)
{
	if (work_end_ms == whole_end_ms)
		return;
	work_end_ms = whole_end_ms;
	arm(work_end_ms);
}

int deadline_left_ms(void)
{
	int64_t left = work_end_ms - now_ms();

	return left > 0 ? (int)left : 0;
}

bool deadline_passed(void)
{
	return deadline_left_ms() == 0;
}
