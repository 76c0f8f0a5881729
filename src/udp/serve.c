// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft-udp's control thread: who tells it of peers, and the table that follows from that.
#include "udp/serve.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	CLIENTS_MAX = 8,
	PEERS_MAX = 1 << 20,
	REAP_MS = 10,	    // until it is looked again whether a table is still used
	ANSWER_SECONDS = 2, // for a client that does not read
	LISTEN_BACKLOG = 8,
};

struct client {
	int fd; // -1: none
	bool staging;
	struct peer_list staged; // while staging: what is to take effect
};

struct serve {
	struct engine *engine;
	const struct serve_identity *identity;
	int listener;
	struct route_config config;
	struct peer_list peers; // sorted
	struct client clients[CLIENTS_MAX];
	struct strbuf out;
	bool stopped;
};

struct serve *serve_new(struct engine *engine, const struct serve_identity *identity)
{
	struct serve *s = xnew(struct serve);
	*s = (struct serve){ .engine = engine,
			     .identity = identity,
			     .listener = -1,
			     .out = STRBUF_INIT(CONTROL_MESSAGE_MAX) };
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		s->clients[i].fd = -1;
	return s;
}

static void client_end(struct client *client)
{
	close(client->fd);
	client->fd = -1;
	client->staging = false;
	peer_list_free(&client->staged);
}

struct serve *serve_free(struct serve *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (s->clients[i].fd >= 0)
			client_end(&s->clients[i]);
	if (s->listener >= 0)
		close(s->listener);
	peer_list_free(&s->peers);
	strbuf_free(&s->out);
	free(s);
	return NULL;
}

int serve_take(struct serve *s, const struct route_config *config, struct peer_list *take_peers,
	       struct err *e)
{
	struct route_table *table = NULL;
	for (size_t i = 0; i < take_peers->count; i++)
		if (take_peers->items[i].host.family != s->identity->address.family)
			return err_set(e, -EAFNOSUPPORT,
				       "a peer's host is of another family than our address");
	int r = route_table_new(config, take_peers->items, take_peers->count, &table, e);
	if (r < 0)
		return r;
	s->config = *config;
	if (take_peers != &s->peers) {
		peer_list_free(&s->peers);
		s->peers = *take_peers;
		*take_peers = (struct peer_list){ 0 };
	}
	engine_set_table(s->engine, table);
	return 0;
}

int serve_listen(struct serve *s, const char *path, struct err *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat found;
	if (fd < 0)
		return err_set(e, -errno, "socket: %s", strerror(errno));
	if (text_copy(address.sun_path, sizeof(address.sun_path), path) < 0)
		return err_set(e, -ENAMETOOLONG, "%s: too long for a socket's path", path);
	if (lstat(path, &found) == 0) {
		if (!S_ISSOCK(found.st_mode))
			return err_set(e, -EEXIST,
				       "%s is something else than a socket; move it away", path);
		(void)unlink(path);
	}
	mode_t before = umask(0177);
	int r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	umask(before);
	if (r == 0 && listen(fd, LISTEN_BACKLOG) < 0)
		r = -errno;
	if (r < 0)
		return err_set(e, r, "%s: %s", path, strerror(-r));
	s->listener = TAKE_FD(fd);
	return 0;
}

// Requests. Each returns 0 or what is answered.

static int do_config(struct serve *s, struct control_reader *reader, struct err *e)
{
	struct route_config config;
	int r = control_read_config(reader, &config, e);
	return r < 0 ? r : serve_take(s, &config, &s->peers, e);
}

static int stage(struct client *client, struct control_reader *reader, bool anew, uint32_t count,
		 struct err *e)
{
	for (uint32_t i = 0; i < count; i++) {
		struct control_change change;
		int r = control_read_change(reader, &change, e);
		if (r < 0)
			return r;
		if (client->staged.count >= PEERS_MAX)
			return err_set(e, -E2BIG, "more than %d peers", PEERS_MAX);
		if (!anew)
			peer_list_apply(&client->staged, &change);
		else if (!change.remove)
			peer_list_append(&client->staged, &change.peer);
	}
	return 0;
}

static int do_peers(struct serve *s, struct client *client, struct control_reader *reader,
		    struct err *e)
{
	unsigned int flags;
	uint32_t count;
	int r = control_read_peers(reader, &flags, &count, e);
	if (r < 0)
		return r;
	if (flags & CONTROL_BEGIN) {
		peer_list_free(&client->staged);
		client->staging = true;
	}
	bool anew = client->staging;
	if (!anew && !(flags & CONTROL_COMMIT))
		return err_set(e, -EPROTO, "changes that are not committed, and no begin");
	if (!anew)
		peer_list_copy(&s->peers, &client->staged);
	r = stage(client, reader, anew, count, e);
	if (r == 0 && !(flags & CONTROL_COMMIT) && anew)
		return 0;
	if (r == 0) {
		peer_list_sort(&client->staged);
		r = serve_take(s, &s->config, &client->staged, e);
	}
	client->staging = false;
	peer_list_free(&client->staged);
	return r;
}

static void answer_hello(struct serve *s)
{
	struct control_hello hello = { .port = s->identity->port,
				       .address = s->identity->address,
				       .peers = (uint32_t)s->peers.count };
	(void)text_copy(hello.device, sizeof(hello.device), s->identity->device);
	(void)text_copy(hello.build, sizeof(hello.build), s->identity->build);
	(void)text_copy(hello.engine, sizeof(hello.engine), s->identity->engine);
	control_write_hello(&s->out, &hello);
}

static void answer_counters(struct serve *s)
{
	uint64_t values[COUNTER_COUNT];
	engine_counters(s->engine, values);
	control_write_counters(&s->out, values);
}

static int send_out(struct serve *s, int fd, const int *fds, size_t fd_count)
{
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(ENGINE_FDS_MAX * sizeof(int))];
	struct iovec iov = { s->out.data, s->out.len };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (fd_count > 0) {
		memset(control, 0, sizeof(control));
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

// All that a client told us, in the same messages.
static int send_state(struct serve *s, int fd)
{
	struct control_change *changes = xnew0_array(struct control_change, CONTROL_CHANGES_MAX);
	size_t at = 0;
	control_write_config(&s->out, &s->config);
	int r = send_out(s, fd, NULL, 0);
	do {
		unsigned int flags = at == 0 ? CONTROL_BEGIN : 0;
		size_t count = 0;
		while (count < CONTROL_CHANGES_MAX && at < s->peers.count)
			changes[count++] = (struct control_change){ .peer = s->peers.items[at++] };
		if (at == s->peers.count)
			flags |= CONTROL_COMMIT;
		control_write_peers(&s->out, flags, changes, count);
		if (r == 0)
			r = send_out(s, fd, NULL, 0);
	} while (r == 0 && at < s->peers.count);
	free(changes);
	return r;
}

static int hand_over(struct serve *s, int fd)
{
	struct err fine = { 0 };
	int fds[ENGINE_FDS_MAX];
	size_t count = engine_descriptors(s->engine, fds);
	control_write_answer(&s->out, &fine);
	int r = send_out(s, fd, fds, count);
	return r < 0 ? r : send_state(s, fd);
}

// What is answered by how it went, which e tells.
static void obey(struct serve *s, struct client *client, enum control_type type,
		 struct control_reader *reader, struct err *e)
{
	if (type == CONTROL_CONFIG) {
		(void)do_config(s, reader, e);
	} else if (type == CONTROL_PEERS) {
		(void)do_peers(s, client, reader, e);
	} else if (type == CONTROL_STOP) {
		engine_stop(s->engine);
		s->stopped = true;
	} else {
		err_set(e, -EPROTO, "requests of type %d are unknown", (int)type);
	}
}

static int handle(struct serve *s, struct client *client, const uint8_t *data, size_t len)
{
	struct control_reader reader;
	enum control_type type = CONTROL_ANSWER;
	struct err e = { 0 };
	int r = control_open(data, len, &type, &reader, &e);
	if (r == 0 && type == CONTROL_HELLO) {
		answer_hello(s);
		return send_out(s, client->fd, NULL, 0);
	}
	if (r == 0 && type == CONTROL_COUNTERS) {
		answer_counters(s);
		return send_out(s, client->fd, NULL, 0);
	}
	if (r == 0 && type == CONTROL_HANDOVER)
		return hand_over(s, client->fd);
	if (r == 0)
		obey(s, client, type, &reader, &e);
	if (e.code != 0)
		log_rl(LOG_LEVEL_WARN, "control: refused a request: %s", err_msg(&e));
	control_write_answer(&s->out, &e);
	return send_out(s, client->fd, NULL, 0);
}

static void read_client(struct serve *s, struct client *client)
{
	static uint8_t data[CONTROL_MESSAGE_MAX + 1];
	ssize_t len = recv(client->fd, data, sizeof(data), MSG_DONTWAIT);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0 || handle(s, client, data, (size_t)len) < 0)
		client_end(client);
}

static void accept_client(struct serve *s)
{
	struct timeval patience = { .tv_sec = ANSWER_SECONDS };
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	bool allowed = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
		       (peer.uid == 0 || peer.uid == getuid());
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	for (size_t i = 0; allowed && i < CLIENTS_MAX; i++) {
		if (s->clients[i].fd < 0) {
			s->clients[i].fd = fd;
			return;
		}
	}
	log_rl(LOG_LEVEL_WARN, "control: refused a client: %s",
	       allowed ? "there are too many" : "of another user");
	close(fd);
}

enum { POLL_STOP, POLL_LOST, POLL_LISTENER, POLL_CLIENTS, POLL_COUNT = POLL_CLIENTS + CLIENTS_MAX };

static void serve_ready(struct serve *s, const struct pollfd *polls)
{
	for (size_t i = 0; i < CLIENTS_MAX && !s->stopped; i++)
		if (polls[POLL_CLIENTS + i].revents && polls[POLL_CLIENTS + i].fd == s->clients[i].fd)
			read_client(s, &s->clients[i]);
	if (polls[POLL_LISTENER].revents && !s->stopped)
		accept_client(s);
}

int serve_run(struct serve *s, int stop_fd, struct err *e)
{
	bool reap = false;
	while (!s->stopped) {
		struct pollfd polls[POLL_COUNT] = {
			[POLL_STOP] = { .fd = stop_fd, .events = POLLIN },
			[POLL_LOST] = { .fd = engine_lost_fd(s->engine), .events = POLLIN },
			[POLL_LISTENER] = { .fd = s->listener, .events = POLLIN },
		};
		for (size_t i = 0; i < CLIENTS_MAX; i++)
			polls[POLL_CLIENTS + i] =
				(struct pollfd){ .fd = s->clients[i].fd, .events = POLLIN };
		if (poll(polls, POLL_COUNT, reap ? REAP_MS : -1) < 0 && errno != EINTR)
			return err_set(e, -errno, "poll: %s", strerror(errno));
		if (polls[POLL_STOP].revents)
			return 0;
		if (polls[POLL_LOST].revents)
			return err_set(e, -ENODEV, "device %s is gone", s->identity->device);
		serve_ready(s, polls);
		reap = engine_reap(s->engine);
	}
	return 0;
}
