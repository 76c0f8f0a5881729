// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: rules in libnftables' JSON.
#include "masq/nft_json.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

// Priorities by number: names are as young as nft 0.9.
static const struct {
	const char *type, *hook;
	json_int_t priority;
} hooks[MASQ_CHAIN_COUNT] = {
	[MASQ_POSTROUTING] = { "nat", "postrouting", 100 },
	[MASQ_FORWARD] = { "filter", "forward", 0 },
};

void nft_table_free(struct nft_table *table)
{
	for (size_t i = 0; i < MASQ_CHAIN_COUNT; i++)
		json_decref(table->rules[i]);
	*table = (struct nft_table){ 0 };
}

// ---- reading ----

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));
	return text ? text : "";
}

static bool says(const json_t *object, const char *name, const char *value)
{
	return strcmp(text_of(object, name), value) == 0;
}

static int read_items(const char *text, size_t len, json_t **ret_root, json_t **ret_items,
		      struct err *e)
{
	json_t *root = NULL;
	int r = json_read(text, len, NFT_LISTING_MAX, &root, e);
	if (r < 0)
		return err_wrap(e, "what nftables lists");
	json_t *items = json_object_get(root, "nftables");
	if (!json_is_array(items)) {
		json_decref(root);
		return err_set(e, -EINVAL, "what nftables lists is no list");
	}
	*ret_root = root;
	*ret_items = items;
	return 0;
}

static int family_of(const json_t *object)
{
	for (int family = 0; family < MASQ_FAMILY_COUNT; family++)
		if (says(object, "family", masq_nft_families[family]))
			return family;
	return -1;
}

static bool is_of_iptables(const json_t *chain)
{
	return family_of(chain) >= 0 &&
	       (says(chain, "table", "filter") || says(chain, "table", "nat"));
}

static void look_at_chain(const json_t *chain, struct nft_chains *ret)
{
	int family = family_of(chain);
	bool drops = says(chain, "hook", "forward") && says(chain, "policy", "drop");
	if (family >= 0 && says(chain, "table", masq_nft_tables[family])) {
		ret->has_table[family] = true;
	} else if (is_of_iptables(chain)) {
		if (drops && says(chain, "name", "FORWARD"))
			ret->iptables_drops[family] = true;
		if (says(chain, "name", "FLANNEL-POSTRTG") || says(chain, "name", "FLANNEL-FWD"))
			ret->has_flannel[family] = true;
	} else if (drops && !*ret->dropper) {
		(void)text_format(ret->dropper, sizeof(ret->dropper), "%s %s %s",
				  text_of(chain, "family"), text_of(chain, "table"),
				  text_of(chain, "name"));
		text_sanitize(ret->dropper);
	}
}

int nft_chains_read(const char *text, size_t len, struct nft_chains *ret, struct err *e)
{
	_cleanup_json_ json_t *root = NULL;
	struct nft_chains chains = { 0 };
	json_t *items = NULL, *item;
	size_t i;
	int r = read_items(text, len, &root, &items, e);
	if (r < 0)
		return r;
	json_array_foreach(items, i, item)
		if (json_is_object(json_object_get(item, "chain")))
			look_at_chain(json_object_get(item, "chain"), &chains);
	*ret = chains;
	return 0;
}

static int chain_of(const char *name)
{
	for (int chain = 0; chain < MASQ_CHAIN_COUNT; chain++)
		if (strcmp(masq_nft_chains[chain], name) == 0)
			return chain;
	return -1;
}

static void take_chain(const json_t *object, struct nft_table *table)
{
	int chain = chain_of(text_of(object, "name"));
	if (chain < 0 || !says(object, "type", hooks[chain].type) ||
	    !says(object, "hook", hooks[chain].hook) || !says(object, "policy", "accept") ||
	    json_integer_value(json_object_get(object, "prio")) != hooks[chain].priority) {
		table->has_odd = true;
		return;
	}
	table->has_chain[chain] = true;
	if (!table->rules[chain])
		table->rules[chain] = json_array();
}

// nft lists the chains before their rules.
static void take_rule(json_t *object, struct nft_table *table)
{
	int chain = chain_of(text_of(object, "chain"));
	json_t *expr = json_object_get(object, "expr");
	if (chain < 0 || !table->rules[chain] || !json_is_array(expr))
		table->has_odd = true;
	else
		json_array_append(table->rules[chain], expr);
}

int nft_table_read(const char *text, size_t len, enum masq_family family, struct nft_table *ret,
		   struct err *e)
{
	_cleanup_json_ json_t *root = NULL;
	struct nft_table table = { 0 };
	json_t *items = NULL, *item;
	size_t i;
	int r = read_items(text, len, &root, &items, e);
	if (r < 0)
		return r;
	json_array_foreach(items, i, item) {
		json_t *chain = json_object_get(item, "chain"), *rule = json_object_get(item, "rule");
		const json_t *own = json_object_get(item, "table");
		if (own)
			table.is_there = says(own, "name", masq_nft_tables[family]);
		else if (chain)
			take_chain(chain, &table);
		else if (rule)
			take_rule(rule, &table);
		else if (!json_object_get(item, "metainfo"))
			table.has_odd = true;
	}
	*ret = table;
	return 0;
}

// ---- writing ----

static json_t *net_json(const struct ipnet *net)
{
	char text[IP_STR_MAX];
	ip_str(&net->addr, text);
	// As nft lists it: an address of full length is one.
	if (net->len == ip_width_bits(&net->addr))
		return json_string(text);
	return json_pack("{s:{s:s, s:i}}", "prefix", "addr", text, "len", (int)net->len);
}

static void add_match(json_t *expr, enum masq_family family, const char *field,
		      const struct masq_match *match)
{
	if (ipnet_is_set(&match->net))
		json_array_append_new(expr,
				      json_pack("{s:{s:s, s:{s:{s:s, s:s}}, s:o}}", "match", "op",
						match->is_negated ? "!=" : "==", "left", "payload",
						"protocol", masq_nft_families[family], "field",
						field, "right", net_json(&match->net)));
}

static json_t *verdict_json(enum masq_verdict verdict)
{
	switch (verdict) {
	case MASQ_RETURN:
		return json_pack("{s:n}", "return");
	case MASQ_ACCEPT:
		return json_pack("{s:n}", "accept");
	case MASQ_MASQUERADE:
		return json_pack("{s:n}", "masquerade");
	case MASQ_MASQUERADE_RANDOM:
		return json_pack("{s:{s:s}}", "masquerade", "flags", "fully-random");
	}
	return NULL;
}

static json_t *rule_json(const struct masq_rule *rule, enum masq_family family)
{
	json_t *expr = json_array();
	if (rule->is_marked)
		json_array_append_new(expr, json_pack("{s:{s:s, s:{s:[{s:{s:s}}, i]}, s:i}}", "match",
						      "op", "==", "left", "&", "meta", "key", "mark",
						      (int)MASQ_MARK, "right", (int)MASQ_MARK));
	add_match(expr, family, "saddr", &rule->from);
	add_match(expr, family, "daddr", &rule->to);
	json_array_append_new(expr, verdict_json(rule->verdict));
	return expr;
}

json_t *nft_rules_json(const struct masq_rules *rules, enum masq_family family, enum masq_chain chain)
{
	json_t *list = json_array();
	for (size_t i = 0; i < rules->count; i++)
		if (rules->rules[i].chain == chain)
			json_array_append_new(list, rule_json(&rules->rules[i], family));
	return list;
}

bool nft_table_has(const struct nft_table *table, const struct masq_rules *rules,
		   enum masq_family family)
{
	if (rules->count == 0)
		return !table->is_there;
	if (!table->is_there || table->has_odd)
		return false;
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++) {
		_cleanup_json_ json_t *wanted = nft_rules_json(rules, family, chain);
		if (table->has_chain[chain] != (json_array_size(wanted) > 0) ||
		    (table->has_chain[chain] && !json_equal(table->rules[chain], wanted)))
			return false;
	}
	return true;
}

static void add_command(json_t *commands, const char *verb, const char *kind, json_t *object)
{
	json_array_append_new(commands, json_pack("{s:{s:o}}", verb, kind, object));
}

static json_t *table_json(enum masq_family family)
{
	return json_pack("{s:s, s:s}", "family", masq_nft_families[family], "name",
			 masq_nft_tables[family]);
}

static void add_chain(json_t *commands, const struct masq_rules *rules, enum masq_family family,
		      enum masq_chain chain)
{
	_cleanup_json_ json_t *wanted = nft_rules_json(rules, family, chain);
	json_t *expr;
	size_t i;
	if (json_array_size(wanted) == 0)
		return;
	add_command(commands, "add", "chain",
		    json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s}", "family",
			      masq_nft_families[family], "table", masq_nft_tables[family], "name",
			      masq_nft_chains[chain], "type", hooks[chain].type, "hook",
			      hooks[chain].hook, "prio", hooks[chain].priority, "policy", "accept"));
	json_array_foreach(wanted, i, expr)
		add_command(commands, "add", "rule",
			    json_pack("{s:s, s:s, s:s, s:O}", "family", masq_nft_families[family],
				      "table", masq_nft_tables[family], "chain",
				      masq_nft_chains[chain], "expr", expr));
}

// Where the chains are as they are to be only their rules are replaced: the hooks then stay where they are.
static bool needs_new_table(const struct nft_table *table, const struct masq_rules *rules)
{
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++)
		if (table->has_chain[chain] && masq_rules_in(rules, chain) == 0)
			return true;
	return table->has_odd;
}

json_t *nft_table_commands(const struct nft_table *table, const struct masq_rules *rules,
			   enum masq_family family)
{
	json_t *commands = json_array();
	// Adding what is there changes nothing, so that what follows finds it whatever happened since it was looked at.
	add_command(commands, "add", "table", table_json(family));
	if (rules->count == 0 || needs_new_table(table, rules)) {
		add_command(commands, "delete", "table", table_json(family));
		if (rules->count > 0)
			add_command(commands, "add", "table", table_json(family));
	} else {
		add_command(commands, "flush", "table", table_json(family));
	}
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++)
		add_chain(commands, rules, family, chain);
	return commands;
}
