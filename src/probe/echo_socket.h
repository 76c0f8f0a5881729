// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: raw ICMP and ICMPv6 sockets in the loop, one a family. The kernel lets nothing through but echo replies with our identifier, so what
// others on this host ping wakes nobody. What is sent is never fragmented on its way.
#pragma once

#include "core/err.h"
#include "core/ip.h"
#include "io/loop.h"

#include <stddef.h>
#include <stdint.h>

// A packet came, as echo_decode takes it. age_us: how long ago the kernel got it.
typedef void echo_packet_fn(void *arg, const struct ip *from, const void *packet, size_t len,
			    uint64_t age_us);

struct echo_socket;
// family: AF_INET or AF_INET6. -EPERM without CAP_NET_RAW, -EAFNOSUPPORT where the kernel lacks the family.
int echo_socket_new(struct loop *loop, int family, uint16_t id, echo_packet_fn *fn, void *arg,
		    struct echo_socket **ret, struct err *e);
struct echo_socket *echo_socket_free(struct echo_socket *socket);
// Never waits. -EAGAIN, -ENOBUFS: not now; -EMSGSIZE; -ENETUNREACH and the like: there is no way to it.
int echo_socket_send(struct echo_socket *socket, const struct ip *to, const void *packet, size_t len);
uint64_t echo_now_us(void); // CLOCK_MONOTONIC
