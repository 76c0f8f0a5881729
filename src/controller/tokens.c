// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tokens that are made while the cluster runs.
#include "controller/tokens.h"

#include "controller/controller_internal.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#define KEYS ".weft/tokens/" // behind the prefix
#define ID_LEN 16
#define SECRET_LEN 64
#define DIGEST_BYTES 32 // SHA-256
#define TOKEN_LEN (ID_LEN + 1 + SECRET_LEN)
#define TTL_MAX_S (10 * 366 * 86400)
#define TOKENS_MAX 1000
#define SWEEP_MAX 16 // expired ones that are removed at once

// What the store has of one.
struct token_record {
	char hash[2 * DIGEST_BYTES + 1];
	bool is_admin;
	int64_t created; // seconds since 1970
	int64_t expires; // 0: never
};

static void hash_of(const char *secret, char ret[static 2 * DIGEST_BYTES + 1])
{
	unsigned char digest[DIGEST_BYTES];

	// Only a library that was built without SHA-256 fails here.
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, secret, strlen(secret), digest) < 0)
		abort();
	text_hex(ret, digest, sizeof(digest));
}

static char *key_of(const struct controller *controller, const char *id, size_t len)
{
	return xasprintf("%s" KEYS "%.*s", controller->prefix, (int)len, id);
}

// ---- records ----

static bool read_record(const struct pair *pair, struct token_record *ret)
{
	_cleanup_json_ json_t *object = NULL;
	const char *hash = NULL;

	*ret = (struct token_record){ 0 };
	if (!pair->has_value || json_read(pair->bytes + pair->key_len + 1, pair->value_len,
					  KV_VALUE_MAX, &object, NULL) < 0)
		return false;
	return json_get_string(object, "hash", &hash, NULL) == 0 && hash &&
	       strlen(hash) == sizeof(ret->hash) - 1 &&
	       text_copy(ret->hash, sizeof(ret->hash), hash) == 0 &&
	       json_get_bool(object, "admin", &ret->is_admin, NULL) == 0 &&
	       json_get_int(object, "created", 0, INT64_MAX, &ret->created, NULL) == 0 &&
	       json_get_int(object, "expires", 0, INT64_MAX, &ret->expires, NULL) == 0;
}

static bool has_expired(const struct token_record *record)
{
	return record->expires != 0 && record->expires <= (int64_t)time(NULL);
}

enum caller_role tokens_role(const struct controller *controller, const char *token)
{
	const struct pair_set *pairs = mirror_pairs(controller->mirror);
	_cleanup_free_ char *key = NULL;
	char hash[2 * DIGEST_BYTES + 1];
	struct token_record record;
	const struct pair *pair;

	if (strlen(token) != TOKEN_LEN || token[ID_LEN] != '.')
		return CALLER_STRANGER;
	if (!pairs)
		return CALLER_UNKNOWN;
	key = key_of(controller, token, ID_LEN);
	pair = pair_set_find(pairs, key, strlen(key));
	if (!pair || !read_record(pair, &record) || has_expired(&record))
		return CALLER_STRANGER;
	hash_of(token + ID_LEN + 1, hash);
	if (gnutls_memcmp(hash, record.hash, sizeof(hash)) != 0)
		return CALLER_STRANGER;
	return record.is_admin ? CALLER_ADMIN : CALLER_AGENT;
}

// ---- who may ----

// False: answered.
static bool check_admin(const struct controller *controller, struct http_exchange *exchange)
{
	if (!access_is_guarded(controller))
		answer_error(exchange, -EINVAL,
			     "this controller asks for no tokens: it was started with --insecure");
	else if (access_role(controller, exchange) != CALLER_ADMIN)
		answer_error(exchange, -EACCES, "tokens are the business of those with an admin token");
	else if (!mirror_pairs(controller->mirror))
		answer_error(exchange, -EAGAIN, "the controller has not read its store yet");
	else
		return true;
	return false;
}

// From position on. NULL: that was the last.
static struct pair *next_token(const struct controller *controller, struct pair_position *position,
			       size_t *ret_prefix_len)
{
	_cleanup_free_ char *prefix = key_of(controller, "", 0);
	struct pair *pair = pair_set_next(mirror_pairs(controller->mirror), position);

	*ret_prefix_len = strlen(prefix);
	return pair && pair_starts_with(pair, prefix, *ret_prefix_len) ? pair : NULL;
}

static struct pair_position first_token(const struct controller *controller)
{
	_cleanup_free_ char *prefix = key_of(controller, "", 0);

	return pair_set_seek(mirror_pairs(controller->mirror), prefix, strlen(prefix));
}

// ---- removing those that ended ----

static void on_swept(void *arg, int r, bool succeeded, const struct kv_header *header,
		     const struct err *e)
{
	(void)arg; // one that stays goes another time
	(void)r;
	(void)succeeded;
	(void)header;
	(void)e;
}

static void sweep_one(struct controller *controller, const struct pair *pair)
{
	const struct kv_compare compare = { .key = pair->bytes,
					    .kind = KV_MOD_REVISION,
					    .mod_revision = pair->mod_revision };
	const struct kv_write write = { .key = pair->bytes };
	const struct kv_txn txn = { &compare, 1, &write, 1 };

	kv_txn(controller->kv, &txn, NULL, on_swept, &controller->sweep);
}

// How many tokens there are besides.
static size_t sweep(struct controller *controller)
{
	struct pair_position position = first_token(controller);
	size_t count = 0, swept = 0, prefix_len;
	struct token_record record;
	const struct pair *pair;

	while ((pair = next_token(controller, &position, &prefix_len))) {
		if (!read_record(pair, &record) || !has_expired(&record))
			count++;
		else if (swept++ < SWEEP_MAX)
			sweep_one(controller, pair);
	}
	return count;
}

void tokens_end(struct controller *controller)
{
	kv_forget(controller->kv, &controller->sweep);
}

// ---- what is asked ----

static void on_written(void *arg, int r, bool succeeded, const struct kv_header *header,
		       const struct err *e)
{
	struct op *op = arg;

	if (r < 0) {
		answer_error(op->exchange, r, err_msg(e));
	} else if (!succeeded) {
		answer_error(op->exchange, -EAGAIN, "somebody else changed it just now; try again");
	} else {
		if (op->controller->written < header->revision)
			op->controller->written = header->revision;
		answer_json(op->exchange, 200, json_incref(op->answer));
	}
	op_end(op);
}

static void create(struct controller *controller, struct http_exchange *exchange, int64_t ttl_s,
		   bool is_admin)
{
	unsigned char bytes[(ID_LEN + SECRET_LEN) / 2];
	char token[TOKEN_LEN + 1], hash[2 * DIGEST_BYTES + 1];
	int64_t now = (int64_t)time(NULL), expires = ttl_s > 0 ? now + ttl_s : 0;
	struct op *op = op_new(controller, exchange);
	_cleanup_free_ char *key = NULL, *value = NULL;

	// Only a system without random numbers fails here.
	if (gnutls_rnd(GNUTLS_RND_KEY, bytes, sizeof(bytes)) < 0)
		abort();
	text_hex(token, bytes, ID_LEN / 2);
	token[ID_LEN] = '.';
	text_hex(token + ID_LEN + 1, bytes + ID_LEN / 2, SECRET_LEN / 2);
	hash_of(token + ID_LEN + 1, hash);
	key = key_of(controller, token, ID_LEN);
	value = xasprintf("{\"hash\":\"%s\",\"admin\":%s,\"created\":%" PRId64
			  ",\"expires\":%" PRId64 "}",
			  hash, is_admin ? "true" : "false", now, expires);
	op->answer = json_pack("{s:s#,s:s,s:b,s:I}", "id", token, ID_LEN, "token", token, "admin",
			       is_admin, "expires", (json_int_t)expires);
	log_info("controller: make token %.*s, for %s", ID_LEN, token,
		 is_admin ? "an admin" : "agents");
	const struct kv_compare compare = { .key = key, .kind = KV_ABSENT };
	const struct kv_write write = { .key = key, .value = value, .value_len = strlen(value) };
	const struct kv_txn txn = { &compare, 1, &write, 1 };

	kv_txn(controller->kv, &txn, NULL, on_written, op);
	gnutls_memset(bytes, 0, sizeof(bytes));
	gnutls_memset(token, 0, sizeof(token));
}

void serve_token_create(struct controller *controller, struct http_exchange *exchange,
			const json_t *request)
{
	int64_t ttl_s = 0;
	bool is_admin = false;
	struct err e;

	if (!check_admin(controller, exchange))
		return;
	if (json_get_int(request, "ttl_s", 0, TTL_MAX_S, &ttl_s, &e) < 0 ||
	    json_get_bool(request, "admin", &is_admin, &e) < 0)
		answer_error(exchange, -EINVAL, err_msg(&e));
	else if (sweep(controller) >= TOKENS_MAX)
		answer_error(exchange, -EINVAL, "there are a thousand tokens: revoke some");
	else
		create(controller, exchange, ttl_s, is_admin);
}

void serve_token_list(struct controller *controller, struct http_exchange *exchange,
		      const json_t *request)
{
	struct pair_position position;
	struct token_record record;
	const struct pair *pair;
	json_t *list;
	size_t prefix_len;

	(void)request;
	if (!check_admin(controller, exchange))
		return;
	list = json_array();
	position = first_token(controller);
	while ((pair = next_token(controller, &position, &prefix_len))) {
		if (!read_record(pair, &record))
			continue;
		json_array_append_new(
			list,
			json_pack("{s:s,s:b,s:I,s:I,s:b}", "id", pair->bytes + prefix_len, "admin",
				  record.is_admin, "created", (json_int_t)record.created, "expires",
				  (json_int_t)record.expires, "expired", has_expired(&record)));
	}
	answer_json(exchange, 200, json_pack("{s:o}", "tokens", list));
}

void serve_token_revoke(struct controller *controller, struct http_exchange *exchange,
			const json_t *request)
{
	_cleanup_free_ char *key = NULL;
	char shown[TEXT_EXCERPT_MAX];
	const char *id = NULL;
	const struct pair *pair;
	struct op *op;
	struct err e;

	if (!check_admin(controller, exchange))
		return;
	err_set(&e, -EINVAL, "id: absent");
	if (json_get_string(request, "id", &id, &e) < 0 || !id) {
		answer_error(exchange, -EINVAL, err_msg(&e));
		return;
	}
	key = key_of(controller, id, strnlen(id, ID_LEN + 1));
	pair = pair_set_find(mirror_pairs(controller->mirror), key, strlen(key));
	if (!pair) {
		answer_error(exchange, -ENOENT, "there is no such token");
		return;
	}
	log_info("controller: revoke token %s", text_excerpt(id, strlen(id), shown));
	op = op_new(controller, exchange);
	op->answer = json_pack("{s:s}", "id", id);
	const struct kv_compare compare = { .key = key,
					    .kind = KV_MOD_REVISION,
					    .mod_revision = pair->mod_revision };
	const struct kv_write write = { .key = key };
	const struct kv_txn txn = { &compare, 1, &write, 1 };

	kv_txn(controller->kv, &txn, NULL, on_written, op);
}
