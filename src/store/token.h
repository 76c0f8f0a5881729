// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the token of a controller may look like, and reading one from a file.
#pragma once

#include "core/err.h"

#define TOKEN_LEN_MIN 16
#define TOKEN_LEN_MAX 512

// It goes into a header, so: visible ASCII characters. -EINVAL; the message never shows it.
int token_check(const char *token, struct err *e);
// White space at the end is not part of it. Caller frees. -EINVAL, or what keeps the file from being read; names it.
int token_read_file(const char *path, char **ret, struct err *e);
