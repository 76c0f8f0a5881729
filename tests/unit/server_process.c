// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: servers as processes of a test.
#include "server_process.h"

#include "unit.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"
#include "io/loop.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_MAX (16 * 1024 * 1024)
#define LOG_SHOWN 3000

void server_make_dir(const char *name, char ret[static SERVER_DIR_MAX])
{
	(void)text_format(ret, SERVER_DIR_MAX, "%s/weft-test-%s-XXXXXX",
			  access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", name);
	assert_non_null(mkdtemp(ret));
}

void server_child_begin(const char *dir, const char *name)
{
	int log;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log = open(xasprintf("%s/%s.log", dir, name), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
}

static int connect_to(unsigned int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

bool server_answers(unsigned int port, const char *request, const char *wanted)
{
	_cleanup_close_ int fd = connect_to(port);
	char answer[2048] = "";
	size_t len = 0;
	ssize_t n;

	if (fd < 0 || !request)
		return fd >= 0;
	if (write(fd, request, strlen(request)) < 0)
		return false;
	while ((n = read(fd, answer + len, sizeof(answer) - 1 - len)) > 0)
		len += (size_t)n;
	return strstr(answer, wanted) != NULL;
}

// What it said last; its directory goes when the test ends.
static void give_up(const char *dir, const char *name, const char *why)
{
	_cleanup_free_ char *path = xasprintf("%s/%s.log", dir, name);
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	if (file_read(path, LOG_MAX, &text, &len, NULL) == 0)
		print_message("%s\n", len > LOG_SHOWN ? text + len - LOG_SHOWN : text);
	fail_msg("%s %s", name, why);
}

void server_check(const char *dir, const char *name, pid_t *pid, uint64_t until_ms)
{
	int status;

	if (waitpid(*pid, &status, WNOHANG) != 0) {
		*pid = 0;
		give_up(dir, name, "ended");
	}
	if (loop_now_ms() > until_ms)
		give_up(dir, name, "does not answer");
}

void server_signal(pid_t pid, int signal_number)
{
	siginfo_t info;

	assert_int_equal(kill(pid, signal_number), 0);
	// kill returns while threads of its still run, and answer.
	if (signal_number == SIGSTOP)
		assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED), 0);
}

void server_end(pid_t *pid, int signal_number)
{
	int status;

	server_signal(*pid, signal_number);
	assert_int_equal(waitpid(*pid, &status, 0), *pid);
	*pid = 0;
}
