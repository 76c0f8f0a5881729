// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: keys of etcd's v2 API as paths and as URLs.
#include "store/etcd2_internal.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define FORM_MAX (8 * 1024 * 1024)

// etcd tidies a path up before it uses it, so that another key would be written than was asked for.
static bool is_tidy(const char *key, size_t len)
{
	const char *end = key + len;
	const char *part = key + 1;

	while (part <= end) {
		const char *slash = memchr(part, '/', (size_t)(end - part));
		size_t part_len = (size_t)((slash ? slash : end) - part);

		if (part_len == 0 || (part_len == 1 && part[0] == '.') ||
		    (part_len == 2 && part[0] == '.' && part[1] == '.'))
			return false;
		part += part_len + 1;
	}
	return true;
}

static bool is_text(const char *text, size_t len)
{
	size_t i = 0;

	while (i < len) {
		size_t step = text_utf8_len(text + i, len - i);

		if (step == 0 || text[i] == '\0')
			return false;
		i += step;
	}
	return true;
}

int etcd2_key_check(const char *key, size_t len, struct err *e)
{
	char excerpt[TEXT_EXCERPT_MAX];

	(void)text_excerpt(key, len, excerpt);
	if (len > ETCD2_KEY_MAX)
		return err_set(e, -EINVAL, "a key of more than %d bytes: \"%s\"", ETCD2_KEY_MAX,
			       excerpt);
	if (!is_text(key, len))
		return err_set(e, -EINVAL, "etcd v2 has no key that is not text: \"%s\"", excerpt);
	if (len < 2 || key[0] != '/' || !is_tidy(key, len))
		return err_set(e, -EINVAL, "etcd v2 has no key that is not a path: \"%s\"", excerpt);
	return 0;
}

static bool is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

void etcd2_encode(struct strbuf *buf, const char *text, size_t len, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t i;

	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		const char encoded[] = { '%', digits[c >> 4], digits[c & 15] };

		if (is_unreserved(text[i]) || (keep_slash && c == '/'))
			(void)strbuf_putc(buf, text[i]);
		else
			(void)strbuf_add(buf, encoded, sizeof(encoded));
	}
}

char *etcd2_url(const struct etcd2 *etcd, size_t endpoint, const char *key, const char *query)
{
	struct strbuf url = STRBUF_INIT(FORM_MAX);

	strbuf_puts(&url, etcd->http.endpoints.items[endpoint].url);
	strbuf_puts(&url, "/v2/keys");
	etcd2_encode(&url, key, strlen(key), true);
	if (query)
		strbuf_printf(&url, "?%s", query);
	return strbuf_take(&url);
}

char *etcd2_directory_of(const char *prefix)
{
	const char *slash = strrchr(prefix, '/');

	return slash && slash > prefix ? xstrndup(prefix, (size_t)(slash - prefix)) : xstrdup("/");
}
