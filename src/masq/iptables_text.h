// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: rules in the words of iptables-save and iptables-restore. flannel's chains and comments, so that either takes over what the other left.
#pragma once

#include "core/strbuf.h"
#include "masq/rules.h"

#define IPTABLES_LINE_MAX 2048			// a longer one is not ours
#define IPTABLES_OURS_MAX ((size_t)1024 * 1024) // of our lines; more are not ours

// What iptables-save says of us, of one family. Zero it, or free it, before the first use.
struct iptables_have {
	bool has_chain[MASQ_CHAIN_COUNT];
	char *rules[MASQ_CHAIN_COUNT]; // the lines of our chain, each with its end; "" or NULL: none
	char *jumps[MASQ_CHAIN_COUNT]; // the lines of others that lead to it
	bool forward_drops;	       // the policy of FORWARD
};
void iptables_have_free(struct iptables_have *have); // leaves it zero

// Reads as it comes, piece by piece.
struct iptables_reader;
struct iptables_reader *iptables_reader_new(void);
void iptables_reader_feed(struct iptables_reader *reader, const char *data, size_t len);
// What was read, to ret, which is zero. NULL: nobody wants it. Frees the reader.
struct iptables_reader *iptables_reader_end(struct iptables_reader *reader, struct iptables_have *ret);

// As iptables-save would print the rules of a chain, and the line that leads to it. "" without rules. The caller frees.
char *iptables_rules_text(const struct masq_rules *rules, enum masq_chain chain);
const char *iptables_jump_text(enum masq_chain chain);

bool iptables_has_chain(const struct iptables_have *have, const struct masq_rules *rules,
			enum masq_chain chain);
// For iptables-restore --noflush: makes what is there what rules say in the chains of mask (bits by enum masq_chain). The caller frees.
char *iptables_restore_text(const struct iptables_have *have, const struct masq_rules *rules,
			    unsigned int mask);
