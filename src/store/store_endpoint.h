// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the URL of a store's server may look like.
#pragma once

#include "core/err.h"

#include <stdbool.h>

#define STORE_ENDPOINTS_MAX 32 // of one store

// Checks it and puts it into the form that is used: "http://" before a bare host:port, "https://" if
// prefer_tls; no slash at the end. Caller frees. -EINVAL: says why, and never shows a password.
int store_endpoint_read(const char *text, bool prefer_tls, char **ret, struct err *e);
