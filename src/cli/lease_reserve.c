// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft lease reserve and unreserve.
#include "cli/cli.h"

#include "cli/lease_rows.h"
#include "cli/store_access.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

// ---- what was asked for ----

// The part before the comma, and what is behind it; NULL: no comma.
static char *first_part(const char *text, const char **ret_rest)
{
	const char *comma = strchr(text, ',');

	*ret_rest = comma ? comma + 1 : NULL;
	return comma ? xstrndup(text, (size_t)(comma - text)) : xstrdup(text);
}

static bool read_net(const char *text, struct subnet *subnet)
{
	struct ipnet net, *place;

	if (ipnet_parse(text, &net) < 0)
		return false;
	place = net.addr.family == AF_INET ? &subnet->v4 : &subnet->v6;
	if (ipnet_is_set(place))
		return false;
	*place = net;
	return true;
}

// "10.1.2.0/24", "10.1.2.0/24,fd00::/64" or a key as the store has it.
static enum cli_exit read_subnet(const char *word, struct subnet *ret)
{
	const char *rest;
	_cleanup_free_ char *first = first_part(word, &rest);
	struct subnet subnet = { 0 };
	char shown[TEXT_EXCERPT_MAX];

	if ((read_net(first, &subnet) && (!rest || read_net(rest, &subnet))) ||
	    subnet_parse_key(word, strlen(word), &subnet, NULL) == 0) {
		*ret = subnet;
		return CLI_OK;
	}
	return cli_fail(CLI_USAGE, "%s: is no subnet, such as 10.1.2.0/24",
			text_excerpt(word, strlen(word), shown));
}

static bool read_ip(const char *text, struct lease_attrs *host)
{
	struct ip ip, *place;

	if (ip_parse(text, &ip) < 0)
		return false;
	place = ip.family == AF_INET ? &host->public_ip : &host->public_ipv6;
	if (ip_is_set(place))
		return false;
	*place = ip;
	return true;
}

static enum cli_exit read_host(const char *value, struct lease_attrs *ret)
{
	const char *rest;
	_cleanup_free_ char *first = first_part(value, &rest);
	char shown[TEXT_EXCERPT_MAX];

	if (*value == '\0')
		return cli_fail(CLI_USAGE,
				"`weft lease reserve` needs --for=PUBLIC-IP, the host's public IP");
	if (read_ip(first, ret) && (!rest || read_ip(rest, ret)))
		return CLI_OK;
	return cli_fail(CLI_USAGE, "--for=%s: is no public IP, such as 192.0.2.1",
			text_excerpt(value, strlen(value), shown));
}

// ---- doing it ----

struct reservation_answer {
	struct store_access *store;
	struct lease_row row;
};

static void on_answer(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct reservation_answer *answer = arg;

	if (lease)
		lease_copy(lease, &answer->row.lease);
	store_access_end(answer->store, r, e);
}

static enum cli_exit report(const struct cli *cli, const struct reservation_answer *answer)
{
	const struct lease *lease = &answer->row.lease;
	const struct ip *ip = ip_is_set(&lease->attrs.public_ip) ? &lease->attrs.public_ip
								 : &lease->attrs.public_ipv6;
	char subnet[SUBNET_STR_MAX], owner[IP_STR_MAX];

	if (cli->options->json)
		return cli_print_json(lease_row_json(&answer->row));
	(void)subnet_str(&lease->subnet, subnet);
	if (lease->session == 0)
		printf("%s: reserved for %s\n", subnet, ip_str(ip, owner));
	else
		printf("%s: no reservation any more; expires within a day unless %s renews it\n",
		       subnet, ip_str(ip, owner));
	return CLI_OK;
}

static enum cli_exit change(struct cli *cli, const struct subnet *subnet, const struct lease_attrs *host)
{
	_cleanup_store_ struct store_access store = { 0 };
	struct reservation_answer answer = { &store, { .expires_in_s = EXPIRY_UNKNOWN } };
	enum cli_exit code = store_access_open(cli, &store);

	if (code != CLI_OK)
		return code;
	store_access_begin(&store);
	if (host)
		registry_reserve(store.registry, subnet, host, on_answer, &answer);
	else
		registry_unreserve(store.registry, subnet, on_answer, &answer);
	code = store_access_wait(&store) < 0 ? store_access_fail(&store) : report(cli, &answer);
	lease_free(&answer.row.lease);
	return code;
}

enum cli_exit lease_reserve(struct cli *cli)
{
	struct lease_attrs host = { 0 };
	struct subnet subnet;
	enum cli_exit code = read_subnet(cli->words[0], &subnet);

	if (code == CLI_OK)
		code = read_host(cli->options->host, &host);
	return code == CLI_OK ? change(cli, &subnet, &host) : code;
}

enum cli_exit lease_unreserve(struct cli *cli)
{
	struct subnet subnet;
	enum cli_exit code = read_subnet(cli->words[0], &subnet);

	return code == CLI_OK ? change(cli, &subnet, NULL) : code;
}
