// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of programs run as children: what they are given, what they say, and how they end.
#include "loop_end.h"
#include "unit.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "io/child.h"

#include <errno.h>
#include <string.h>

#define LONG_BYTES ((size_t)3 * 1024 * 1024)

struct run {
	struct loop *loop;
	struct strbuf output;
	bool is_ended;
	int r;
	struct err e;
};

static void on_output(void *arg, const char *data, size_t len)
{
	struct run *run = arg;
	(void)strbuf_add(&run->output, data, len);
}

static void on_ended(void *arg, int r, const struct err *e)
{
	struct run *run = arg;
	assert_false(run->is_ended);
	run->is_ended = true;
	run->r = r;
	run->e = *e;
}

static const struct child_fns fns = { on_output, on_ended };

static void shell(struct run *run, const char *script, char *input, uint64_t timeout_ms)
{
	struct child_request request = { .argv = { "sh", "-c", script },
					 .input = input,
					 .timeout_ms = timeout_ms };
	struct child *child = NULL;
	*run = (struct run){ .loop = loop_new(), .output = STRBUF_INIT(LONG_BYTES * 2) };
	assert_int_equal(child_start(run->loop, &request, &fns, run, &child, &run->e), 0);
	assert_false(run->is_ended);
	while (!run->is_ended)
		loop_turn(run->loop, 1000);
	child_free(child);
	run->loop = loop_end(run->loop);
}

static const struct {
	const char *script, *input, *output;
	int r;
	const char *message;
} runs[] = {
	{ "echo hello; cat", "input", "hello\ninput", 0, NULL },
	{ "exit 0", "never read", "", 0, NULL },
	{ "echo no >&2; echo more >&2; exit 3", NULL, "", -EIO, "sh: no" },
	{ "exit 1", NULL, "", -EIO, "sh: it failed without a word" },
	{ "kill -9 $$", NULL, "", -EIO, "sh was ended by signal 9" },
	{ "exec >&- 2>&-; read x; exit 4", NULL, "", -EIO, "sh: it failed without a word" },
};

static void test_runs(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
		struct run run;
		shell(&run, runs[i].script, runs[i].input ? xstrdup(runs[i].input) : NULL, 20000);
		check(run.r == runs[i].r, "%s: %d", runs[i].script, run.r);
		check(strcmp(strbuf_text(&run.output), runs[i].output) == 0, "%s: %s",
		      runs[i].script, strbuf_text(&run.output));
		check(!runs[i].message || strcmp(run.e.msg, runs[i].message) == 0, "%s: %s",
		      runs[i].script, run.e.msg);
		strbuf_free(&run.output);
	}
}

static void test_much_both_ways(void **state)
{
	char *input = xmalloc(LONG_BYTES + 1);
	struct run run;
	(void)state;
	memset(input, 'x', LONG_BYTES);
	input[LONG_BYTES] = '\0';
	shell(&run, "cat", input, 20000);
	assert_int_equal(run.r, 0);
	assert_int_equal(run.output.len, LONG_BYTES);
	strbuf_free(&run.output);
}

static void test_one_that_does_not_end(void **state)
{
	struct run run;
	(void)state;
	shell(&run, "exec sleep 1000", NULL, 50);
	assert_int_equal(run.r, -ETIMEDOUT);
	assert_string_equal(run.e.msg, "sh does not end");
	strbuf_free(&run.output);
}

static void test_no_such_program(void **state)
{
	struct child_request request = { .argv = { "no-such-program" }, .timeout_ms = 1000 };
	struct loop *loop = loop_new();
	struct child *child = NULL;
	struct err e = { 0 };
	(void)state;
	assert_int_equal(child_start(loop, &request, &fns, NULL, &child, &e), -ENOENT);
	assert_string_equal(e.msg, "no-such-program: No such file or directory");
	loop_end(loop);
}

static void test_freed_while_it_runs(void **state)
{
	struct child_request request = { .argv = { "sleep", "1000" }, .timeout_ms = 100000 };
	struct loop *loop = loop_new();
	struct child *child = NULL;
	struct err e = { 0 };
	(void)state;
	assert_int_equal(child_start(loop, &request, &fns, NULL, &child, &e), 0);
	child_free(child);
	loop_end(loop);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_much_both_ways),
		cmocka_unit_test(test_one_that_does_not_end),
		cmocka_unit_test(test_no_such_program),
		cmocka_unit_test(test_freed_while_it_runs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
