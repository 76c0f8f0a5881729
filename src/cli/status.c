// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft status.
#include "cli/cli.h"

#include "cli/agent_access.h"
#include "cli/peer_list.h"
#include "cli/show.h"
#include "cli/status_firewall.h"
#include "cli/status_networks.h"
#include "cli/table.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define PEERS_SHOWN_MAX 20 // without --peers; those in trouble come first
#define LABEL_COLUMN 10

// ---- lines ----

static void label(const char *name)
{
	printf("%-*s", LABEL_COLUMN, name);
}

// "name text" as one problem.
static void problem(const char *name, const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);

	text_sanitize(copy);
	printf("  %-*s%s\n", LABEL_COLUMN, name, copy);
}

static void print_headline(const json_t *status)
{
	bool is_ready = show_flag(status, "ready");
	char age[SHOW_DURATION_MAX];

	printf("weftd %s, pid %lld, up %s: ", show_text(status, "version"),
	       (long long)show_number(status, "pid"),
	       show_duration((uint64_t)show_number(status, "uptime_s"), age));
	if (is_ready)
		fputs("ready", stdout);
	else
		show_alarm("not ready");
	putchar('\n');
}

// ---- problems: what an operator is to look at, in the order of its weight ----

static void reason_problems(const json_t *status)
{
	const json_t *item;
	size_t i;

	json_array_foreach(show_member(status, "reasons"), i, item)
		problem(i == 0 ? "not ready" : "",
			json_string_value(item) ? json_string_value(item) : "");
}

// Not every trouble makes an agent not ready: traffic flows without the store too.
static void store_problem(const json_t *status)
{
	const json_t *store = show_member(status, "store");
	char text[512], age[SHOW_DURATION_MAX];

	if (show_flag(store, "up"))
		return;
	(void)text_format(text, sizeof(text),
			  "not reached for %s: %s; traffic goes on with what is known",
			  show_duration((uint64_t)show_number(store, "since_s"), age),
			  show_text(store, "error"));
	problem("store", text);
}

static void lease_problem(const json_t *status)
{
	const json_t *lease = show_member(status, "lease");
	char text[512];

	if (strcmp(show_text(lease, "state"), "held") == 0)
		return;
	(void)text_format(text, sizeof(text), "%s%s%s", show_text(lease, "state"),
			  *show_text(lease, "error") ? ": " : "", show_text(lease, "error"));
	problem("lease", text);
}

static void error_problem(const json_t *status, const char *member, const char *name)
{
	const char *text = show_text(show_member(status, member), "error");

	if (*text)
		problem(name, text);
}

static void war_problems(const json_t *status)
{
	const json_t *war;
	char text[512];
	size_t i;

	json_array_foreach(show_member(status, "wars"), i, war) {
		(void)text_format(
			text, sizeof(text),
			"another program keeps undoing %s (%lld times); find it, weft waits before it repairs again",
			show_text(war, "object"), (long long)show_number(war, "count"));
		problem(i == 0 ? "war" : "", text);
	}
}

static void restart_problems(const json_t *status)
{
	const json_t *item;
	char text[512];
	size_t i;

	json_array_foreach(show_member(status, "restart_needed"), i, item) {
		const char *what = json_string_value(item);

		(void)text_format(text, sizeof(text), "restart weftd to take over: %s",
				  what ? what : "");
		problem(i == 0 ? "restart" : "", text);
	}
}

static void peer_problems(const json_t *status)
{
	static const struct {
		const char *state;
		const char *meaning;
	} kinds[] = { { "failed", "could not be programmed; retried" },
		      { "rejected", "break a rule and are not programmed" },
		      { "ignored", "are of another backend and are not programmed" },
		      { "held", "are gone from the store and kept for a moment" },
		      { "silent", "do not answer the handshakes of WireGuard" } };
	const json_t *peers = show_member(status, "peers");
	bool is_first = true;
	char text[128];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		long long count = (long long)show_number(peers, kinds[i].state);

		if (count == 0)
			continue;
		(void)text_format(text, sizeof(text), "%lld %s: %s", count, kinds[i].state,
				  kinds[i].meaning);
		problem(is_first ? "peers" : "", text);
		is_first = false;
	}
}

static bool has_narrow_path(const json_t *status)
{
	const json_t *path_mtu = show_member(status, "path_mtu");
	int64_t narrowest = show_number(path_mtu, "narrowest");

	return narrowest > 0 && narrowest < show_number(path_mtu, "needed");
}

static void path_mtu_problem(const json_t *status)
{
	const json_t *path_mtu = show_member(status, "path_mtu");
	char text[160];

	if (!has_narrow_path(status))
		return;
	(void)text_format(
		text, sizeof(text),
		"a path carries packets of %lld bytes, and ours have up to %lld; --peers tells which%s",
		(long long)show_number(path_mtu, "narrowest"),
		(long long)show_number(path_mtu, "needed"),
		show_flag(path_mtu, "auto") ? "" : ", Backend.MTU \"auto\" adapts to it");
	problem("path MTU", text);
}

// The others tell of one network; of an agent that is in several the reasons do.
static bool is_of_several(const json_t *status)
{
	return json_is_array(show_member(status, "networks"));
}

// Of networks that are not ready the reasons tell.
static size_t several_problems(const json_t *status, bool prints)
{
	const json_t *network;
	size_t i, count = 0;
	char text[512];

	json_array_foreach(show_member(status, "networks"), i, network) {
		if (!show_flag(network, "ready") ||
		    !status_networks_trouble(network, text, sizeof(text)))
			continue;
		if (prints)
			problem(count == 0 ? "network" : "", text);
		count++;
	}
	return count;
}

static bool has_problems(const json_t *status)
{
	const json_t *peers = show_member(status, "peers");
	char text[512];

	if (status_firewall_trouble(status, text, sizeof(text)) || *show_text(status, "docker"))
		return true;
	if (!show_flag(status, "ready") || !show_flag(show_member(status, "store"), "up"))
		return true;
	if (is_of_several(status))
		return several_problems(status, false) > 0;
	return strcmp(show_text(show_member(status, "lease"), "state"), "held") != 0 ||
	       json_array_size(show_member(status, "wars")) > 0 ||
	       json_array_size(show_member(status, "restart_needed")) > 0 ||
	       has_narrow_path(status) || *show_text(show_member(status, "network"), "error") ||
	       *show_text(show_member(status, "backend"), "error") ||
	       show_number(peers, "failed") + show_number(peers, "rejected") +
			       show_number(peers, "ignored") + show_number(peers, "held") +
			       show_number(peers, "silent") >
		       0;
}

static void print_problems(const json_t *status)
{
	char text[512];

	if (!has_problems(status))
		return;
	putchar('\n');
	show_alarm("PROBLEMS");
	putchar('\n');
	// The reasons tell the agent's own words for what the others say, unless it is ready in spite of them.
	if (!show_flag(status, "ready")) {
		reason_problems(status);
	} else if (is_of_several(status)) {
		store_problem(status);
	} else {
		lease_problem(status);
		store_problem(status);
		error_problem(status, "network", "network");
		error_problem(status, "backend", "backend");
	}
	(void)several_problems(status, true);
	war_problems(status);
	if (status_firewall_trouble(status, text, sizeof(text)))
		problem("firewall", text);
	if (*show_text(status, "docker"))
		problem("docker", show_text(status, "docker"));
	restart_problems(status);
	path_mtu_problem(status);
	peer_problems(status);
}

// ---- how it is ----

static void print_network(const json_t *status)
{
	const json_t *network = show_member(status, "network");
	char text[160];

	label("network");
	printf("%s", peer_list_pair(network, "network", "ipv6_network", text, sizeof(text)));
	if (show_number(network, "subnet_len") > 0)
		printf(", a /%lld for each host", (long long)show_number(network, "subnet_len"));
	printf(" (%s)\n", show_text(network, "prefix"));
}

static void print_lease(const json_t *status)
{
	const json_t *lease = show_member(status, "lease");
	int64_t expires_in_s = show_number(lease, "expires_in_s");
	const char *state = show_text(lease, "state");
	char subnet[160], owner[160], age[SHOW_DURATION_MAX];

	label("lease");
	if (!*show_text(lease, "subnet") && !*show_text(lease, "ipv6_subnet")) {
		puts("none yet");
		return;
	}
	printf("%s for %s, %s", peer_list_pair(lease, "subnet", "ipv6_subnet", subnet, sizeof(subnet)),
	       peer_list_pair(lease, "public_ip", "public_ipv6", owner, sizeof(owner)), state);
	if (show_flag(lease, "reservation"))
		fputs(", reserved for ever", stdout);
	else if (expires_in_s > 0 && strcmp(state, "held") == 0)
		printf(", would expire in %s", show_duration((uint64_t)expires_in_s, age));
	putchar('\n');
}

static void print_store(const json_t *status)
{
	const json_t *store = show_member(status, "store");
	const char *endpoint = show_text(store, "endpoint"); // none while it is looked for
	char age[SHOW_DURATION_MAX];

	label("store");
	printf("%s%s%s, %s for %s\n", show_text(store, "kind"), *endpoint ? " " : "", endpoint,
	       show_flag(store, "up") ? "up" : "not reached",
	       show_duration((uint64_t)show_number(store, "since_s"), age));
}

static void print_backend(const json_t *status)
{
	const json_t *backend = show_member(status, "backend");
	const json_t *interface = show_member(status, "interface");
	const json_t *device;
	char ips[160];
	size_t i;

	label("backend");
	printf("%s", *show_text(backend, "type") ? show_text(backend, "type") : "none");
	if (*show_text(backend, "engine"))
		printf(" by %s%s", strcmp(show_text(backend, "engine"), "kernel") == 0 ? "the " : "",
		       show_text(backend, "engine"));
	if (json_is_object(interface))
		printf(" over %s (%s, mtu %lld)", show_text(interface, "name"),
		       peer_list_pair(interface, "ip", "ipv6", ips, sizeof(ips)),
		       (long long)show_number(interface, "mtu"));
	putchar('\n');
	json_array_foreach(show_member(backend, "devices"), i, device) {
		label(i == 0 ? "devices" : "");
		printf("%s, mtu %lld", show_text(device, "name"),
		       (long long)show_number(device, "mtu"));
		if (*show_text(device, "mac"))
			printf(", mac %s", show_text(device, "mac"));
		if (show_number(device, "vni") > 0)
			printf(", vni %lld", (long long)show_number(device, "vni"));
		if (show_number(device, "port") > 0)
			printf(", port %lld", (long long)show_number(device, "port"));
		putchar('\n');
	}
	if (*show_text(backend, "engine")) {
		label("engine");
		puts(show_text(backend, "engine"));
	}
}

static void print_repairs(const json_t *status)
{
	const json_t *repairs = show_member(status, "repairs");
	const json_t *kinds = show_member(repairs, "by_kind");
	const char *name, *separator = " (";
	char age[SHOW_DURATION_MAX];
	json_t *count;

	label("drift");
	if (show_number(repairs, "total") == 0) {
		puts("nothing had to be repaired");
		return;
	}
	printf("%lld repaired", (long long)show_number(repairs, "total"));
	// jansson iterates over what it cannot know to stay unchanged, hence the cast.
	json_object_foreach((json_t *)(uintptr_t)kinds, name, count) {
		if (json_integer_value(count) == 0)
			continue;
		printf("%s%lld %s", separator, (long long)json_integer_value(count), name);
		separator = ", ";
	}
	printf("%s", separator[0] == ',' ? ")" : "");
	if (*show_text(repairs, "last"))
		printf("; last %s ago: %s",
		       show_duration((uint64_t)show_number(repairs, "last_age_s"), age),
		       show_text(repairs, "last"));
	putchar('\n');
}

static void print_firewall(const json_t *status)
{
	char text[256];

	if (!show_member(status, "firewall")) // of an older agent
		return;
	label("firewall");
	status_firewall_text(status, text, sizeof(text));
	puts(text);
}

static void print_peer_counts(const json_t *status)
{
	const json_t *peers = show_member(status, "peers");

	label("peers");
	printf("%lld, %lld programmed\n", (long long)show_number(peers, "total"),
	       (long long)show_number(peers, "programmed"));
}

static void print_addresses(const json_t *status)
{
	const json_t *addresses = show_member(status, "addresses");
	const json_t *subnet;
	size_t i;

	json_array_foreach(show_member(addresses, "subnets"), i, subnet) {
		label(i == 0 ? "addresses" : "");
		printf("%s: %lld used, %lld free, %lld quarantined", show_text(subnet, "subnet"),
		       (long long)show_number(subnet, "used"), (long long)show_number(subnet, "free"),
		       (long long)show_number(subnet, "quarantined"));
		if (show_number(subnet, "reserved") > 0)
			printf(", %lld reserved", (long long)show_number(subnet, "reserved"));
		putchar('\n');
	}
	if (show_number(addresses, "unwritten") > 0) {
		label("");
		printf("%lld changes are not in the store yet%s%.200s\n",
		       (long long)show_number(addresses, "unwritten"),
		       *show_text(addresses, "error") ? ": " : "", show_text(addresses, "error"));
	}
}

// ---- the table of peers ----

// Of a peer of WireGuard: when it was last heard.
static const char *describe_handshake(const json_t *peer, char *buf, size_t size)
{
	char age[SHOW_DURATION_MAX];

	if (!json_is_integer(show_member(peer, "handshake_age_s")))
		return "no handshake yet";
	(void)text_format(buf, size, "handshake %s ago",
			  show_duration((uint64_t)show_number(peer, "handshake_age_s"), age));
	return buf;
}

static void add_peer(struct table *table, const json_t *peer, bool of_several)
{
	char subnet[160], owner[160], handshake[64];
	const char *key = show_text(peer, "key");
	bool has_subnet = *show_text(peer, "subnet") || *show_text(peer, "ipv6_subnet");
	const char *remark = *show_text(peer, "error") ? show_text(peer, "error")
						       : show_text(peer, "why");
	char path_mtu[48];

	if (!*remark && show_number(peer, "path_mtu") > 0) {
		(void)text_format(path_mtu, sizeof(path_mtu), "path MTU %lld",
				  (long long)show_number(peer, "path_mtu"));
		remark = path_mtu;
	}

	if (!*remark && show_member(peer, "handshake_age_s"))
		remark = describe_handshake(peer, handshake, sizeof(handshake));
	if (of_several)
		table_add(table, show_text(peer, "network"));
	table_add(table, has_subnet || !*key ? peer_list_pair(peer, "subnet", "ipv6_subnet", subnet,
							      sizeof(subnet))
					     : key);
	table_add(table, peer_list_pair(peer, "public_ip", "public_ipv6", owner, sizeof(owner)));
	table_add(table, show_text(peer, "state"));
	table_add(table, show_text(peer, "path"));
	table_add(table, show_text(peer, "mac"));
	table_add(table, remark);
}

static void print_peers(const struct peer_list *list, const json_t *status)
{
	static const char *const headings[] = { "PEER", "PUBLIC-IP", "STATE", "PATH",
						"MAC",	"REMARK",    NULL };
	static const char *const of_several[] = { "NETWORK", "PEER", "PUBLIC-IP", "STATE",
						  "PATH",    "MAC",  "REMARK",	  NULL };
	bool has_several = is_of_several(status);
	_cleanup_(table_freep) struct table *table = table_new(has_several ? of_several : headings);
	const json_t *counts = show_member(status, "peers");
	long long all = show_number(counts, "total") + show_number(counts, "rejected");
	const json_t *peer;
	size_t i;

	json_array_foreach(list->troubled, i, peer)
		add_peer(table, peer, has_several);
	json_array_foreach(list->good, i, peer)
		if (table_rows(table) < list->max)
			add_peer(table, peer, has_several);
	if (table_rows(table) == 0)
		return;
	putchar('\n');
	table_print(table, 0);
	if ((long long)table_rows(table) < all)
		printf("... and %lld more; --peers lists all\n", all - (long long)table_rows(table));
}

static void print_status(const json_t *status, const struct peer_list *list)
{
	print_headline(status);
	print_problems(status);
	putchar('\n');
	if (is_of_several(status)) {
		print_store(status);
		print_firewall(status);
		putchar('\n');
		status_networks_print(status);
		print_peers(list, status);
		return;
	}
	print_network(status);
	print_lease(status);
	print_store(status);
	print_backend(status);
	print_peer_counts(status);
	print_addresses(status);
	print_repairs(status);
	print_firewall(status);
	print_peers(list, status);
}

// ---- the command ----

static enum cli_exit exit_of(const json_t *status)
{
	return show_flag(status, "ready") ? CLI_OK : CLI_FAILED;
}

static enum cli_exit print_for_programs(json_t *status, struct peer_list *list, bool with_peers)
{
	if (with_peers) {
		(void)json_array_extend(list->troubled, list->good);
		json_object_set(status, "peer_list", list->troubled);
	}
	(void)cli_print_json(json_incref(status));
	return exit_of(status);
}

enum cli_exit status_run(struct cli *cli)
{
	_cleanup_(peer_list_free) struct peer_list list = { 0 };
	bool wants_peers = cli->options->peers || !cli->options->json;
	_cleanup_json_ json_t *status = NULL;
	struct err e = { 0 };
	int r;

	peer_list_begin(cli->options->peers ? SIZE_MAX : PEERS_SHOWN_MAX, &list);
	r = agent_get(cli, "/agent/v1/status", &status, &e);
	// Those of several networks are many; they come when they are asked for.
	if (r == 0 && wants_peers && (cli->options->peers || !is_of_several(status)))
		r = peer_list_read(cli, &list, &e);
	if (r == 0 && cli->options->json)
		r = print_for_programs(status, &list, wants_peers);
	else if (r == 0)
		print_status(status, &list);
	return r < 0 ? agent_fail(cli, r, &e) : exit_of(status);
}
