// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: finding and opening the store.
#include "cli/store_access.h"

#include "cli/agent_access.h"
#include "cli/show.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define ENDPOINTS_TEXT_MAX 4096

// ---- the agent's settings ----

static char *join_endpoints(const json_t *list)
{
	struct strbuf text = STRBUF_INIT(ENDPOINTS_TEXT_MAX);
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (json_is_string(item))
			(void)strbuf_printf(&text, "%s%s", text.len > 0 ? "," : "",
					    json_string_value(item));
	return strbuf_take(&text);
}

static int assign_setting(struct cli *cli, const char *flag, const char *value, struct err *e)
{
	if (*value == '\0' || flag_set_source(cli->flags, flag) != FLAG_FROM_DEFAULT)
		return 0;
	return flag_set_assign(cli->flags, flag, value, FLAG_FROM_DEFAULT, e);
}

// etcd3 and etcd2 are the same servers.
static bool is_other_kind(const struct cli *cli, const char *kind)
{
	const char *given = cli->options->store.store;

	return flag_set_source(cli->flags, "store") != FLAG_FROM_DEFAULT && strcmp(given, kind) != 0 &&
	       (strncmp(given, "etcd", 4) != 0 || strncmp(kind, "etcd", 4) != 0);
}

static int take_settings(struct cli *cli, const json_t *settings, struct err *e)
{
	static const char *const same[][2] = { { "etcd-prefix", "prefix" },
					       { "etcd-cafile", "etcd_cafile" },
					       { "etcd-certfile", "etcd_certfile" },
					       { "etcd-keyfile", "etcd_keyfile" },
					       { "etcd-username", "etcd_username" },
					       { "consul-cafile", "consul_cafile" },
					       { "consul-certfile", "consul_certfile" },
					       { "consul-keyfile", "consul_keyfile" },
					       { "remote-cafile", "remote_cafile" },
					       { "remote-certfile", "remote_certfile" },
					       { "remote-keyfile", "remote_keyfile" },
					       { "pin", "pin" } };
	_cleanup_free_ char *endpoints = join_endpoints(show_member(settings, "endpoints"));
	const char *kind = show_text(settings, "store");
	bool is_remote = strcmp(kind, "controller") == 0;
	int r;

	if (is_other_kind(cli, kind))
		return 0;
	r = assign_setting(cli, store_options_endpoints_flag(kind), endpoints, e);
	if (r == 0 && !is_remote)
		r = assign_setting(cli, "store", kind, e);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(same); i++)
		r = assign_setting(cli, same[i][0], show_text(settings, same[i][1]), e);
	// A token that was given goes before a file that was not.
	if (r == 0 && flag_set_source(cli->flags, "token") == FLAG_FROM_DEFAULT)
		r = assign_setting(cli, "token-file", show_text(settings, "token_file"), e);
	if (r == 0 && flag_set_source(cli->flags, "consul-token") == FLAG_FROM_DEFAULT)
		r = assign_setting(cli, "consul-token-file",
				   show_text(settings, "consul_token_file"), e);
	return r < 0 ? err_wrap(e, "the agent's settings") : 0;
}

// Another store than the agent's has its own files and names, so its settings go together or not at all. No agent is no
// error: there may be none on this host.
static int ask_agent(struct cli *cli, struct err *e)
{
	_cleanup_json_ json_t *status = NULL;

	if (flag_set_source(cli->flags, "etcd-endpoints") != FLAG_FROM_DEFAULT ||
	    flag_set_source(cli->flags, "remote") != FLAG_FROM_DEFAULT ||
	    agent_get(cli, "/agent/v1/status", &status, NULL) < 0)
		return 0;
	return take_settings(cli, show_member(status, "settings"), e);
}

// ---- opening ----

// After store_options_finish, which cuts the slashes at the end. network "": the one at the prefix itself.
static char *network_prefix(const char *prefix, const char *network)
{
	return xasprintf("%s%s%s", prefix, *network ? "/" : "", network);
}

static enum cli_exit check_login(const struct store_options *options, const char *variable)
{
	if (*options->username == '\0' || *options->password != '\0')
		return CLI_OK;
	return cli_fail(CLI_USAGE, "the store wants the password of %s; put it into %s",
			options->username, variable);
}

static char *describe(const struct store_config *config)
{
	const char *const *servers = config->endpoints;

	if (config->path)
		return xasprintf("%s:%s", config->kind, config->path);
	if (!servers || !servers[0])
		return xstrdup(config->kind);
	return xasprintf("%s %s%s", config->kind, servers[0], servers[1] ? ",..." : "");
}

static enum cli_exit open_finished(struct cli *cli, const struct store_options *options,
				   const char *network, const struct store_config *config,
				   struct store_access *ret)
{
	struct err e = { 0 };
	int r;

	ret->cli = cli;
	r = kv_open(cli->loop, config, &ret->kv, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, "%s", err_msg(&e));
	ret->prefix = network_prefix(options->prefix, network);
	ret->base = network_prefix(options->prefix, "");
	ret->where = describe(config);
	r = registry_new(ret->kv, ret->prefix, &ret->registry, &e);
	if (r < 0)
		return cli_fail(CLI_USAGE, "--etcd-prefix: %s", err_msg(&e));
	return CLI_OK;
}

enum cli_exit store_access_find(struct cli *cli, struct store_config *ret)
{
	// The flags' target: only here is it written after the command line was read.
	struct cli_options *options = (struct cli_options *)cli->options;
	struct err e = { 0 };
	enum cli_exit code;
	int r = store_options_choose(&options->store, cli->flags, "", &e);

	if (r < 0)
		return cli_fail(CLI_USAGE, "%s", err_msg(&e));
	r = ask_agent(cli, &e);
	if (r < 0)
		return cli_fail_err(r, &e);
	r = store_options_own_environment(&options->store, cli->flags, environ, &e);
	if (r < 0)
		return cli_fail(CLI_USAGE, "%s", err_msg(&e));
	code = check_login(&options->store, "FLANNELD_ETCD_PASSWORD");
	if (code != CLI_OK)
		return code;
	r = store_options_finish(&options->store, ret, &e);
	return r < 0 ? cli_fail(CLI_USAGE, "%s", err_msg(&e)) : CLI_OK;
}

enum cli_exit store_access_open(struct cli *cli, struct store_access *ret)
{
	const struct cli_options *options = cli->options;
	struct store_config config = { 0 };
	enum cli_exit code = store_access_find(cli, &config);

	if (code != CLI_OK)
		return code;
	return open_finished(cli, &options->store, options->network, &config, ret);
}

bool store_access_has_target(const struct cli *cli)
{
	static const char *const names[] = { "to-store", "to-remote", "to-etcd-endpoints" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (flag_set_source(cli->flags, names[i]) != FLAG_FROM_DEFAULT)
			return true;
	return false;
}

enum cli_exit store_access_open_target(struct cli *cli, struct store_access *ret)
{
	struct cli_options *options = (struct cli_options *)cli->options; // as above
	struct store_config config = { 0 };
	struct err e = { 0 };
	enum cli_exit code;
	int r;

	if (!store_access_has_target(cli))
		return cli_fail(CLI_USAGE,
				"say where to move to: --to-remote, --to-etcd-endpoints or --to-store");
	r = store_options_choose(&options->target, cli->flags, "to-", &e);
	if (r == 0 && *options->target.prefix == '\0')
		r = flag_set_assign(cli->flags, "to-etcd-prefix", options->store.prefix,
				    FLAG_FROM_DEFAULT, &e);
	code = check_login(&options->target, "WEFT_TO_ETCD_PASSWORD");
	if (code != CLI_OK)
		return code;
	if (r == 0)
		r = store_options_finish(&options->target, &config, &e);
	if (r < 0)
		return cli_fail(CLI_USAGE, "the store to move to (--to-...): %s", err_msg(&e));
	return open_finished(cli, &options->target, options->network, &config, ret);
}

int store_access_network(const struct store_access *store, const char *name,
			 struct store_access *ret, struct err *e)
{
	struct store_access network = { .cli = store->cli, .kv = store->kv };
	int r;

	network.prefix = network_prefix(store->base, name);
	r = registry_new(network.kv, network.prefix, &network.registry, e);
	if (r < 0) {
		free(network.prefix);
		return r;
	}
	network.base = xstrdup(store->base);
	network.where = xstrdup(store->where);
	*ret = network;
	return 0;
}

void store_access_leave(struct store_access *network)
{
	network->kv = NULL;
	store_access_close(network);
}

void store_access_close(struct store_access *store)
{
	registry_free(store->registry);
	kv_close(store->kv);
	free(store->prefix);
	free(store->base);
	free(store->where);
	*store = (struct store_access){ 0 };
}

// ---- waiting ----

void store_access_begin(struct store_access *store)
{
	store->is_done = false;
	store->r = 0;
	store->err = (struct err){ 0 };
}

void store_access_end(struct store_access *store, int r, const struct err *e)
{
	store->is_done = true;
	store->r = r;
	if (e)
		store->err = *e;
	else if (r < 0)
		err_set(&store->err, r, "%s", strerror(-r));
}

int store_access_wait(struct store_access *store)
{
	while (!store->is_done)
		loop_turn(store->cli->loop, 1000);
	return store->r;
}

void store_access_done(void *arg, int r, const struct err *e)
{
	store_access_end(arg, r, e);
}

enum cli_exit store_access_fail(const struct store_access *store)
{
	if (cli_exit_of(store->r) == CLI_UNREACHABLE)
		return cli_fail(CLI_UNREACHABLE,
				"%s; --etcd-endpoints (FLANNELD_ETCD_ENDPOINTS), --store=consul with "
				"--consul-endpoints or --remote names another store",
				err_msg(&store->err));
	return cli_fail_err(store->r, &store->err);
}

// ---- the config ----

struct config_question {
	struct store_access *store;
	struct stored_config *ret;
};

static void on_config(void *arg, int r, const char *text, int64_t mod_revision,
		      const struct kv_header *header, const struct err *e)
{
	struct config_question *question = arg;

	(void)header;
	if (r == 0) {
		question->ret->text = xstrdup(text);
		question->ret->mod_revision = mod_revision;
	}
	store_access_end(question->store, r, e);
}

int store_access_config(struct store_access *store, struct stored_config *ret)
{
	struct config_question question = { store, ret };

	store_access_begin(store);
	registry_config_get(store->registry, on_config, &question);
	return store_access_wait(store);
}

void stored_config_free(struct stored_config *config)
{
	free(config->text);
	*config = (struct stored_config){ 0 };
}
