// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what is known of addresses after a start: the journal's word, and the records that the store has of the own subnets.
//
// DOC: a record in a subnet of ours
//
//   sticky, reserved                            -> KEPT
//   of a container that the journal knows       -> its revision is remembered
//   of one that it does not know, of this boot  -> USED: in doubt it is there (first reading only)
//   of this host, of an earlier boot            -> its container is gone: deleted; one that was sticky is kept
//   of another host                             -> it has no lease of the subnet: deleted, and told
//   unreadable                                  -> left alone, and not given to containers
// It is read again from time to time, for what operators did meanwhile.
#include "ipam/ipam_internal.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// ---- the journal's word ----

static void restore_use(struct ipam *ipam, const struct journal_use *use)
{
	const struct allocator_request request = {
		.key = { use->name, use->cid, use->ifname },
		.ns = use->ns,
		.pod = use->pod,
		.uid = use->uid,
		.netns = use->netns,
		.host_if = use->host_if,
		.netns_inode = use->netns_inode,
		.since_s = use->since_s,
	};

	if (!allocator_restore(ipam->allocator, &request, use->ips, use->keep))
		log_warn("%s: container %.64s has an address of a former subnet", ipam->config.who,
			 use->cid);
}

static int by_time(const void *a, const void *b)
{
	const struct journal_free *x = *(const struct journal_free *const *)a;
	const struct journal_free *y = *(const struct journal_free *const *)b;

	return x->at_ms < y->at_ms ? -1 : x->at_ms > y->at_ms;
}

// In the order of their release, as the queue has them.
static void restore_frees(struct ipam *ipam)
{
	_cleanup_free_ struct journal_free **list = NULL;
	size_t count = 0;

	for (const struct journal_free *entry = ipam->content.frees; entry; entry = entry->next)
		count++;
	if (count == 0)
		return;
	list = xnew0_array(struct journal_free *, count);
	count = 0;
	for (struct journal_free *entry = ipam->content.frees; entry; entry = entry->next)
		list[count++] = entry;
	qsort(list, count, sizeof(*list), by_time);
	for (size_t i = 0; i < count; i++)
		(void)allocator_restore_resting(ipam->allocator, &list[i]->ip, list[i]->key_hash,
						list[i]->at_ms, !list[i]->is_done);
}

static void want_put(void *arg, struct slot *slot)
{
	struct ipam *ipam = arg;

	if (slot->state == SLOT_USED)
		allocator_want(ipam->allocator, slot, WANT_PUT);
}

void rebuild_restore(struct ipam *ipam)
{
	for (const struct journal_use *use = ipam->content.uses; use; use = use->next)
		restore_use(ipam, use);
	restore_frees(ipam);
	// Whether the store knows them is seen when its records are read.
	allocator_each_slot(ipam->allocator, want_put, ipam);
	journal_content_free(&ipam->content);
}

// ---- the store's word ----

static struct address_record *copy_taken(struct address_record *record)
{
	struct address_record *copy = xnew(struct address_record);

	*copy = *record;
	*record = (struct address_record){ 0 };
	return copy;
}

static void adopt(struct ipam *ipam, struct slot *slot, const struct address_record *record,
		  int64_t revision)
{
	const struct allocator_request request = {
		.key = { record->net, record->cid, record->ifname },
		.ns = record->ns,
		.pod = record->pod,
		.uid = record->uid,
		.since_s = record->since_s,
	};
	struct ip ips[FAMILY_COUNT] = { 0 };
	struct holder *holder;
	struct err e;

	ips[family_of(&slot->ip)] = slot->ip;
	holder = allocator_restore(ipam->allocator, &request, ips, record->keep);
	if (!holder)
		return;
	slot->revision = revision;
	if (!journal_holder(ipam, holder, &e))
		log_warn("%s: journal of addresses: %s", ipam->config.who, err_msg(&e));
}

static void leave_behind(struct ipam *ipam, struct slot *slot, struct address_record *record,
			 int64_t revision)
{
	if (record->keep != ADDRESS_USED) {
		record->state = record->keep;
		record->keep = ADDRESS_USED;
		*record->cid = '\0';
		allocator_keep(ipam->allocator, slot, copy_taken(record), revision);
		allocator_want(ipam->allocator, slot, WANT_PUT);
		return;
	}
	allocator_set_foreign(ipam->allocator, slot, copy_taken(record), revision);
	allocator_want(ipam->allocator, slot, WANT_DELETE);
}

static void take_used(struct ipam *ipam, struct slot *slot, struct address_record *record,
		      int64_t revision)
{
	bool is_own = ipam_is_own(ipam, record);
	char text[IP_STR_MAX];

	if (is_own && strcmp(record->boot, ipam->config.boot) == 0) {
		if (ipam->is_first_reading)
			adopt(ipam, slot, record, revision);
		return;
	}
	// What was read may be older than what was written since.
	if (!is_own)
		log_warn("%s: address %s has a record of host %.64s, container %.64s, whose lease of the subnet is over: deleting it",
			 ipam->config.who, ip_str(&slot->ip, text), record->node, record->cid);
	leave_behind(ipam, slot, record, revision);
}

static bool is_of_holder(const struct slot *slot, const struct address_record *record)
{
	const struct owner_key key = { record->net, record->cid, record->ifname };

	return record->state == ADDRESS_USED && owner_key_hash(&key) == slot->last_key;
}

static void take_readable(struct ipam *ipam, struct slot *slot, struct address_record *record,
			  int64_t revision)
{
	if (slot->state == SLOT_USED) {
		if (!is_of_holder(slot, record) || !ipam_is_own(ipam, record)) {
			// Writing it finds out what to do with what is there. A reservation stays beside it.
			if (record->state == ADDRESS_USED)
				allocator_want(ipam->allocator, slot, WANT_PUT);
			return;
		}
		slot->revision = revision;
		slot->want = WANT_NOTHING;
	} else if (slot->state == SLOT_RESTING && slot->want == WANT_DELETE &&
		   is_of_holder(slot, record)) {
		slot->revision = revision;
	} else if (record->state != ADDRESS_USED) {
		allocator_keep(ipam->allocator, slot, copy_taken(record), revision);
	} else {
		take_used(ipam, slot, record, revision);
	}
}

static void on_record(void *arg, const struct kv_pair *pair)
{
	struct ipam *ipam = arg;
	_cleanup_free_ char *head = xasprintf("%s/" ADDRESS_PART, ipam->config.prefix);
	_cleanup_record_ struct address_record record = { 0 };
	size_t head_len = strlen(head);
	struct ipnet net;
	struct slot *slot;
	struct ip ip;
	struct err e;

	if (pair->raw_key_len < head_len || memcmp(pair->raw_key, head, head_len) != 0 ||
	    address_key_parse(pair->raw_key + head_len, pair->raw_key_len - head_len, &net, &ip) < 0) {
		log_rl(LOG_LEVEL_WARN, "%s: key %s: is no address of its subnet", ipam->config.who,
		       pair->key);
		return;
	}
	slot = allocator_slot(ipam->allocator, &ip);
	if (!slot || slot->is_busy || !ipnet_equal(&net, ipam_net(ipam, family_of(&ip))))
		return;
	slot->is_seen = true;
	if (address_record_parse(pair->value, pair->value_len, &record, &e) < 0) {
		log_rl(LOG_LEVEL_WARN, "%s: key %s: %s", ipam->config.who, pair->key, err_msg(&e));
		if (slot->state == SLOT_FREE ||
		    (slot->state == SLOT_RESTING && slot->want == WANT_NOTHING))
			allocator_set_foreign(ipam->allocator, slot, NULL, pair->mod_revision);
		return;
	}
	// Read before it was last written.
	if (slot->revision > pair->mod_revision)
		return;
	take_readable(ipam, slot, &record, pair->mod_revision);
}

struct sweep {
	struct ipam *ipam;
	int64_t revision;
};

static void sweep_slot(void *arg, struct slot *slot)
{
	const struct sweep *sweep = arg;
	struct allocator *allocator = sweep->ipam->allocator;

	if (slot->is_seen || slot->is_busy || slot->want != WANT_NOTHING ||
	    slot->revision > sweep->revision)
		return;
	if (slot->state == SLOT_KEPT || slot->state == SLOT_FOREIGN) {
		allocator_set_free(allocator, slot, loop_boottime_ms());
	} else if (slot->state == SLOT_USED && slot->revision != 0) {
		// Somebody deleted it.
		slot->revision = 0;
		allocator_want(allocator, slot, WANT_PUT);
	}
}

static void clear_seen(void *arg, struct slot *slot)
{
	(void)arg;
	slot->is_seen = false;
}

static void become_ready(struct ipam *ipam)
{
	if (ipam->is_ready)
		return;
	ipam->is_ready = true;
	if (ipam->on_ready)
		ipam->on_ready(ipam->on_ready_arg);
}

static void read_family(struct ipam *ipam);

static void read_failed(struct ipam *ipam, const struct err *e)
{
	log_rl(LOG_LEVEL_WARN, "%s: the records of its addresses are not read: %s",
	       ipam->config.who, err_msg(e));
	timer_start(ipam->read_timer, backoff_next_ms(&ipam->read_backoff));
	become_ready(ipam); // with what the journal says
}

static void on_family_read(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct ipam *ipam = arg;
	struct sweep sweep = { .ipam = ipam };

	if (ipam->reads_again) {
		ipam->is_reading = false;
		ipam->reads_again = false;
		rebuild_start(ipam);
		return;
	}
	if (r < 0) {
		ipam->is_reading = false;
		read_failed(ipam, e);
		return;
	}
	if (ipam->read_revision == 0)
		ipam->read_revision = header->revision;
	if (ipam->reading == FAMILY_V4 && ipnet_is_set(ipam_net(ipam, FAMILY_V6))) {
		ipam->reading = FAMILY_V6;
		read_family(ipam);
		return;
	}
	ipam->is_reading = false;
	sweep.revision = ipam->read_revision;
	allocator_each_slot(ipam->allocator, sweep_slot, &sweep);
	ipam->is_first_reading = false;
	ipam->is_read = true;
	ipam->read_backoff =
		(struct backoff){ .base_ms = READ_PAUSE_BASE_MS, .max_ms = READ_PAUSE_MAX_MS };
	if (ipam->session != 0)
		session_need(ipam);
	writes_soon(ipam);
	become_ready(ipam);
}

static void read_family(struct ipam *ipam)
{
	_cleanup_free_ char *prefix =
		address_prefix(ipam->config.prefix, ipam_net(ipam, ipam->reading));

	kv_range(ipam->config.kv, prefix, true, on_record, on_family_read, ipam);
}

void rebuild_start(struct ipam *ipam)
{
	if (!ipam->config.has_records) {
		become_ready(ipam);
		return;
	}
	if (ipam->is_reading)
		return;
	ipam->is_reading = true;
	ipam->reading = ipnet_is_set(ipam_net(ipam, FAMILY_V4)) ? FAMILY_V4 : FAMILY_V6;
	ipam->read_revision = 0;
	allocator_each_slot(ipam->allocator, clear_seen, NULL);
	read_family(ipam);
}

void rebuild_forget(struct ipam *ipam)
{
	journal_content_free(&ipam->content);
}
