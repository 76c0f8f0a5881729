// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/mem.
#include "unit.h"

#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_never_null(void **state)
{
	_cleanup_free_ void *a = xmalloc(0), *b = xcalloc(0, 8), *c = xcalloc(8, 0);
	_cleanup_free_ void *d = xrealloc_array(NULL, 0, 8), *e = xmemdup("", 0);

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	assert_non_null(c);
	assert_non_null(d);
	assert_non_null(e);
}

static void test_copies(void **state)
{
	_cleanup_free_ char *whole = xstrdup("text"), *part = xstrndup("text", 2);
	_cleanup_free_ char *short_one = xstrndup("te", 50), *made = xasprintf("%d-%s", 7, "x");
	char unterminated[2] = { 'a', 'b' };
	_cleanup_free_ char *bounded = xstrndup(unterminated, 2);

	(void)state;
	assert_string_equal(whole, "text");
	assert_string_equal(part, "te");
	assert_string_equal(short_one, "te");
	assert_string_equal(made, "7-x");
	assert_string_equal(bounded, "ab");
	assert_null(xstrdup(NULL));
}

static void test_realloc_keeps(void **state)
{
	_cleanup_free_ int *numbers = xnew0_array(int, 4);

	(void)state;
	assert_int_equal(numbers[3], 0);
	numbers[3] = 9;
	numbers = xrealloc_array(numbers, 4000, sizeof(*numbers));
	assert_int_equal(numbers[3], 9);
}

enum too_much {
	TOO_MUCH_MALLOC,
	TOO_MUCH_CALLOC,
	TOO_MUCH_REALLOC,
	TOO_MUCH_PRODUCT,
	TOO_MUCH_COUNT
};

static void allocate_too_much(enum too_much kind)
{
	volatile size_t huge = SIZE_MAX / 4;
	void *memory = NULL;

	switch (kind) {
	case TOO_MUCH_MALLOC:
		memory = xmalloc(huge);
		break;
	case TOO_MUCH_CALLOC:
		memory = xcalloc(huge, 8);
		break;
	case TOO_MUCH_REALLOC:
		memory = xrealloc_array(NULL, huge, 1);
		break;
	case TOO_MUCH_PRODUCT:
		memory = xrealloc_array(NULL, SIZE_MAX / 8 + 2, 8); // wraps to a small size
		break;
	case TOO_MUCH_COUNT:
		break;
	}
	free(memory);
}

static void test_too_much_aborts(void **state)
{
	(void)state;
	for (int kind = 0; kind < TOO_MUCH_COUNT; kind++) {
		pid_t child = fork();
		int status = 0;

		if (child == 0) {
			const struct rlimit no_core = { 0, 0 };
			int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

			(void)setrlimit(RLIMIT_CORE, &no_core);
			(void)signal(SIGABRT, SIG_DFL);
			(void)dup2(null, STDERR_FILENO);
			allocate_too_much((enum too_much)kind);
			_exit(0);
		}
		assert_true(child > 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		// A sanitizer's allocator ends the process itself, with a status.
		check(!WIFEXITED(status) || WEXITSTATUS(status) != 0, "kind %d came back", kind);
	}
}

static void test_take(void **state)
{
	int number = 3, *pointer = &number;
	int fd = 7;

	(void)state;
	assert_ptr_equal(TAKE_PTR(pointer), &number);
	assert_null(pointer);
	assert_int_equal(TAKE_FD(fd), 7);
	assert_int_equal(fd, -1);
}

static void test_fd_closes_at_scope_end(void **state)
{
	int seen;

	(void)state;
	{
		_cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
		_cleanup_close_ int none = -1;

		(void)none;
		assert_true(fd >= 0);
		seen = fd;
		errno = EXDEV;
	}
	assert_int_equal(errno, EXDEV); // survives
	assert_int_equal(fcntl(seen, F_GETFD), -1);
	assert_int_equal(errno, EBADF);

	seen = open("/dev/null", O_RDONLY | O_CLOEXEC);
	fd_closep(&seen);
	assert_int_equal(seen, -1);
}

static void test_setup_and_trim(void **state)
{
	_cleanup_free_ char *large = NULL;

	(void)state;
	mem_setup();
	large = xmalloc(1024 * 1024);
	memset(large, 1, 1024 * 1024);
	mem_trim();
	assert_int_equal(large[1024 * 1024 - 1], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_null),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_realloc_keeps),
		cmocka_unit_test(test_too_much_aborts),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_fd_closes_at_scope_end),
		cmocka_unit_test(test_setup_and_trim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
