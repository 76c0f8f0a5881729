// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the pins of servers' keys as people write them, and as libcurl wants them.
#pragma once

#include "core/err.h"

#define HTTP_PINS_MAX 8

// "sha256:" and 64 hex digits, several with commas between: digests of the SubjectPublicKeyInfo of the servers'
// certificates. *ret is for CURLOPT_PINNEDPUBLICKEY, caller frees. -EINVAL.
int http_pin_read(const char *text, char **ret, struct err *e);
