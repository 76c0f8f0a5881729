// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the token that agents join with.
#include "controller/join_token.h"

#include "core/strbuf.h"

#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>

#define DOMAIN "weft join token"

void join_token_of(const char *admin_token, char ret[static JOIN_TOKEN_MAX])
{
	unsigned char digest[(JOIN_TOKEN_MAX - 1) / 2];

	// Only a library that was built without SHA-256 fails here.
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, admin_token, strlen(admin_token), DOMAIN,
			     strlen(DOMAIN), digest) < 0)
		abort();
	text_hex(ret, digest, sizeof(digest));
	gnutls_memset(digest, 0, sizeof(digest));
}
