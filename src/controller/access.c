// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: who a request comes from: what its token allows, whose identity it shows.
#include "controller/controller_internal.h"
#include "controller/tokens.h"

#include "core/log.h"
#include "core/mem.h"
#include "store/wire.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <strings.h>

#define SCHEME "Bearer "
#define IDENTITY_HEADER "Weft-Identity"
#define PROOF_DOMAIN "weft session proof key"

// ---- secrets that follow from the admin token ----

static void secrets_wipe(struct access *access)
{
	secret_text_free(access->admin_token);
	gnutls_memset(access, 0, sizeof(*access));
}

void access_init(struct access *access, const char *admin_token)
{
	secrets_wipe(access);
	if (!admin_token)
		return;
	access->admin_token = xstrdup(admin_token);
	join_token_of(admin_token, access->join_token);
	// Only a library that was built without SHA-256 fails here.
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, admin_token, strlen(admin_token), PROOF_DOMAIN,
			     strlen(PROOF_DOMAIN), access->proof_key) < 0)
		abort();
}

void access_free(struct access *access)
{
	secrets_wipe(access);
}

// ---- requests ----

static const char *token_of(const struct http_exchange *exchange)
{
	const char *given = http_exchange_header(exchange, "Authorization");

	if (!given || strncasecmp(given, SCHEME, strlen(SCHEME)) != 0)
		return NULL;
	return given + strlen(SCHEME);
}

// In a time that does not tell how much of it was right. The length is no secret.
static bool is_token(const char *given, const char *token)
{
	size_t len = strlen(token);

	return strlen(given) == len && gnutls_memcmp(given, token, len) == 0;
}

static enum caller_role role_of(const struct controller *controller, const char *token)
{
	const struct access *access = &controller->access;

	if (!access->admin_token)
		return CALLER_ADMIN;
	if (!token)
		return CALLER_STRANGER;
	if (is_token(token, access->admin_token))
		return CALLER_ADMIN;
	if (is_token(token, access->join_token))
		return CALLER_AGENT;
	return tokens_role(controller, token);
}

enum caller_role access_role(const struct controller *controller, const struct http_exchange *exchange)
{
	return role_of(controller, token_of(exchange));
}

void access_caller(const struct controller *controller, const struct http_exchange *exchange,
		   struct caller *ret)
{
	const char *identity = http_exchange_header(exchange, IDENTITY_HEADER);

	*ret = (struct caller){
		.role = access_role(controller, exchange),
		.peer = http_exchange_peer(exchange),
	};
	if (controller->access.admin_token && identity && owner_check_identity(identity, NULL) == 0)
		owner_of(identity, ret->owner);
}

bool access_is_guarded(const struct controller *controller)
{
	return controller->access.admin_token != NULL;
}

bool access_is_granted(enum caller_role role)
{
	return role == CALLER_AGENT || role == CALLER_ADMIN;
}

void access_refuse(struct http_exchange *exchange, enum caller_role role)
{
	bool has_token = http_exchange_header(exchange, "Authorization") != NULL;
	struct ip peer = http_exchange_peer(exchange);
	char address[IP_STR_MAX];

	if (role == CALLER_UNKNOWN) {
		answer_error(exchange, -EAGAIN, "the controller has not read its store yet");
		return;
	}
	log_rl(LOG_LEVEL_WARN, "controller: refuse a request from %s: %s", ip_str(&peer, address),
	       has_token ? "it has another token" : "it has no token");
	answer_json(exchange, 401,
		    wire_error(-EACCES, has_token ? "the token is not this controller's"
						  : "this controller wants its token"));
}
