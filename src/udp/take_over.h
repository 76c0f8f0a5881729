// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: taking device, sockets and table over from a weft-udp that runs, so that no packet is lost.
#pragma once

#include "udp/engine.h"
#include "udp/peer_list.h"

struct take_over {
	int fd; // the connection to the other process; -1: there is none
	int fds[ENGINE_FDS_MAX];
	size_t fd_count; // engine_adopt takes them
	struct route_config config;
	struct peer_list peers;
};

// Asks who serves at path. 0 also when nobody does (ret->fd is -1 then). The other goes on working
// until take_over_finish. It must have the same device, address and port: -EBUSY.
int take_over_begin(const char *path, const struct engine_options *options, struct take_over *ret,
		    struct err *e);
// Stops the other process; back when its workers have ended.
int take_over_finish(struct take_over *take, struct err *e);
void take_over_free(struct take_over *take);
