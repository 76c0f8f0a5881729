// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the lines of the journal, see journal.h.
#include "ipam/journal_text.h"

#include "core/hash.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/parse.h"

#include <string.h>

#define LINE_MAX_BYTES 32768
#define SUM_DIGITS 8

// ---- writing ----

static uint32_t sum_of(const char *text, size_t len)
{
	return (uint32_t)(hash_stable(text, len) >> 32);
}

// Takes object over.
static void add_line(struct strbuf *out, json_t *object)
{
	_cleanup_free_ char *text = json_text(object);

	(void)strbuf_printf(out, "%08x %s\n", sum_of(text, strlen(text)), text);
	json_decref(object);
}

static json_t *ip_text(const struct ip *ip)
{
	char text[IP_STR_MAX];

	return json_string(ip_str(ip, text));
}

void journal_line_head(struct strbuf *out, const char *boot, const char *prefix)
{
	add_line(out, json_pack("{s:s, s:i, s:s, s:s}", "op", "head", "v", 1, "boot", boot,
				"prefix", prefix));
}

void journal_line_use(struct strbuf *out, const struct holder *holder)
{
	json_t *ips = json_array();

	for (int family = 0; family < FAMILY_COUNT; family++)
		if (ip_is_set(&holder->ips[family]))
			json_array_append_new(ips, ip_text(&holder->ips[family]));
	add_line(out, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:o}",
				"op", "use", "name", holder->name, "cid", holder->cid, "if",
				holder->ifname, "ns", holder->ns, "pod", holder->pod, "uid",
				holder->uid, "netns", holder->netns, "host_if", holder->host_if,
				"inode", (json_int_t)holder->netns_inode, "t",
				(json_int_t)holder->since_s, "keep", (int)holder->keep, "ips", ips));
}

void journal_line_free(struct strbuf *out, const struct ip *ip, uint64_t key_hash, uint64_t at_ms)
{
	char key[17];

	(void)text_format(key, sizeof(key), "%016llx", (unsigned long long)key_hash); // fits
	add_line(out, json_pack("{s:s, s:o, s:s, s:I}", "op", "free", "ip", ip_text(ip), "key", key,
				"at", (json_int_t)at_ms));
}

void journal_line_done(struct strbuf *out, const struct ip *ip)
{
	add_line(out, json_pack("{s:s, s:o}", "op", "done", "ip", ip_text(ip)));
}

void journal_line_session(struct strbuf *out, int64_t session)
{
	add_line(out, json_pack("{s:s, s:I}", "op", "session", "id", (json_int_t)session));
}

// ---- reading ----

static void use_free(struct journal_use *use)
{
	free(use->name);
	free(use->cid);
	free(use->ifname);
	free(use->ns);
	free(use->pod);
	free(use->uid);
	free(use->netns);
	free(use->host_if);
	free(use);
}

void journal_content_free(struct journal_content *content)
{
	while (content->uses) {
		struct journal_use *use = content->uses;

		content->uses = use->next;
		use_free(use);
	}
	while (content->frees) {
		struct journal_free *free_entry = content->frees;

		content->frees = free_entry->next;
		free(free_entry);
	}
	*content = (struct journal_content){ 0 };
}

static int read_text(const json_t *object, const char *name, char **ret)
{
	const char *text = "";
	int r = json_get_string(object, name, &text, NULL);

	if (r == 0 && strlen(text) < 4096)
		*ret = xstrdup(text);
	return *ret ? 0 : -1;
}

static int read_number(const json_t *object, const char *name, int64_t max, int64_t *ret)
{
	*ret = 0;
	return json_get_int(object, name, 0, max, ret, NULL);
}

static int read_ips(const json_t *object, struct journal_use *use)
{
	const json_t *list = json_object_get(object, "ips");

	if (!json_is_array(list) || json_array_size(list) > FAMILY_COUNT)
		return -1;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		struct ip ip;

		if (!text || ip_parse(text, &ip) < 0)
			return -1;
		use->ips[family_of(&ip)] = ip;
	}
	return 0;
}

static int read_use(const json_t *object, struct journal_use *use)
{
	int64_t inode, keep;
	int r = read_text(object, "name", &use->name);

	r = r < 0 ? r : read_text(object, "cid", &use->cid);
	r = r < 0 ? r : read_text(object, "if", &use->ifname);
	r = r < 0 ? r : read_text(object, "ns", &use->ns);
	r = r < 0 ? r : read_text(object, "pod", &use->pod);
	r = r < 0 ? r : read_text(object, "uid", &use->uid);
	r = r < 0 ? r : read_text(object, "netns", &use->netns);
	r = r < 0 ? r : read_text(object, "host_if", &use->host_if);
	r = r < 0 ? r : read_number(object, "inode", INT64_MAX, &inode);
	r = r < 0 ? r : read_number(object, "t", INT64_MAX, &use->since_s);
	r = r < 0 ? r : read_number(object, "keep", ADDRESS_STATE_COUNT - 1, &keep);
	r = r < 0 ? r : read_ips(object, use);
	if (r < 0 || !*use->name || !*use->cid || !*use->ifname)
		return -1;
	use->netns_inode = (uint64_t)inode;
	use->keep = (enum address_state)keep;
	return 0;
}

static struct journal_use **find_use(struct journal_content *content, const struct journal_use *like)
{
	struct journal_use **link = &content->uses;

	while (*link && (strcmp((*link)->cid, like->cid) != 0 ||
			 strcmp((*link)->ifname, like->ifname) != 0 ||
			 strcmp((*link)->name, like->name) != 0))
		link = &(*link)->next;
	return link;
}

static void unlink_use(struct journal_use **link)
{
	struct journal_use *use = *link;

	*link = use->next;
	use_free(use);
}

static void forget_free(struct journal_content *content, const struct ip *ip)
{
	for (struct journal_free **link = &content->frees; *link;) {
		struct journal_free *entry = *link;

		if (!ip_equal(&entry->ip, ip)) {
			link = &entry->next;
			continue;
		}
		*link = entry->next;
		free(entry);
	}
}

// Whoever had it before has it no more.
static void forget_ip(struct journal_content *content, const struct ip *ip)
{
	for (struct journal_use **link = &content->uses; *link;) {
		struct ip *ips = (*link)->ips;

		if (ip_equal(&ips[family_of(ip)], ip))
			ips[family_of(ip)] = (struct ip){ 0 };
		if (!ip_is_set(&ips[FAMILY_V4]) && !ip_is_set(&ips[FAMILY_V6]))
			unlink_use(link);
		else
			link = &(*link)->next;
	}
	forget_free(content, ip);
}

static int take_use(const json_t *object, struct journal_content *content)
{
	struct journal_use *use = xnew(struct journal_use);
	struct journal_use **link;

	if (read_use(object, use) < 0) {
		use_free(use);
		return -1;
	}
	link = find_use(content, use);
	if (*link)
		unlink_use(link);
	for (int family = 0; family < FAMILY_COUNT; family++)
		if (ip_is_set(&use->ips[family]))
			forget_ip(content, &use->ips[family]);
	if (!ip_is_set(&use->ips[FAMILY_V4]) && !ip_is_set(&use->ips[FAMILY_V6])) {
		use_free(use);
		return 0;
	}
	use->next = content->uses;
	content->uses = use;
	return 0;
}

static int read_ip(const json_t *object, struct ip *ret)
{
	*ret = (struct ip){ 0 };
	return json_get_ip(object, "ip", ret, NULL) == 0 && ip_is_set(ret) ? 0 : -1;
}

static int take_free(const json_t *object, struct journal_content *content)
{
	struct journal_free **end = &content->frees;
	struct journal_free *entry;
	const char *key = "";
	uint64_t hash;
	int64_t at;
	struct ip ip;

	if (read_ip(object, &ip) < 0 || read_number(object, "at", INT64_MAX, &at) < 0 ||
	    json_get_string(object, "key", &key, NULL) < 0 || !parse_hex(&key, 16, &hash) ||
	    !parse_end(key))
		return -1;
	forget_ip(content, &ip);
	entry = xnew(struct journal_free);
	entry->ip = ip;
	entry->key_hash = hash;
	entry->at_ms = (uint64_t)at;
	while (*end)
		end = &(*end)->next;
	*end = entry;
	return 0;
}

static int take_done(const json_t *object, struct journal_content *content)
{
	struct ip ip;

	if (read_ip(object, &ip) < 0)
		return -1;
	for (struct journal_free *entry = content->frees; entry; entry = entry->next)
		if (ip_equal(&entry->ip, &ip))
			entry->is_done = true;
	return 0;
}

static int take_head(const json_t *object, struct journal_content *content)
{
	const char *boot = "", *prefix = "";

	if (json_get_string(object, "boot", &boot, NULL) < 0 ||
	    json_get_string(object, "prefix", &prefix, NULL) < 0)
		return -1;
	if (text_copy(content->boot, sizeof(content->boot), boot) < 0 ||
	    text_copy(content->prefix, sizeof(content->prefix), prefix) < 0)
		return -1;
	return 0;
}

static int take_session(const json_t *object, struct journal_content *content)
{
	int64_t id = 0;

	if (json_get_int(object, "id", INT64_MIN, INT64_MAX, &id, NULL) < 0)
		return -1;
	content->session = id;
	return 0;
}

static const struct {
	const char *op;
	int (*take)(const json_t *object, struct journal_content *content);
} ops[] = {
	{ "head", take_head }, { "use", take_use },	    { "free", take_free },
	{ "done", take_done }, { "session", take_session },
};

static int take_line(const char *line, size_t len, struct journal_content *content)
{
	_cleanup_json_ json_t *object = NULL;
	char sum[SUM_DIGITS + 2];
	const char *op = "";

	if (len < SUM_DIGITS + 2 || len > LINE_MAX_BYTES || line[SUM_DIGITS] != ' ')
		return -1;
	(void)text_format(sum, sizeof(sum), "%08x",
			  sum_of(line + SUM_DIGITS + 1, len - SUM_DIGITS - 1));
	if (memcmp(sum, line, SUM_DIGITS) != 0 ||
	    json_read(line + SUM_DIGITS + 1, len - SUM_DIGITS - 1, LINE_MAX_BYTES, &object, NULL) < 0 ||
	    json_get_string(object, "op", &op, NULL) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (strcmp(op, ops[i].op) == 0)
			return ops[i].take(object, content);
	return -1;
}

void journal_parse(const char *text, size_t len, struct journal_content *ret)
{
	*ret = (struct journal_content){ 0 };
	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t line = end ? (size_t)(end - text) : len;

		if (take_line(text, line, ret) < 0)
			ret->bad_lines++;
		ret->lines++;
		text += line + (end != NULL);
		len -= line + (end != NULL);
	}
}
