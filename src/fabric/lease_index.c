// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: leases in the order of one of their addresses.
#include "fabric/lease_index.h"

#include "core/mem.h"

#include <assert.h>
#include <string.h>

// Sorted pointers in blocks of bounded size: an insertion moves at most one block, where one long array
// would move half of it, and a tree would cost five times the memory.
#define BLOCK_MAX 512

struct block {
	size_t count;
	struct lease *leases[BLOCK_MAX];
};

struct lease_index {
	enum lease_index_key key;
	struct block **blocks; // none is empty
	size_t block_count;
	size_t count;
};

struct position {
	size_t block;
	size_t slot;
};

const struct ip *lease_index_key(enum lease_index_key key, const struct lease *lease)
{
	switch (key) {
	case LEASE_INDEX_V4:
		return &lease->subnet.v4.addr;
	case LEASE_INDEX_V6:
		return &lease->subnet.v6.addr;
	case LEASE_INDEX_PUBLIC_IP:
		return &lease->attrs.public_ip;
	case LEASE_INDEX_PUBLIC_IPV6:
		return &lease->attrs.public_ipv6;
	case LEASE_INDEX_KEY_COUNT:
		break;
	}
	assert(false);
	return NULL;
}

struct lease_index *lease_index_new(enum lease_index_key key)
{
	struct lease_index *index = xnew(struct lease_index);

	index->key = key;
	return index;
}

struct lease_index *lease_index_free(struct lease_index *index)
{
	if (!index)
		return NULL;
	for (size_t i = 0; i < index->block_count; i++)
		free(index->blocks[i]);
	free(index->blocks);
	free(index);
	return NULL;
}

size_t lease_index_count(const struct lease_index *index)
{
	return index->count;
}

static int compare(const struct lease_index *index, const struct lease *lease, const struct ip *ip)
{
	return ip_compare(lease_index_key(index->key, lease), ip);
}

// The first position whose key is not below ip (or, if above, is above it); block_count when there is none.
static struct position find(const struct lease_index *index, const struct ip *ip, bool above)
{
	struct position at = { 0 };
	int limit = above ? 1 : 0;
	size_t low = 0, high = index->block_count;

	while (low < high) { // the first block whose last lease qualifies
		size_t middle = low + (high - low) / 2;
		const struct block *block = index->blocks[middle];

		if (compare(index, block->leases[block->count - 1], ip) < limit)
			low = middle + 1;
		else
			high = middle;
	}
	at.block = low;
	if (low == index->block_count)
		return at;
	high = index->blocks[at.block]->count - 1;
	low = 0;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(index, index->blocks[at.block]->leases[middle], ip) < limit)
			low = middle + 1;
		else
			high = middle;
	}
	at.slot = low;
	return at;
}

static bool step(const struct lease_index *index, struct position *at)
{
	if (++at->slot >= index->blocks[at->block]->count) {
		at->slot = 0;
		at->block++;
	}
	return at->block < index->block_count;
}

static void block_insert(struct lease_index *index, size_t at)
{
	index->blocks = xrealloc_array(index->blocks, index->block_count + 1, sizeof(*index->blocks));
	memmove(&index->blocks[at + 1], &index->blocks[at],
		(index->block_count - at) * sizeof(*index->blocks));
	index->blocks[at] = xnew(struct block);
	index->block_count++;
}

static void block_split(struct lease_index *index, size_t at)
{
	struct block *left, *right;

	block_insert(index, at + 1);
	left = index->blocks[at];
	right = index->blocks[at + 1];
	right->count = left->count / 2;
	left->count -= right->count;
	memcpy(right->leases, &left->leases[left->count], right->count * sizeof(*right->leases));
}

void lease_index_add(struct lease_index *index, struct lease *lease)
{
	const struct ip *ip = lease_index_key(index->key, lease);
	struct position at = { 0 };
	struct block *block;

	if (!ip_is_set(ip))
		return;
	if (index->block_count == 0)
		block_insert(index, 0);
	else
		at = find(index, ip, true);
	if (at.block == index->block_count) { // behind all
		at.block--;
		at.slot = index->blocks[at.block]->count;
	}
	if (index->blocks[at.block]->count == BLOCK_MAX && at.slot == BLOCK_MAX) {
		// In ascending order, as a snapshot comes, blocks are filled to the brim.
		at = (struct position){ .block = at.block + 1 };
		block_insert(index, at.block);
	} else if (index->blocks[at.block]->count == BLOCK_MAX) {
		block_split(index, at.block);
		if (at.slot > index->blocks[at.block]->count) {
			at.slot -= index->blocks[at.block]->count;
			at.block++;
		}
	}
	block = index->blocks[at.block];
	memmove(&block->leases[at.slot + 1], &block->leases[at.slot],
		(block->count - at.slot) * sizeof(*block->leases));
	block->leases[at.slot] = lease;
	block->count++;
	index->count++;
}

static void remove_at(struct lease_index *index, const struct position *at)
{
	struct block *block = index->blocks[at->block];

	block->count--;
	memmove(&block->leases[at->slot], &block->leases[at->slot + 1],
		(block->count - at->slot) * sizeof(*block->leases));
	index->count--;
	if (block->count > 0)
		return;
	free(block);
	index->block_count--;
	memmove(&index->blocks[at->block], &index->blocks[at->block + 1],
		(index->block_count - at->block) * sizeof(*index->blocks));
}

void lease_index_remove(struct lease_index *index, const struct lease *lease)
{
	const struct ip *ip = lease_index_key(index->key, lease);
	struct position at;
	bool more;

	if (!ip_is_set(ip))
		return;
	at = find(index, ip, false);
	for (more = at.block < index->block_count; more; more = step(index, &at)) {
		if (index->blocks[at.block]->leases[at.slot] == lease) {
			remove_at(index, &at);
			return;
		}
	}
	assert(false);
}

struct lease *lease_index_at_or_before(const struct lease_index *index, const struct ip *ip)
{
	struct position at = find(index, ip, true);

	if (at.slot > 0)
		return index->blocks[at.block]->leases[at.slot - 1];
	if (at.block == 0)
		return NULL;
	return index->blocks[at.block - 1]->leases[index->blocks[at.block - 1]->count - 1];
}

struct lease *lease_index_equal(const struct lease_index *index, const struct ip *ip, size_t nth)
{
	struct position at = find(index, ip, false);

	while (at.block < index->block_count) {
		struct lease *lease = index->blocks[at.block]->leases[at.slot];

		if (compare(index, lease, ip) != 0)
			return NULL;
		if (nth-- == 0)
			return lease;
		(void)step(index, &at);
	}
	return NULL;
}
