// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the reader of what nft lists: chains of the host, and our table, which then is made what we want.
#include "fuzz.h"

#include "core/json.h"
#include "core/mem.h"
#include "masq/nft_json.h"

static void check_table(const struct nft_table *table)
{
	struct masq_wish wish = { .masquerade = true, .forward = true };
	_cleanup_(masq_rules_free) struct masq_rules rules = { 0 };
	struct masq_network network = { 0 };
	_cleanup_json_ json_t *commands = NULL;

	must(ipnet_parse("10.1.0.0/16", &network.network.v4) == 0);
	masq_rules_make(&wish, &network, 1, MASQ_IPV4, &rules);
	for (size_t i = 0; i < MASQ_CHAIN_COUNT; i++)
		must(table->has_chain[i] == (table->rules[i] != NULL));
	must(!nft_table_has(table, &rules, MASQ_IPV4) || !table->has_odd);
	commands = nft_table_commands(table, &rules, MASQ_IPV4);
	must(json_array_size(commands) > rules.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = text_of(data, size);
	_cleanup_(nft_table_free) struct nft_table table = { 0 };
	struct nft_chains chains;

	if (nft_chains_read(text, size, &chains, NULL) == 0)
		must(memchr(chains.dropper, '\0', sizeof(chains.dropper)));
	if (nft_table_read(text, size, MASQ_IPV4, &table, NULL) == 0)
		check_table(&table);
	return 0;
}
