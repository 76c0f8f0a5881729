// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: small files, read whole and made whole. (io/file.h does more, and stands on an event loop.)
#pragma once

#include <stddef.h>
#include <sys/types.h>

// A regular file of at most max bytes; *ret is terminated, the caller frees it. Negative errno; -E2BIG.
int small_file_read(const char *path, size_t max, char **ret);
// A file that was not there: whole under its name, or not at all, also when this process is killed on the way. -EEXIST.
int small_file_create_at(int directory, const char *name, const char *text, size_t len, mode_t mode);
// The same in a directory that is made if it is missing (its parent too), in place of what has the name: for a moment nothing
// has it.
int small_file_write(const char *path, mode_t directory_mode, const char *name, const char *text,
		     size_t len, mode_t mode);
