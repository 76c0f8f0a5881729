// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: for tests that need a kernel: a fresh network namespace for each, and programs run in it as a second pair of eyes.

#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

#define ARGUMENTS_MAX 32

void netns_enter(void)
{
	const char *require = getenv("WEFT_REQUIRE_ALL");

	if (unshare(CLONE_NEWNET) < 0) {
		if (require && strcmp(require, "1") == 0)
			fail_msg("no network namespace of our own: %s (run as root)", strerror(errno));
		print_message("skipped: no network namespace of our own: %s (run as root)\n",
			      strerror(errno));
		skip();
	}
	netns_run("ip", "link", "set", "lo", "up", NULL);
}

static void gather(const char *program, va_list list, char *ret[static ARGUMENTS_MAX])
{
	size_t count = 0;

	ret[count++] = (char *)program;
	do {
		assert_true(count < ARGUMENTS_MAX);
		ret[count] = va_arg(list, char *);
	} while (ret[count++]);
}

static pid_t start(char *const argv[], int output)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int r;

	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	if (output >= 0)
		assert_int_equal(posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO), 0);
	r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r != 0)
		fail_msg("%s: %s", argv[0], strerror(r));
	return pid;
}

static void finish(char *const argv[], pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s %s %s ...: status %d", argv[0], argv[1], argv[2], status);
}

void netns_run(const char *program, ...)
{
	char *argv[ARGUMENTS_MAX];
	va_list list;

	va_start(list, program);
	gather(program, list, argv);
	va_end(list);
	finish(argv, start(argv, -1));
}

static json_t *kept;

static json_t *run_json(char *const argv[])
{
	json_error_t error;
	json_t *value;
	int ends[2];
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = start(argv, ends[1]);
	close(ends[1]);
	value = json_loadfd(ends[0], 0, &error);
	close(ends[0]);
	finish(argv, pid);
	if (!value)
		fail_msg("%s %s: %s", argv[0], argv[1], error.text);
	// Callers look into it where they stand: it is kept until the program ends.
	if (!kept)
		kept = json_array();
	assert_int_equal(json_array_append(kept, value), 0);
	return value;
}

json_t *netns_json(const char *program, ...)
{
	char *argv[ARGUMENTS_MAX];
	va_list list;

	va_start(list, program);
	gather(program, list, argv);
	va_end(list);
	return run_json(argv);
}

size_t netns_json_count(const char *program, ...)
{
	char *argv[ARGUMENTS_MAX];
	json_t *value;
	size_t count;
	va_list list;

	va_start(list, program);
	gather(program, list, argv);
	va_end(list);
	value = run_json(argv);
	assert_true(json_is_array(value));
	count = json_array_size(value);
	json_decref(value);
	return count;
}

const char *json_text_of(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_string(value))
		fail_msg("no text '%s' in %s", name, json_dumps(object, 0));
	return json_string_value(value);
}

long json_int_of(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_integer(value))
		fail_msg("no number '%s' in %s", name, json_dumps(object, 0));
	return (long)json_integer_value(value);
}

int json_bool_of(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_boolean(value))
		fail_msg("no truth value '%s' in %s", name, json_dumps(object, 0));
	return json_is_true(value);
}
