// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what WireGuard devices last said of their peers.
//
// DOC: A peer that is never sent anything never answers either, and is fine. One that has no session, or an old one, and is sent more and more
// is being called: without a session nothing but handshakes is sent.
#include "reconcile/wg_contacts.h"

#include "core/mem.h"

#include <string.h>

struct entry {
	struct wg_key key;
	uint32_t ifindex;
	bool is_silent; // at the end of the reading
	int64_t handshake_s;
	uint64_t sent_bytes;
	uint64_t called_since_ms; // 0: it is not
	uint64_t called_at_ms;	  // last
};

struct list {
	struct entry *entries; // sorted at the end of a reading
	size_t count;
	size_t capacity;
};

struct wg_contacts {
	struct list known;
	struct list coming;
	size_t silent;
};

struct wg_contacts *wg_contacts_new(void)
{
	return xnew(struct wg_contacts);
}

struct wg_contacts *wg_contacts_free(struct wg_contacts *contacts)
{
	if (contacts) {
		free(contacts->known.entries);
		free(contacts->coming.entries);
		free(contacts);
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = memcmp(x->key.bytes, y->key.bytes, sizeof(x->key.bytes));
	if (order != 0)
		return order;
	return (x->ifindex > y->ifindex) - (x->ifindex < y->ifindex);
}

static const struct entry *find(const struct list *list, const struct wg_peer *peer)
{
	struct entry wanted = { .key = peer->public_key, .ifindex = peer->ifindex };
	if (list->count == 0)
		return NULL;
	return bsearch(&wanted, list->entries, list->count, sizeof(wanted), compare);
}

static bool is_alive(const struct entry *entry, int64_t now_s)
{
	return entry->handshake_s != 0 && now_s - entry->handshake_s < WG_REJECT_AFTER_S;
}

void wg_contacts_begin(struct wg_contacts *contacts)
{
	contacts->coming.count = 0;
}

static void note_calls(struct entry *entry, const struct entry *before, bool is_heard, uint64_t now_ms)
{
	if (is_heard || !before)
		return;
	entry->called_since_ms = before->called_since_ms;
	entry->called_at_ms = before->called_at_ms;
	if (entry->sent_bytes > before->sent_bytes) {
		entry->called_at_ms = now_ms;
		if (entry->called_since_ms == 0)
			entry->called_since_ms = now_ms;
	} else if (now_ms - entry->called_at_ms > WG_REJECT_AFTER_S * 1000) {
		entry->called_since_ms = 0;
	}
}

void wg_contacts_note(struct wg_contacts *contacts, const struct wg_peer *peer,
		      const struct wg_contact *contact, int64_t now_s, uint64_t now_ms)
{
	struct list *list = &contacts->coming;
	if (list->count == list->capacity) {
		list->capacity = list->capacity ? list->capacity * 2 : 16;
		list->entries = xrealloc_array(list->entries, list->capacity, sizeof(*list->entries));
	}
	struct entry *entry = &list->entries[list->count++];
	*entry = (struct entry){ .key = peer->public_key,
				 .ifindex = peer->ifindex,
				 .handshake_s = contact->handshake_s,
				 .sent_bytes = contact->sent_bytes };
	note_calls(entry, find(&contacts->known, peer), is_alive(entry, now_s), now_ms);
}

static uint64_t silent_ms(const struct entry *entry, uint64_t now_ms)
{
	uint64_t called_ms = entry->called_since_ms ? now_ms - entry->called_since_ms : 0;
	return called_ms >= WG_SILENT_AFTER_MS ? called_ms : 0;
}

void wg_contacts_end(struct wg_contacts *contacts, uint64_t now_ms)
{
	struct list done = contacts->coming;
	contacts->coming = contacts->known;
	contacts->known = done;
	contacts->silent = 0;
	if (done.count > 0)
		qsort(done.entries, done.count, sizeof(*done.entries), compare);
	for (size_t i = 0; i < done.count; i++) {
		struct entry *entry = &done.entries[i];
		bool same = i > 0 && wg_key_equal(&entry[-1].key, &entry->key);
		entry->is_silent = silent_ms(entry, now_ms) > 0;
		contacts->silent += entry->is_silent && !(same && entry[-1].is_silent);
	}
}

bool wg_contacts_find(const struct wg_contacts *contacts, const struct wg_peer *peer,
		      uint64_t now_ms, struct wg_heard *ret)
{
	const struct entry *entry = find(&contacts->known, peer);
	if (entry)
		*ret = (struct wg_heard){ .handshake_s = entry->handshake_s,
					  .silent_ms = silent_ms(entry, now_ms) };
	return entry != NULL;
}

size_t wg_contacts_silent(const struct wg_contacts *contacts)
{
	return contacts->silent;
}
