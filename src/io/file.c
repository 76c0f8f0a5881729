// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: whole reads and atomic writes of small files.
#include "io/file.h"

#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_regular(const char *path, struct stat *ret, struct err *e)
{
	// Not blocking: a FIFO in the file's place must not hang us.
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, ret) < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(ret->st_mode))
		return err_set(e, -EINVAL, "%s: not a regular file", path);
	return TAKE_FD(fd);
}

int file_read(const char *path, size_t max, char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_free_ char *data = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;
	size_t size;
	size_t len = 0;

	fd = open_regular(path, &st, e);
	if (fd < 0)
		return fd;
	if (st.st_size > 0 && (uint64_t)st.st_size > max)
		return err_set(e, -E2BIG, "%s: larger than %zu bytes", path, max);
	// Files in /proc and /sys say 0 or a page: the end is where read says it is.
	size = (size_t)st.st_size + 1;
	data = xmalloc(size + 1);
	for (;;) {
		ssize_t n = read(fd, data + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, -errno, "%s: %s", path, strerror(errno));
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return err_set(e, -E2BIG, "%s: larger than %zu bytes", path, max);
		if (len == size) {
			size = size * 2 < 4096 ? 4096 : size * 2;
			data = xrealloc_array(data, size + 1, 1);
		}
	}
	data[len] = '\0';
	*ret = TAKE_PTR(data);
	if (ret_len)
		*ret_len = len;
	return 0;
}

static int write_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static bool is_unchanged(const char *path, const void *data, size_t len, mode_t mode)
{
	_cleanup_free_ char *old = NULL;
	struct stat st;
	size_t old_len;

	// A symbolic link is replaced by a file, as any other file is.
	if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 07777) != mode)
		return false;
	return file_read(path, len, &old, &old_len, NULL) == 0 && old_len == len &&
	       memcmp(old, data, len) == 0;
}

// The directory of path, as text that the caller frees.
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return xstrdup(".");
	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

static int fill_temporary(int fd, const void *data, size_t len, mode_t mode)
{
	int r = write_all(fd, data, len);

	if (r < 0)
		return r;
	if (fchmod(fd, mode) < 0)
		return -errno;
	// Not fsync: a busy disk takes seconds for it, and the loop is held for as long. Who reads the
	// file sees the old or the new one, for that is rename's doing. Only a power cut may leave an
	// empty one, on a disk (the usual place, /run, is none) and within moments of the writing.
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	return 0;
}

int file_sync(const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

int file_write_atomic(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
	_cleanup_free_ char *directory = directory_of(path);
	_cleanup_free_ char *temporary = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	if (mode == 0)
		mode = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? st.st_mode & 07777 : 0644;
	if (is_unchanged(path, data, len, mode))
		return 0;
	r = directory_make(directory, 0755, e);
	if (r < 0)
		return r;
	temporary = xasprintf("%s.XXXXXX", path);
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "%s: cannot create a file in %s: %s", path, directory,
			       strerror(errno));
	r = fill_temporary(fd, data, len, mode);
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return err_set(e, r, "%s: %s", path, strerror(-r));
	}
	return 0;
}

static int make_one(const char *path, mode_t mode, struct err *e)
{
	struct stat st;

	// Asked first: mkdir of an existing directory may fail with EROFS or EACCES as well as with
	// EEXIST.
	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode) ? 0 : err_set(e, -ENOTDIR, "%s: not a directory", path);
	if (mkdir(path, mode) < 0)
		return errno == EEXIST ? 0 : err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (chmod(path, mode) < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

int directory_make(const char *path, mode_t mode, struct err *e)
{
	_cleanup_free_ char *part = xstrdup(path);
	size_t len = strlen(part);
	char *at = part;
	int r;

	while (len > 1 && part[len - 1] == '/')
		part[--len] = '\0';
	while (*at == '/')
		at++;
	while ((at = strchr(at, '/'))) {
		*at = '\0';
		r = make_one(part, 0755, e);
		if (r < 0)
			return r;
		*at = '/';
		while (*at == '/')
			at++;
	}
	return make_one(part, mode, e);
}
