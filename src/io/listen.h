// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: sockets that listen, with messages that name the address.
#pragma once

#include "core/err.h"
#include "core/ip.h"

#include <stdint.h>

// Stream socket at path with mode 0600, non-blocking. One that nobody serves any more is replaced.
// -EADDRINUSE: somebody serves it; -EEXIST: the path is something else.
int listen_unix(const char *path, int *ret_fd, struct err *e);
// port 0: any. :: takes IPv4 as well.
int listen_tcp(const struct ip *address, uint16_t port, int *ret_fd, uint16_t *ret_port,
	       struct err *e);
