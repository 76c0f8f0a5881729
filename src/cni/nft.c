// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the bytes of nfnetlink requests. What they mean is in linux/netfilter/nf_tables.h.
#include "cni/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#define REGISTER NFT_REG_1 // sixteen bytes: an address of either family

static void put_be32(struct nlmsg *msg, uint16_t type, uint32_t value)
{
	nlmsg_put_u32(msg, type, htonl(value));
}

static void put_frame(struct rtnl_batch *batch, uint16_t type)
{
	struct nfgenmsg header = { .nfgen_family = AF_UNSPEC, .res_id = htons(NFNL_SUBSYS_NFTABLES) };

	nlmsg_put_header(batch_begin(batch, RTNL_NOTHING, type, 0), &header, sizeof(header));
	(void)batch_end(batch);
}

static struct nlmsg *begin(struct rtnl_batch *batch, int family, uint16_t type, uint16_t flags)
{
	struct nfgenmsg header = { .nfgen_family = (uint8_t)family };
	struct nlmsg *msg =
		batch_begin(batch, RTNL_ACK, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags);

	nlmsg_put_header(msg, &header, sizeof(header));
	return msg;
}

void nft_begin(struct rtnl_batch *batch)
{
	put_frame(batch, NFNL_MSG_BATCH_BEGIN);
}

int nft_commit(struct rtnl *nft, struct rtnl_batch *batch, struct fault *fault)
{
	int failed, r;

	put_frame(batch, NFNL_MSG_BATCH_END);
	r = rtnl_exchange(nft, batch, NULL, NULL, fault);
	if (r < 0)
		return r;
	failed = batch_first_error(batch);
	return failed < 0 ? 0 : batch->messages[failed].error;
}

void nft_put_table(struct rtnl_batch *batch, int family, const char *table)
{
	struct nlmsg *msg = begin(batch, family, NFT_MSG_NEWTABLE, NLM_F_CREATE);

	nlmsg_put_string(msg, NFTA_TABLE_NAME, table);
	(void)batch_end(batch);
}

void nft_put_chain(struct rtnl_batch *batch, int family, const char *table, const char *chain,
		   const struct nft_hook *hook)
{
	struct nlmsg *msg = begin(batch, family, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	size_t nest;

	nlmsg_put_string(msg, NFTA_CHAIN_TABLE, table);
	nlmsg_put_string(msg, NFTA_CHAIN_NAME, chain);
	nest = nlmsg_nest_begin(msg, NFTA_CHAIN_HOOK);
	put_be32(msg, NFTA_HOOK_HOOKNUM, hook->number);
	put_be32(msg, NFTA_HOOK_PRIORITY, (uint32_t)hook->priority);
	nlmsg_nest_end(msg, nest);
	nlmsg_put_string(msg, NFTA_CHAIN_TYPE, hook->type);
	(void)batch_end(batch);
}

void nft_put_set(struct rtnl_batch *batch, int family, const char *table, const char *set,
		 uint32_t key_type, uint32_t key_len)
{
	struct nlmsg *msg = begin(batch, family, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL);

	nlmsg_put_string(msg, NFTA_SET_TABLE, table);
	nlmsg_put_string(msg, NFTA_SET_NAME, set);
	put_be32(msg, NFTA_SET_FLAGS, 0);
	put_be32(msg, NFTA_SET_KEY_TYPE, key_type);
	put_be32(msg, NFTA_SET_KEY_LEN, key_len);
	put_be32(msg, NFTA_SET_ID, batch->count); // any, once in a transaction
	(void)batch_end(batch);
}

void nft_put_element(struct rtnl_batch *batch, int family, const char *table, const char *set,
		     bool add, const void *key, size_t len)
{
	struct nlmsg *msg = begin(batch, family, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM,
				  add ? NLM_F_CREATE : 0);
	size_t list, element, value;

	nlmsg_put_string(msg, NFTA_SET_ELEM_LIST_TABLE, table);
	nlmsg_put_string(msg, NFTA_SET_ELEM_LIST_SET, set);
	list = nlmsg_nest_begin(msg, NFTA_SET_ELEM_LIST_ELEMENTS);
	element = nlmsg_nest_begin(msg, NFTA_LIST_ELEM);
	value = nlmsg_nest_begin(msg, NFTA_SET_ELEM_KEY);
	nlmsg_put(msg, NFTA_DATA_VALUE, key, len);
	nlmsg_nest_end(msg, value);
	nlmsg_nest_end(msg, element);
	nlmsg_nest_end(msg, list);
	(void)batch_end(batch);
}

struct nft_rule nft_rule_begin(struct rtnl_batch *batch, int family, const char *table,
			       const char *chain)
{
	struct nft_rule rule = {
		.batch = batch,
		.msg = begin(batch, family, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND),
	};

	nlmsg_put_string(rule.msg, NFTA_RULE_TABLE, table);
	nlmsg_put_string(rule.msg, NFTA_RULE_CHAIN, chain);
	rule.list = nlmsg_nest_begin(rule.msg, NFTA_RULE_EXPRESSIONS);
	return rule;
}

void nft_rule_end(struct nft_rule *rule)
{
	nlmsg_nest_end(rule->msg, rule->list);
	(void)batch_end(rule->batch);
}

struct expression {
	size_t element, data;
};

static struct expression begin_expression(struct nft_rule *rule, const char *name)
{
	struct expression expression;

	expression.element = nlmsg_nest_begin(rule->msg, NFTA_LIST_ELEM);
	nlmsg_put_string(rule->msg, NFTA_EXPR_NAME, name);
	expression.data = nlmsg_nest_begin(rule->msg, NFTA_EXPR_DATA);
	return expression;
}

static void end_expression(struct nft_rule *rule, const struct expression *expression)
{
	nlmsg_nest_end(rule->msg, expression->data);
	nlmsg_nest_end(rule->msg, expression->element);
}

static void put_data(struct nlmsg *msg, uint16_t type, const void *value, size_t len)
{
	size_t nest = nlmsg_nest_begin(msg, type);

	nlmsg_put(msg, NFTA_DATA_VALUE, value, len);
	nlmsg_nest_end(msg, nest);
}

void nft_load(struct nft_rule *rule, uint32_t base, uint32_t offset, uint32_t len)
{
	struct expression expression = begin_expression(rule, "payload");

	put_be32(rule->msg, NFTA_PAYLOAD_DREG, REGISTER);
	put_be32(rule->msg, NFTA_PAYLOAD_BASE, base);
	put_be32(rule->msg, NFTA_PAYLOAD_OFFSET, offset);
	put_be32(rule->msg, NFTA_PAYLOAD_LEN, len);
	end_expression(rule, &expression);
}

void nft_mask(struct nft_rule *rule, const void *mask, size_t len)
{
	struct expression expression = begin_expression(rule, "bitwise");
	static const uint8_t zero[16];

	put_be32(rule->msg, NFTA_BITWISE_SREG, REGISTER);
	put_be32(rule->msg, NFTA_BITWISE_DREG, REGISTER);
	put_be32(rule->msg, NFTA_BITWISE_LEN, (uint32_t)len);
	put_data(rule->msg, NFTA_BITWISE_MASK, mask, len);
	put_data(rule->msg, NFTA_BITWISE_XOR, zero, len);
	end_expression(rule, &expression);
}

void nft_compare(struct nft_rule *rule, bool equal, const void *value, size_t len)
{
	struct expression expression = begin_expression(rule, "cmp");

	put_be32(rule->msg, NFTA_CMP_SREG, REGISTER);
	put_be32(rule->msg, NFTA_CMP_OP, equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
	put_data(rule->msg, NFTA_CMP_DATA, value, len);
	end_expression(rule, &expression);
}

void nft_lookup(struct nft_rule *rule, const char *set)
{
	struct expression expression = begin_expression(rule, "lookup");

	nlmsg_put_string(rule->msg, NFTA_LOOKUP_SET, set);
	put_be32(rule->msg, NFTA_LOOKUP_SREG, REGISTER);
	end_expression(rule, &expression);
}

void nft_statement(struct nft_rule *rule, const char *name)
{
	struct expression expression = begin_expression(rule, name);

	end_expression(rule, &expression);
}
