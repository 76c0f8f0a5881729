// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: starting programs that outlive us.
#include "io/daemon.h"

#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENVIRONMENT_MAX = 8 };

// Of ours a program is only told how to report its own faults, in builds that look for them.
static void choose_environment(const char *ret[static ENVIRONMENT_MAX + 1])
{
	static const char *const names[] = { "ASAN_OPTIONS=", "LSAN_OPTIONS=", "TSAN_OPTIONS=",
					     "UBSAN_OPTIONS=" };
	size_t count = 0;
	for (char **at = environ; *at; at++)
		for (size_t i = 0; i < ARRAY_SIZE(names) && count < ENVIRONMENT_MAX; i++)
			if (strncmp(*at, names[i], strlen(names[i])) == 0)
				ret[count++] = *at;
	ret[count] = NULL;
}

static void set_signals(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(attributes, &none);
	posix_spawnattr_setsigdefault(attributes, &all);
	posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						     POSIX_SPAWN_SETSIGDEF);
}

static void set_stdio(posix_spawn_file_actions_t *actions, const struct daemon_request *request)
{
	const int fds[] = { -1, request->output, request->errors };
	for (int i = 0; i < (int)ARRAY_SIZE(fds); i++)
		if (fds[i] < 0)
			posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0);
		else
			posix_spawn_file_actions_adddup2(actions, fds[i], i);
	posix_spawn_file_actions_addchdir_np(actions, "/");
}

int daemon_start(const struct daemon_request *request, pid_t *ret, struct err *e)
{
	const char *own[ENVIRONMENT_MAX + 1], *const *environment = request->environment;
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	pid_t pid;
	if (!environment) {
		choose_environment(own);
		environment = own;
	}
	posix_spawn_file_actions_init(&actions);
	set_stdio(&actions, request);
	posix_spawnattr_init(&attributes);
	set_signals(&attributes);
	int r = posix_spawnp(&pid, request->argv[0], &actions, &attributes,
			     (char *const *)(uintptr_t)request->argv,
			     (char *const *)(uintptr_t)environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	if (r != 0)
		return err_set(e, -r, "%s: %s", request->argv[0], strerror(r));
	*ret = pid;
	return 0;
}

bool daemon_ended(pid_t pid, int *ret_status)
{
	return waitpid(pid, ret_status, WNOHANG) == pid;
}
