// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what of a server of flannel 0.5 to 0.7 was seen, and the revisions, sessions and cursors that are made of it.
#include "store/remote_v1.h"

#include "core/hash.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

// ---- keys ----

int v1_read_place(const struct remote_v1 *v1, const char *key, size_t len, struct v1_place *ret,
		  struct err *e)
{
	static const char subnets[] = "subnets/";
	struct v1_place place = { .network = V1_NO_NETWORK };
	size_t prefix_len = strlen(v1->prefix);
	const char *rest, *slash;

	if (len != strlen(key) || strncmp(key, v1->prefix, prefix_len) != 0)
		return err_set(e, -EINVAL, "a server of flannel has nothing but networks below %s",
			       v1->prefix);
	rest = key + prefix_len;
	slash = strchr(rest, '/');
	if (slash && strncmp(rest, subnets, strlen(subnets)) != 0) {
		(void)text_format(place.network, sizeof(place.network), "%.*s", (int)(slash - rest),
				  rest);
		if ((size_t)(slash - rest) > V1_NETWORK_MAX || !v1_is_network_name(place.network))
			return err_set(e, -EINVAL, "not the name of a network");
		rest = slash + 1;
	}
	if (strcmp(rest, "config") == 0)
		place.kind = V1_CONFIG;
	else if (*rest == '\0' && !slash)
		place.kind = V1_NETWORKS;
	else if (strcmp(rest, subnets) == 0)
		place.kind = V1_LEASES;
	else if (strncmp(rest, subnets, strlen(subnets)) == 0)
		place.kind = V1_LEASE;
	else
		return err_set(e, -EINVAL, "a server of flannel has nothing but configs and leases");
	if (place.kind == V1_LEASE && v1_parse_subnet(rest + strlen(subnets), &place.subnet, e) < 0)
		return -EINVAL;
	*ret = place;
	return 0;
}

char *v1_path(const struct v1_place *place, const char *what)
{
	static const char hex[] = "0123456789ABCDEF";
	struct strbuf out = STRBUF_INIT(4096);
	char key[LEASE_KEY_MAX];
	const struct subnet subnet = { .v4 = place->subnet };

	strbuf_puts(&out, "/v1/");
	for (const unsigned char *p = (const unsigned char *)place->network; *p; p++) {
		bool is_plain = (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
				(*p >= 'A' && *p <= 'Z') || strchr("-_.~", *p);

		if (is_plain)
			strbuf_putc(&out, (char)*p);
		else
			strbuf_printf(&out, "%%%c%c", hex[*p >> 4], hex[*p & 15]);
	}
	strbuf_printf(&out, "/%s", what);
	if (place->kind == V1_LEASE) {
		subnet_format_key(&subnet, key);
		strbuf_printf(&out, "/%s", key);
	}
	return strbuf_take(&out);
}

char *v1_lease_key_of(const struct remote_v1 *v1, const char *network, const struct ipnet *subnet)
{
	bool is_base = strcmp(network, V1_NO_NETWORK) == 0;
	const struct subnet both = { .v4 = *subnet };
	char key[LEASE_KEY_MAX];

	subnet_format_key(&both, key);
	return xasprintf("%s%s%ssubnets/%s", v1->prefix, is_base ? "" : network, is_base ? "" : "/",
			 key);
}

// ---- entries ----

static struct v1_entry **bucket_of(struct remote_v1 *v1, const char *key)
{
	return &v1->entries[hash_bytes(key, strlen(key)) % V1_BUCKETS];
}

static struct v1_entry **find_link(struct remote_v1 *v1, const char *key)
{
	struct v1_entry **link = bucket_of(v1, key);

	while (*link && strcmp((*link)->key, key) != 0)
		link = &(*link)->next;
	return link;
}

struct v1_entry *v1_entry_find(struct remote_v1 *v1, const char *key)
{
	return *find_link(v1, key);
}

int64_t v1_synonym(const char *key, const struct ip *ip)
{
	_cleanup_free_ char *text = NULL;
	char shown[IP_STR_MAX];
	int64_t number;

	text = xasprintf("%s %s", key, ip_str(ip, shown));
	number = (int64_t)(hash_stable(text, strlen(text)) >> 1);
	return number != 0 ? number : 1;
}

static void entry_ends(struct remote_v1 *v1, const char *key)
{
	struct v1_session *session = v1_session_of_key(v1, key);

	if (session)
		v1_session_drop(v1, session);
}

struct v1_entry *v1_note(struct remote_v1 *v1, const char *key, const char *value, const struct ip *ip)
{
	struct v1_entry **link = find_link(v1, key);
	uint64_t hash = hash_bytes(value, strlen(value));
	int64_t session = ip ? v1_synonym(key, ip) : 0;
	struct v1_entry *entry = *link;

	if (!entry) {
		entry = *link = xcalloc(1, sizeof(*entry) + strlen(key) + 1);
		memcpy(entry->key, key, strlen(key));
		entry->create = v1->revision + 1;
	} else if (entry->session != session) {
		entry_ends(v1, key);
		entry->create = v1->revision + 1;
	}
	if (entry->value_hash != hash || entry->session != session || entry->mod == 0)
		entry->mod = ++v1->revision;
	entry->value_hash = hash;
	entry->session = session;
	entry->is_seen = true;
	return entry;
}

static void unlink_entry(struct remote_v1 *v1, struct v1_entry **link)
{
	struct v1_entry *entry = *link;

	*link = entry->next;
	entry_ends(v1, entry->key);
	free(entry);
}

int64_t v1_forget(struct remote_v1 *v1, const char *key)
{
	struct v1_entry **link = find_link(v1, key);

	if (*link)
		unlink_entry(v1, link);
	return ++v1->revision;
}

void v1_unsee(struct remote_v1 *v1, const char *prefix)
{
	for (size_t i = 0; i < V1_BUCKETS; i++)
		for (struct v1_entry *entry = v1->entries[i]; entry; entry = entry->next)
			if (strncmp(entry->key, prefix, strlen(prefix)) == 0)
				entry->is_seen = false;
}

void v1_forget_unseen(struct remote_v1 *v1, const char *prefix)
{
	for (size_t i = 0; i < V1_BUCKETS; i++) {
		struct v1_entry **link = &v1->entries[i];

		while (*link) {
			if ((*link)->is_seen || strncmp((*link)->key, prefix, strlen(prefix)) != 0) {
				link = &(*link)->next;
				continue;
			}
			unlink_entry(v1, link);
			v1->revision++;
		}
	}
}

struct kv_header v1_header(const struct remote_v1 *v1)
{
	return (struct kv_header){ .revision = v1->revision, .cluster_id = v1->cluster_id };
}

// ---- sessions ----

struct v1_session *v1_session_find(struct remote_v1 *v1, int64_t number)
{
	struct v1_session *session = v1->sessions;

	while (session && session->number != number)
		session = session->next;
	return session;
}

struct v1_session *v1_session_of_key(struct remote_v1 *v1, const char *key)
{
	struct v1_session *session = v1->sessions;

	while (session && !(session->key && strcmp(session->key, key) == 0))
		session = session->next;
	return session;
}

static bool has_ended(const struct v1_session *session)
{
	return !session->key &&
	       loop_boottime_ms() > session->granted_ms + (uint64_t)session->ttl_s * 1000;
}

struct v1_session *v1_session_new(struct remote_v1 *v1, int64_t ttl_s)
{
	struct v1_session *session = xnew(struct v1_session), *next;

	for (struct v1_session *old = v1->sessions; old; old = next) {
		next = old->next;
		if (has_ended(old))
			v1_session_drop(v1, old);
	}
	session->number = 1 + (int64_t)random_below(INT64_MAX - 1);
	session->ttl_s = ttl_s;
	session->granted_ms = loop_boottime_ms();
	session->next = v1->sessions;
	v1->sessions = session;
	return session;
}

void v1_session_drop(struct remote_v1 *v1, struct v1_session *session)
{
	struct v1_session **link = &v1->sessions;

	while (*link != session)
		link = &(*link)->next;
	*link = session->next;
	free(session->key);
	free(session);
}

int64_t v1_entry_session(struct remote_v1 *v1, const struct v1_entry *entry)
{
	const struct v1_session *session = v1_session_of_key(v1, entry->key);

	return session && session->synonym == entry->session ? session->number : entry->session;
}

void v1_sessions_doubt(struct remote_v1 *v1)
{
	for (struct v1_session *session = v1->sessions; session; session = session->next)
		session->is_doubtful = true;
}

// ---- cursors ----

static struct v1_cursor *find_cursor(const struct remote_v1 *v1, const char *network)
{
	struct v1_cursor *cursor = v1->cursors;

	while (cursor && strcmp(cursor->network, network) != 0)
		cursor = cursor->next;
	return cursor;
}

const char *v1_cursor_get(const struct remote_v1 *v1, const char *network)
{
	const struct v1_cursor *cursor = find_cursor(v1, network);

	return cursor ? cursor->text : NULL;
}

void v1_cursor_set(struct remote_v1 *v1, const char *network, const char *text)
{
	struct v1_cursor *cursor = find_cursor(v1, network);

	if (!cursor) {
		cursor = xcalloc(1, sizeof(*cursor) + strlen(network) + 1);
		memcpy(cursor->network, network, strlen(network));
		cursor->next = v1->cursors;
		v1->cursors = cursor;
	}
	free(cursor->text);
	cursor->text = xstrdup(text);
}

void v1_table_free(struct remote_v1 *v1)
{
	while (v1->sessions) {
		struct v1_session *session = v1->sessions;

		v1->sessions = session->next;
		free(session->key);
		free(session);
	}
	for (size_t i = 0; i < V1_BUCKETS; i++)
		while (v1->entries[i]) {
			struct v1_entry *entry = v1->entries[i];

			v1->entries[i] = entry->next;
			free(entry);
		}
	while (v1->cursors) {
		struct v1_cursor *cursor = v1->cursors;

		v1->cursors = cursor->next;
		free(cursor->text);
		free(cursor);
	}
}
