// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft ip reserve and release.
//
// DOC: both are one compare-and-set of what was read
//
//   reserve: nothing is there -> reserved; reserved already, for the same -> nothing to do; anything else -> told whose it is
//   release: reserved or sticky, and no container has it -> deleted; anything else -> refused
#include "cli/cli.h"

#include "cli/address_rows.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct change {
	struct store_access *store;
	struct ip ip;
	struct ipnet subnet;
	char *key;
	// What is there.
	bool is_there;
	struct address_row row;
	// What became of the write.
	bool succeeded;
};

static void change_free(struct change *change)
{
	free(change->key);
	address_row_free(&change->row);
}
#define _cleanup_change_ _cleanup_(change_free)

// ---- which key ----

// The subnet that a host gets of the network which has the address in it.
static enum cli_exit find_subnet(struct change *change)
{
	_cleanup_stored_config_ struct stored_config config = { 0 };
	_cleanup_netconf_ struct netconf conf = { 0 };
	const struct netconf_family *family;
	struct ip last, first, gateway;
	char text[IP_STR_MAX];
	struct err e;

	if (store_access_config(change->store, &config) < 0)
		return store_access_fail(change->store);
	if (netconf_parse(config.text, strlen(config.text), &conf, &e) < 0)
		return cli_fail(CLI_FAILED, "the network's config: %s", err_msg(&e));
	(void)ip_str(&change->ip, text);
	family = change->ip.family == AF_INET6 ? &conf.v6 : &conf.v4;
	if (!family->enabled || !ipnet_contains(&family->network, &change->ip))
		return cli_fail(CLI_FAILED, "%s: is outside the network", text);
	change->subnet = ipnet_of(&change->ip, family->subnet_len);
	first = change->subnet.addr;
	gateway = ip_add(&first, 1);
	last = ipnet_last(&change->subnet);
	if (ip_equal(&change->ip, &first) || ip_equal(&change->ip, &gateway) ||
	    (change->ip.family == AF_INET && ip_equal(&change->ip, &last)))
		return cli_fail(CLI_FAILED,
				"%s: no container gets it: it is the network's, the gateway's or the broadcast address of its subnet",
				text);
	change->key = address_key(change->store->prefix, &change->subnet, &change->ip);
	return CLI_OK;
}

static void on_pair(void *arg, const struct kv_pair *pair)
{
	struct change *change = arg;
	_cleanup_free_ char *prefix = xasprintf("%s/" ADDRESS_PART, change->store->prefix);

	address_row_free(&change->row);
	change->is_there = address_row_read(pair, prefix, &change->row);
}

static void on_read(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct change *change = arg;

	(void)header;
	store_access_end(change->store, r, e);
}

static enum cli_exit read_it(struct change *change)
{
	enum cli_exit code = find_subnet(change);

	if (code != CLI_OK)
		return code;
	store_access_begin(change->store);
	kv_range(change->store->kv, change->key, false, on_pair, on_read, change);
	return store_access_wait(change->store) < 0 ? store_access_fail(change->store) : CLI_OK;
}

static void on_written(void *arg, int r, bool succeeded, const struct kv_header *header,
		       const struct err *e)
{
	struct change *change = arg;

	(void)header;
	change->succeeded = succeeded;
	store_access_end(change->store, r, e);
}

// value NULL: deletes.
static enum cli_exit write_it(struct change *change, const char *value)
{
	const struct kv_compare compare = { .key = change->key,
					    .kind = change->is_there ? KV_MOD_REVISION : KV_ABSENT,
					    .mod_revision = change->row.mod_revision };
	const struct kv_write write = { .key = change->key,
					.value = value,
					.value_len = value ? strlen(value) : 0 };
	const struct kv_txn txn = { &compare, 1, &write, 1 };
	char text[IP_STR_MAX];

	store_access_begin(change->store);
	kv_txn(change->store->kv, &txn, on_pair, on_written, change);
	if (store_access_wait(change->store) < 0)
		return store_access_fail(change->store);
	if (change->succeeded)
		return CLI_OK;
	return cli_fail(CLI_FAILED,
			"%s: somebody else wrote it just now; look at it by `weft ip show`",
			ip_str(&change->ip, text));
}

// ---- what is said ----

static enum cli_exit refuse_held(const struct change *change, const char *remedy)
{
	const struct address_record *record = &change->row.record;
	char text[IP_STR_MAX], pod[2 * ADDRESS_TEXT_MAX + 2];

	(void)ip_str(&change->ip, text);
	if (!change->row.is_readable)
		return cli_fail(CLI_FAILED,
				"%s: its record cannot be read: %s; delete %s with the store's own tools",
				text, change->row.why, change->key);
	address_row_pod(&change->row, pod, sizeof(pod));
	return cli_fail(CLI_FAILED, "%s: is %s%s%s%s%s%s%s", text, address_state_names[record->state],
			*pod ? " for " : "", pod, *record->cid ? " by container " : "", record->cid,
			*remedy ? "; " : "", remedy);
}

static enum cli_exit report(const struct cli *cli, const struct change *change, const char *what)
{
	char text[IP_STR_MAX], subnet[IPNET_STR_MAX];

	(void)ip_str(&change->ip, text);
	if (cli->options->json)
		return cli_print_json(json_pack("{s:s, s:s, s:s}", "ip", text, "subnet",
						ipnet_str(&change->subnet, subnet), "state", what));
	printf("%s: %s\n", text, what);
	return CLI_OK;
}

static enum cli_exit begin(struct cli *cli, struct store_access *store, struct change *change)
{
	char shown[TEXT_EXCERPT_MAX];
	enum cli_exit code;

	if (ip_parse(cli->words[0], &change->ip) < 0)
		return cli_fail(CLI_USAGE, "%s: is no address, such as 10.1.2.3",
				text_excerpt(cli->words[0], strlen(cli->words[0]), shown));
	code = store_access_open(cli, store);
	change->store = store;
	return code == CLI_OK ? read_it(change) : code;
}

// ---- reserve ----

// Splits "ns/pod" or "pod".
static enum cli_exit read_pod(const char *text, char ns[static ADDRESS_TEXT_MAX],
			      char pod[static ADDRESS_TEXT_MAX])
{
	const char *slash = strchr(text, '/');
	char shown[TEXT_EXCERPT_MAX];

	ns[0] = '\0';
	if ((!slash || ((size_t)(slash - text) < ADDRESS_TEXT_MAX &&
			text_format(ns, ADDRESS_TEXT_MAX, "%.*s", (int)(slash - text), text) == 0)) &&
	    text_copy(pod, ADDRESS_TEXT_MAX, slash ? slash + 1 : text) == 0 &&
	    (!slash || slash[1] != '\0') && !strchr(slash ? slash + 1 : text, '/'))
		return CLI_OK;
	return cli_fail(CLI_USAGE, "--pod=%s: is not NAMESPACE/POD or POD",
			text_excerpt(text, strlen(text), shown));
}

enum cli_exit ip_reserve(struct cli *cli)
{
	_cleanup_store_ struct store_access store = { 0 };
	_cleanup_change_ struct change change = { 0 };
	_cleanup_free_ char *value = NULL;
	char ns[ADDRESS_TEXT_MAX] = "", pod[ADDRESS_TEXT_MAX] = "";
	enum cli_exit code = read_pod(cli->options->ip_pod, ns, pod);
	struct address_record record = { 0 };
	const struct address_record *there;

	if (code == CLI_OK)
		code = begin(cli, &store, &change);
	if (code != CLI_OK)
		return code;
	there = &change.row.record;
	if (change.is_there && change.row.is_readable && there->state == ADDRESS_RESERVED &&
	    strcmp(there->ns, ns) == 0 && strcmp(there->pod, pod) == 0)
		return report(cli, &change, "reserved");
	if (change.is_there)
		return refuse_held(&change, "");
	record.ip = change.ip;
	record.len = change.subnet.len;
	record.ns = ns;
	record.pod = pod;
	record.since_s = time(NULL);
	record.state = ADDRESS_RESERVED;
	value = address_record_format(&record);
	code = write_it(&change, value);
	return code == CLI_OK ? report(cli, &change, "reserved") : code;
}

// ---- release ----

enum cli_exit ip_release(struct cli *cli)
{
	_cleanup_store_ struct store_access store = { 0 };
	_cleanup_change_ struct change change = { 0 };
	enum cli_exit code = begin(cli, &store, &change);
	char text[IP_STR_MAX];

	if (code != CLI_OK)
		return code;
	if (!change.is_there)
		return cli_fail(CLI_NOT_FOUND, "%s: is not reserved", ip_str(&change.ip, text));
	if (!change.row.is_readable || change.row.record.state == ADDRESS_USED)
		return refuse_held(&change, "its agent gives it back when the container goes");
	code = write_it(&change, NULL);
	return code == CLI_OK ? report(cli, &change, "released") : code;
}
