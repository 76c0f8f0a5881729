// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the table of peers.
#include "fabric/peer_table.h"

#include "core/hash.h"
#include "core/log.h"
#include "core/mem.h"
#include "fabric/bag.h"

#include <string.h>

struct odd {
	enum fabric_peer_state state;
	bool has_lease;
	struct lease lease; // held: only the subnet; rejected: all of it
	char *key;
	char *why;
	uint64_t until_ms; // held
};

struct peer_table {
	peer_change_fn *fn;
	void *arg;
	bool has_rules;
	struct netconf conf;
	struct lease own;
	bool has_own;
	struct lease_attrs own_attrs;
	bool has_own_attrs;

	struct lease_set *good;
	struct bag *prefixes; // of good leases with the network's own subnet length: overlap is equality
	struct bag *addresses; // public ones of good leases
	size_t unusual;	      // good leases of another length: these are searched one by one
	struct odd *odd;
	size_t odd_count;
	size_t odd_capacity;
	size_t rejected;
	size_t rejected_uncounted; // beyond ODD_MAX
	size_t held;

	bool in_snapshot;
	struct bag *seen; // subnets that the snapshot had, readable or not
};

struct peer_table *peer_table_new(peer_change_fn *fn, void *arg)
{
	struct peer_table *table = xnew(struct peer_table);
	table->fn = fn;
	table->arg = arg;
	table->good = lease_set_new();
	table->prefixes = bag_new();
	table->addresses = bag_new();
	return table;
}

static void odd_clear(struct odd *odd)
{
	lease_free(&odd->lease);
	free(odd->key);
	free(odd->why);
	memset(odd, 0, sizeof(*odd));
}

struct peer_table *peer_table_free(struct peer_table *table)
{
	if (!table)
		return NULL;
	for (size_t i = 0; i < table->odd_count; i++)
		odd_clear(&table->odd[i]);
	free(table->odd);
	lease_set_free(table->good);
	bag_free(table->prefixes);
	bag_free(table->addresses);
	bag_free(table->seen);
	netconf_free(&table->conf);
	lease_free(&table->own);
	lease_attrs_free(&table->own_attrs);
	free(table);
	return NULL;
}

// ---- odd ones ----

static struct odd *odd_find(const struct peer_table *table, const struct subnet *subnet, enum fabric_peer_state state)
{
	for (size_t i = 0; i < table->odd_count; i++)
		if (table->odd[i].has_lease && table->odd[i].state == state && subnet_equal(&table->odd[i].lease.subnet, subnet))
			return &table->odd[i];
	return NULL;
}

static size_t *odd_counter(struct peer_table *table, enum fabric_peer_state state)
{
	return state == FABRIC_PEER_HELD ? &table->held : &table->rejected;
}

static void odd_remove(struct peer_table *table, struct odd *odd)
{
	if (!odd)
		return;
	--*odd_counter(table, odd->state);
	odd_clear(odd);
	*odd = table->odd[--table->odd_count];
	if (table->odd_count == 0) {
		free(table->odd);
		table->odd = NULL;
		table->odd_capacity = 0;
	}
}

static struct odd *odd_add(struct peer_table *table, enum fabric_peer_state state)
{
	if (table->odd_count == table->odd_capacity) {
		table->odd_capacity = table->odd_capacity ? table->odd_capacity * 2 : 8;
		table->odd = xrealloc_array(table->odd, table->odd_capacity, sizeof(*table->odd));
	}
	struct odd *odd = &table->odd[table->odd_count++];
	memset(odd, 0, sizeof(*odd));
	odd->state = state;
	++*odd_counter(table, state);
	return odd;
}

static bool odd_is_full(const struct peer_table *table)
{
	return table->rejected >= ODD_MAX;
}

// Takes over what lease owns.
static void reject(struct peer_table *table, struct lease *lease, const char *why)
{
	char text[SUBNET_STR_MAX], key[LEASE_KEY_MAX];
	struct odd *odd = odd_find(table, &lease->subnet, FABRIC_PEER_REJECTED);
	bool news = !odd || strcmp(odd->why, why) != 0;
	if (!odd && odd_is_full(table)) {
		table->rejected_uncounted++;
		lease_free(lease);
		return;
	}
	if (news)
		log_rl(LOG_LEVEL_WARN, "fabric: lease %s of another host is rejected: %s", subnet_str(&lease->subnet, text), why);
	if (!odd)
		odd = odd_add(table, FABRIC_PEER_REJECTED);
	struct lease taken = *lease;
	memset(lease, 0, sizeof(*lease));
	lease_free(&odd->lease);
	free(odd->key);
	free(odd->why);
	subnet_format_key(&taken.subnet, key);
	odd->lease = taken;
	odd->has_lease = true;
	odd->key = xstrdup(key);
	odd->why = xstrdup(why);
}

// ---- the index of good ones ----

static uint64_t ip_key(const struct ip *ip)
{
	return hash_bytes(ip, sizeof(*ip));
}

static bool is_usual(const struct peer_table *table, const struct subnet *subnet)
{
	return (!ipnet_is_set(&subnet->v4) || subnet->v4.len == table->conf.v4.subnet_len) &&
	       (!ipnet_is_set(&subnet->v6) || subnet->v6.len == table->conf.v6.subnet_len);
}

static void index_lease(struct peer_table *table, const struct lease *lease, bool add)
{
	void (*change)(struct bag *, uint64_t) = add ? bag_add : bag_remove;
	if (!is_usual(table, &lease->subnet))
		table->unusual += add ? 1 : (size_t)-1;
	if (ipnet_is_set(&lease->subnet.v4))
		change(table->prefixes, ip_key(&lease->subnet.v4.addr));
	if (ipnet_is_set(&lease->subnet.v6))
		change(table->prefixes, ip_key(&lease->subnet.v6.addr));
	if (ip_is_set(&lease->attrs.public_ip))
		change(table->addresses, ip_key(&lease->attrs.public_ip));
	if (ip_is_set(&lease->attrs.public_ipv6))
		change(table->addresses, ip_key(&lease->attrs.public_ipv6));
}

static bool may_overlap(const struct peer_table *table, const struct subnet *subnet)
{
	return table->unusual > 0 || !is_usual(table, subnet) ||
	       (ipnet_is_set(&subnet->v4) && bag_has(table->prefixes, ip_key(&subnet->v4.addr))) ||
	       (ipnet_is_set(&subnet->v6) && bag_has(table->prefixes, ip_key(&subnet->v6.addr)));
}

static bool is_held(const struct peer_table *table, const struct subnet *subnet)
{
	return table->held > 0 && odd_find(table, subnet, FABRIC_PEER_HELD) != NULL;
}

static bool same_text(const char *a, const char *b)
{
	return (!a || !b) ? a == b : strcmp(a, b) == 0;
}

// Two leases of one public address are one host's if they say the same of its backend.
static bool is_same_host(const struct lease *a, const struct lease *b)
{
	return same_text(a->attrs.backend_data, b->attrs.backend_data) && same_text(a->attrs.backend_v6_data, b->attrs.backend_v6_data);
}

static void remove_good(struct peer_table *table, const struct subnet *subnet)
{
	struct lease *lease = lease_set_find(table->good, subnet);
	if (!lease)
		return;
	index_lease(table, lease, false);
	struct lease old;
	lease_copy(lease, &old);
	lease_set_remove(table->good, subnet);
	odd_remove(table, odd_find(table, subnet, FABRIC_PEER_HELD));
	table->fn(table->arg, &old, NULL);
	lease_free(&old);
}

// A good lease that is in the way of this one, if it really is there; a held one makes room at once.
static const struct lease *find_rival(struct peer_table *table, const struct lease *lease, const char **ret_what)
{
	const struct lease *rival;
	if (may_overlap(table, &lease->subnet)) {
		size_t position = 0;
		while ((rival = lease_set_next(table->good, &position))) {
			if (subnet_equal(&rival->subnet, &lease->subnet) || !subnet_overlaps(&rival->subnet, &lease->subnet))
				continue;
			if (is_held(table, &rival->subnet)) {
				struct subnet gone = rival->subnet;
				remove_good(table, &gone);
				continue;
			}
			*ret_what = "it overlaps";
			return rival;
		}
	}
	const struct ip *addresses[] = {&lease->attrs.public_ip, &lease->attrs.public_ipv6};
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		if (!ip_is_set(addresses[i]) || !bag_has(table->addresses, ip_key(addresses[i])))
			continue;
		size_t position = 0;
		while ((rival = lease_set_next(table->good, &position))) {
			if (subnet_equal(&rival->subnet, &lease->subnet) ||
			    !ip_equal(i == 0 ? &rival->attrs.public_ip : &rival->attrs.public_ipv6, addresses[i]))
				continue;
			if (is_held(table, &rival->subnet)) {
				struct subnet gone = rival->subnet;
				remove_good(table, &gone);
				continue;
			}
			if (is_same_host(rival, lease))
				continue;
			*ret_what = "it has the public address of";
			return rival;
		}
	}
	return NULL;
}

// ---- putting ----

static void accept_good(struct peer_table *table, struct lease *lease)
{
	struct lease *known = lease_set_find(table->good, &lease->subnet);
	odd_remove(table, odd_find(table, &lease->subnet, FABRIC_PEER_HELD));
	if (known && lease_attrs_equal(&known->attrs, &lease->attrs)) {
		known->mod_revision = lease->mod_revision;
		known->session = lease->session;
		lease_free(lease);
		return;
	}
	struct lease old = {0};
	if (known) {
		lease_copy(known, &old);
		index_lease(table, known, false);
	}
	struct lease *now = lease_set_put(table->good, lease);
	index_lease(table, now, true);
	table->fn(table->arg, known ? &old : NULL, now);
	lease_free(&old);
}

static void judge_and_put(struct peer_table *table, struct lease *lease)
{
	char buf[ERR_MSG_MAX];
	const char *why = table->has_rules ? peer_judge(&table->conf, table->has_own ? &table->own : NULL,
							table->has_own_attrs ? &table->own_attrs : NULL, lease, buf, sizeof(buf))
					   : "the network's config is not known";
	const char *what = NULL;
	const struct lease *rival = why ? NULL : find_rival(table, lease, &what);
	// At a cold start the older one of two is the first; later the one that is in use.
	while (rival && table->in_snapshot && lease->mod_revision < rival->mod_revision && !lease_set_find(table->good, &lease->subnet)) {
		struct lease loser;
		char text[SUBNET_STR_MAX];
		lease_copy(rival, &loser);
		remove_good(table, &loser.subnet);
		(void)text_format(buf, sizeof(buf), "%s the older lease %s", what, subnet_str(&lease->subnet, text));
		reject(table, &loser, buf);
		rival = find_rival(table, lease, &what);
	}
	if (rival) {
		char text[SUBNET_STR_MAX];
		(void)text_format(buf, sizeof(buf), "%s lease %s, which is in use", what, subnet_str(&rival->subnet, text));
		why = buf;
	}
	if (!why) {
		odd_remove(table, odd_find(table, &lease->subnet, FABRIC_PEER_REJECTED));
		accept_good(table, lease);
		return;
	}
	remove_good(table, &lease->subnet);
	reject(table, lease, why);
}

// After something went that may have been in the way.
static void retry_rejected(struct peer_table *table)
{
	for (size_t i = 0; i < table->odd_count;) {
		struct odd *odd = &table->odd[i];
		char buf[ERR_MSG_MAX];
		const char *what = NULL;
		if (odd->state != FABRIC_PEER_REJECTED || !odd->has_lease || odd->lease.mod_revision == 0 || !table->has_rules ||
		    peer_judge(&table->conf, table->has_own ? &table->own : NULL, table->has_own_attrs ? &table->own_attrs : NULL,
			       &odd->lease, buf, sizeof(buf))) {
			i++;
			continue;
		}
		// A search for rivals may end holds, which moves the entries.
		struct lease lease;
		lease_copy(&odd->lease, &lease);
		if (find_rival(table, &lease, &what)) {
			lease_free(&lease);
			i++;
			continue;
		}
		odd_remove(table, odd_find(table, &lease.subnet, FABRIC_PEER_REJECTED));
		accept_good(table, &lease);
		i = 0;
	}
}

void peer_table_put(struct peer_table *table, struct lease *lease)
{
	if (table->in_snapshot)
		bag_add(table->seen, subnet_hash(&lease->subnet));
	// Only a changed one can stop being in another's way.
	bool known = lease_set_find(table->good, &lease->subnet) != NULL;
	judge_and_put(table, lease);
	if (known && !table->in_snapshot && table->rejected > 0)
		retry_rejected(table);
}

void peer_table_bad(struct peer_table *table, const struct registry_bad *bad)
{
	if (table->in_snapshot && bad->has_subnet)
		bag_add(table->seen, subnet_hash(&bad->subnet));
	for (size_t i = 0; i < table->odd_count; i++) {
		struct odd *odd = &table->odd[i];
		if (odd->state == FABRIC_PEER_REJECTED && odd->key && strcmp(odd->key, bad->key) == 0) {
			odd_remove(table, odd);
			break;
		}
	}
	if (odd_is_full(table)) {
		table->rejected_uncounted++;
		return;
	}
	log_rl(LOG_LEVEL_WARN, "fabric: key %s is rejected: %s", bad->key, bad->why);
	struct odd *odd = odd_add(table, FABRIC_PEER_REJECTED);
	odd->key = xstrdup(bad->key);
	odd->why = xstrdup(bad->why);
	if (bad->has_subnet) {
		// mod_revision stays 0: there is no value to judge anew.
		odd->has_lease = true;
		odd->lease.subnet = bad->subnet;
	}
}

void peer_table_bad_gone(struct peer_table *table, const char *key)
{
	for (size_t i = 0; i < table->odd_count; i++) {
		if (table->odd[i].state == FABRIC_PEER_REJECTED && table->odd[i].key && strcmp(table->odd[i].key, key) == 0) {
			odd_remove(table, &table->odd[i]);
			return;
		}
	}
}

void peer_table_gone(struct peer_table *table, const struct subnet *subnet, uint64_t hold_ms)
{
	odd_remove(table, odd_find(table, subnet, FABRIC_PEER_REJECTED));
	if (lease_set_find(table->good, subnet)) {
		struct odd *odd = odd_find(table, subnet, FABRIC_PEER_HELD);
		if (hold_ms == 0) {
			remove_good(table, subnet);
		} else if (!odd) {
			char key[LEASE_KEY_MAX];
			odd = odd_add(table, FABRIC_PEER_HELD);
			subnet_format_key(subnet, key);
			odd->has_lease = true;
			odd->lease.subnet = *subnet;
			odd->key = xstrdup(key);
			odd->why = xstrdup("gone from the store, kept for a while");
			odd->until_ms = loop_now_ms() + hold_ms;
		}
	}
	if (table->rejected > 0)
		retry_rejected(table);
}

// ---- snapshots ----

void peer_table_snapshot_begin(struct peer_table *table)
{
	bag_free(table->seen);
	table->seen = bag_new();
	table->in_snapshot = true;
	table->rejected_uncounted = 0;
	// What is still wrong comes again with the snapshot.
	for (size_t i = 0; i < table->odd_count;) {
		if (table->odd[i].state == FABRIC_PEER_REJECTED && !table->odd[i].has_lease)
			odd_remove(table, &table->odd[i]);
		else
			i++;
	}
}

static size_t collect_unseen(const struct peer_table *table, struct subnet **ret)
{
	size_t position = 0, count = 0;
	const struct lease *lease;
	*ret = xnew0_array(struct subnet, lease_set_count(table->good) + table->odd_count + 1);
	while ((lease = lease_set_next(table->good, &position)))
		if (!bag_has(table->seen, subnet_hash(&lease->subnet)) && !is_held(table, &lease->subnet))
			(*ret)[count++] = lease->subnet;
	return count;
}

void peer_table_snapshot_end(struct peer_table *table, uint64_t hold_ms, uint64_t careful_ms)
{
	struct subnet *gone;
	size_t total = lease_set_count(table->good);
	size_t count = collect_unseen(table, &gone);
	// Two of three may well have been shut down together; two of four hosts and more at one instant is rather the store's doing.
	uint64_t hold = count * 2 > total && count > 2 && careful_ms > hold_ms ? careful_ms : hold_ms;
	if (hold != hold_ms)
		log_warn("fabric: %zu of %zu peers vanished from the store at once: keeping them for %llu s", count, total,
			 (unsigned long long)(hold / 1000));
	table->in_snapshot = false;
	for (size_t i = 0; i < count; i++)
		peer_table_gone(table, &gone[i], hold);
	for (size_t i = 0; i < table->odd_count;) {
		struct odd *odd = &table->odd[i];
		if (odd->state == FABRIC_PEER_REJECTED && odd->has_lease && !bag_has(table->seen, subnet_hash(&odd->lease.subnet)))
			odd_remove(table, odd);
		else
			i++;
	}
	free(gone);
	table->seen = bag_free(table->seen);
	if (table->rejected > 0)
		retry_rejected(table);
}

uint64_t peer_table_expire(struct peer_table *table, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;
	bool removed = false;
	for (size_t i = 0; i < table->odd_count;) {
		struct odd *odd = &table->odd[i];
		if (odd->state != FABRIC_PEER_HELD || odd->until_ms > now_ms) {
			if (odd->state == FABRIC_PEER_HELD && odd->until_ms < next)
				next = odd->until_ms;
			i++;
			continue;
		}
		struct subnet subnet = odd->lease.subnet;
		remove_good(table, &subnet);
		removed = true;
		i = 0;
		next = UINT64_MAX;
	}
	if (removed && table->rejected > 0)
		retry_rejected(table);
	return next;
}

// ---- rules ----

void peer_table_seed(struct peer_table *table, struct lease_set *peers)
{
	size_t position = 0;
	struct lease *lease;
	while ((lease = lease_set_next(peers, &position))) {
		struct lease copy;
		lease_copy(lease, &copy);
		judge_and_put(table, &copy);
	}
	lease_set_free(peers);
}

// The usual subnet length may have changed.
static void rebuild_index(struct peer_table *table)
{
	size_t position = 0;
	const struct lease *lease;
	bag_free(table->prefixes);
	bag_free(table->addresses);
	table->prefixes = bag_new();
	table->addresses = bag_new();
	table->unusual = 0;
	while ((lease = lease_set_next(table->good, &position)))
		index_lease(table, lease, true);
}

void peer_table_set_rules(struct peer_table *table, const struct netconf *conf, const struct lease *own, const struct lease_attrs *own_attrs)
{
	bool same_conf = table->has_rules && table->conf.v4.subnet_len == conf->v4.subnet_len && table->conf.v6.subnet_len == conf->v6.subnet_len &&
			 ipnet_equal(&table->conf.v4.network, &conf->v4.network) && ipnet_equal(&table->conf.v6.network, &conf->v6.network);
	bool same_own = table->has_own == (own != NULL) && (!own || subnet_equal(&own->subnet, &table->own.subnet));
	bool same_attrs = table->has_own_attrs == (own_attrs != NULL) &&
			  (!own_attrs || (ip_equal(&own_attrs->public_ip, &table->own_attrs.public_ip) &&
					  ip_equal(&own_attrs->public_ipv6, &table->own_attrs.public_ipv6)));
	if (same_conf && same_own && same_attrs)
		return;
	netconf_free(&table->conf);
	lease_free(&table->own);
	lease_attrs_free(&table->own_attrs);
	netconf_copy(conf, &table->conf);
	table->has_rules = true;
	table->has_own = own != NULL;
	if (own)
		lease_copy(own, &table->own);
	table->has_own_attrs = own_attrs != NULL;
	if (own_attrs)
		lease_attrs_copy(own_attrs, &table->own_attrs);
	if (!same_conf)
		rebuild_index(table);
	// Only our subnet is another: only what overlaps it is judged anew.
	bool all = !same_conf || !same_attrs;
	size_t position = 0, count = 0;
	struct lease *lease;
	struct lease *copies = xnew0_array(struct lease, all ? lease_set_count(table->good) + 1 : 1);
	while ((lease = lease_set_next(table->good, &position))) {
		if (!all && !(own && subnet_overlaps(&own->subnet, &lease->subnet)))
			continue;
		copies = all ? copies : xrealloc_array(copies, count + 1, sizeof(*copies));
		lease_copy(lease, &copies[count++]);
	}
	for (size_t i = 0; i < count; i++) {
		if (is_held(table, &copies[i].subnet))
			lease_free(&copies[i]);
		else
			judge_and_put(table, &copies[i]);
	}
	free(copies);
	retry_rejected(table);
}

// ---- views ----

const struct lease_set *peer_table_good(const struct peer_table *table)
{
	return table->good;
}

size_t peer_table_count(const struct peer_table *table, enum fabric_peer_state state)
{
	switch (state) {
	case FABRIC_PEER_GOOD:
		return lease_set_count(table->good) - table->held;
	case FABRIC_PEER_HELD:
		return table->held;
	case FABRIC_PEER_REJECTED:
		return table->rejected + table->rejected_uncounted;
	case FABRIC_PEER_STATE_COUNT:
		break;
	}
	return 0;
}

void peer_table_odd_each(const struct peer_table *table, fabric_odd_fn *fn, void *arg)
{
	for (size_t i = 0; i < table->odd_count; i++) {
		const struct odd *odd = &table->odd[i];
		fn(arg, odd->state, odd->key, odd->has_lease ? &odd->lease : NULL, odd->why);
	}
}

// A key that claims the whole network, or something outside it, must not keep others from their subnets.
static bool takes_room(const struct peer_table *table, const struct odd *odd)
{
	const struct subnet *subnet = &odd->lease.subnet;
	if (!odd->has_lease || !table->has_rules)
		return false;
	return (ipnet_is_set(&subnet->v4) && subnet->v4.len > table->conf.v4.network.len &&
		ipnet_contains_net(&table->conf.v4.network, &subnet->v4)) ||
	       (ipnet_is_set(&subnet->v6) && subnet->v6.len > table->conf.v6.network.len &&
		ipnet_contains_net(&table->conf.v6.network, &subnet->v6));
}

const struct lease *peer_table_find_overlap(const struct peer_table *table, const struct subnet *subnet)
{
	for (size_t i = 0; i < table->odd_count; i++)
		if (takes_room(table, &table->odd[i]) && subnet_overlaps(&table->odd[i].lease.subnet, subnet) &&
		    !(table->has_own && subnet_equal(&table->own.subnet, &table->odd[i].lease.subnet)))
			return &table->odd[i].lease;
	return may_overlap(table, subnet) ? lease_set_find_overlap(table->good, subnet) : NULL;
}

const struct lease *peer_table_find_public_ip(const struct peer_table *table, const struct ip *ip)
{
	for (size_t i = 0; i < table->odd_count; i++) {
		const struct odd *odd = &table->odd[i];
		if (odd->state == FABRIC_PEER_REJECTED && odd->has_lease &&
		    (ip_equal(&odd->lease.attrs.public_ip, ip) || ip_equal(&odd->lease.attrs.public_ipv6, ip)))
			return &odd->lease;
	}
	return bag_has(table->addresses, ip_key(ip)) ? lease_set_find_public_ip(table->good, ip) : NULL;
}

bool peer_table_has_v4(const struct peer_table *table)
{
	for (size_t i = 0; i < table->odd_count; i++)
		if (table->odd[i].has_lease && ipnet_is_set(&table->odd[i].lease.subnet.v4))
			return true;
	return false;
}

void peer_table_occupied(const struct peer_table *table, struct occupied *ret)
{
	size_t position = 0;
	const struct lease *lease;
	ret->list = xnew0_array(struct subnet, table->odd_count + table->unusual + 1);
	ret->count = 0;
	for (size_t i = 0; i < table->odd_count; i++)
		if (takes_room(table, &table->odd[i]))
			ret->list[ret->count++] = table->odd[i].lease.subnet;
	while (table->unusual > 0 && (lease = lease_set_next(table->good, &position)))
		if (!is_usual(table, &lease->subnet))
			ret->list[ret->count++] = lease->subnet;
}

bool peer_table_is_free(const struct peer_table *table, const struct occupied *occupied, const struct subnet *subnet)
{
	if ((ipnet_is_set(&subnet->v4) && bag_has(table->prefixes, ip_key(&subnet->v4.addr))) ||
	    (ipnet_is_set(&subnet->v6) && bag_has(table->prefixes, ip_key(&subnet->v6.addr))))
		return false;
	for (size_t i = 0; i < occupied->count; i++)
		if (subnet_overlaps(&occupied->list[i], subnet))
			return false;
	return true;
}
