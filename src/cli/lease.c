// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft lease list, show and rm.
#include "cli/cli.h"

#include "cli/lease_rows.h"
#include "cli/show.h"
#include "cli/store_access.h"
#include "cli/table.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *expiry_text(const struct lease_row *row, char buf[static SHOW_DURATION_MAX])
{
	if (row->expires_in_s == EXPIRY_NEVER)
		return "never";
	if (row->expires_in_s == EXPIRY_UNKNOWN)
		return "?";
	return show_duration((uint64_t)row->expires_in_s, buf);
}

// "192.0.2.1", "2001:db8::1" or both with a comma.
static void owner_text(const struct lease_attrs *attrs, char *ret, size_t size)
{
	char v4[IP_STR_MAX], v6[IP_STR_MAX];
	bool has_v4 = ip_is_set(&attrs->public_ip), has_v6 = ip_is_set(&attrs->public_ipv6);

	(void)text_format(ret, size, "%s%s%s", has_v4 ? ip_str(&attrs->public_ip, v4) : "",
			  has_v4 && has_v6 ? "," : "", has_v6 ? ip_str(&attrs->public_ipv6, v6) : "");
}

// ---- list ----

static void add_row(struct table *table, const struct lease_row *row)
{
	const struct lease_attrs *attrs = &row->lease.attrs;
	char subnet[SUBNET_STR_MAX], owner[2 * IP_STR_MAX + 2], expiry[SHOW_DURATION_MAX];

	owner_text(attrs, owner, sizeof(owner));
	table_add(table, subnet_str(&row->lease.subnet, subnet));
	table_add(table, owner);
	table_add(table, attrs->backend_type);
	table_add(table, expiry_text(row, expiry));
	table_add(table, attrs->backend_data ? attrs->backend_data : attrs->backend_v6_data);
}

static void print_faults(const struct lease_rows *rows)
{
	static const char *const headings[] = { "KEY", "PROBLEM", NULL };
	_cleanup_(table_freep) struct table *table = table_new(headings);
	char title[64];

	if (rows->fault_count == 0)
		return;
	for (size_t i = 0; i < rows->fault_count; i++) {
		table_add(table, rows->faults[i].key);
		table_add(table, rows->faults[i].why);
	}
	(void)text_format(title, sizeof(title), "%zu PROBLEM%s", rows->fault_count,
			  rows->fault_count == 1 ? "" : "S");
	if (rows->count > 0)
		putchar('\n');
	show_alarm(title);
	putchar('\n');
	table_print(table, 2);
}

static enum cli_exit print_rows(const struct cli *cli, const struct store_access *store,
				const struct lease_rows *rows)
{
	static const char *const headings[] = { "SUBNET",  "PUBLIC-IP", "BACKEND",
						"EXPIRES", "DATA",	NULL };
	_cleanup_(table_freep) struct table *table = table_new(headings);
	json_t *list = json_array();

	for (size_t i = 0; i < rows->count; i++) {
		if (cli->options->json)
			json_array_append_new(list, lease_row_json(&rows->rows[i]));
		else
			add_row(table, &rows->rows[i]);
	}
	if (cli->options->json)
		return cli_print_json(json_pack("{s:o,s:o}", "leases", list, "problems",
						lease_faults_json(rows)));
	json_decref(list);
	if (rows->count == 0 && rows->fault_count == 0)
		printf("no leases below %s\n", store->prefix);
	if (rows->count > 0)
		table_print(table, 0);
	print_faults(rows);
	return CLI_OK;
}

enum cli_exit lease_list(struct cli *cli)
{
	_cleanup_store_ struct store_access store = { 0 };
	_cleanup_stored_config_ struct stored_config config = { 0 };
	_cleanup_netconf_ struct netconf conf = { 0 };
	_cleanup_lease_rows_ struct lease_rows rows = { 0 };
	enum cli_exit code = store_access_open(cli, &store);
	bool has_conf;
	int r;

	if (code != CLI_OK)
		return code;
	r = store_access_config(&store, &config);
	if (r < 0 && r != -ENOENT)
		return store_access_fail(&store);
	has_conf = r == 0 && netconf_parse(config.text, strlen(config.text), &conf, NULL) == 0;
	if (lease_rows_read(&store, &rows) < 0 || lease_rows_ask_expiry(&rows, 0, rows.count) < 0)
		return store_access_fail(&store);
	lease_rows_check(&rows, has_conf ? &conf : NULL);
	return print_rows(cli, &store, &rows);
}

// ---- finding one ----

// How a word of the command line names a lease.
struct lease_name {
	const char *text;
	struct ipnet net; // none: not a prefix
	struct ip ip;	  // none: not an address
};

static struct lease_name parse_name(const char *text)
{
	struct lease_name name = { .text = text };

	if (ip_parse(text, &name.ip) < 0)
		name.ip = (struct ip){ 0 };
	if (ipnet_parse(text, &name.net) < 0)
		name.net = (struct ipnet){ 0 };
	return name;
}

static bool names_exactly(const struct lease_name *name, const struct lease *lease)
{
	char key[LEASE_KEY_MAX], subnet[SUBNET_STR_MAX];

	subnet_format_key(&lease->subnet, key);
	return strcmp(name->text, key) == 0 ||
	       strcmp(name->text, subnet_str(&lease->subnet, subnet)) == 0 ||
	       (ipnet_is_set(&name->net) && (ipnet_equal(&name->net, &lease->subnet.v4) ||
					     ipnet_equal(&name->net, &lease->subnet.v6)));
}

static bool names_by_address(const struct lease_name *name, const struct lease *lease)
{
	return ip_is_set(&name->ip) && (ip_equal(&name->ip, &lease->attrs.public_ip) ||
					ip_equal(&name->ip, &lease->attrs.public_ipv6) ||
					ipnet_contains(&lease->subnet.v4, &name->ip) ||
					ipnet_contains(&lease->subnet.v6, &name->ip));
}

// The index of the first row that the word names; rows->count: none.
static size_t find_row(const struct lease_rows *rows, const char *word, bool by_address)
{
	const struct lease_name name = parse_name(word);

	for (size_t i = 0; i < rows->count; i++)
		if (names_exactly(&name, &rows->rows[i].lease))
			return i;
	for (size_t i = 0; by_address && i < rows->count; i++)
		if (names_by_address(&name, &rows->rows[i].lease))
			return i;
	return rows->count;
}

static const struct lease_fault *find_fault(const struct lease_rows *rows, const char *key)
{
	for (size_t i = 0; i < rows->fault_count; i++)
		if (strcmp(rows->faults[i].key, key) == 0)
			return &rows->faults[i];
	return NULL;
}

static enum cli_exit refuse_unknown(const struct store_access *store, const char *word)
{
	char shown[TEXT_EXCERPT_MAX];

	return cli_fail(CLI_NOT_FOUND, "no lease %s below %s; `weft lease list` shows all",
			text_excerpt(word, strlen(word), shown), store->prefix);
}

// ---- show ----

static void print_member(const char *name, const char *value)
{
	_cleanup_free_ char *copy = xstrdup(value && *value ? value : "-");

	text_sanitize(copy);
	printf("%-14s%s\n", name, copy);
}

static void print_one(const struct lease_row *row)
{
	const struct lease_attrs *attrs = &row->lease.attrs;
	char key[LEASE_KEY_MAX], subnet[SUBNET_STR_MAX], owner[2 * IP_STR_MAX + 2],
		expiry[SHOW_DURATION_MAX], text[64];

	subnet_format_key(&row->lease.subnet, key);
	owner_text(attrs, owner, sizeof(owner));
	print_member("subnet", subnet_str(&row->lease.subnet, subnet));
	print_member("key", key);
	print_member("public IP", owner);
	print_member("backend", attrs->backend_type);
	print_member("data", attrs->backend_data);
	if (attrs->backend_v6_data)
		print_member("IPv6 data", attrs->backend_v6_data);
	if (attrs->paths)
		print_member("paths", attrs->paths);
	if (attrs->extra)
		print_member("others", attrs->extra);
	print_member("expires", row->expires_in_s == EXPIRY_NEVER ? "never (a reservation)"
								  : expiry_text(row, expiry));
	(void)text_format(text, sizeof(text), "%lld (%llx in hexadecimal)",
			  (long long)row->lease.session, (unsigned long long)row->lease.session);
	if (row->lease.session != 0)
		print_member("session", text);
	(void)text_format(text, sizeof(text), "%lld", (long long)row->lease.mod_revision);
	print_member("mod revision", text);
}

enum cli_exit lease_show(struct cli *cli)
{
	_cleanup_store_ struct store_access store = { 0 };
	_cleanup_lease_rows_ struct lease_rows rows = { 0 };
	enum cli_exit code = store_access_open(cli, &store);
	const struct lease_fault *fault;
	size_t row;

	if (code != CLI_OK)
		return code;
	if (lease_rows_read(&store, &rows) < 0)
		return store_access_fail(&store);
	row = find_row(&rows, cli->words[0], true);
	if (row == rows.count) {
		fault = find_fault(&rows, cli->words[0]);
		return fault ? cli_fail(CLI_FAILED, "%s cannot be used: %s", fault->key, fault->why)
			     : refuse_unknown(&store, cli->words[0]);
	}
	if (lease_rows_ask_expiry(&rows, row, row + 1) < 0)
		return store_access_fail(&store);
	if (cli->options->json)
		return cli_print_json(lease_row_json(&rows.rows[row]));
	print_one(&rows.rows[row]);
	return CLI_OK;
}

// ---- rm ----

struct fault_deletion {
	struct store_access *store;
	bool was_there;
};

static void on_fault_there(void *arg, const struct kv_pair *pair)
{
	struct fault_deletion *deletion = arg;

	(void)pair;
	deletion->was_there = true;
}

static void on_fault_deleted(void *arg, int r, bool succeeded, const struct kv_header *header,
			     const struct err *e)
{
	struct fault_deletion *deletion = arg;

	(void)header;
	if (r == 0 && !succeeded)
		r = deletion->was_there ? -ESTALE : -EILSEQ;
	store_access_end(deletion->store, r, e);
}

// What has no subnet is no lease to the registry; it is deleted by its key. A key with bytes that cannot be shown is not
// found by what is shown of it.
static int delete_fault(struct store_access *store, const struct lease_fault *fault)
{
	_cleanup_free_ char *key = xasprintf("%s/subnets/%s", store->prefix, fault->key);
	const struct kv_compare compare = { .key = key,
					    .kind = KV_MOD_REVISION,
					    .mod_revision = fault->mod_revision };
	const struct kv_write write = { .key = key };
	const struct kv_txn txn = { &compare, 1, &write, 1 };
	struct fault_deletion deletion = { .store = store };

	store_access_begin(store);
	kv_txn(store->kv, &txn, on_fault_there, on_fault_deleted, &deletion);
	return store_access_wait(store);
}

static int delete_lease(struct store_access *store, const struct lease *lease)
{
	store_access_begin(store);
	registry_lease_delete(store->registry, &lease->subnet, lease->mod_revision,
			      store_access_done, store);
	return store_access_wait(store);
}

static enum cli_exit report_deleted(const struct cli *cli, const char *key, const char *owner)
{
	if (cli->options->json)
		return cli_print_json(json_pack("{s:s}", "deleted", key));
	printf("%s%s%s: deleted\n", key, *owner ? " of " : "", owner);
	return CLI_OK;
}

enum cli_exit lease_rm(struct cli *cli)
{
	_cleanup_store_ struct store_access store = { 0 };
	_cleanup_lease_rows_ struct lease_rows rows = { 0 };
	enum cli_exit code = store_access_open(cli, &store);
	char key[LEASE_KEY_MAX], owner[2 * IP_STR_MAX + 2] = "";
	const struct lease_fault *fault = NULL;
	size_t row;
	int r;

	if (code != CLI_OK)
		return code;
	if (lease_rows_read(&store, &rows) < 0)
		return store_access_fail(&store);
	row = find_row(&rows, cli->words[0], false);
	if (row == rows.count) {
		fault = find_fault(&rows, cli->words[0]);
		if (!fault)
			return refuse_unknown(&store, cli->words[0]);
		r = delete_fault(&store, fault);
	} else {
		subnet_format_key(&rows.rows[row].lease.subnet, key);
		owner_text(&rows.rows[row].lease.attrs, owner, sizeof(owner));
		r = delete_lease(&store, &rows.rows[row].lease);
	}
	if (r == -ESTALE)
		return cli_fail(CLI_FAILED,
				"%s: its owner wrote it anew just now; run this again if it shall go",
				cli->words[0]);
	if (r == -EILSEQ)
		return cli_fail(CLI_FAILED,
				"%s: the key holds bytes that cannot be typed; delete it with the store's own tools",
				cli->words[0]);
	return r < 0 ? store_access_fail(&store)
		     : report_deleted(cli, fault ? fault->key : key, owner);
}
