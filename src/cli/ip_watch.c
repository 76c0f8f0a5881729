// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft ip watch and history: changes of records as they come, and those that the store still has.
//
// DOC: history
//
// How far back a store remembers it does not say: a watch from too early a revision is lost. So the first revision from which
// one is not is looked for by halving. etcd remembers until it is compacted, a controller the last changes that it saw, a
// database what it keeps; Consul nothing. Of a deletion no store keeps the time.
#include "cli/cli.h"

#include "cli/address_rows.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define QUIET_MS 1000 // a store that has told all of the past says nothing more

struct ip_stream {
	struct cli *cli;
	struct kv *kv;
	char *prefix; // of records
	struct timer *quiet;
	struct ip only; // history: of which; none: of all
	int64_t until;	// history: as of when it was asked for
	bool is_up;
	bool is_lost;
	bool is_over;
	size_t events;
	struct err down; // why the stream is broken
	json_t *list;	 // history for programs
};

// ---- one change ----

static json_t *event_json(const struct address_row *row, bool is_delete)
{
	json_t *object = is_delete ? json_object() : address_row_json(row);
	char ip[IP_STR_MAX];

	json_object_set_new(object, "event", json_string(is_delete ? "released" : "written"));
	json_object_set_new(object, "ip", json_string(ip_str(&row->ip, ip)));
	json_object_set_new(object, "mod_revision", json_integer(row->mod_revision));
	return object;
}

static void print_event(const struct address_row *row, bool is_delete, const char *when)
{
	const struct address_record *record = &row->record;
	char ip[IP_STR_MAX], pod[2 * ADDRESS_TEXT_MAX + 2];
	_cleanup_free_ char *line = NULL;

	address_row_pod(row, pod, sizeof(pod));
	(void)ip_str(&row->ip, ip);
	if (is_delete)
		line = xasprintf("%s  %-10s %s", when, "released", ip);
	else if (!row->is_readable)
		line = xasprintf("%s  %-10s %s %s", when, "unreadable", ip, row->why);
	else
		line = xasprintf("%s  %-10s %s%s%s%s%s%s%s%s%s", when,
				 address_state_names[record->state], ip, *pod ? " pod=" : "", pod,
				 *record->cid ? " container=" : "", record->cid,
				 *record->ifname ? " interface=" : "", record->ifname,
				 *record->node ? " host=" : "", record->node);
	text_sanitize(line);
	puts(line);
}

static void time_text(time_t at, char *ret, size_t size)
{
	struct tm tm;

	ret[0] = '\0';
	if (gmtime_r(&at, &tm))
		(void)strftime(ret, size, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void tell(struct ip_stream *stream, const struct address_row *row, bool is_delete)
{
	bool is_history = ip_is_set(&stream->only);
	json_t *object;
	char when[48];

	stream->events++;
	if (stream->cli->options->json) {
		object = event_json(row, is_delete);
		if (is_history)
			json_array_append_new(stream->list, object);
		else
			(void)cli_print_json(object);
	} else {
		// Of the past only a record itself says when it was.
		if (!is_history)
			time_text(time(NULL), when, sizeof(when));
		else if (is_delete || !row->is_readable || row->record.since_s == 0)
			(void)text_copy(when, sizeof(when), "-                   ");
		else
			time_text((time_t)row->record.since_s, when, sizeof(when));
		print_event(row, is_delete, when);
	}
	if (fflush(stdout) != 0)
		stream->is_over = true; // whoever reads has gone
}

// ---- the stream ----

static void on_change(struct ip_stream *stream, const struct kv_watch_event *event)
{
	bool is_delete = event->kind == KV_WATCH_DELETE;
	struct address_row row;

	if (address_row_read(&event->pair, stream->prefix, &row) &&
	    (!ip_is_set(&stream->only) || ip_equal(&stream->only, &row.ip)))
		tell(stream, &row, is_delete);
	address_row_free(&row);
}

static void on_event(void *arg, const struct kv_watch_event *event)
{
	struct ip_stream *stream = arg;

	timer_start(stream->quiet, QUIET_MS);
	switch (event->kind) {
	case KV_WATCH_PUT:
	case KV_WATCH_DELETE:
		on_change(stream, event);
		break;
	case KV_WATCH_UP:
		stream->is_up = true;
		break;
	case KV_WATCH_PROGRESS:
		if (stream->until != 0 && event->header.revision >= stream->until)
			stream->is_over = true;
		break;
	case KV_WATCH_DOWN:
		stream->down = *event->err;
		stream->is_over = stream->until != 0;
		break;
	case KV_WATCH_LOST:
		stream->is_lost = true;
		break;
	}
}

static void on_quiet(void *arg)
{
	struct ip_stream *stream = arg;

	if (stream->until != 0 && stream->is_up)
		stream->is_over = true;
}

static void run(struct ip_stream *stream, int64_t from, uint64_t cluster_id)
{
	const char *const prefixes[] = { stream->prefix, NULL };
	struct kv_watch *watch =
		kv_watch_start(stream->kv, prefixes, from, cluster_id, on_event, stream);

	while (!stream->is_lost && !stream->is_over)
		loop_turn(stream->cli->loop, 1000);
	kv_watch_free(watch);
	timer_stop(stream->quiet);
}

static void stream_open(struct ip_stream *stream, struct cli *cli, const struct store_access *store)
{
	stream->cli = cli;
	stream->kv = store->kv;
	stream->prefix = xasprintf("%s/" ADDRESS_PART, store->prefix);
	stream->quiet = timer_new(cli->loop, on_quiet, stream);
	stream->list = json_array();
}

static void stream_close(struct ip_stream *stream)
{
	timer_free(stream->quiet);
	json_decref(stream->list);
	free(stream->prefix);
}

// ---- watch ----

enum cli_exit ip_watch(struct cli *cli)
{
	_cleanup_store_ struct store_access store = { 0 };
	struct ip_stream stream = { 0 };
	enum cli_exit code = store_access_open(cli, &store);

	if (code != CLI_OK)
		return code;
	stream_open(&stream, cli, &store);
	while (code == CLI_OK && !stream.is_over) {
		_cleanup_address_rows_ struct address_rows rows = { 0 };

		if (address_rows_read(&store, &rows) < 0) {
			code = store_access_fail(&store);
			break;
		}
		if (stream.is_lost)
			fputs("weft: the store forgot what it had: changes may be missing here\n",
			      stderr);
		stream.is_lost = false;
		run(&stream, rows.revision + 1, rows.cluster_id);
	}
	stream_close(&stream);
	return code == CLI_OK ? CLI_FAILED : code; // the reader has gone
}

// ---- history ----

// Does the store still know everything from this revision on?
static bool is_remembered(struct ip_stream *stream, int64_t from, uint64_t cluster_id)
{
	struct ip_stream probe = { .cli = stream->cli,
				   .kv = stream->kv,
				   .prefix = stream->prefix,
				   .only = { .family = AF_INET6 }, // no record is of "::"
				   .until = stream->until };

	probe.quiet = timer_new(stream->cli->loop, on_quiet, &probe);
	run(&probe, from, cluster_id);
	timer_free(probe.quiet);
	return !probe.is_lost && probe.down.code == 0;
}

static int64_t first_remembered(struct ip_stream *stream, uint64_t cluster_id)
{
	int64_t low = 1, high = stream->until + 1; // what is to come is not forgotten

	if (is_remembered(stream, low, cluster_id))
		return low;
	while (low + 1 < high) {
		int64_t middle = low + (high - low) / 2;

		if (is_remembered(stream, middle, cluster_id))
			high = middle;
		else
			low = middle;
	}
	return high;
}

static enum cli_exit tell_history(struct ip_stream *stream, const struct address_rows *rows)
{
	char ip[IP_STR_MAX];
	int64_t from;

	stream->until = rows->revision;
	from = first_remembered(stream, rows->cluster_id);
	stream->is_over = stream->is_lost = stream->is_up = false;
	if (from <= stream->until)
		run(stream, from, rows->cluster_id);
	if (stream->is_lost || stream->down.code != 0)
		return cli_fail(CLI_UNREACHABLE, "the store broke off its history: %s",
				err_msg(&stream->down));
	if (stream->cli->options->json)
		return cli_print_json(json_pack("{s:s, s:I, s:O}", "ip", ip_str(&stream->only, ip),
						"from_revision", (json_int_t)from, "history",
						stream->list));
	if (stream->events == 0)
		printf("nothing is remembered of %s: the store knows the past from revision %lld on, and is at %lld\n",
		       ip_str(&stream->only, ip), (long long)from, (long long)stream->until);
	return CLI_OK;
}

enum cli_exit ip_history(struct cli *cli)
{
	_cleanup_store_ struct store_access store = { 0 };
	_cleanup_address_rows_ struct address_rows rows = { 0 };
	struct ip_stream stream = { 0 };
	char shown[TEXT_EXCERPT_MAX];
	enum cli_exit code;

	if (ip_parse(cli->words[0], &stream.only) < 0)
		return cli_fail(CLI_USAGE, "%s: is no address, such as 10.1.2.3",
				text_excerpt(cli->words[0], strlen(cli->words[0]), shown));
	code = store_access_open(cli, &store);
	if (code != CLI_OK)
		return code;
	if (address_rows_read(&store, &rows) < 0)
		return store_access_fail(&store);
	stream_open(&stream, cli, &store);
	code = tell_history(&stream, &rows);
	stream_close(&stream);
	return code;
}
