// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the URL of a store's server may look like.
#include "store/store_endpoint.h"

#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define ENDPOINT_MAX 512

static bool has_scheme(const char *text)
{
	return strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
}

// White space and control characters would end up in a request line.
static bool is_plain(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text <= ' ' || *text == 0x7f)
			return false;
	return true;
}

int store_endpoint_read(const char *text, bool prefer_tls, char **ret, struct err *e)
{
	const char *host = strstr(text, "://");
	char shown[TEXT_EXCERPT_MAX];
	size_t len = strlen(text);

	(void)text_excerpt(text, len, shown);
	host = host ? host + 3 : text;
	// The text before '@' may be a password, and would be printed wherever the endpoint is.
	if (host[strcspn(host, "/@")] == '@')
		return err_set(e, -EINVAL,
			       "a URL holds a user name; --etcd-username and --etcd-password are for "
			       "that");
	if (host != text && !has_scheme(text))
		return err_set(e, -EINVAL, "\"%s\" is neither http:// nor https://", shown);
	if (len > ENDPOINT_MAX || !is_plain(text) || strpbrk(text, "?#") || host[0] == '\0' ||
	    host[0] == '/' || host[0] == ':')
		return err_set(e, -EINVAL, "\"%s\" is not a URL of a server", shown);
	while (text[len - 1] == '/')
		len--;
	*ret = xasprintf("%s%.*s",
			 host != text ? ""
			 : prefer_tls ? "https://"
				      : "http://",
			 (int)len, text);
	return 0;
}
