// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of io/child: what a child is given, what is taken and kept of what it says, how it ends, and that nothing of it stays.
#include "unit.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "io/child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS 30000
#define LONG_BYTES ((size_t)3 * 1024 * 1024)

static struct loop *loop;

struct seen {
	struct child *child;
	struct strbuf output; // as it comes
	bool ended;
	int r;
	char *said;
	bool is_whole;
	struct err e;
};

static void on_output(void *arg, const char *data, size_t len)
{
	struct seen *seen = arg;
	check(!seen->ended, "output behind its end");
	(void)strbuf_add(&seen->output, data, len);
}

static void on_end(void *arg, int r, const char *said, bool is_whole, const struct err *e)
{
	struct seen *seen = arg;
	check(!seen->ended, "it ended twice");
	seen->ended = true;
	seen->r = r;
	seen->said = xstrdup(said);
	seen->is_whole = is_whole;
	seen->e = *e;
	seen->child = child_free(seen->child);
}

static void start(struct seen *seen, const struct child_request *request)
{
	struct err e = { 0 };
	*seen = (struct seen){ .output = STRBUF_INIT(LONG_BYTES * 2) };
	int r = child_start(loop, request, on_end, seen, &seen->child, &e);
	check(r == 0, "%s: %s", request->argv[2], e.msg);
	check(!seen->ended && seen->output.len == 0, "called back before it returned");
}

// A shell with an environment of its own, all of whose words are kept.
static void begin(struct seen *seen, const char *text, const char *input, uint64_t timeout_ms)
{
	static char *const environment[] = { (char *)"PATH=/usr/bin:/bin", (char *)"GREETING=hello",
					     NULL };
	struct child_request request = { .argv = { "sh", "-c", text },
					 .environment = environment,
					 .input = input,
					 .timeout_ms = timeout_ms };
	start(seen, &request);
}

static void await(struct seen *seen)
{
	uint64_t until = loop_now_ms() + DEADLINE_MS;
	while (!seen->ended && loop_now_ms() < until)
		loop_turn(loop, 100);
	check(seen->ended, "it does not end");
}

// A shell with our environment, whose output comes as it comes.
static void stream(struct seen *seen, const char *text, const char *input, uint64_t timeout_ms)
{
	struct child_request request = { .argv = { "sh", "-c", text },
					 .input = input,
					 .timeout_ms = timeout_ms,
					 .output = on_output };
	start(seen, &request);
	await(seen);
}

static void seen_free(struct seen *seen)
{
	strbuf_free(&seen->output);
	free(seen->said);
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

static void test_streams(void **state)
{
	static const struct {
		const char *text, *input, *output;
		int r;
		const char *error;
	} cases[] = {
		{ "echo hello; cat", "input", "hello\ninput", 0, "" },
		{ "exit 0", "never read", "", 0, "" },
		{ "echo \"$GREETING\"", NULL, "ours\n", 0, "" },
		{ "echo out; echo no >&2; echo more >&2; exit 3", NULL, "out\n", -EIO,
		  "it failed with exit status 3: no?more" },
		{ "exit 1", NULL, "", -EIO, "it failed with exit status 1" },
		{ "kill -9 $$", NULL, "", -EIO, "it was killed by signal 9" },
		{ "exec >&- 2>&-; read x; exit 4", NULL, "", -EIO, "it failed with exit status 4" },
		{ "echo out; yes >&2", NULL, "out\n", -EFBIG,
		  "it wrote more than 1048576 bytes and was killed: y?" },
	};
	(void)state;
	assert_int_equal(setenv("GREETING", "ours", 1), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct seen seen;
		stream(&seen, cases[i].text, cases[i].input, DEADLINE_MS);
		check(seen.r == cases[i].r, "%s: %d", cases[i].text, seen.r);
		check(strcmp(strbuf_text(&seen.output), cases[i].output) == 0, "%s: %s",
		      cases[i].text, strbuf_text(&seen.output));
		check(seen.r == -EFBIG
			      ? strncmp(seen.e.msg, cases[i].error, strlen(cases[i].error)) == 0
			      : strcmp(seen.e.msg, cases[i].error) == 0,
		      "%s: %s", cases[i].text, seen.e.msg);
		seen_free(&seen);
	}
}

static void test_much_both_ways(void **state)
{
	_cleanup_free_ char *input = xmalloc(LONG_BYTES + 1);
	struct seen seen;
	(void)state;
	memset(input, 'x', LONG_BYTES);
	input[LONG_BYTES] = '\0';
	stream(&seen, "cat", input, DEADLINE_MS);
	assert_int_equal(seen.r, 0);
	assert_int_equal(seen.output.len, LONG_BYTES);
	seen_free(&seen);
}

static void test_one_that_does_not_end(void **state)
{
	struct seen seen;
	(void)state;
	stream(&seen, "exec sleep 1000", NULL, 50);
	assert_int_equal(seen.r, -ETIMEDOUT);
	assert_string_equal(seen.e.msg, "it did not end within 50 ms and was killed");
	seen_free(&seen);
}

static void test_no_such_program(void **state)
{
	struct child_request request = { .argv = { "no-such-program" }, .timeout_ms = 1000 };
	struct child *child = NULL;
	struct err e = { 0 };
	(void)state;
	assert_int_equal(child_start(loop, &request, on_end, NULL, &child, &e), -ENOENT);
	assert_string_equal(e.msg, "no-such-program: No such file or directory");
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); // no child of ours is left
	assert_int_equal(errno, ECHILD);
}

static void test_freed_while_it_runs(void **state)
{
	struct child_request request = { .argv = { "sleep", "1000" }, .timeout_ms = 100000 };
	struct child *child = NULL;
	struct err e = { 0 };
	(void)state;
	assert_int_equal(child_start(loop, &request, on_end, NULL, &child, &e), 0);
	child_free(child);
}

static void test_ends(void **state)
{
	static const struct {
		const char *text;
		const char *input;
		uint64_t timeout_ms;
		int r;
		const char *said;
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
		check(!cases[i].said || strcmp(seen.said, cases[i].said) == 0, "%s: \"%s\"",
		      cases[i].text, seen.said);
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
	assert_int_equal(strlen(seen.said), CHILD_SAID_MAX);
	assert_true(seen.is_whole);
	seen_free(&seen);
	begin(&seen, "head -c 300000 /dev/zero | tr '\\0' x", "", DEADLINE_MS);
	await(&seen);
	assert_int_equal(seen.r, 0);
	assert_int_equal(strlen(seen.said), CHILD_SAID_MAX);
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
	assert_string_equal(seen.said, "200000");
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
	await_death(seen.said);
	seen_free(&seen);

	begin(&seen, "sleep 1000 & echo $!; wait", "", 300);
	await(&seen);
	assert_int_equal(seen.r, -ETIMEDOUT);
	await_death(seen.said);
	seen_free(&seen);

	char name[] = "/tmp/weft-child-XXXXXX";
	int fd = mkstemp(name);
	assert_true(fd >= 0);
	_cleanup_free_ char *text = xasprintf("sleep 1000 & printf '%%s ' $! $$ >%s; wait", name);
	char pids[64] = "";
	begin(&seen, text, "", DEADLINE_MS);
	uint64_t until = loop_now_ms() + DEADLINE_MS;
	while (pread(fd, pids, sizeof(pids) - 1, 0) == 0 && loop_now_ms() < until)
		loop_turn(loop, 10);
	seen.child = child_free(seen.child);
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

// A child of a process that is killed is killed by the kernel.
static void test_dies_with_us(void **state)
{
	int ends[2];
	char number[32] = "";
	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	if (pid == 0) {
		_cleanup_free_ char *text =
			xasprintf("echo $$ >/proc/$PPID/fd/%d; exec sleep 1000", ends[1]);
		struct child_request request = { .argv = { "sh", "-c", text },
						 .timeout_ms = DEADLINE_MS };
		struct child *child = NULL;
		(void)alarm(DEADLINE_MS / 1000); // should it not be killed
		if (child_start(loop_new(), &request, on_end, NULL, &child, NULL) == 0)
			(void)pause();
		_exit(1);
	}
	(void)close(ends[1]);
	assert_true(pid > 0);
	ssize_t len = read(ends[0], number, sizeof(number) - 1);
	assert_true(len > 1);
	number[len - 1] = '\0'; // its newline
	assert_true(is_alive(number));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	await_death(number);
	(void)close(ends[0]);
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
		cmocka_unit_test_setup_teardown(test_streams, setup, teardown),
		cmocka_unit_test_setup_teardown(test_much_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_that_does_not_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_such_program, setup, teardown),
		cmocka_unit_test_setup_teardown(test_freed_while_it_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_output_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_input_that_nobody_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dies_with_us, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
