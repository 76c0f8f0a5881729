// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the host lock: rivals are child processes that call themselves weftd or flanneld.
#include "unit.h"

#include "agent/host_lock.h"
#include "core/log.h"
#include "core/mem.h"
#include "netns.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

enum behaviour {
	RIVAL_IDLE = 0,
	RIVAL_LOCKS = 1 << 0,	     // takes the lock
	RIVAL_BINDS = 1 << 1,	     // binds the lock's name like a stranger
	RIVAL_ELSEWHERE = 1 << 2,    // in a network namespace of its own
	RIVAL_UNPRIVILEGED = 1 << 3, // as nobody
	RIVAL_DIES = 1 << 4,	     // stays as a zombie
};

struct rival {
	pid_t pid;
	int pipe; // closing it ends the rival
};

static bool bind_name(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	memcpy(address.sun_path + 1, "weft-agent", 10);
	return bind(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 11) == 0 &&
	       listen(fd, 1) == 0;
}

static bool behave(const char *name, unsigned int behaviour)
{
	struct host_lock *lock = NULL;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (behaviour & RIVAL_ELSEWHERE && unshare(CLONE_NEWNET) < 0)
		return false;
	if (behaviour & RIVAL_UNPRIVILEGED && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
		return false;
	if (prctl(PR_SET_NAME, name) < 0)
		return false;
	if (behaviour & RIVAL_LOCKS && host_lock_take(&lock, NULL) < 0)
		return false;
	return !(behaviour & RIVAL_BINDS) || bind_name();
}

static struct rival rival_start(const char *name, unsigned int behaviour)
{
	int ready[2], end[2];
	char byte = 0;
	pid_t pid;

	assert_int_equal(pipe2(ready, 0), 0);
	assert_int_equal(pipe2(end, 0), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(end[1]);
		byte = behave(name, behaviour) ? '+' : '-';
		if (write(ready[1], &byte, 1) == 1 && !(behaviour & RIVAL_DIES))
			(void)read(end[0], &byte, 1);
		_exit(0);
	}
	(void)close(ready[1]);
	(void)close(end[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	assert_int_equal(byte, '+');
	if (behaviour & RIVAL_DIES) {
		siginfo_t info;

		assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	}
	return (struct rival){ .pid = pid, .pipe = end[1] };
}

static void rival_stop(struct rival *rival)
{
	(void)close(rival->pipe);
	assert_int_equal(waitpid(rival->pid, NULL, 0), rival->pid);
}

static const struct {
	const char *what, *name;
	unsigned int behaviour;
	const char *message; // NULL: no obstacle
} cases[] = {
	{ "a weftd with the lock", "weftd", RIVAL_LOCKS,
	  "another weftd (pid %d) runs in this network namespace: stop it first" },
	{ "the lock under another name", "agent", RIVAL_LOCKS,
	  "another weftd (pid %d) runs in this network namespace: stop it first" },
	{ "a flanneld", "flanneld", RIVAL_IDLE,
	  "flanneld (pid %d) runs in this network namespace: stop it first" },
	{ "a flanneld elsewhere", "flanneld", RIVAL_ELSEWHERE, NULL },
	{ "a weftd elsewhere", "weftd", RIVAL_ELSEWHERE | RIVAL_LOCKS, NULL },
	{ "a dead flanneld", "flanneld", RIVAL_DIES, NULL },
	{ "somebody's flanneld", "flanneld", RIVAL_UNPRIVILEGED, NULL },
	{ "somebody with the name", "squatter", RIVAL_UNPRIVILEGED | RIVAL_BINDS, NULL },
	{ "flanneld in the name", "flanneld2", RIVAL_IDLE, NULL },
};

static void test_rivals(void **state)
{
	(void)state;
	netns_enter();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rival rival = rival_start(cases[i].name, cases[i].behaviour);
		struct host_lock *lock = NULL;
		struct err e = { 0 };
		char want[ERR_MSG_MAX];
		int r = host_lock_take(&lock, &e);

		if (cases[i].message) {
			(void)snprintf(want, sizeof(want), cases[i].message, (int)rival.pid);
			check(r == -EBUSY, "%s: no obstacle", cases[i].what);
			check(strcmp(e.msg, want) == 0, "%s: %s", cases[i].what, e.msg);
			check(!lock, "%s: a lock", cases[i].what);
		} else {
			check(r == 0, "%s: %s", cases[i].what, e.msg);
		}
		host_lock_release(lock);
		rival_stop(&rival);
	}
}

// Somebody keeps the name: two agents must still not run side by side.
static void test_an_older_weftd_without_the_lock(void **state)
{
	struct rival squatter, older;
	struct host_lock *lock = NULL;
	struct err e = { 0 };
	char want[ERR_MSG_MAX];

	(void)state;
	netns_enter();
	squatter = rival_start("squatter", RIVAL_UNPRIVILEGED | RIVAL_BINDS);
	// The parent of this test is older than any child, so the roles are swapped: the child looks for its parent.
	assert_int_equal(prctl(PR_SET_NAME, "weftd"), 0);
	older = (struct rival){ .pid = fork() };
	if (older.pid == 0) {
		int r = host_lock_take(&lock, &e);

		(void)snprintf(want, sizeof(want),
			       "weftd (pid %d) runs in this network namespace: stop it first",
			       (int)getppid());
		_exit(r == -EBUSY && strcmp(e.msg, want) == 0 ? 0 : 1);
	}
	{
		int status = -1;

		assert_int_equal(waitpid(older.pid, &status, 0), older.pid);
		assert_int_equal(status, 0);
	}
	// And a younger one is no obstacle to the older.
	older = rival_start("weftd", RIVAL_IDLE);
	assert_int_equal(host_lock_take(&lock, &e), 0);
	host_lock_release(lock);
	rival_stop(&older);
	rival_stop(&squatter);
	assert_int_equal(prctl(PR_SET_NAME, "test_host_lock"), 0);
}

static void test_twice_and_again(void **state)
{
	struct host_lock *lock = NULL, *second = NULL;
	struct err e = { 0 };

	(void)state;
	netns_enter();
	assert_int_equal(host_lock_take(&lock, &e), 0);
	assert_int_equal(host_lock_take(&second, &e), -EBUSY);
	assert_null(second);
	assert_null(host_lock_release(lock));
	assert_int_equal(host_lock_take(&lock, &e), 0);
	host_lock_release(lock);
	assert_null(host_lock_release(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rivals),
		cmocka_unit_test(test_an_older_weftd_without_the_lock),
		cmocka_unit_test(test_twice_and_again),
	};

	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
