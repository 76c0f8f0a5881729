// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the store in etcd, version 2 of its API.
#pragma once

struct kv_ops;
extern const struct kv_ops etcd2_ops;
