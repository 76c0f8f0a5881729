// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: running another plugin.
#include "cni/delegate.h"

#include "cni/deadline.h"
#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int find(const char *type, const char *path, char ret[static PATH_MAX], struct fault *fault)
{
	struct stat stat_buffer;
	const char *end;

	if (!*type || strchr(type, '/'))
		return fault_set(fault, FAULT_INTERNAL, "invalid plugin name: %s", type);
	for (const char *at = path; *at; at = *end ? end + 1 : end) {
		end = strchrnul(at, ':');
		if (text_format(ret, PATH_MAX, "%.*s/%s", (int)(end - at), at, type) == 0 &&
		    stat(ret, &stat_buffer) == 0 && S_ISREG(stat_buffer.st_mode))
			return 0;
	}
	return fault_set(fault, FAULT_INTERNAL, "failed to find plugin \"%s\" in path [%s]", type,
			 path);
}

// A file in memory rather than a pipe: nobody waits for it to be read.
static int make_input(const char *conf, size_t len, int *ret, struct fault *fault)
{
	_cleanup_close_ int fd = memfd_create("conf", MFD_CLOEXEC);

	if (fd < 0 || write(fd, conf, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) < 0)
		return fault_set(fault, FAULT_IO, "no memory file for a plugin's input: %s",
				 strerror(errno));
	*ret = TAKE_FD(fd);
	return 0;
}

// Our environment with another CNI_COMMAND; the caller frees the array and its first text.
static char **make_environment(enum command command)
{
	size_t count = 0, used = 1;
	char **copy;

	while (environ[count])
		count++;
	copy = xnew0_array(char *, count + 2);
	copy[0] = xasprintf("CNI_COMMAND=%s", command_name(command));
	for (size_t i = 0; i < count; i++)
		if (strncmp(environ[i], "CNI_COMMAND=", strlen("CNI_COMMAND=")) != 0)
			copy[used++] = environ[i];
	return copy;
}

static int start(const char *path, const char *type, enum command command, int input, int output,
		 pid_t *ret)
{
	char **environment = make_environment(command);
	char *arguments[] = { (char *)type, NULL };
	posix_spawn_file_actions_t actions;
	int r;

	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
	(void)posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	r = posix_spawn(ret, path, &actions, NULL, arguments, environment);
	(void)posix_spawn_file_actions_destroy(&actions);
	free(environment[0]);
	free(environment);
	return -r;
}

// Until the other end is closed.
static int read_output(int fd, struct strbuf *out)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	char buffer[4096];
	ssize_t n;

	for (;;) {
		if (deadline_passed())
			return -ETIMEDOUT;
		if (poll(&wait, 1, deadline_left_ms()) <= 0)
			continue;
		n = read(fd, buffer, sizeof(buffer));
		if (n == 0)
			return 0;
		if (n > 0)
			(void)strbuf_add(out, buffer, (size_t)n);
		else if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
}

static int wait_child(pid_t pid, int *ret_status)
{
	while (waitpid(pid, ret_status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
		if (deadline_passed())
			return -ETIMEDOUT;
	}
	return 0;
}

// What a plugin that failed says of it.
static int read_failure(const char *type, const struct strbuf *out, struct fault *fault)
{
	struct doc doc = { 0 };
	const char *msg, *details;
	uint64_t code = 0;

	if (doc_parse(&doc, strbuf_text(out), out->len, NULL) < 0) {
		doc_free(&doc);
		return fault_set(fault, FAULT_INTERNAL, "plugin %s failed and said: \"%.200s\"",
				 type, strbuf_text(out));
	}
	msg = doc_get_text(doc.root, "msg");
	details = doc_get_text(doc.root, "details");
	if (doc_get_u64(doc.root, "code", UINT32_MAX, &code) < 0 || code == 0)
		code = FAULT_INTERNAL;
	(void)fault_set(fault, (unsigned int)code, "%s", msg ? msg : "");
	if (details)
		fault_details(fault, "%s", details);
	doc_free(&doc);
	return -EIO;
}

int delegate_run(const struct call *call, enum command command, const char *type, const char *conf,
		 size_t len, struct strbuf *out, struct fault *fault)
{
	_cleanup_close_ int input = -1, reader = -1, writer = -1;
	char path[PATH_MAX];
	int pipe_ends[2], status = 0, r;
	pid_t pid;

	r = find(type, call->path, path, fault);
	if (r == 0)
		r = make_input(conf, len, &input, fault);
	if (r < 0)
		return r;
	if (pipe2(pipe_ends, O_CLOEXEC) < 0)
		return fault_set(fault, FAULT_IO, "no pipe: %s", strerror(errno));
	reader = pipe_ends[0];
	writer = pipe_ends[1];
	r = start(path, type, command, input, writer, &pid);
	if (r < 0)
		return fault_set(fault, FAULT_INTERNAL, "cannot run %s: %s", path, strerror(-r));
	fd_closep(&writer);
	r = read_output(reader, out);
	if (r == 0)
		r = wait_child(pid, &status);
	if (r < 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
		return fault_set(fault, r == -ETIMEDOUT ? FAULT_AGAIN : FAULT_IO, "plugin %s: %s",
				 type, r == -ETIMEDOUT ? "it took too long" : strerror(-r));
	}
	if (out->overflow)
		return fault_set(fault, FAULT_DECODE, "plugin %s printed too much", type);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return read_failure(type, out, fault);
	return 0;
}
