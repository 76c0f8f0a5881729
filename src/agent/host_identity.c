// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the secret by which this host proves to controllers that a lease is its own.
#include "agent/host_identity.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"
#include "io/secret_file.h"
#include "store/owner.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define FILE_MAX 4096

// Without it a lease that is about to be taken would be nobody's.
static int make(const char *path, struct err *e)
{
	unsigned char bytes[OWNER_IDENTITY_BYTES];
	char line[2 * OWNER_IDENTITY_BYTES + 2];
	int r;

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return err_set(e, -EIO, "%s: no random bytes: %s", path, strerror(errno));
	text_hex(line, bytes, sizeof(bytes));
	(void)text_copy(line + 2 * sizeof(bytes), 2, "\n");
	r = secret_file_make(path, line, strlen(line), e);
	explicit_bzero(bytes, sizeof(bytes));
	explicit_bzero(line, sizeof(line));
	return r;
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

int host_identity_open(const char *directory, char **ret, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/identity", directory);
	int r = secret_file_is_there(path) ? 0 : make(path, e);

	if (r == 0)
		r = secret_file_check(path, e);
	return r < 0 ? r : read_identity(path, ret, e);
}
