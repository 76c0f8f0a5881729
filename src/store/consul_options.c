// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the flags that say where Consul is, and the variables of Consul's own program that say the same.
#include "store/consul_options.h"

#include "core/mem.h"
#include "store/token.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define STANDARD_ENDPOINT "http://127.0.0.1:8500"

#define AT(member) offsetof(struct consul_options, member)
// clang-format off
static const struct flag consul_flags[] = {
	{ .name = "consul-endpoints", FLAG_COMMA_LIST, AT(endpoints), NULL, "URL,...",
	  "Agents of Consul, tried in this order; else CONSUL_HTTP_ADDR, else the one on this host, "
	  STANDARD_ENDPOINT "." },
	{ .name = "consul-token", FLAG_STRING, AT(token), NULL, "TEXT",
	  "Token of Consul's access control. All can read a command line: --consul-token-file or "
	  "CONSUL_HTTP_TOKEN is the better place.",
	  .properties = FLAG_SECRET },
	{ .name = "consul-token-file", FLAG_STRING, AT(token_file), NULL, "FILE",
	  "File with the token (CONSUL_HTTP_TOKEN_FILE)." },
	{ .name = "consul-cafile", FLAG_STRING, AT(ca_file), NULL, "FILE",
	  "CA certificates that sign the agents' (CONSUL_CACERT; default: the system's)." },
	{ .name = "consul-certfile", FLAG_STRING, AT(cert_file), NULL, "FILE",
	  "Client certificate, for agents that ask for one (CONSUL_CLIENT_CERT)." },
	{ .name = "consul-keyfile", FLAG_STRING, AT(key_file), NULL, "FILE",
	  "Key of the client certificate (CONSUL_CLIENT_KEY)." },
};
// clang-format on
#undef AT

static const struct own_variable {
	const char *name;
	const char *flag;
	const char *other_form; // of a token
} own_variables[] = {
	{ "CONSUL_HTTP_ADDR", "consul-endpoints", NULL },
	{ "CONSUL_HTTP_TOKEN", "consul-token", "consul-token-file" },
	{ "CONSUL_HTTP_TOKEN_FILE", "consul-token-file", "consul-token" },
	{ "CONSUL_CACERT", "consul-cafile", NULL },
	{ "CONSUL_CLIENT_CERT", "consul-certfile", NULL },
	{ "CONSUL_CLIENT_KEY", "consul-keyfile", NULL },
};

void consul_options_add(struct flag_set *set, struct consul_options *options)
{
	flag_set_add(set, NULL, consul_flags, ARRAY_SIZE(consul_flags), options);
}

void consul_options_add_second(struct flag_set *set, const char *prefix, struct consul_options *options)
{
	flag_set_add_again(set, NULL, prefix, consul_flags, ARRAY_SIZE(consul_flags), options);
}

void consul_options_free(struct consul_options *options)
{
	flag_target_free(consul_flags, ARRAY_SIZE(consul_flags), options);
	free(options->token_read);
	*options = (struct consul_options){ 0 };
}

// ---- Consul's own variables ----

static const char *variable(char *const *environment, const char *name)
{
	size_t len = strlen(name);

	for (; *environment; environment++)
		if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
			return *environment + len + 1;
	return "";
}

int consul_options_environment(struct consul_options *options, struct flag_set *set,
			       char *const *environment, struct err *e)
{
	const char *ssl = variable(environment, "CONSUL_HTTP_SSL");
	// A token goes before one that comes later, whichever form they have.
	bool has_token = flag_set_source(set, "consul-token") != FLAG_FROM_DEFAULT ||
			 flag_set_source(set, "consul-token-file") != FLAG_FROM_DEFAULT;

	options->prefers_tls = strcmp(ssl, "1") == 0 || strcasecmp(ssl, "true") == 0;
	for (size_t i = 0; i < ARRAY_SIZE(own_variables); i++) {
		const struct own_variable *own = &own_variables[i];
		const char *value = variable(environment, own->name);
		bool is_token = own->other_form != NULL;

		if (value[0] == '\0' || flag_set_source(set, own->flag) != FLAG_FROM_DEFAULT ||
		    (is_token && has_token))
			continue;
		if (flag_set_assign(set, own->flag, value, FLAG_FROM_ENVIRONMENT, e) < 0)
			return err_wrap(e, "%s", own->name);
		if (!is_token)
			continue;
		has_token = true;
		(void)flag_set_assign(set, own->other_form, "", FLAG_FROM_DEFAULT, NULL);
	}
	return 0;
}

// ---- what was given ----

const char *consul_options_given(const struct consul_options *options)
{
	return options->endpoints.count > 0	? "consul-endpoints"
	       : options->token[0] != '\0'	? "consul-token"
	       : options->token_file[0] != '\0' ? "consul-token-file"
	       : options->ca_file[0] != '\0'	? "consul-cafile"
	       : options->cert_file[0] != '\0'	? "consul-certfile"
	       : options->key_file[0] != '\0'	? "consul-keyfile"
						: NULL;
}

static int finish_token(struct consul_options *options, struct err *e)
{
	if (options->token[0] != '\0' && options->token_file[0] != '\0')
		return err_set(e, -EINVAL, "--consul-token and --consul-token-file: give one of them");
	if (options->token[0] != '\0')
		return token_check_characters(options->token, e) < 0 ? err_wrap(e, "--consul-token")
								     : 0;
	if (options->token_file[0] == '\0')
		return 0;
	free(options->token_read);
	options->token_read = NULL;
	if (token_read_characters(options->token_file, &options->token_read, e) < 0)
		return err_wrap(e, "--consul-token-file");
	return 0;
}

static int finish_endpoints(struct consul_options *options, struct err *e)
{
	struct flag_list *list = &options->endpoints;

	for (size_t i = 0; i < list->count; i++) {
		const char *host = strstr(list->items[i], "://");

		host = host ? host + 3 : list->items[i];
		if (host[strcspn(host, "/@")] == '@')
			return err_set(e, -EINVAL,
				       "--consul-endpoints: a URL holds a user name; Consul has tokens, "
				       "and --consul-token-file is for that");
	}
	if (list->count > 0)
		return 0;
	free(list->items);
	list->items = xnew0_array(char *, 2);
	list->items[0] = xstrdup(options->prefers_tls ? "https://127.0.0.1:8500" : STANDARD_ENDPOINT);
	list->count = 1;
	return 0;
}

int consul_options_finish(struct consul_options *options, struct err *e)
{
	int r = finish_token(options, e);

	return r < 0 ? r : finish_endpoints(options, e);
}

const char *consul_options_token(const struct consul_options *options)
{
	return options->token[0] != '\0' ? options->token : options->token_read;
}
