// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the mark in a lease's value that says whose it is.
#include "store/owner.h"

#include "core/json.h"
#include "core/lease.h"
#include "core/mem.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <string.h>

#define DIGEST_BYTES 32 // SHA-256
#define DOMAIN "weft owner\n"

int owner_check_identity(const char *identity, struct err *e)
{
	size_t len = strlen(identity);

	if (len < OWNER_IDENTITY_MIN || len > OWNER_IDENTITY_MAX)
		return err_set(e, -EINVAL, "an identity has %d to %d characters, not %zu",
			       OWNER_IDENTITY_MIN, OWNER_IDENTITY_MAX, len);
	for (size_t i = 0; i < len; i++)
		if (identity[i] <= ' ' || identity[i] > '~')
			return err_set(e, -EINVAL,
				       "an identity has no characters but visible ones of ASCII");
	return 0;
}

void owner_of(const char *identity, char ret[static OWNER_MAX])
{
	_cleanup_free_ char *text = xasprintf(DOMAIN "%s", identity);
	unsigned char digest[DIGEST_BYTES];

	// Only a library that was built without SHA-256 fails here.
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), digest) < 0)
		abort();
	text_hex(ret, digest, (OWNER_MAX - 1) / 2);
	gnutls_memset(text, 0, strlen(text));
}

char *owner_mark(const char *extra, const char *owner)
{
	_cleanup_json_ json_t *members = NULL;

	if (!extra || json_read(extra, strlen(extra), LEASE_VALUE_MAX, &members, NULL) < 0)
		members = json_object();
	json_object_set_new(members, OWNER_MEMBER, json_string(owner));
	return json_text(members);
}

static const char *mark_of(const json_t *object)
{
	const json_t *member = json_object_get(object, OWNER_MEMBER);

	return json_string_value(member); // NULL for what is no text
}

bool owner_is_marked(const char *extra, const char *owner)
{
	_cleanup_json_ json_t *members = NULL;
	const char *mark;

	if (!extra || json_read(extra, strlen(extra), LEASE_VALUE_MAX, &members, NULL) < 0)
		return false;
	mark = mark_of(members);
	return mark && strcmp(mark, owner) == 0;
}

static void take_mark(const json_t *object, struct owner_claim *ret)
{
	const char *mark = mark_of(object);

	ret->is_marked = json_object_get(object, OWNER_MEMBER) != NULL;
	if (mark && strlen(mark) == OWNER_MAX - 1)
		(void)text_copy(ret->mark, OWNER_MAX, mark);
}

static void read_other(const void *value, size_t len, struct owner_claim *ret)
{
	_cleanup_json_ json_t *object = NULL;

	if (json_read(value, len, LEASE_VALUE_MAX, &object, NULL) == 0 && json_is_object(object))
		take_mark(object, ret);
}

void owner_read(const void *value, size_t len, struct owner_claim *ret)
{
	_cleanup_(lease_attrs_free) struct lease_attrs attrs = { 0 };
	_cleanup_json_ json_t *extra = NULL;

	*ret = (struct owner_claim){ 0 };
	if (!value)
		return;
	if (lease_attrs_parse(value, len, &attrs, NULL) < 0) {
		read_other(value, len, ret);
		return;
	}
	ret->is_lease = true;
	ret->ip = attrs.public_ip;
	ret->ipv6 = attrs.public_ipv6;
	if (!attrs.extra ||
	    json_read(attrs.extra, strlen(attrs.extra), LEASE_VALUE_MAX, &extra, NULL) < 0)
		return;
	take_mark(extra, ret);
}
