// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of udp/sandbox, in children, for there is no way back.
#include "unit.h"

#include "udp/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FINE = 17 };

static int in_child(int (*body)(void))
{
	int status;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(body());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int calls_of_packets(void)
{
	int ends[2];
	char byte = 'x';
	struct pollfd polls = { .events = POLLIN };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) < 0 ||
	    sandbox_drop_capabilities(NULL) < 0 || sandbox_filter_calls(NULL) < 0)
		return 1;
	polls.fd = ends[1];
	if (write(ends[0], &byte, 1) != 1 || poll(&polls, 1, 1000) != 1 || read(ends[1], &byte, 1) != 1)
		return 2;
	return FINE;
}

static int other_calls(void)
{
	if (sandbox_drop_capabilities(NULL) < 0 || sandbox_filter_calls(NULL) < 0)
		return 1;
	if (open("/dev/null", O_RDONLY) >= 0 || errno != EPERM)
		return 2;
	if (socket(AF_INET, SOCK_DGRAM, 0) >= 0 || errno != EPERM)
		return 3;
	if (syscall(SYS_execve, "/bin/true", NULL, NULL) >= 0 || errno != EPERM)
		return 4;
	if (syscall(SYS_ioctl, 0, 0, 0) >= 0 || errno != EPERM)
		return 5;
	return syscall(SYS_ptrace, 0, 0, 0, 0) < 0 && errno == EPERM ? FINE : 6;
}

static int capabilities(void)
{
	if (sandbox_drop_capabilities(NULL) < 0)
		return 1;
	// For root without it, too.
	return chroot("/") < 0 && errno == EPERM ? FINE : 2;
}

static void test_calls_of_packets(void **state)
{
	(void)state;
	assert_int_equal(in_child(calls_of_packets), FINE);
}

static void test_other_calls(void **state)
{
	(void)state;
	assert_int_equal(in_child(other_calls), FINE);
}

static void test_capabilities(void **state)
{
	(void)state;
	assert_int_equal(in_child(capabilities), FINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls_of_packets),
		cmocka_unit_test(test_other_calls),
		cmocka_unit_test(test_capabilities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
