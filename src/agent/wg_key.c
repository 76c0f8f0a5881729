// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: this host's WireGuard key of one network, on disk.
#include "agent/wg_key.h"

#include "core/mem.h"
#include "io/file.h"
#include "io/secret_file.h"

#include <errno.h>
#include <nettle/curve25519.h>
#include <string.h>
#include <sys/random.h>

#define FILE_MAX 256

void wg_key_public(const struct wg_key *private_key, struct wg_key *ret)
{
	curve25519_mul_g(ret->bytes, private_key->bytes);
}

int wg_key_generate(struct wg_key *ret_private, struct wg_key *ret_public, struct err *e)
{
	struct wg_key key;
	if (getrandom(key.bytes, sizeof(key.bytes), 0) != (ssize_t)sizeof(key.bytes))
		return err_set(e, -EIO, "no random bytes for a key: %s", strerror(errno));
	// As every private key of the curve is (RFC 7748 section 5): the kernel stores it so, and we compare.
	key.bytes[0] &= 248;
	key.bytes[31] = (uint8_t)((key.bytes[31] & 127) | 64);
	*ret_private = key;
	wg_key_public(&key, ret_public);
	explicit_bzero(&key, sizeof(key));
	return 0;
}

static char *path_of(const char *directory)
{
	return xasprintf("%s/wireguard.key", directory);
}

int wg_key_replace(const char *directory, const struct wg_key *private_key, struct err *e)
{
	_cleanup_free_ char *path = path_of(directory);
	char line[WG_KEY_STR_MAX + 1];
	size_t len = strlen(wg_key_str(private_key, line));
	line[len++] = '\n';
	int r = secret_file_make(path, line, len, e);
	explicit_bzero(line, sizeof(line));
	return r;
}

static int read_key(const char *path, struct wg_key *ret, struct err *e)
{
	_cleanup_secret_ char *text = NULL;
	size_t len;
	int r = file_read(path, FILE_MAX, &text, &len, e);
	if (r < 0)
		return r;
	while (len > 0 && strchr(" \t\r\n", text[len - 1]))
		text[--len] = '\0';
	if (wg_key_parse(text, ret) < 0)
		return err_set(e, -EINVAL,
			       "%s: no WireGuard key; put it back, or remove the file for a new one",
			       path);
	ret->bytes[0] &= 248;
	ret->bytes[31] = (uint8_t)((ret->bytes[31] & 127) | 64);
	return 0;
}

int wg_key_open(const char *directory, struct wg_key *ret_private, struct wg_key *ret_public,
		struct err *e)
{
	_cleanup_free_ char *path = path_of(directory);
	struct wg_key key;
	int r = 0;
	if (!secret_file_is_there(path)) {
		r = wg_key_generate(&key, ret_public, e);
		if (r == 0)
			r = wg_key_replace(directory, &key, e);
	}
	if (r == 0)
		r = secret_file_check(path, e);
	if (r == -EPERM) // of a file, not of what the agent may do
		e->code = r = -EACCES;
	if (r == 0)
		r = read_key(path, &key, e);
	if (r == 0) {
		*ret_private = key;
		wg_key_public(&key, ret_public);
	}
	explicit_bzero(&key, sizeof(key));
	return r;
}
