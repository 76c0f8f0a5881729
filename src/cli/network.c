// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft network get, list and rm.
#include "cli/cli.h"

#include "cli/store_access.h"
#include "cli/table.h"
#include "core/backend_type.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/netconf.h"
#include "core/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

// ---- get ----

// People may have stored anything: what is no JSON is shown as text that a terminal survives.
static enum cli_exit print_config(const struct cli *cli, const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);
	_cleanup_json_ json_t *value = NULL;
	struct err e = { 0 };

	if (json_read(text, strlen(text), NETCONF_TEXT_MAX, &value, &e) == 0) {
		_cleanup_free_ char *pretty = cli->options->json ? json_text(value)
								 : json_dumps(value, JSON_INDENT(2));

		puts(pretty);
		return CLI_OK;
	}
	if (cli->options->json)
		return cli_fail(CLI_FAILED, "the stored config is no JSON: %s", err_msg(&e));
	text_sanitize(copy);
	puts(copy);
	return CLI_OK;
}

static void warn_if_invalid(const char *text)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	struct err e = { 0 };

	if (netconf_parse(text, strlen(text), &conf, &e) < 0 ||
	    backend_type_check(conf.backend_type, &e) < 0)
		(void)cli_fail(CLI_OK, "note: agents refuse this config: %s", err_msg(&e));
}

enum cli_exit network_get(struct cli *cli)
{
	_cleanup_store_ struct store_access store = { 0 };
	_cleanup_stored_config_ struct stored_config config = { 0 };
	enum cli_exit code = store_access_open(cli, &store);

	if (code != CLI_OK)
		return code;
	if (store_access_config(&store, &config) < 0)
		return store_access_fail(&store);
	code = print_config(cli, config.text);
	warn_if_invalid(config.text);
	return code;
}

// ---- list ----

struct network_list {
	struct store_access *store;
	struct table *table;
	json_t *json;
};

static void add_for_people(struct table *table, const char *name, const struct netconf *conf,
			   const char *bad)
{
	char v4[IPNET_STR_MAX], v6[IPNET_STR_MAX], len[16] = "";

	if (conf->v4.enabled)
		(void)text_format(len, sizeof(len), "/%u", conf->v4.subnet_len);
	if (conf->v6.enabled)
		(void)text_format(len + strlen(len), sizeof(len) - strlen(len), "%s/%u",
				  *len ? "," : "", conf->v6.subnet_len);
	table_add(table, *name ? name : "(none)");
	table_add(table, conf->v4.enabled ? ipnet_str(&conf->v4.network, v4) : NULL);
	table_add(table, conf->v6.enabled ? ipnet_str(&conf->v6.network, v6) : NULL);
	table_add(table, len);
	table_add(table, *bad ? NULL : conf->backend_type);
	table_add(table, bad);
}

static void add_for_programs(json_t *list, const char *name, const char *text, const char *bad)
{
	json_t *object = json_pack("{s:s}", "name", name);
	json_t *config = NULL;

	if (!object) // a name that is no UTF-8
		return;
	if (json_read(text, strlen(text), NETCONF_TEXT_MAX, &config, NULL) < 0)
		config = json_null();
	json_object_set_new(object, "config", config);
	json_object_set_new(object, "error", json_string(bad));
	json_array_append_new(list, object);
}

static void on_network(void *arg, const char *name, const char *text)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	struct network_list *list = arg;
	struct err e = { 0 };
	const char *bad = netconf_parse(text, strlen(text), &conf, &e) < 0 ? err_msg(&e) : "";

	add_for_people(list->table, name, &conf, bad);
	add_for_programs(list->json, name, text, bad);
}

static void on_listed(void *arg, int r, const struct err *e)
{
	struct network_list *list = arg;

	store_access_end(list->store, r, e);
}

static enum cli_exit print_networks(const struct cli *cli, struct network_list *list)
{
	if (cli->options->json)
		return cli_print_json(json_pack("{s:O}", "networks", list->json));
	if (table_rows(list->table) == 0)
		printf("no networks below %s\n", list->store->prefix);
	else
		table_print(list->table, 0);
	return CLI_OK;
}

enum cli_exit network_list(struct cli *cli)
{
	static const char *const headings[] = { "NAME",	   "NETWORK", "IPV6-NETWORK",
						"SUBNETS", "BACKEND", "PROBLEM",
						NULL };
	_cleanup_store_ struct store_access store = { 0 };
	_cleanup_(table_freep) struct table *table = table_new(headings);
	_cleanup_json_ json_t *json = json_array();
	struct network_list list = { &store, table, json };
	enum cli_exit code;

	if (flag_set_source(cli->flags, "network") == FLAG_FROM_ARGUMENT)
		return cli_fail(CLI_USAGE,
				"`weft network list` lists all; `weft network get --network=%s` "
				"shows one",
				cli->options->network);
	code = store_access_open(cli, &store);
	if (code != CLI_OK)
		return code;
	store_access_begin(&store);
	registry_network_list(store.registry, on_network, on_listed, &list);
	return store_access_wait(&store) < 0 ? store_access_fail(&store) : print_networks(cli, &list);
}

// ---- rm ----

enum cli_exit network_rm(struct cli *cli)
{
	_cleanup_store_ struct store_access store = { 0 };
	enum cli_exit code = store_access_open(cli, &store);
	int r;

	if (code != CLI_OK)
		return code;
	store_access_begin(&store);
	registry_network_delete(store.registry, cli->options->force, store_access_done, &store);
	r = store_access_wait(&store);
	if (r == -EBUSY)
		return cli_fail(CLI_FAILED,
				"%s; stop its agents first, or use --force to delete the leases as well",
				err_msg(&store.err));
	if (r < 0)
		return store_access_fail(&store);
	if (cli->options->json)
		return cli_print_json(json_pack("{s:s}", "deleted", store.prefix));
	printf("%s: deleted\n", store.prefix);
	return CLI_OK;
}
