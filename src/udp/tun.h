// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the TUN device: its queues and what the kernel leaves to us on them.
#pragma once

#include "core/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { TUN_QUEUES_MAX = 4 };

struct tun_features {
	bool tso; // superpackets of TCP, both ways
	bool uso; // of UDP as well (Linux 6.2)
};

// Makes the device, or the next queues of one that is not there yet. *ret_fds: non-blocking, count of them.
int tun_open(const char *name, unsigned int count, int *ret_fds, struct err *e);
// Of one queue, also of one that another process opened.
int tun_negotiate(int fd, struct tun_features *ret, struct err *e);
// How many packets wait in the device; each may be a superpacket.
int tun_set_queue_len(const char *name, unsigned int packets, struct err *e);
// Lets packets in whose source is an address of this host: the ICMP errors that we write. Without it the kernel drops them.
int tun_accept_own_source(const char *name);
// Before it is up. Else the kernel gives it another address of fe80::/64 each time, and sends from there what nobody takes.
int tun_without_link_local(const char *name);
