// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: starting a program that puts itself into the background.
#include "io/launch.h"

#include "core/mem.h"
#include "core/text.h"
#include "io/daemon.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 5 // such a program is at its end soon
#define DEADLINE_MS 10000
#define SAID_MAX 200

struct launch {
	pid_t pid;
	int said_fd; // a file in memory, for who reads a pipe waits for all who have it
	struct timer *timer;
	uint64_t deadline_ms;
	launch_fn *fn;
	void *arg;
};

// The last line: what comes before is a banner.
static void read_said(const struct launch *launch, char ret[static SAID_MAX])
{
	off_t size = lseek(launch->said_fd, 0, SEEK_END);
	off_t from = size > SAID_MAX - 1 ? size - (SAID_MAX - 1) : 0;
	ssize_t len = pread(launch->said_fd, ret, SAID_MAX - 1, from);
	ret[len > 0 ? len : 0] = '\0';
	size_t end = strlen(ret);
	while (end > 0 && ret[end - 1] == '\n')
		ret[--end] = '\0';
	char *line = strrchr(ret, '\n');
	if (line)
		memmove(ret, line + 1, strlen(line + 1) + 1);
	text_sanitize(ret);
}

static void on_timer(void *arg)
{
	struct launch *launch = arg;
	char said[SAID_MAX];
	int status = 0;
	bool ended = daemon_ended(launch->pid, &status);
	if (!ended && loop_now_ms() < launch->deadline_ms) {
		timer_start(launch->timer, LOOK_MS);
		return;
	}
	int result = !ended ? -ETIMEDOUT : WIFEXITED(status) ? WEXITSTATUS(status) : -ECHILD;
	if (!ended && kill(launch->pid, SIGKILL) == 0)
		(void)waitpid(launch->pid, NULL, 0);
	read_said(launch, said);
	launch->fn(launch->arg, result, said);
}

int launch_start(struct loop *loop, const char *const *argv, const char *const *environment,
		 launch_fn *fn, void *arg, struct launch **ret, struct err *e)
{
	struct launch *launch = xnew(struct launch);
	launch->said_fd = memfd_create("said", MFD_CLOEXEC);
	launch->fn = fn;
	launch->arg = arg;
	struct daemon_request request = { argv, environment, .output = -1, .errors = launch->said_fd };
	int r = launch->said_fd < 0 ? err_set(e, -errno, "%s: %s", argv[0], strerror(errno))
				    : daemon_start(&request, &launch->pid, e);
	if (r < 0) {
		launch_free(launch);
		return r;
	}
	launch->deadline_ms = loop_now_ms() + DEADLINE_MS;
	launch->timer = timer_new(loop, on_timer, launch);
	timer_start(launch->timer, LOOK_MS);
	*ret = launch;
	return 0;
}

struct launch *launch_free(struct launch *launch)
{
	if (!launch)
		return NULL;
	timer_free(launch->timer);
	if (launch->said_fd >= 0)
		close(launch->said_fd);
	free(launch);
	return NULL;
}
