// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one question to a WireGuard in user space: connect, write, read to the empty line.
#include "reconcile/wg_socket.h"

#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEADLINE_MS 10000
#define READ_BYTES 16384
#define ANSWER_MAX ((size_t)256 * 1024 * 1024) // of half a million peers

struct wg_socket {
	int fd;
	int error; // before there was a loop to tell it
	struct fd_watch *watch;
	struct timer *deadline;
	const char *request;
	size_t len;
	size_t sent;
	size_t received;
	struct wg_text_reader *reader;
	wg_socket_fn *fn;
	void *arg;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

static int connect_to(const char *device, char *path, size_t size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (text_format(path, size, WG_SOCKET_DIR "/%s.sock", device) < 0)
		return -ENAMETOOLONG;
	(void)text_copy(address.sun_path, sizeof(address.sun_path), path);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

bool wg_socket_is_answered(const char *device)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	_cleanup_close_ int fd = connect_to(device, path, sizeof(path));
	return fd >= 0 || fd == -EAGAIN; // its queue is full
}

static void finish(struct wg_socket *socket, int r, const struct err *e)
{
	if (socket->watch)
		fd_watch_set(socket->watch, 0);
	timer_stop(socket->deadline);
	socket->fn(socket->arg, r, e);
}

static void fail(struct wg_socket *socket, int r)
{
	struct err e;
	err_set(&e, r, "%s: %s", socket->path, strerror(-r));
	finish(socket, r, &e);
}

static void on_deadline(void *arg)
{
	struct wg_socket *socket = arg;
	fail(socket, socket->error ? socket->error : -ETIMEDOUT);
}

// 0: all is written; 1: not yet.
static int write_some(struct wg_socket *socket)
{
	while (socket->sent < socket->len) {
		ssize_t n = send(socket->fd, socket->request + socket->sent,
				 socket->len - socket->sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return 1;
		if (n < 0 && errno != EINTR)
			return -errno;
		socket->sent += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static void read_some(struct wg_socket *socket)
{
	char buffer[READ_BYTES];
	ssize_t n = recv(socket->fd, buffer, sizeof(buffer), 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fail(socket, n < 0 ? -errno : -ECONNRESET);
		return;
	}
	struct err e = { 0 };
	int r = wg_text_feed(socket->reader, buffer, (size_t)n, &e);
	explicit_bzero(buffer, (size_t)n);
	socket->received += (size_t)n;
	if (r == 1 && socket->received > ANSWER_MAX)
		r = err_set(&e, -EBADMSG, "an answer without an end");
	if (r < 0)
		err_wrap(&e, "%s", socket->path);
	if (r <= 0)
		finish(socket, r, &e);
}

static void on_ready(void *arg, unsigned int events)
{
	struct wg_socket *socket = arg;
	(void)events;
	int r = write_some(socket);
	if (r < 0)
		fail(socket, r);
	else if (r > 0)
		fd_watch_set(socket->watch, FD_WRITABLE);
	else if (events & FD_READABLE)
		read_some(socket);
	else
		fd_watch_set(socket->watch, FD_READABLE);
}

struct wg_socket *wg_socket_ask(struct loop *loop, const char *device, const char *request,
				size_t len, struct wg_text_reader *reader, wg_socket_fn *fn, void *arg)
{
	struct wg_socket *socket = xnew(struct wg_socket);
	socket->request = request;
	socket->len = len;
	socket->reader = reader;
	socket->fn = fn;
	socket->arg = arg;
	socket->deadline = timer_new(loop, on_deadline, socket);
	socket->fd = connect_to(device, socket->path, sizeof(socket->path));
	if (socket->fd < 0) {
		socket->error = socket->fd;
		timer_start(socket->deadline, 0);
		return socket;
	}
	timer_start(socket->deadline, DEADLINE_MS);
	socket->watch = fd_watch_new(loop, socket->fd, on_ready, socket);
	fd_watch_set(socket->watch, FD_WRITABLE);
	return socket;
}

struct wg_socket *wg_socket_free(struct wg_socket *socket)
{
	if (!socket)
		return NULL;
	fd_watch_free(socket->watch);
	timer_free(socket->deadline);
	if (socket->fd >= 0)
		close(socket->fd);
	free(socket);
	return NULL;
}
