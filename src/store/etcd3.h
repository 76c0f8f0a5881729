// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the store in etcd, version 3 of its API, through its JSON gateway.
#pragma once

struct kv_ops;
extern const struct kv_ops etcd3_ops;
