// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: rules in the words of iptables-save and iptables-restore.
#include "masq/iptables_text.h"

#include "core/mem.h"

#include <string.h>

static const struct {
	const char *table, *parent, *chain, *jump, *comment;
} places[MASQ_CHAIN_COUNT] = {
	[MASQ_POSTROUTING] = { "nat", "POSTROUTING", "FLANNEL-POSTRTG",
			       "-A POSTROUTING -m comment --comment \"flanneld masq\" -j FLANNEL-POSTRTG\n",
			       "flanneld masq" },
	[MASQ_FORWARD] = { "filter", "FORWARD", "FLANNEL-FWD",
			   "-A FORWARD -m comment --comment \"flanneld forward\" -j FLANNEL-FWD\n",
			   "flanneld forward" },
};

void iptables_have_free(struct iptables_have *have)
{
	for (size_t i = 0; i < MASQ_CHAIN_COUNT; i++) {
		free(have->rules[i]);
		free(have->jumps[i]);
	}
	*have = (struct iptables_have){ 0 };
}

// ---- reading ----

struct iptables_reader {
	struct iptables_have have;
	struct strbuf rules[MASQ_CHAIN_COUNT], jumps[MASQ_CHAIN_COUNT];
	char table[32];
	char line[IPTABLES_LINE_MAX];
	size_t len;
	bool is_long;
};

struct iptables_reader *iptables_reader_new(void)
{
	struct iptables_reader *reader = xnew(struct iptables_reader);
	for (size_t i = 0; i < MASQ_CHAIN_COUNT; i++)
		reader->rules[i] = reader->jumps[i] = STRBUF_INIT(IPTABLES_OURS_MAX);
	return reader;
}

static bool begins(const char *line, const char *first, const char *second)
{
	size_t len = strlen(first);
	return strncmp(line, first, len) == 0 && strncmp(line + len, second, strlen(second)) == 0 &&
	       line[len + strlen(second)] == ' ';
}

static bool ends_in_jump(const char *line, const char *chain)
{
	const char *last = strrchr(line, ' ');
	return last && last - line > 3 && strcmp(last + 1, chain) == 0 &&
	       strncmp(last - 3, " -j", 3) == 0;
}

static void take_line(struct iptables_reader *reader)
{
	const char *line = reader->line;
	if (*line == '*') {
		(void)text_copy(reader->table, sizeof(reader->table), line + 1);
		return;
	}
	for (size_t i = 0; i < MASQ_CHAIN_COUNT; i++) {
		if (strcmp(reader->table, places[i].table) != 0)
			continue;
		if (begins(line, ":", places[i].chain))
			reader->have.has_chain[i] = true;
		else if (begins(line, "-A ", places[i].chain))
			(void)strbuf_printf(&reader->rules[i], "%s\n", line);
		else if (strncmp(line, "-A ", 3) == 0 && ends_in_jump(line, places[i].chain))
			(void)strbuf_printf(&reader->jumps[i], "%s\n", line);
		else if (i == MASQ_FORWARD && strncmp(line, ":FORWARD DROP ", 14) == 0)
			reader->have.forward_drops = true;
	}
}

static void end_line(struct iptables_reader *reader)
{
	reader->line[reader->len] = '\0';
	if (!reader->is_long && reader->len > 0)
		take_line(reader);
	reader->len = 0;
	reader->is_long = false;
}

void iptables_reader_feed(struct iptables_reader *reader, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n')
			end_line(reader);
		else if (reader->len + 1 < sizeof(reader->line) && data[i] != '\0')
			reader->line[reader->len++] = data[i];
		else
			reader->is_long = true;
	}
}

struct iptables_reader *iptables_reader_end(struct iptables_reader *reader, struct iptables_have *ret)
{
	if (!reader)
		return NULL;
	for (size_t i = 0; i < MASQ_CHAIN_COUNT; i++) {
		if (ret) {
			reader->have.rules[i] = strbuf_take(&reader->rules[i]);
			reader->have.jumps[i] = strbuf_take(&reader->jumps[i]);
		}
		strbuf_free(&reader->rules[i]);
		strbuf_free(&reader->jumps[i]);
	}
	if (ret)
		*ret = reader->have;
	free(reader);
	return NULL;
}

// ---- writing ----

static void put_match(struct strbuf *out, const char *flag, const struct masq_match *match)
{
	char text[IPNET_STR_MAX];
	if (ipnet_is_set(&match->net))
		(void)strbuf_printf(out, "%s %s %s", match->is_negated ? " !" : "", flag,
				    ipnet_str(&match->net, text));
}

static void put_rule(struct strbuf *out, const struct masq_rule *rule)
{
	static const char *const targets[] = {
		[MASQ_RETURN] = "RETURN", [MASQ_ACCEPT] = "ACCEPT", [MASQ_MASQUERADE] = "MASQUERADE", [MASQ_MASQUERADE_RANDOM] = "MASQUERADE --random-fully"
	};
	(void)strbuf_printf(out, "-A %s", places[rule->chain].chain);
	put_match(out, "-s", &rule->from);
	put_match(out, "-d", &rule->to);
	if (rule->is_marked)
		(void)strbuf_printf(out, " -m mark --mark 0x%x/0x%x", MASQ_MARK, MASQ_MARK);
	(void)strbuf_printf(out, " -m comment --comment \"%s\" -j %s\n",
			    places[rule->chain].comment, targets[rule->verdict]);
}

char *iptables_rules_text(const struct masq_rules *rules, enum masq_chain chain)
{
	struct strbuf out = STRBUF_INIT(IPTABLES_OURS_MAX * 2);
	for (size_t i = 0; i < rules->count; i++)
		if (rules->rules[i].chain == chain)
			put_rule(&out, &rules->rules[i]);
	return strbuf_take(&out);
}

const char *iptables_jump_text(enum masq_chain chain)
{
	return places[chain].jump;
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

bool iptables_has_chain(const struct iptables_have *have, const struct masq_rules *rules,
			enum masq_chain chain)
{
	if (masq_rules_in(rules, chain) == 0)
		return !have->has_chain[chain] && same_text(have->jumps[chain], "");
	_cleanup_free_ char *wanted = iptables_rules_text(rules, chain);
	return have->has_chain[chain] && same_text(have->rules[chain], wanted) &&
	       same_text(have->jumps[chain], places[chain].jump);
}

// Each line that leads to our chain, taken out.
static void put_deletions(struct strbuf *out, const char *jumps)
{
	for (const char *line = jumps ? jumps : ""; *line; line += strcspn(line, "\n") + 1)
		(void)strbuf_printf(out, "-D%.*s\n", (int)strcspn(line + 2, "\n"), line + 2);
}

// A table of iptables-restore is one change. What is named at its head is made, or emptied.
static void put_chain(struct strbuf *out, const struct iptables_have *have,
		      const struct masq_rules *rules, enum masq_chain chain)
{
	bool is_wanted = masq_rules_in(rules, chain) > 0;
	bool has_jump = is_wanted && same_text(have->jumps[chain], places[chain].jump);
	_cleanup_free_ char *lines = iptables_rules_text(rules, chain);
	(void)strbuf_printf(out, "*%s\n:%s - [0:0]\n", places[chain].table, places[chain].chain);
	if (!has_jump)
		put_deletions(out, have->jumps[chain]);
	(void)strbuf_puts(out, lines);
	if (is_wanted && !has_jump)
		(void)strbuf_puts(out, places[chain].jump);
	if (!is_wanted)
		(void)strbuf_printf(out, "-X %s\n", places[chain].chain);
	(void)strbuf_puts(out, "COMMIT\n");
}

char *iptables_restore_text(const struct iptables_have *have, const struct masq_rules *rules,
			    unsigned int mask)
{
	struct strbuf out = STRBUF_INIT(IPTABLES_OURS_MAX * 4);
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++)
		if (mask & 1u << chain)
			put_chain(&out, have, rules, chain);
	return strbuf_take(&out);
}
