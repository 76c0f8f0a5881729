// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: raw ICMP and ICMPv6 sockets in the loop.
#include "probe/echo_socket.h"

#include "core/mem.h"
#include "probe/echo.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TURN_PACKETS 32
#define RECEIVE_BUFFER_BYTES (64 * 1024) // a flood is the kernel's to drop
#define SECOND_US 1000000

struct echo_socket {
	int fd;
	int family;
	struct fd_watch *watch;
	echo_packet_fn *fn;
	void *arg;
	uint8_t packet[ECHO_PACKET_MAX + 1];
};

static uint64_t clock_us(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * SECOND_US + (uint64_t)now.tv_nsec / 1000;
}

uint64_t echo_now_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

// Only echo replies with this identifier. A raw IPv4 socket sees the IP header, an IPv6 one does not.
static int attach_filter(int fd, int family, uint16_t id)
{
	struct sock_filter v4[] = {
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ECHO_REPLY_TYPE_V4, 0, 3),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, id, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, ECHO_PACKET_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_filter v6[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ECHO_REPLY_TYPE_V6, 0, 3),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, id, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, ECHO_PACKET_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(v4), .filter = v4 };

	if (family == AF_INET6)
		program = (struct sock_fprog){ .len = ARRAY_SIZE(v6), .filter = v6 };
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ? -errno
											   : 0;
}

static struct ip address_of(const struct sockaddr_storage *from)
{
	const struct sockaddr_in *v4 = (const void *)from;
	const struct sockaddr_in6 *v6 = (const void *)from;

	return from->ss_family == AF_INET6  ? ip_from_bytes(AF_INET6, &v6->sin6_addr)
	       : from->ss_family == AF_INET ? ip_from_bytes(AF_INET, &v4->sin_addr)
					    : (struct ip){ 0 };
}

// The loop may have been held meanwhile. The clock may also have been set: an age that cannot be is none.
static uint64_t age_us(struct msghdr *message)
{
	struct cmsghdr *control = CMSG_FIRSTHDR(message);
	uint64_t now_us = clock_us(CLOCK_REALTIME), stamp_us;
	struct timespec stamp;

	if (!control || control->cmsg_level != SOL_SOCKET || control->cmsg_type != SO_TIMESTAMPNS)
		return 0;
	memcpy(&stamp, CMSG_DATA(control), sizeof(stamp));
	stamp_us = (uint64_t)stamp.tv_sec * SECOND_US + (uint64_t)stamp.tv_nsec / 1000;
	return stamp_us <= now_us && now_us - stamp_us < SECOND_US ? now_us - stamp_us : 0;
}

static void on_readable(void *arg, unsigned int events)
{
	struct echo_socket *sock = arg;

	(void)events;
	for (int i = 0; i < TURN_PACKETS; i++) {
		_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct timespec))];
		struct sockaddr_storage from = { 0 };
		struct iovec part = { sock->packet, sizeof(sock->packet) };
		struct msghdr message = { .msg_name = &from,
					  .msg_namelen = sizeof(from),
					  .msg_iov = &part,
					  .msg_iovlen = 1,
					  .msg_control = control,
					  .msg_controllen = sizeof(control) };
		ssize_t len = recvmsg(sock->fd, &message, MSG_DONTWAIT);
		struct ip ip;

		if (len < 0)
			return; // nothing more, or an error of an earlier send, which its deadline tells of
		ip = address_of(&from);
		sock->fn(sock->arg, &ip, sock->packet, (size_t)len, age_us(&message));
	}
}

// No fragments, and nothing of what the kernel believes of a path: a packet goes as it is, or is refused with -EMSGSIZE if the interface does not
// take it.
static int refuse_fragments(int fd, int family)
{
	int one = 1, v4 = IP_PMTUDISC_PROBE, v6 = IPV6_PMTUDISC_PROBE;
	int r;

	if (family == AF_INET)
		return setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &v4, sizeof(v4)) < 0 ? -errno : 0;
	r = setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &v6, sizeof(v6));
	if (r == 0)
		r = setsockopt(fd, IPPROTO_IPV6, IPV6_DONTFRAG, &one, sizeof(one));
	return r < 0 ? -errno : 0;
}

static int set_options(int fd, int family, uint16_t id)
{
	int one = 1, size = RECEIVE_BUFFER_BYTES;
	int r = attach_filter(fd, family, id);

	if (r == 0)
		r = refuse_fragments(fd, family);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)); // the kernel's does as well
	(void)setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)); // without it times are rougher
	return r;
}

int echo_socket_new(struct loop *loop, int family, uint16_t id, echo_packet_fn *fn, void *arg,
		    struct echo_socket **ret, struct err *e)
{
	int protocol = family == AF_INET6 ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP;
	_cleanup_close_ int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	struct echo_socket *sock;
	int r = fd < 0 ? -errno : set_options(fd, family, id);

	if (r < 0)
		return err_set(e, r, "raw ICMP%s socket: %s%s", family == AF_INET6 ? "v6" : "",
			       strerror(-r), r == -EPERM ? "; it needs CAP_NET_RAW" : "");
	sock = xnew(struct echo_socket);
	sock->family = family;
	sock->fn = fn;
	sock->arg = arg;
	sock->watch = fd_watch_new(loop, fd, on_readable, sock);
	sock->fd = TAKE_FD(fd);
	fd_watch_set(sock->watch, FD_READABLE);
	*ret = sock;
	return 0;
}

struct echo_socket *echo_socket_free(struct echo_socket *sock)
{
	if (!sock)
		return NULL;
	fd_watch_free(sock->watch);
	(void)close(sock->fd);
	free(sock);
	return NULL;
}

int echo_socket_send(struct echo_socket *sock, const struct ip *to, const void *packet, size_t len)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	bool is_v6 = sock->family == AF_INET6;

	memcpy(&v4.sin_addr, to->bytes, sizeof(v4.sin_addr));
	memcpy(&v6.sin6_addr, to->bytes, sizeof(v6.sin6_addr));
	if (sendto(sock->fd, packet, len, MSG_DONTWAIT,
		   is_v6 ? (const struct sockaddr *)&v6 : (const struct sockaddr *)&v4,
		   is_v6 ? sizeof(v6) : sizeof(v4)) < 0)
		return -errno;
	return 0;
}
