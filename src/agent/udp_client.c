// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one connection to a weft-udp: a request, then its answer.
#include "agent/udp_client.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MS 5000 // a table of a million subnets takes less

struct udp_client {
	int fd;
	pid_t pid;
	struct fd_watch *watch;
	struct timer *deadline; // of the answer; after a failed send it fires at once
	udp_client_lost_fn *lost;
	void *arg;
	udp_client_fn *fn; // NULL: nothing was asked
	struct err failure;
	uint8_t data[CONTROL_MESSAGE_MAX + 1]; // of the answer
};

static void end(struct udp_client *client, const struct err *e)
{
	fd_watch_set(client->watch, 0);
	timer_stop(client->deadline);
	client->fn = NULL;
	client->lost(client->arg, e);
}

static void on_deadline(void *arg)
{
	struct udp_client *client = arg;
	struct err e = client->failure;
	if (e.code == 0)
		err_set(&e, -ETIMEDOUT, "weft-udp, process %d, does not answer", (int)client->pid);
	end(client, &e);
}

static void take_answer(struct udp_client *client, size_t len)
{
	struct control_reader reader;
	enum control_type type;
	struct err e = { 0 };
	int r = control_open(client->data, len, &type, &reader, &e);
	if (r == 0 && (type != CONTROL_ANSWER || !client->fn))
		r = err_set(&e, -EPROTO, "it answers what was not asked");
	if (r < 0) {
		err_wrap(&e, "weft-udp, process %d", (int)client->pid);
		end(client, &e);
		return;
	}
	udp_client_fn *fn = TAKE_PTR(client->fn);
	timer_stop(client->deadline);
	r = control_read_answer(&reader, &e);
	fn(client->arg, r, &reader, &e);
}

static void on_readable(void *arg, unsigned int events)
{
	struct udp_client *client = arg;
	struct err e;
	(void)events;
	ssize_t len = recv(client->fd, client->data, sizeof(client->data), MSG_DONTWAIT);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len > 0) {
		take_answer(client, (size_t)len);
		return;
	}
	err_set(&e, -ECONNRESET, "weft-udp, process %d, ended", (int)client->pid);
	end(client, &e);
}

// The directory is root's, so this is for one that is not.
static int check_other(int fd, pid_t *ret, const char *path, struct err *e)
{
	struct ucred other;
	socklen_t len = sizeof(other);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &other, &len) < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (other.uid != 0 && other.uid != getuid())
		return err_set(e, -EPERM, "%s is served by user %u, not by root; remove it", path,
			       (unsigned int)other.uid);
	*ret = other.pid;
	return 0;
}

int udp_client_open(struct loop *loop, const char *path, udp_client_lost_fn *lost, void *arg,
		    struct udp_client **ret, struct err *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	pid_t pid = 0;
	if (fd < 0)
		return err_set(e, -errno, "socket: %s", strerror(errno));
	if (text_copy(address.sun_path, sizeof(address.sun_path), path) < 0)
		return err_set(e, -ENAMETOOLONG, "%s: too long for a socket's path", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	int r = check_other(fd, &pid, path, e);
	if (r < 0)
		return r;
	struct udp_client *client = xnew(struct udp_client);
	client->fd = TAKE_FD(fd);
	client->pid = pid;
	client->lost = lost;
	client->arg = arg;
	client->watch = fd_watch_new(loop, client->fd, on_readable, client);
	client->deadline = timer_new(loop, on_deadline, client);
	fd_watch_set(client->watch, FD_READABLE);
	*ret = client;
	return 0;
}

struct udp_client *udp_client_free(struct udp_client *client)
{
	if (!client)
		return NULL;
	fd_watch_free(client->watch);
	timer_free(client->deadline);
	close(client->fd);
	free(client);
	return NULL;
}

pid_t udp_client_pid(const struct udp_client *client)
{
	return client->pid;
}

bool udp_client_is_busy(const struct udp_client *client)
{
	return client->fn != NULL;
}

void udp_client_ask(struct udp_client *client, const struct strbuf *message, udp_client_fn *fn)
{
	client->fn = fn;
	client->failure.code = 0;
	bool sent = send(client->fd, message->data, message->len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
	if (!sent)
		err_set(&client->failure, -errno, "weft-udp, process %d: %s", (int)client->pid,
			strerror(errno));
	timer_start(client->deadline, sent ? ANSWER_MS : 0);
}

void udp_client_tell(struct udp_client *client, enum control_type type)
{
	_cleanup_strbuf_ struct strbuf message = STRBUF_INIT(CONTROL_MESSAGE_MAX);
	control_write_request(&message, type);
	(void)send(client->fd, message.data, message.len, MSG_NOSIGNAL | MSG_DONTWAIT);
}
