// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what an agent may write of the addresses of containers (store/address_record.h): what is in subnets that it has a
// lease of, and its node's record.
#include "controller/guard_address.h"

#include "controller/controller_internal.h"
#include "core/lease.h"
#include "core/mem.h"
#include "core/text.h"
#include "store/address_record.h"

#include <errno.h>
#include <string.h>

#define LEASES "subnets/"
#define KEY_SHOWN_MAX 200

// ---- keys ----

static bool starts_with(const char *text, size_t len, const char *word)
{
	return len >= strlen(word) && memcmp(text, word, strlen(word)) == 0;
}

static void parse_part(const char *part, size_t len, struct guard_address *ret)
{
	char text[IP_STR_MAX];

	if (starts_with(part, len, ADDRESS_PART)) {
		size_t head = strlen(ADDRESS_PART);

		if (address_key_parse(part + head, len - head, &ret->subnet, &ret->ip) == 0)
			ret->kind = GUARD_RECORD;
	} else if (starts_with(part, len, ADDRESS_NODE_PART)) {
		size_t head = strlen(ADDRESS_NODE_PART);

		if (len - head >= sizeof(text))
			return;
		memcpy(text, part + head, len - head);
		text[len - head] = '\0';
		if (strlen(text) == len - head && ip_parse(text, &ret->ip) == 0)
			ret->kind = GUARD_NODE;
	}
}

void guard_address_key(const struct controller *controller, const char *key, size_t len,
		       struct guard_address *ret)
{
	size_t at = strlen(controller->prefix);
	const char *slash = len > at ? memchr(key + at, '/', len - at) : NULL;

	*ret = (struct guard_address){ .kind = GUARD_OTHER };
	if (!slash)
		return;
	ret->network_len = at;
	parse_part(key + at, len - at, ret);
	if (ret->kind != GUARD_OTHER)
		return;
	ret->network_len = (size_t)(slash - key) + 1;
	parse_part(key + ret->network_len, len - ret->network_len, ret);
}

static int refuse(const struct kv_write *write, const char *why, struct err *e)
{
	char shown[KEY_SHOWN_MAX];
	size_t len = kv_key_len(write->key, write->key_len);

	if (len >= KEY_SHOWN_MAX)
		len = KEY_SHOWN_MAX - 1;
	memcpy(shown, write->key, len);
	shown[len] = '\0';
	text_sanitize(shown);
	return err_set(e, -EACCES, "key %s: %s", shown, why);
}

// ---- leases of the caller ----

static const void *pair_value(const struct pair *pair)
{
	return pair->has_value ? pair->bytes + pair->key_len + 1 : NULL;
}

// Of all leases few have the text in their key or value, and only these are looked into.
typedef bool lease_match_fn(const struct pair *pair, size_t prefix_len,
			    const struct guard_address *address);

static bool is_of_subnet(const struct pair *pair, size_t prefix_len, const struct guard_address *address)
{
	char part[ADDRESS_SUBNET_KEY_MAX];
	struct subnet subnet;

	address_subnet_key(&address->subnet, part);
	return memmem(pair->bytes + prefix_len, pair->key_len - prefix_len, part, strlen(part)) &&
	       subnet_parse_key(pair->bytes + prefix_len, pair->key_len - prefix_len, &subnet,
				NULL) == 0 &&
	       (ipnet_equal(&subnet.v4, &address->subnet) ||
		ipnet_equal(&subnet.v6, &address->subnet));
}

static bool is_of_host(const struct pair *pair, size_t prefix_len, const struct guard_address *address)
{
	char text[IP_STR_MAX];
	struct owner_claim claim;

	(void)prefix_len;
	(void)ip_str(&address->ip, text);
	if (!pair->has_value || !memmem(pair_value(pair), pair->value_len, text, strlen(text)))
		return false;
	owner_read(pair_value(pair), pair->value_len, &claim);
	return ip_equal(&claim.ip, &address->ip) || ip_equal(&claim.ipv6, &address->ip);
}

static bool has_lease(const struct controller *controller, const struct caller *caller,
		      const struct kv_write *write, const struct guard_address *address,
		      lease_match_fn *matches, guard_owns_fn *owns)
{
	const struct pair_set *pairs = mirror_pairs(controller->mirror);
	_cleanup_free_ char *prefix =
		xasprintf("%.*s" LEASES, (int)address->network_len, (const char *)write->key);
	size_t prefix_len = strlen(prefix);
	struct pair_position position = pair_set_seek(pairs, prefix, prefix_len);
	const struct pair *pair;

	while ((pair = pair_set_next(pairs, &position)) && pair_starts_with(pair, prefix, prefix_len))
		if (matches(pair, prefix_len, address) &&
		    owns(caller, pair_value(pair), pair->value_len))
			return true;
	return false;
}

static bool has_subnet(const struct controller *controller, const struct caller *caller,
		       const struct kv_write *write, const struct guard_address *address,
		       guard_owns_fn *owns)
{
	return has_lease(controller, caller, write, address, is_of_subnet, owns);
}

// ---- values ----

static bool is_marked(const struct caller *caller, const char *owner)
{
	return caller->owner[0] != '\0' && strcmp(owner, caller->owner) == 0;
}

static int check_record(const struct caller *caller, const struct kv_write *write,
			const struct guard_address *address, struct err *e)
{
	_cleanup_record_ struct address_record record = { 0 };
	struct err why;

	if (address_record_parse(write->value, write->value_len, &record, &why) < 0)
		return refuse(write, err_msg(&why), e);
	if (!ip_equal(&record.ip, &address->ip) || record.len != address->subnet.len)
		return refuse(write, "its value is of another address", e);
	if (!is_marked(caller, record.owner))
		return refuse(write, "its value has not the mark of who writes it", e);
	return 0;
}

int guard_address_value(const struct controller *controller, const struct caller *caller,
			const struct kv_write *write, const struct guard_address *address,
			guard_owns_fn *owns, struct err *e)
{
	if (address->kind == GUARD_RECORD) {
		int r = check_record(caller, write, address, e);

		if (r < 0 || has_subnet(controller, caller, write, address, owns))
			return r;
		return refuse(write, "is an address of a subnet that the client has no lease of", e);
	}
	if (!owns(caller, write->value, write->value_len))
		return refuse(write, "its value has not the mark of who writes it", e);
	if (!has_lease(controller, caller, write, address, is_of_host, owns))
		return refuse(write, "is of a host that the client is not", e);
	return 0;
}

static bool is_reserved(const struct address_record *record)
{
	return record->state == ADDRESS_RESERVED || record->keep == ADDRESS_RESERVED;
}

// An operator's word is lent, not taken.
static bool keeps_reservation(const struct kv_write *write, const void *value, size_t len)
{
	_cleanup_record_ struct address_record was = { 0 }, is = { 0 };

	if (address_record_parse(value, len, &was, NULL) < 0 || !is_reserved(&was))
		return true;
	return write->value && address_record_parse(write->value, write->value_len, &is, NULL) == 0 &&
	       is_reserved(&is) && strcmp(was.ns, is.ns) == 0 && strcmp(was.pod, is.pod) == 0;
}

int guard_address_replace(const struct controller *controller, const struct caller *caller,
			  const struct kv_write *write, const struct guard_address *address,
			  const void *value, size_t len, guard_owns_fn *owns, struct err *e)
{
	bool is_own = owns(caller, value, len);

	if (address->kind == GUARD_NODE)
		return is_own ? 0 : refuse(write, "is another host's", e);
	if (!is_own && !has_subnet(controller, caller, write, address, owns))
		return refuse(write, "is another host's", e);
	if (!keeps_reservation(write, value, len))
		return refuse(write, "is reserved; `weft ip release` with an admin token frees it", e);
	return 0;
}
