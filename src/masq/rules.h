// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which firewall rules a host wants for its networks, as values: nothing here knows nftables or iptables.
//
// DOC: the rules
//
// Of each family, N a network, P the host's own subnet of it, M the multicast addresses, X each CIDR that is never masqueraded. After routing:
//
//	mark 0x4000/0x4000 return	kube-proxy's: it masquerades these itself
//	N -> X, X -> N return		asked for by --ip-masq-exclude
//	N -> N return			containers see one another's own addresses, also those of two other hosts that we forward
//	not N -> P return		from outside to our own containers: the answer comes back to us anyway
//	N -> not M masquerade		leaving the network
//	not N -> N masquerade		from this host or from outside to another host's container, which knows no way back
//
// The returns of all networks come before what masquerades: of two networks one is the other's outside. flannel has the third line only for the
// own subnet, and in nftables a fourth that hides the last one.
//
// While forwarding: from N accept, to N accept.
#pragma once

#include "core/lease.h"

#include <stdbool.h>
#include <stddef.h>

#define MASQ_MARK 0x4000u // kube-proxy's --iptables-masquerade-bit

enum masq_family { MASQ_IPV4, MASQ_IPV6, MASQ_FAMILY_COUNT };
enum masq_chain { MASQ_POSTROUTING, MASQ_FORWARD, MASQ_CHAIN_COUNT };
enum masq_verdict { MASQ_RETURN, MASQ_ACCEPT, MASQ_MASQUERADE, MASQ_MASQUERADE_RANDOM };

struct masq_match {
	struct ipnet net; // not set: whatever address
	bool is_negated;
};

struct masq_rule {
	enum masq_chain chain;
	enum masq_verdict verdict;
	bool is_marked; // by kube-proxy
	struct masq_match from, to;
};

// Of one family, those of a chain in their order.
struct masq_rules {
	struct masq_rule *rules;
	size_t count, capacity;
};

struct masq_network {
	struct subnet network, own; // a family that is off: not set
};

struct masq_wish {
	bool masquerade;
	bool fully_random; // ports of masqueraded connections
	bool forward;
	const struct ipnet *never; // to and from which nothing is masqueraded
	size_t never_count;
};

// ret must be zero, or is emptied.
void masq_rules_make(const struct masq_wish *wish, const struct masq_network *networks,
		     size_t count, enum masq_family family, struct masq_rules *ret);
void masq_rules_free(struct masq_rules *rules); // usable again
bool masq_rules_equal(const struct masq_rules *a, const struct masq_rules *b);
size_t masq_rules_in(const struct masq_rules *rules, enum masq_chain chain);

#define MASQ_RULE_TEXT_MAX 256
// As nft writes it: "postrtg ip saddr 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade".
const char *masq_rule_text(const struct masq_rule *rule, enum masq_family family,
			   char buf[static MASQ_RULE_TEXT_MAX]);

// flannel's names, so that what it left is taken over, and what we leave it takes over.
extern const char *const masq_nft_tables[MASQ_FAMILY_COUNT];   // "flannel-ipv4"
extern const char *const masq_nft_families[MASQ_FAMILY_COUNT]; // "ip"
extern const char *const masq_nft_chains[MASQ_CHAIN_COUNT];    // "postrtg"
