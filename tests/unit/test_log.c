// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/log: lines as a reader of standard error gets them.
#include "unit.h"

#include "core/json.h"
#include "core/log.h"
#include "core/log_subsystem.h"
#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int saved_stderr = -1;
static int reader = -1;
static char captured[65536];

// Standard error becomes the write end of a pipe (or of a stream socket, as journald gives).
static void capture_begin(bool socket)
{
	int fds[2];

	if (socket)
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	else
		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	saved_stderr = dup(STDERR_FILENO);
	assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	close(fds[1]);
	reader = fds[0];
}

static const char *capture_read(void)
{
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(captured) - 1 &&
	       (n = read(reader, captured + len, sizeof(captured) - 1 - len)) > 0)
		len += (size_t)n;
	captured[len] = '\0';
	return captured;
}

static void capture_end(void)
{
	(void)dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	if (reader >= 0)
		close(reader);
	reader = -1;
}

static int setup(void **state)
{
	(void)state;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	return 0;
}

static size_t count_lines(const char *text)
{
	size_t lines = 0;

	for (; *text != '\0'; text++)
		lines += *text == '\n';
	return lines;
}

// "2026-01-02T03:04:05.678Z "
static bool is_stamp(const char *text)
{
	static const char shape[] = "0000-00-00T00:00:00.000Z ";

	for (size_t i = 0; shape[i] != '\0'; i++) {
		bool digit = text[i] >= '0' && text[i] <= '9';

		if (shape[i] == '0' ? !digit : text[i] != shape[i])
			return false;
	}
	return true;
}

static void test_text_line(void **state)
{
	const char *text;

	(void)state;
	capture_begin(false);
	log_info("vxlan: add %s", "flannel.1");
	text = capture_read();
	capture_end();
	assert_true(is_stamp(text));
	assert_string_equal(text + 25, "INFO vxlan: add flannel.1\n");
}

static void test_levels(void **state)
{
	static const char *const names[] = { "ERROR ", "WARN ", "INFO ", "DEBUG " };

	(void)state;
	for (int max = 0; max < LOG_LEVEL_COUNT; max++) {
		const char *text;

		log_setup((enum log_level)max, LOG_FORMAT_TEXT);
		capture_begin(false);
		log_error("x: y");
		log_warn("x: y");
		log_info("x: y");
		log_debug("x: y");
		text = capture_read();
		capture_end();
		assert_int_equal(count_lines(text), max + 1);
		for (int level = 0; level < LOG_LEVEL_COUNT; level++) {
			assert_int_equal(log_enabled((enum log_level)level), level <= max);
			assert_int_equal(strstr(text, names[level]) != NULL, level <= max);
		}
	}
}

static void test_hostile_text_stays_one_line(void **state)
{
	const char *text;

	(void)state;
	capture_begin(false);
	log_info("x: a\nb\rc\td\x1b[31m\x7f\xff\xc3\xa9\xc2\x9b \"\\");
	text = capture_read();
	capture_end();
	assert_string_equal(text + 25, "INFO x: a\\nb\\x0dc\\td\\x1b[31m\\x7f?\xc3\xa9\\u009b \"\\\n");
}

static void test_json_line(void **state)
{
	_cleanup_json_ json_t *line = NULL;
	struct err e = { 0 };
	const char *text;
	char stamp[32];

	(void)state;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	capture_begin(false);
	log_warn("x: a\nb\"c\\d\x01\t\x7f\xff\xc3\xa9\xc2\x9b");
	text = capture_read();
	capture_end();
	assert_int_equal(count_lines(text), 1);
	assert_int_equal(json_read(text, strlen(text), JSON_TEXT_MAX, &line, &e), 0);
	assert_int_equal(json_object_size(line), 4);
	assert_string_equal(json_string_value(json_object_get(line, "subsystem")), "other");
	assert_string_equal(json_string_value(json_object_get(line, "level")), "warn");
	assert_string_equal(json_string_value(json_object_get(line, "msg")),
			    "x: a\nb\"c\\d\x01\t\x7f\xef\xbf\xbd\xc3\xa9\xc2\x9b");
	(void)snprintf(stamp, sizeof(stamp), "%s ", json_string_value(json_object_get(line, "time")));
	assert_true(is_stamp(stamp));
	// escaped, not as they are
	assert_null(strpbrk(text, "\x01\x7f\xc2"));
}

static void test_long_text_is_one_whole_line(void **state)
{
	static char filler[20000];
	const char *text;

	(void)state;
	memset(filler, '\x01', sizeof(filler) - 1); // each becomes six bytes
	for (int format = 0; format < LOG_FORMAT_COUNT; format++) {
		log_setup(LOG_LEVEL_INFO, (enum log_format)format);
		capture_begin(false);
		log_info("x: %s", filler);
		text = capture_read();
		capture_end();
		assert_int_equal(count_lines(text), 1);
		assert_true(strlen(text) > 2000 && strlen(text) <= 4096);
		assert_string_equal(text + strlen(text) - 2,
				    format == LOG_FORMAT_JSON ? "}\n" : text + strlen(text) - 2);
	}
}

static void test_stuck_reader_never_blocks(void **state)
{
	(void)state;
	for (int socket = 0; socket < 2; socket++) {
		const char *text;
		size_t lines;

		capture_begin(socket == 1);
		(void)alarm(20); // a log that blocks hangs here
		for (int i = 0; i < 20000; i++)
			log_info("x: %d", i);
		(void)alarm(0);
		text = capture_read();
		lines = count_lines(text);
		assert_true(lines > 10 && lines < 20000);
		while (capture_read()[0] != '\0')
			;
		log_info("x: again");
		text = capture_read();
		capture_end();
		assert_non_null(strstr(text, "WARN log: "));
		assert_non_null(strstr(text, " lines lost"));
		assert_non_null(strstr(text, "INFO x: again\n"));
	}
}

static void test_reader_gone(void **state)
{
	(void)state;
	for (int socket = 0; socket < 2; socket++) {
		void (*old)(int) = signal(SIGPIPE, SIG_DFL);

		capture_begin(socket == 1);
		close(reader);
		reader = -1;
		log_info("x: nobody hears this"); // SIGPIPE would end the test
		capture_end();
		(void)signal(SIGPIPE, old);
	}
	// and with no standard error at all
	saved_stderr = dup(STDERR_FILENO);
	close(STDERR_FILENO);
	log_info("x: nowhere to write");
	(void)dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);

	capture_begin(false);
	log_info("x: back");
	assert_non_null(strstr(capture_read(), "INFO x: back\n"));
	capture_end();
}

static void test_errno_survives(void **state)
{
	(void)state;
	capture_begin(false);
	errno = EXDEV;
	log_info("x: y");
	capture_end();
	errno = EXDEV;
	capture_begin(false);
	close(reader);
	reader = -1;
	errno = EXDEV;
	log_info("x: y");
	assert_int_equal(errno, EXDEV);
	capture_end();
	// what that line's loss left behind
	capture_begin(false);
	log_info("x: y");
	capture_end();
}

static void test_rate_limit(void **state)
{
	struct log_limit limit = { 0 };
	const char *text;

	(void)state;
	capture_begin(false);
	for (int i = 0; i < 100; i++)
		assert_int_equal(log_limit_allow(&limit, 5), i < 5);
	assert_int_equal(count_lines(capture_read()), 0);
	assert_int_equal(limit.suppressed, 95);

	limit.window_start_ms -= 10000; // ten seconds later
	assert_true(log_limit_allow(&limit, 5));
	text = capture_read();
	assert_int_equal(count_lines(text), 1);
	assert_non_null(strstr(text, " 95 "));
	limit.window_start_ms -= 10000;
	assert_true(log_limit_allow(&limit, 5)); // nothing was left out: nothing is said
	assert_int_equal(count_lines(capture_read()), 0);
	capture_end();
}

static void test_rate_limited_call_site(void **state)
{
	(void)state;
	capture_begin(false);
	for (int i = 0; i < 50; i++) {
		log_rl(LOG_LEVEL_WARN, "x: %d", i);
		log_rl(LOG_LEVEL_DEBUG, "x: hidden %d", i);
	}
	assert_int_equal(count_lines(capture_read()), 5);
	capture_end();
}

// Where no further line comes, somebody has to be told all the same, once.
static void test_left_out_lines_are_told(void **state)
{
	struct log_limit limit = { .format = "x: %d" };
	uint64_t before = log_stats().left_out;

	(void)state;
	capture_begin(false);
	for (int i = 0; i < 8; i++)
		(void)log_limit_allow(&limit, 5);
	log_tell_left_out(); // its ten seconds are not over
	assert_int_equal(count_lines(capture_read()), 0);
	limit.window_start_ms -= 10000;
	log_tell_left_out();
	assert_non_null(strstr(capture_read(), "INFO log: 3 more lines were left out: \"x: %d\"\n"));
	log_tell_left_out();
	assert_true(log_limit_allow(&limit, 5));
	assert_int_equal(count_lines(capture_read()), 0);
	capture_end();
	assert_int_equal(log_stats().left_out - before, 3);
}

static void test_subsystems(void **state)
{
	static const struct {
		const char *text;
		enum log_subsystem want;
	} cases[] = {
		{ "store: x", LOG_STORE },
		{ "etcd3: x", LOG_STORE },
		{ "network blue: x", LOG_AGENT },
		{ "fabric: x", LOG_FABRIC },
		{ "fabrics: x", LOG_OTHER },
		{ "", LOG_OTHER },
		{ "x", LOG_OTHER },
		{ "udp: x", LOG_BACKEND },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(log_subsystem_of(cases[i].text) == cases[i].want, "%s", cases[i].text);
}

static void test_level_of_one_subsystem(void **state)
{
	struct err e = { 0 };
	const char *text;

	(void)state;
	capture_begin(false);
	assert_int_equal(log_change("store=debug", &e), 0);
	assert_int_equal(log_change("fabric=error", &e), 0);
	log_debug("store: said");
	log_debug("agent: hidden");
	log_info("fabric: hidden");
	log_info("agent: said");
	assert_int_equal(log_change("warn", &e), 0);
	log_debug("store: hidden");
	log_info("agent: hidden");
	log_warn("fabric: said");
	text = capture_read();
	capture_end();
	assert_int_equal(count_lines(text), 3);
	assert_null(strstr(text, "hidden"));
}

static void test_changes_that_are_refused(void **state)
{
	static const char *const cases[] = { "",	"loud",		 "store",
					     "store=",	"=debug",	 "store=loud",
					     "x=debug", "store=debug,x", "debug " };
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		check(log_change(cases[i], &e) == -EINVAL, "%s", cases[i]);
		check(strstr(e.msg, "there are: "), "%s: %s", cases[i], e.msg);
	}
	assert_false(log_enabled(LOG_LEVEL_DEBUG));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_text_line, setup),
		cmocka_unit_test_setup(test_levels, setup),
		cmocka_unit_test_setup(test_hostile_text_stays_one_line, setup),
		cmocka_unit_test_setup(test_json_line, setup),
		cmocka_unit_test_setup(test_long_text_is_one_whole_line, setup),
		cmocka_unit_test_setup(test_stuck_reader_never_blocks, setup),
		cmocka_unit_test_setup(test_reader_gone, setup),
		cmocka_unit_test_setup(test_errno_survives, setup),
		cmocka_unit_test_setup(test_rate_limit, setup),
		cmocka_unit_test_setup(test_rate_limited_call_site, setup),
		cmocka_unit_test_setup(test_left_out_lines_are_told, setup),
		cmocka_unit_test_setup(test_subsystems, setup),
		cmocka_unit_test_setup(test_level_of_one_subsystem, setup),
		cmocka_unit_test_setup(test_changes_that_are_refused, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
