// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: making and removing the registry of a test.
#include "registry_world.h"

#include "loop_end.h"
#include "unit.h"

struct loop *loop;
struct kv *kv;
struct registry *registry;

void registry_world_open(const char *prefix, unsigned int txn_max)
{
	static const struct store_config config = { .kind = "memory" };

	loop = loop_new();
	assert_int_equal(kv_open(loop, &config, &kv, NULL), 0);
	memory_set_txn_max(kv, txn_max);
	assert_int_equal(registry_new(kv, prefix, &registry, NULL), 0);
}

void registry_world_close(void)
{
	registry = registry_free(registry);
	kv = kv_close(kv);
	loop = loop_end(loop);
}

bool is_stored(const char *key)
{
	struct kv_pair pair;

	return memory_get(kv, key, &pair);
}
