// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the child and its process group, the pipe of its output, and the clock over both.
#include "io/command.h"

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

#define SHELL "/bin/sh"
#define READ_BYTES 65536 // a pipe's whole content; one turn of the loop reads no more
#define REAP_TRIES \
	20 // of a millisecond, for a child that was killed and whom nobody waits for any more
#define TOLD_OUTPUT_MAX 120 // bytes of the output in an error

struct command {
	struct loop *loop;
	command_fn *fn;
	void *arg;
	pid_t pid; // and process group; 0: it has ended
	int output_fd;
	struct fd_watch *output_watch;
	struct signal_watch *child_watch;
	struct timer *timer;
	uint64_t timeout_ms;
	struct strbuf output;
	uint64_t output_bytes; // read, also those not kept
	int killed_for;	       // -ETIMEDOUT, -EFBIG; 0: not killed by us
};

// ---- the child ----

static _Noreturn void become_shell(const struct command_request *request, int input, int output,
				   pid_t parent)
{
	char *const argv[] = { (char *)"sh", (char *)"-c", (char *)(uintptr_t)request->text, NULL };
	sigset_t none;

	(void)setpgid(0, 0);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127); // it died before it was known that we want to die with it
	// What the loop ignores or blocks is its own affair. Handlers do not outlive exec.
	(void)signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
	    dup2(output, STDERR_FILENO) < 0)
		_exit(127);
	(void)execve(SHELL, argv, request->environment);
	_exit(127);
}

// A file in memory instead of a pipe: whoever reads slowly, or not at all, holds nobody up.
static int open_input(const char *text, int *ret, struct err *e)
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
		return err_set(e, -errno, "no memory for the command's input: %s", strerror(errno));
	*ret = TAKE_FD(fd);
	return 0;
}

static int spawn(const struct command_request *request, pid_t *ret_pid, int *ret_output, struct err *e)
{
	_cleanup_close_ int input = -1, reader = -1, writer = -1;
	int ends[2];
	int r = open_input(request->input, &input, e);

	if (r < 0)
		return r;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_set(e, -errno, "no pipe for the command's output: %s", strerror(errno));
	reader = ends[0];
	writer = ends[1];
	if (fcntl(reader, F_SETFL, O_NONBLOCK) < 0)
		return err_set(e, -errno, "no pipe for the command's output: %s", strerror(errno));

	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		return err_set(e, -errno, "cannot start " SHELL ": %s", strerror(errno));
	if (pid == 0)
		become_shell(request, input, writer, parent);
	(void)setpgid(pid, pid); // whoever of the two comes first
	*ret_pid = pid;
	*ret_output = TAKE_FD(reader);
	return 0;
}

static void kill_group(const struct command *command)
{
	// As long as it was not waited for, nobody else has its number.
	(void)kill(-command->pid, SIGKILL);
}

static void kill_for(struct command *command, int reason)
{
	if (command->killed_for == 0)
		command->killed_for = reason;
	kill_group(command);
}

// ---- output ----

static void keep(struct command *command, const char *data, size_t len)
{
	size_t room = COMMAND_OUTPUT_MAX - command->output.len;

	command->output_bytes += len;
	(void)strbuf_add(&command->output, data, len < room ? len : room);
}

static void read_output(struct command *command)
{
	char data[READ_BYTES];
	ssize_t n = read(command->output_fd, data, sizeof(data));

	if (n > 0)
		keep(command, data, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		command->output_watch = fd_watch_free(command->output_watch);
	if (command->output_bytes > COMMAND_OUTPUT_LIMIT && command->pid != 0)
		kill_for(command, -EFBIG);
}

static void on_output(void *arg, unsigned int events)
{
	(void)events;
	read_output(arg);
}

// ---- its end ----

static const char *trim(struct strbuf *output)
{
	size_t start = 0;
	char *text;

	(void)strbuf_add(output, "", 0); // there is a text
	while (output->len > 0 && isspace((unsigned char)output->data[output->len - 1]))
		output->data[--output->len] = '\0';
	text = output->data ? output->data : (char *)"";
	while (isspace((unsigned char)text[start]))
		start++;
	return text + start;
}

static int describe_end(const struct command *command, int status, const char *output, struct err *e)
{
	_cleanup_free_ char *told = xstrndup(output, strnlen(output, TOLD_OUTPUT_MAX));
	int r;

	text_sanitize(told);
	if (command->killed_for == -ETIMEDOUT)
		r = err_set(e, -ETIMEDOUT, "it did not end within %llu ms and was killed",
			    (unsigned long long)command->timeout_ms);
	else if (command->killed_for == -EFBIG)
		r = err_set(e, -EFBIG, "it wrote more than %lu bytes and was killed",
			    COMMAND_OUTPUT_LIMIT);
	else if (WIFSIGNALED(status))
		r = err_set(e, -EIO, "it was killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		r = err_set(e, -EIO, "it failed with exit status %d", WEXITSTATUS(status));
	else
		return 0;
	if (*told) {
		struct err how = *e;

		(void)err_set(e, r, "%s: %s", how.msg, told);
	}
	return r;
}

static void stop_watching(struct command *command)
{
	command->child_watch = signal_watch_free(command->child_watch);
	command->output_watch = fd_watch_free(command->output_watch);
	timer_stop(command->timer);
}

static void end(struct command *command, int status)
{
	bool is_whole;
	const char *output;
	struct err e = { 0 };
	int r;

	// What it wrote at last. Whoever else has the pipe open is not waited for.
	for (int i = 0; command->output_watch && i < 4; i++)
		read_output(command);
	stop_watching(command);
	is_whole = command->output_bytes <= COMMAND_OUTPUT_MAX;
	output = trim(&command->output);
	r = describe_end(command, status, output, &e);
	command->fn(command->arg, r, output, is_whole, &e);
}

// Others have children too, and one signal may stand for several.
static void on_child(void *arg, int signal_number)
{
	struct command *command = arg;
	siginfo_t info = { 0 };
	int status = 0;

	(void)signal_number;
	if (command->pid == 0 ||
	    waitid(P_PID, (id_t)command->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
	    info.si_pid == 0)
		return;
	kill_group(command);
	(void)waitpid(command->pid, &status, 0);
	command->pid = 0;
	end(command, status);
}

static void on_timeout(void *arg)
{
	kill_for(arg, -ETIMEDOUT);
}

// ---- life ----

int command_start(struct loop *loop, const struct command_request *request, command_fn *fn,
		  void *arg, struct command **ret, struct err *e)
{
	struct command *command = xnew(struct command);
	int r;

	*command = (struct command){ .loop = loop,
				     .fn = fn,
				     .arg = arg,
				     .output_fd = -1,
				     .timeout_ms = request->timeout_ms,
				     .output = STRBUF_INIT(COMMAND_OUTPUT_MAX) };
	// Before there is a child, so that its end is not missed.
	command->child_watch = signal_watch_new(loop, SIGCHLD, on_child, command);
	command->timer = timer_new(loop, on_timeout, command);
	r = spawn(request, &command->pid, &command->output_fd, e);
	if (r < 0) {
		command_free(command);
		return r;
	}
	command->output_watch = fd_watch_new(loop, command->output_fd, on_output, command);
	fd_watch_set(command->output_watch, FD_READABLE);
	timer_start(command->timer, request->timeout_ms);
	*ret = command;
	return 0;
}

// Killed, it ends at once, unless the kernel holds it; then it stays until this program ends.
static void reap(struct command *command)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	kill_group(command);
	for (int i = 0; i < REAP_TRIES && waitpid(command->pid, NULL, WNOHANG) == 0; i++)
		(void)nanosleep(&pause, NULL);
}

struct command *command_free(struct command *command)
{
	if (!command)
		return NULL;
	if (command->pid != 0)
		reap(command);
	stop_watching(command);
	timer_free(command->timer);
	if (command->output_fd >= 0)
		close(command->output_fd);
	strbuf_free(&command->output);
	free(command);
	return NULL;
}
