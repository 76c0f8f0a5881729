// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the table of peers.
#include "fabric/peer_table_internal.h"

#include "core/log.h"
#include "core/mem.h"

#include <string.h>

#define EXPIRE_AT_ONCE 1024 // so that a whole network's end does not hold the loop up

struct peer_table *peer_table_new(uint64_t hold_ms, uint64_t long_hold_ms, peer_change_fn *fn,
				  void *arg)
{
	struct peer_table *table = xnew(struct peer_table);

	table->fn = fn;
	table->arg = arg;
	table->hold_ms = hold_ms;
	table->long_hold_ms = long_hold_ms > hold_ms ? long_hold_ms : hold_ms;
	table->good = lease_set_new();
	for (size_t i = 0; i < LEASE_INDEX_KEY_COUNT; i++)
		table->index[i] = lease_index_new((enum lease_index_key)i);
	return table;
}

struct peer_table *peer_table_free(struct peer_table *table)
{
	if (!table)
		return NULL;
	for (size_t i = 0; i < LEASE_INDEX_KEY_COUNT; i++)
		lease_index_free(table->index[i]);
	lease_set_free(table->good);
	odd_list_clear(&table->odd);
	hold_queue_clear(&table->short_holds);
	hold_queue_clear(&table->long_holds);
	netconf_free(&table->base);
	netconf_free(&table->conf);
	lease_attrs_free(&table->own_attrs);
	free(table);
	return NULL;
}

// ---- conditions ----

// The store has something at the key of this good lease.
static void mark_present(struct peer_table *table, struct lease *lease, uint32_t flags)
{
	if (peer_is_held(lease) && --table->held == 0) {
		hold_queue_clear(&table->short_holds);
		hold_queue_clear(&table->long_holds);
	}
	lease->mark = flags | table->generation;
}

static void hold_until(struct peer_table *table, struct lease *lease, bool is_long, uint64_t now_ms)
{
	struct hold hold = {
		.subnet = lease->subnet,
		.serial = ++table->hold_serial & MARK_NUMBER,
		.until_ms = now_ms + (is_long ? table->long_hold_ms : table->hold_ms),
	};

	if (!peer_is_held(lease))
		table->held++;
	lease->mark = MARK_HELD | hold.serial;
	hold_queue_add(is_long ? &table->long_holds : &table->short_holds, &hold);
}

// ---- the good ones ----

static void index_add(struct peer_table *table, struct lease *lease)
{
	for (size_t i = 0; i < LEASE_INDEX_KEY_COUNT; i++)
		lease_index_add(table->index[i], lease);
}

static void index_remove(struct peer_table *table, const struct lease *lease)
{
	for (size_t i = 0; i < LEASE_INDEX_KEY_COUNT; i++)
		lease_index_remove(table->index[i], lease);
}

// Takes it out of the good ones and tells; what it was is the caller's.
static void good_drop(struct peer_table *table, struct lease *lease, struct lease *ret_old)
{
	struct lease old;

	index_remove(table, lease);
	mark_present(table, lease, 0);
	old = *lease;
	*lease = (struct lease){ .subnet = old.subnet };
	lease_set_remove(table->good, &old.subnet);
	table->fn(table->arg, &old, NULL);
	*ret_old = old;
}

static void good_add(struct peer_table *table, struct lease *lease)
{
	struct lease *now = lease_set_put(table->good, lease);

	now->mark = table->generation | (table->in_snapshot ? MARK_NEW : 0);
	index_add(table, now);
	table->fn(table->arg, NULL, now);
}

// Gives ret_old what it was.
static void good_change(struct peer_table *table, struct lease *known, struct lease *lease,
			struct lease *ret_old)
{
	index_remove(table, known);
	*ret_old = *known;
	lease->mark = known->mark;
	*known = *lease;
	*lease = (struct lease){ 0 };
	mark_present(table, known, 0);
	index_add(table, known);
	table->fn(table->arg, ret_old, known);
}

// ---- judging ----

// NULL: it can be a peer, if no other one is in its way.
static const char *judge(const struct peer_table *table, const struct lease *lease, char *buf,
			 size_t size)
{
	const struct lease_attrs *own_attrs = table->has_own_attrs ? &table->own_attrs : NULL;
	const struct subnet *own = table->has_own ? &table->own : NULL;

	if (!table->has_rules)
		return "the network's config is not known";
	if (!peer_judge(&table->base, own, own_attrs, lease, buf, size))
		return NULL;
	return peer_judge(&table->conf, own, own_attrs, lease, buf, size);
}

// Takes over what lease owns.
static void reject(struct peer_table *table, enum odd_kind kind, struct lease *lease, const char *why)
{
	struct lease *known = lease_set_find(table->good, &lease->subnet);
	char text[SUBNET_STR_MAX];

	(void)subnet_str(&lease->subnet, text);
	if (known)
		mark_present(table, known, MARK_STALE);
	if (odd_list_put(&table->odd, kind, lease, why, table->generation))
		log_rl(LOG_LEVEL_WARN, "fabric: reject lease %s of another host: %s", text, why);
}

static void retry_rejected(struct peer_table *table, const struct lease *gone);

static void rivals_give_way(struct peer_table *table, const struct rivals *rivals,
			    const struct lease *lease)
{
	char text[SUBNET_STR_MAX], why[ERR_MSG_MAX];

	for (size_t i = 0; i < rivals->count; i++) {
		struct lease *rival = rivals->leases[i];
		struct lease old;
		bool is_listed = peer_gives_way(rival), is_twice = false;

		for (size_t j = 0; j < i; j++)
			is_twice = is_twice || rivals->leases[j] == rival;
		if (is_twice)
			continue;
		good_drop(table, rival, &old);
		if (!is_listed) {
			(void)text_format(why, sizeof(why), "it %s the older lease %s",
					  rivals->what, subnet_str(&lease->subnet, text));
			reject(table, ODD_RIVAL, &old, why);
		}
		lease_free(&old);
	}
}

// Another host's lease at a key that was not free in between. No host that keeps the rules does this: one that moves keeps its key or
// session, and one that takes a subnet over does so when the key is gone.
static bool is_written_over(const struct lease *known, const struct lease *lease)
{
	const struct lease_attrs *a = &known->attrs, *b = &lease->attrs;
	bool same_address = (ip_is_set(&a->public_ip) && ip_equal(&a->public_ip, &b->public_ip)) ||
			    (ip_is_set(&a->public_ipv6) && ip_equal(&a->public_ipv6, &b->public_ipv6));

	return known->create_revision != 0 && known->create_revision == lease->create_revision &&
	       known->session != lease->session && !same_address && !peer_is_same_host(known, lease);
}

// Takes over what lease owns, if it is in order. False: it is rejected, buf says why.
static bool try_accept(struct peer_table *table, struct lease *lease, struct lease *known,
		       enum odd_kind *ret_kind, char *buf, size_t size)
{
	struct rivals rivals = { 0 };
	char text[SUBNET_STR_MAX], ip[IP_STR_MAX];
	struct lease old = { 0 };
	const char *why = judge(table, lease, buf, size);

	*ret_kind = ODD_RULE;
	if (why) {
		if (why != buf)
			(void)text_copy(buf, size, why);
		return false;
	}
	if (known && is_written_over(known, lease)) {
		const struct lease_attrs *attrs = &known->attrs;
		(void)text_format(
			buf, size,
			"it was written over the lease of %s, which stays in use; if that host is gone for good, delete the key first",
			ip_str(ip_is_set(&attrs->public_ip) ? &attrs->public_ip : &attrs->public_ipv6,
			       ip));
		return false;
	}
	peer_find_rivals(table, lease, &rivals);
	if (rivals.winner) {
		*ret_kind = ODD_RIVAL;
		(void)text_format(buf, size, "it %s lease %s, which was first", rivals.what,
				  subnet_str(&rivals.winner->subnet, text));
		free(rivals.leases);
		return false;
	}
	rivals_give_way(table, &rivals, lease);
	free(rivals.leases);
	if (known)
		good_change(table, known, lease, &old);
	else
		good_add(table, lease);
	if (rivals.count > 0)
		retry_rejected(table, NULL);
	else if (known)
		retry_rejected(table, &old);
	lease_free(&old);
	return true;
}

static void put(struct peer_table *table, struct lease *lease)
{
	struct lease *known = lease_set_find(table->good, &lease->subnet);
	struct subnet subnet = lease->subnet;
	char why[ERR_MSG_MAX];
	enum odd_kind kind;

	if (known && lease_attrs_equal(&known->attrs, &lease->attrs)) {
		known->mod_revision = lease->mod_revision;
		known->session = lease->session;
		known->create_revision = lease->create_revision;
		mark_present(table, known, 0);
		lease_free(lease);
	} else if (!try_accept(table, lease, known, &kind, why, sizeof(why))) {
		reject(table, kind, lease, why);
		return;
	}
	odd_list_remove(&table->odd, odd_list_find(&table->odd, &subnet));
}

static bool concerns(const struct odd *odd, const struct lease *gone)
{
	if (odd->kind != ODD_RIVAL)
		return false;
	return !gone || subnet_overlaps(&odd->lease.subnet, &gone->subnet) ||
	       (ip_is_set(&gone->attrs.public_ip) &&
		ip_equal(&odd->lease.attrs.public_ip, &gone->attrs.public_ip)) ||
	       (ip_is_set(&gone->attrs.public_ipv6) &&
		ip_equal(&odd->lease.attrs.public_ipv6, &gone->attrs.public_ipv6));
}

// Judges what is listed again; whoever gets in leaves the list.
static void retry_odd(struct peer_table *table, struct odd *odd)
{
	struct lease lease = odd->lease;
	struct subnet subnet = lease.subnet;
	char why[ERR_MSG_MAX];
	enum odd_kind kind;

	odd->lease = (struct lease){ .subnet = subnet };
	odd->kind = ODD_UNREADABLE; // not to be tried again from within
	if (try_accept(table, &lease, lease_set_find(table->good, &subnet), &kind, why, sizeof(why)))
		odd_list_remove(&table->odd, odd_list_find(&table->odd, &subnet));
	else
		reject(table, kind, &lease, why);
}

// Something went, or changed, that may have been in the way of others. NULL: of anybody.
static void retry_rejected(struct peer_table *table, const struct lease *gone)
{
	struct subnet *waiting;
	size_t count = 0;

	// In a snapshot it is not known yet which of them are still there; its end tries all.
	if (table->odd.count == 0 || table->in_snapshot)
		return;
	odd_list_sort(&table->odd);
	waiting = xnew0_array(struct subnet, table->odd.count);
	for (size_t i = 0; i < table->odd.count; i++)
		if (concerns(&table->odd.odds[i], gone))
			waiting[count++] = table->odd.odds[i].lease.subnet;
	// One that gets in may change the list, so each is looked up.
	for (size_t i = 0; i < count; i++) {
		struct odd *odd = odd_list_find(&table->odd, &waiting[i]);

		if (odd && odd->kind == ODD_RIVAL)
			retry_odd(table, odd);
	}
	free(waiting);
}

// ---- what the store says ----

void peer_table_put(struct peer_table *table, struct lease *lease)
{
	put(table, lease);
}

bool bad_is_at_usual_key(const struct registry_bad *bad)
{
	char usual[LEASE_KEY_MAX];

	if (!bad->has_subnet)
		return false;
	subnet_format_key(&bad->subnet, usual);
	return strcmp(bad->key, usual) == 0;
}

void peer_table_bad(struct peer_table *table, const struct registry_bad *bad)
{
	const struct subnet *subnet = bad->has_subnet ? &bad->subnet : NULL;
	// Another way to write the key of a subnet says nothing about what is at the usual one.
	struct lease *known = bad_is_at_usual_key(bad) ? lease_set_find(table->good, subnet) : NULL;

	if (known)
		mark_present(table, known, MARK_STALE);
	if (odd_list_put_unreadable(&table->odd, bad->key, subnet, bad->mod_revision, bad->why,
				    table->generation))
		log_rl(LOG_LEVEL_WARN, "fabric: reject key %s: %s", bad->key, bad->why);
}

void peer_table_bad_gone(struct peer_table *table, const char *key)
{
	struct odd *odd = odd_list_find_key(&table->odd, key);

	if (!odd && table->odd.uncounted > 0)
		table->odd.uncounted--;
	odd_list_remove(&table->odd, odd);
}

// Does somebody wait for what this one has?
static bool is_claimed(const struct peer_table *table, const struct lease *lease)
{
	for (size_t i = 0; i < table->odd.count; i++)
		if (concerns(&table->odd.odds[i], lease) &&
		    !subnet_equal(&table->odd.odds[i].lease.subnet, &lease->subnet))
			return true;
	return false;
}

static void drop_and_retry(struct peer_table *table, struct lease *lease)
{
	struct lease old;

	good_drop(table, lease, &old);
	retry_rejected(table, &old);
	lease_free(&old);
}

static void vanish(struct peer_table *table, struct lease *lease)
{
	hold_until(table, lease, false, loop_now_ms());
	if (table->hold_ms == 0)
		drop_and_retry(table, lease);
	else if (is_claimed(table, lease)) // held, it gives way
		retry_rejected(table, lease);
}

void peer_table_gone(struct peer_table *table, const struct subnet *subnet)
{
	struct lease *lease = lease_set_find(table->good, subnet);
	struct odd *odd = odd_list_find(&table->odd, subnet);

	if (!odd && !lease && table->odd.uncounted > 0)
		table->odd.uncounted--;
	odd_list_remove(&table->odd, odd);
	if (lease && !peer_is_held(lease))
		vanish(table, lease);
}

void peer_table_forget(struct peer_table *table, const struct subnet *subnet)
{
	struct lease *lease = lease_set_find(table->good, subnet);

	odd_list_remove(&table->odd, odd_list_find(&table->odd, subnet));
	if (lease)
		drop_and_retry(table, lease);
}

void peer_table_seed(struct peer_table *table, struct lease_set *peers)
{
	size_t position = 0;
	struct lease *lease;

	while ((lease = lease_set_next(peers, &position))) {
		struct lease moved = *lease;

		*lease = (struct lease){ .subnet = moved.subnet };
		put(table, &moved);
	}
	lease_set_free(peers);
}

// ---- snapshots and time ----

void peer_table_snapshot_begin(struct peer_table *table)
{
	table->in_snapshot = true;
	table->generation = (table->generation + 1) & MARK_NUMBER;
	table->odd.uncounted = 0;
}

void peer_table_snapshot_end(struct peer_table *table, bool store_changed)
{
	size_t position = 0;
	struct lease *lease;

	table->in_snapshot = false;
	for (size_t i = 0; i < table->odd.count;) {
		if (table->odd.odds[i].generation == table->generation)
			i++;
		else
			odd_list_remove(&table->odd, &table->odd.odds[i]);
	}
	// First all that vanished, then those that wait for them: what a rival gets must not depend on the order of the table.
	while ((lease = lease_set_next(table->good, &position)))
		if (!peer_is_held(lease) && (lease->mark & MARK_NUMBER) != table->generation)
			hold_until(table, lease, store_changed, loop_now_ms());
	retry_rejected(table, NULL);
}

// A hold of this very lease, not of an earlier disappearance.
static struct lease *hold_find(const struct peer_table *table, const struct hold *hold)
{
	struct lease *lease = lease_set_find(table->good, &hold->subnet);

	return lease && lease->mark == (MARK_HELD | hold->serial) ? lease : NULL;
}

static unsigned int expire_short(struct peer_table *table, uint64_t now_ms)
{
	size_t total = lease_set_count(table->good);
	// Both of two may well have been shut down together; a majority of more is rather the store's doing.
	bool is_mass = table->held > 2 && table->held * 2 > total &&
		       table->long_hold_ms > table->hold_ms;
	unsigned int count = 0;
	const struct hold *first;

	if (is_mass && (first = hold_queue_first(&table->short_holds)) && first->until_ms <= now_ms)
		log_rl(LOG_LEVEL_WARN,
		       "fabric: keep %zu of %zu peers that vanished from the store at once, for %llu s at most",
		       table->held, total, (unsigned long long)(table->long_hold_ms / 1000));
	while ((first = hold_queue_first(&table->short_holds)) && first->until_ms <= now_ms &&
	       count++ < EXPIRE_AT_ONCE) {
		struct lease *lease = hold_find(table, first);

		hold_queue_drop(&table->short_holds);
		if (lease && is_mass)
			hold_until(table, lease, true, now_ms);
		else if (lease)
			drop_and_retry(table, lease);
	}
	return count;
}

uint64_t peer_table_expire(struct peer_table *table, uint64_t now_ms)
{
	const struct hold *first;
	uint64_t next = UINT64_MAX;
	unsigned int count = expire_short(table, now_ms);

	while ((first = hold_queue_first(&table->long_holds)) && first->until_ms <= now_ms &&
	       count++ < EXPIRE_AT_ONCE) {
		struct lease *lease = hold_find(table, first);

		hold_queue_drop(&table->long_holds);
		if (lease)
			drop_and_retry(table, lease);
	}
	if ((first = hold_queue_first(&table->short_holds)))
		next = first->until_ms;
	if ((first = hold_queue_first(&table->long_holds)) && first->until_ms < next)
		next = first->until_ms;
	return next;
}

// ---- rules ----

static bool same_family(const struct netconf_family *a, const struct netconf_family *b)
{
	return a->enabled == b->enabled && ipnet_equal(&a->network, &b->network);
}

// The good ones that break a rule now are moved to the list, all others of it are judged anew.
static void judge_all(struct peer_table *table)
{
	struct lease **bad = NULL, *lease;
	size_t position = 0, count = 0;
	char why[ERR_MSG_MAX];

	while ((lease = lease_set_next(table->good, &position))) {
		if (!judge(table, lease, why, sizeof(why)))
			continue;
		bad = xrealloc_array(bad, count + 1, sizeof(struct lease *));
		bad[count++] = lease;
	}
	for (size_t i = 0; i < count; i++) {
		bool is_stored = !peer_gives_way(bad[i]);
		const char *reason = judge(table, bad[i], why, sizeof(why));
		struct lease old;

		good_drop(table, bad[i], &old);
		if (is_stored)
			reject(table, ODD_RULE, &old, reason);
		lease_free(&old);
	}
	free(bad);
	for (size_t i = 0; i < table->odd.count; i++)
		if (table->odd.odds[i].kind == ODD_RULE)
			table->odd.odds[i].kind = ODD_RIVAL; // which is what is tried again
	retry_rejected(table, NULL);
}

void peer_table_set_rules(struct peer_table *table, const struct netconf *base,
			  const struct netconf *conf, const struct subnet *own,
			  const struct lease_attrs *own_attrs)
{
	bool same = table->has_rules && same_family(&base->v4, &table->base.v4) &&
		    same_family(&base->v6, &table->base.v6) &&
		    same_family(&conf->v4, &table->conf.v4) &&
		    same_family(&conf->v6, &table->conf.v6) && table->has_own == (own != NULL) &&
		    (!own || subnet_equal(own, &table->own)) &&
		    table->has_own_attrs == (own_attrs != NULL) &&
		    (!own_attrs || lease_attrs_equal(own_attrs, &table->own_attrs));

	if (same)
		return;
	netconf_free(&table->base);
	netconf_free(&table->conf);
	lease_attrs_free(&table->own_attrs);
	netconf_copy(base, &table->base);
	netconf_copy(conf, &table->conf);
	table->has_rules = true;
	table->has_own = own != NULL;
	if (own)
		table->own = *own;
	table->has_own_attrs = own_attrs != NULL;
	if (own_attrs)
		lease_attrs_copy(own_attrs, &table->own_attrs);
	judge_all(table);
}
