// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the record of one container's address in a store: its key and its value (docs/agent-ipam.md).
#include "store/address_record.h"

#include "core/json.h"
#include "core/lease.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define VERSION 1
#define NO_V4 "0.0.0.0-0&" // begins the key of a lease that has IPv6 alone

const char *const address_state_names[] = { "used", "sticky", "reserved" };
static_assert(ARRAY_SIZE(address_state_names) == ADDRESS_STATE_COUNT, "a name for each state");

void address_record_free(struct address_record *record)
{
	free(record->net);
	free(record->cid);
	free(record->ifname);
	free(record->ns);
	free(record->pod);
	free(record->uid);
	free(record->node);
	free(record->boot);
	*record = (struct address_record){ 0 };
}

// ---- the value ----

static const struct {
	const char *name;
	size_t offset;
} texts[] = {
	{ "net", offsetof(struct address_record, net) },
	{ "cid", offsetof(struct address_record, cid) },
	{ "if", offsetof(struct address_record, ifname) },
	{ "ns", offsetof(struct address_record, ns) },
	{ "pod", offsetof(struct address_record, pod) },
	{ "uid", offsetof(struct address_record, uid) },
	{ "node", offsetof(struct address_record, node) },
	{ "boot", offsetof(struct address_record, boot) },
};

static char **text_at(const struct address_record *record, size_t i)
{
	return (char **)(void *)((char *)(uintptr_t)record + texts[i].offset);
}

static int parse_state(const json_t *object, const char *name, enum address_state *ret, struct err *e)
{
	const char *text = NULL;
	int r = json_get_string(object, name, &text, e);

	if (r < 0 || !text)
		return r;
	for (int i = 0; i < ADDRESS_STATE_COUNT; i++)
		if (strcmp(text, address_state_names[i]) == 0) {
			*ret = (enum address_state)i;
			return 0;
		}
	return err_set(e, -EINVAL, "%s: \"%.40s\" is not one of used, sticky, reserved", name, text);
}

static int parse_address(const json_t *object, struct address_record *ret, struct err *e)
{
	const char *text = NULL;
	struct ipnet net;
	char address[IP_STR_MAX] = "";
	size_t len;
	int r = json_get_string(object, "ip", &text, e);

	if (r < 0)
		return r;
	len = text ? strcspn(text, "/") : 0;
	if (len > 0 && len < sizeof(address))
		memcpy(address, text, len);
	if (!text || ipnet_parse(text, &net) < 0 || ip_parse(address, &ret->ip) < 0)
		return err_set(e, -EINVAL, "ip: \"%.60s\" is not like 10.1.2.3/24", text ? text : "");
	ret->len = net.len;
	return 0;
}

static int parse_texts(const json_t *object, struct address_record *ret, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *text = "";
		int r = json_get_string(object, texts[i].name, &text, e);

		if (r < 0)
			return r;
		if (strlen(text) >= ADDRESS_TEXT_MAX)
			return err_set(e, -EINVAL, "%s: longer than %d bytes", texts[i].name,
				       ADDRESS_TEXT_MAX - 1);
		*text_at(ret, i) = xstrdup(text);
	}
	return 0;
}

static int parse_members(const json_t *object, struct address_record *ret, struct err *e)
{
	int64_t version = 0;
	const char *owner = NULL;
	int r = json_get_int(object, "v", INT64_MIN, INT64_MAX, &version, e);

	if (r == 0 && version != VERSION)
		r = err_set(e, -EINVAL, "v: %lld is a form that this version does not know",
			    (long long)version);
	if (r == 0)
		r = parse_address(object, ret, e);
	if (r == 0)
		r = parse_texts(object, ret, e);
	if (r == 0)
		r = json_get_int(object, "t", 0, INT64_MAX, &ret->since_s, e);
	if (r == 0)
		r = parse_state(object, "st", &ret->state, e);
	if (r == 0)
		r = parse_state(object, "keep", &ret->keep, e);
	if (r == 0)
		r = json_get_string(object, OWNER_MEMBER, &owner, e);
	if (r < 0)
		return r;
	// What is no mark that anybody can have is still a mark: not "none".
	if (owner && (strlen(owner) != OWNER_MAX - 1 || text_copy(ret->owner, OWNER_MAX, owner) < 0))
		return err_set(e, -EINVAL, OWNER_MEMBER ": is no owner");
	return 0;
}

int address_record_parse(const void *value, size_t len, struct address_record *ret, struct err *e)
{
	_cleanup_json_ json_t *object = NULL;
	struct address_record record = { 0 };
	int r;

	*ret = record;
	if (!value)
		return err_set(e, -EINVAL, "is too large to be a record of an address");
	r = json_read(value, len, ADDRESS_VALUE_MAX, &object, e);
	if (r == 0 && !json_is_object(object))
		r = err_set(e, -EINVAL, "is not a JSON object");
	if (r == 0)
		r = parse_members(object, &record, e);
	if (r < 0) {
		address_record_free(&record);
		return -EINVAL;
	}
	*ret = record;
	return 0;
}

char *address_record_format(const struct address_record *record)
{
	_cleanup_json_ json_t *object = json_object();
	char ip[IP_STR_MAX], address[IPNET_STR_MAX];

	(void)text_format(address, sizeof(address), "%s/%u", ip_str(&record->ip, ip), record->len);
	json_object_set_new(object, "v", json_integer(VERSION));
	json_object_set_new(object, "ip", json_string(address));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *text = *text_at(record, i);

		if (text && *text)
			json_object_set_new(object, texts[i].name, json_string(text));
	}
	json_object_set_new(object, "t", json_integer(record->since_s));
	json_object_set_new(object, "st", json_string(address_state_names[record->state]));
	if (record->keep != ADDRESS_USED)
		json_object_set_new(object, "keep", json_string(address_state_names[record->keep]));
	if (*record->owner)
		json_object_set_new(object, OWNER_MEMBER, json_string(record->owner));
	return json_text(object);
}

// ---- the key ----

void address_subnet_key(const struct ipnet *subnet, char ret[static ADDRESS_SUBNET_KEY_MAX])
{
	struct subnet lease = { 0 };
	char key[LEASE_KEY_MAX];
	const char *part;

	if (subnet->addr.family == AF_INET6)
		lease.v6 = *subnet;
	else
		lease.v4 = *subnet;
	subnet_format_key(&lease, key);
	part = strchr(key, '&');
	(void)text_copy(ret, ADDRESS_SUBNET_KEY_MAX, part ? part + 1 : key); // fits
}

char *address_prefix(const char *prefix, const struct ipnet *subnet)
{
	char part[ADDRESS_SUBNET_KEY_MAX];

	address_subnet_key(subnet, part);
	return xasprintf("%s/" ADDRESS_PART "%s/", prefix, part);
}

char *address_key(const char *prefix, const struct ipnet *subnet, const struct ip *ip)
{
	_cleanup_free_ char *head = address_prefix(prefix, subnet);
	char text[IP_STR_MAX];

	return xasprintf("%s%s", head, ip_str(ip, text));
}

static int parse_subnet(const char *text, size_t len, struct ipnet *ret)
{
	char key[sizeof(NO_V4) + ADDRESS_SUBNET_KEY_MAX], again[ADDRESS_SUBNET_KEY_MAX];
	struct subnet subnet;
	bool is_v6 = memchr(text, ':', len) != NULL;

	if (len >= ADDRESS_SUBNET_KEY_MAX)
		return -EINVAL;
	(void)text_format(key, sizeof(key), "%s%.*s", is_v6 ? NO_V4 : "", (int)len, text);
	if (subnet_parse_key(key, strlen(key), &subnet, NULL) < 0)
		return -EINVAL;
	*ret = is_v6 ? subnet.v6 : subnet.v4;
	if (!ipnet_is_set(ret))
		return -EINVAL;
	address_subnet_key(ret, again);
	return strlen(again) == len && memcmp(again, text, len) == 0 ? 0 : -EINVAL;
}

int address_key_parse(const char *text, size_t len, struct ipnet *ret_subnet, struct ip *ret_ip)
{
	const char *slash = memchr(text, '/', len);
	char address[IP_STR_MAX], again[IP_STR_MAX];
	struct ipnet subnet;
	struct ip ip;
	size_t rest;

	if (!slash || parse_subnet(text, (size_t)(slash - text), &subnet) < 0)
		return -EINVAL;
	rest = len - (size_t)(slash - text) - 1;
	if (rest == 0 || rest >= sizeof(address))
		return -EINVAL;
	memcpy(address, slash + 1, rest);
	address[rest] = '\0';
	if (strlen(address) != rest || ip_parse(address, &ip) < 0 ||
	    !ipnet_contains(&subnet, &ip) || strcmp(ip_str(&ip, again), address) != 0)
		return -EINVAL;
	*ret_subnet = subnet;
	*ret_ip = ip;
	return 0;
}
