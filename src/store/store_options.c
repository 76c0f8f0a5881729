// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the flags that say where the store is.
#include "store/store_options.h"

#include "core/mem.h"
#include "core/text.h"
#include "store/registry.h"
#include "store/store_endpoint.h"

#include <errno.h>
#include <string.h>

static const char *const kinds[] = { "etcd3", "etcd2", "sqlite", "memory" };

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
	  "Controllers (weftd --listen) to ask in place of a store; another one is tried when one does "
	  "not answer." },
	{ .name = "store", FLAG_STRING, AT(store), "etcd3", "KIND[:FILE]",
	  "Kind of store: etcd3, etcd2 for version 2 of its API, or sqlite:FILE for a database that one "
	  "process of this host holds, "
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
}

void store_options_free(struct store_options *options)
{
	flag_target_free(store_flags, ARRAY_SIZE(store_flags), options);
	free(options->kind);
	options->kind = NULL;
}

static int finish_endpoints(const struct store_options *options, const char *flag,
			    struct flag_list *list, struct err *e)
{
	bool tls = options->ca_file[0] != '\0' || options->cert_file[0] != '\0';
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

static int check_credentials(const struct store_options *options, struct err *e)
{
	if (options->cert_file[0] != '\0' && options->key_file[0] == '\0')
		return err_set(e, -EINVAL, "--etcd-certfile needs --etcd-keyfile");
	if (options->key_file[0] != '\0' && options->cert_file[0] == '\0')
		return err_set(e, -EINVAL, "--etcd-keyfile needs --etcd-certfile");
	if (options->password[0] != '\0' && options->username[0] == '\0')
		return err_set(e, -EINVAL, "--etcd-password needs --etcd-username");
	return 0;
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
	return err_set(e, -EINVAL, "--store: \"%s\" is not one of etcd3, etcd2 or sqlite:FILE",
		       text_excerpt(text, strlen(text), shown));
}

static const char *or_null(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

int store_options_finish(struct store_options *options, struct store_config *ret, struct err *e)
{
	const char *path = NULL;
	int r;

	r = check_prefix(options, e);
	if (r < 0)
		return r;
	r = check_credentials(options, e);
	if (r < 0)
		return r;
	if (options->endpoints.count == 0)
		return err_set(e, -EINVAL, "--etcd-endpoints: no server is given");
	r = finish_endpoints(options, "etcd-endpoints", &options->endpoints, e);
	if (r == 0)
		r = finish_endpoints(options, "remote", &options->remote, e);
	if (r == 0)
		r = read_kind(options, &path, e);
	if (r < 0)
		return r;
	bool is_remote = options->remote.count > 0;
	*ret = (struct store_config){
		.kind = is_remote ? "controller" : options->kind,
		.path = path,
		.endpoints = (const char *const *)(is_remote ? options->remote.items
							     : options->endpoints.items),
		.username = or_null(options->username),
		.password = or_null(options->password),
		.ca_file = or_null(options->ca_file),
		.cert_file = or_null(options->cert_file),
		.key_file = or_null(options->key_file),
		.request_timeout_ms = (uint32_t)options->request_timeout_ms,
		.dead_man_ms = (uint32_t)options->dead_man_ms,
	};
	return 0;
}
