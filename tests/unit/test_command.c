// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of io/command: what a command is given, what is kept of what it says, and that nothing of it stays.
#include "unit.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "io/command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE_MS 30000

static struct loop *loop;

struct seen {
	struct command *command;
	bool ended;
	int r;
	char *output;
	bool is_whole;
	struct err e;
};

static void on_end(void *arg, int r, const char *output, bool is_whole, const struct err *e)
{
	struct seen *seen = arg;
	check(!seen->ended, "it ended twice");
	seen->ended = true;
	seen->r = r;
	seen->output = xstrdup(output);
	seen->is_whole = is_whole;
	seen->e = *e;
	seen->command = command_free(seen->command);
}

static void begin(struct seen *seen, const char *text, const char *input, uint64_t timeout_ms)
{
	static char *const environment[] = { (char *)"PATH=/usr/bin:/bin", (char *)"GREETING=hello",
					     NULL };
	struct command_request request = { text, environment, input, timeout_ms };
	struct err e = { 0 };
	*seen = (struct seen){ 0 };
	int r = command_start(loop, &request, on_end, seen, &seen->command, &e);
	check(r == 0, "%s: %s", text, e.msg);
	check(!seen->ended, "called back before it returned");
}

static void await(struct seen *seen)
{
	uint64_t until = loop_now_ms() + DEADLINE_MS;
	while (!seen->ended && loop_now_ms() < until)
		loop_turn(loop, 100);
	check(seen->ended, "it does not end");
}

static void seen_free(struct seen *seen)
{
	free(seen->output);
}

static int setup(void **state)
{
	(void)state;
	loop = loop_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(loop_users(loop), 0);
	loop = loop_free(loop);
	return 0;
}

static void test_ends(void **state)
{
	static const struct {
		const char *text;
		const char *input;
		uint64_t timeout_ms;
		int r;
		const char *output;
		const char *error; // part of it
	} cases[] = {
		{ "true", "", 0, 0, "", NULL },
		{ "echo '  one'; echo two >&2; echo", "", 0, 0, "one\ntwo", NULL },
		{ "cat", "line\n", 0, 0, "line", NULL },
		{ "read a; read b; echo \"$b-$a\"", "1\n2\n", 0, 0, "2-1", NULL },
		{ "echo \"$GREETING $HOME\"", "", 0, 0, "hello", NULL },
		{ "printf 'a b' | tr ' ' '-' && echo c", "", 0, 0, "a-bc", NULL },
		{ "echo no such thing; exit 3", "", 0, -EIO, "no such thing",
		  "it failed with exit status 3: no such thing" },
		{ "nonesuch-command", "", 0, -EIO, NULL, "exit status 127: " },
		{ "printf 'a\\033[2Jb\\377c'; false", "", 0, -EIO, NULL, "exit status 1: a?[2Jb?c" },
		{ "kill -TERM $$", "", 0, -EIO, "", "it was killed by signal 15" },
		{ "sleep 100", "", 300, -ETIMEDOUT, "", "it did not end within 300 ms and was killed" },
		{ "trap '' TERM INT; while :; do sleep 1; done", "", 300, -ETIMEDOUT, "",
		  "within 300 ms" },
		{ "yes", "", 0, -EFBIG, NULL, "it wrote more than 1048576 bytes and was killed: y" },
		// Its pipe may be kept open by somebody else.
		{ "setsid sleep 2 & echo done", "", 0, 0, "done", NULL },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seen seen;
		begin(&seen, cases[i].text, cases[i].input,
		      cases[i].timeout_ms ? cases[i].timeout_ms : DEADLINE_MS);
		await(&seen);
		check(seen.r == cases[i].r, "%s: %d %s", cases[i].text, seen.r, seen.e.msg);
		check(!cases[i].output || strcmp(seen.output, cases[i].output) == 0, "%s: \"%s\"",
		      cases[i].text, seen.output);
		check(!cases[i].error || strstr(seen.e.msg, cases[i].error), "%s: %s",
		      cases[i].text, seen.e.msg);
		seen_free(&seen);
	}
}

static void test_output_is_bounded(void **state)
{
	struct seen seen;
	(void)state;
	begin(&seen, "head -c 4096 /dev/zero | tr '\\0' x", "", DEADLINE_MS);
	await(&seen);
	assert_int_equal(strlen(seen.output), COMMAND_OUTPUT_MAX);
	assert_true(seen.is_whole);
	seen_free(&seen);
	begin(&seen, "head -c 300000 /dev/zero | tr '\\0' x", "", DEADLINE_MS);
	await(&seen);
	assert_int_equal(seen.r, 0);
	assert_int_equal(strlen(seen.output), COMMAND_OUTPUT_MAX);
	assert_false(seen.is_whole);
	seen_free(&seen);
}

// More than a pipe holds, and nobody reads it.
static void test_input_that_nobody_reads(void **state)
{
	_cleanup_free_ char *input = xmalloc(200001);
	struct seen seen;
	(void)state;
	memset(input, 'x', 200000);
	input[200000] = '\0';
	begin(&seen, "true", input, DEADLINE_MS);
	await(&seen);
	assert_int_equal(seen.r, 0);
	seen_free(&seen);
	begin(&seen, "wc -c", input, DEADLINE_MS);
	await(&seen);
	assert_string_equal(seen.output, "200000");
	seen_free(&seen);
}

static bool is_alive(const char *number)
{
	char path[64], state[2] = "";
	FILE *file;
	// A killed one may be a zombie of init's for a moment.
	(void)text_format(path, sizeof(path), "/proc/%s/stat", number);
	file = fopen(path, "r");
	if (!file)
		return false;
	bool is_read = fscanf(file, "%*d (%*[^)]) %1s", state) == 1;
	(void)fclose(file);
	return is_read && *state != 'Z' && *state != 'X';
}

static void await_death(const char *number)
{
	uint64_t until = loop_now_ms() + DEADLINE_MS;
	while (is_alive(number) && loop_now_ms() < until)
		usleep(1000);
	check(!is_alive(number), "process %s is still there", number);
}

// What it puts into the background goes with it: at its end, when its time is up, and when nobody is interested any more.
static void test_nothing_stays(void **state)
{
	struct seen seen;
	(void)state;
	begin(&seen, "sleep 1000 >/dev/null 2>&1 & echo $!", "", DEADLINE_MS);
	await(&seen);
	assert_int_equal(seen.r, 0);
	await_death(seen.output);
	seen_free(&seen);

	begin(&seen, "sleep 1000 & echo $!; wait", "", 300);
	await(&seen);
	assert_int_equal(seen.r, -ETIMEDOUT);
	await_death(seen.output);
	seen_free(&seen);

	char name[] = "/tmp/weft-command-XXXXXX";
	int fd = mkstemp(name);
	assert_true(fd >= 0);
	_cleanup_free_ char *text = xasprintf("sleep 1000 & printf '%%s ' $! $$ >%s; wait", name);
	char pids[64] = "";
	begin(&seen, text, "", DEADLINE_MS);
	uint64_t until = loop_now_ms() + DEADLINE_MS;
	while (pread(fd, pids, sizeof(pids) - 1, 0) == 0 && loop_now_ms() < until)
		loop_turn(loop, 10);
	seen.command = command_free(seen.command);
	assert_false(seen.ended);
	char *second = strchr(pids, ' ');
	assert_non_null(second);
	*second++ = '\0';
	*strchr(second, ' ') = '\0';
	await_death(pids);
	await_death(second);
	(void)close(fd);
	(void)unlink(name);
}

static void test_many_at_once(void **state)
{
	struct seen seen[16];
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
		begin(&seen[i], i % 2 ? "sleep 0.1; echo $$" : "echo $$; exit 1", "", DEADLINE_MS);
	for (size_t i = 0; i < ARRAY_SIZE(seen); i++) {
		await(&seen[i]);
		assert_int_equal(seen[i].r, i % 2 ? 0 : -EIO);
		seen_free(&seen[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_output_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_input_that_nobody_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
