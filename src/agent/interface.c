// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: flannel's rules of choosing the interface and its addresses. COMPAT, but for what crashes
// flannel: an IPv6 address given for a dual-stack network is looked up like any other, and a public
// address of a family that the network does not have is no hint.
#include "agent/interface.h"

#include "agent/interface_regex.h"
#include "agent/interface_table.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"
#include "kernel/route.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

#define EXISTING_MAX 110 // bytes of a message that tell what there is
#define FAILURES_MAX 4096

struct search {
	struct netlink *nl;
	const struct interface_request *request;
	struct interface_table table;
};

// What one rule found; an address that it does not say is chosen later.
struct found {
	const struct link *link;
	struct ip ip4;
	struct ip ip6;
};

static int no_owner(const struct ip *ip, struct err *e)
{
	char text[IP_STR_MAX];

	return err_set(e, -EADDRNOTAVAIL, "no interface has the address %s", ip_str(ip, text));
}

static bool wants(const struct interface_request *request, int family)
{
	return family == AF_INET ? request->want_v4 : request->want_v6;
}

// ---- by address or name ----

static int find_by_ip(const struct search *search, const struct ip *ip, struct found *ret,
		      struct err *e)
{
	const struct interface_request *request = search->request;
	const struct ip *ip6 = &request->public_ipv6;
	struct found found = { 0 };
	const struct link *other;
	char text[IP_STR_MAX], text6[IP_STR_MAX];

	if (!wants(request, ip->family))
		return err_set(e, -EADDRNOTAVAIL,
			       "%s is of a family that the network does not have", ip_str(ip, text));
	if (ip->family == AF_INET6 && request->want_v4 && ip_is_set(ip6))
		ip = ip6;
	found.link = interface_by_ip(&search->table, ip);
	if (!found.link)
		return no_owner(ip, e);
	*(ip->family == AF_INET ? &found.ip4 : &found.ip6) = *ip;
	if (ip->family == AF_INET && request->want_v6 && ip_is_set(ip6)) {
		other = interface_by_ip(&search->table, ip6);
		if (!other)
			return no_owner(ip6, e);
		if (other != found.link)
			return err_set(e, -ENODEV, "%s is on %s but --public-ipv6 %s is on %s",
				       ip_str(ip, text), found.link->name, ip_str(ip6, text6),
				       other->name);
		found.ip6 = *ip6;
	}
	*ret = found;
	return 0;
}

static int find_by_text(const struct search *search, const char *text, struct found *ret, struct err *e)
{
	char shown[TEXT_EXCERPT_MAX];
	struct ip ip;

	if (ip_parse(text, &ip) == 0)
		return find_by_ip(search, &ip, ret, e);
	*ret = (struct found){ .link = interface_by_name(&search->table, text) };
	if (!ret->link)
		return err_set(e, -ENODEV, "no interface \"%s\"",
			       text_excerpt(text, strlen(text), shown));
	return 0;
}

// ---- by regular expression ----

static bool match_family(const struct search *search, const struct interface_regex *regex,
			 const struct link *link, int family, struct ip *ret)
{
	const struct ip *ip;
	char text[IP_STR_MAX];
	size_t position = 0;

	while ((ip = interface_next_ip(&search->table, link, family, &position))) {
		if (interface_regex_matches(regex, ip_str(ip, text))) {
			*ret = *ip;
			return true;
		}
	}
	return false;
}

// An address of each family that the network has.
static bool match_addresses(const struct search *search, const struct interface_regex *regex,
			    const struct link *link, struct found *ret)
{
	struct found found = { .link = link };

	if (search->request->want_v4 && !match_family(search, regex, link, AF_INET, &found.ip4))
		return false;
	if (search->request->want_v6 && !match_family(search, regex, link, AF_INET6, &found.ip6))
		return false;
	*ret = found;
	return true;
}

static int find_by_regex(const struct search *search, const char *pattern, struct found *ret,
			 struct err *e)
{
	_cleanup_(interface_regex_freep) struct interface_regex *regex = NULL;
	const struct interface_table *table = &search->table;
	char shown[TEXT_EXCERPT_MAX];
	int r;

	r = interface_regex_new(pattern, &regex, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < table->link_count; i++)
		if (match_addresses(search, regex, &table->links[i], ret))
			return 0;
	for (size_t i = 0; i < table->link_count; i++) {
		if (interface_regex_matches(regex, table->links[i].name)) {
			*ret = (struct found){ .link = &table->links[i] };
			return 0;
		}
	}
	return err_set(e, -ENODEV, "\"%s\" matches no interface",
		       text_excerpt(pattern, strlen(pattern), shown));
}

// ---- by route ----

static int find_by_reach(const struct search *search, const char *text, struct found *ret,
			 struct err *e)
{
	struct route_answer answer;
	char shown[TEXT_EXCERPT_MAX];
	struct found found = { 0 };
	struct ip ip;
	int r;

	(void)text_excerpt(text, strlen(text), shown);
	if (ip_parse(text, &ip) < 0)
		return err_set(e, -EINVAL, "\"%s\" is not an IP address", shown);
	r = route_get(search->nl, &ip, &answer, e);
	if (r < 0)
		return r;
	found.link = interface_by_index(&search->table, answer.ifindex);
	if (!found.link)
		return err_set(e, -ENODEV, "the route to %s is on no interface", shown);
	// An address of a family that the network does not have is left out later.
	if (ip_is_set(&answer.prefsrc))
		*(answer.prefsrc.family == AF_INET ? &found.ip4 : &found.ip6) = answer.prefsrc;
	*ret = found;
	return 0;
}

struct default_search {
	bool found;
	struct route route;
};

// flannel takes the first one listed, which is the one of the smallest metric.
static void look_at_route(void *arg, const struct kernel_object *object)
{
	struct default_search *search = arg;
	const struct route *route = &object->route;

	if (route->dst.len != 0 || route->type != RTN_UNICAST || route->other ||
	    (search->found && route->metric >= search->route.metric))
		return;
	search->found = true;
	search->route = *route;
}

static int find_default(const struct search *search, int family, const struct link **ret, struct err *e)
{
	const struct netlink_dump_filter filter = { .family = family, .table = RT_TABLE_MAIN };
	const char *name = family == AF_INET ? "IPv4" : "IPv6";
	struct default_search routes = { 0 };
	const struct link *link;
	int r;

	r = netlink_dump_all(search->nl, KERNEL_ROUTE, &filter, look_at_route, &routes, e);
	if (r < 0)
		return r;
	if (!routes.found)
		return err_set(e, -ENETUNREACH, "no %s default route; --iface names an interface",
			       name);
	if (routes.route.multipath)
		return err_set(e, -ENODEV,
			       "the %s default route is over several interfaces; --iface names one",
			       name);
	link = interface_by_index(&search->table, routes.route.ifindex);
	if (!link)
		return err_set(e, -ENODEV, "the %s default route is on no interface", name);
	*ret = link;
	return 0;
}

static int find_by_default_route(const struct search *search, struct found *ret, struct err *e)
{
	const struct link *v4 = NULL, *v6 = NULL;
	int r = 0;

	if (search->request->want_v4)
		r = find_default(search, AF_INET, &v4, e);
	if (r == 0 && search->request->want_v6)
		r = find_default(search, AF_INET6, &v6, e);
	if (r < 0)
		return r;
	if (v4 && v6 && v4 != v6)
		return err_set(e, -ENODEV,
			       "the default routes are on %s (IPv4) and %s (IPv6); --iface names one",
			       v4->name, v6->name);
	*ret = (struct found){ .link = v4 ? v4 : v6 };
	return 0;
}

// ---- addresses and what peers are told ----

static int fill_address(const struct search *search, const struct link *link, int family,
			struct ip *ip, struct err *e)
{
	const struct ip *best;
	size_t position = 0;

	if (ip_is_set(ip))
		return 0;
	best = interface_next_ip(&search->table, link, family, &position);
	if (!best)
		return err_set(e, -EADDRNOTAVAIL, "interface %s has no usable IPv%c address",
			       link->name, family == AF_INET ? '4' : '6');
	*ip = *best;
	return 0;
}

static int complete(const struct search *search, struct found *found, struct underlay_choice *ret,
		    struct err *e)
{
	const struct interface_request *request = search->request;
	struct underlay_choice choice = { 0 };
	int r = 0;

	if (request->want_v4)
		r = fill_address(search, found->link, AF_INET, &found->ip4, e);
	if (r == 0 && request->want_v6)
		r = fill_address(search, found->link, AF_INET6, &found->ip6, e);
	if (r < 0)
		return r;
	if (found->link->mtu_bytes == 0)
		return err_set(e, -EINVAL, "interface %s has no MTU", found->link->name);
	choice.ifindex = found->link->ifindex;
	(void)text_copy(choice.name, sizeof(choice.name), found->link->name);
	choice.mtu_bytes = found->link->mtu_bytes;
	if (request->want_v4) {
		choice.ip4 = found->ip4;
		choice.public_ip = ip_is_set(&request->public_ip) ? request->public_ip : found->ip4;
	}
	if (request->want_v6)
		choice.ip6 = found->ip6;
	choice.public_ipv6 = ip_is_set(&request->public_ipv6) ? request->public_ipv6 : choice.ip6;
	*ret = choice;
	return 0;
}

// ---- one try after the other ----

typedef int rule_fn(const struct search *search, const char *text, struct found *ret, struct err *e);

struct attempt {
	const struct search *search;
	struct strbuf failures;
	int code; // of the last failure
};

// True when this rule gave an interface with all that is needed; else why not is kept.
static bool attempt(struct attempt *attempt, rule_fn *rule, const char *flag, const char *text,
		    struct underlay_choice *ret)
{
	struct found found = { 0 };
	struct err e = { 0 };
	int r;

	r = rule(attempt->search, text, &found, &e);
	if (r == 0)
		r = complete(attempt->search, &found, ret, &e);
	if (r == 0)
		return true;
	attempt->code = r;
	(void)strbuf_printf(&attempt->failures, "%s%s: %s", attempt->failures.len > 0 ? "; " : "",
			    flag, err_msg(&e));
	return false;
}

static bool attempt_all(struct attempt *state, const char *const *texts, rule_fn *rule,
			const char *flag, struct underlay_choice *ret)
{
	for (; texts && *texts; texts++)
		if (attempt(state, rule, flag, *texts, ret))
			return true;
	return false;
}

static int default_rule(const struct search *search, const char *text, struct found *ret, struct err *e)
{
	(void)text;
	return find_by_default_route(search, ret, e);
}

static bool attempt_without_flags(struct attempt *state, struct underlay_choice *ret)
{
	const struct interface_request *request = state->search->request;
	char text[IP_STR_MAX];

	if (request->want_v4 && ip_is_set(&request->public_ip))
		return attempt(state, find_by_text, "--public-ip without --iface",
			       ip_str(&request->public_ip, text), ret);
	if (request->want_v6 && ip_is_set(&request->public_ipv6))
		return attempt(state, find_by_text, "--public-ipv6 without --iface",
			       ip_str(&request->public_ipv6, text), ret);
	return attempt(state, default_rule, "interface", "", ret);
}

static bool attempt_rules(struct attempt *state, struct underlay_choice *ret)
{
	const struct interface_request *request = state->search->request;

	if (!(request->ifaces && request->ifaces[0]) &&
	    !(request->regexes && request->regexes[0]) && !request->can_reach)
		return attempt_without_flags(state, ret);
	return attempt_all(state, request->ifaces, find_by_text, "--iface", ret) ||
	       attempt_all(state, request->regexes, find_by_regex, "--iface-regex", ret) ||
	       (request->can_reach &&
		attempt(state, find_by_reach, "--iface-can-reach", request->can_reach, ret));
}

int interface_choose(struct netlink *nl, const struct interface_request *request,
		     struct underlay_choice *ret, struct err *e)
{
	struct search search = { .nl = nl, .request = request };
	struct attempt state = { .search = &search, .failures = STRBUF_INIT(FAILURES_MAX) };
	_cleanup_strbuf_ struct strbuf existing = STRBUF_INIT(FAILURES_MAX);
	int r;

	r = interface_table_read(nl, &search.table, e);
	if (r < 0)
		return r;
	if (attempt_rules(&state, ret)) {
		if (state.failures.len > 0)
			log_rl(LOG_LEVEL_WARN, "interface: %s; using %s",
			       strbuf_text(&state.failures), ret->name);
	} else {
		interface_table_describe(&search.table, &existing, EXISTING_MAX);
		// Both halves must fit into a message.
		r = err_set(e, state.code, "%.140s (there are: %s)", strbuf_text(&state.failures),
			    strbuf_text(&existing));
	}
	interface_table_free(&search.table);
	strbuf_free(&state.failures);
	return r;
}

bool underlay_choice_equal(const struct underlay_choice *a, const struct underlay_choice *b)
{
	return a->ifindex == b->ifindex && strcmp(a->name, b->name) == 0 &&
	       a->mtu_bytes == b->mtu_bytes && ip_equal(&a->ip4, &b->ip4) &&
	       ip_equal(&a->ip6, &b->ip6) && ip_equal(&a->public_ip, &b->public_ip) &&
	       ip_equal(&a->public_ipv6, &b->public_ipv6);
}
