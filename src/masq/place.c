// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the places that rules can be in: whether one has what it should, which is nothing for all but those in use.
#include "masq/masq_internal.h"

#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"

#include <string.h>

static const struct masq_rules none;

static const struct masq_rules *wanted_in(const struct masq *masq, size_t place, enum masq_family family)
{
	bool is_used = place == PLACE_NFTABLES ? masq->status.mode == MASQ_NFTABLES
					       : masq->status.mode == MASQ_IPTABLES &&
							 place_kind(place) == masq->kind;
	return is_used ? &masq->wanted[family] : &none;
}

const char *place_name(size_t place)
{
	static const char *const names[PLACE_COUNT] = {
		"the tables flannel-ipv4 and flannel-ipv6 of nftables",
		"iptables over nftables",
		"ip6tables over nftables",
		"iptables",
		"ip6tables",
	};
	return names[place];
}

// ---- nftables ----

static bool nft_is_accepted(const struct masq *masq, enum masq_family family)
{
	const struct nft_table *table = &masq->seen.tables[family];
	bool is_any = false;
	if (table->has_odd)
		return false;
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++) {
		const json_t *accepted = masq->accepted[family][chain];
		is_any = is_any || accepted;
		if (table->has_chain[chain] != (accepted != NULL) ||
		    (accepted && !json_equal(accepted, table->rules[chain])))
			return false;
	}
	return is_any;
}

static bool nft_has_wanted(const struct masq *masq, enum masq_family family)
{
	const struct masq_rules *wanted = wanted_in(masq, PLACE_NFTABLES, family);
	return nft_table_has(&masq->seen.tables[family], wanted, family) ||
	       (wanted->count > 0 && nft_is_accepted(masq, family));
}

static bool nft_take_as_ours(struct masq *masq, enum masq_family family)
{
	const struct nft_table *table = &masq->seen.tables[family];
	const struct masq_rules *wanted = wanted_in(masq, PLACE_NFTABLES, family);
	if (table->has_odd || !table->is_there)
		return false;
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++)
		if (json_array_size(table->rules[chain]) != masq_rules_in(wanted, chain))
			return false;
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++) {
		json_decref(masq->accepted[family][chain]);
		masq->accepted[family][chain] = json_incref(table->rules[chain]);
	}
	log_debug("firewall: this nftables lists our rules in words of its own");
	return true;
}

static char *nft_commands(const struct masq *masq)
{
	_cleanup_json_ json_t *list = json_array();
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++) {
		if (nft_has_wanted(masq, i))
			continue;
		_cleanup_json_ json_t *commands =
			nft_table_commands(&masq->seen.tables[i],
					   wanted_in(masq, PLACE_NFTABLES, i), i);
		json_array_extend(list, commands);
	}
	_cleanup_json_ json_t *root = json_pack("{s:O}", "nftables", list);
	return json_text(root);
}

static bool is_listed(const json_t *list, const json_t *expr)
{
	const json_t *item;
	size_t i;
	json_array_foreach(list, i, item)
		if (json_equal(item, expr))
			return true;
	return false;
}

static void nft_each_missing(const struct masq *masq, enum masq_family family, masq_change_fn *fn,
			     void *arg)
{
	const struct masq_rules *wanted = wanted_in(masq, PLACE_NFTABLES, family);
	const struct nft_table *table = &masq->seen.tables[family];
	size_t index[MASQ_CHAIN_COUNT] = { 0 };
	for (size_t i = 0; i < wanted->count; i++) {
		const struct masq_rule *rule = &wanted->rules[i];
		_cleanup_json_ json_t *exprs = nft_rules_json(wanted, family, rule->chain);
		char text[MASQ_RULE_TEXT_MAX];
		if (!is_listed(table->rules[rule->chain], json_array_get(exprs, index[rule->chain]++)))
			fn(arg, "create", masq_rule_text(rule, family, text));
	}
}

static void nft_each_odd(const struct masq *masq, enum masq_family family, masq_change_fn *fn,
			 void *arg)
{
	const struct masq_rules *wanted = wanted_in(masq, PLACE_NFTABLES, family);
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++) {
		_cleanup_json_ json_t *exprs = nft_rules_json(wanted, family, chain);
		const json_t *expr;
		size_t i;
		json_array_foreach(masq->seen.tables[family].rules[chain], i, expr) {
			if (is_listed(exprs, expr))
				continue;
			_cleanup_free_ char *json = json_text(expr);
			_cleanup_free_ char *text = xasprintf("%s %s", masq_nft_chains[chain], json);
			fn(arg, "delete", text);
		}
	}
}

// ---- iptables ----

// The caller empties it. An iptables without --random-fully gets the ports that it has.
static void iptables_wanted(const struct masq *masq, size_t place, struct masq_rules *ret)
{
	const struct masq_rules *wanted = wanted_in(masq, place, place_family(place));
	*ret = (struct masq_rules){ .rules = xnew0_array(struct masq_rule, wanted->count + 1),
				    .count = wanted->count };
	for (size_t i = 0; i < wanted->count; i++) {
		ret->rules[i] = wanted->rules[i];
		if (masq->no_random && ret->rules[i].verdict == MASQ_MASQUERADE_RANDOM)
			ret->rules[i].verdict = MASQ_MASQUERADE;
	}
}

static const struct iptables_place *place_of(const struct masq *masq, size_t place)
{
	return &masq->places[place_kind(place)][place_family(place)];
}

// Bits of the chains that are not as they should be.
static unsigned int iptables_odd_chains(const struct masq *masq, size_t place)
{
	const struct iptables_place *at = place_of(masq, place);
	_cleanup_(masq_rules_free) struct masq_rules wanted = { 0 };
	unsigned int mask = 0;
	iptables_wanted(masq, place, &wanted);
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++) {
		bool is_accepted = at->accepted[chain] && at->have.has_chain[chain] &&
				   masq_rules_in(&wanted, chain) > 0 &&
				   strcmp(at->accepted[chain], at->have.rules[chain]) == 0 &&
				   strcmp(at->have.jumps[chain], iptables_jump_text(chain)) == 0;
		if (!is_accepted && !iptables_has_chain(&at->have, &wanted, chain))
			mask |= 1u << chain;
	}
	return mask;
}

static size_t count_lines(const char *text)
{
	size_t count = 0;
	for (const char *at = text ? text : ""; (at = strchr(at, '\n')); at++)
		count++;
	return count;
}

static bool iptables_take_as_ours(struct masq *masq, size_t place)
{
	struct iptables_place *at = &masq->places[place_kind(place)][place_family(place)];
	const struct masq_rules *wanted = wanted_in(masq, place, place_family(place));
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++) {
		size_t count = masq_rules_in(wanted, chain);
		if (count == 0)
			continue;
		if (!at->have.has_chain[chain] || count_lines(at->have.rules[chain]) != count ||
		    strcmp(at->have.jumps[chain], iptables_jump_text(chain)) != 0)
			return false;
		free(at->accepted[chain]);
		at->accepted[chain] = xstrdup(at->have.rules[chain]);
	}
	return iptables_odd_chains(masq, place) == 0;
}

static bool has_line(const char *text, const char *line, size_t len)
{
	for (const char *at = text ? text : ""; *at; at += strcspn(at, "\n") + 1)
		if (strcspn(at, "\n") == len && strncmp(at, line, len) == 0)
			return true;
	return false;
}

// The lines of one that the other has not.
static void each_other_line(const char *of, const char *other, const char *verb, masq_change_fn *fn,
			    void *arg)
{
	for (const char *line = of ? of : ""; *line; line += strcspn(line, "\n") + 1) {
		size_t len = strcspn(line, "\n");
		if (has_line(other, line, len))
			continue;
		_cleanup_free_ char *text = xstrndup(line + 3, len - 3); // without "-A "
		fn(arg, verb, text);
	}
}

static void iptables_each_change(const struct masq *masq, size_t place, masq_change_fn *fn, void *arg)
{
	const struct iptables_have *have = &place_of(masq, place)->have;
	_cleanup_(masq_rules_free) struct masq_rules wanted = { 0 };
	iptables_wanted(masq, place, &wanted);
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++) {
		_cleanup_free_ char *lines = iptables_rules_text(&wanted, chain);
		const char *jump = *lines ? iptables_jump_text(chain) : "";
		each_other_line(lines, have->rules[chain], "create", fn, arg);
		each_other_line(jump, have->jumps[chain], "create", fn, arg);
		each_other_line(have->rules[chain], lines, "delete", fn, arg);
		each_other_line(have->jumps[chain], jump, "delete", fn, arg);
	}
}

// ---- either ----

bool place_is_in_order(const struct masq *masq, size_t place)
{
	if (place == PLACE_NFTABLES)
		return nft_has_wanted(masq, MASQ_IPV4) && nft_has_wanted(masq, MASQ_IPV6);
	return iptables_odd_chains(masq, place) == 0;
}

bool place_take_as_ours(struct masq *masq, size_t place)
{
	bool is_ours = true;
	if (place != PLACE_NFTABLES)
		return iptables_take_as_ours(masq, place);
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++)
		is_ours = (nft_has_wanted(masq, i) || nft_take_as_ours(masq, i)) && is_ours;
	return is_ours;
}

char *place_commands(const struct masq *masq, size_t place)
{
	_cleanup_(masq_rules_free) struct masq_rules wanted = { 0 };
	if (place == PLACE_NFTABLES)
		return nft_commands(masq);
	iptables_wanted(masq, place, &wanted);
	return iptables_restore_text(&place_of(masq, place)->have, &wanted,
				     iptables_odd_chains(masq, place));
}

void place_each_change(const struct masq *masq, size_t place, masq_change_fn *fn, void *arg)
{
	if (place != PLACE_NFTABLES) {
		iptables_each_change(masq, place, fn, arg);
		return;
	}
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++) {
		if (nft_has_wanted(masq, i))
			continue;
		nft_each_missing(masq, i, fn, arg);
		nft_each_odd(masq, i, fn, arg);
	}
}

void place_forget_accepted(struct masq *masq)
{
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++)
		for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++) {
			json_decref(masq->accepted[i][chain]);
			masq->accepted[i][chain] = NULL;
			for (size_t kind = 0; kind < IPTABLES_KIND_COUNT; kind++) {
				free(masq->places[kind][i].accepted[chain]);
				masq->places[kind][i].accepted[chain] = NULL;
			}
		}
}

void place_free_all(struct masq *masq)
{
	place_forget_accepted(masq);
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++) {
		nft_table_free(&masq->seen.tables[i]);
		for (size_t kind = 0; kind < IPTABLES_KIND_COUNT; kind++)
			iptables_have_free(&masq->places[kind][i].have);
	}
}
