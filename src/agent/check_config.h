// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weftd --check-config: is this text a network config that weft can use.
#pragma once

#include "core/err.h"
#include "core/strbuf.h"

// Reads path ("-": standard input), adds what the config means to out, a few lines for a person.
// -EINVAL, -ENOENT, ...
int check_config(const char *path, struct strbuf *out, struct err *e);
