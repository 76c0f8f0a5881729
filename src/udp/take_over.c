// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: taking device, sockets and table over from a weft-udp that runs, so that no packet is lost.
#include "udp/take_over.h"

#include "core/mem.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 3 };

struct incoming {
	uint8_t data[CONTROL_MESSAGE_MAX];
	int fds[ENGINE_FDS_MAX];
	size_t fd_count;
};

static int ask(int fd, enum control_type type, struct err *e)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(CONTROL_MESSAGE_MAX);
	control_write_request(&out, type);
	if (send(fd, out.data, out.len, MSG_NOSIGNAL) < 0)
		return err_set(e, -errno, "asking the weft-udp that runs: %s", strerror(errno));
	return 0;
}

static int get(int fd, struct incoming *in, enum control_type *ret_type, struct control_reader *ret,
	       struct err *e)
{
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(in->fds))];
	struct iovec iov = { in->data, sizeof(in->data) };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	ssize_t len = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	in->fd_count = 0;
	if (len <= 0)
		return err_set(e, len < 0 ? -errno : -ECONNRESET, "the weft-udp that runs: %s",
			       len < 0 ? strerror(errno) : "hung up");
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
		in->fd_count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(in->fds, CMSG_DATA(header), in->fd_count * sizeof(int));
	}
	return control_open(in->data, (size_t)len, ret_type, ret, e);
}

static int get_answer(int fd, struct incoming *in, struct control_reader *ret, struct err *e)
{
	enum control_type type = CONTROL_ANSWER;
	int r = get(fd, in, &type, ret, e);
	if (r == 0 && type != CONTROL_ANSWER)
		r = err_set(e, -EPROTO, "the weft-udp that runs: not an answer");
	return r < 0 ? r : control_read_answer(ret, e);
}

// 0: connected, 1: nobody is there.
static int reach(const char *path, int *ret_fd, struct err *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = PATIENCE_SECONDS };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, -errno, "socket: %s", strerror(errno));
	if (text_copy(address.sun_path, sizeof(address.sun_path), path) < 0)
		return err_set(e, -ENAMETOOLONG, "%s: too long for a socket's path", path);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return 1;
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int check_identity(int fd, struct incoming *in, const struct engine_options *options,
			  struct err *e)
{
	struct control_reader reader;
	struct control_hello hello = { 0 };
	int r = ask(fd, CONTROL_HELLO, e);
	if (r == 0)
		r = get_answer(fd, in, &reader, e);
	if (r == 0)
		r = control_read_hello(&reader, &hello, e);
	if (r < 0)
		return r;
	if (strcmp(hello.device, options->device) != 0 || hello.port != options->port ||
	    !ip_equal(&hello.address, &options->address))
		return err_set(e, -EBUSY,
			       "a weft-udp for device %s, port %u runs with this socket; give another --socket",
			       hello.device, hello.port);
	return 0;
}

static int get_peers(struct take_over *take, struct control_reader *reader, bool *ret_last,
		     struct err *e)
{
	unsigned int flags = 0;
	uint32_t count = 0;
	int r = control_read_peers(reader, &flags, &count, e);
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		struct control_change change;
		r = control_read_change(reader, &change, e);
		if (r == 0)
			peer_list_append(&take->peers, &change.peer);
	}
	if (r == 0)
		*ret_last = flags & CONTROL_COMMIT;
	return r;
}

static int get_state(struct take_over *take, struct incoming *in, struct err *e)
{
	struct control_reader reader;
	enum control_type type = CONTROL_ANSWER;
	bool last = false;
	int r = ask(take->fd, CONTROL_HANDOVER, e);
	if (r == 0)
		r = get_answer(take->fd, in, &reader, e);
	memcpy(take->fds, in->fds, in->fd_count * sizeof(int));
	take->fd_count = in->fd_count;
	while (r == 0 && !last) {
		r = get(take->fd, in, &type, &reader, e);
		if (r == 0 && type == CONTROL_CONFIG) {
			// One that was never told anything hands that over, too.
			if (control_read_config(&reader, &take->config, NULL) < 0)
				take->config = (struct route_config){ 0 };
		} else if (r == 0) {
			r = get_peers(take, &reader, &last, e);
		}
	}
	return r;
}

int take_over_begin(const char *path, const struct engine_options *options, struct take_over *ret,
		    struct err *e)
{
	struct take_over take = { .fd = -1 };
	struct incoming *in = xnew(struct incoming);
	int r = reach(path, &take.fd, e);
	if (r == 0)
		r = check_identity(take.fd, in, options, e);
	if (r == 0)
		r = get_state(&take, in, e);
	free(in);
	if (r < 0) {
		take_over_free(&take);
		return r;
	}
	*ret = take;
	return 0;
}

int take_over_finish(struct take_over *take, struct err *e)
{
	struct control_reader reader;
	struct incoming *in = xnew(struct incoming);
	int r = ask(take->fd, CONTROL_STOP, e);
	if (r == 0)
		r = get_answer(take->fd, in, &reader, e);
	free(in);
	return r;
}

void take_over_free(struct take_over *take)
{
	for (size_t i = 0; i < take->fd_count; i++)
		close(take->fds[i]);
	take->fd_count = 0;
	if (take->fd >= 0)
		close(take->fd);
	take->fd = -1;
	peer_list_free(&take->peers);
}
