// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: small files: whole reads, atomic writes.
#pragma once

#include "core/err.h"

#include <stddef.h>
#include <sys/types.h>

// Whole regular file of at most max bytes; *ret is terminated, caller frees. -E2BIG, -ENOENT, ...
int file_read(const char *path, size_t max, char **ret, size_t *ret_len, struct err *e);
// Temporary file in the same directory, then rename: a reader finds the old or the new one, whole. The
// disk is told to start writing and not waited for, so that this may be called from the loop; for what
// the next start writes anew. The mode is exact whatever the umask; mode 0: an existing file's, else
// 0644. Directories are made 0755. Unchanged content is not written again (returns 0).
int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e);
// Waits until the file, or the directory with its names, is on the disk: not from the loop.
int file_sync(const char *path, struct err *e);
int directory_make(const char *path, mode_t mode, struct err *e); // with its parents; existing is fine
