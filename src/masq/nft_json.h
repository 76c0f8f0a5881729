// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: rules in libnftables' JSON: what makes a table have them, and whether a listing shows them.
#pragma once

#include "core/err.h"
#include "masq/rules.h"

#include <jansson.h>

#define NFT_LISTING_MAX ((size_t)32 * 1024 * 1024) // a host with very many chains

// Our table of one family, as listed.
struct nft_table {
	bool is_there;
	bool has_odd; // a chain with another hook or policy than ours, or something else that is not ours
	bool has_chain[MASQ_CHAIN_COUNT];
	json_t *rules[MASQ_CHAIN_COUNT]; // what each says, in their order; NULL without the chain
};
void nft_table_free(struct nft_table *table);

// What the base chains of the host say of forwarding, whoever's they are.
struct nft_chains {
	bool has_table[MASQ_FAMILY_COUNT];	// our table has chains
	bool iptables_drops[MASQ_FAMILY_COUNT]; // the policy of FORWARD of iptables over nftables
	bool has_flannel[MASQ_FAMILY_COUNT]; // chains of flannel's name in iptables over nftables
	char dropper[128]; // another one's chain that drops what it does not know: "inet firewalld filter_FORWARD"; "": none
};

// What `nft -j list chains` says. -EINVAL.
int nft_chains_read(const char *text, size_t len, struct nft_chains *ret, struct err *e);
// What `nft -j list table` of ours says; ret is to be freed. -EINVAL.
int nft_table_read(const char *text, size_t len, enum masq_family family, struct nft_table *ret,
		   struct err *e);

// Each rule as nft_table.rules has it. New reference.
json_t *nft_rules_json(const struct masq_rules *rules, enum masq_family family, enum masq_chain chain);
// As equal as it can be told: all chains of rules, no others, with these rules and no others.
bool nft_table_has(const struct nft_table *table, const struct masq_rules *rules,
		   enum masq_family family);
// One command that leaves of our table what rules say, or nothing if they are none; for one transaction with others. New reference.
json_t *nft_table_commands(const struct nft_table *table, const struct masq_rules *rules,
			   enum masq_family family);
