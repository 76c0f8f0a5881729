// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: serving what a store has below a prefix to agents over HTTP (docs/api.md), so that the store sees
// one client in place of thousands.
#pragma once

#include "io/http_server.h"
#include "store/kv.h"

struct controller_config {
	const char *prefix; // "/coreos.com/network": nothing else of the store is read, served or written
	struct http_server_config http; // address and port; limits are set here
};

struct controller;
// Borrows kv. Errors as http_server_new has them.
int controller_new(struct kv *kv, const struct controller_config *config, struct controller **ret,
		   struct err *e);
struct controller *controller_free(struct controller *controller);
uint16_t controller_port(const struct controller *controller);
