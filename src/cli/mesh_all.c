// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft mesh --all: what each agent of the network measured, asked of all of them at once, within a time.
//
// DOC: what is kept
//
// Every pair of hosts is measured from both sides, so the answers of a large network are more than anybody wants to read or keep: of the pairs
// only the worst are kept, in order. Of a network small enough for a table these are all.
#include "cli/mesh.h"

#include "cli/table.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/text.h"
#include "io/http_client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CALLS_MAX 32 // at once
#define ANSWER_MS 5000
#define ALL_MS 30000
#define CONNECT_MS 2000
#define PAIRS_MAX 1000
#define PAIRS_SHOWN_MAX 20
#define SILENT_SHOWN_MAX 10
#define MATRIX_HOSTS_MAX (TABLE_COLUMNS_MAX - 1)

enum host_state { HOST_WAITING, HOST_ASKED, HOST_ANSWERED, HOST_FAILED };

struct host {
	struct inquiry *inquiry;
	struct ip ip;
	enum host_state state;
	struct mesh_reader *reader; // while it is asked
	struct err err;
};

struct pair {
	size_t from; // of hosts
	struct mesh_peer to;
};

struct inquiry {
	struct cli *cli;
	struct http_client *client;
	unsigned int port;
	struct host *hosts;
	size_t count;
	size_t next; // the first that waits
	size_t under_way;
	struct pair *pairs; // the worst, worst first
	size_t pair_count;
	size_t pair_total;
	struct timer *deadline;
	bool is_over;
};

// ---- pairs ----

static void add_pair(struct inquiry *inquiry, size_t from, const struct mesh_peer *to)
{
	uint64_t badness = mesh_peer_badness(to);
	size_t low = 0, high = inquiry->pair_count;

	inquiry->pair_total++;
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (mesh_peer_badness(&inquiry->pairs[middle].to) >= badness)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == PAIRS_MAX)
		return;
	if (inquiry->pair_count < PAIRS_MAX)
		inquiry->pair_count++;
	memmove(&inquiry->pairs[low + 1], &inquiry->pairs[low],
		(inquiry->pair_count - low - 1) * sizeof(*inquiry->pairs));
	inquiry->pairs[low] = (struct pair){ .from = from, .to = *to };
}

static void on_pair(void *arg, const struct mesh_peer *peer)
{
	struct host *host = arg;

	add_pair(host->inquiry, (size_t)(host - host->inquiry->hosts), peer);
}

// ---- asking ----

static void ask_next(struct inquiry *inquiry);

static void end_host(struct host *host, int r, const struct err *e)
{
	struct inquiry *inquiry = host->inquiry;

	host->state = r < 0 ? HOST_FAILED : HOST_ANSWERED;
	if (r < 0)
		(void)err_set(&host->err, r, "%s", err_msg(e));
	host->reader = mesh_reader_free(host->reader);
	inquiry->under_way--;
	ask_next(inquiry);
}

static int on_bytes(void *arg, const char *data, size_t len)
{
	struct host *host = arg;

	return mesh_reader_feed(host->reader, data, len, &host->err);
}

static void on_done(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct host *host = arg;
	struct mesh_head head;
	struct err err = { 0 };

	// What was wrong with the answer says more than that it was broken off.
	if (r < 0)
		err = host->err.code != 0 || !e ? host->err : *e;
	if (r == 0 && response->status != 200)
		r = err_set(&err, -EPROTO, "it answers with status %d", response->status);
	if (r == 0)
		r = mesh_reader_end(host->reader, &head, &err);
	end_host(host, r, &err);
}

static void ask(struct host *host)
{
	char ip[IP_STR_MAX];
	bool is_v6 = host->ip.family == AF_INET6;
	_cleanup_free_ char *url = xasprintf("http://%s%s%s:%u/mesh", is_v6 ? "[" : "",
					     ip_str(&host->ip, ip), is_v6 ? "]" : "",
					     host->inquiry->port);
	const struct http_request request = {
		.method = "GET",
		.url = url,
		.connect_timeout_ms = CONNECT_MS,
		.total_timeout_ms = ANSWER_MS,
		.response_max = 4096, // of an answer that is an error
		.chunk = on_bytes,
		.done = on_done,
		.arg = host,
	};

	host->state = HOST_ASKED;
	host->reader = mesh_reader_new(on_pair, host);
	host->inquiry->under_way++;
	(void)http_call_start(host->inquiry->client, &request);
}

static void ask_next(struct inquiry *inquiry)
{
	while (!inquiry->is_over && inquiry->under_way < CALLS_MAX && inquiry->next < inquiry->count) {
		struct host *host = &inquiry->hosts[inquiry->next++];

		if (host->state == HOST_WAITING)
			ask(host);
	}
}

static void on_deadline(void *arg)
{
	struct inquiry *inquiry = arg;

	inquiry->is_over = true;
}

static int ask_all(struct inquiry *inquiry, struct err *e)
{
	const struct http_client_config config = { .user_agent = "weft/" WEFT_VERSION };
	int r = http_client_new(inquiry->cli->loop, &config, &inquiry->client, e);

	if (r < 0)
		return r;
	inquiry->deadline = timer_new(inquiry->cli->loop, on_deadline, inquiry);
	timer_start(inquiry->deadline, ALL_MS);
	ask_next(inquiry);
	while (inquiry->under_way > 0 && !inquiry->is_over)
		loop_turn(inquiry->cli->loop, 1000);
	http_client_free(inquiry->client);
	timer_free(inquiry->deadline);
	for (size_t i = 0; i < inquiry->count; i++) {
		struct host *host = &inquiry->hosts[i];

		host->reader = mesh_reader_free(host->reader);
		if (host->state == HOST_WAITING || host->state == HOST_ASKED)
			(void)err_set(&host->err, -ETIMEDOUT, "no answer within %d s", ALL_MS / 1000);
	}
	return 0;
}

// ---- who ----

static struct host *add_host(struct inquiry *inquiry, const struct ip *ip)
{
	struct host *host = &inquiry->hosts[inquiry->count++];

	*host = (struct host){ .inquiry = inquiry, .ip = *ip };
	return host;
}

static int compare_ips(const void *left, const void *right)
{
	return ip_compare(left, right);
}

// This host first, with what its agent said already, then its peers by address.
static void find_hosts(struct inquiry *inquiry, const struct mesh_head *own,
		       const struct mesh_list *peers)
{
	_cleanup_free_ struct ip *ips = xnew0_array(struct ip, peers->count + 1);
	struct host *self;
	size_t count = 0;

	inquiry->hosts = xnew0_array(struct host, peers->count + 1);
	self = add_host(inquiry, ip_is_set(&own->public_ip) ? &own->public_ip : &own->public_ipv6);
	self->state = HOST_ANSWERED;
	for (size_t i = 0; i < peers->count; i++) {
		on_pair(self, &peers->peers[i]);
		// With two families each host is asked by one of them.
		if (ip_is_usable_endpoint(&peers->peers[i].public_ip) &&
		    (!ip_is_set(&self->ip) || peers->peers[i].public_ip.family == self->ip.family))
			ips[count++] = peers->peers[i].public_ip;
	}
	qsort(ips, count, sizeof(*ips), compare_ips);
	for (size_t i = 0; i < count; i++)
		if (!ip_equal(&ips[i], &self->ip) && (i == 0 || !ip_equal(&ips[i], &ips[i - 1])))
			add_host(inquiry, &ips[i]);
}

// ---- showing ----

static const struct mesh_way *shown_way(const struct mesh_peer *peer)
{
	const struct mesh_way *overlay = &peer->ways[MESH_OVERLAY];

	// What containers see; without an address there, what carries it.
	return overlay->is_there ? overlay : &peer->ways[MESH_UNDERLAY];
}

static void cell(const struct inquiry *inquiry, size_t from, const struct ip *to,
		 char buf[static 2 * MESH_TIME_MAX])
{
	const struct mesh_way *way;
	char time[MESH_TIME_MAX];

	(void)text_copy(buf, 2 * MESH_TIME_MAX, "");
	for (size_t i = 0; i < inquiry->pair_count; i++) {
		const struct pair *pair = &inquiry->pairs[i];

		if (pair->from != from || !ip_equal(&pair->to.public_ip, to))
			continue;
		way = shown_way(&pair->to);
		(void)mesh_time(way, time);
		if (way->lost > 0 && way->state != MESH_UNREACHABLE)
			(void)text_format(buf, 2 * MESH_TIME_MAX, "%s %lld%%", time,
					  (long long)(way->lost * 100 / way->sent));
		else
			(void)text_copy(buf, 2 * MESH_TIME_MAX, time);
		return;
	}
}

static void print_matrix(const struct inquiry *inquiry)
{
	const char *headings[TABLE_COLUMNS_MAX + 1] = { "FROM \\ TO" };
	char names[MATRIX_HOSTS_MAX][IP_STR_MAX], text[2 * MESH_TIME_MAX];
	_cleanup_(table_freep) struct table *table = NULL;

	for (size_t i = 0; i < inquiry->count; i++)
		headings[i + 1] = ip_str(&inquiry->hosts[i].ip, names[i]);
	table = table_new(headings);
	for (size_t from = 0; from < inquiry->count; from++) {
		table_add(table, names[from]);
		for (size_t to = 0; to < inquiry->count; to++) {
			cell(inquiry, from, &inquiry->hosts[to].ip, text);
			table_add(table,
				  inquiry->hosts[from].state == HOST_ANSWERED ? text : "no answer");
		}
	}
	table_print(table, 0);
}

static void print_worst(const struct inquiry *inquiry)
{
	static const char *const headings[] = { "FROM",	    "TO",      "PEER", "STATE",
						"UNDERLAY", "OVERLAY", NULL };
	_cleanup_(table_freep) struct table *table = table_new(headings);
	char text[IPNET_STR_MAX], time[MESH_TIME_MAX];

	for (size_t i = 0; i < inquiry->pair_count && i < PAIRS_SHOWN_MAX; i++) {
		const struct pair *pair = &inquiry->pairs[i];

		table_add(table, ip_str(&inquiry->hosts[pair->from].ip, text));
		table_add(table, ip_str(&pair->to.public_ip, text));
		table_add(table, ipnet_str(&pair->to.subnet, text));
		table_add(table, mesh_state_names[mesh_peer_state(&pair->to)]);
		table_add(table, mesh_time(&pair->to.ways[MESH_UNDERLAY], time));
		table_add(table, mesh_time(&pair->to.ways[MESH_OVERLAY], time));
	}
	table_print(table, 0);
	if (inquiry->pair_total > table_rows(table))
		printf("... and %zu better pairs; --json prints the worst %d\n",
		       inquiry->pair_total - table_rows(table), PAIRS_MAX);
}

static size_t print_silent(const struct inquiry *inquiry)
{
	char ip[IP_STR_MAX];
	size_t count = 0;

	for (size_t i = 0; i < inquiry->count; i++) {
		const struct host *host = &inquiry->hosts[i];

		if (host->state == HOST_ANSWERED)
			continue;
		if (count++ < SILENT_SHOWN_MAX)
			(void)cli_fail(CLI_OK, "%s, port %u: %s", ip_str(&host->ip, ip),
				       inquiry->port, err_msg(&host->err));
	}
	if (count > SILENT_SHOWN_MAX)
		(void)cli_fail(CLI_OK, "and %zu more gave no answer", count - SILENT_SHOWN_MAX);
	return count;
}

static enum cli_exit print_json(const struct inquiry *inquiry)
{
	json_t *hosts = json_array(), *pairs = json_array();
	char ip[IP_STR_MAX];

	for (size_t i = 0; i < inquiry->count; i++)
		json_array_append_new(hosts, json_pack("{s:s, s:b, s:s}", "public_ip",
						       ip_str(&inquiry->hosts[i].ip, ip), "answered",
						       inquiry->hosts[i].state == HOST_ANSWERED,
						       "error", inquiry->hosts[i].err.msg));
	for (size_t i = 0; i < inquiry->pair_count; i++) {
		json_t *pair = mesh_peer_json(&inquiry->pairs[i].to);

		json_object_set_new(pair, "from",
				    json_string(ip_str(&inquiry->hosts[inquiry->pairs[i].from].ip, ip)));
		json_array_append_new(pairs, pair);
	}
	return cli_print_json(json_pack("{s:o, s:o, s:I}", "hosts", hosts, "pairs", pairs, "total",
					(json_int_t)inquiry->pair_total));
}

static enum cli_exit show(const struct inquiry *inquiry)
{
	size_t silent;

	if (inquiry->cli->options->json) {
		(void)print_json(inquiry);
	} else if (inquiry->count <= MATRIX_HOSTS_MAX) {
		print_matrix(inquiry);
	} else {
		print_worst(inquiry);
	}
	silent = print_silent(inquiry);
	return silent > 0 && silent + 1 == inquiry->count ? CLI_UNREACHABLE : CLI_OK;
}

enum cli_exit mesh_all(struct cli *cli, const struct mesh_head *own, const struct mesh_list *peers)
{
	struct inquiry inquiry = { .cli = cli, .port = (unsigned int)cli->options->port };
	enum cli_exit code;
	struct err e;
	int r;

	if (inquiry.port == 0)
		inquiry.port = (unsigned int)own->port;
	if (inquiry.port == 0)
		return cli_fail(CLI_USAGE,
				"the agents tell it to others at their --healthz-port, and this host's has none; "
				"name theirs by --port");
	inquiry.pairs = xnew0_array(struct pair, PAIRS_MAX + 1);
	find_hosts(&inquiry, own, peers);
	r = ask_all(&inquiry, &e);
	code = r < 0 ? cli_fail_err(r, &e) : show(&inquiry);
	free(inquiry.pairs);
	free(inquiry.hosts);
	return code;
}
