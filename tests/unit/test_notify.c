// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of what the service manager is told.
#include "unit.h"

#include "agent/notify.h"
#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"
#include "loop_end.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

// A manager that listens at an abstract or a real address.
static int listen_at(const char *text)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	assert_true(fd >= 0 && strlen(text) < sizeof(address.sun_path));
	memcpy(address.sun_path, text, strlen(text));
	if (text[0] == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text) +
					  (text[0] == '/' ? 1 : 0))),
			 0);
	return fd;
}

static const char *heard(int fd)
{
	static char text[1024];
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return "nothing";
	text[n] = '\0';
	return text;
}

static void say_everything(const char *address)
{
	_cleanup_close_ int fd = listen_at(address);
	_cleanup_free_ char *variable = xasprintf("NOTIFY_SOCKET=%s", address);
	char *environment[] = { (char *)"A=b", variable, NULL };
	struct notify *notify = NULL;
	struct err e = { 0 };
	const char *text;
	uint64_t usec = 0;

	assert_int_equal(notify_new(environment, &notify, &e), 0);
	assert_int_equal(notify_watchdog_ms(notify), 0);
	notify_ready(notify);
	assert_string_equal(heard(fd), "READY=1");
	notify_status(notify, "lease %s\nREADY=1", "10.1.2.0/24");
	assert_string_equal(heard(fd), "STATUS=lease 10.1.2.0/24?READY=1");
	notify_status(notify, "lease 10.1.2.0/24\nREADY=1");
	assert_string_equal(heard(fd), "nothing"); // said already
	notify_status(notify, "lost");
	assert_string_equal(heard(fd), "STATUS=lost");
	notify_reloading(notify);
	text = heard(fd);
	assert_true(parse_literal(&text, "RELOADING=1\nMONOTONIC_USEC="));
	assert_int_equal(parse_whole_u64(text, UINT64_MAX, &usec), 0);
	assert_true(usec > 0);
	notify_stopping(notify);
	assert_string_equal(heard(fd), "STOPPING=1");
	notify_free(notify);
}

static void test_abstract_socket(void **state)
{
	_cleanup_free_ char *address = xasprintf("@weft-test-notify-%d", getpid());

	(void)state;
	say_everything(address);
}

static void test_socket_in_a_directory(void **state)
{
	char directory[] = "/tmp/weft-notify-XXXXXX";
	_cleanup_free_ char *address = NULL;

	(void)state;
	assert_non_null(mkdtemp(directory));
	address = xasprintf("%s/socket", directory);
	say_everything(address);
	assert_int_equal(unlink(address), 0);
	assert_int_equal(rmdir(directory), 0);
}

static void test_without_a_manager(void **state)
{
	char *environment[] = { (char *)"WATCHDOG_USEC=2000000", NULL };
	struct notify *notify = NULL;

	(void)state;
	assert_int_equal(notify_new(environment, &notify, NULL), 0);
	notify_ready(notify);
	notify_status(notify, "x");
	assert_int_equal(notify_watchdog_ms(notify), 0);
	notify_free(notify);
}

static void test_a_manager_that_is_gone_or_deaf(void **state)
{
	_cleanup_free_ char *address = xasprintf("@weft-test-deaf-%d", getpid());
	_cleanup_free_ char *variable = xasprintf("NOTIFY_SOCKET=%s", address);
	char *environment[] = { variable, NULL };
	struct notify *notify = NULL;
	struct err e = { 0 };
	int fd;

	(void)state;
	assert_int_equal(notify_new(environment, &notify, &e), 0);
	notify_ready(notify); // nobody there
	fd = listen_at(address);
	// Far more than the socket holds: this must come to an end.
	for (unsigned int i = 0; i < 5000; i++)
		notify_status(notify, "%u", i);
	assert_string_equal(heard(fd), "STATUS=0");
	close(fd);
	notify_free(notify);
}

static const struct {
	const char *usec, *pid;
	uint64_t ms;
} watchdogs[] = {
	{ "WATCHDOG_USEC=30000000", NULL, 15000 },
	{ "WATCHDOG_USEC=30000000", "", 15000 }, // our own pid
	{ "WATCHDOG_USEC=30000000", "WATCHDOG_PID=1", 0 },
	{ "WATCHDOG_USEC=30000000", "WATCHDOG_PID=x", 0 },
	{ "WATCHDOG_USEC=1", NULL, 1 },
	{ "WATCHDOG_USEC=0", NULL, 0 },
	{ "WATCHDOG_USEC=-5", NULL, 0 },
	{ "WATCHDOG_USEC=", NULL, 0 },
};

static void test_watchdog(void **state)
{
	_cleanup_free_ char *own = xasprintf("WATCHDOG_PID=%d", getpid());

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(watchdogs); i++) {
		const char *pid = watchdogs[i].pid;
		char *environment[] = { (char *)"NOTIFY_SOCKET=@x", (char *)watchdogs[i].usec,
					(char *)(pid && *pid == '\0' ? own : pid), NULL };
		struct notify *notify = NULL;

		assert_int_equal(notify_new(environment, &notify, NULL), 0);
		check(notify_watchdog_ms(notify) == watchdogs[i].ms, "row %zu", i);
		notify_free(notify);
	}
}

static void test_watchdog_is_told(void **state)
{
	_cleanup_free_ char *address = xasprintf("@weft-test-watchdog-%d", getpid());
	_cleanup_free_ char *variable = xasprintf("NOTIFY_SOCKET=%s", address);
	char *environment[] = { variable, (char *)"WATCHDOG_USEC=100000", NULL };
	_cleanup_close_ int fd = listen_at(address);
	struct loop *loop = loop_new();
	uint64_t started = loop_now_ms();
	struct notify *notify = NULL;

	(void)state;
	assert_int_equal(notify_new(environment, &notify, NULL), 0);
	notify_watchdog_start(notify, loop);
	assert_string_equal(heard(fd), "nothing");
	for (unsigned int i = 1; i <= 3; i++) {
		const char *text = "nothing";

		while (strcmp(text, "nothing") == 0 && loop_now_ms() - started < 10000) {
			loop_turn(loop, 100);
			text = heard(fd);
		}
		assert_string_equal(text, "WATCHDOG=1");
		assert_true(loop_now_ms() - started >= i * 50 - 1); // half of what is allowed
	}
	notify_free(notify);
	loop = loop_end(loop);
}

static void test_bad_addresses(void **state)
{
	static const char *const bads[] = { "vsock:2:1234", "relative", "@", "/" };
	char longest[200] = "NOTIFY_SOCKET=/";
	struct notify *notify = NULL;
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bads); i++) {
		_cleanup_free_ char *variable = xasprintf("NOTIFY_SOCKET=%s", bads[i]);
		_cleanup_free_ char *message =
			xasprintf("NOTIFY_SOCKET: \"%s\" is neither a path nor an abstract socket",
				  bads[i]);
		char *environment[] = { variable, NULL };

		check(notify_new(environment, &notify, &e) == -EINVAL, "%s", bads[i]);
		assert_string_equal(e.msg, message);
		notify_ready(notify);
		notify_free(notify);
	}
	memset(longest + strlen(longest), 'x', sizeof(longest) - strlen(longest) - 1);
	assert_int_equal(notify_new((char *[]){ longest, NULL }, &notify, &e), -EINVAL);
	notify_free(notify);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_abstract_socket),
		cmocka_unit_test(test_socket_in_a_directory),
		cmocka_unit_test(test_without_a_manager),
		cmocka_unit_test(test_a_manager_that_is_gone_or_deaf),
		cmocka_unit_test(test_watchdog),
		cmocka_unit_test(test_watchdog_is_told),
		cmocka_unit_test(test_bad_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
