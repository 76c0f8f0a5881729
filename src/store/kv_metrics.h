// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what Prometheus is told of a store, by an agent and by a controller alike.
#pragma once

#include "core/strbuf.h"
#include "store/kv.h"

// weft_store_* but for weft_store_up, which who watches the store knows.
void kv_metrics(const struct kv *kv, struct strbuf *out);
