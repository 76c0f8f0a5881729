// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the table of an agent's networks.
#include "cli/status_networks.h"

#include "cli/show.h"
#include "cli/table.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <stdio.h>
#include <string.h>

// "A,B", either may be missing.
static const char *pair(const json_t *object, const char *v4, const char *v6, char *buf, size_t size)
{
	const char *first = show_text(object, v4), *second = show_text(object, v6);

	(void)text_format(buf, size, "%s%s%s", first, *first && *second ? "," : "", second);
	return buf;
}

static void add_network(struct table *table, const json_t *network)
{
	const json_t *config = show_member(network, "network");
	const json_t *lease = show_member(network, "lease");
	const json_t *peers = show_member(network, "peers");
	const json_t *devices = show_member(show_member(network, "backend"), "devices");
	char buf[160], names[128];

	table_add(table, show_text(network, "name"));
	table_add(table, pair(config, "network", "ipv6_network", buf, sizeof(buf)));
	table_add(table, pair(lease, "subnet", "ipv6_subnet", buf, sizeof(buf)));
	table_add(table, show_text(lease, "state"));
	(void)text_format(names, sizeof(names), "%s%s%s",
			  show_text(json_array_get(devices, 0), "name"),
			  json_array_size(devices) > 1 ? "," : "",
			  show_text(json_array_get(devices, 1), "name"));
	table_add(table, names);
	(void)text_format(buf, sizeof(buf), "%lld/%lld", (long long)show_number(peers, "programmed"),
			  (long long)show_number(peers, "total"));
	table_add(table, buf);
	table_add(table, show_flag(network, "ready") ? "yes" : "no");
}

bool status_networks_trouble(const json_t *network, char *ret, size_t size)
{
	const json_t *lease = show_member(network, "lease"), *peers = show_member(network, "peers");
	const char *config = show_text(show_member(network, "network"), "error");
	const char *backend = show_text(show_member(network, "backend"), "error");
	json_int_t count = show_number(peers, "failed") + show_number(peers, "rejected") +
			   show_number(peers, "ignored") + show_number(peers, "held") +
			   show_number(peers, "silent");
	char text[64] = "";

	if (count > 0)
		(void)text_format(text, sizeof(text), "%lld peers are in trouble", (long long)count);
	if (json_array_size(show_member(network, "restart_needed")) > 0)
		(void)text_copy(text, sizeof(text), "weftd is to be restarted");
	if (json_array_size(show_member(network, "wars")) > 0)
		(void)text_copy(text, sizeof(text), "another program keeps undoing weft's work");
	if (strcmp(show_text(lease, "state"), "held") != 0)
		(void)text_format(text, sizeof(text), "lease %s", show_text(lease, "state"));
	if (!*config && !*backend && !*text)
		return false;
	(void)text_format(ret, size, "%s: %s", show_text(network, "name"),
			  *config    ? config
			  : *backend ? backend
				     : text);
	return true;
}

void status_networks_print(const json_t *status)
{
	static const char *const headings[] = { "NETWORK", "ADDRESSES",	 "SUBNET", "LEASE",
						"DEVICES", "PROGRAMMED", "READY",  NULL };
	_cleanup_(table_freep) struct table *table = table_new(headings);
	const json_t *network;
	size_t i;

	json_array_foreach(show_member(status, "networks"), i, network)
		add_network(table, network);
	if (table_rows(table) == 0) {
		puts("no network yet");
		return;
	}
	table_print(table, 0);
	puts("\n--network=NAME tells more of one");
}
