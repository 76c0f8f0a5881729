// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts of the registry share: its keys and its operations under way.
#pragma once

#include "store/registry.h"

#define REGISTRY_KEY_SHOWN_MAX 128
#define REGISTRY_RETRY_BASE_MS 100 // of what must be answered before an operation can end
#define REGISTRY_RETRY_MAX_MS 5000

struct registry {
	struct kv *kv;
	char *prefix; // without a slash at the end
	char *config_key;
	char *leases_prefix; // with a slash at the end
	char *owner;	     // that marks our leases; NULL: they get no mark
	struct registry_op *ops;
	struct registry_watch *watches;
};

// One operation under way; first member of each kind. It is the arg of its kv calls.
struct registry_op {
	struct registry *registry;
	struct registry_op *previous;
	struct registry_op *next;
	void (*destroy)(struct registry_op *op); // frees op and what it owns
};

void registry_op_begin(struct registry *registry, struct registry_op *op,
		       void (*destroy)(struct registry_op *op));
// Takes op out of the registry: its caller may free the registry from now on. op itself is freed
// after its caller was told.
void registry_op_end(struct registry_op *op);

// The network's name if key, without the prefix and its slash, is that of a config: "config" is "", "NAME/config" NAME. Caller frees.
bool registry_config_name(const char *key, char **ret);
char *registry_lease_key(const struct registry *registry, const struct subnet *subnet); // caller frees

// A key or value that cannot be used, with the texts that it points to.
struct registry_fault {
	struct registry_bad bad;
	char key[REGISTRY_KEY_SHOWN_MAX];
	struct err why;
};
// The part of a key behind the leases' prefix, fit to be shown.
void registry_show_key(const struct registry *registry, const char *key,
		       char ret[static REGISTRY_KEY_SHOWN_MAX]);
// -EINVAL: ret_fault says why. ret is to be freed.
int registry_decode_key(const struct registry *registry, const struct kv_pair *pair,
			struct subnet *ret, struct registry_fault *ret_fault);
int registry_decode_lease(const struct registry *registry, const struct kv_pair *pair,
			  struct lease *ret, struct registry_fault *ret_fault);
