// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: small files, read whole and made whole.
#include "cni/small_file.h"

#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPLACE_TRIES 8 // of names that somebody else goes on making

int small_file_read(const char *path, size_t max, char **ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_free_ char *text = NULL;
	struct stat stat;
	size_t len = 0;
	ssize_t n;

	if (fd < 0 || fstat(fd, &stat) < 0)
		return -errno;
	if (!S_ISREG(stat.st_mode))
		return -EINVAL;
	if (stat.st_size < 0 || (size_t)stat.st_size > max)
		return -E2BIG;
	text = xmalloc((size_t)stat.st_size + 1);
	while (len < (size_t)stat.st_size) {
		n = read(fd, text + len, (size_t)stat.st_size - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	*ret = TAKE_PTR(text);
	return 0;
}

static int make_directory(const char *path, mode_t mode)
{
	_cleanup_free_ char *parent = xstrdup(path);
	char *slash = strrchr(parent, '/');

	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return 0;
	if (errno != ENOENT || !slash || slash == parent)
		return -errno;
	*slash = '\0';
	if (mkdir(parent, 0755) < 0 && errno != EEXIST)
		return -errno;
	return mkdir(path, mode) == 0 || errno == EEXIST ? 0 : -errno;
}

static int write_whole(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

int small_file_create_at(int directory, const char *name, const char *text, size_t len, mode_t mode)
{
	_cleanup_close_ int fd = openat(directory, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, mode);
	bool nameless = fd >= 0;
	char self[64];
	int r;

	// Not every file system has files without a name (an overlay of old, NFS).
	if (!nameless)
		fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
			    mode);
	if (fd < 0)
		return -errno;
	r = write_whole(fd, text, len);
	(void)text_format(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (r == 0 && nameless && linkat(AT_FDCWD, self, directory, name, AT_SYMLINK_FOLLOW) < 0)
		r = -errno;
	if (r < 0 && !nameless)
		(void)unlinkat(directory, name, 0);
	return r;
}

int small_file_write(const char *path, mode_t directory_mode, const char *name, const char *text,
		     size_t len, mode_t mode)
{
	_cleanup_close_ int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = -EEXIST;

	if (directory < 0 && errno == ENOENT) {
		r = make_directory(path, directory_mode);
		if (r < 0)
			return r;
		directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (directory < 0)
		return -errno;
	for (int i = 0; i < REPLACE_TRIES; i++) {
		r = small_file_create_at(directory, name, text, len, mode);
		if (r != -EEXIST || (unlinkat(directory, name, 0) < 0 && errno != ENOENT))
			break;
	}
	return r;
}
