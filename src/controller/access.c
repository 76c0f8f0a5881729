// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: whose requests a controller takes: those that carry its token.
#include "controller/controller_internal.h"

#include "core/log.h"
#include "core/mem.h"
#include "store/wire.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <strings.h>

#define SCHEME "Bearer "

bool access_is_granted(const struct controller *controller, const struct http_exchange *exchange)
{
	const char *given = http_exchange_header(exchange, "Authorization");
	size_t len;

	if (!controller->token)
		return true;
	if (!given || strncasecmp(given, SCHEME, strlen(SCHEME)) != 0)
		return false;
	given += strlen(SCHEME);
	len = strlen(controller->token);
	// In a time that does not tell how much of it was right. The length is no secret.
	return strlen(given) == len && gnutls_memcmp(given, controller->token, len) == 0;
}

void access_refuse(struct http_exchange *exchange)
{
	bool has_token = http_exchange_header(exchange, "Authorization") != NULL;
	struct ip peer = http_exchange_peer(exchange);
	char address[IP_STR_MAX];

	log_rl(LOG_LEVEL_WARN, "controller: refuse a request from %s: %s", ip_str(&peer, address),
	       has_token ? "it has another token" : "it has no token");
	answer_json(exchange, 401,
		    wire_error(-EACCES, has_token ? "the token is not this controller's"
						  : "this controller wants its token"));
}
