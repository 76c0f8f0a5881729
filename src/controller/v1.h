// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the HTTP API of flannel 0.5 to 0.7, served beside the controller's own (docs/controller-api.md).
#pragma once

#include "io/http_server.h"

#include <stdbool.h>

struct controller;
struct v1;

// Its clients know of no token: is_open says that whoever reaches the port may ask, or that TLS has checked who it is.
struct v1 *v1_new(struct controller *controller, bool is_open);
void v1_end(struct v1 *v1); // before the server and the mirror go: nothing of the store is answered any more
struct v1 *v1_free(struct v1 *v1); // after the server went

bool v1_is_path(const char *path);
bool v1_is_open(const struct v1 *v1);
void v1_serve(struct v1 *v1, struct http_exchange *exchange); // whatever the path and the method
// What the mirror tells.
void v1_changed(struct v1 *v1);
void v1_replaced(struct v1 *v1);
