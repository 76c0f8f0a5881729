// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: serving what a store has below a prefix to agents over HTTP (docs/controller-api.md), so that the store sees
// one client in place of thousands.
#pragma once

#include "io/http_server.h"
#include "store/kv.h"

struct controller_config {
	const char *prefix; // "/coreos.com/network": nothing else of the store is read, served or written
	// The admin's; from it follows the agents'. Every request but for /healthz and /readyz has to carry one of them. NULL: none.
	// Copied.
	const char *token;
	unsigned int rate; // requests a second of one client, see limits.h; 0: LIMITS_RATE_DEFAULT
	struct http_server_config http; // address, port and TLS; limits are set here
};

struct controller;
// Borrows kv. Errors as http_server_new has them.
int controller_new(struct kv *kv, const struct controller_config *config, struct controller **ret,
		   struct err *e);
struct controller *controller_free(struct controller *controller);
// The files of TLS anew, as http_server_reload.
int controller_reload(struct controller *controller, struct err *e);
// Another admin token in place of the one of config, from the next request on; the agents' follows from it.
void controller_set_token(struct controller *controller, const char *token);
const char *controller_pin(const struct controller *controller); // "" without TLS
uint16_t controller_port(const struct controller *controller);
