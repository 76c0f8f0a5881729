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
void nft_lookup_not(struct nft_rule *rule, const char *set); // goes on when it is not in the set
void nft_load_device(struct nft_rule *rule); // index of the incoming device, into the register's first four bytes
void nft_load_protocol(struct nft_rule *rule); // ethertype, two bytes
// Of the packet, into the register behind a device.
void nft_load_behind(struct nft_rule *rule, uint32_t base, uint32_t offset, uint32_t len);
void nft_verdict(struct nft_rule *rule, uint32_t verdict);   // NF_ACCEPT, NF_DROP
void nft_statement(struct nft_rule *rule, const char *name); // without data: "masq"

// All elements of a set, for a batch of its own; its answers go to nft_read_elements, which calls fn with each key.
void nft_put_dump(struct rtnl_batch *batch, int family, const char *table, const char *set);
typedef void nft_element_fn(void *arg, const uint8_t *key, size_t len);
int nft_read_elements(const struct nlmsg_view *view, nft_element_fn *fn, void *arg); // 0; -EBADMSG
