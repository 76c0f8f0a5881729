// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: knowing the notifications of our own changes that the kernel does not mark as ours.

#include "kernel/echo.h"

#include "core/hash.h"
#include "core/mem.h"

#include <string.h>

// More than this are not noted: each costs a needless scan at worst.
#define NOTES_MAX ((size_t)64 * 1024)
#define KEEP_NOTES 256

void echo_list_free(struct echo_list *list)
{
	free(list->notes);
	*list = (struct echo_list){ 0 };
}

void echo_list_clear(struct echo_list *list)
{
	list->count = list->taken = 0;
	if (list->capacity <= KEEP_NOTES)
		return;
	free(list->notes);
	list->notes = NULL;
	list->capacity = 0;
}

static bool is_unmarked(const struct kernel_object *object, bool removed)
{
	return object->kind == KERNEL_FDB || (object->kind == KERNEL_NEIGH && removed);
}

static uint64_t note_of(const struct kernel_object *object, bool removed)
{
	struct {
		uint32_t ifindex;
		uint8_t kind, removed, ip_family;
		uint8_t mac[6];
		uint8_t ip[16];
	} key;

	memset(&key, 0, sizeof(key));
	key.kind = (uint8_t)object->kind;
	key.removed = removed;
	if (object->kind == KERNEL_FDB) {
		key.ifindex = object->fdb.ifindex;
		key.ip_family = object->fdb.remote.family;
		memcpy(key.mac, object->fdb.mac.bytes, sizeof(key.mac));
		memcpy(key.ip, object->fdb.remote.bytes, sizeof(key.ip));
	} else {
		key.ifindex = object->neigh.ifindex;
		key.ip_family = object->neigh.ip.family;
		memcpy(key.ip, object->neigh.ip.bytes, sizeof(key.ip));
	}
	return hash_bytes(&key, sizeof(key));
}

void echo_note(struct echo_list *list, const struct kernel_object *object, bool removed)
{
	if (!list->enabled || !is_unmarked(object, removed) || list->count == NOTES_MAX)
		return;
	if (list->count == list->capacity) {
		list->capacity = 2 * list->capacity + KEEP_NOTES;
		list->notes = xrealloc_array(list->notes, list->capacity, sizeof(*list->notes));
	}
	list->notes[list->count++] = note_of(object, removed);
}

bool echo_take(struct echo_list *list, const struct kernel_object *object, bool removed)
{
	uint64_t note;

	if (list->taken == list->count || !is_unmarked(object, removed))
		return false;
	note = note_of(object, removed);
	for (size_t i = list->taken; i < list->count; i++) {
		if (list->notes[i] == note) {
			list->taken = i + 1;
			return true;
		}
	}
	return false;
}
