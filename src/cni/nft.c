// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the bytes of nfnetlink requests. What they mean is in linux/netfilter/nf_tables.h.
#include "cni/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

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

static void load(struct nft_rule *rule, uint32_t reg, uint32_t base, uint32_t offset, uint32_t len)
{
	struct expression expression = begin_expression(rule, "payload");

	put_be32(rule->msg, NFTA_PAYLOAD_DREG, reg);
	put_be32(rule->msg, NFTA_PAYLOAD_BASE, base);
	put_be32(rule->msg, NFTA_PAYLOAD_OFFSET, offset);
	put_be32(rule->msg, NFTA_PAYLOAD_LEN, len);
	end_expression(rule, &expression);
}

void nft_load(struct nft_rule *rule, uint32_t base, uint32_t offset, uint32_t len)
{
	load(rule, REGISTER, base, offset, len);
}

void nft_load_behind(struct nft_rule *rule, uint32_t base, uint32_t offset, uint32_t len)
{
	load(rule, NFT_REG32_01, base, offset, len);
}

static void load_meta(struct nft_rule *rule, uint32_t key)
{
	struct expression expression = begin_expression(rule, "meta");

	put_be32(rule->msg, NFTA_META_DREG, REGISTER);
	put_be32(rule->msg, NFTA_META_KEY, key);
	end_expression(rule, &expression);
}

void nft_load_device(struct nft_rule *rule)
{
	load_meta(rule, NFT_META_IIF);
}

void nft_load_protocol(struct nft_rule *rule)
{
	load_meta(rule, NFT_META_PROTOCOL);
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

static void lookup(struct nft_rule *rule, const char *set, uint32_t flags)
{
	struct expression expression = begin_expression(rule, "lookup");

	nlmsg_put_string(rule->msg, NFTA_LOOKUP_SET, set);
	put_be32(rule->msg, NFTA_LOOKUP_SREG, REGISTER);
	if (flags)
		put_be32(rule->msg, NFTA_LOOKUP_FLAGS, flags);
	end_expression(rule, &expression);
}

void nft_lookup(struct nft_rule *rule, const char *set)
{
	lookup(rule, set, 0);
}

void nft_lookup_not(struct nft_rule *rule, const char *set)
{
	lookup(rule, set, NFT_LOOKUP_F_INV);
}

void nft_verdict(struct nft_rule *rule, uint32_t verdict)
{
	struct expression expression = begin_expression(rule, "immediate");
	size_t data, nest;

	put_be32(rule->msg, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	data = nlmsg_nest_begin(rule->msg, NFTA_IMMEDIATE_DATA);
	nest = nlmsg_nest_begin(rule->msg, NFTA_DATA_VERDICT);
	put_be32(rule->msg, NFTA_VERDICT_CODE, verdict);
	nlmsg_nest_end(rule->msg, nest);
	nlmsg_nest_end(rule->msg, data);
	end_expression(rule, &expression);
}

void nft_statement(struct nft_rule *rule, const char *name)
{
	struct expression expression = begin_expression(rule, name);

	end_expression(rule, &expression);
}

void nft_put_dump(struct rtnl_batch *batch, int family, const char *table, const char *set)
{
	struct nfgenmsg header = { .nfgen_family = (uint8_t)family };
	struct nlmsg *msg =
		batch_begin(batch, RTNL_DUMP, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM, 0);

	nlmsg_put_header(msg, &header, sizeof(header));
	nlmsg_put_string(msg, NFTA_SET_ELEM_LIST_TABLE, table);
	nlmsg_put_string(msg, NFTA_SET_ELEM_LIST_SET, set);
	(void)batch_end(batch);
}

// One element of a list: its key's bytes.
static int read_key(const struct nlattr_view *element, struct nlattr_view *ret)
{
	struct nlattr_view table[NFTA_SET_ELEM_KEY + 1], key[NFTA_DATA_VALUE + 1];
	int r;

	r = nlattr_index(element->data, element->len, table, NFTA_SET_ELEM_KEY + 1);
	if (r == 0 && !table[NFTA_SET_ELEM_KEY].data)
		r = -EBADMSG;
	if (r == 0)
		r = nlattr_index(table[NFTA_SET_ELEM_KEY].data, table[NFTA_SET_ELEM_KEY].len, key,
				 NFTA_DATA_VALUE + 1);
	if (r == 0)
		*ret = key[NFTA_DATA_VALUE];
	return r;
}

int nft_read_elements(const struct nlmsg_view *view, nft_element_fn *fn, void *arg)
{
	struct nlattr_view table[NFTA_SET_ELEM_LIST_ELEMENTS + 1], list, key, one[NFTA_LIST_ELEM + 1];
	int r;

	if (view->type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM))
		return 0;
	if (view->len < sizeof(struct nfgenmsg))
		return -EBADMSG;
	r = nlattr_index(view->data + sizeof(struct nfgenmsg), view->len - sizeof(struct nfgenmsg),
			 table, NFTA_SET_ELEM_LIST_ELEMENTS + 1);
	list = table[NFTA_SET_ELEM_LIST_ELEMENTS];
	while (r == 0 && list.data && list.len >= NLA_HDRLEN) {
		struct nlattr header;
		size_t step;

		// All of one type, so one by one.
		memcpy(&header, list.data, sizeof(header));
		step = NLA_ALIGN(header.nla_len);
		if (header.nla_len < sizeof(header) || header.nla_len > list.len)
			return -EBADMSG;
		r = nlattr_index(list.data, header.nla_len, one, NFTA_LIST_ELEM + 1);
		if (r == 0 && one[NFTA_LIST_ELEM].data)
			r = read_key(&one[NFTA_LIST_ELEM], &key);
		if (r == 0 && one[NFTA_LIST_ELEM].data && key.data)
			fn(arg, key.data, key.len);
		step = step < list.len ? step : list.len;
		list.data += step;
		list.len -= step;
	}
	return r;
}
