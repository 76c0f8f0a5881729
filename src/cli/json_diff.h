// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: telling people how two JSON objects differ.
#pragma once

#include "core/strbuf.h"

#include <jansson.h>

// Adds one line a difference: "  Network: "10.1.0.0/16" -> "10.2.0.0/16"", "+ Backend.Port: 8472", "- SubnetLen: 24".
// before may be NULL: everything is new.
void json_diff(const json_t *before, const json_t *after, struct strbuf *out);
