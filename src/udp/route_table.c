// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: to which host an address belongs: an unchanging table that is made anew for each change.
#include "udp/route_table.h"

#include "core/hash.h"
#include "core/mem.h"

#include <errno.h>

enum { FIRST_BITS_MAX = 22, FLAT6_BITS_MAX = 20, BLOCK = 256, BLOCKS_MAX = 1 << 14 };

struct route_range6 {
	u128 first, last;
	uint32_t entry;
};

// Only while a table is made.
struct builder {
	struct route_table *table;
	uint8_t first_len; // prefix length of one entry of first4
	uint8_t flat6_len;
	size_t block_count, block_capacity;
	uint32_t *slots; // hash of hosts, index or 0
	size_t slot_mask;
};

static int overlap(const struct ipnet *subnet, struct err *e)
{
	char text[IPNET_STR_MAX];
	return err_set(e, -EEXIST, "%s overlaps another subnet", ipnet_str(subnet, text));
}

static uint32_t new_block(struct builder *b)
{
	if (b->block_count == b->block_capacity) {
		b->block_capacity = b->block_capacity ? 2 * b->block_capacity : 4;
		b->table->second4 = xrealloc_array(b->table->second4, b->block_capacity * BLOCK,
						   sizeof(uint32_t));
	}
	memset(b->table->second4 + b->block_count * BLOCK, 0, BLOCK * sizeof(uint32_t));
	return (uint32_t)b->block_count++;
}

static int fill(uint32_t *at, uint64_t count, uint32_t entry)
{
	for (uint64_t i = 0; i < count; i++) {
		if (at[i] != ROUTE_NONE)
			return -EEXIST;
		at[i] = entry;
	}
	return 0;
}

static int add4(struct builder *b, const struct ipnet *subnet, uint32_t entry, struct err *e)
{
	struct route_table *t = b->table;
	uint32_t offset = ip_v4_value(&subnet->addr) - t->base4;
	uint32_t *first = &t->first4[offset >> t->shift4];
	if (subnet->len <= b->first_len)
		return fill(first, 1ull << (b->first_len - subnet->len), entry) < 0
			       ? overlap(subnet, e)
			       : 0;
	if (*first != ROUTE_NONE && !(*first & ROUTE_SECOND))
		return overlap(subnet, e);
	if (*first == ROUTE_NONE) {
		if (b->block_count == BLOCKS_MAX)
			return err_set(e, -E2BIG, "too many subnets that are longer than /24");
		*first = ROUTE_SECOND | new_block(b);
	}
	uint32_t *block = t->second4 + (size_t)(*first & (ROUTE_SECOND - 1)) * BLOCK;
	return fill(block + (offset & 0xff), 1ull << (32 - subnet->len), entry) < 0
		       ? overlap(subnet, e)
		       : 0;
}

static int add6(struct builder *b, const struct ipnet *subnet, uint32_t entry, struct err *e)
{
	struct route_table *t = b->table;
	u128 offset = ip_value(&subnet->addr) - t->base6;
	if (t->flat6)
		return fill(&t->first6[offset >> t->shift6], 1ull << (b->flat6_len - subnet->len),
			    entry) < 0
			       ? overlap(subnet, e)
			       : 0;
	struct ip last = ipnet_last(subnet);
	t->ranges6[t->range6_count++] =
		(struct route_range6){ ip_value(&subnet->addr), ip_value(&last), entry };
	return 0;
}

static int add_subnet(struct builder *b, const struct ipnet *subnet, uint32_t entry, struct err *e)
{
	bool v4 = subnet->addr.family == AF_INET;
	const struct ipnet *network = v4 ? &b->table->config.v4.network : &b->table->config.v6.network;
	char text[2][IPNET_STR_MAX];
	if (!ipnet_is_set(network) || !ipnet_contains_net(network, subnet))
		return err_set(e, -EINVAL, "%s is not in the network %s",
			       ipnet_str(subnet, text[0]), ipnet_str(network, text[1]));
	return v4 ? add4(b, subnet, entry, e) : add6(b, subnet, entry, e);
}

static struct route_host host_of(const struct route_peer *peer)
{
	struct route_host host;
	memset(&host, 0, sizeof(host));
	if (peer->host.family == AF_INET) {
		host.len = sizeof(host.address.v4);
		host.address.v4.sin_family = AF_INET;
		host.address.v4.sin_port = htobe16(peer->port);
		memcpy(&host.address.v4.sin_addr, peer->host.bytes, 4);
	} else {
		host.len = sizeof(host.address.v6);
		host.address.v6.sin6_family = AF_INET6;
		host.address.v6.sin6_port = htobe16(peer->port);
		memcpy(&host.address.v6.sin6_addr, peer->host.bytes, 16);
	}
	return host;
}

static bool same_host(const struct route_host *a, const struct route_host *b)
{
	// The port stands at one place in both kinds of address.
	return route_host_is(a, &b->address.any) && a->address.v4.sin_port == b->address.v4.sin_port;
}

// A host has several subnets when it has one of each family.
static uint32_t host_index(struct builder *b, const struct route_peer *peer)
{
	struct route_table *t = b->table;
	struct route_host host = host_of(peer);
	size_t slot = hash_bytes(&host.address, sizeof(host.address)) & b->slot_mask;
	for (; b->slots[slot]; slot = (slot + 1) & b->slot_mask)
		if (same_host(&t->hosts[b->slots[slot]], &host))
			return b->slots[slot];
	t->hosts[t->host_count] = host;
	b->slots[slot] = (uint32_t)t->host_count++;
	return b->slots[slot];
}

static uint8_t longest(const struct route_config *config, const struct route_peer *peers,
		       size_t count, int family)
{
	const struct route_family *f = family == AF_INET ? &config->v4 : &config->v6;
	uint8_t len = f->network.len;
	if (ipnet_is_set(&f->own) && f->own.len > len)
		len = f->own.len;
	for (size_t i = 0; i < count; i++)
		if (peers[i].subnet.addr.family == family && peers[i].subnet.len > len)
			len = peers[i].subnet.len;
	return len;
}

static int prepare4(struct builder *b, uint8_t subnet_len, struct err *e)
{
	struct route_table *t = b->table;
	const struct ipnet *network = &t->config.v4.network;
	b->first_len = subnet_len > 24 && network->len <= 24 ? 24 : subnet_len;
	if (b->first_len - network->len > FIRST_BITS_MAX)
		return err_set(e, -E2BIG, "the network is too large for subnets of /%u", b->first_len);
	t->base4 = ip_v4_value(&network->addr);
	t->size4 = 1ull << (32 - network->len);
	t->shift4 = (uint8_t)(32 - b->first_len);
	// A shift by 32 is none; a network of one subnet has one entry, which any shift of its offset gives.
	if (t->shift4 == 32)
		return err_set(e, -EINVAL, "the network 0.0.0.0/0 cannot be used");
	t->first4 = xnew0_array(uint32_t, (size_t)1 << (b->first_len - network->len));
	return 0;
}

static void prepare6(struct builder *b, uint8_t subnet_len, size_t count)
{
	struct route_table *t = b->table;
	const struct ipnet *network = &t->config.v6.network;
	struct ip last = ipnet_last(network);
	t->base6 = ip_value(&network->addr);
	t->last6 = ip_value(&last) - t->base6;
	t->on6 = true;
	b->flat6_len = subnet_len;
	t->flat6 = subnet_len > 0 && subnet_len - network->len <= FLAT6_BITS_MAX;
	if (t->flat6) {
		t->shift6 = (uint8_t)(128 - subnet_len);
		t->first6 = xnew0_array(uint32_t, (size_t)1 << (subnet_len - network->len));
	} else {
		t->ranges6 = xnew0_array(struct route_range6, count + 1);
	}
}

static int compare_ranges(const void *a, const void *b)
{
	const struct route_range6 *x = a, *y = b;
	return (x->first > y->first) - (x->first < y->first);
}

static int sort6(struct route_table *t, struct err *e)
{
	if (t->range6_count > 0)
		qsort(t->ranges6, t->range6_count, sizeof(*t->ranges6), compare_ranges);
	for (size_t i = 1; i < t->range6_count; i++) {
		struct ip ip = ip_from_value(AF_INET6, t->ranges6[i].first);
		char text[IP_STR_MAX];
		if (t->ranges6[i].first <= t->ranges6[i - 1].last)
			return err_set(e, -EEXIST, "the subnet at %s overlaps another",
				       ip_str(&ip, text));
	}
	return 0;
}

static int build(struct builder *b, const struct route_peer *peers, size_t count, struct err *e)
{
	struct route_table *t = b->table;
	int r = 0;
	if (ipnet_is_set(&t->config.v4.network))
		r = prepare4(b, longest(&t->config, peers, count, AF_INET), e);
	if (r == 0 && ipnet_is_set(&t->config.v6.network))
		prepare6(b, longest(&t->config, peers, count, AF_INET6), count);
	if (r == 0 && ipnet_is_set(&t->config.v4.own))
		r = add_subnet(b, &t->config.v4.own, ROUTE_OWN, e);
	if (r == 0 && ipnet_is_set(&t->config.v6.own))
		r = add_subnet(b, &t->config.v6.own, ROUTE_OWN, e);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = add_subnet(b, &peers[i].subnet, host_index(b, &peers[i]), e);
	return r < 0 ? r : sort6(t, e);
}

int route_table_new(const struct route_config *config, const struct route_peer *peers, size_t count,
		    struct route_table **ret, struct err *e)
{
	struct route_table *table = xnew(struct route_table);
	struct builder b = { .table = table, .slot_mask = 15 };
	table->config = *config;
	table->host_count = ROUTE_FIRST_HOST;
	table->hosts = xnew0_array(struct route_host, count + ROUTE_FIRST_HOST);
	while (b.slot_mask < 2 * count)
		b.slot_mask = 2 * b.slot_mask + 1;
	b.slots = xnew0_array(uint32_t, b.slot_mask + 1);
	int r = build(&b, peers, count, e);
	free(b.slots);
	if (r < 0) {
		route_table_free(table);
		return r;
	}
	*ret = table;
	return 0;
}

struct route_table *route_table_free(struct route_table *table)
{
	if (!table)
		return NULL;
	free(table->first4);
	free(table->second4);
	free(table->first6);
	free(table->ranges6);
	free(table->hosts);
	free(table);
	return NULL;
}

static u128 value6(const uint8_t *at)
{
	u128 value = 0;
	for (size_t i = 0; i < 16; i += 4)
		value = value << 32 | load32(at + i);
	return value;
}

uint32_t route_find6(const struct route_table *table, const uint8_t address[static 16])
{
	u128 value = value6(address), offset = value - table->base6;
	if (!table->on6 || offset > table->last6)
		return ROUTE_NONE;
	if (table->flat6)
		return table->first6[offset >> table->shift6];
	size_t low = 0, high = table->range6_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (table->ranges6[middle].last < value)
			low = middle + 1;
		else
			high = middle;
	}
	return low < table->range6_count && table->ranges6[low].first <= value
		       ? table->ranges6[low].entry
		       : ROUTE_NONE;
}

// The port is the sender's own choice.
bool route_host_is(const struct route_host *host, const struct sockaddr *address)
{
	if (host->address.any.sa_family == AF_INET && address->sa_family == AF_INET)
		return host->address.v4.sin_addr.s_addr ==
		       ((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr;
	if (host->address.any.sa_family != AF_INET6 || address->sa_family != AF_INET6)
		return false;
	return memcmp(&host->address.v6.sin6_addr,
		      &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16) == 0;
}
