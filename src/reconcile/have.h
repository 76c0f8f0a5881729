// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a scan found in the kernel, as a compact hash table that the wanted objects are looked up in. Lives as long as one pass.
#pragma once

#include "kernel/object.h"

#include <stdbool.h>
#include <stddef.h>

struct have;

struct have_entry {
	uint8_t kind; // enum kernel_kind; all but links and addresses
	uint8_t family;
	uint8_t prefix_len;
	uint8_t protocol;
	bool seen : 1; // wanted: stays
	bool claimed : 1; // wanted by a peer that was compared before: nobody else may have it otherwise
	bool moved : 1;	  // FDB: the entry of its MAC was sent to another remote
	bool onlink : 1;  // WireGuard peer: alive
	bool left : 1;	  // route: flannel's to a peer, past the device that carries its packets
	bool foreign : 1; // a shape that we never make (multipath, other type, group, ...)
	uint32_t ifindex;
	uint32_t number; // nexthop: its id (key); route: nexthop_id (value); WireGuard peer: hash of all but its endpoint
	uint32_t metric; // route (key); WireGuard peer: hash of its endpoint
	uint8_t key[16]; // neigh: ip; fdb: mac and, from byte 6, nothing; route: dst; WireGuard peer: half of its key
	uint8_t value[16]; // neigh: mac; fdb: remote (key too); nexthop, route: gateway; WireGuard peer: the other half (key too)
};

// Room for about so many from the start: growing a table of ten thousands takes long.
struct have *have_new(size_t expected);
struct have *have_free(struct have *have);
// A second object with the same key is not stored again. Routes of a TOS, a source or an encapsulation of their own are not stored: they
// are no hindrance to ours, or the kernel says so. Its entry, or NULL: not stored.
struct have_entry *have_add(struct have *have, const struct kernel_object *object);
size_t have_count(const struct have *have);

// The entry with the object's key, or NULL. Keys: neigh (device, ip), FDB (device, MAC, remote), nexthop (id), route (dst, metric; an IPv6 metric of 0 is the kernel's 1024), WireGuard peer (device, public key).
struct have_entry *have_find(const struct have *have, const struct kernel_object *object);
// FDB: another entry of the object's device and MAC with another remote, a claimed one if there is one, or NULL.
struct have_entry *have_find_other_remote(const struct have *have, const struct kernel_object *object);
// Is the entry in all that we set the same as the object?
bool have_entry_equals(const struct have_entry *entry, const struct kernel_object *object);
// Claims the entry: from now on it stands for the object that is being written.
void have_entry_claim(struct have_entry *entry, const struct kernel_object *object);
// The same for an object that is not in the table yet. Entries move: pointers to others are no longer valid.
void have_claim_new(struct have *have, const struct kernel_object *object);
struct have_entry *have_next(const struct have *have, size_t *position);
// For deleting and for showing.
void have_entry_object(const struct have_entry *entry, struct kernel_object *ret);

// The same for two objects, without a table.
bool object_same_key(const struct kernel_object *a, const struct kernel_object *b);
bool object_equals(const struct kernel_object *a, const struct kernel_object *b);
