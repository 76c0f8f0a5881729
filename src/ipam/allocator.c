// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: who has which address: choosing, releasing, keeping. The slots themselves are slot_range.c's.
#include "ipam/allocator.h"

#include "core/hash.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"
#include "ipam/slot_range.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BUCKETS 1024 // power of two; a host has some hundred containers

struct allocator {
	uint64_t quarantine_ms;
	struct subnet subnet;
	struct slot_range ranges[FAMILY_COUNT];
	struct holder *buckets[BUCKETS];
	struct slot *wanting_first, *wanting_last;
};

int refuse(struct refusal *ret, int code, const char *format, ...)
{
	va_list args;

	ret->code = code;
	ret->details[0] = '\0';
	va_start(args, format);
	(void)vsnprintf(ret->msg, sizeof(ret->msg), format, args);
	va_end(args);
	text_sanitize(ret->msg);
	return -1;
}

// ---- keys ----

uint64_t owner_key_hash(const struct owner_key *key)
{
	_cleanup_free_ char *text = xasprintf("%s/%s/%s", key->name, key->cid, key->ifname);
	uint64_t hash = hash_stable(text, strlen(text));

	return hash == 0 ? 1 : hash;
}

struct owner_key holder_key(const struct holder *holder)
{
	return (struct owner_key){ holder->name, holder->cid, holder->ifname };
}

static struct holder **bucket_of(const struct allocator *allocator, const struct owner_key *key)
{
	uint64_t hash = owner_key_hash(key);

	return (struct holder **)(uintptr_t)&allocator
		->buckets[hash_bytes(&hash, sizeof(hash)) & (BUCKETS - 1)];
}

static bool has_key(const struct holder *holder, const struct owner_key *key)
{
	return strcmp(holder->cid, key->cid) == 0 && strcmp(holder->ifname, key->ifname) == 0 &&
	       strcmp(holder->name, key->name) == 0;
}

struct holder *allocator_find(const struct allocator *allocator, const struct owner_key *key)
{
	struct holder *holder = *bucket_of(allocator, key);

	while (holder && !has_key(holder, key))
		holder = holder->next;
	return holder;
}

// ---- holders ----

static char *copy_of(const char *text)
{
	return xstrdup(text ? text : "");
}

// Its key, and what else is known of it.
static void holder_fill(struct holder *holder, const struct allocator_request *request)
{
	holder->name = copy_of(request->key.name);
	holder->cid = copy_of(request->key.cid);
	holder->ifname = copy_of(request->key.ifname);
	holder->ns = copy_of(request->ns);
	holder->pod = copy_of(request->pod);
	holder->uid = copy_of(request->uid);
	holder->netns = copy_of(request->netns);
	holder->host_if = copy_of(request->host_if);
	holder->netns_inode = request->netns_inode;
	holder->since_s = request->since_s;
}

static void holder_link(struct allocator *allocator, struct holder *holder)
{
	const struct owner_key key = holder_key(holder);
	struct holder **bucket = bucket_of(allocator, &key);

	holder->next = *bucket;
	*bucket = holder;
}

static struct holder *holder_new(struct allocator *allocator, const struct allocator_request *request)
{
	struct holder *holder = xnew(struct holder);

	holder_fill(holder, request);
	holder->keep = request->sticky ? ADDRESS_STICKY : ADDRESS_USED;
	holder_link(allocator, holder);
	return holder;
}

static void holder_clear(struct holder *holder)
{
	free(holder->name);
	free(holder->cid);
	free(holder->ifname);
	free(holder->ns);
	free(holder->pod);
	free(holder->uid);
	free(holder->netns);
	free(holder->host_if);
}

static void holder_unlink(struct allocator *allocator, struct holder *holder)
{
	const struct owner_key key = holder_key(holder);
	struct holder **link = bucket_of(allocator, &key);

	while (*link != holder)
		link = &(*link)->next;
	*link = holder->next;
}

static void holder_free(struct holder *holder)
{
	holder_clear(holder);
	free(holder);
}

static void holder_remove(struct allocator *allocator, struct holder *holder)
{
	holder_unlink(allocator, holder);
	holder_free(holder);
}

void allocator_each_holder(struct allocator *allocator, allocator_holder_fn *fn, void *arg)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct holder *next;

		for (struct holder *holder = allocator->buckets[i]; holder; holder = next) {
			next = holder->next;
			fn(arg, holder);
		}
	}
}

// ---- slots ----

struct slot *allocator_slot(const struct allocator *allocator, const struct ip *ip)
{
	return slot_range_find(&allocator->ranges[family_of(ip)], ip);
}

struct slot *allocator_slot_of(const struct allocator *allocator, const struct holder *holder,
			       enum family family)
{
	const struct ip *ip = &holder->ips[family];

	return ip_is_set(ip) ? allocator_slot(allocator, ip) : NULL;
}

void allocator_each_slot(struct allocator *allocator, allocator_slot_fn *fn, void *arg)
{
	for (int family = 0; family < FAMILY_COUNT; family++) {
		struct slot_range *range = &allocator->ranges[family];

		for (uint32_t i = range->first; i < range->end; i++)
			fn(arg, &range->slots[i]);
	}
}

static struct slot_range *range_of(struct allocator *allocator, const struct slot *slot)
{
	return &allocator->ranges[family_of(&slot->ip)];
}

// Out of the queue if it stood there, and without a record.
static void slot_take(struct allocator *allocator, struct slot *slot, enum slot_state state)
{
	if (slot->state == SLOT_FREE || slot->state == SLOT_RESTING)
		slot_range_dequeue(range_of(allocator, slot), slot);
	slot_drop_record(slot);
	slot->holder = NULL;
	slot_set_state(range_of(allocator, slot), slot, state);
}

static void slot_rest(struct allocator *allocator, struct slot *slot, uint64_t now_ms)
{
	slot_set_state(range_of(allocator, slot), slot, SLOT_RESTING);
	slot->released_ms = now_ms;
	slot_range_enqueue(range_of(allocator, slot), slot);
}

static void give(struct allocator *allocator, struct holder *holder, struct slot *slot)
{
	const struct owner_key key = holder_key(holder);

	// What an operator or a pod keeps goes back to it when the container goes.
	if (slot->state == SLOT_KEPT && slot->record)
		holder->keep = slot->record->state;
	slot_take(allocator, slot, SLOT_USED);
	slot->holder = holder;
	slot->last_key = owner_key_hash(&key);
	holder->ips[family_of(&slot->ip)] = slot->ip;
	allocator_want(allocator, slot, WANT_PUT);
}

// ---- what the store is to be told ----

void allocator_want(struct allocator *allocator, struct slot *slot, enum slot_want want)
{
	slot->want = want;
	if (want == WANT_NOTHING || slot->is_listed)
		return;
	slot->is_listed = true;
	slot->next_listed = NULL;
	if (allocator->wanting_last)
		allocator->wanting_last->next_listed = slot;
	else
		allocator->wanting_first = slot;
	allocator->wanting_last = slot;
}

static struct slot *first_listed(struct allocator *allocator)
{
	struct slot *slot = allocator->wanting_first;

	if (!slot)
		return NULL;
	allocator->wanting_first = slot->next_listed;
	if (!allocator->wanting_first)
		allocator->wanting_last = NULL;
	slot->is_listed = false;
	slot->next_listed = NULL;
	return slot;
}

// Who writes a busy slot puts it back when he is done, if it wants something still.
struct slot *allocator_next_wanting(struct allocator *allocator)
{
	struct slot *slot;

	while ((slot = first_listed(allocator)))
		if (!slot->is_busy && slot->want != WANT_NOTHING)
			return slot;
	return NULL;
}

bool allocator_has_wanting(const struct allocator *allocator)
{
	return allocator->wanting_first != NULL;
}

// ---- choosing ----

static bool is_rested(const struct allocator *allocator, const struct slot *slot, uint64_t now_ms)
{
	return slot->want == WANT_NOTHING && !slot->is_busy &&
	       now_ms - slot->released_ms >= allocator->quarantine_ms;
}

static bool is_free(const struct allocator *allocator, const struct slot *slot, uint64_t now_ms)
{
	return slot->state == SLOT_FREE ||
	       (slot->state == SLOT_RESTING && is_rested(allocator, slot, now_ms));
}

// Is it kept for who asks?
static bool is_kept_for(const struct slot *slot, const struct allocator_request *request)
{
	const struct address_record *record = slot->record;

	if (slot->state != SLOT_KEPT || !record || !*record->pod || !request->pod ||
	    strcmp(record->pod, request->pod) != 0 ||
	    strcmp(record->ns, request->ns ? request->ns : "") != 0)
		return false;
	return !*record->ifname || strcmp(record->ifname, request->key.ifname) == 0;
}

static const char *range_text(const struct slot_range *range, char *ret, size_t size)
{
	char first[IP_STR_MAX], last[IP_STR_MAX];

	if (range->first >= range->end)
		return "none";
	(void)text_format(ret, size, "%s-%s", ip_str(&range->slots[range->first].ip, first),
			  ip_str(&range->slots[range->end - 1].ip, last));
	return ret;
}

#define RANGE_TEXT_MAX (2 * IP_STR_MAX + 1)

static void tell_whose(struct refusal *why, const struct slot *slot)
{
	const struct holder *holder = slot->holder;
	const struct address_record *record = slot->record;

	if (holder)
		(void)text_format(why->details, sizeof(why->details),
				  "%s%s%s container %.64s interface %s of %s", holder->ns,
				  *holder->pod ? "/" : "", holder->pod, holder->cid, holder->ifname,
				  holder->name);
	else if (record)
		(void)text_format(why->details, sizeof(why->details),
				  "%s: %s%s%s container %.64s on host %s",
				  address_state_names[record->state], record->ns,
				  *record->pod ? "/" : "", record->pod,
				  *record->cid ? record->cid : "none",
				  *record->node ? record->node : "none");
	else if (slot->state == SLOT_RESTING)
		(void)text_copy(why->details, sizeof(why->details), "was released just now");
	text_sanitize(why->details);
}

static int refuse_taken(const struct slot_range *range, const struct ip *ip,
			const struct slot *slot, struct refusal *why)
{
	char text[IP_STR_MAX], span[RANGE_TEXT_MAX];

	(void)refuse(why, REFUSED_TAKEN, "requested IP address %s is not available in range set %s",
		     ip_str(ip, text), range_text(range, span, sizeof(span)));
	if (slot)
		tell_whose(why, slot);
	else
		(void)text_copy(why->details, sizeof(why->details),
				"containers of this host do not get it");
	return -1;
}

static int refuse_full(const struct allocator *allocator, enum family family, uint64_t now_ms,
		       struct refusal *why)
{
	struct allocator_counts counts;
	char span[RANGE_TEXT_MAX];

	allocator_count(allocator, family, now_ms, &counts);
	return refuse(why, REFUSED_FULL,
		      "failed to allocate for range 0: no IP addresses available in range set: %s (used %zu, "
		      "quarantined %zu, reserved %zu)",
		      range_text(&allocator->ranges[family], span, sizeof(span)), counts.used,
		      counts.resting, counts.kept + counts.foreign);
}

static int choose_requested(struct allocator *allocator, const struct allocator_request *request,
			    enum family family, uint64_t now_ms, struct slot **ret,
			    struct refusal *why)
{
	const struct ip *ip = &request->ips[family];
	struct slot *slot = allocator_slot(allocator, ip);

	// A container that is made anew under its own id may have its address at once.
	if (slot && (is_free(allocator, slot, now_ms) || is_kept_for(slot, request) ||
		     (slot->state == SLOT_RESTING &&
		      (request->skips_rest || slot->last_key == owner_key_hash(&request->key))))) {
		*ret = slot;
		return 0;
	}
	return refuse_taken(&allocator->ranges[family], ip, slot, why);
}

static struct slot *choose_kept(struct slot_range *range, const struct allocator_request *request)
{
	if (!request->pod || !*request->pod || range->kept == 0)
		return NULL;
	for (uint32_t i = range->first; i < range->end; i++)
		if (is_kept_for(&range->slots[i], request))
			return &range->slots[i];
	return NULL;
}

static struct slot *choose_next(struct allocator *allocator, struct slot_range *range, uint64_t now_ms)
{
	struct slot *slot = slot_range_first(range);

	while (slot && !is_free(allocator, slot, now_ms))
		slot = slot_range_after(range, slot);
	return slot;
}

static int choose(struct allocator *allocator, const struct allocator_request *request,
		  enum family family, uint64_t now_ms, struct slot **ret, struct refusal *why)
{
	struct slot_range *range = &allocator->ranges[family];
	struct slot *slot;

	if (!range->slots)
		return ip_is_set(&request->ips[family])
			       ? refuse(why, REFUSED_TAKEN,
					"requested IP address is of a family that this network has not")
			       : 0;
	if (ip_is_set(&request->ips[family]))
		return choose_requested(allocator, request, family, now_ms, ret, why);
	slot = choose_kept(range, request);
	if (!slot)
		slot = choose_next(allocator, range, now_ms);
	if (!slot)
		return refuse_full(allocator, family, now_ms, why);
	*ret = slot;
	return 0;
}

int allocator_add(struct allocator *allocator, const struct allocator_request *request,
		  uint64_t now_ms, struct holder **ret, struct refusal *why)
{
	struct slot *slots[FAMILY_COUNT] = { 0 };
	struct holder *holder = allocator_find(allocator, &request->key);

	if (holder) {
		*ret = holder;
		return 1;
	}
	if (!allocator->ranges[FAMILY_V4].slots && !allocator->ranges[FAMILY_V6].slots)
		return refuse(why, REFUSED_LATER, "this host has no subnet yet");
	for (int family = 0; family < FAMILY_COUNT; family++)
		if (choose(allocator, request, (enum family)family, now_ms, &slots[family], why) < 0)
			return -1;
	holder = holder_new(allocator, request);
	for (int family = 0; family < FAMILY_COUNT; family++)
		if (slots[family])
			give(allocator, holder, slots[family]);
	*ret = holder;
	return 0;
}

int allocator_pass_over(struct allocator *allocator, struct holder *holder, struct slot *slot,
			struct address_record *record, uint64_t now_ms, struct refusal *why)
{
	enum family family = family_of(&slot->ip);
	const struct allocator_request request = { .key = holder_key(holder),
						   .ns = holder->ns,
						   .pod = holder->pod };
	struct slot *other = NULL;
	bool is_kept = record && record->state != ADDRESS_USED;

	slot_take(allocator, slot, is_kept ? SLOT_KEPT : SLOT_FOREIGN);
	slot->want = WANT_NOTHING;
	slot->record = record;
	holder->ips[family] = (struct ip){ 0 };
	if (choose(allocator, &request, family, now_ms, &other, why) < 0)
		return -1;
	give(allocator, holder, other);
	return 0;
}

bool allocator_rename(struct allocator *allocator, struct holder *holder,
		      const struct allocator_request *request)
{
	if (allocator_find(allocator, &request->key))
		return false;
	holder_unlink(allocator, holder);
	holder_clear(holder);
	holder_fill(holder, request);
	holder->host_if_seen = false;
	holder->missed_ms = 0;
	holder_link(allocator, holder);
	for (int family = 0; family < FAMILY_COUNT; family++) {
		struct slot *slot = allocator_slot_of(allocator, holder, (enum family)family);

		if (!slot)
			continue;
		slot->last_key = owner_key_hash(&request->key);
		slot->is_stale = slot->is_busy;
		allocator_want(allocator, slot, WANT_PUT);
	}
	return true;
}

// ---- releasing, restoring ----

static struct address_record *kept_record(const struct holder *holder, const struct slot *slot,
					  const struct allocator *allocator)
{
	const struct ipnet *net = slot->ip.family == AF_INET6 ? &allocator->subnet.v6
							      : &allocator->subnet.v4;
	struct address_record *record = xnew(struct address_record);

	record->ip = slot->ip;
	record->len = net->len;
	record->net = xstrdup(holder->name);
	record->cid = xstrdup("");
	// A reservation is of the pod, whatever its interface.
	record->ifname = xstrdup(holder->keep == ADDRESS_STICKY ? holder->ifname : "");
	record->ns = xstrdup(holder->ns);
	record->pod = xstrdup(holder->pod);
	record->uid = xstrdup("");
	record->node = xstrdup("");
	record->boot = xstrdup("");
	record->since_s = holder->since_s;
	record->state = holder->keep;
	return record;
}

static void slot_release(struct allocator *allocator, struct holder *holder, struct slot *slot,
			 uint64_t now_ms)
{
	struct address_record *record =
		holder->keep == ADDRESS_USED ? NULL : kept_record(holder, slot, allocator);

	slot->holder = NULL;
	if (!record) {
		slot_rest(allocator, slot, now_ms);
		allocator_want(allocator, slot, WANT_DELETE);
		return;
	}
	slot_set_state(range_of(allocator, slot), slot, SLOT_KEPT);
	slot->record = record;
	allocator_want(allocator, slot, WANT_PUT);
}

void allocator_release(struct allocator *allocator, struct holder *holder, uint64_t now_ms)
{
	for (int family = 0; family < FAMILY_COUNT; family++) {
		struct slot *slot = allocator_slot_of(allocator, holder, (enum family)family);

		if (slot)
			slot_release(allocator, holder, slot, now_ms);
	}
	holder_remove(allocator, holder);
}

struct holder *allocator_restore(struct allocator *allocator, const struct allocator_request *request,
				 const struct ip ips[FAMILY_COUNT], enum address_state keep)
{
	struct slot *slots[FAMILY_COUNT] = { 0 };
	struct holder *holder = allocator_find(allocator, &request->key);
	bool has_one = false;

	for (int family = 0; family < FAMILY_COUNT; family++) {
		if (!ip_is_set(&ips[family]))
			continue;
		slots[family] = allocator_slot(allocator, &ips[family]);
		if (!slots[family] || slots[family]->state == SLOT_USED ||
		    (holder && ip_is_set(&holder->ips[family])))
			return NULL;
		has_one = true;
	}
	if (!has_one)
		return NULL;
	if (!holder)
		holder = holder_new(allocator, request);
	for (int family = 0; family < FAMILY_COUNT; family++) {
		if (!slots[family])
			continue;
		give(allocator, holder, slots[family]);
		slots[family]->want = WANT_NOTHING;
	}
	holder->keep = keep;
	return holder;
}

bool allocator_restore_resting(struct allocator *allocator, const struct ip *ip, uint64_t key_hash,
			       uint64_t released_ms, bool has_record)
{
	struct slot *slot = allocator_slot(allocator, ip);

	if (!slot || slot->state != SLOT_FREE)
		return false;
	slot_take(allocator, slot, SLOT_RESTING);
	slot_rest(allocator, slot, released_ms);
	slot->last_key = key_hash;
	if (has_record)
		allocator_want(allocator, slot, WANT_DELETE);
	return true;
}

static void set_recorded(struct allocator *allocator, struct slot *slot, enum slot_state state,
			 struct address_record *record, int64_t revision)
{
	assert(slot->state != SLOT_USED);
	slot_take(allocator, slot, state);
	slot->record = record;
	slot->revision = revision;
	slot->want = WANT_NOTHING;
}

void allocator_keep(struct allocator *allocator, struct slot *slot, struct address_record *record,
		    int64_t revision)
{
	set_recorded(allocator, slot, SLOT_KEPT, record, revision);
}

void allocator_set_foreign(struct allocator *allocator, struct slot *slot,
			   struct address_record *record, int64_t revision)
{
	set_recorded(allocator, slot, SLOT_FOREIGN, record, revision);
}

void allocator_set_free(struct allocator *allocator, struct slot *slot, uint64_t now_ms)
{
	if (slot->state != SLOT_KEPT && slot->state != SLOT_FOREIGN)
		return;
	slot_drop_record(slot);
	slot->revision = 0;
	slot->want = WANT_NOTHING;
	slot_rest(allocator, slot, now_ms);
}

// ---- life ----

struct allocator *allocator_new(uint64_t quarantine_ms)
{
	struct allocator *allocator = xnew(struct allocator);

	allocator->quarantine_ms = quarantine_ms;
	return allocator;
}

static void forget_all(struct allocator *allocator)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (allocator->buckets[i]) {
			struct holder *holder = allocator->buckets[i];

			allocator->buckets[i] = holder->next;
			holder_free(holder);
		}
	for (int family = 0; family < FAMILY_COUNT; family++)
		slot_range_close(&allocator->ranges[family]);
	allocator->wanting_first = allocator->wanting_last = NULL;
}

void allocator_set_subnet(struct allocator *allocator, const struct subnet *subnet)
{
	if (subnet_equal(subnet, &allocator->subnet))
		return;
	forget_all(allocator);
	allocator->subnet = *subnet;
	slot_range_open(&allocator->ranges[FAMILY_V4], &subnet->v4, ALLOCATOR_V4_MAX);
	slot_range_open(&allocator->ranges[FAMILY_V6], &subnet->v6, ALLOCATOR_V6_MAX);
}

const struct subnet *allocator_subnet(const struct allocator *allocator)
{
	return &allocator->subnet;
}

struct ip allocator_gateway(const struct allocator *allocator, enum family family)
{
	const struct ipnet *net = family == FAMILY_V6 ? &allocator->subnet.v6 : &allocator->subnet.v4;

	return ipnet_is_set(net) ? ip_add(&net->addr, 1) : (struct ip){ 0 };
}

struct allocator *allocator_free(struct allocator *allocator)
{
	if (!allocator)
		return NULL;
	forget_all(allocator);
	free(allocator);
	return NULL;
}

void allocator_count(const struct allocator *allocator, enum family family, uint64_t now_ms,
		     struct allocator_counts *ret)
{
	const struct slot_range *range = &allocator->ranges[family];

	*ret = (struct allocator_counts){ 0 };
	for (uint32_t i = range->first; i < range->end; i++) {
		const struct slot *slot = &range->slots[i];

		ret->total++;
		ret->free += is_free(allocator, slot, now_ms);
		ret->used += slot->state == SLOT_USED;
		ret->resting += slot->state == SLOT_RESTING && !is_rested(allocator, slot, now_ms);
		ret->kept += slot->state == SLOT_KEPT;
		ret->foreign += slot->state == SLOT_FOREIGN;
		ret->unwritten += slot->want != WANT_NOTHING || slot->is_busy;
	}
}
