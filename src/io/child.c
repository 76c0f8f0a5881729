// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the child and its process group, the pipes of its output, and the clock over both.
#include "io/child.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES 65536 // a pipe's whole content, mostly; one turn of the loop reads no more
#define LAST_READS 32	 // at its end: a pipe's whole content also where a page has 64 KiB
#define REAP_TRIES \
	20 // of a millisecond, for a child that was killed and whom nobody waits for any more
#define TOLD_MAX 160 // bytes of what it said in an error

enum { OUTPUT, SAID, STREAM_COUNT };

struct stream {
	struct child *child;
	int fd; // -1: there is none
	struct fd_watch *watch;
};

struct child {
	child_fn *fn;
	void (*output)(void *arg, const char *data, size_t len);
	void *arg;
	pid_t pid; // and process group; 0: it has ended
	struct stream streams[STREAM_COUNT];
	struct signal_watch *end_watch;
	struct timer *timer;
	uint64_t timeout_ms;
	struct strbuf said;
	uint64_t said_bytes; // also those not kept
	int killed_for;	     // -ETIMEDOUT, -EFBIG; 0: not killed by us
};

// ---- the child ----

static _Noreturn void become(const struct child_request *request, const int stdio[static 3],
			     int failure, pid_t parent)
{
	sigset_t none;
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127); // it died before it was known that we want to die with it
	// What the loop ignores or blocks is its own affair. Handlers do not outlive exec.
	(void)signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(stdio[0], STDIN_FILENO) >= 0 && dup2(stdio[1], STDOUT_FILENO) >= 0 &&
	    dup2(stdio[2], STDERR_FILENO) >= 0)
		(void)execvpe(request->argv[0], (char *const *)(uintptr_t)request->argv,
			      request->environment ? request->environment : environ);
	int error = errno;
	(void)!write(failure, &error, sizeof(error));
	_exit(127);
}

// Returns when it is the program, or cannot be. Not posix_spawn, which cannot have it killed with us.
static int spawn(const struct child_request *request, const int stdio[static 3], pid_t *ret)
{
	_cleanup_close_ int reader = -1, writer = -1;
	int ends[2], error = 0;
	ssize_t len;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	reader = ends[0];
	writer = ends[1];

	pid_t parent = getpid(), pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		become(request, stdio, writer, parent);
	fd_closep(&writer);
	do {
		len = read(reader, &error, sizeof(error));
	} while (len < 0 && errno == EINTR);
	if (len == sizeof(error)) {
		(void)waitpid(pid, NULL, 0);
		return -error;
	}
	*ret = pid;
	return 0;
}

// A file in memory instead of a pipe: whoever reads slowly, or not at all, holds nobody up.
static int open_input(const char *text, int *ret)
{
	_cleanup_close_ int fd = memfd_create("input", MFD_CLOEXEC);
	size_t len = strlen(text), done = 0;
	while (fd >= 0 && done < len) {
		ssize_t n = write(fd, text + done, len - done);
		if (n < 0 && errno != EINTR)
			break;
		done += n > 0 ? (size_t)n : 0;
	}
	if (fd < 0 || done < len || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

static int open_stream(struct stream *stream, int *ret_writer)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	stream->fd = ends[0];
	*ret_writer = ends[1];
	return fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static int begin(struct child *child, const struct child_request *request)
{
	_cleanup_close_ int input = -1, output = -1, said = -1;
	int r = open_input(request->input ? request->input : "", &input);
	if (r == 0)
		r = open_stream(&child->streams[SAID], &said);
	if (r == 0 && request->output)
		r = open_stream(&child->streams[OUTPUT], &output);
	const int stdio[] = { input, request->output ? output : said, said };
	return r < 0 ? r : spawn(request, stdio, &child->pid);
}

static void kill_for(struct child *child, int reason)
{
	if (child->killed_for == 0)
		child->killed_for = reason;
	(void)kill(-child->pid, SIGKILL); // as long as it was not waited for, nobody else has its number
}

static void on_timeout(void *arg)
{
	kill_for(arg, -ETIMEDOUT);
}

// ---- output ----

static void keep(struct child *child, const char *data, size_t len)
{
	size_t room = CHILD_SAID_MAX - child->said.len;
	(void)strbuf_add(&child->said, data, len < room ? len : room);
	child->said_bytes += len;
	if (child->said_bytes > CHILD_SAID_LIMIT && child->pid != 0)
		kill_for(child, -EFBIG);
}

static void on_readable(void *arg, unsigned int events)
{
	struct stream *stream = arg;
	struct child *child = stream->child;
	char data[READ_BYTES];
	ssize_t n = read(stream->fd, data, sizeof(data));
	(void)events;
	if (n > 0 && stream == &child->streams[OUTPUT])
		child->output(child->arg, data, (size_t)n);
	else if (n > 0)
		keep(child, data, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		stream->watch = fd_watch_free(stream->watch);
}

// ---- its end ----

const char *child_status_str(int status, char buf[static 32])
{
	if (WIFSIGNALED(status))
		(void)text_format(buf, 32, "signal %d", WTERMSIG(status));
	else
		(void)text_format(buf, 32, "exit status %d", WEXITSTATUS(status));
	return buf;
}

static const char *trim(struct strbuf *said)
{
	while (said->len > 0 && isspace((unsigned char)said->data[said->len - 1]))
		said->data[--said->len] = '\0';
	const char *text = strbuf_text(said);
	while (isspace((unsigned char)*text))
		text++;
	return text;
}

static int describe_end(const struct child *child, int status, const char *said, struct err *e)
{
	_cleanup_free_ char *told = xstrndup(said, strnlen(said, TOLD_MAX));
	char text[32];
	int r;
	text_sanitize(told);
	if (child->killed_for == -ETIMEDOUT)
		r = err_set(e, -ETIMEDOUT, "it did not end within %llu ms and was killed",
			    (unsigned long long)child->timeout_ms);
	else if (child->killed_for == -EFBIG)
		r = err_set(e, -EFBIG, "it wrote more than %lu bytes and was killed", CHILD_SAID_LIMIT);
	else if (status != 0)
		r = err_set(e, -EIO, "it %s %s", WIFSIGNALED(status) ? "was killed by" : "failed with",
			    child_status_str(status, text));
	else
		return 0;
	if (*told) {
		struct err how = *e;
		(void)err_set(e, r, "%s: %s", how.msg, told);
	}
	return r;
}

static void stop_watching(struct child *child)
{
	child->end_watch = signal_watch_free(child->end_watch);
	for (size_t i = 0; i < STREAM_COUNT; i++)
		child->streams[i].watch = fd_watch_free(child->streams[i].watch);
	timer_stop(child->timer);
}

static void end(struct child *child, int status)
{
	struct err e = { 0 };
	// What it wrote at last. Whoever else has the pipe open is not waited for.
	for (int i = 0; i < LAST_READS; i++)
		for (size_t j = 0; j < STREAM_COUNT; j++)
			if (child->streams[j].watch)
				on_readable(&child->streams[j], FD_READABLE);
	stop_watching(child);
	bool is_whole = child->said_bytes <= CHILD_SAID_MAX;
	const char *said = trim(&child->said);
	int r = describe_end(child, status, said, &e);
	child->fn(child->arg, r, said, is_whole, &e);
}

// Others have children too, and one signal may stand for several.
static void on_signal(void *arg, int signal_number)
{
	struct child *child = arg;
	siginfo_t info = { 0 };
	int status = 0;
	(void)signal_number;
	if (child->pid == 0 || waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
	    info.si_pid == 0)
		return;
	(void)kill(-child->pid, SIGKILL);
	(void)waitpid(child->pid, &status, 0);
	child->pid = 0;
	end(child, status);
}

// ---- life ----

int child_start(struct loop *loop, const struct child_request *request, child_fn *fn, void *arg,
		struct child **ret, struct err *e)
{
	struct child *child = xnew(struct child);
	*child = (struct child){ .fn = fn,
				 .output = request->output,
				 .arg = arg,
				 .timeout_ms = request->timeout_ms,
				 .said = STRBUF_INIT(CHILD_SAID_MAX) };
	for (size_t i = 0; i < STREAM_COUNT; i++)
		child->streams[i] = (struct stream){ .child = child, .fd = -1 };
	// Before there is a child, so that its end is not missed.
	child->end_watch = signal_watch_new(loop, SIGCHLD, on_signal, child);
	child->timer = timer_new(loop, on_timeout, child);
	int r = begin(child, request);
	if (r < 0) {
		child_free(child);
		return err_set(e, r, "%s: %s", request->argv[0], strerror(-r));
	}
	for (size_t i = 0; i < STREAM_COUNT; i++) {
		struct stream *stream = &child->streams[i];
		if (stream->fd < 0)
			continue;
		stream->watch = fd_watch_new(loop, stream->fd, on_readable, stream);
		fd_watch_set(stream->watch, FD_READABLE);
	}
	timer_start(child->timer, request->timeout_ms);
	*ret = child;
	return 0;
}

// Killed, it ends at once, unless the kernel holds it; then it stays until this program ends.
static void reap(struct child *child)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	(void)kill(-child->pid, SIGKILL);
	for (int i = 0; i < REAP_TRIES && waitpid(child->pid, NULL, WNOHANG) == 0; i++)
		(void)nanosleep(&pause, NULL);
}

struct child *child_free(struct child *child)
{
	if (!child)
		return NULL;
	if (child->pid != 0)
		reap(child);
	stop_watching(child);
	timer_free(child->timer);
	for (size_t i = 0; i < STREAM_COUNT; i++)
		fd_closep(&child->streams[i].fd);
	strbuf_free(&child->said);
	free(child);
	return NULL;
}
