// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which server of a store is asked next: the one that works, and the others when it does not.
#pragma once

#include "io/loop.h"
#include "store/kv.h"

struct endpoint {
	char *url; // without a slash at the end
	struct backoff backoff;
	uint64_t down_until_ms; // 0: not known to be down
	bool older_api;		// for the store's own use: it speaks an older form of its API
};

struct endpoint_set {
	struct endpoint *items;
	size_t count;
	size_t current;		     // the one in use
	bool connected;		     // it has answered
	uint32_t connect_timeout_ms; // for what is sent to any of them
};

// -EINVAL, -E2BIG naming what is wrong. To be freed after a failure as well.
int endpoint_set_open(struct endpoint_set *set, const struct store_config *config, struct err *e);
void endpoint_set_free(struct endpoint_set *set);
// The best one that is not in the set of bits `tried`; SIZE_MAX: none is left. One that is down comes
// last.
size_t endpoint_set_pick(const struct endpoint_set *set, uint64_t tried);
void endpoint_set_works(struct endpoint_set *set, size_t index);
void endpoint_set_failed(struct endpoint_set *set, size_t index);
const char *endpoint_set_url(const struct endpoint_set *set); // of the one that has answered; "" if none
