// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tokens as text.
#include "store/token.h"

#include "core/mem.h"
#include "io/file.h"

#include <errno.h>
#include <string.h>

#define FILE_MAX 4096

int token_check_characters(const char *token, struct err *e)
{
	if (token[0] == '\0')
		return err_set(e, -EINVAL, "a token is not empty");
	for (; *token != '\0'; token++)
		if (*token <= ' ' || *token > '~')
			return err_set(e, -EINVAL,
				       "a token has no spaces and no characters but those of ASCII");
	return 0;
}

int token_check(const char *token, struct err *e)
{
	size_t len = strlen(token);

	if (len < TOKEN_LEN_MIN || len > TOKEN_LEN_MAX)
		return err_set(e, -EINVAL, "a token has %d to %d characters, not %zu",
			       TOKEN_LEN_MIN, TOKEN_LEN_MAX, len);
	return token_check_characters(token, e);
}

static int read_file(const char *path, int (*check)(const char *token, struct err *e), char **ret,
		     struct err *e)
{
	_cleanup_free_ char *token = NULL;
	size_t len;
	int r = file_read(path, FILE_MAX, &token, &len, e);

	if (r < 0)
		return r;
	while (len > 0 && strchr(" \t\r\n", token[len - 1]))
		token[--len] = '\0';
	if (strlen(token) != len)
		return err_set(e, -EINVAL, "%s: not a token", path);
	r = check(token, e);
	if (r < 0)
		return err_wrap(e, "%s", path);
	*ret = TAKE_PTR(token);
	return 0;
}

int token_read_file(const char *path, char **ret, struct err *e)
{
	return read_file(path, token_check, ret, e);
}

int token_read_characters(const char *path, char **ret, struct err *e)
{
	return read_file(path, token_check_characters, ret, e);
}
