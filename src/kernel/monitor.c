// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the subscription to kernel notifications of one network namespace.

#include "kernel/monitor.h"

#include "core/mem.h"
#include "kernel/decode.h"
#include "kernel/exchange.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

// The kernel doubles it: about 16,000 notifications may wait.
#define RECEIVE_BYTES ((size_t)8 * 1024 * 1024)
// A notification is below 2 KiB unless a device has very many alternative names.
#define RING_SLOTS 16
#define RING_SLOT_BYTES ((size_t)16 * 1024)

struct monitor {
	struct nlsock sock;
	struct nlsock_ring *ring;
	struct netlink *own;  // whose changes are left out; NULL: nobody's
	uint32_t own_port_id; // the one that the socket's filter knows
};

static int join_groups(struct nlsock *sock, struct err *e)
{
	static const unsigned int groups[] = {
		RTNLGRP_LINK,	    RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
		RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,	 RTNLGRP_NEIGH,
	};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		r = nlsock_join(sock, groups[i]);
		if (r < 0)
			return err_set(e, r, "subscribing to kernel notifications: %s", strerror(-r));
	}
	// Kernels before 5.3 have no nexthop objects and nothing to tell of them.
	(void)nlsock_join(sock, RTNLGRP_NEXTHOP);
	return 0;
}

int monitor_open(struct monitor **ret, struct err *e)
{
	struct nlsock_options options = { .receive_bytes = RECEIVE_BYTES };
	struct monitor *monitor = xnew(struct monitor);
	int r;

	r = nlsock_open(&monitor->sock, &options, e);
	if (r == 0)
		r = join_groups(&monitor->sock, e);
	if (r < 0) {
		monitor_close(monitor);
		return r;
	}
	monitor->ring = nlsock_ring_new(RING_SLOTS, RING_SLOT_BYTES);
	*ret = monitor;
	return 0;
}

struct monitor *monitor_close(struct monitor *monitor)
{
	if (!monitor)
		return NULL;
	nlsock_close(&monitor->sock);
	nlsock_ring_free(monitor->ring);
	free(monitor);
	return NULL;
}

int monitor_fd(const struct monitor *monitor)
{
	return monitor->sock.fd;
}

static int filter_port(struct monitor *monitor, uint32_t port_id)
{
	// BPF loads words as big-endian; the header is in host order.
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_pid)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(port_id), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };

	monitor->own_port_id = port_id;
	return setsockopt(monitor->sock.fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0
		       ? -errno
		       : 0;
}

int monitor_skip_own(struct monitor *monitor, struct netlink *nl, struct err *e)
{
	int r;

	r = filter_port(monitor, netlink_port_id(nl));
	if (r < 0)
		return err_set(e, r, "filtering kernel notifications: %s", strerror(-r));
	monitor->own = nl;
	nl->echoes.enabled = true;
	return 0;
}

static bool is_own(struct monitor *monitor, uint32_t port_id, const struct decoded *decoded)
{
	if (!monitor->own)
		return false;
	return port_id == monitor->own_port_id ||
	       (port_id == 0 && echo_take(&monitor->own->echoes, &decoded->object, decoded->removed));
}

// Older kernels (6.1) tell of an FDB entry that was asked for or removed by request twice: the driver with all there is to
// it, even a remote of 0.0.0.0, then the core with no more than the MAC. That one says nothing new, and fits no echo.
static bool is_told_already(const struct kernel_object *object)
{
	return object->kind == KERNEL_FDB && !ip_is_set(&object->fdb.remote) && !object->fdb.other;
}

struct reading {
	struct monitor *monitor;
	monitor_event_fn *fn;
	void *arg;
};

// -EBADMSG when the datagram ends in something unreadable.
static int take_datagram(void *arg, const void *data, size_t len)
{
	const struct reading *reading = arg;
	struct nlmsg_view msg;
	struct decoded decoded;
	size_t offset = 0;
	int r, result = 0;

	while ((r = nlmsg_next(data, len, &offset, &msg)) > 0) {
		r = decode_object(&msg, &decoded);
		if (r < 0 && r != -ENOMSG)
			result = r;
		if (r == 0 && !is_told_already(&decoded.object) &&
		    !is_own(reading->monitor, msg.port_id, &decoded))
			reading->fn(reading->arg, &(struct kernel_event){ decoded.removed, msg.port_id,
									  decoded.object });
	}
	return r < 0 ? r : result;
}

int monitor_read(struct monitor *monitor, size_t events_max, monitor_event_fn *fn, void *arg,
		 struct err *e)
{
	struct reading reading = { monitor, fn, arg };
	bool lost;
	int r;

	// The request socket may have been replaced, and then has another port id.
	if (monitor->own && netlink_port_id(monitor->own) != monitor->own_port_id)
		(void)filter_port(monitor, netlink_port_id(monitor->own));
	r = nlsock_drain(&monitor->sock, monitor->ring, events_max, take_datagram, &reading, &lost);
	if (r < 0)
		return err_set(e, r, "reading kernel notifications: %s", strerror(-r));
	if (r == 1 && monitor->own)
		echo_list_clear(&monitor->own->echoes);
	return lost ? err_set(e, -ENOBUFS, "kernel notifications were lost") : 0;
}
