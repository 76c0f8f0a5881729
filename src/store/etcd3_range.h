// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading keys of etcd: as kv_ops.range.
#pragma once

#include "store/etcd3_internal.h"

void etcd3_range(struct etcd3 *etcd, const char *key, bool is_prefix, kv_pair_fn *each,
		 kv_range_done_fn *done, void *arg);
