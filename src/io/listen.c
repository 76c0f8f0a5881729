// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: sockets that listen.
#include "io/listen.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"

#include <errno.h>
#include <libgen.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 128

static int unix_address(const char *path, struct sockaddr_un *ret, struct err *e)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (text_copy(ret->sun_path, sizeof(ret->sun_path), path) < 0)
		return err_set(e, -ENAMETOOLONG, "socket %s: a path may have %zu bytes", path,
			       sizeof(ret->sun_path) - 1);
	return 0;
}

// Removes the socket file of a process that died; anything that still answers stays.
static int clear_path(const char *path, const struct sockaddr_un *address, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0
				       : err_set(e, -errno, "socket %s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, -EEXIST, "socket %s: something else is there; remove it", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, -errno, "socket %s: %s", path, strerror(errno));
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		return err_set(e, -EADDRINUSE, "socket %s: another process serves it", path);
	if (errno != ECONNREFUSED && errno != ENOENT)
		return err_set(e, -errno, "socket %s: %s", path, strerror(errno));
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(e, -errno, "socket %s: %s", path, strerror(errno));
	return 0;
}

int listen_unix(const char *path, int *ret_fd, struct err *e)
{
	_cleanup_free_ char *copy = xstrdup(path);
	_cleanup_close_ int fd = -1;
	struct sockaddr_un address;
	int r;

	r = unix_address(path, &address, e);
	if (r < 0)
		return r;
	r = directory_make(dirname(copy), 0755, e);
	if (r < 0)
		return r;
	r = clear_path(path, &address, e);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	// The file that bind makes takes its mode from the socket, so there is no moment in which others may connect.
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return err_set(e, -errno, "socket %s: %s", path, strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

union tcp_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t tcp_address_make(const struct ip *ip, uint16_t port, union tcp_address *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->any.sa_family = ip->family;
	if (ip->family == AF_INET6) {
		ret->v6.sin6_port = htons(port);
		memcpy(&ret->v6.sin6_addr, ip->bytes, sizeof(ret->v6.sin6_addr));
		return sizeof(ret->v6);
	}
	ret->v4.sin_port = htons(port);
	memcpy(&ret->v4.sin_addr, ip->bytes, sizeof(ret->v4.sin_addr));
	return sizeof(ret->v4);
}

static int bound_port(int fd, uint16_t *ret)
{
	union tcp_address address;
	socklen_t len = sizeof(address);

	memset(&address, 0, sizeof(address));
	if (getsockname(fd, &address.any, &len) < 0)
		return -errno;
	*ret = ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
	return 0;
}

int listen_tcp(const struct ip *address, uint16_t port, int *ret_fd, uint16_t *ret_port, struct err *e)
{
	const int on = 1, off = 0;
	_cleanup_close_ int fd = -1;
	union tcp_address tcp;
	char text[IP_STR_MAX];
	socklen_t len;
	int r;

	if (!ip_is_set(address))
		return err_set(e, -EINVAL, "listen: no address given");
	len = tcp_address_make(address, port, &tcp);
	fd = socket(address->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (address->family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0) ||
	    bind(fd, &tcp.any, len) < 0 || listen(fd, BACKLOG) < 0)
		return err_set(e, -errno, "listen on %s port %u: %s", ip_str(address, text), port,
			       strerror(errno));
	r = bound_port(fd, ret_port);
	if (r < 0)
		return err_set(e, r, "listen on %s port %u: %s", ip_str(address, text), port,
			       strerror(-r));
	*ret_fd = TAKE_FD(fd);
	return 0;
}
