// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one connection to a weft-udp: a request, then its answer.
#pragma once

#include "core/strbuf.h"
#include "io/loop.h"
#include "udp/control.h"

#include <sys/types.h>

struct udp_client;

// 0 and the rest of the answer, or what the other refused.
typedef void udp_client_fn(void *arg, int r, struct control_reader *answer, const struct err *e);
// The connection is of no use any more: it ended, or the other does not answer. Once; what was asked is not answered then.
typedef void udp_client_lost_fn(void *arg, const struct err *e);

// -ENOENT, -ECONNREFUSED: nobody serves there. -EPERM: somebody else than root or our own user does.
int udp_client_open(struct loop *loop, const char *path, udp_client_lost_fn *lost, void *arg,
		    struct udp_client **ret, struct err *e);
struct udp_client *udp_client_free(struct udp_client *client); // may be called from fn and lost
pid_t udp_client_pid(const struct udp_client *client);
bool udp_client_is_busy(const struct udp_client *client); // an answer is awaited
// Not while it is busy. message is not kept. fn may ask again.
void udp_client_ask(struct udp_client *client, const struct strbuf *message, udp_client_fn *fn);
// Sends without waiting for an answer; the last thing before udp_client_free.
void udp_client_tell(struct udp_client *client, enum control_type type);
