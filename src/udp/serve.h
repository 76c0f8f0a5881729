// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft-udp's control thread: who tells it of peers, and the table that follows from that.
#pragma once

#include "udp/engine.h"
#include "udp/peer_list.h"

struct serve_identity { // for HELLO
	const char *device;
	struct ip address;
	uint16_t port;
	char build[CONTROL_TEXT_MAX + 1];
	char engine[CONTROL_TEXT_MAX + 1];
};

struct serve;
// Borrows engine and identity. Nobody is served yet.
struct serve *serve_new(struct engine *engine, const struct serve_identity *identity);
struct serve *serve_free(struct serve *serve);

// What another process was told, as it hands it over. -EINVAL, -EEXIST: nothing has changed.
int serve_take(struct serve *serve, const struct route_config *config, struct peer_list *take_peers,
	       struct err *e);
// Listens at path, mode 0600, for processes of the same user. What is there already is replaced.
int serve_listen(struct serve *serve, const char *path, struct err *e);
// Until a client or a signal of stop_fd says so (returns 0), or the device is gone (-ENODEV).
int serve_run(struct serve *serve, int stop_fd, struct err *e);
