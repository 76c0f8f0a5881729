// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading the agent's peers one by one, and keeping some of them.
#include "cli/peer_list.h"

#include "cli/agent_access.h"
#include "cli/show.h"
#include "core/ipnet.h"
#include "core/json.h"
#include "core/json_stream.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <string.h>

#define PEER_TEXT_MAX (64 * 1024)
#define PEERS_IDLE_MS 30000

void peer_list_begin(size_t max, struct peer_list *ret)
{
	*ret = (struct peer_list){ max, json_array(), json_array() };
}

void peer_list_free(struct peer_list *list)
{
	json_decref(list->troubled);
	json_decref(list->good);
	*list = (struct peer_list){ 0 };
}

static bool is_good(const json_t *peer)
{
	return strcmp(show_text(peer, "state"), "ok") == 0;
}

static int on_peer(void *arg, const char *text, size_t len)
{
	_cleanup_json_ json_t *peer = NULL;
	struct peer_list *list = arg;
	json_t *into;
	int r;

	r = json_read(text, len, PEER_TEXT_MAX, &peer, NULL);
	if (r < 0)
		return r;
	into = is_good(peer) ? list->good : list->troubled;
	if (json_array_size(into) < list->max)
		json_array_append(into, peer);
	return 0;
}

static int compare_peers(const void *left, const void *right)
{
	const json_t *const *a = left, *const *b = right;
	struct ipnet nets[2];
	const json_t *peers[] = { *a, *b };

	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		nets[i] = (struct ipnet){ 0 };
		if (ipnet_parse(show_text(peers[i], "subnet"), &nets[i]) < 0)
			(void)ipnet_parse(show_text(peers[i], "ipv6_subnet"), &nets[i]); // none sorts first
	}
	return ipnet_compare(&nets[0], &nets[1]);
}

// A new array with the same peers in the order of their subnets. Takes list over.
static json_t *sort_peers(json_t *list)
{
	size_t count = json_array_size(list);
	_cleanup_free_ json_t **peers = xnew0_array(json_t *, count);
	json_t *sorted = json_array();

	for (size_t i = 0; i < count; i++)
		peers[i] = json_array_get(list, i);
	qsort(peers, count, sizeof(*peers), compare_peers);
	for (size_t i = 0; i < count; i++)
		json_array_append(sorted, peers[i]);
	json_decref(list);
	return sorted;
}

struct peer_reader {
	struct json_stream *stream;
	struct err *e;
};

static int on_bytes(void *arg, const char *data, size_t len)
{
	struct peer_reader *reader = arg;

	return json_stream_feed(reader->stream, data, len, reader->e);
}

int peer_list_read(const struct cli *cli, struct peer_list *list, struct err *e)
{
	struct peer_reader reader = { .e = e };
	const char *rest;
	size_t len;
	int r;

	reader.stream = json_stream_new("peers", PEER_TEXT_MAX, PEER_TEXT_MAX, on_peer, list);
	r = agent_stream(cli, "/agent/v1/peers", PEERS_IDLE_MS, on_bytes, &reader, e);
	if (r == 0)
		r = json_stream_end(reader.stream, &rest, &len, e);
	json_stream_free(reader.stream);
	list->troubled = sort_peers(list->troubled);
	list->good = sort_peers(list->good);
	return r;
}

const char *peer_list_pair(const json_t *object, const char *v4, const char *v6, char *buf, size_t size)
{
	const char *first = show_text(object, v4), *second = show_text(object, v6);

	(void)text_format(buf, size, "%s%s%s", first, *first && *second ? "," : "", second);
	text_sanitize(buf);
	return *buf ? buf : "none";
}
