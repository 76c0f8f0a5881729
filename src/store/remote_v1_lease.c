// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a server of flannel 0.5 to 0.7 says of leases, as pairs of a store.
#include "store/remote_v1.h"

#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define CURSOR_MAX 256

void v1_told_free(struct v1_told *told)
{
	free(told->value);
	*told = (struct v1_told){ 0 };
}

int v1_told_read(const json_t *object, struct v1_told *ret, struct err *e)
{
	_cleanup_v1_lease_ struct v1_lease lease = { 0 };
	struct v1_told told = { .expires_ms = TIMESTAMP_ZERO_MS };
	const json_t *attrs = json_member(object, "Attrs");

	if (v1_read_subnet(object, &told.subnet, e) < 0)
		return -EPROTO;
	if (v1_read_lease(object, &lease, NULL) == 0) {
		told.value = lease_attrs_format(&lease.attrs);
		told.ip = lease.attrs.public_ip;
		told.expires_ms = lease.expires_ms;
	} else {
		// Whoever reads leases says what is wrong with it.
		told.value = attrs ? json_text(attrs) : xstrdup("null");
	}
	*ret = told;
	return 0;
}

void v1_told_pair(struct remote_v1 *v1, const char *key, const struct v1_told *told,
		  struct kv_pair *ret)
{
	bool has_end = told->expires_ms != TIMESTAMP_ZERO_MS && ip_is_set(&told->ip);
	const struct v1_entry *entry = v1_note(v1, key, told->value, has_end ? &told->ip : NULL);

	*ret = (struct kv_pair){
		.key = key,
		.raw_key = key,
		.raw_key_len = strlen(key),
		.value = told->value,
		.value_len = strlen(told->value),
		.create_revision = entry->create,
		.mod_revision = entry->mod,
		.session = v1_entry_session(v1, entry),
	};
}

int v1_read_next(const json_t *answer, char **ret, struct err *e)
{
	const json_t *value = json_member(answer, "cursor");
	char shown[TEXT_EXCERPT_MAX];
	const char *text;

	if (json_is_integer(value)) {
		*ret = xasprintf("%lld", (long long)json_integer_value(value));
		return 0;
	}
	text = json_string_value(value);
	if (!text)
		return err_set(e, -EPROTO, "cursor: absent, or neither a text nor a number");
	// It goes into a URL as it is.
	if (*text == '\0' || strlen(text) > CURSOR_MAX ||
	    text[strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.~")] !=
		    '\0')
		return err_set(e, -EPROTO, "cursor: \"%s\" is none",
			       text_excerpt(text, strlen(text), shown));
	*ret = xstrdup(text);
	return 0;
}
