// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: requests: ADD, DEL, CHECK, GC, and ADDs that wait for the store.
#include "ipam/ipam_internal.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

// ---- the journal ----

bool journal_holder(struct ipam *ipam, const struct holder *holder, struct err *e)
{
	return journal_add_use(ipam->journal, holder, e) == 0;
}

static void journal_tidy(struct ipam *ipam)
{
	struct err e;

	if (journal_compact(ipam->journal, ipam->allocator, &e) < 0)
		log_rl(LOG_LEVEL_WARN, "%s: journal of addresses: %s", ipam->config.who, err_msg(&e));
}

void release(struct ipam *ipam, struct holder *holder)
{
	const struct owner_key key = holder_key(holder);
	uint64_t now = loop_boottime_ms();
	struct err e;

	for (int family = 0; family < FAMILY_COUNT; family++)
		if (ip_is_set(&holder->ips[family]) &&
		    journal_add_free(ipam->journal, &holder->ips[family], owner_key_hash(&key), now,
				     &e) < 0)
			// In doubt it is used, until a leak is found.
			log_rl(LOG_LEVEL_WARN, "%s: journal of addresses: %s", ipam->config.who,
			       err_msg(&e));
	allocator_release(ipam->allocator, holder, now);
	journal_tidy(ipam);
	writes_soon(ipam);
}

// ---- waiting for the store ----

static void add_free(struct waiting_add *add)
{
	timer_free(add->timer);
	free(add);
}

static void grant_of(const struct ipam *ipam, const struct holder *holder, struct ipam_grant *ret)
{
	*ret = (struct ipam_grant){ 0 };
	for (int family = 0; family < FAMILY_COUNT; family++) {
		if (!ip_is_set(&holder->ips[family]))
			continue;
		ret->ips[family] = holder->ips[family];
		ret->gateways[family] = allocator_gateway(ipam->allocator, (enum family)family);
		ret->lens[family] = ipam_net(ipam, (enum family)family)->len;
	}
}

static void unlink_add(struct ipam *ipam, struct waiting_add *add)
{
	struct waiting_add **link = &ipam->adds;

	while (*link != add)
		link = &(*link)->next;
	*link = add->next;
}

static void answer(struct ipam *ipam, struct waiting_add *add, const struct refusal *why)
{
	struct ipam_grant grant;

	unlink_add(ipam, add);
	if (!why)
		grant_of(ipam, add->holder, &grant);
	add->fn(add->arg, why ? NULL : &grant, why);
	add_free(add);
}

// Their owners keep what they have, and get it when they ask again.
void adds_refuse(struct ipam *ipam, const char *why)
{
	struct refusal refusal;

	(void)refuse(&refusal, REFUSED_LATER, "%s", why);
	while (ipam->adds)
		answer(ipam, ipam->adds, &refusal);
}

static struct waiting_add *add_of(const struct ipam *ipam, const struct holder *holder)
{
	struct waiting_add *add = ipam->adds;

	while (add && add->holder != holder)
		add = add->next;
	return add;
}

// How many there are is bounded by the connections that the agent takes.
void adds_end(struct ipam *ipam, struct holder *holder, const struct refusal *why)
{
	struct waiting_add *add;
	bool is_new = false;

	while ((add = add_of(ipam, holder))) {
		is_new = is_new || add->is_first;
		answer(ipam, add, why);
	}
	if (is_new)
		release(ipam, holder);
}

static bool is_written(const struct ipam *ipam, const struct holder *holder)
{
	for (int family = 0; family < FAMILY_COUNT; family++) {
		const struct slot *slot =
			allocator_slot_of(ipam->allocator, holder, (enum family)family);

		if (slot && (slot->want != WANT_NOTHING || slot->is_busy))
			return false;
	}
	return true;
}

void adds_settle(struct ipam *ipam)
{
	struct waiting_add *next;

	for (struct waiting_add *add = ipam->adds; add; add = next) {
		next = add->next;
		if (is_written(ipam, add->holder))
			answer(ipam, add, NULL);
	}
}

// It goes without the record, or it does not go.
static void give_up_waiting(struct ipam *ipam, struct waiting_add *add)
{
	struct refusal why;

	if (!add->is_strict) {
		answer(ipam, add, NULL);
		return;
	}
	(void)refuse(&why, REFUSED_LATER, "the store does not take the address's record");
	if (ipam->write_error.code != 0)
		(void)text_copy(why.details, sizeof(why.details), err_msg(&ipam->write_error));
	adds_end(ipam, add->holder, &why);
}

void adds_store_failed(struct ipam *ipam)
{
	struct waiting_add *add = ipam->adds;

	// Giving up one may end others.
	while (add) {
		if (is_written(ipam, add->holder)) {
			add = add->next;
			continue;
		}
		give_up_waiting(ipam, add);
		add = ipam->adds;
	}
	adds_settle(ipam);
}

static void on_waited(void *arg)
{
	struct waiting_add *add = arg;

	give_up_waiting(add->ipam, add);
}

static void wait_for_store(struct ipam *ipam, const struct allocator_request *request,
			   struct holder *holder, bool is_first, bool is_strict, ipam_add_fn *fn,
			   void *arg)
{
	struct waiting_add *add = xnew(struct waiting_add);

	add->ipam = ipam;
	add->holder = holder;
	memcpy(add->asked, request->ips, sizeof(add->asked));
	add->is_first = is_first;
	add->is_strict = is_strict;
	add->fn = fn;
	add->arg = arg;
	add->timer = timer_new(ipam->config.loop, on_waited, add);
	timer_start(add->timer, is_strict ? STRICT_WAIT_MS : BEST_WAIT_MS);
	add->next = ipam->adds;
	ipam->adds = add;
}

// ---- ADD ----

int ipam_can_add(const struct ipam *ipam, enum ipam_mode mode, struct refusal *why)
{
	bool is_confirmed = ipam_holds_lease(ipam);

	if (ipam->lease_state == FABRIC_LEASE_NONE)
		return refuse(why, REFUSED_LATER, "this host has no subnet yet");
	if (!is_confirmed && ipam->lease_state != FABRIC_LEASE_CACHED) {
		(void)refuse(why, REFUSED_LATER, "subnet lease lost");
		(void)text_copy(why->details, sizeof(why->details), ipam->lease_why);
		return -1;
	}
	if (!ipam->is_ready)
		return refuse(why, REFUSED_LATER, "the addresses of this host are being read");
	if (mode != IPAM_STRICT)
		return 0;
	if (!ipam->config.has_records)
		return refuse(why, REFUSED_LATER,
			      "the store keeps no records of addresses, which mode strict asks for");
	if (writes_are_likely(ipam))
		return 0;
	(void)refuse(why, REFUSED_LATER, "the store does not take records of addresses now");
	if (ipam->write_error.code != 0)
		(void)text_copy(why->details, sizeof(why->details), err_msg(&ipam->write_error));
	return -1;
}

static bool is_as_asked(const struct holder *holder, const struct allocator_request *request)
{
	for (int family = 0; family < FAMILY_COUNT; family++)
		if (ip_is_set(&request->ips[family]) &&
		    !ip_equal(&request->ips[family], &holder->ips[family]))
			return false;
	return true;
}

static int choose(struct ipam *ipam, const struct allocator_request *request, struct holder **ret,
		  struct refusal *why)
{
	struct err e;
	int r = allocator_add(ipam->allocator, request, loop_boottime_ms(), ret, why);

	if (r == 1 && !is_as_asked(*ret, request)) {
		(void)refuse(why, REFUSED_TAKEN, "the container has another address already");
		return -1;
	}
	if (r == 0 && !journal_holder(ipam, *ret, &e)) {
		allocator_release(ipam->allocator, *ret, loop_boottime_ms());
		return refuse(why, REFUSED_LATER, "journal of addresses: %s", err_msg(&e));
	}
	return r;
}

void ipam_add(struct ipam *ipam, const struct allocator_request *request, enum ipam_mode mode,
	      ipam_add_fn *fn, void *arg)
{
	struct ipam_grant grant;
	struct refusal why;
	struct holder *holder = NULL;
	bool is_new;
	int r = ipam_can_add(ipam, mode, &why);

	if (r == 0)
		r = choose(ipam, request, &holder, &why);
	if (r < 0) {
		fn(arg, NULL, &why);
		return;
	}
	is_new = r == 0;
	if (is_new)
		session_need(ipam);
	if (mode != IPAM_ASYNC && !is_written(ipam, holder) &&
	    (mode == IPAM_STRICT || writes_are_likely(ipam))) {
		wait_for_store(ipam, request, holder, is_new, mode == IPAM_STRICT, fn, arg);
		writes_soon(ipam);
		return;
	}
	writes_soon(ipam);
	journal_tidy(ipam);
	grant_of(ipam, holder, &grant);
	fn(arg, &grant, NULL);
}

// ---- DEL, CHECK, GC ----

static struct holder *find_by_address(const struct ipam *ipam, const struct owner_key *key,
				      const struct ip *ips, size_t ip_count)
{
	for (size_t i = 0; i < ip_count; i++) {
		const struct slot *slot = allocator_slot(ipam->allocator, &ips[i]);

		if (slot && slot->holder && strcmp(slot->holder->cid, key->cid) == 0)
			return slot->holder;
	}
	return NULL;
}

static void release_asked(struct ipam *ipam, struct holder *holder)
{
	struct refusal why;
	struct waiting_add *add = add_of(ipam, holder);

	if (!add) {
		release(ipam, holder);
		return;
	}
	(void)refuse(&why, REFUSED_LATER, "the container was deleted meanwhile");
	add->is_first = true;
	adds_end(ipam, holder, &why);
}

int ipam_del(struct ipam *ipam, const struct owner_key *key, const struct ip *ips, size_t ip_count)
{
	struct holder *holder = allocator_find(ipam->allocator, key);

	if (!holder)
		holder = find_by_address(ipam, key, ips, ip_count);
	if (holder)
		release_asked(ipam, holder);
	return holder || ipam->is_ready ? 0 : -EAGAIN;
}

int ipam_check(struct ipam *ipam, const struct owner_key *key, const struct ip *ips,
	       size_t ip_count, struct refusal *why)
{
	const struct holder *holder = allocator_find(ipam->allocator, key);
	char v4[IP_STR_MAX], v6[IP_STR_MAX];
	size_t has = 0;
	bool is_same = true;

	if (!holder && !ipam->is_ready)
		return refuse(why, REFUSED_LATER, "the addresses of this host are being read");
	if (!holder)
		return refuse(why, REFUSED_INTERNAL, "container %.64s has no address for %s",
			      key->cid, key->ifname);
	for (int family = 0; family < FAMILY_COUNT; family++)
		has += ip_is_set(&holder->ips[family]);
	for (size_t i = 0; i < ip_count; i++)
		is_same = is_same && ip_equal(&ips[i], &holder->ips[family_of(&ips[i])]);
	if (is_same && ip_count == has)
		return 0;
	(void)refuse(why, REFUSED_INTERNAL, "container %.64s has other addresses for %s", key->cid,
		     key->ifname);
	(void)text_format(why->details, sizeof(why->details), "it has %s and %s",
			  ip_str(&holder->ips[FAMILY_V4], v4), ip_str(&holder->ips[FAMILY_V6], v6));
	return -1;
}

struct collection {
	struct ipam *ipam;
	const char *name;
	const struct owner_key *keep;
	size_t keep_count;
	int released;
};

static void collect(void *arg, struct holder *holder)
{
	struct collection *collection = arg;

	if (strcmp(holder->name, collection->name) != 0)
		return;
	for (size_t i = 0; i < collection->keep_count; i++)
		if (strcmp(collection->keep[i].cid, holder->cid) == 0 &&
		    strcmp(collection->keep[i].ifname, holder->ifname) == 0)
			return;
	release_asked(collection->ipam, holder);
	collection->released++;
}

int ipam_gc(struct ipam *ipam, const char *name, const struct owner_key *keep, size_t keep_count)
{
	struct collection collection = { ipam, name, keep, keep_count, 0 };

	if (!ipam->is_ready)
		return -EAGAIN;
	allocator_each_holder(ipam->allocator, collect, &collection);
	return collection.released;
}
