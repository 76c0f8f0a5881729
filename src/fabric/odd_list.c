// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the list of what the store has under the leases that is not used.
#include "fabric/odd_list.h"

#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

static void odd_clear(struct odd *odd)
{
	lease_free(&odd->lease);
	free(odd->key);
	free(odd->why);
	*odd = (struct odd){ 0 };
}

void odd_list_clear(struct odd_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		odd_clear(&list->odds[i]);
	free(list->odds);
	*list = (struct odd_list){ 0 };
}

struct odd *odd_list_find(const struct odd_list *list, const struct subnet *subnet)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->odds[i].is_usual && subnet_equal(&list->odds[i].lease.subnet, subnet))
			return &list->odds[i];
	return NULL;
}

struct odd *odd_list_find_key(const struct odd_list *list, const char *key)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->odds[i].key, key) == 0)
			return &list->odds[i];
	return NULL;
}

void odd_list_remove(struct odd_list *list, struct odd *odd)
{
	if (!odd)
		return;
	odd_clear(odd);
	*odd = list->odds[--list->count];
	if (list->count > 0)
		return;
	free(list->odds);
	list->odds = NULL;
	list->capacity = 0;
}

// NULL: the list is full, and it was counted.
static struct odd *odd_add(struct odd_list *list)
{
	if (list->count == ODD_MAX) {
		list->uncounted++;
		return NULL;
	}
	if (list->count == list->capacity) {
		list->capacity = list->capacity ? list->capacity * 2 : 4;
		list->odds = xrealloc_array(list->odds, list->capacity, sizeof(*list->odds));
	}
	return &list->odds[list->count++];
}

// Fills a found or a new place. True: the reason is news.
static bool odd_set(struct odd_list *list, struct odd *odd, struct odd *taken)
{
	bool news = !odd || strcmp(odd->why, taken->why) != 0;

	if (odd)
		odd_clear(odd);
	else
		odd = odd_add(list);
	if (odd)
		*odd = *taken;
	else
		odd_clear(taken);
	return news && odd;
}

bool odd_list_put(struct odd_list *list, enum odd_kind kind, struct lease *lease, const char *why,
		  uint32_t generation)
{
	char key[LEASE_KEY_MAX];
	struct odd taken = {
		.kind = kind,
		.has_subnet = true,
		.is_usual = true,
		.lease = *lease,
		.why = xstrdup(why),
		.generation = generation,
	};

	*lease = (struct lease){ 0 };
	subnet_format_key(&taken.lease.subnet, key);
	taken.key = xstrdup(key);
	return odd_set(list, odd_list_find(list, &taken.lease.subnet), &taken);
}

bool odd_list_put_unreadable(struct odd_list *list, const char *key, const struct subnet *subnet,
			     int64_t mod_revision, const char *why, uint32_t generation)
{
	char usual[LEASE_KEY_MAX];
	struct odd taken = {
		.kind = ODD_UNREADABLE,
		.has_subnet = subnet != NULL,
		.lease.mod_revision = mod_revision,
		.key = xstrdup(key),
		.why = xstrdup(why),
		.generation = generation,
	};

	if (subnet) {
		taken.lease.subnet = *subnet;
		subnet_format_key(subnet, usual);
		taken.is_usual = strcmp(key, usual) == 0;
	}
	return odd_set(list, odd_list_find_key(list, key), &taken);
}

static int compare_age(const void *a, const void *b)
{
	const struct odd *left = a, *right = b;

	return (left->lease.mod_revision > right->lease.mod_revision) -
	       (left->lease.mod_revision < right->lease.mod_revision);
}

void odd_list_sort(struct odd_list *list)
{
	if (list->count > 1)
		qsort(list->odds, list->count, sizeof(*list->odds), compare_age);
}
