// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what an agent may write: its own leases, records of addresses in their subnets, and sessions of its own.
#include "controller/guard.h"

#include "controller/controller_internal.h"
#include "controller/guard_address.h"
#include "core/lease.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#define HIDDEN ".weft/"
#define LEASES "subnets/"
#define CONFIG "config"
#define KEY_SHOWN_MAX 200

// ---- keys ----

// For messages; whole unless somebody means to fill our log.
static const char *shown_key(const char *key, size_t len, char buf[static KEY_SHOWN_MAX])
{
	if (len >= KEY_SHOWN_MAX)
		len = KEY_SHOWN_MAX - 1;
	memcpy(buf, key, len);
	buf[len] = '\0';
	text_sanitize(buf);
	return buf;
}

static bool starts_with(const char *text, size_t len, const char *word)
{
	return len >= strlen(word) && memcmp(text, word, strlen(word)) == 0;
}

bool guard_is_hidden(const struct controller *controller, const char *key, size_t len)
{
	size_t prefix_len = strlen(controller->prefix);

	return len >= prefix_len && starts_with(key + prefix_len, len - prefix_len, HIDDEN);
}

// PREFIX/subnets/ or PREFIX/NAME/subnets/, of a key with a subnet behind it; 0: it is not one.
static size_t leases_prefix_len(const struct controller *controller, const char *key, size_t len)
{
	size_t at = strlen(controller->prefix);
	const char *slash = memchr(key + at, '/', len - at);
	struct subnet subnet;

	if (slash && slash != key + at && !starts_with(key + at, len - at, LEASES))
		at = (size_t)(slash - key) + 1;
	if (!starts_with(key + at, len - at, LEASES))
		return 0;
	at += strlen(LEASES);
	return subnet_parse_key(key + at, len - at, &subnet, NULL) == 0 ? at : 0;
}

// ---- owners ----

static bool owns(const struct caller *caller, const void *value, size_t len)
{
	struct owner_claim claim;

	owner_read(value, len, &claim);
	if (claim.is_marked)
		return caller->owner[0] != '\0' && strcmp(claim.mark, caller->owner) == 0;
	return claim.is_lease && ip_is_set(&caller->peer) &&
	       (ip_equal(&claim.ip, &caller->peer) || ip_equal(&claim.ipv6, &caller->peer));
}

static const void *pair_value(const struct pair *pair)
{
	return pair->has_value ? pair->bytes + pair->key_len + 1 : NULL;
}

static int refuse(const struct kv_write *write, const char *why, struct err *e)
{
	char shown[KEY_SHOWN_MAX];

	return err_set(e, -EACCES, "key %s: %s",
		       shown_key(write->key, kv_key_len(write->key, write->key_len), shown), why);
}

// ---- sessions ----

void guard_proof(const struct controller *controller, const struct caller *caller, int64_t session,
		 char ret[static GUARD_PROOF_MAX])
{
	unsigned char digest[(GUARD_PROOF_MAX - 1) / 2];
	char text[OWNER_MAX + 32];

	(void)text_format(text, sizeof(text), "%lld %s", (long long)session, caller->owner);
	// Only a library that was built without SHA-256 fails here.
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, controller->access.proof_key,
			     sizeof(controller->access.proof_key), text, strlen(text), digest) < 0)
		abort();
	text_hex(ret, digest, sizeof(digest));
}

static bool is_proven(const struct controller *controller, const struct caller *caller,
		      int64_t session, const char *proof)
{
	char wanted[GUARD_PROOF_MAX];

	if (!proof || strlen(proof) != GUARD_PROOF_MAX - 1)
		return false;
	guard_proof(controller, caller, session, wanted);
	return gnutls_memcmp(proof, wanted, GUARD_PROOF_MAX - 1) == 0;
}

int guard_session(const struct controller *controller, const struct caller *caller, int64_t session,
		  const char *proof, bool writes, struct err *e)
{
	const struct pair_set *pairs = mirror_pairs(controller->mirror);
	struct pair_position position = { 0 };
	const struct pair *pair;
	bool is_ours = false;

	if (!pairs)
		return err_set(e, -EAGAIN, "the controller has not read its store yet");
	while (session != 0 && (pair = pair_set_next(pairs, &position))) {
		if (pair->session != session)
			continue;
		if (writes && caller->role != CALLER_ADMIN &&
		    !owns(caller, pair_value(pair), pair->value_len))
			return err_set(e, -EACCES, "session %lld: a key of another host is tied to it",
				       (long long)session);
		is_ours = true;
	}
	if (is_ours || is_proven(controller, caller, session, proof))
		return 0;
	return err_set(e, -ENOENT, "no session %lld was opened here, or it ended", (long long)session);
}

// ---- writes ----

static const struct kv_compare *compare_of(const struct kv_txn *txn, const struct kv_write *write)
{
	size_t len = kv_key_len(write->key, write->key_len);

	for (size_t i = 0; i < txn->compare_count; i++) {
		const struct kv_compare *compare = &txn->compares[i];

		if (compare->kind != KV_PRESENT && kv_key_len(compare->key, compare->key_len) == len &&
		    memcmp(compare->key, write->key, len) == 0)
			return compare;
	}
	return NULL;
}

// quoted: the address as text. Most leases are told apart by that alone: this looks at all of them.
static bool is_said_by(const struct pair *pair, const struct ip *ip, const char *quoted)
{
	struct owner_claim claim;

	if (!pair->has_value || !memmem(pair_value(pair), pair->value_len, quoted, strlen(quoted)))
		return false;
	owner_read(pair_value(pair), pair->value_len, &claim);
	return claim.is_marked && (ip_equal(&claim.ip, ip) || ip_equal(&claim.ipv6, ip));
}

// A second lease with a host's address would make its peers doubt the first.
static int check_address(const struct controller *controller, const struct caller *caller,
			 const struct kv_write *write, size_t prefix_len, const struct ip *ip,
			 struct err *e)
{
	const struct pair_set *pairs = mirror_pairs(controller->mirror);
	struct pair_position position = pair_set_seek(pairs, write->key, prefix_len);
	size_t len = kv_key_len(write->key, write->key_len);
	char shown[KEY_SHOWN_MAX], text[IP_STR_MAX], quoted[IP_STR_MAX + 2];
	const struct pair *pair;

	(void)text_format(quoted, sizeof(quoted), "\"%s\"", ip_str(ip, text));
	while (ip_is_set(ip) && (pair = pair_set_next(pairs, &position)) &&
	       pair_starts_with(pair, write->key, prefix_len)) {
		bool is_same = pair->key_len == len && memcmp(pair->bytes, write->key, len) == 0;

		if (!is_same && is_said_by(pair, ip, quoted) &&
		    !owns(caller, pair_value(pair), pair->value_len))
			return err_set(e, -EACCES,
				       "key %s: its public address %s is another host's, whose lease is %.*s; `weft lease rm` "
				       "with an admin token removes one that nobody uses",
				       shown_key(write->key, len, shown), ip_str(ip, text),
				       (int)(pair->key_len - prefix_len), pair->bytes + prefix_len);
	}
	return 0;
}

static int check_value(const struct controller *controller, const struct caller *caller,
		       const struct kv_write *write, size_t prefix_len, struct err *e)
{
	struct owner_claim claim;
	int r;

	if (caller->owner[0] == '\0')
		return refuse(write,
			      "the client does not say who it is; is its weft older than ours?", e);
	owner_read(write->value, write->value_len, &claim);
	if (!claim.is_lease)
		return refuse(write, "its value is not a lease", e);
	if (!claim.is_marked || strcmp(claim.mark, caller->owner) != 0)
		return refuse(write, "its value has not the mark of who writes it", e);
	r = check_address(controller, caller, write, prefix_len, &claim.ip, e);
	return r < 0 ? r : check_address(controller, caller, write, prefix_len, &claim.ipv6, e);
}

static int check_session(const struct controller *controller, const struct caller *caller,
			 const struct kv_write *write, const char *proof, struct err *e)
{
	if (!write->value)
		return 0;
	if (write->session == 0)
		return refuse(write,
			      "without a session it is a reservation, which wants an admin token", e);
	return guard_session(controller, caller, write->session, proof, true, e);
}

// One that nobody has marked is of who comes from its address; --public-ip or a NAT makes a host come from another.
static int refuse_key(const struct caller *caller, const struct kv_write *write, const void *value,
		      size_t len, struct err *e)
{
	char shown[KEY_SHOWN_MAX], wanted[IP_STR_MAX], peer[IP_STR_MAX];
	struct owner_claim claim;

	owner_read(value, len, &claim);
	if (!claim.is_lease || claim.is_marked)
		return refuse(write,
			      "is another host's; `weft lease rm` with an admin token removes one that nobody uses",
			      e);
	return err_set(e, -EACCES,
		       "key %s: is without an owner and for a client at %s, not at %s; if it is this host's, remove it by "
		       "`weft lease rm` with an admin token, and reserve what the host gets",
		       shown_key(write->key, kv_key_len(write->key, write->key_len), shown),
		       ip_str(ip_is_set(&claim.ip) ? &claim.ip : &claim.ipv6, wanted),
		       ip_str(&caller->peer, peer));
}

// A network is made by an operator: nobody fills the store with leases of networks that do not exist. One that was made just
// now may not have been heard of.
static int check_network(const struct controller *controller, const struct kv_write *write,
			 size_t prefix_len, struct err *e)
{
	_cleanup_free_ char *config =
		xasprintf("%.*s" CONFIG, (int)(prefix_len - strlen(LEASES)), write->key);

	if (pair_set_find(mirror_pairs(controller->mirror), config, strlen(config)))
		return 0;
	(void)refuse(write, "its network has no config", e);
	return e->code = -EAGAIN;
}

static int check_new(const struct controller *controller, const struct caller *caller,
		     const struct kv_write *write, size_t prefix_len, const char *proof, struct err *e)
{
	int r = write->value ? check_network(controller, write, prefix_len, e) : 0;

	return r < 0 ? r : check_session(controller, caller, write, proof, e);
}

// A record may do without a session: one that is kept for a pod outlives its host, and not every store has sessions of
// several keys.
static int check_record_session(const struct controller *controller, const struct caller *caller,
				const struct kv_write *write, const char *proof, struct err *e)
{
	// There are many records, and with a proof not all keys need be looked at.
	if (!write->value || write->session == 0 ||
	    is_proven(controller, caller, write->session, proof))
		return 0;
	return guard_session(controller, caller, write->session, proof, true, e);
}

static int judge_address(const struct controller *controller, const struct caller *caller,
			 const struct kv_write *write, const struct guard_address *address,
			 const void *value, size_t len, const char *proof, struct err *e)
{
	int r = guard_address_replace(controller, caller, write, address, value, len, owns, e);

	return r < 0 ? r : check_record_session(controller, caller, write, proof, e);
}

// What is there of the key, as of the compared revision.
static int judge(const struct controller *controller, const struct caller *caller,
		 const struct kv_write *write, const void *value, size_t len, int64_t session,
		 const char *proof, struct err *e)
{
	if (!owns(caller, value, len))
		return refuse_key(caller, write, value, len, e);
	return write->session == session ? 0 : check_session(controller, caller, write, proof, e);
}

int guard_pair(const struct controller *controller, const struct caller *caller,
	       const struct kv_write *write, const struct kv_pair *pair, const char *proof,
	       struct err *e)
{
	struct guard_address address;

	guard_address_key(controller, write->key, kv_key_len(write->key, write->key_len), &address);
	if (address.kind != GUARD_OTHER)
		return judge_address(controller, caller, write, &address, pair->value,
				     pair->value_len, proof, e);
	return judge(controller, caller, write, pair->value, pair->value_len, pair->session, proof, e);
}

static int write_address(const struct controller *controller, const struct caller *caller,
			 const struct kv_txn *txn, size_t index,
			 const struct guard_address *address, const char *proof, struct err *e)
{
	const struct kv_write *write = &txn->writes[index];
	const struct kv_compare *compare = compare_of(txn, write);
	const struct pair *pair;
	int r = 0;

	if (!compare)
		return refuse(write, "is written without a compare of its revision", e);
	if (!mirror_pairs(controller->mirror))
		return err_set(e, -EAGAIN, "the controller has not read its store yet");
	if (write->value)
		r = guard_address_value(controller, caller, write, address, owns, e);
	if (r < 0)
		return r;
	if (compare->kind == KV_ABSENT)
		return check_record_session(controller, caller, write, proof, e);
	pair = pair_set_find(mirror_pairs(controller->mirror), write->key,
			     kv_key_len(write->key, write->key_len));
	if (!pair || pair->mod_revision != compare->mod_revision)
		return 1;
	return judge_address(controller, caller, write, address, pair_value(pair), pair->value_len,
			     proof, e);
}

int guard_write(const struct controller *controller, const struct caller *caller,
		const struct kv_txn *txn, size_t index, const char *proof, struct err *e)
{
	const struct pair_set *pairs = mirror_pairs(controller->mirror);
	const struct kv_write *write = &txn->writes[index];
	const struct kv_compare *compare = compare_of(txn, write);
	size_t len = kv_key_len(write->key, write->key_len);
	size_t prefix_len = leases_prefix_len(controller, write->key, len);
	struct guard_address address;
	const struct pair *pair;
	int r = 0;

	guard_address_key(controller, write->key, len, &address);
	if (address.kind != GUARD_OTHER)
		return write_address(controller, caller, txn, index, &address, proof, e);
	if (prefix_len == 0)
		return refuse(write, "is not a lease; to write it wants an admin token", e);
	if (!compare)
		return refuse(write, "is written without a compare of its revision", e);
	if (!pairs)
		return err_set(e, -EAGAIN, "the controller has not read its store yet");
	if (write->value)
		r = check_value(controller, caller, write, prefix_len, e);
	if (r < 0)
		return r;
	if (compare->kind == KV_ABSENT)
		return check_new(controller, caller, write, prefix_len, proof, e);
	pair = pair_set_find(pairs, write->key, len);
	if (!pair || pair->mod_revision != compare->mod_revision)
		return 1;
	return judge(controller, caller, write, pair_value(pair), pair->value_len, pair->session,
		     proof, e);
}

int64_t guard_compared_revision(const struct kv_txn *txn, size_t index)
{
	const struct kv_compare *compare = compare_of(txn, &txn->writes[index]);

	return compare && compare->kind == KV_MOD_REVISION ? compare->mod_revision : 0;
}
