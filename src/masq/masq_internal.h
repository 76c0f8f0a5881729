// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the turn of masq.c and the places that rules can be in (place.c) share.
#pragma once

#include "io/work.h"
#include "masq/iptables.h"
#include "masq/masq.h"
#include "masq/nftables.h"

// Where rules of ours can be: the tables of nftables of both families (one transaction), and iptables by kind and family.
enum {
	PLACE_NFTABLES,
	PLACE_IPTABLES,
	PLACE_COUNT = PLACE_IPTABLES + IPTABLES_KIND_COUNT * MASQ_FAMILY_COUNT
};

struct iptables_place {
	struct iptables_have have;
	char *accepted[MASQ_CHAIN_COUNT]; // how it prints what is wanted, if otherwise than we do
};

struct masq {
	struct loop *loop;
	struct masq_config config;
	const struct masq_hooks *hooks;
	void *arg;
	struct masq_status status;
	enum iptables_kind kind; // if the mode is MASQ_IPTABLES

	struct masq_rules wanted[MASQ_FAMILY_COUNT];
	bool prefers_nftables;
	bool no_random;	  // iptables is too old for it
	bool is_set;	  // masq_set was called
	bool is_settled;  // was in order since wanted changed
	bool has_applied; // in this turn

	struct nft_monitor *monitor;
	struct fd_watch *monitor_watch;
	struct work *work;
	struct nft_job *job;
	struct nft_look seen;				       // the last one without its error
	json_t *accepted[MASQ_FAMILY_COUNT][MASQ_CHAIN_COUNT]; // how nft lists what is wanted, if otherwise than we write it
	struct iptables *iptables;
	struct iptables_place places[IPTABLES_KIND_COUNT][MASQ_FAMILY_COUNT];
	bool iptables_changed; // since it was looked at, as far as one is told
	unsigned int left;     // places to be looked at, or to be changed, in this step of the turn
	size_t at;	       // the one at hand
	bool is_busy;	       // in a turn

	struct timer *timer;
	uint64_t due_ms; // of it
	uint64_t looked_at_ms;
	bool again; // something happened during the turn
	struct war_entry war;
};

// ---- place.c ----
bool place_is_in_order(const struct masq *masq, size_t place);
// Just after it was changed: as many rules as are wanted are those, however they are printed. False: they are not.
bool place_take_as_ours(struct masq *masq, size_t place);
void place_forget_accepted(struct masq *masq);
const char *place_name(size_t place);
void place_each_change(const struct masq *masq, size_t place, masq_change_fn *fn, void *arg);
// What makes it as it should be; the caller frees.
char *place_commands(const struct masq *masq, size_t place);
void place_free_all(struct masq *masq);
static inline enum iptables_kind place_kind(size_t place)
{
	return (place - PLACE_IPTABLES) / MASQ_FAMILY_COUNT;
}
static inline enum masq_family place_family(size_t place)
{
	return (place - PLACE_IPTABLES) % MASQ_FAMILY_COUNT;
}
