// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the flags that say where the store is.
#include "store/store_options.h"

#include "core/mem.h"
#include "core/text.h"
#include "io/http_pin.h"
#include "store/registry.h"
#include "store/store_endpoint.h"
#include "store/token.h"

#include <errno.h>
#include <string.h>

static const char *const kinds[] = { "etcd3", "etcd2", "consul", "sqlite", "memory" };

#define AT(member) offsetof(struct store_options, member)
// A flag is two or three lines: its name, kind, member, default and value; its help; its bounds.
// clang-format off
static const struct flag store_flags[] = {
	{ .name = "etcd-endpoints", FLAG_COMMA_LIST, AT(endpoints),
	  "http://127.0.0.1:4001,http://127.0.0.1:2379", "URL,...",
	  "etcd servers; another one is tried when one does not answer." },
	{ .name = "etcd-prefix", FLAG_STRING, AT(prefix), "/coreos.com/network", "KEY",
	  "Where the network's config and leases are in the store." },
	{ .name = "etcd-cafile", FLAG_STRING, AT(ca_file), NULL, "FILE",
	  "CA certificates that sign the servers' (default: the system's)." },
	{ .name = "etcd-certfile", FLAG_STRING, AT(cert_file), NULL, "FILE",
	  "Client certificate, for servers that ask for one." },
	{ .name = "etcd-keyfile", FLAG_STRING, AT(key_file), NULL, "FILE",
	  "Key of the client certificate." },
	{ .name = "etcd-username", FLAG_STRING, AT(username), NULL, "NAME",
	  "User of etcd." },
	{ .name = "etcd-password", FLAG_STRING, AT(password), NULL, "TEXT",
	  "The user's password. All can read a command line: FLANNELD_ETCD_PASSWORD is the "
	  "better place.",
	  .properties = FLAG_SECRET },
	{ .name = "remote", FLAG_COMMA_LIST, AT(remote), NULL, "HOST:PORT,...",
	  "Controllers (weftd --listen), or servers of flannel 0.5 to 0.7, to ask in place of a store; "
	  "another one is tried when one does not answer." },
	{ .name = "pin", FLAG_STRING, AT(pin), NULL, "sha256:HEX,...",
	  "Digest of the controller's public key, as it tells when it starts: no other is spoken to, "
	  "and no CA is needed. Several for several controllers." },
	{ .name = "token", FLAG_STRING, AT(token), NULL, "TEXT",
	  "What a controller asks its clients for. All can read a command line: --token-file or "
	  "WEFT_TOKEN is the better place.",
	  .properties = FLAG_SECRET },
	{ .name = "token-file", FLAG_STRING, AT(token_file), NULL, "FILE",
	  "File with the token." },
	{ .name = "remote-cafile", FLAG_STRING, AT(remote_ca_file), NULL, "FILE",
	  "CA certificates that sign the controllers'; with --listen: those of its clients, who then "
	  "must show one." },
	{ .name = "remote-certfile", FLAG_STRING, AT(remote_cert_file), NULL, "FILE",
	  "Client certificate, for controllers that ask for one; with --listen: the controller's own." },
	{ .name = "remote-keyfile", FLAG_STRING, AT(remote_key_file), NULL, "FILE",
	  "Key of that certificate." },
	{ .name = "store", FLAG_STRING, AT(store), "etcd3", "KIND[:FILE]",
	  "Kind of store: etcd3, etcd2 for version 2 of its API, consul, or sqlite:FILE for a database "
	  "that one process of this host holds, "
	  "which is for --listen." },
	{ .name = "request-timeout", FLAG_DURATION, AT(request_timeout_ms), "5s", "TIME",
	  "How long one request to the store may take.",
	  .min = 10, .max = 600000 },
	{ .name = "dead-man", FLAG_DURATION, AT(dead_man_ms), "15s", "TIME",
	  "A watch that shows no sign of life for so long is given up and started anew.",
	  .min = 100, .max = 3600000 },
};
// clang-format on
#undef AT

void store_options_add(struct flag_set *set, struct store_options *options)
{
	flag_set_add(set, "Store:", store_flags, ARRAY_SIZE(store_flags), options);
	consul_options_add(set, &options->consul);
}

void store_options_add_second(struct flag_set *set, const char *title, const char *prefix,
			      struct store_options *options)
{
	flag_set_add_again(set, title, prefix, store_flags, ARRAY_SIZE(store_flags), options);
	consul_options_add_second(set, prefix, &options->consul);
	options->prefix[0] = '\0';
}

void store_options_free(struct store_options *options)
{
	flag_target_free(store_flags, ARRAY_SIZE(store_flags), options);
	consul_options_free(&options->consul);
	free(options->kind);
	options->kind = NULL;
	free(options->token_read);
	options->token_read = NULL;
}

static int finish_endpoints(struct flag_list *list, const char *flag, bool tls, struct err *e)
{
	int r;

	if (list->count > STORE_ENDPOINTS_MAX)
		return err_set(e, -EINVAL, "--%s: more than %d servers", flag, STORE_ENDPOINTS_MAX);
	for (size_t i = 0; i < list->count; i++) {
		char *given = list->items[i];

		r = store_endpoint_read(given, tls, &list->items[i], e);
		if (r < 0)
			return err_wrap(e, "--%s", flag);
		free(given);
	}
	return 0;
}

static int check_prefix(struct store_options *options, struct err *e)
{
	char *prefix = options->prefix;
	size_t len = strlen(prefix);

	while (len > 0 && prefix[len - 1] == '/')
		prefix[--len] = '\0';
	return registry_prefix_check(prefix, e) < 0 ? err_wrap(e, "--etcd-prefix") : 0;
}

static bool is_given(const char *text)
{
	return text[0] != '\0';
}

// of: of what, as the flags' names begin.
static int check_certificate(const char *of, const char *cert_file, const char *key_file, struct err *e)
{
	if (is_given(cert_file) && !is_given(key_file))
		return err_set(e, -EINVAL, "--%s-certfile needs --%s-keyfile", of, of);
	if (is_given(key_file) && !is_given(cert_file))
		return err_set(e, -EINVAL, "--%s-keyfile needs --%s-certfile", of, of);
	return 0;
}

static int check_credentials(const struct store_options *options, struct err *e)
{
	int r = check_certificate("etcd", options->cert_file, options->key_file, e);

	if (r == 0 && is_given(options->password) && !is_given(options->username))
		r = err_set(e, -EINVAL, "--etcd-password needs --etcd-username");
	return r;
}

// ret_path borrows from the flag; NULL: the kind has none.
static int read_kind(struct store_options *options, const char **ret_path, struct err *e)
{
	const char *text = options->store;
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	bool has_file = len == strlen("sqlite") && strncmp(text, "sqlite", len) == 0;
	char shown[TEXT_EXCERPT_MAX];

	*ret_path = has_file ? (colon ? colon + 1 : STORE_DATABASE_DEFAULT) : NULL;
	if (has_file && **ret_path == '\0')
		return err_set(e, -EINVAL, "--store=%s: no file is given", text);
	if (colon && !has_file)
		return err_set(e, -EINVAL, "--store=%s: only sqlite has a file",
			       text_excerpt(text, strlen(text), shown));
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strlen(kinds[i]) != len || strncmp(kinds[i], text, len) != 0)
			continue;
		free(options->kind);
		options->kind = xstrdup(kinds[i]);
		return 0;
	}
	return err_set(e, -EINVAL, "--store: \"%s\" is not one of etcd3, etcd2, consul or sqlite:FILE",
		       text_excerpt(text, strlen(text), shown));
}

// ---- which of several ----

static enum flag_source source_of(const struct flag_set *set, const char *prefix, const char *name)
{
	_cleanup_free_ char *flag = xasprintf("%s%s", prefix, name);

	return flag_set_source(set, flag);
}

static void forget(struct flag_set *set, const char *prefix, const char *name, const char *standard)
{
	_cleanup_free_ char *flag = xasprintf("%s%s", prefix, name);

	(void)flag_set_assign(set, flag, standard, FLAG_FROM_DEFAULT, NULL);
}

// With what only it has use for.
static void forget_remote(struct flag_set *set, const char *prefix)
{
	static const char *const names[] = { "remote",	      "pin",	       "token",
					     "token-file",    "remote-cafile", "remote-certfile",
					     "remote-keyfile" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (source_of(set, prefix, names[i]) != FLAG_FROM_ARGUMENT)
			forget(set, prefix, names[i], "");
}

static int choose_remote(struct flag_set *set, const char *prefix, const char *other, struct err *e)
{
	enum flag_source remote = source_of(set, prefix, "remote"), of = source_of(set, prefix, other);

	if (remote == FLAG_FROM_DEFAULT || of == FLAG_FROM_DEFAULT)
		return 0;
	if (remote == of)
		return err_set(e, -EINVAL,
			       "--%sremote and --%s%s: controllers or a store? Give one of them",
			       prefix, prefix, other);
	if (of > remote)
		forget_remote(set, prefix);
	return 0;
}

int store_options_choose(struct store_options *options, struct flag_set *set, const char *prefix,
			 struct err *e)
{
	enum flag_source etcd = source_of(set, prefix, "etcd-endpoints");
	enum flag_source store = source_of(set, prefix, "store");
	int r = choose_remote(set, prefix, "store", e);

	if (r == 0)
		r = choose_remote(set, prefix, "etcd-endpoints", e);
	if (r < 0 || etcd == FLAG_FROM_DEFAULT || store == FLAG_FROM_DEFAULT ||
	    strncmp(options->store, "etcd", 4) == 0)
		return r;
	if (etcd == store) {
		char shown[TEXT_EXCERPT_MAX];

		return err_set(e, -EINVAL, "--%setcd-endpoints: not with --%sstore=%s", prefix,
			       prefix, text_excerpt(options->store, strlen(options->store), shown));
	}
	if (etcd > store)
		forget(set, prefix, "store", kinds[0]);
	return 0;
}

// ---- Consul ----

static bool is_consul(const struct store_options *options)
{
	return strcmp(options->store, "consul") == 0 && options->remote.count == 0;
}

int store_options_own_environment(struct store_options *options, struct flag_set *set,
				  char *const *environment, struct err *e)
{
	if (!is_consul(options))
		return 0;
	return consul_options_environment(&options->consul, set, environment, e);
}

static int finish_consul(struct store_options *options, struct err *e)
{
	struct consul_options *consul = &options->consul;
	const char *given = consul_options_given(consul);
	bool tls = consul->prefers_tls || is_given(consul->ca_file) || is_given(consul->cert_file);
	int r;

	if (!is_consul(options))
		return given ? err_set(e, -EINVAL, "--%s: only with --store=consul", given) : 0;
	r = check_certificate("consul", consul->cert_file, consul->key_file, e);
	if (r == 0)
		r = consul_options_finish(consul, e);
	return r < 0 ? r : finish_endpoints(&consul->endpoints, "consul-endpoints", tls, e);
}

// ---- controllers ----

static int check_remote_files(const struct store_options *options, struct err *e)
{
	const char *given = is_given(options->remote_ca_file)	  ? "remote-cafile"
			    : is_given(options->remote_cert_file) ? "remote-certfile"
								  : NULL;
	int r = check_certificate("remote", options->remote_cert_file, options->remote_key_file, e);

	if (r < 0)
		return r;
	if (given && options->remote.count == 0 && !options->serves)
		return err_set(e, -EINVAL, "--%s: only with --remote or --listen", given);
	return 0;
}

static int check_pin(const struct store_options *options, struct err *e)
{
	_cleanup_free_ char *unused = NULL;

	if (!is_given(options->pin))
		return 0;
	if (options->remote.count == 0)
		return err_set(e, -EINVAL, "--pin: only with --remote");
	return http_pin_read(options->pin, &unused, e) < 0 ? err_wrap(e, "--pin") : 0;
}

static int finish_token(struct store_options *options, struct err *e)
{
	int r;

	if (is_given(options->token) && is_given(options->token_file))
		return err_set(e, -EINVAL, "--token and --token-file: give one of them");
	if (is_given(options->token))
		return token_check(options->token, e) < 0 ? err_wrap(e, "--token") : 0;
	if (!is_given(options->token_file))
		return 0;
	free(options->token_read);
	options->token_read = NULL;
	r = token_read_file(options->token_file, &options->token_read, e);
	return r < 0 ? err_wrap(e, "--token-file") : 0;
}

const char *store_options_token(const struct store_options *options)
{
	return is_given(options->token) ? options->token : options->token_read;
}

// What is given to be sure of a controller, or is a secret, does not go over plain HTTP.
static int finish_remote(struct store_options *options, struct err *e)
{
	bool tls = is_given(options->pin) || is_given(options->remote_ca_file) ||
		   is_given(options->remote_cert_file) || store_options_token(options);
	int r = finish_endpoints(&options->remote, "remote", tls, e);

	for (size_t i = 0; r == 0 && tls && i < options->remote.count; i++)
		if (strncmp(options->remote.items[i], "https://", 8) != 0)
			r = err_set(e, -EINVAL,
				    "--remote: %s is not https://, which a pin, a token and TLS files want",
				    options->remote.items[i]);
	return r;
}

static int check_all(struct store_options *options, struct err *e)
{
	int r = check_prefix(options, e);

	if (r == 0)
		r = check_credentials(options, e);
	if (r == 0)
		r = check_remote_files(options, e);
	if (r == 0)
		r = check_pin(options, e);
	if (r == 0)
		r = finish_token(options, e);
	return r;
}

static void use_store(const struct store_options *options, const char *path, struct store_config *config)
{
	config->kind = options->kind;
	config->path = path;
	config->endpoints = (const char *const *)options->endpoints.items;
	config->username = flag_or_null(options->username);
	config->password = flag_or_null(options->password);
	config->ca_file = flag_or_null(options->ca_file);
	config->cert_file = flag_or_null(options->cert_file);
	config->key_file = flag_or_null(options->key_file);
}

static void use_consul(const struct consul_options *options, struct store_config *config)
{
	config->kind = "consul";
	config->endpoints = (const char *const *)options->endpoints.items;
	config->token = consul_options_token(options);
	config->ca_file = flag_or_null(options->ca_file);
	config->cert_file = flag_or_null(options->cert_file);
	config->key_file = flag_or_null(options->key_file);
}

static void use_controller(const struct store_options *options, struct store_config *config)
{
	config->kind = "controller";
	config->endpoints = (const char *const *)options->remote.items;
	config->ca_file = flag_or_null(options->remote_ca_file);
	config->cert_file = flag_or_null(options->remote_cert_file);
	config->key_file = flag_or_null(options->remote_key_file);
	config->pin = flag_or_null(options->pin);
	config->token = store_options_token(options);
	config->prefix = options->prefix;
}

int store_options_finish(struct store_options *options, struct store_config *ret, struct err *e)
{
	bool etcd_tls = is_given(options->ca_file) || is_given(options->cert_file);
	const char *path = NULL;
	int r = check_all(options, e);

	if (r < 0)
		return r;
	if (options->endpoints.count == 0)
		return err_set(e, -EINVAL, "--etcd-endpoints: no server is given");
	r = finish_endpoints(&options->endpoints, "etcd-endpoints", etcd_tls, e);
	if (r == 0)
		r = finish_remote(options, e);
	if (r == 0)
		r = read_kind(options, &path, e);
	if (r == 0)
		r = finish_consul(options, e);
	if (r < 0)
		return r;
	*ret = (struct store_config){
		.request_timeout_ms = (uint32_t)options->request_timeout_ms,
		.dead_man_ms = (uint32_t)options->dead_man_ms,
	};
	if (options->remote.count > 0)
		use_controller(options, ret);
	else if (is_consul(options))
		use_consul(&options->consul, ret);
	else
		use_store(options, path, ret);
	return 0;
}

const char *store_options_endpoints_flag(const char *kind)
{
	return strcmp(kind, "consul") == 0	 ? "consul-endpoints"
	       : strcmp(kind, "controller") == 0 ? "remote"
						 : "etcd-endpoints";
}
