// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: starting programs that outlive us.
#include "io/daemon.h"

#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENVIRONMENT_MAX = 8 };

// Of ours a program is only told how to report its own faults, in builds that look for them.
static void choose_environment(char *ret[static ENVIRONMENT_MAX + 1])
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

// Returns an errno.
static int spawn(char *const argv[], int words, pid_t *ret)
{
	char *environment[ENVIRONMENT_MAX + 1];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	choose_environment(environment);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, words, STDOUT_FILENO);
	posix_spawn_file_actions_addchdir_np(&actions, "/");
	posix_spawnattr_init(&attributes);
	set_signals(&attributes);
	int r = posix_spawn(ret, argv[0], &actions, &attributes, argv, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

int daemon_start(char *const argv[], pid_t *ret, int *ret_words, struct err *e)
{
	int words[2];
	pid_t pid;
	if (pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_set(e, -errno, "pipe: %s", strerror(errno));
	int r = spawn(argv, words[1], &pid);
	close(words[1]);
	if (r != 0) {
		close(words[0]);
		return err_set(e, -r, "%s: %s", argv[0], strerror(r));
	}
	*ret = pid;
	*ret_words = words[0];
	return 0;
}

bool daemon_ended(pid_t pid, int *ret_status)
{
	return waitpid(pid, ret_status, WNOHANG) == pid;
}

const char *daemon_status_str(int status, char buf[static 32])
{
	if (WIFSIGNALED(status))
		(void)text_format(buf, 32, "signal %d", WTERMSIG(status));
	else
		(void)text_format(buf, 32, "exit status %d", WEXITSTATUS(status));
	return buf;
}
