// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a token may look like, a controller's or another's, and reading one from a file.
#pragma once

#include "core/err.h"

#define TOKEN_LEN_MIN 16
#define TOKEN_LEN_MAX 512

// It goes into a header, so: visible ASCII characters. -EINVAL; the message never shows it.
int token_check(const char *token, struct err *e);
// Of another server's token, which is of any length but 0.
int token_check_characters(const char *token, struct err *e);
// White space at the end is not part of it. Caller frees. -EINVAL, or what keeps the file from being read; names it.
int token_read_file(const char *path, char **ret, struct err *e);
int token_read_characters(const char *path, char **ret, struct err *e); // of another server
