// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one netlink socket and the reading of many datagrams in one call.

#include "kernel/socket.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

// The kernel keeps this much of the send buffer for itself (netlink_sendmsg).
#define SEND_RESERVE 64

// The FORCE form passes net.core.[rw]mem_max and needs CAP_NET_ADMIN; the plain form is cut to that limit.
static void set_buffer(int fd, int force, int plain, size_t bytes)
{
	int value = (int)bytes;

	if (bytes > 0 && setsockopt(fd, SOL_SOCKET, force, &value, sizeof(value)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, plain, &value, sizeof(value));
}

static size_t get_buffer(int fd, int option)
{
	socklen_t len = sizeof(int);
	int value = 0;

	if (getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 || value < 4096)
		return 4096;
	return (size_t)value;
}

static bool set_netlink_option(int fd, int option)
{
	int on = 1;

	return setsockopt(fd, SOL_NETLINK, option, &on, sizeof(on)) == 0;
}

static int bind_port(struct mnl_socket *mnl, uint32_t wanted)
{
	if (wanted != 0 && mnl_socket_bind(mnl, 0, (pid_t)wanted) == 0)
		return 0;
	return mnl_socket_bind(mnl, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
}

int nlsock_open(struct nlsock *ret, const struct nlsock_options *options, struct err *e)
{
	struct timeval timeout = { .tv_sec = NLSOCK_TIMEOUT_S };
	struct mnl_socket *mnl;
	int fd, r;

	mnl = mnl_socket_open2(options->protocol, SOCK_CLOEXEC);
	if (!mnl) {
		r = -errno;
		return err_set(e, r, "opening a netlink socket: %s", strerror(-r));
	}
	r = bind_port(mnl, options->port_id);
	if (r < 0) {
		(void)mnl_socket_close(mnl);
		return err_set(e, r, "binding a netlink socket: %s", strerror(-r));
	}
	fd = mnl_socket_get_fd(mnl);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options->receive_bytes);
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options->send_bytes);
	(void)set_netlink_option(fd, NETLINK_EXT_ACK);
	(void)set_netlink_option(fd, NETLINK_CAP_ACK);
	*ret = (struct nlsock){
		.mnl = mnl,
		.fd = fd,
		.port_id = mnl_socket_get_portid(mnl),
		.send_max = get_buffer(fd, SO_SNDBUF) - SEND_RESERVE,
		.receive_max = get_buffer(fd, SO_RCVBUF),
		.strict = options->strict && set_netlink_option(fd, NETLINK_GET_STRICT_CHK),
	};
	return 0;
}

void nlsock_close(struct nlsock *sock)
{
	if (sock->mnl)
		(void)mnl_socket_close(sock->mnl);
	*sock = (struct nlsock){ .fd = -1 };
}

int nlsock_join(struct nlsock *sock, unsigned int group)
{
	int value = (int)group;

	return mnl_socket_setsockopt(sock->mnl, NETLINK_ADD_MEMBERSHIP, &value, sizeof(value)) < 0
		       ? -errno
		       : 0;
}

int nlsock_send(struct nlsock *sock, const void *data, size_t len)
{
	if (!sock->mnl)
		return -EIO;
	for (;;) {
		if (mnl_socket_sendto(sock->mnl, data, len) >= 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

struct nlsock_ring {
	size_t slots;
	size_t slot_bytes;
	uint8_t *data;
	struct mmsghdr *headers;
	struct iovec *vectors;
	struct sockaddr_nl *senders;
};

struct nlsock_ring *nlsock_ring_new(size_t slots, size_t slot_bytes)
{
	struct nlsock_ring *ring = xnew(struct nlsock_ring);

	ring->slots = slots;
	ring->slot_bytes = slot_bytes;
	ring->data = xmalloc(slots * slot_bytes);
	ring->headers = xnew0_array(struct mmsghdr, slots);
	ring->vectors = xnew0_array(struct iovec, slots);
	ring->senders = xnew0_array(struct sockaddr_nl, slots);
	for (size_t i = 0; i < slots; i++)
		ring->vectors[i] = (struct iovec){ ring->data + i * slot_bytes, slot_bytes };
	return ring;
}

struct nlsock_ring *nlsock_ring_free(struct nlsock_ring *ring)
{
	if (!ring)
		return NULL;
	free(ring->data);
	free(ring->headers);
	free(ring->vectors);
	free(ring->senders);
	free(ring);
	return NULL;
}

void nlsock_ring_wipe(struct nlsock_ring *ring)
{
	explicit_bzero(ring->data, ring->slots * ring->slot_bytes);
}

int nlsock_receive(struct nlsock *sock, struct nlsock_ring *ring, bool wait)
{
	int r;

	if (!sock->mnl)
		return -EIO;
	for (size_t i = 0; i < ring->slots; i++)
		ring->headers[i].msg_hdr = (struct msghdr){
			.msg_name = &ring->senders[i],
			.msg_namelen = sizeof(ring->senders[i]),
			.msg_iov = &ring->vectors[i],
			.msg_iovlen = 1,
		};
	do
		r = recvmmsg(sock->fd, ring->headers, (unsigned int)ring->slots,
			     wait ? MSG_WAITFORONE : MSG_DONTWAIT, NULL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

const void *nlsock_ring_datagram(const struct nlsock_ring *ring, size_t i, size_t *ret_len,
				 bool *ret_cut)
{
	const struct mmsghdr *header = &ring->headers[i];
	uint8_t *data = ring->data + i * ring->slot_bytes;
	uint32_t kept = (uint32_t)ring->slot_bytes;

	if (header->msg_hdr.msg_namelen != sizeof(ring->senders[i]) || ring->senders[i].nl_pid != 0)
		return NULL;
	*ret_len = header->msg_len < ring->slot_bytes ? header->msg_len : ring->slot_bytes;
	*ret_cut = header->msg_hdr.msg_flags & MSG_TRUNC;
	if (*ret_cut)
		memcpy(data + offsetof(struct nlmsghdr, nlmsg_len), &kept, sizeof(kept));
	return data;
}

int nlsock_drain(struct nlsock *sock, struct nlsock_ring *ring, size_t datagrams_max,
		 nlsock_datagram_fn *fn, void *arg, bool *ret_lost)
{
	size_t handed = 0, len;
	const void *data;
	bool cut;
	int r;

	*ret_lost = false;
	while (handed < datagrams_max) {
		r = nlsock_receive(sock, ring, false);
		if (r == -EAGAIN)
			return 1;
		if (r == -ENOBUFS) {
			*ret_lost = true;
			continue;
		}
		if (r < 0)
			return r;
		for (size_t i = 0; i < (size_t)r; i++, handed++) {
			data = nlsock_ring_datagram(ring, i, &len, &cut);
			if (data && (cut || fn(arg, data, len) < 0))
				*ret_lost = true;
		}
	}
	return 0;
}
