// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the embedded store, a SQLite file at store_config.path. For set-ups of one controller
// without etcd.
#pragma once

#include "store/kv.h"

struct kv_ops;
extern const struct kv_ops sqlite_ops;

// Drops the history: behind the writes that were asked for before, ahead of those that are after.
void sqlite_compact(struct kv *kv);
