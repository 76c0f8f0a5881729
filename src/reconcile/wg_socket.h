// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one question to a WireGuard in user space, over its socket.
#pragma once

#include "io/loop.h"
#include "kernel/wg_text.h"

#define WG_SOCKET_DIR "/var/run/wireguard"

struct wg_socket;
// 0: the answer was read, and reader->error says what it was. -EBADMSG, -ECONNREFUSED, -ETIMEDOUT and the like: no answer.
typedef void wg_socket_fn(void *arg, int r, const struct err *e);

// request is borrowed until fn, and the reader, which was begun, too. Frees nothing of them.
struct wg_socket *wg_socket_ask(struct loop *loop, const char *device, const char *request, size_t len,
				struct wg_text_reader *reader, wg_socket_fn *fn, void *arg);
struct wg_socket *wg_socket_free(struct wg_socket *socket); // also from within fn

bool wg_socket_is_answered(const char *device); // does a process listen there?
