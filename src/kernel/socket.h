// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one netlink socket and the reading of many datagrams in one call. Private to kernel/.
#pragma once

#include "core/err.h"
#include "core/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mnl_socket;

// A kernel that has not answered after this long is taken for broken.
#define NLSOCK_TIMEOUT_S 5

struct nlsock {
	struct mnl_socket *mnl; // NULL: closed
	int fd;
	uint32_t port_id;
	size_t send_max;    // bytes that one send may carry
	size_t receive_max; // what the kernel lets wait, by its own count of memory
	bool strict;	    // NETLINK_GET_STRICT_CHK is on
};

struct nlsock_options {
	int protocol;	  // NETLINK_*; 0: rtnetlink
	uint32_t port_id; // asked for; 0, or one that is taken: the kernel chooses
	size_t receive_bytes;
	size_t send_bytes;
	bool strict;
};

// ret must be zero or closed.
int nlsock_open(struct nlsock *ret, const struct nlsock_options *options, struct err *e);
void nlsock_close(struct nlsock *sock); // leaves it zero
// -ENOSYS and the like where the kernel has no such group.
int nlsock_join(struct nlsock *sock, unsigned int group);
int nlsock_send(struct nlsock *sock, const void *data, size_t len);

// Room for `slots` datagrams of at most slot_bytes each.
struct nlsock_ring;
struct nlsock_ring *nlsock_ring_new(size_t slots, size_t slot_bytes);
struct nlsock_ring *nlsock_ring_free(struct nlsock_ring *ring);
static inline void nlsock_ring_freep(struct nlsock_ring **ring)
{
	nlsock_ring_free(*ring);
}

// Overwrites what was received: it held secrets.
void nlsock_ring_wipe(struct nlsock_ring *ring);

// Reads what is there into the ring. wait: for the first datagram, at most NLSOCK_TIMEOUT_S.
// The number of datagrams (>= 1), -EAGAIN when there is none, -ENOBUFS when the kernel had to drop some.
int nlsock_receive(struct nlsock *sock, struct nlsock_ring *ring, bool wait);
// The i-th datagram of the last receive; NULL when it did not come from the kernel.
// ret_cut: it was longer than a slot; its (only) message then ends where the slot does.
const void *nlsock_ring_datagram(const struct nlsock_ring *ring, size_t i, size_t *ret_len,
				 bool *ret_cut);

// Negative: unreadable.
typedef int nlsock_datagram_fn(void *arg, const void *data, size_t len);
// For notifications: hands over the kernel's datagrams, without blocking, until there is none, which is 1, or about datagrams_max
// were handed over, which is 0. *ret_lost: the kernel had to drop some, or one was unreadable, which is as good as lost.
int nlsock_drain(struct nlsock *sock, struct nlsock_ring *ring, size_t datagrams_max,
		 nlsock_datagram_fn *fn, void *arg, bool *ret_lost);
