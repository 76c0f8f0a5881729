// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: an array in no order and an index by subnet. Both are as large as there is trouble: none, as long as things work.
#include "reconcile/trouble.h"

#include "core/mem.h"
#include "core/strbuf.h"

#include <string.h>

#define RETRY_FIRST_MS 1000u
#define RETRY_MAX_MS 60000u
#define CAPACITY_MIN 8u

struct trouble {
	struct trouble_entry *entries;
	uint32_t *index; // by subnet: entry number + 1, 0 empty; twice the capacity
	size_t count;
	size_t capacity; // a power of two, or 0
};

struct trouble *trouble_new(void)
{
	return xnew(struct trouble);
}

struct trouble *trouble_free(struct trouble *trouble)
{
	if (trouble) {
		free(trouble->entries);
		free(trouble->index);
		free(trouble);
	}
	return NULL;
}

static size_t home_of(const struct trouble *trouble, const struct subnet *subnet)
{
	return (size_t)subnet_hash(subnet) & (trouble->capacity * 2 - 1);
}

static uint32_t *place(const struct trouble *trouble, const struct subnet *subnet)
{
	size_t mask = trouble->capacity * 2 - 1;
	for (size_t i = home_of(trouble, subnet);; i = (i + 1) & mask) {
		uint32_t number = trouble->index[i];
		if (number == 0 || subnet_equal(&trouble->entries[number - 1].subnet, subnet))
			return &trouble->index[i];
	}
}

static void resize(struct trouble *trouble, size_t capacity)
{
	trouble->capacity = capacity;
	trouble->entries = xrealloc_array(trouble->entries, capacity, sizeof(*trouble->entries));
	free(trouble->index);
	trouble->index = xnew0_array(uint32_t, capacity * 2);
	for (size_t i = 0; i < trouble->count; i++)
		*place(trouble, &trouble->entries[i].subnet) = (uint32_t)i + 1;
}

static struct trouble_entry *find(const struct trouble *trouble, const struct subnet *subnet)
{
	if (trouble->count == 0)
		return NULL;
	uint32_t number = *place(trouble, subnet);
	return number == 0 ? NULL : &trouble->entries[number - 1];
}

static struct trouble_entry *find_or_add(struct trouble *trouble, const struct subnet *subnet)
{
	struct trouble_entry *entry = find(trouble, subnet);
	if (entry)
		return entry;
	if (trouble->count == trouble->capacity)
		resize(trouble, trouble->capacity == 0 ? CAPACITY_MIN : trouble->capacity * 2);
	entry = &trouble->entries[trouble->count++];
	memset(entry, 0, sizeof(*entry));
	entry->subnet = *subnet;
	*place(trouble, subnet) = (uint32_t)trouble->count;
	return entry;
}

static bool set_text(struct trouble_entry *entry, const char *text)
{
	char old[TROUBLE_TEXT_MAX];
	memcpy(old, entry->text, sizeof(old));
	(void)text_copy(entry->text, sizeof(entry->text), text); // cut short is fine for a status line
	return strcmp(old, entry->text) != 0;
}

bool trouble_failed(struct trouble *trouble, const struct subnet *subnet, const char *text,
		    uint64_t now_ms)
{
	struct trouble_entry *entry = find_or_add(trouble, subnet);
	unsigned int shift = entry->attempts < 6 ? entry->attempts : 6;
	uint64_t delay = (uint64_t)RETRY_FIRST_MS << shift;
	entry->retry_at_ms = now_ms + (delay < RETRY_MAX_MS ? delay : RETRY_MAX_MS);
	entry->attempts++;
	entry->ignored = entry->refused = false;
	return set_text(entry, text);
}

bool trouble_refused(struct trouble *trouble, const struct subnet *subnet, const char *text,
		     uint64_t now_ms)
{
	bool news = trouble_failed(trouble, subnet, text, now_ms);
	find(trouble, subnet)->refused = true;
	return news;
}

bool trouble_ignored(struct trouble *trouble, const struct subnet *subnet, const char *text)
{
	struct trouble_entry *entry = find_or_add(trouble, subnet);
	entry->retry_at_ms = UINT64_MAX;
	entry->attempts = 0;
	entry->ignored = true;
	entry->refused = false;
	return set_text(entry, text);
}

// Empties a place of the index and moves up what was put behind it for want of room.
static void vacate(struct trouble *trouble, size_t hole)
{
	size_t mask = trouble->capacity * 2 - 1;
	for (size_t i = (hole + 1) & mask; trouble->index[i] != 0; i = (i + 1) & mask) {
		size_t home = home_of(trouble, &trouble->entries[trouble->index[i] - 1].subnet);
		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		trouble->index[hole] = trouble->index[i];
		hole = i;
	}
	trouble->index[hole] = 0;
}

void trouble_clear(struct trouble *trouble, const struct subnet *subnet)
{
	struct trouble_entry *entry = find(trouble, subnet);
	if (!entry)
		return;
	struct trouble_entry *last = &trouble->entries[trouble->count - 1];
	uint32_t *place_of_last = place(trouble, &last->subnet);
	uint32_t *place_of_entry = place(trouble, &entry->subnet);
	*place_of_last = (uint32_t)(entry - trouble->entries) + 1;
	struct trouble_entry gone = *entry;
	*entry = *last;
	*last = gone;
	*place_of_entry = (uint32_t)trouble->count;
	vacate(trouble, (size_t)(place_of_entry - trouble->index));
	trouble->count--;
	if (trouble->count * 4 <= trouble->capacity && trouble->capacity > CAPACITY_MIN)
		resize(trouble, trouble->capacity / 2);
}

const struct trouble_entry *trouble_find(const struct trouble *trouble, const struct subnet *subnet)
{
	return find(trouble, subnet);
}

const struct trouble_entry *trouble_next(const struct trouble *trouble, size_t *position)
{
	return *position < trouble->count ? &trouble->entries[(*position)++] : NULL;
}

size_t trouble_count(const struct trouble *trouble, bool ignored)
{
	size_t count = 0;
	for (size_t i = 0; i < trouble->count; i++)
		count += trouble->entries[i].ignored == ignored;
	return count;
}

bool trouble_retry_first_failures(struct trouble *trouble, uint64_t now_ms)
{
	bool any = false;
	for (size_t i = 0; i < trouble->count; i++) {
		if (trouble->entries[i].ignored || trouble->entries[i].attempts > 1)
			continue;
		trouble->entries[i].retry_at_ms = now_ms;
		any = true;
	}
	return any;
}

bool trouble_retry_route(struct trouble *trouble, const struct ipnet *dst, uint64_t now_ms)
{
	bool any = false;
	for (size_t i = 0; i < trouble->count; i++) {
		struct trouble_entry *entry = &trouble->entries[i];
		if (entry->ignored ||
		    (!ipnet_equal(&entry->subnet.v4, dst) && !ipnet_equal(&entry->subnet.v6, dst)))
			continue;
		entry->retry_at_ms = now_ms;
		any = true;
	}
	return any;
}

uint64_t trouble_next_retry_ms(const struct trouble *trouble)
{
	uint64_t earliest = UINT64_MAX;
	for (size_t i = 0; i < trouble->count; i++)
		if (trouble->entries[i].retry_at_ms < earliest)
			earliest = trouble->entries[i].retry_at_ms;
	return earliest;
}
