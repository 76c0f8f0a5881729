// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: small files with secrets that a program makes once and keeps. All of it blocks for the disk: before the loop runs.
#pragma once

#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>

// One without content is what a power cut leaves of a file that was just being made: it is not there. What cannot be
// looked at is, for it must not be made anew.
bool secret_file_is_there(const char *path);
// With mode 0600, and on the disk when this returns, its name too: what is told of it must not outlive it.
int secret_file_make(const char *path, const void *data, size_t len, struct err *e);
// -EPERM: others than its owner may open it; the message says what to do.
int secret_file_check(const char *path, struct err *e);
