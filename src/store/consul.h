// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the store in Consul, through its HTTP API.
#pragma once

struct kv_ops;
extern const struct kv_ops consul_ops;
