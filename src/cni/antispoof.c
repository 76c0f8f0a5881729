// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: keeping a container on a bridge from sending with a MAC or an IP address that is not its own.
//
// DOC: table bridge weft-cni has four sets, keyed by the index of the host's end, which the kernel does not give twice:
//   ports { iif }, macs { iif . mac }, addrs4 { iif . ip }, addrs6 { iif . ip6 }
// and one chain before all bridging, of a fixed number of rules whatever the number of containers:
//   iif not in ports: accept; iif . ether saddr not in macs: drop; for IPv4, ARP (sender's IP and MAC) and IPv6 the same
//   with the addresses. 0.0.0.0 in ARP and :: and link-local sources of IPv6 pass, for addresses are found out with them.
// Table, sets and rules are made in one transaction, by whoever is first.
#include "cni/antispoof.h"

#include "cni/nft.h"
#include "core/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <net/ethernet.h>
#include <string.h>

#define TABLE "weft-cni"
#define CHAIN "antispoof"
#define FAMILY NFPROTO_BRIDGE
#define HOOK_PRE_ROUTING \
	0 // NF_BR_PRE_ROUTING, whose header does not go together with <net/if.h> of musl
#define PRIORITY (-300) // before what the bridge does with an address

// nft's own numbers of types, six bits each where several make one key.
enum { TYPE_IPV4 = 7, TYPE_IPV6 = 8, TYPE_ETHER = 9, TYPE_DEVICE = 20 };
#define KEY_MAX 20
#define MAC_PADDED 8 // a part of a key fills whole registers of four bytes

struct set {
	const char *name;
	uint32_t key_type, key_len;
};
static const struct set ports = { "ports", TYPE_DEVICE, 4 };
static const struct set macs = { "macs", TYPE_DEVICE << 6 | TYPE_ETHER, 4 + MAC_PADDED };
static const struct set addrs4 = { "addrs4", TYPE_DEVICE << 6 | TYPE_IPV4, 8 };
static const struct set addrs6 = { "addrs6", TYPE_DEVICE << 6 | TYPE_IPV6, KEY_MAX };
static const struct set *const sets[] = { &ports, &macs, &addrs4, &addrs6 };

static void put_protocol(struct nft_rule *rule, uint16_t ethertype)
{
	uint16_t value = htons(ethertype);

	nft_load_protocol(rule);
	nft_compare(rule, true, &value, sizeof(value));
}

static void put_drop_unless(struct nft_rule *rule, uint32_t base, uint32_t offset, uint32_t len,
			    const struct set *set)
{
	nft_load_device(rule);
	nft_load_behind(rule, base, offset, len);
	nft_lookup_not(rule, set->name);
	nft_verdict(rule, NF_DROP);
	nft_rule_end(rule);
}

static struct nft_rule begin(struct rtnl_batch *batch)
{
	return nft_rule_begin(batch, FAMILY, TABLE, CHAIN);
}

static void put_rules(struct rtnl_batch *batch)
{
	static const uint8_t zero[16], link_local[16] = { 0xfe, 0x80 },
				       link_local_mask[16] = { 0xff, 0xc0 };
	struct nft_rule rule = begin(batch);

	nft_load_device(&rule);
	nft_lookup_not(&rule, ports.name);
	nft_verdict(&rule, NF_ACCEPT);
	nft_rule_end(&rule);

	rule = begin(batch);
	put_drop_unless(&rule, NFT_PAYLOAD_LL_HEADER, 6, 6, &macs);

	rule = begin(batch);
	put_protocol(&rule, ETHERTYPE_IP);
	put_drop_unless(&rule, NFT_PAYLOAD_NETWORK_HEADER, 12, 4, &addrs4);

	rule = begin(batch);
	put_protocol(&rule, ETHERTYPE_ARP);
	put_drop_unless(&rule, NFT_PAYLOAD_NETWORK_HEADER, 8, 6, &macs);
	rule = begin(batch);
	put_protocol(&rule, ETHERTYPE_ARP);
	nft_load(&rule, NFT_PAYLOAD_NETWORK_HEADER, 14, 4);
	nft_compare(&rule, false, zero, 4);
	put_drop_unless(&rule, NFT_PAYLOAD_NETWORK_HEADER, 14, 4, &addrs4);

	rule = begin(batch);
	put_protocol(&rule, ETHERTYPE_IPV6);
	nft_load(&rule, NFT_PAYLOAD_NETWORK_HEADER, 8, 16);
	nft_compare(&rule, false, zero, 16);
	nft_mask(&rule, link_local_mask, 16);
	nft_compare(&rule, false, link_local, 16);
	put_drop_unless(&rule, NFT_PAYLOAD_NETWORK_HEADER, 8, 16, &addrs6);
}

static int make_table(struct rtnl *nft, struct rtnl_batch *batch, struct fault *fault)
{
	static const struct nft_hook hook = { "filter", HOOK_PRE_ROUTING, PRIORITY };

	batch_reset(batch);
	nft_begin(batch);
	nft_put_table(batch, FAMILY, TABLE);
	nft_put_chain(batch, FAMILY, TABLE, CHAIN, &hook);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		nft_put_set(batch, FAMILY, TABLE, sets[i]->name, sets[i]->key_type, sets[i]->key_len);
	put_rules(batch);
	return nft_commit(nft, batch, fault);
}

static void put_key(struct rtnl_batch *batch, const struct set *set, uint32_t ifindex,
		    const void *rest, size_t len)
{
	uint8_t key[KEY_MAX] = { 0 };

	memcpy(key, &ifindex, sizeof(ifindex)); // in the host's order, as the kernel loads it
	if (len > 0)
		memcpy(key + sizeof(ifindex), rest, len);
	nft_put_element(batch, FAMILY, TABLE, set->name, true, key, set->key_len);
}

// The port last: from then on the rules look at what it sends.
static int add_elements(struct rtnl *nft, struct rtnl_batch *batch, uint32_t ifindex,
			const struct mac *mac, const struct result *result, struct fault *fault)
{
	batch_reset(batch);
	nft_begin(batch);
	put_key(batch, &macs, ifindex, mac->bytes, sizeof(mac->bytes));
	for (size_t i = 0; i < result->ip_count; i++) {
		const struct ip *ip = &result->ips[i].address;

		put_key(batch, ip->family == AF_INET ? &addrs4 : &addrs6, ifindex, ip->bytes,
			ip_width_bytes(ip));
	}
	put_key(batch, &ports, ifindex, NULL, 0);
	return nft_commit(nft, batch, fault);
}

int antispoof_add(uint32_t ifindex, const struct mac *mac, const struct result *result,
		  struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	struct rtnl nft = { .fd = -1 };
	char text[256];
	int r;

	r = rtnl_open(&nft, NETLINK_NETFILTER, fault);
	if (r < 0)
		return r;
	r = add_elements(&nft, batch, ifindex, mac, result, fault);
	if (r == -ENOENT) {
		r = make_table(&nft, batch, fault);
		if (r == 0 || r == -EEXIST)
			r = add_elements(&nft, batch, ifindex, mac, result, fault);
	}
	rtnl_close(&nft);
	if (r == 0 || r == -EIO)
		return r;
	return fault_set(fault, FAULT_INTERNAL, "failed to set up antispoof: nftables: %s",
			 batch_error_text(batch, (unsigned int)batch_first_error(batch), text,
					  sizeof(text)));
}

struct sweep {
	const struct set *set;
	struct rtnl_batch *deletions;
	size_t room; // deletions that still fit; the rest is for the next sweep
};

static void note_stale(void *arg, const uint8_t *key, size_t len)
{
	struct sweep *sweep = arg;
	char name[IFNAMSIZ];
	uint32_t ifindex;

	if (len != sweep->set->key_len || sweep->room == 0)
		return;
	memcpy(&ifindex, key, sizeof(ifindex));
	if (if_indextoname(ifindex, name))
		return;
	nft_put_element(sweep->deletions, FAMILY, TABLE, sweep->set->name, false, key, len);
	sweep->room--;
}

static int look(void *arg, unsigned int index, const struct nlmsg_view *view)
{
	(void)index;
	return nft_read_elements(view, note_stale, arg);
}

static int sweep_set(struct rtnl *nft, const struct set *set, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *dump = batch_new(), *deletions = batch_new();
	struct sweep sweep = { .set = set, .deletions = deletions, .room = RTNL_BATCH_MAX - 8 };
	int r;

	nft_begin(deletions);
	nft_put_dump(dump, FAMILY, TABLE, set->name);
	r = rtnl_exchange(nft, dump, look, &sweep, fault);
	if (r < 0 || sweep.room == RTNL_BATCH_MAX - 8)
		return r;
	r = nft_commit(nft, deletions, fault);
	return r == -EIO ? r : 0; // another plugin's sweep was quicker with one of them
}

int antispoof_sweep(struct fault *fault)
{
	struct rtnl nft = { .fd = -1 };
	int r;

	r = rtnl_open(&nft, NETLINK_NETFILTER, fault);
	for (size_t i = 0; i < ARRAY_SIZE(sets) && r == 0; i++)
		r = sweep_set(&nft, sets[i], fault);
	rtnl_close(&nft);
	return r;
}
