// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which container has which address of this host's subnets: slots, the queue of free ones, quarantine. Memory alone.
//
// DOC: life of a slot
//
//   FREE --add--> USED --release--> RESTING --quarantine over, and the store is told--> (may be given again)
//     any --the store says so--> KEPT (sticky, reserved), FOREIGN (another host's record) --the record is gone--> FREE
//
// FREE and RESTING slots stand in one queue: never used ones by number, then the others in the order in which they were
// released, so that an address comes back as late as possible. A slot with want PUT or DELETE has something that the store
// does not know yet; it is in the list of such slots until who writes takes it out.
//
// Times are CLOCK_BOOTTIME in milliseconds, which neither a set clock nor a sleeping machine disturbs.
#pragma once

#include "core/err.h"
#include "core/lease.h"
#include "store/address_record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// More containers than that no host has; it bounds what a /64 takes.
#define ALLOCATOR_V4_MAX 65536
#define ALLOCATOR_V6_MAX 8192

enum family { FAMILY_V4, FAMILY_V6, FAMILY_COUNT };
static inline enum family family_of(const struct ip *ip)
{
	return ip->family == AF_INET6 ? FAMILY_V6 : FAMILY_V4;
}

enum slot_state { SLOT_FREE, SLOT_USED, SLOT_RESTING, SLOT_KEPT, SLOT_FOREIGN, SLOT_STATE_COUNT };
enum slot_want { WANT_NOTHING, WANT_PUT, WANT_DELETE };

// Who has addresses. Owned by the allocator.
struct holder {
	struct holder *next;	   // of its bucket
	char *name, *cid, *ifname; // the key
	char *ns, *pod, *uid;
	char *netns, *host_if;
	uint64_t netns_inode; // 0: not known
	int64_t since_s;
	enum address_state keep;
	struct ip ips[FAMILY_COUNT]; // none: it has none of this family
	bool host_if_seen;
	uint64_t missed_ms; // a leak was seen then for the first time; 0: none
};

struct slot {
	struct ip ip;
	uint32_t index;
	uint32_t previous, next; // in the queue
	enum slot_state state;
	enum slot_want want;
	bool is_listed; // in the list of those that want something
	bool is_busy;	// being written
	bool is_stale;	// what is being written is not what it is now
	bool is_seen;	// for who compares with the store
	struct slot *next_listed;
	struct holder *holder; // USED
	uint64_t last_key;     // hash of the last holder's key; 0: none
	uint64_t released_ms;
	int64_t revision; // of the record, 0: none is known
	// KEPT and FOREIGN: what its record says.
	struct address_record *record;
};

struct owner_key {
	const char *name, *cid, *ifname;
};

struct allocator_request {
	struct owner_key key;
	const char *ns, *pod, *uid, *netns, *host_if; // NULL is ""
	uint64_t netns_inode;
	int64_t since_s;
	bool sticky;
	struct ip ips[FAMILY_COUNT]; // asked for
	bool skips_rest; // one that was asked for may be had though it was released just now
};

// What a plugin is told. code 0: nothing.
struct refusal {
	int code;
	char msg[ERR_MSG_MAX];
	char details[ERR_MSG_MAX];
};
enum {
	REFUSED_CONFIG = 7,
	REFUSED_LATER = 11,
	REFUSED_STATUS = 50,
	REFUSED_LIMITED = 51,
	REFUSED_FULL = 110,
	REFUSED_TAKEN = 111,
	REFUSED_INTERNAL = 999
};
int refuse(struct refusal *ret, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4))); // -1, for the caller to return

struct allocator;
struct allocator *allocator_new(uint64_t quarantine_ms);
struct allocator *allocator_free(struct allocator *allocator);
// The host's subnets. Other ones than before: all that was known of the former is forgotten.
void allocator_set_subnet(struct allocator *allocator, const struct subnet *subnet);
const struct subnet *allocator_subnet(const struct allocator *allocator);
struct ip allocator_gateway(const struct allocator *allocator, enum family family);

// 0: *ret has one address of each family of the subnets, 1: it had them already; -1 with *why: nothing changed.
int allocator_add(struct allocator *allocator, const struct allocator_request *request,
		  uint64_t now_ms, struct holder **ret, struct refusal *why);
// The holder cannot have this one, for the store has another's record of it (taken over, NULL: none): another instead, in
// the same family. -1: none; the holder then has what it had but this.
int allocator_pass_over(struct allocator *allocator, struct holder *holder, struct slot *slot,
			struct address_record *record, uint64_t now_ms, struct refusal *why);
// Frees holder. Its slots want a DELETE, those that are kept a PUT.
void allocator_release(struct allocator *allocator, struct holder *holder, uint64_t now_ms);
// The same addresses under another key, and with what else request says of who has them; its ips and sticky do not count. They want a
// PUT. False: somebody has this key.
bool allocator_rename(struct allocator *allocator, struct holder *holder,
		      const struct allocator_request *request);
// What was known before a restart. NULL: an address is not free, or in no subnet of ours. Wants nothing.
struct holder *allocator_restore(struct allocator *allocator, const struct allocator_request *request,
				 const struct ip ips[FAMILY_COUNT], enum address_state keep);
// The same of one that was released then. has_record: the store may have one of it. False: it is not free.
bool allocator_restore_resting(struct allocator *allocator, const struct ip *ip, uint64_t key_hash,
			       uint64_t released_ms, bool has_record);
// What the store says of a slot that nobody here has; takes record over.
void allocator_keep(struct allocator *allocator, struct slot *slot, struct address_record *record,
		    int64_t revision);
void allocator_set_foreign(struct allocator *allocator, struct slot *slot,
			   struct address_record *record, int64_t revision);
// KEPT or FOREIGN, and nobody's any more.
void allocator_set_free(struct allocator *allocator, struct slot *slot, uint64_t now_ms);

struct holder *allocator_find(const struct allocator *allocator, const struct owner_key *key);
struct slot *allocator_slot(const struct allocator *allocator,
			    const struct ip *ip); // NULL: none that containers get
struct slot *allocator_slot_of(const struct allocator *allocator, const struct holder *holder,
			       enum family family);		    // NULL: it has none
typedef void allocator_holder_fn(void *arg, struct holder *holder); // may release it
void allocator_each_holder(struct allocator *allocator, allocator_holder_fn *fn, void *arg);
typedef void allocator_slot_fn(void *arg, struct slot *slot);
void allocator_each_slot(struct allocator *allocator, allocator_slot_fn *fn, void *arg);
uint64_t owner_key_hash(const struct owner_key *key); // the same for ever; never 0
struct owner_key holder_key(const struct holder *holder);

// ---- what the store is to be told ----
void allocator_want(struct allocator *allocator, struct slot *slot, enum slot_want want);
struct slot *allocator_next_wanting(
	struct allocator *allocator); // takes it out of the list; NULL: none. Not those that are busy
bool allocator_has_wanting(const struct allocator *allocator);

struct allocator_counts {
	size_t total, free, used, resting, kept, foreign; // free: also those that have rested
	size_t unwritten; // of all, those that the store does not know yet
};
void allocator_count(const struct allocator *allocator, enum family family, uint64_t now_ms,
		     struct allocator_counts *ret); // all 0: no subnet of this family
