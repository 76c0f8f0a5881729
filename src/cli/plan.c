// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft plan.
#include "cli/cli.h"

#include "cli/agent_access.h"
#include "cli/peer_list.h"
#include "cli/show.h"
#include "cli/table.h"
#include "core/json.h"
#include "core/mem.h"

#include <stdio.h>

// Of several networks: those that have no plan yet.
static void print_errors(const json_t *plan)
{
	const char *name;
	json_t *why;

	// jansson iterates over what it cannot know to stay unchanged, hence the cast.
	json_object_foreach((json_t *)(uintptr_t)show_member(plan, "errors"), name, why)
		(void)cli_fail(CLI_OK, "network %s: %s", name, json_string_value(why));
}

static void print_changes(const json_t *plan)
{
	static const char *const headings[] = { "VERB", "KIND", "OBJECT", NULL };
	static const char *const of_several[] = { "NETWORK", "VERB", "KIND", "OBJECT", NULL };
	const json_t *changes = show_member(plan, "changes");
	bool has_several = show_member(json_array_get(changes, 0), "network") != NULL;
	_cleanup_(table_freep) struct table *table = table_new(has_several ? of_several : headings);
	size_t listed = json_array_size(changes);
	long long total = (long long)show_number(plan, "total");
	const json_t *change;
	size_t i;

	if (listed == 0 && total == 0) {
		puts("nothing to change: the kernel is as it should be");
		return;
	}
	json_array_foreach(changes, i, change) {
		if (has_several)
			table_add(table, show_text(change, "network"));
		table_add(table, show_text(change, "verb"));
		table_add(table, show_text(change, "kind"));
		table_add(table, show_text(change, "object"));
	}
	table_print(table, 0);
	if (total > (long long)listed)
		printf("... and %lld more\n", total - (long long)listed);
}

// Who is not in the plan, though in the network.
static void print_failed(const json_t *plan)
{
	static const char *const headings[] = { "PEER", "NOT PROGRAMMED BECAUSE", NULL };
	const json_t *list = show_member(plan, "failed");
	_cleanup_(table_freep) struct table *table = table_new(headings);
	const json_t *peer;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	json_array_foreach(list, i, peer) {
		const char *v4 = show_text(peer, "subnet"), *v6 = show_text(peer, "ipv6_subnet");
		_cleanup_free_ char *subnet = xasprintf("%s%s%s", v4, *v4 && *v6 ? "," : "", v6);

		table_add(table, subnet);
		table_add(table, show_text(peer, "error"));
	}
	putchar('\n');
	table_print(table, 0);
}

// Which way packets take to each peer when the plan is carried out.
static void print_paths(const json_t *peers)
{
	static const char *const headings[] = { "PEER", "PATH", "WHY", NULL };
	_cleanup_(table_freep) struct table *table = table_new(headings);
	char subnet[160];
	const json_t *peer;
	size_t i;

	json_array_foreach(peers, i, peer) {
		table_add(table,
			  peer_list_pair(peer, "subnet", "ipv6_subnet", subnet, sizeof(subnet)));
		table_add(table, show_text(peer, "path"));
		table_add(table, show_text(peer, "why"));
	}
	if (i == 0)
		return;
	putchar('\n');
	table_print(table, 0);
}

enum cli_exit plan_run(struct cli *cli)
{
	_cleanup_(peer_list_free) struct peer_list list = { 0 };
	_cleanup_json_ json_t *plan = NULL;
	struct err e = { 0 };
	int r;

	peer_list_begin(SIZE_MAX, &list);
	r = agent_get(cli, "/agent/v1/plan", &plan, &e);
	if (r == 0 && cli->options->peers)
		r = peer_list_read(cli, &list, &e);
	if (r < 0)
		return agent_fail(cli, r, &e);
	if (cli->options->json) {
		(void)json_array_extend(list.troubled, list.good);
		if (cli->options->peers)
			json_object_set(plan, "peer_list", list.troubled);
		return cli_print_json(json_incref(plan));
	}
	print_changes(plan);
	print_failed(plan);
	print_paths(list.good);
	print_errors(plan);
	return CLI_OK;
}
