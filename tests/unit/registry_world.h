// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a registry over the store in memory, for tests. One at a time.
#pragma once

#include "kv_client.h"
#include "store/memory.h"
#include "store/registry.h"

#include <stdbool.h>

extern struct loop *loop;
extern struct kv *kv;
extern struct registry *registry;

void registry_world_open(const char *prefix, unsigned int txn_max);
void registry_world_close(void);
bool is_stored(const char *key);
