// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: masquerading of single containers.
//
// DOC: table ip weft-cni { set pods-10.5.34.0-24 { 10.5.34.7 }
//   chain postrouting { type nat hook postrouting priority 100
//     ip saddr @pods-10.5.34.0-24 ip daddr != 10.5.34.0/24 ip daddr != 224.0.0.0/4 masquerade } }
// The set is created exclusively, in one transaction with its rule: of several plugins at once one makes both, and the others
// find the set. No newer expression is needed than Linux 4.19 has.
#include "cni/masq.h"

#include "cni/nft.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#define CHAIN "postrouting"
#define SET_NAME_MAX 64
#define PRIORITY_SRCNAT 100

// Where the addresses are in a header, and how a set's type is called (nft's own numbers).
static const struct header {
	uint32_t source, destination, len, key_type;
} headers[] = { { 12, 16, 4, 7 }, { 8, 24, 16, 8 } };

static const struct header *header_of(const struct ipnet *net)
{
	return &headers[net->addr.family == AF_INET ? 0 : 1];
}

static int nft_family(const struct ipnet *net)
{
	return net->addr.family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;
}

// Letters, digits, dots and dashes: ':' is none of what nft takes in a name.
static void set_name(const struct ipnet *net, char ret[static SET_NAME_MAX])
{
	char text[IPNET_STR_MAX];

	(void)text_format(ret, SET_NAME_MAX, "pods-%s", ipnet_str(net, text));
	for (char *at = ret; *at; at++)
		if (*at == '/')
			*at = '-';
		else if (*at == ':')
			*at = '_';
}

static void put_not_in(struct nft_rule *rule, const struct ipnet *net)
{
	const struct header *header = header_of(net);
	struct ip all = ip_from_value(net->addr.family, ~(u128)0);
	struct ipnet mask = ipnet_of(&all, net->len);

	nft_load(rule, NFT_PAYLOAD_NETWORK_HEADER, header->destination, header->len);
	nft_mask(rule, mask.addr.bytes, header->len);
	nft_compare(rule, false, net->addr.bytes, header->len);
}

static void put_rule(struct rtnl_batch *batch, const struct ipnet *net, const char *set)
{
	struct nft_rule rule = nft_rule_begin(batch, nft_family(net), MASQ_TABLE, CHAIN);
	const struct header *header = header_of(net);
	struct ipnet multicast;

	(void)ipnet_parse(net->addr.family == AF_INET ? "224.0.0.0/4" : "ff00::/8", &multicast);
	nft_load(&rule, NFT_PAYLOAD_NETWORK_HEADER, header->source, header->len);
	nft_lookup(&rule, set);
	put_not_in(&rule, net);
	put_not_in(&rule, &multicast);
	nft_statement(&rule, "masq");
	nft_rule_end(&rule);
}

static int put_element(struct rtnl *nft, struct rtnl_batch *batch, const struct result_ip *ip,
		       bool add, struct fault *fault)
{
	struct ipnet net = result_ip_net(ip);
	char set[SET_NAME_MAX];

	set_name(&net, set);
	batch_reset(batch);
	nft_begin(batch);
	nft_put_element(batch, nft_family(&net), MASQ_TABLE, set, add, ip->address.bytes,
			header_of(&net)->len);
	return nft_commit(nft, batch, fault);
}

static int make_set(struct rtnl *nft, struct rtnl_batch *batch, const struct ipnet *net,
		    struct fault *fault)
{
	static const struct nft_hook hook = { "nat", NF_INET_POST_ROUTING, PRIORITY_SRCNAT };
	int family = nft_family(net);
	char set[SET_NAME_MAX];

	set_name(net, set);
	batch_reset(batch);
	nft_begin(batch);
	nft_put_table(batch, family, MASQ_TABLE);
	nft_put_chain(batch, family, MASQ_TABLE, CHAIN, &hook);
	nft_put_set(batch, family, MASQ_TABLE, set, header_of(net)->key_type, header_of(net)->len);
	put_rule(batch, net, set);
	return nft_commit(nft, batch, fault);
}

static int add_one(struct rtnl *nft, struct rtnl_batch *batch, const struct result_ip *ip,
		   struct fault *fault)
{
	struct ipnet net = result_ip_net(ip);
	char text[256];
	int r;

	r = put_element(nft, batch, ip, true, fault);
	if (r == -ENOENT) {
		r = make_set(nft, batch, &net, fault);
		if (r == 0 || r == -EEXIST)
			r = put_element(nft, batch, ip, true, fault);
	}
	if (r == 0 || r == -EIO)
		return r;
	return fault_set(fault, FAULT_INTERNAL, "failed to masquerade: nftables: %s",
			 batch_error_text(batch, (unsigned int)batch_first_error(batch), text,
					  sizeof(text)));
}

int masq_add(const struct result *result, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	struct rtnl nft = { .fd = -1 };
	int r;

	r = rtnl_open(&nft, NETLINK_NETFILTER, fault);
	for (size_t i = 0; r == 0 && i < result->ip_count; i++)
		r = add_one(&nft, batch, &result->ips[i], fault);
	rtnl_close(&nft);
	return r;
}

int masq_del(const struct result *result, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	struct rtnl nft = { .fd = -1 };
	int r;

	r = rtnl_open(&nft, NETLINK_NETFILTER, fault);
	for (size_t i = 0; r == 0 && i < result->ip_count; i++) {
		r = put_element(&nft, batch, &result->ips[i], false, fault);
		if (r != -EIO)
			r = 0; // neither table nor set nor element: whoever attached it did it in another way
	}
	rtnl_close(&nft);
	return r;
}
