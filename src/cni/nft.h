// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the bytes of nfnetlink requests for tables, chains, sets, elements and the few expressions that our rules have.
#pragma once

#include "cni/rtnl.h"
#include "core/ipnet.h"

// A transaction: what is between nft_begin and nft_commit happens whole or not at all.
void nft_begin(struct rtnl_batch *batch);
// 0; -EEXIST, -ENOENT and what else the kernel says (fault is set only to -EIO for the socket's own errors).
int nft_commit(struct rtnl *nft, struct rtnl_batch *batch, struct fault *fault);

void nft_put_table(struct rtnl_batch *batch, int family, const char *table);
struct nft_hook {
	const char *type; // "nat", "filter"
	uint32_t number;
	int32_t priority;
};
void nft_put_chain(struct rtnl_batch *batch, int family, const char *table, const char *chain,
		   const struct nft_hook *hook);
// Of addresses of one family. It must not be there yet: see nft_commit.
void nft_put_set(struct rtnl_batch *batch, int family, const char *table, const char *set,
		 uint32_t key_type, uint32_t key_len);
// Elements: to add or to delete.
void nft_put_element(struct rtnl_batch *batch, int family, const char *table, const char *set,
		     bool add, const void *key, size_t len);

// A rule: nft_rule_begin, expressions, nft_rule_end.
struct nft_rule {
	struct rtnl_batch *batch;
	struct nlmsg *msg;
	size_t list;
};
struct nft_rule nft_rule_begin(struct rtnl_batch *batch, int family, const char *table,
			       const char *chain);
void nft_rule_end(struct nft_rule *rule);
void nft_load(struct nft_rule *rule, uint32_t base, uint32_t offset,
	      uint32_t len); // of the packet, into the register
void nft_mask(struct nft_rule *rule, const void *mask, size_t len);
void nft_compare(struct nft_rule *rule, bool equal, const void *value, size_t len);
void nft_lookup(struct nft_rule *rule, const char *set);
void nft_statement(struct nft_rule *rule, const char *name); // without data: "masq"
