// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading and writing /proc/sys of the calling thread's network namespace.

#include "kernel/sysctl.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

static int open_entry(const char *path, int flags, int *ret, struct err *e)
{
	char full[PATH_MAX];
	int fd, r;

	if (path[0] == '/' || strstr(path, "..") ||
	    text_format(full, sizeof(full), "/proc/sys/%s", path) < 0)
		return err_set(e, -EINVAL, "sysctl %s: not a path below /proc/sys", path);
	fd = open(full, flags | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		r = -errno;
		return err_set(e, r, "sysctl %s: %s", path, strerror(-r));
	}
	*ret = fd;
	return 0;
}

int sysctl_read(const char *path, char *ret, size_t size, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char text[4096];
	ssize_t len;
	int r;

	r = open_entry(path, O_RDONLY, &fd, e);
	if (r < 0)
		return r;
	len = read(fd, text, sizeof(text) - 1);
	if (len < 0) {
		r = -errno;
		return err_set(e, r, "sysctl %s: reading: %s", path, strerror(-r));
	}
	if (len > 0 && text[len - 1] == '\n')
		len--;
	if ((size_t)len >= size)
		return err_set(e, -ENOSPC, "sysctl %s: a value of %zd bytes", path, len);
	memcpy(ret, text, (size_t)len);
	ret[len] = '\0';
	return 0;
}

int sysctl_read_int(const char *path, int64_t *ret, struct err *e)
{
	char text[64];
	int r;

	r = sysctl_read(path, text, sizeof(text), e);
	if (r < 0)
		return r;
	r = parse_whole_i64(text, ret);
	return r < 0 ? err_set(e, r, "sysctl %s: '%s' is not a number", path, text) : 0;
}

int sysctl_write(const char *path, const char *value, struct err *e)
{
	_cleanup_close_ int fd = -1;
	size_t len = strlen(value);
	ssize_t written;
	int r;

	r = open_entry(path, O_WRONLY, &fd, e);
	if (r < 0)
		return r;
	written = write(fd, value, len);
	if (written < 0) {
		r = -errno;
		return err_set(e, r, "sysctl %s: writing '%s': %s", path, value, strerror(-r));
	}
	return (size_t)written == len
		       ? 0
		       : err_set(e, -EIO, "sysctl %s: writing '%s': cut short", path, value);
}

int sysctl_device_path(const char *directory, const char *device, const char *name, char *ret,
		       size_t size)
{
	char path[PATH_MAX];

	if (device[0] == '\0' || strlen(device) >= IFNAMSIZ || strchr(device, '/') ||
	    strstr(device, "..") || strcmp(device, ".") == 0)
		return -EINVAL;
	if (text_format(path, sizeof(path), "%s/%s/%s", directory, device, name) < 0)
		return -ENOSPC;
	return text_copy(ret, size, path);
}
