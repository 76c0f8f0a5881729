// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: telling the store: one fenced transaction for each container or released address, several under way at once.
//
// DOC: a write
//
//   slot wants PUT --> TXN(key is absent or as we know it, lease is as we know it; put) --done--> wants nothing
//   slot wants DELETE, revision known --> TXN(key is as we know it; delete) --done--> wants nothing
//                      revision unknown --> READ --> as before
//   compares did not hold --> record_settle.c
//   the store failed, or its answer was lost --> wants the same again, after a pause: a repetition is recognised by the record
#include "ipam/record_write.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define PAUSE_BASE_MS 200
#define PAUSE_MAX_MS 10000

static void write_free(struct record_write *write)
{
	for (size_t i = 0; i < write->count; i++) {
		free(write->keys[i]);
		free(write->values[i]);
		free(write->found[i].text);
		address_record_free(&write->found[i].record);
	}
	free(write->fence_key);
	free(write);
}

static void write_unlink(struct record_write *write)
{
	struct record_write **link = &write->ipam->writes;

	while (*link != write)
		link = &(*link)->next;
	*link = write->next;
	write->ipam->write_count--;
}

void writes_forget(struct ipam *ipam)
{
	while (ipam->writes) {
		struct record_write *write = ipam->writes;

		write_unlink(write);
		kv_forget(ipam->config.kv, write);
		for (size_t i = 0; i < write->count; i++)
			write->slots[i]->is_busy = false;
		write_free(write);
	}
}

// ---- values ----

static char *value_of_holder(const struct ipam *ipam, const struct slot *slot)
{
	const struct holder *holder = slot->holder;
	struct address_record record = {
		.ip = slot->ip,
		.len = ipam_net(ipam, family_of(&slot->ip))->len,
		.net = holder->name,
		.cid = holder->cid,
		.ifname = holder->ifname,
		.ns = holder->ns,
		.pod = holder->pod,
		.uid = holder->uid,
		.node = (char *)(uintptr_t)ipam->node,
		.boot = (char *)(uintptr_t)ipam->config.boot,
		.since_s = holder->since_s,
		.state = ADDRESS_USED,
		.keep = holder->keep,
	};

	(void)text_copy(record.owner, sizeof(record.owner), ipam->config.owner);
	return address_record_format(&record);
}

static char *value_of_kept(const struct ipam *ipam, const struct slot *slot)
{
	struct address_record record = *slot->record;

	record.node = (char *)(uintptr_t)ipam->node;
	(void)text_copy(record.owner, sizeof(record.owner), ipam->config.owner);
	return address_record_format(&record);
}

// ---- answers ----

static bool is_key(const struct kv_pair *pair, const char *key)
{
	return pair->raw_key_len == strlen(key) && memcmp(pair->raw_key, key, pair->raw_key_len) == 0;
}

static void found_reset(struct record_found *found)
{
	free(found->text);
	address_record_free(&found->record);
	*found = (struct record_found){ 0 };
}

static void found_take(struct record_found *found, const struct kv_pair *pair)
{
	found_reset(found);
	found->is_there = true;
	found->revision = pair->mod_revision;
	found->text = pair->value ? xstrndup(pair->value, pair->value_len) : NULL;
	found->is_readable =
		address_record_parse(pair->value, pair->value_len, &found->record, NULL) == 0;
}

// The lease may have been written anew by our own agent, of which we hear later.
static bool is_our_lease(const struct ipam *ipam, const struct kv_pair *pair)
{
	_cleanup_(lease_attrs_free) struct lease_attrs attrs = { 0 };
	const struct lease_attrs *own = &ipam->lease.attrs;

	return pair->value && lease_attrs_parse(pair->value, pair->value_len, &attrs, NULL) == 0 &&
	       ip_equal(&attrs.public_ip, &own->public_ip) &&
	       ip_equal(&attrs.public_ipv6, &own->public_ipv6) && lease_attrs_same_data(&attrs, own);
}

static void on_pair(void *arg, const struct kv_pair *pair)
{
	struct record_write *write = arg;

	for (size_t i = 0; i < write->count; i++)
		if (is_key(pair, write->keys[i]))
			found_take(&write->found[i], pair);
	if (write->fence_key && is_key(pair, write->fence_key)) {
		write->fence_is_there = true;
		write->fence_is_ours = is_our_lease(write->ipam, pair);
		write->fence_revision = pair->mod_revision;
	}
}

static void slot_done(struct record_write *write, size_t i, int64_t revision)
{
	struct ipam *ipam = write->ipam;
	struct slot *slot = write->slots[i];
	enum slot_want wrote = write->is_delete ? WANT_DELETE : WANT_PUT;

	slot->is_busy = false;
	slot->revision = write->is_delete ? 0 : revision;
	if (slot->want != wrote)
		return;
	slot->want = WANT_NOTHING;
	if (!write->is_delete)
		return;
	// What another host left is gone; its container may still be there for a while.
	if (slot->state == SLOT_FOREIGN)
		allocator_set_free(ipam->allocator, slot, loop_boottime_ms());
	// Without it the store is asked once more after a restart: no harm.
	(void)journal_add_done(ipam->journal, &slot->ip, NULL);
}

// What became of a slot while its write was under way is to be written too.
static void relist(struct record_write *write)
{
	for (size_t i = 0; i < write->count; i++) {
		struct slot *slot = write->slots[i];

		if (slot->is_busy)
			continue;
		// Its holder was given another name.
		if (slot->is_stale && slot->state == SLOT_USED)
			slot->want = WANT_PUT;
		slot->is_stale = false;
		allocator_want(write->ipam->allocator, slot, slot->want);
	}
}

static void store_failed(struct record_write *write, int r, const struct err *e)
{
	struct ipam *ipam = write->ipam;

	if (ipam->write_error.code == 0)
		log_warn("%s: addresses are not written to the store, and will be later: %s",
			 ipam->config.who, e ? err_msg(e) : strerror(-r));
	(void)err_set(&ipam->write_error, r, "%s", e ? err_msg(e) : strerror(-r));
	for (size_t i = 0; i < write->count; i++)
		write->slots[i]->is_busy = false;
	if (!timer_is_pending(ipam->write_timer))
		timer_start(ipam->write_timer, backoff_next_ms(&ipam->write_backoff));
}

static void store_works(struct ipam *ipam)
{
	if (ipam->write_error.code != 0)
		log_info("%s: addresses are written to the store again", ipam->config.who);
	ipam->write_error = (struct err){ 0 };
	ipam->write_backoff = (struct backoff){ .base_ms = PAUSE_BASE_MS, .max_ms = PAUSE_MAX_MS };
}

// A controller does not tell beforehand what the store behind it can do.
static bool can_do_with_less(struct record_write *write)
{
	struct ipam *ipam = write->ipam;

	if (write->fence_key && !ipam->is_singly) {
		ipam->is_singly = true;
		return true;
	}
	if (!write->is_delete && !ipam->is_sessionless) {
		ipam->is_sessionless = true;
		return true;
	}
	return false;
}

static void not_busy(struct record_write *write)
{
	for (size_t i = 0; i < write->count; i++)
		write->slots[i]->is_busy = false;
}

static void on_written(void *arg, int r, bool succeeded, const struct kv_header *header,
		       const struct err *e)
{
	struct record_write *write = arg;
	struct ipam *ipam = write->ipam;
	bool has_failed = false;

	write_unlink(write);
	if (r == 0 && succeeded) {
		for (size_t i = 0; i < write->count; i++)
			slot_done(write, i, header->revision);
		store_works(ipam);
	} else if (r == 0) {
		record_settle(write);
		store_works(ipam);
	} else if (r == -ENOENT && !write->is_delete) {
		not_busy(write);
		session_lost(ipam);
	} else if (r == -EINVAL && can_do_with_less(write)) {
		not_busy(write);
	} else {
		store_failed(write, r, e);
		has_failed = true;
	}
	relist(write);
	write_free(write);
	if (has_failed)
		adds_store_failed(ipam);
	else
		adds_settle(ipam);
	writes_start(ipam);
}

static void send_write(struct record_write *write);

// What there is to delete.
static void on_read(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct record_write *write = arg;
	struct slot *slot = write->slots[0];
	const struct record_found *found = &write->found[0];

	if (r < 0) {
		on_written(write, r, false, header, e);
		return;
	}
	if (!found->is_there) {
		on_written(write, 0, true, header, NULL);
		return;
	}
	if (found->is_readable) {
		const struct owner_key key = { found->record.net, found->record.cid,
					       found->record.ifname };

		if (owner_key_hash(&key) == slot->last_key) {
			slot->revision = found->revision;
			send_write(write);
			return;
		}
	}
	on_written(write, 0, false, header, NULL);
}

// ---- sending ----

static void send_write(struct record_write *write)
{
	struct ipam *ipam = write->ipam;
	struct kv_compare compares[FAMILY_COUNT + 1];
	struct kv_write writes[FAMILY_COUNT];
	struct kv_txn txn = { .compares = compares, .writes = writes, .write_count = write->count };

	for (size_t i = 0; i < write->count; i++) {
		int64_t revision = write->slots[i]->revision;
		const char *value = write->values[i];
		bool is_tied = write->slots[i]->state == SLOT_USED && !ipam->is_sessionless;

		compares[i] = (struct kv_compare){ .key = write->keys[i],
						   .kind = revision == 0 ? KV_ABSENT : KV_MOD_REVISION,
						   .mod_revision = revision };
		writes[i] = (struct kv_write){ .key = write->keys[i],
					       .value = value,
					       .value_len = value ? strlen(value) : 0,
					       .session = value && is_tied ? ipam->session : 0 };
	}
	txn.compare_count = write->count;
	if (write->fence_key) {
		write->fence_compared = ipam->fence_revision;
		compares[txn.compare_count++] =
			(struct kv_compare){ .key = write->fence_key,
					     .kind = KV_MOD_REVISION,
					     .mod_revision = ipam->fence_revision };
	}
	kv_txn(ipam->config.kv, &txn, on_pair, on_written, write);
}

static void add_slot(struct record_write *write, struct slot *slot)
{
	struct ipam *ipam = write->ipam;
	size_t i = write->count++;

	slot->is_busy = true;
	write->slots[i] = slot;
	write->keys[i] =
		address_key(ipam->config.prefix, ipam_net(ipam, family_of(&slot->ip)), &slot->ip);
	if (write->is_delete)
		return;
	write->values[i] = slot->state == SLOT_USED ? value_of_holder(ipam, slot)
						    : value_of_kept(ipam, slot);
}

// Both families of a container are written in one go: all or nothing.
static void add_slots(struct record_write *write, struct slot *slot)
{
	add_slot(write, slot);
	if (write->is_delete || slot->state != SLOT_USED || write->ipam->is_singly)
		return;
	for (int family = 0; family < FAMILY_COUNT; family++) {
		struct slot *other = allocator_slot_of(write->ipam->allocator, slot->holder,
						       (enum family)family);

		if (other && other != slot && other->want == WANT_PUT && !other->is_busy)
			add_slot(write, other);
	}
}

static char *lease_key(const struct ipam *ipam)
{
	char key[LEASE_KEY_MAX];

	subnet_format_key(&ipam->lease.subnet, key);
	return xasprintf("%s/subnets/%s", ipam->config.prefix, key);
}

static void write_begin(struct ipam *ipam, struct slot *slot)
{
	struct record_write *write = xnew(struct record_write);

	write->ipam = ipam;
	write->is_delete = slot->want == WANT_DELETE;
	write->next = ipam->writes;
	ipam->writes = write;
	ipam->write_count++;
	add_slots(write, slot);
	// What was ours may go whatever became of the lease; what is another's only if the subnet is ours.
	if (!ipam->is_singly && (!write->is_delete || slot->state == SLOT_FOREIGN))
		write->fence_key = lease_key(ipam);
	if (write->is_delete && slot->revision == 0)
		kv_range(ipam->config.kv, write->keys[0], false, on_pair, on_read, write);
	else
		send_write(write);
}

bool writes_are_possible(const struct ipam *ipam)
{
	return ipam->config.has_records && ipam_holds_lease(ipam) && ipam->is_read &&
	       !timer_is_pending(ipam->write_timer) &&
	       (ipam->is_sessionless || (ipam->session != 0 && ipam->is_session_checked));
}

bool writes_are_likely(const struct ipam *ipam)
{
	bool is_let_alone = ipam->session_timer && timer_is_pending(ipam->session_timer);

	return ipam->config.has_records && ipam_holds_lease(ipam) && ipam->is_read &&
	       !timer_is_pending(ipam->write_timer) &&
	       (ipam->is_sessionless || ipam->is_session_checked || !is_let_alone);
}

void writes_start(struct ipam *ipam)
{
	struct slot *slot;

	if (!allocator_has_wanting(ipam->allocator))
		return;
	if (ipam->config.has_records && ipam_holds_lease(ipam) && ipam->is_read)
		session_need(ipam);
	while (writes_are_possible(ipam) && ipam->write_count < WRITES_MAX &&
	       (slot = allocator_next_wanting(ipam->allocator)))
		write_begin(ipam, slot);
}

void writes_soon(struct ipam *ipam)
{
	if (!timer_is_pending(ipam->soon))
		timer_start(ipam->soon, 0);
}
