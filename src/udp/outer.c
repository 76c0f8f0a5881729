// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the UDP sockets that packets go through between hosts.
#include "udp/outer.h"

#include "core/mem.h"

#include <endian.h>
#include <errno.h>
#include <linux/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// A few superpackets, as the kernel counts them twice what this says. More would be delay: what is
// here is behind all that came before, and under one TCP stream it is full (with 8 MB round trips took
// half as long again as with 1 MB).
enum { RECEIVE_BUFFER_BYTES = 512 << 10, SEND_BUFFER_BYTES = 8 << 20 };

static void set(int fd, int level, int option, int value)
{
	// What a kernel does not have is done without.
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static int bind_to(int fd, const struct ip *address, uint16_t port)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htobe16(port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htobe16(port) };
	if (address->family == AF_INET) {
		memcpy(&v4.sin_addr, address->bytes, 4);
		return bind(fd, (struct sockaddr *)&v4, sizeof(v4)) < 0 ? -errno : 0;
	}
	memcpy(&v6.sin6_addr, address->bytes, 16);
	return bind(fd, (struct sockaddr *)&v6, sizeof(v6)) < 0 ? -errno : 0;
}

static int open_at(const struct ip *address, uint16_t port, bool shared, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = socket(address->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char text[IP_STR_MAX];
	if (fd < 0)
		return err_set(e, -errno, "socket: %s", strerror(errno));
	if (shared)
		set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	int r = bind_to(fd, address, port);
	if (r < 0)
		return err_set(e, r, "%s port %u: %s", ip_str(address, text), port, strerror(-r));
	// Beyond net.core.?mem_max.
	set(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES);
	set(fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int outer_open_receive(const struct ip *address, uint16_t port, bool shared, int *ret_fd, struct err *e)
{
	int r = open_at(address, port, shared, ret_fd, e);
	if (r == 0)
		set(*ret_fd, IPPROTO_UDP, UDP_GRO, 1);
	return r;
}

int outer_open_send(const struct ip *address, int *ret_fd, struct err *e)
{
	return open_at(address, 0, false, ret_fd, e);
}

bool outer_can_segment(int fd)
{
	int none = 0;
	return setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &none, sizeof(none)) == 0;
}

bool outer_spoils_equal_trains(const char *release)
{
	if (strncmp(release, "7.0", 3) == 0)
		return release[3] < '0' || release[3] > '9';
	if (strncmp(release, "7.1", 3) != 0)
		return false;
	if (release[3] != '.')
		return release[3] < '0' || release[3] > '9';
	// "7.1.4" and less, and not "7.1.40".
	return release[4] >= '0' && release[4] <= '4' && (release[5] < '0' || release[5] > '9');
}
