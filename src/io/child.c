// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a program run as a child.
#include "io/child.h"

#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define READ_BYTES ((size_t)64 * 1024)
#define READS_MAX 4	     // in one call, so that a long output does not hold the loop
#define ERROR_TEXT_BYTES 160 // kept of standard error
#define REAP_MS 5	     // between the end of its output and its own

extern char **environ;

enum { INPUT, OUTPUT, ERRORS, STREAM_COUNT };

struct stream {
	struct child *child;
	int fd;
	struct fd_watch *watch;
};

struct child {
	const struct child_fns *fns;
	void *arg;
	char *name;
	pid_t pid; // 0: reaped
	struct stream streams[STREAM_COUNT];
	char *input;
	size_t written;
	struct strbuf error_text;
	struct timer *reap_timer, *limit_timer;
	bool is_late;
};

static void close_stream(struct stream *stream)
{
	stream->watch = fd_watch_free(stream->watch);
	if (stream->fd >= 0)
		close(stream->fd);
	stream->fd = -1;
}

static void end(struct child *child, int status)
{
	_cleanup_free_ char *text = strbuf_take(&child->error_text);
	struct err e = { 0 };
	text[strcspn(text, "\n")] = '\0'; // the first line tells
	child->pid = 0;
	timer_stop(child->limit_timer);
	if (child->is_late)
		err_set(&e, -ETIMEDOUT, "%s does not end", child->name);
	else if (WIFSIGNALED(status))
		err_set(&e, -EIO, "%s was ended by signal %d", child->name, WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		err_set(&e, -EIO, "%s: %s", child->name, *text ? text : "it failed without a word");
	child->fns->ended(child->arg, e.code, &e);
}

// Its output is at its end, and so is it or will be at once.
static void reap(void *arg)
{
	struct child *child = arg;
	int status = 0;
	pid_t pid = waitpid(child->pid, &status, WNOHANG);
	if (pid == 0)
		timer_start(child->reap_timer, REAP_MS);
	else
		end(child, pid < 0 ? 0 : status);
}

static void on_limit(void *arg)
{
	struct child *child = arg;
	child->is_late = true;
	(void)kill(child->pid, SIGKILL);
	for (size_t i = 0; i < STREAM_COUNT; i++)
		close_stream(&child->streams[i]);
	timer_start(child->reap_timer, 0);
}

static void take(struct child *child, const struct stream *stream, const char *data, size_t len)
{
	size_t room = ERROR_TEXT_BYTES - child->error_text.len;
	if (stream == &child->streams[OUTPUT])
		child->fns->output(child->arg, data, len);
	else
		(void)strbuf_add(&child->error_text, data, len < room ? len : room);
}

static void on_readable(void *arg, unsigned int events)
{
	struct stream *stream = arg;
	struct child *child = stream->child;
	_cleanup_free_ char *data = xmalloc(READ_BYTES);
	ssize_t len = 1;
	(void)events;
	for (int i = 0; i < READS_MAX && len > 0; i++) {
		len = read(stream->fd, data, READ_BYTES);
		if (len > 0)
			take(child, stream, data, (size_t)len);
	}
	if (len > 0 || (len < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	close_stream(stream);
	if (child->streams[OUTPUT].fd < 0 && child->streams[ERRORS].fd < 0)
		timer_start(child->reap_timer, 0);
}

static void on_writable(void *arg, unsigned int events)
{
	struct stream *stream = arg;
	struct child *child = stream->child;
	size_t left = strlen(child->input) - child->written;
	// A child that has gone must not end us by a signal.
	ssize_t len = left > 0 ? send(stream->fd, child->input + child->written, left, MSG_NOSIGNAL)
			       : 0;
	(void)events;
	if (len > 0)
		child->written += (size_t)len;
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0 || child->input[child->written] == '\0')
		close_stream(stream);
}

static int spawn(struct child *child, const struct child_request *request,
		 const int theirs[static STREAM_COUNT])
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, defaults;
	int r;
	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	for (int i = 0; i < STREAM_COUNT; i++)
		posix_spawn_file_actions_adddup2(&actions, theirs[i], i);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	r = posix_spawnp(&child->pid, request->argv[0], &actions, &attributes,
			 (char *const *)(uintptr_t)request->argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	if (r != 0)
		child->pid = 0;
	return -r;
}

// Sockets in place of pipes: both ends close on exec, and writing to one that is gone can be without a signal.
static int open_streams(struct child *child, int theirs[static STREAM_COUNT])
{
	for (int i = 0; i < STREAM_COUNT; i++) {
		int ends[2];
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
			return -errno;
		child->streams[i] = (struct stream){ .child = child, .fd = ends[0] };
		theirs[i] = ends[1];
		if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
			return -errno;
	}
	return 0;
}

static void watch(struct loop *loop, struct child *child)
{
	for (int i = 0; i < STREAM_COUNT; i++) {
		struct stream *stream = &child->streams[i];
		stream->watch = fd_watch_new(loop, stream->fd,
					     i == INPUT ? on_writable : on_readable, stream);
		fd_watch_set(stream->watch, i == INPUT ? FD_WRITABLE : FD_READABLE);
	}
}

int child_start(struct loop *loop, const struct child_request *request, const struct child_fns *fns,
		void *arg, struct child **ret, struct err *e)
{
	struct child *child = xnew(struct child);
	int theirs[STREAM_COUNT] = { -1, -1, -1 };
	child->fns = fns;
	child->arg = arg;
	child->name = xstrdup(request->argv[0]);
	child->input = request->input ? request->input : xstrdup("");
	child->error_text = STRBUF_INIT(ERROR_TEXT_BYTES);
	for (int i = 0; i < STREAM_COUNT; i++)
		child->streams[i].fd = -1;
	int r = open_streams(child, theirs);
	if (r == 0)
		r = spawn(child, request, theirs);
	for (int i = 0; i < STREAM_COUNT; i++)
		if (theirs[i] >= 0)
			close(theirs[i]);
	child->reap_timer = timer_new(loop, reap, child);
	child->limit_timer = timer_new(loop, on_limit, child);
	if (r < 0) {
		err_set(e, r, "%s: %s", child->name, strerror(-r));
		child_free(child);
		return r;
	}
	watch(loop, child);
	timer_start(child->limit_timer, request->timeout_ms);
	*ret = child;
	return 0;
}

struct child *child_free(struct child *child)
{
	if (!child)
		return NULL;
	for (int i = 0; i < STREAM_COUNT; i++)
		close_stream(&child->streams[i]);
	if (child->pid > 0) {
		(void)kill(child->pid, SIGKILL);
		(void)waitpid(child->pid, NULL, 0);
	}
	timer_free(child->reap_timer);
	timer_free(child->limit_timer);
	strbuf_free(&child->error_text);
	free(child->name);
	free(child->input);
	free(child);
	return NULL;
}
