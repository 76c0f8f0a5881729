// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the secret by which this host proves to controllers that a lease is its own.
#include "agent/host_identity.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"
#include "store/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 4096

static int sync_path(const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

// On the disk when this returns: without it a lease that is about to be taken would be nobody's.
static int make(const char *directory, const char *path, struct err *e)
{
	unsigned char bytes[OWNER_IDENTITY_BYTES];
	char line[2 * OWNER_IDENTITY_BYTES + 2];
	int r = 0;

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return err_set(e, -EIO, "%s: no random bytes: %s", path, strerror(errno));
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)text_format(line + 2 * i, 3, "%02x", bytes[i]);
	(void)text_copy(line + 2 * sizeof(bytes), 2, "\n");
	r = file_write_atomic(path, line, strlen(line), 0600, e);
	explicit_bzero(bytes, sizeof(bytes));
	explicit_bzero(line, sizeof(line));
	if (r == 0)
		r = sync_path(path, e);
	return r < 0 ? r : sync_path(directory, e);
}

static int check_mode(const char *path, struct err *e)
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

static int read_identity(const char *path, char **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(path, FILE_MAX, &text, &len, e);

	if (r < 0)
		return r;
	while (len > 0 && strchr(" \t\r\n", text[len - 1]))
		text[--len] = '\0';
	if (strlen(text) != len)
		r = err_set(e, -EINVAL, "a NUL byte");
	else
		r = owner_check_identity(text, e);
	if (r < 0)
		return err_wrap(e,
				"%s: put it back, or remove it for a new one (an admin then removes this host's "
				"lease)",
				path);
	*ret = TAKE_PTR(text);
	return 0;
}

// One without content is what a power cut leaves of a file that was just being made: nobody was told of it for long.
static bool is_there(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size > 0 || !S_ISREG(st.st_mode) : errno != ENOENT;
}

int host_identity_open(const char *directory, char **ret, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/identity", directory);
	int r = is_there(path) ? 0 : make(directory, path, e);

	if (r == 0)
		r = check_mode(path, e);
	return r < 0 ? r : read_identity(path, ret, e);
}
