// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: keeping the host's firewall rules as the networks want them: when they are looked at, repaired, and left to another program's war.
//
// DOC: a turn
//
// All changes go the same way, at start, when the wish changes and when another program changed something: look at what is there, compare,
// apply the difference in one transaction, and look once more. What differs then only in how this version of nft writes it is remembered as in
// order. Where a chain FORWARD of iptables drops what it does not know, as with Docker and kube-proxy, rules of nftables cannot let pass what it
// drops: then ours are rules of iptables, of the kind that drops, until the agent ends. What is left of us in the other places is removed. iptables
// over nftables is looked at when the kernel tells of a change there; of the older kind it does not, so that one is printed every resync_ms where
// it is in use at all. A turn begins when the kernel tells of a change of one of our tables or of the chains that ours stand beside, when notifications were
// lost, and from time to time. Nothing is changed before masq_set: what an earlier life left goes on.
#pragma once

#include "io/loop.h"
#include "masq/rules.h"
#include "reconcile/war.h"

enum masq_mode { MASQ_AUTO, MASQ_NFTABLES, MASQ_IPTABLES, MASQ_MODE_COUNT };
extern const char *const masq_mode_names[MASQ_MODE_COUNT];

struct masq_config {
	struct masq_wish wish;
	enum masq_mode mode;
	uint64_t resync_ms;
	bool looks_only; // and changes nothing, before masq_act
};

struct masq_hooks {
	// Another program had changed it; war: once too often, it is left alone for a while.
	void (*repaired)(void *arg, const char *what, bool war);
};

struct masq_status {
	enum masq_mode mode; // that is used; MASQ_AUTO: not known yet
	const char *why;     // that one
	const char *kind;    // of iptables: "nft", "legacy"; "": nftables
	bool is_known;	     // what is there was compared with what is wanted
	size_t rules;	     // wanted
	bool is_in_order; // the host had all of them, and none of ours beside them, when it was looked at last
	struct err error;  // code 0: none
	char warning[256]; // what the rules cannot change; "": nothing
	uint64_t looks, changes, repairs, wars;
	uint64_t last_repair_at_ms; // loop_now_ms; 0: never
	uint64_t hold_until_ms;	    // of a war
};

struct masq;
// config is copied, but what its pointers say must live as long.
struct masq *masq_new(struct loop *loop, const struct masq_config *config,
		      const struct masq_hooks *hooks, void *arg);
struct masq *masq_free(struct masq *masq); // the rules stay
// These networks have rules from now on, and no others. prefers_nftables: one of them has EnableNFTables in its config.
void masq_set(struct masq *masq, const struct masq_network *networks, size_t count,
	      bool prefers_nftables);
const struct masq_status *masq_status(const struct masq *masq);
// Looks and tells again, as after a notification.
void masq_reload(struct masq *masq);
void masq_act(struct masq *masq); // of one that looks only: not any more
// What will be changed and is not yet, as seen last.
typedef void masq_change_fn(void *arg, const char *verb, const char *rule);
void masq_each_change(const struct masq *masq, masq_change_fn *fn, void *arg);
