// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what follows when the store has something else than a write expected.
//
// DOC: what is there instead
//
//   of the lease   ours, written anew              -> the same again, with the revision that it has now
//                  gone, or another's              -> the lease is lost: ADD is refused, the record waits until it is regained
//   of an address  nothing                         -> the same again: what was there has gone
//     (put)        our container's record          -> an earlier sending got through: done
//                  kept for this very pod          -> written over
//                  kept for others                 -> passed over, another address
//                  this host's, of somebody else   -> left from before: written over
//                  another host's                  -> passed over, and deleted, for the subnet is ours
//                  unreadable                      -> passed over
//     (delete)     our container's record          -> the same again, with the revision that it has now
//                  anything else                   -> done: what was ours is gone
#include "ipam/record_write.h"

#include "core/log.h"
#include "core/mem.h"

#include <string.h>

static bool is_of_last_holder(const struct record_found *found, const struct slot *slot)
{
	const struct owner_key key = { found->record.net, found->record.cid, found->record.ifname };

	return found->is_readable && found->record.state == ADDRESS_USED &&
	       owner_key_hash(&key) == slot->last_key;
}

static bool is_kept_for_holder(const struct record_found *found, const struct slot *slot)
{
	return slot->holder && found->is_readable && found->record.state != ADDRESS_USED &&
	       *found->record.pod && strcmp(found->record.pod, slot->holder->pod) == 0 &&
	       strcmp(found->record.ns, slot->holder->ns) == 0;
}

static struct address_record *take_record(struct record_found *found)
{
	struct address_record *record;

	if (!found->is_readable)
		return NULL;
	record = xnew(struct address_record);
	*record = found->record;
	found->record = (struct address_record){ 0 };
	found->is_readable = false;
	return record;
}

// ---- the lease ----

static void lease_lost(struct record_write *write)
{
	struct ipam *ipam = write->ipam;
	struct refusal why;

	log_rl(LOG_LEVEL_ERROR, "%s: an address is not written: the lease of its subnet is %s",
	       ipam->config.who, write->fence_is_there ? "another host's" : "gone");
	(void)refuse(&why, REFUSED_LATER, "subnet lease lost");
	for (size_t i = 0; i < write->count; i++) {
		struct holder *holder = write->slots[i]->holder;

		if (holder)
			adds_end(ipam, holder, &why);
	}
	// The fabric hears of it too, and says when it is regained.
	if (!timer_is_pending(ipam->write_timer))
		timer_start(ipam->write_timer, backoff_next_ms(&ipam->write_backoff));
}

// False: the lease is as we know it, so that it was an address.
static bool settle_lease(struct record_write *write)
{
	struct ipam *ipam = write->ipam;

	if (!write->fence_key)
		return false;
	if (write->fence_is_there && write->fence_revision == write->fence_compared)
		return false;
	if (write->fence_is_there && write->fence_is_ours)
		ipam->fence_revision = write->fence_revision;
	else if (ipam->fence_revision == write->fence_compared)
		lease_lost(write);
	return true;
}

// ---- an address that is to be written ----

static void pass_over(struct record_write *write, size_t i)
{
	struct ipam *ipam = write->ipam;
	struct slot *slot = write->slots[i];
	struct record_found *found = &write->found[i];
	struct holder *holder = slot->holder;
	bool is_foreign = found->is_readable && found->record.state == ADDRESS_USED;
	char text[IP_STR_MAX];
	struct refusal why;
	struct err e;
	int r;

	if (is_foreign)
		log_error("%s: address %s has a record of host %.64s, container %.64s, though the subnet is ours",
			  ipam->config.who, ip_str(&slot->ip, text), found->record.node,
			  found->record.cid);
	else
		log_info("%s: address %s is %s", ipam->config.who, ip_str(&slot->ip, text),
			 found->is_readable ? "kept for others"
					    : "taken by a record that cannot be read");
	r = allocator_pass_over(ipam->allocator, holder, slot, take_record(found),
				loop_boottime_ms(), &why);
	slot->revision = found->revision;
	if (is_foreign)
		slot->want = WANT_DELETE;
	if (r == 0 && !journal_holder(ipam, holder, &e))
		r = refuse(&why, REFUSED_LATER, "%s", err_msg(&e));
	if (r < 0)
		adds_end(ipam, holder, &why);
}

// Has a container waited for it that may get another one? What a container uses stays with it.
static bool may_be_passed_over(const struct ipam *ipam, const struct slot *slot)
{
	for (const struct waiting_add *add = ipam->adds; add; add = add->next)
		if (add->holder == slot->holder && add->is_first)
			return true;
	return false;
}

static bool was_asked_for(const struct ipam *ipam, const struct slot *slot)
{
	for (const struct waiting_add *add = ipam->adds; add; add = add->next)
		if (add->holder == slot->holder &&
		    ip_equal(&add->asked[family_of(&slot->ip)], &slot->ip))
			return true;
	return false;
}

static void refuse_asked(struct record_write *write, size_t i)
{
	struct ipam *ipam = write->ipam;
	struct slot *slot = write->slots[i];
	const struct address_record *record = &write->found[i].record;
	char text[IP_STR_MAX];
	struct refusal why;

	(void)refuse(&why, REFUSED_TAKEN, "requested IP address %s is not available in range set %s",
		     ip_str(&slot->ip, text), "of this host");
	if (write->found[i].is_readable)
		(void)text_format(why.details, sizeof(why.details),
				  "%s: %s%s%s container %.64s on host %s",
				  address_state_names[record->state], record->ns,
				  *record->pod ? "/" : "", record->pod,
				  *record->cid ? record->cid : "none",
				  *record->node ? record->node : "none");
	adds_end(ipam, slot->holder, &why);
	if (slot->state != SLOT_RESTING)
		return;
	// Nothing of ours is in the store.
	slot->want = WANT_NOTHING;
	if (write->found[i].is_readable && record->state != ADDRESS_USED)
		allocator_keep(ipam->allocator, slot, take_record(&write->found[i]),
			       write->found[i].revision);
}

static void settle_taken(struct record_write *write, size_t i)
{
	struct ipam *ipam = write->ipam;
	struct slot *slot = write->slots[i];
	const struct record_found *found = &write->found[i];
	char text[IP_STR_MAX];

	if (was_asked_for(ipam, slot)) {
		refuse_asked(write, i);
	} else if (may_be_passed_over(ipam, slot)) {
		pass_over(write, i);
	} else if (found->is_readable && found->record.state == ADDRESS_USED) {
		log_error("%s: address %s is used here and has a record of host %.64s, which is written over: the subnet is ours",
			  ipam->config.who, ip_str(&slot->ip, text), found->record.node);
		slot->revision = found->revision;
	} else {
		log_error("%s: address %s is used here, though it was reserved meanwhile: its record stays as it is",
			  ipam->config.who, ip_str(&slot->ip, text));
		slot->want = WANT_NOTHING;
	}
}

static void settle_put(struct record_write *write, size_t i)
{
	struct ipam *ipam = write->ipam;
	struct slot *slot = write->slots[i];
	struct record_found *found = &write->found[i];

	if (slot->want != WANT_PUT) {
		// It was released meanwhile: what is there is found when it is deleted.
		slot->revision = 0;
	} else if (!found->is_there) {
		slot->revision = 0;
	} else if (found->revision == slot->revision) {
		return; // it was another key
	} else if (slot->state != SLOT_USED || ipam_is_own(ipam, &found->record)) {
		bool is_written = found->text && write->values[i] &&
				  strcmp(found->text, write->values[i]) == 0;

		slot->revision = found->revision;
		slot->want = is_written ? WANT_NOTHING : WANT_PUT;
	} else if (is_kept_for_holder(found, slot)) {
		slot->holder->keep = found->record.state;
		slot->revision = found->revision;
	} else {
		settle_taken(write, i);
	}
}

// ---- one that is to be deleted ----

static void settle_delete(struct record_write *write, size_t i)
{
	struct ipam *ipam = write->ipam;
	struct slot *slot = write->slots[i];
	struct record_found *found = &write->found[i];

	if (slot->want != WANT_DELETE) {
		slot->revision = 0;
	} else if (found->is_there && is_of_last_holder(found, slot)) {
		slot->revision = found->revision;
	} else {
		bool is_kept = found->is_readable && found->record.state != ADDRESS_USED;

		slot->want = WANT_NOTHING;
		slot->revision = 0;
		(void)journal_add_done(ipam->journal, &slot->ip, NULL);
		if (is_kept && slot->state == SLOT_RESTING)
			allocator_keep(ipam->allocator, slot, take_record(found), found->revision);
		else if (slot->state == SLOT_FOREIGN)
			allocator_set_free(ipam->allocator, slot, loop_boottime_ms());
	}
}

void record_settle(struct record_write *write)
{
	bool was_lease = settle_lease(write);

	for (size_t i = 0; i < write->count; i++)
		write->slots[i]->is_busy = false;
	for (size_t i = 0; i < write->count && !was_lease; i++)
		if (write->is_delete)
			settle_delete(write, i);
		else
			settle_put(write, i);
}
