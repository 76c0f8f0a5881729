// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of udp/route_table.
#include "unit.h"

#include "core/mem.h"
#include "udp/route_table.h"

#include <errno.h>
#include <string.h>

static struct ipnet net(const char *text)
{
	struct ipnet net;
	check(ipnet_parse(text, &net) == 0, "%s", text);
	return net;
}

static struct ip ip(const char *text)
{
	struct ip ip;
	check(ip_parse(text, &ip) == 0, "%s", text);
	return ip;
}

static uint32_t find(const struct route_table *table, const char *text)
{
	struct ip address = ip(text);
	return route_find(table, address.family == AF_INET ? 4 : 6, address.bytes);
}

static const char *host_of(const struct route_table *table, const char *text)
{
	static char name[INET6_ADDRSTRLEN];
	uint32_t at = find(table, text);
	if (at == ROUTE_NONE)
		return "none";
	if (at == ROUTE_OWN)
		return "own";
	const struct route_host *host = &table->hosts[at];
	struct ip address = host->address.any.sa_family == AF_INET
				    ? ip_from_bytes(AF_INET, &host->address.v4.sin_addr)
				    : ip_from_bytes(AF_INET6, &host->address.v6.sin6_addr);
	return ip_str(&address, name);
}

struct look {
	const char *address, *host;
};

static void try(const struct route_config *config, const struct route_peer *peers, size_t count,
		const struct look *looks)
{
	struct route_table *table = NULL;
	struct err e = { 0 };
	check(route_table_new(config, peers, count, &table, &e) == 0, "%s", err_msg(&e));
	for (; looks->address; looks++)
		check(strcmp(host_of(table, looks->address), looks->host) == 0, "%s: %s",
		      looks->address, host_of(table, looks->address));
	route_table_free(table);
}

static void test_equal_lengths(void **state)
{
	(void)state;
	struct route_config config = { .v4 = { .network = net("10.1.0.0/16"),
					       .own = net("10.1.3.0/24") } };
	struct route_peer peers[] = { { net("10.1.0.0/24"), ip("192.0.2.1"), 8285 },
				      { net("10.1.255.0/24"), ip("192.0.2.2"), 8285 } };
	try(&config, peers, 2,
	    (struct look[]){ { "10.1.0.0", "192.0.2.1" },
			     { "10.1.0.255", "192.0.2.1" },
			     { "10.1.1.0", "none" },
			     { "10.1.255.255", "192.0.2.2" },
			     { "10.1.3.77", "own" },
			     { "10.0.255.255", "none" },
			     { "10.2.0.0", "none" },
			     { "fc00::1", "none" },
			     { 0 } });
}

static void test_mixed_lengths(void **state)
{
	(void)state;
	struct route_config config = { .v4 = { .network = net("10.0.0.0/8"),
					       .own = net("10.1.3.0/28") } };
	struct route_peer peers[] = { { net("10.64.0.0/12"), ip("192.0.2.1"), 1 },
				      { net("10.1.3.16/28"), ip("192.0.2.2"), 1 },
				      { net("10.1.3.32/32"), ip("192.0.2.3"), 1 },
				      { net("10.1.4.0/24"), ip("192.0.2.4"), 1 } };
	try(&config, peers, 4,
	    (struct look[]){ { "10.64.0.1", "192.0.2.1" },
			     { "10.79.255.255", "192.0.2.1" },
			     { "10.80.0.0", "none" },
			     { "10.1.3.15", "own" },
			     { "10.1.3.16", "192.0.2.2" },
			     { "10.1.3.31", "192.0.2.2" },
			     { "10.1.3.32", "192.0.2.3" },
			     { "10.1.3.33", "none" },
			     { "10.1.4.200", "192.0.2.4" },
			     { 0 } });
	// Nothing but a few addresses, and nothing at all.
	config = (struct route_config){ .v4 = { .network = net("10.0.0.128/25") } };
	struct route_peer small[] = { { net("10.0.0.192/27"), ip("192.0.2.1"), 1 } };
	try(&config, small, 1,
	    (struct look[]){ { "10.0.0.191", "none" },
			     { "10.0.0.223", "192.0.2.1" },
			     { "10.0.0.127", "none" },
			     { "10.0.1.0", "none" },
			     { 0 } });
	config = (struct route_config){ 0 };
	try(&config, NULL, 0,
	    (struct look[]){ { "10.0.0.1", "none" }, { "::1", "none" }, { "0.0.0.0", "none" }, { 0 } });
}

static void test_ipv6(void **state)
{
	(void)state;
	struct route_config config = { .v6 = { .network = net("fc00:1::/48"),
					       .own = net("fc00:1:0:3::/64") } };
	struct route_peer peers[] = { { net("fc00:1:0:1::/64"), ip("192.0.2.1"), 1 },
				      { net("fc00:1:0:ffff::/64"), ip("fd77::2"), 1 } };
	struct look looks[] = {
		{ "fc00:1:0:1::5", "192.0.2.1" }, { "fc00:1:0:ffff:ffff::1", "fd77::2" },
		{ "fc00:1:0:3::1", "own" },	  { "fc00:1:0:2::1", "none" },
		{ "fc00:2::1", "none" },	  { "fc00::1", "none" },
		{ "10.0.0.1", "none" },		  { 0 }
	};
	try(&config, peers, 2, looks);
	// The same in a network that has too many subnets for an array.
	config.v6.network = net("fc00::/7");
	try(&config, peers, 2, looks);
}

static void test_refusals(void **state)
{
	(void)state;
	static const struct {
		const char *network, *own, *peers[2], *wants;
		int code;
	} cases[] = {
		{ "10.1.0.0/16", NULL, { "10.2.0.0/24" }, "10.2.0.0/24 is not in the network", -EINVAL },
		{ "10.1.0.0/16", NULL, { "10.0.0.0/8" }, "not in the network", -EINVAL },
		{ "10.1.0.0/16", NULL, { "fc00::/64" }, "not in the network none", -EINVAL },
		{ "10.1.0.0/16", "10.1.3.0/24", { "10.1.3.0/24" }, "overlaps", -EEXIST },
		{ "10.1.0.0/16", NULL, { "10.1.3.0/24", "10.1.0.0/20" }, "overlaps", -EEXIST },
		{ "10.1.0.0/16", NULL, { "10.1.3.16/28", "10.1.3.0/24" }, "overlaps", -EEXIST },
		{ "10.1.0.0/16", NULL, { "10.1.3.0/24", "10.1.3.16/28" }, "overlaps", -EEXIST },
		{ "0.0.0.0/0", NULL, { "10.1.3.0/24" }, "too large", -E2BIG },
		{ "fc00::/7", NULL, { "fc00::/64", "fc00::/60" }, "overlaps", -EEXIST },
		{ "fc00::/48", NULL, { "fc00::/64", "fc00::/60" }, "overlaps", -EEXIST },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct route_config config = { 0 };
		struct route_family *family = cases[i].network[0] == 'f' ? &config.v6 : &config.v4;
		struct route_peer peers[2];
		struct route_table *table = NULL;
		struct err e = { 0 };
		size_t count = 0;
		family->network = net(cases[i].network);
		if (cases[i].own)
			family->own = net(cases[i].own);
		for (; count < 2 && cases[i].peers[count]; count++)
			peers[count] = (struct route_peer){ net(cases[i].peers[count]),
							    ip("192.0.2.1"), 1 };
		check(route_table_new(&config, peers, count, &table, &e) == cases[i].code, "%s: %d",
		      cases[i].peers[0], e.code);
		check(strstr(e.msg, cases[i].wants) != NULL, "%s: %s", cases[i].peers[0], e.msg);
		assert_null(table);
	}
}

// Against a search through the list, at 10,000 peers.
static void test_many(void **state)
{
	(void)state;
	struct route_config config = { .v4 = { .network = net("10.0.0.0/8"),
					       .own = net("10.255.255.0/24") } };
	struct route_peer *peers = xnew0_array(struct route_peer, 10000);
	struct route_table *table = NULL;
	for (uint32_t i = 0; i < 10000; i++) {
		struct ip subnet = ip_v4(0x0a000000 + i * 0x600);
		peers[i] = (struct route_peer){ ipnet_of(&subnet, 24), ip_v4(0xc0000000 + i / 2),
						8285 };
	}
	assert_int_equal(route_table_new(&config, peers, 10000, &table, NULL), 0);
	assert_int_equal(table->host_count, 5000 + ROUTE_FIRST_HOST);
	for (uint32_t i = 0; i < 10000 * 6; i++) {
		uint8_t address[4];
		store32(address, 0x0a000000 + i * 0x100 + 77);
		uint32_t at = route_find4(table, address);
		check((at == ROUTE_NONE) == (i % 6 != 0), "%u", i);
		if (at != ROUTE_NONE)
			check(be32toh(table->hosts[at].address.v4.sin_addr.s_addr) ==
				      0xc0000000 + i / 12,
			      "%u", i);
	}
	route_table_free(table);
	free(peers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_lengths), cmocka_unit_test(test_mixed_lengths),
		cmocka_unit_test(test_ipv6),	      cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
