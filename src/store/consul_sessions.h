// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which ids of Consul the numbers of sessions stand for.
#pragma once

#include <stdint.h>

struct consul_sessions;
struct consul_sessions *consul_sessions_new(void);
struct consul_sessions *consul_sessions_free(struct consul_sessions *sessions);
// The number of an id, which is remembered. "": 0. Of many thousands those are forgotten that were
// not seen for longest.
int64_t consul_session_number(struct consul_sessions *sessions, const char *id);
// NULL: not known. -ENOENT, or -EPROTO when it stands for two.
int consul_session_id(const struct consul_sessions *sessions, int64_t number, const char **ret);
