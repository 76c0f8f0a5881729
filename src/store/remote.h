// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the store "controller": weft's own controllers, spoken to over HTTP (docs/api.md).
#pragma once

#include "store/kv_internal.h"

extern const struct kv_ops remote_ops;
