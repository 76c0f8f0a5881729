// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which nexthop object stands for which gateway. The kernel's ids are ours to choose, from one fixed range; a gateway keeps its id over
// restarts because a scan hands back what is there.
#pragma once

#include "core/ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEXTHOP_ID_FIRST 0x57000000u
#define NEXTHOP_ID_LAST 0x57ffffffu

struct nexthop_table;
struct nexthop_table *nexthop_table_new(void);
struct nexthop_table *nexthop_table_free(struct nexthop_table *table);
size_t nexthop_table_count(const struct nexthop_table *table);

// From now on, of an empty table: only ids of this slot of the range, NEXTHOP_SLOTS in all, are given out and are this table's. Several networks
// of one host have a slot each.
#define NEXTHOP_SLOTS 64u
void nexthop_table_set_slot(struct nexthop_table *table, uint32_t slot);
bool nexthop_table_has_id(const struct nexthop_table *table,
			  uint32_t id); // is it of the table's part of the range?

static inline bool nexthop_id_is_ours(uint32_t id)
{
	return id >= NEXTHOP_ID_FIRST && id <= NEXTHOP_ID_LAST;
}

// A scan met this object. False if the gateway already has another id (the object is a spare one) or the id another gateway.
bool nexthop_table_adopt(struct nexthop_table *table, const struct ip *gateway, uint32_t ifindex,
			 uint32_t id);
// The id for a gateway on a device; chosen now if it has none. 0 when the range is used up.
uint32_t nexthop_table_id(struct nexthop_table *table, const struct ip *gateway, uint32_t ifindex);
// 0 if it has none.
uint32_t nexthop_table_find(const struct nexthop_table *table, const struct ip *gateway,
			    uint32_t ifindex);
void nexthop_table_remove(struct nexthop_table *table, uint32_t id);
// This id, though of our range, is another program's: it is not given out, and who had it gets another.
void nexthop_table_block(struct nexthop_table *table, uint32_t id);
// Forgets what was neither adopted, blocked nor asked for since the last call: the kernel lost the object, and its peer is gone.
void nexthop_table_expire(struct nexthop_table *table);
bool nexthop_table_has_device(const struct nexthop_table *table, uint32_t ifindex);
// The device is gone, and the kernel has removed its nexthops with it.
void nexthop_table_forget_device(struct nexthop_table *table, uint32_t ifindex);
