// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft network set.
#include "cli/cli.h"

#include "cli/json_diff.h"
#include "cli/lease_rows.h"
#include "cli/store_access.h"
#include "core/backend_type.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/netconf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DIFF_MAX (256 * 1024)

// ---- reading it ----

static int read_stream(FILE *from, const char *name, char **ret, struct err *e)
{
	struct strbuf text = STRBUF_INIT(NETCONF_TEXT_MAX);
	char block[4096];
	size_t n;
	int r = 0;

	while (r == 0 && (n = fread(block, 1, sizeof(block), from)) > 0)
		r = strbuf_add(&text, block, n);
	if (r < 0)
		err_set(e, r, "%s: longer than %d bytes, which is no network config", name,
			NETCONF_TEXT_MAX);
	else if (ferror(from))
		r = err_set(e, -EIO, "%s: cannot be read", name);
	else if (text.len != strlen(strbuf_text(&text)))
		r = err_set(e, -EINVAL, "%s: holds a zero byte, which is no JSON", name);
	if (r == 0)
		*ret = strbuf_take(&text);
	strbuf_free(&text);
	return r;
}

static int read_config(const char *word, char **ret, struct err *e)
{
	FILE *file;
	int r;

	if (word[strspn(word, " \t\n")] == '{') {
		*ret = xstrdup(word);
		return 0;
	}
	if (strcmp(word, "-") == 0)
		return read_stream(stdin, "standard input", ret, e);
	file = fopen(word, "re");
	if (!file)
		return err_set(e, -errno, "%s: %s", word, strerror(errno));
	r = read_stream(file, word, ret, e);
	fclose(file);
	return r;
}

// The text as given is what is stored, but for the newline that editors and echo put at its end.
static void cut_end(char *text)
{
	size_t len = strlen(text);

	while (len > 0 && strchr(" \t\r\n", text[len - 1]))
		text[--len] = '\0';
}

// ---- what it changes ----

static json_t *read_json(const char *text)
{
	json_t *value = NULL;

	if (!text || json_read(text, strlen(text), NETCONF_TEXT_MAX, &value, NULL) < 0)
		return NULL;
	if (!json_is_object(value)) {
		json_decref(value);
		return NULL;
	}
	return value;
}

static void print_change(const struct store_access *store, const struct stored_config *old,
			 const json_t *before, const json_t *after)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(DIFF_MAX);

	json_diff(before, after, &text);
	if (!old->text)
		printf("%s/config: created\n", store->prefix);
	else if (!before)
		printf("%s/config: replaced what was no JSON object\n", store->prefix);
	else if (text.len == 0)
		printf("%s/config: the same members, written anew\n", store->prefix);
	else
		printf("%s/config: changed\n", store->prefix);
	fputs(strbuf_text(&text), stdout);
}

// Hosts keep a subnet that no longer fits until they are restarted; better said now than found out then.
static void warn_about_leases(struct store_access *store, const struct netconf *conf)
{
	_cleanup_lease_rows_ struct lease_rows rows = { 0 };
	size_t bad = 0;

	if (lease_rows_read(store, &rows) < 0)
		return; // the config is stored, and that is what was asked for
	for (size_t i = 0; i < rows.count; i++) {
		const struct subnet *subnet = &rows.rows[i].lease.subnet;

		if ((conf->v4.enabled && !netconf_family_fits(&conf->v4, &subnet->v4)) ||
		    (conf->v6.enabled && !netconf_family_fits(&conf->v6, &subnet->v6)))
			bad++;
	}
	if (bad > 0)
		(void)cli_fail(CLI_OK,
			       "note: %zu of %zu leases do not fit this config; their hosts keep them until weftd "
			       "is restarted with --allow-subnet-change",
			       bad, rows.count);
}

static enum cli_exit report(struct store_access *store, const struct stored_config *old,
			    const char *text, bool is_changed)
{
	_cleanup_json_ json_t *before = read_json(old->text);
	_cleanup_json_ json_t *after = read_json(text);

	if (store->cli->options->json)
		return cli_print_json(json_pack("{s:b,s:O}", "changed", is_changed, "config",
						after ? after : json_null()));
	if (is_changed)
		print_change(store, old, before, after);
	else
		printf("%s/config: unchanged\n", store->prefix);
	return CLI_OK;
}

static enum cli_exit write_config(struct store_access *store, const struct stored_config *old,
				  const char *text)
{
	int r;

	store_access_begin(store);
	registry_config_set(store->registry, text, old->mod_revision, store_access_done, store);
	r = store_access_wait(store);
	if (r == -EEXIST || r == -ESTALE)
		return cli_fail(CLI_FAILED,
				"%s/config: somebody else changed it just now; look at it and run this again",
				store->prefix);
	return r < 0 ? store_access_fail(store) : CLI_OK;
}

// ---- other networks ----

struct overlap_search {
	struct store_access *store;
	const struct netconf *conf;
	bool found;
	char *key; // of the other one's config
	char net[IPNET_STR_MAX], others[IPNET_STR_MAX];
};

static bool is_shared(const struct netconf_family *a, const struct netconf_family *b)
{
	return a->enabled && b->enabled && ipnet_overlaps(&a->network, &b->network);
}

static void look_at_network(void *arg, const char *name, const char *text)
{
	struct overlap_search *search = arg;
	_cleanup_netconf_ struct netconf other = { 0 };
	const struct netconf *conf = search->conf;

	if (search->found || strcmp(name, search->store->cli->options->network) == 0 ||
	    netconf_parse(text, strlen(text), &other, NULL) < 0)
		return;
	if (is_shared(&conf->v4, &other.v4)) {
		(void)ipnet_str(&conf->v4.network, search->net);
		(void)ipnet_str(&other.v4.network, search->others);
	} else if (is_shared(&conf->v6, &other.v6)) {
		(void)ipnet_str(&conf->v6.network, search->net);
		(void)ipnet_str(&other.v6.network, search->others);
	} else {
		return;
	}
	search->found = true;
	search->key = xasprintf("%s%s%s/config", search->store->base, *name ? "/" : "", name);
}

static void on_networks_seen(void *arg, int r, const struct err *e)
{
	struct overlap_search *search = arg;

	store_access_end(search->store, r, e);
}

// No host could be in both. What is so already is not made worse by another change.
static enum cli_exit check_others(struct store_access *store, const struct stored_config *old,
				  const struct netconf *conf)
{
	struct overlap_search search = { .store = store, .conf = conf };
	_cleanup_netconf_ struct netconf before = { 0 };
	struct registry *all = NULL;
	enum cli_exit code = CLI_OK;
	int r;

	if (old->text && netconf_parse(old->text, strlen(old->text), &before, NULL) == 0 &&
	    ipnet_equal(&before.v4.network, &conf->v4.network) &&
	    ipnet_equal(&before.v6.network, &conf->v6.network))
		return CLI_OK;
	store_access_begin(store);
	r = registry_new(store->kv, store->base, &all, &store->err);
	if (r < 0)
		return cli_fail_err(r, &store->err);
	registry_network_list(all, look_at_network, on_networks_seen, &search);
	if (store_access_wait(store) < 0)
		code = store_access_fail(store);
	else if (search.found)
		code = cli_fail(CLI_FAILED,
				"%s/config: %s overlaps %s of the network at %s: choose another Network",
				store->prefix, search.net, search.others, search.key);
	registry_free(all);
	free(search.key);
	return code;
}

// The mark has the only copy of the config, and what would replace it opens the network.
static enum cli_exit check_frozen(const struct store_access *store, const struct stored_config *old)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	struct err e = { 0 };

	if (!old->text || netconf_parse(old->text, strlen(old->text), &conf, &e) != -EBUSY)
		return CLI_OK;
	return cli_fail(CLI_FAILED, "%s/config: %s; `weft migrate --abort` opens it again",
			store->prefix, err_msg(&e));
}

static enum cli_exit store_config(struct cli *cli, const char *text, const struct netconf *conf)
{
	_cleanup_store_ struct store_access store = { 0 };
	_cleanup_stored_config_ struct stored_config old = { 0 };
	enum cli_exit code = store_access_open(cli, &store);
	struct err e = { 0 };
	bool is_changed;
	int r;

	if (code != CLI_OK)
		return code;
	r = store_access_config(&store, &old);
	if (r < 0 && r != -ENOENT)
		return store_access_fail(&store);
	is_changed = !old.text || strcmp(old.text, text) != 0;
	code = check_frozen(&store, &old);
	if (code == CLI_OK && is_changed)
		code = check_others(&store, &old, conf);
	if (is_changed && code == CLI_OK)
		code = write_config(&store, &old, text);
	if (code == CLI_OK)
		code = report(&store, &old, text, is_changed);
	if (code == CLI_OK && is_changed)
		warn_about_leases(&store, conf);
	if (code == CLI_OK && backend_type_check(conf->backend_type, &e) < 0)
		(void)cli_fail(CLI_OK, "note: agents refuse this config: %s", err_msg(&e));
	return code;
}

enum cli_exit network_set(struct cli *cli)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	int r;

	r = read_config(cli->words[0], &text, &e);
	if (r < 0)
		return cli_fail_err(r, &e);
	cut_end(text);
	r = netconf_parse(text, strlen(text), &conf, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, "%s", err_msg(&e));
	return store_config(cli, text, &conf);
}
