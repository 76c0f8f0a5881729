// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft mesh: what the agent on this host measured of its peers, the worst first.
#include "cli/mesh.h"

#include "cli/agent_access.h"
#include "cli/table.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define IDLE_MS 30000

void mesh_list_add(void *arg, const struct mesh_peer *peer)
{
	struct mesh_list *list = arg;

	if (list->count == list->capacity) {
		list->capacity = list->capacity > 0 ? 2 * list->capacity : 64;
		list->peers = xrealloc_array(list->peers, list->capacity, sizeof(*list->peers));
	}
	list->peers[list->count++] = *peer;
}

void mesh_list_free(struct mesh_list *list)
{
	free(list->peers);
	*list = (struct mesh_list){ 0 };
}

struct feeding {
	struct mesh_reader *reader;
	struct err *e;
};

static int on_bytes(void *arg, const char *data, size_t len)
{
	struct feeding *feeding = arg;

	return mesh_reader_feed(feeding->reader, data, len, feeding->e);
}

enum cli_exit mesh_ask_own(const struct cli *cli, struct mesh_head *head, struct mesh_list *ret)
{
	struct err e = { 0 };
	struct feeding feeding = { mesh_reader_new(mesh_list_add, ret), &e };
	int r = agent_stream(cli, "/agent/v1/mesh", IDLE_MS, on_bytes, &feeding, &e);

	if (r == 0)
		r = mesh_reader_end(feeding.reader, head, &e);
	mesh_reader_free(feeding.reader);
	return r < 0 ? agent_fail(cli, r, &e) : CLI_OK;
}

const char *mesh_time(const struct mesh_way *way, char buf[static MESH_TIME_MAX])
{
	if (way->state == MESH_UNREACHABLE)
		(void)text_copy(buf, MESH_TIME_MAX, "lost");
	else if (!way->is_there)
		(void)text_copy(buf, MESH_TIME_MAX, "-");
	else if (way->rtt_us == 0)
		(void)text_copy(buf, MESH_TIME_MAX, "?");
	else
		(void)text_format(buf, MESH_TIME_MAX, "%.2fms", (double)way->rtt_us / 1000);
	return buf;
}

// ---- the table ----

// By what is worse, and where nothing is by subnet.
static int compare_peers(const void *left, const void *right)
{
	const struct mesh_peer *a = left, *b = right;
	uint64_t a_badness = mesh_peer_badness(a), b_badness = mesh_peer_badness(b);

	if (a_badness != b_badness)
		return a_badness > b_badness ? -1 : 1;
	return ipnet_compare(&a->subnet, &b->subnet);
}

static void add_way(struct table *table, const struct mesh_way *way)
{
	char text[MESH_TIME_MAX];

	table_add(table, mesh_time(way, text));
	(void)text_format(text, sizeof(text), "%.2fms", (double)way->p90_us / 1000);
	table_add(table, way->p90_us > 0 ? text : NULL);
	(void)text_format(text, sizeof(text), "%lld/%lld", (long long)way->lost, (long long)way->sent);
	table_add(table, way->sent > 0 ? text : NULL);
}

static void print_peers(const struct mesh_list *list)
{
	static const char *const headings[] = { "PEER", "PUBLIC IP", "STATE", "UNDERLAY", "P90",
						"LOST", "OVERLAY",   "P90",   "LOST",	  NULL };
	static const char *const of_several[] = { "NETWORK",  "PEER", "PUBLIC IP", "STATE",
						  "UNDERLAY", "P90",  "LOST",	   "OVERLAY",
						  "P90",      "LOST", NULL };
	bool has_several = list->count > 0 && *list->peers[0].network;
	_cleanup_(table_freep) struct table *table = table_new(has_several ? of_several : headings);
	char subnet[IPNET_STR_MAX], ip[IP_STR_MAX];

	for (size_t i = 0; i < list->count; i++) {
		const struct mesh_peer *peer = &list->peers[i];

		if (has_several)
			table_add(table, peer->network);
		table_add(table, ipnet_str(&peer->subnet, subnet));
		table_add(table, ip_is_set(&peer->public_ip) ? ip_str(&peer->public_ip, ip) : NULL);
		table_add(table, mesh_state_names[mesh_peer_state(peer)]);
		add_way(table, &peer->ways[MESH_UNDERLAY]);
		add_way(table, &peer->ways[MESH_OVERLAY]);
	}
	table_print(table, 0);
}

static enum cli_exit print_json(const struct mesh_head *head, const struct mesh_list *list)
{
	json_t *peers = json_array();

	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(peers, mesh_peer_json(&list->peers[i]));
	return cli_print_json(json_pack("{s:I, s:s, s:o}", "rate", (json_int_t)head->rate, "error",
					head->error, "peers", peers));
}

static enum cli_exit print_own(const struct cli *cli, const struct mesh_head *head,
			       const struct mesh_list *list)
{
	if (cli->options->json)
		return print_json(head, list);
	if (*head->error)
		return cli_fail(CLI_FAILED, "the agent probes nobody: %s", head->error);
	if (head->rate == 0)
		return cli_fail(CLI_FAILED,
				"the agent probes nobody: it was started with --mesh-probes=0");
	if (list->count == 0)
		puts("there are no peers");
	else
		print_peers(list);
	return CLI_OK;
}

enum cli_exit mesh_run(struct cli *cli)
{
	struct mesh_list list = { 0 };
	struct mesh_head head = { 0 };
	enum cli_exit code = mesh_ask_own(cli, &head, &list);

	if (code == CLI_OK && list.count > 0)
		qsort(list.peers, list.count, sizeof(*list.peers), compare_peers);
	if (code == CLI_OK)
		code = cli->options->all ? mesh_all(cli, &head, &list) : print_own(cli, &head, &list);
	mesh_list_free(&list);
	return code;
}
