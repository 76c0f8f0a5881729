// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft ip list and show.
#include "cli/cli.h"

#include "cli/address_rows.h"
#include "cli/lease_rows.h"
#include "cli/show.h"
#include "cli/table.h"
#include "core/mem.h"
#include "core/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define CONTAINER_SHOWN 12 // of an id, as runtimes show them
#define POD_MAX (2 * ADDRESS_TEXT_MAX + 2)

static const char *age_text(const struct address_record *record, char buf[static SHOW_DURATION_MAX])
{
	int64_t now = time(NULL);

	if (record->since_s == 0 || record->since_s > now)
		return "";
	return show_duration((uint64_t)(now - record->since_s), buf);
}

// ---- list ----

// "ns/pod", or the pod's name in any namespace.
static bool is_of_pod(const struct address_row *row, const char *pod)
{
	char whole[POD_MAX];

	address_row_pod(row, whole, sizeof(whole));
	return row->is_readable && (strcmp(pod, whole) == 0 || strcmp(pod, row->record.pod) == 0);
}

static bool is_wanted(const struct cli_options *options, const struct address_row *row)
{
	if (*options->ip_host && (!row->is_readable || strcmp(row->record.node, options->ip_host) != 0))
		return false;
	if (*options->ip_pod && !is_of_pod(row, options->ip_pod))
		return false;
	if (options->unused && (!row->is_readable || row->record.state == ADDRESS_USED))
		return false;
	return !options->leaked || *row->leak;
}

static void add_row(struct table *table, const struct address_row *row)
{
	const struct address_record *record = &row->record;
	char ip[IP_STR_MAX], pod[POD_MAX], container[CONTAINER_SHOWN + 1], age[SHOW_DURATION_MAX];

	address_row_pod(row, pod, sizeof(pod));
	table_add(table, ip_str(&row->ip, ip));
	table_add(table, !row->is_readable ? "unreadable"
			 : *row->leak	   ? "leaked"
					   : address_state_names[record->state]);
	table_add(table, record->node);
	table_add(table, pod);
	(void)text_format(container, sizeof(container), "%.*s", CONTAINER_SHOWN,
			  record->cid ? record->cid : "");
	table_add(table, container);
	table_add(table, record->ifname);
	table_add(table, record->net);
	table_add(table, row->is_readable ? age_text(record, age) : "");
	table_add(table, *row->leak ? row->leak : row->why);
}

static enum cli_exit print_rows(const struct cli *cli, const struct address_rows *rows)
{
	static const char *const headings[] = { "ADDRESS",   "STATE",	  "HOST",    "POD",
						"CONTAINER", "INTERFACE", "NETWORK", "AGE",
						"REMARK",    NULL };
	_cleanup_(table_freep) struct table *table = table_new(headings);
	json_t *list = json_array();

	for (size_t i = 0; i < rows->count; i++) {
		const struct address_row *row = &rows->rows[i];

		if (!is_wanted(cli->options, row))
			continue;
		if (cli->options->json)
			json_array_append_new(list, address_row_json(row));
		else
			add_row(table, row);
	}
	if (cli->options->json)
		return cli_print_json(json_pack("{s:o}", "addresses", list));
	json_decref(list);
	if (table_rows(table) > 0)
		table_print(table, 0);
	else
		printf("no such addresses below %s\n", rows->store->prefix);
	return CLI_OK;
}

static enum cli_exit check_host(const char *host)
{
	char shown[TEXT_EXCERPT_MAX];
	struct ip ip;

	if (!*host || ip_parse(host, &ip) == 0)
		return CLI_OK;
	return cli_fail(CLI_USAGE,
			"--host=%s: is no public IP of a host, as `weft lease list` shows them",
			text_excerpt(host, strlen(host), shown));
}

enum cli_exit ip_list(struct cli *cli)
{
	_cleanup_store_ struct store_access store = { 0 };
	_cleanup_address_rows_ struct address_rows rows = { 0 };
	enum cli_exit code = check_host(cli->options->ip_host);

	if (code == CLI_OK)
		code = store_access_open(cli, &store);
	if (code != CLI_OK)
		return code;
	if (address_rows_read(&store, &rows) < 0 || address_rows_find_leaks(&rows) < 0)
		return store_access_fail(&store);
	return print_rows(cli, &rows);
}

// ---- show ----

static void print_member(const char *name, const char *value)
{
	_cleanup_free_ char *copy = xstrdup(value && *value ? value : "-");

	text_sanitize(copy);
	printf("%-14s%s\n", name, copy);
}

static void print_since(const struct address_record *record)
{
	char text[96], when[48] = "", age[SHOW_DURATION_MAX];
	time_t since = (time_t)record->since_s;
	struct tm tm;

	if (record->since_s == 0 || !gmtime_r(&since, &tm))
		return;
	(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	(void)text_format(text, sizeof(text), "%s (%s ago)", when, age_text(record, age));
	print_member("since", text);
}

static void print_one(const struct address_row *row)
{
	const struct address_record *record = &row->record;
	char ip[IP_STR_MAX], subnet[IPNET_STR_MAX], pod[POD_MAX];

	address_row_pod(row, pod, sizeof(pod));
	print_member("address", ip_str(&row->ip, ip));
	print_member("subnet", ipnet_str(&row->subnet, subnet));
	if (!row->is_readable) {
		print_member("unreadable", row->why);
		return;
	}
	print_member("state", address_state_names[record->state]);
	if (record->keep != ADDRESS_USED)
		print_member("afterwards", address_state_names[record->keep]);
	print_member("host", record->node);
	print_member("pod", pod);
	print_member("uid", record->uid);
	print_member("container", record->cid);
	print_member("interface", record->ifname);
	print_member("network", record->net);
	print_since(record);
	if (*row->leak)
		print_member("leaked", row->leak);
}

// Nobody has a record of it: whose subnet it is of.
static enum cli_exit tell_free(struct store_access *store, const struct ip *ip)
{
	_cleanup_lease_rows_ struct lease_rows leases = { 0 };
	char text[IP_STR_MAX], subnet[SUBNET_STR_MAX], owner[IP_STR_MAX];

	if (lease_rows_read(store, &leases) < 0)
		return store_access_fail(store);
	(void)ip_str(ip, text);
	for (size_t i = 0; i < leases.count; i++) {
		const struct lease *lease = &leases.rows[i].lease;
		const struct lease_attrs *attrs = &lease->attrs;

		if (!ipnet_contains(&lease->subnet.v4, ip) && !ipnet_contains(&lease->subnet.v6, ip))
			continue;
		return cli_fail(CLI_NOT_FOUND, "no container has %s, which is in subnet %s of host %s",
				text, subnet_str(&lease->subnet, subnet),
				ip_str(ip_is_set(&attrs->public_ip) ? &attrs->public_ip
								    : &attrs->public_ipv6,
				       owner));
	}
	return cli_fail(CLI_NOT_FOUND, "no container has %s, and no host a lease of its subnet", text);
}

enum cli_exit ip_show(struct cli *cli)
{
	_cleanup_store_ struct store_access store = { 0 };
	_cleanup_address_rows_ struct address_rows rows = { 0 };
	char shown[TEXT_EXCERPT_MAX];
	enum cli_exit code;
	struct ip ip;

	if (ip_parse(cli->words[0], &ip) < 0)
		return cli_fail(CLI_USAGE, "%s: is no address, such as 10.1.2.3",
				text_excerpt(cli->words[0], strlen(cli->words[0]), shown));
	code = store_access_open(cli, &store);
	if (code != CLI_OK)
		return code;
	if (address_rows_read(&store, &rows) < 0 || address_rows_find_leaks(&rows) < 0)
		return store_access_fail(&store);
	for (size_t i = 0; i < rows.count; i++) {
		if (!ip_equal(&rows.rows[i].ip, &ip))
			continue;
		if (cli->options->json)
			return cli_print_json(address_row_json(&rows.rows[i]));
		print_one(&rows.rows[i]);
		return CLI_OK;
	}
	return tell_free(&store, &ip);
}
