// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: files that only their owner may open.
#include "io/secret_file.h"

#include "core/mem.h"
#include "io/file.h"

#include <errno.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

bool secret_file_is_there(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size > 0 || !S_ISREG(st.st_mode) : errno != ENOENT;
}

int secret_file_make(const char *path, const void *data, size_t len, struct err *e)
{
	_cleanup_free_ char *copy = xstrdup(path);
	int r = file_write_atomic(path, data, len, 0600, e);

	if (r == 0)
		r = file_sync(path, e);
	return r < 0 ? r : file_sync(dirname(copy), e);
}

int secret_file_check(const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (st.st_mode & 077)
		return err_set(e, -EPERM,
			       "%s: others than its owner may open it (mode %04o): chmod 600 it",
			       path, (unsigned int)st.st_mode & 07777);
	return 0;
}
