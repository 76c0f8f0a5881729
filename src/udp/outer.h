// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the UDP sockets that packets go through between hosts.
#pragma once

#include "core/err.h"
#include "core/ip.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	OUTER_TRAIN_MAX = 63, // datagrams of one send: 64 before Linux 6.9, less one for the header that is checked along
	OUTER_BYTES_MAX = 65507, // of one send
};

// Receives at address and port. shared: several workers do, and the kernel spreads by the sender's
// address and port, which are the same for all packets of a flow.
int outer_open_receive(const struct ip *address, uint16_t port, bool shared, int *ret_fd,
		       struct err *e);
// Sends from any port.
int outer_open_send(const struct ip *address, int *ret_fd, struct err *e);
// Has the kernel UDP_SEGMENT for this socket (4.18)?
bool outer_can_segment(int fd);
// Linux 7.0 to 7.1.4 spoils a send whose datagrams are all of one length.
bool outer_spoils_equal_trains(const char *release);
