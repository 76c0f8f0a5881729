// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: small files, read whole and written atomically. (io/file.h does more, and stands on an event loop.)
#pragma once

#include <stddef.h>
#include <sys/types.h>

// A regular file of at most max bytes; *ret is terminated, the caller frees it. Negative errno; -E2BIG.
int small_file_read(const char *path, size_t max, char **ret);
// Through a temporary file in the same directory, which is made if it is missing (its parent too).
int small_file_write(const char *directory, mode_t directory_mode, const char *name,
		     const char *text, size_t len, mode_t mode);
