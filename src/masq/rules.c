// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which firewall rules a host wants for its networks, as values.
#include "masq/rules.h"

#include "core/mem.h"
#include "core/strbuf.h"

#include <string.h>

const char *const masq_nft_tables[MASQ_FAMILY_COUNT] = { "flannel-ipv4", "flannel-ipv6" };
const char *const masq_nft_families[MASQ_FAMILY_COUNT] = { "ip", "ip6" };
const char *const masq_nft_chains[MASQ_CHAIN_COUNT] = { "postrtg", "forward" };

static void add(struct masq_rules *rules, const struct masq_rule *rule)
{
	if (rules->count == rules->capacity) {
		rules->capacity = rules->capacity ? rules->capacity * 2 : 16;
		rules->rules = xrealloc_array(rules->rules, rules->capacity, sizeof(*rules->rules));
	}
	rules->rules[rules->count++] = *rule;
}

// A prefix of length 0 matches every address.
static struct masq_match is(const struct ipnet *net)
{
	return net->len == 0 ? (struct masq_match){ 0 } : (struct masq_match){ .net = *net };
}

static struct masq_match is_not(const struct ipnet *net)
{
	return (struct masq_match){ .net = *net, .is_negated = true };
}

static void add_after_routing(struct masq_rules *rules, enum masq_verdict verdict,
			      struct masq_match from, struct masq_match to)
{
	add(rules, &(struct masq_rule){
			   .chain = MASQ_POSTROUTING, .verdict = verdict, .from = from, .to = to });
}

static const struct ipnet *of_family(const struct subnet *subnet, enum masq_family family)
{
	const struct ipnet *net = family == MASQ_IPV4 ? &subnet->v4 : &subnet->v6;
	return ipnet_is_set(net) ? net : NULL;
}

static void add_returns(struct masq_rules *rules, const struct masq_wish *wish,
			const struct masq_network *network, enum masq_family family)
{
	const struct ipnet *net = of_family(&network->network, family);
	const struct ipnet *own = of_family(&network->own, family);
	if (!net)
		return;
	for (size_t i = 0; i < wish->never_count; i++) {
		const struct ipnet *never = &wish->never[i];
		if (never->addr.family != net->addr.family)
			continue;
		add_after_routing(rules, MASQ_RETURN, is(net), is(never));
		add_after_routing(rules, MASQ_RETURN, is(never), is(net));
	}
	add_after_routing(rules, MASQ_RETURN, is(net), is(net));
	if (own)
		add_after_routing(rules, MASQ_RETURN, is_not(net), is(own));
}

static void add_masquerades(struct masq_rules *rules, const struct masq_wish *wish,
			    const struct masq_network *network, enum masq_family family)
{
	static const char *const multicast[MASQ_FAMILY_COUNT] = { "224.0.0.0/4", "ff00::/8" };
	enum masq_verdict verdict = wish->fully_random ? MASQ_MASQUERADE_RANDOM : MASQ_MASQUERADE;
	const struct ipnet *net = of_family(&network->network, family);
	struct ipnet groups;
	if (!net || ipnet_parse(multicast[family], &groups) < 0)
		return;
	add_after_routing(rules, verdict, is(net), is_not(&groups));
	add_after_routing(rules, verdict, is_not(net), is(net));
}

static void add_forwards(struct masq_rules *rules, const struct masq_network *network,
			 enum masq_family family)
{
	const struct ipnet *net = of_family(&network->network, family);
	if (!net)
		return;
	add(rules,
	    &(struct masq_rule){ .chain = MASQ_FORWARD, .verdict = MASQ_ACCEPT, .from = is(net) });
	add(rules, &(struct masq_rule){ .chain = MASQ_FORWARD, .verdict = MASQ_ACCEPT, .to = is(net) });
}

void masq_rules_make(const struct masq_wish *wish, const struct masq_network *networks,
		     size_t count, enum masq_family family, struct masq_rules *ret)
{
	ret->count = 0;
	if (wish->masquerade && count > 0) {
		add(ret, &(struct masq_rule){ .chain = MASQ_POSTROUTING,
					      .verdict = MASQ_RETURN,
					      .is_marked = true });
		for (size_t i = 0; i < count; i++)
			add_returns(ret, wish, &networks[i], family);
		for (size_t i = 0; i < count; i++)
			add_masquerades(ret, wish, &networks[i], family);
		if (ret->count == 1) // no network has the family
			ret->count = 0;
	}
	for (size_t i = 0; wish->forward && i < count; i++)
		add_forwards(ret, &networks[i], family);
}

void masq_rules_free(struct masq_rules *rules)
{
	free(rules->rules);
	*rules = (struct masq_rules){ 0 };
}

static bool match_equal(const struct masq_match *a, const struct masq_match *b)
{
	return a->is_negated == b->is_negated && ipnet_equal(&a->net, &b->net);
}

bool masq_rules_equal(const struct masq_rules *a, const struct masq_rules *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct masq_rule *one = &a->rules[i], *other = &b->rules[i];
		if (one->chain != other->chain || one->verdict != other->verdict ||
		    one->is_marked != other->is_marked || !match_equal(&one->from, &other->from) ||
		    !match_equal(&one->to, &other->to))
			return false;
	}
	return true;
}

size_t masq_rules_in(const struct masq_rules *rules, enum masq_chain chain)
{
	size_t count = 0;
	for (size_t i = 0; i < rules->count; i++)
		count += rules->rules[i].chain == chain;
	return count;
}

static void put_match(struct strbuf *out, const char *family, const char *field,
		      const struct masq_match *match)
{
	char text[IPNET_STR_MAX];
	if (ipnet_is_set(&match->net))
		(void)strbuf_printf(out, " %s %s %s%s", family, field,
				    match->is_negated ? "!= " : "", ipnet_str(&match->net, text));
}

const char *masq_rule_text(const struct masq_rule *rule, enum masq_family family,
			   char buf[static MASQ_RULE_TEXT_MAX])
{
	static const char *const verdicts[] = {
		[MASQ_RETURN] = "return", [MASQ_ACCEPT] = "accept", [MASQ_MASQUERADE] = "masquerade", [MASQ_MASQUERADE_RANDOM] = "masquerade fully-random"
	};
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(MASQ_RULE_TEXT_MAX - 1);
	(void)strbuf_puts(&out, masq_nft_chains[rule->chain]);
	if (rule->is_marked)
		(void)strbuf_printf(&out, " mark & 0x%x == 0x%x", MASQ_MARK, MASQ_MARK);
	put_match(&out, masq_nft_families[family], "saddr", &rule->from);
	put_match(&out, masq_nft_families[family], "daddr", &rule->to);
	(void)strbuf_printf(&out, " %s", verdicts[rule->verdict]);
	(void)text_copy(buf, MASQ_RULE_TEXT_MAX, strbuf_text(&out));
	return buf;
}
