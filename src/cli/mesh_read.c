// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading what an agent measured of its peers.
#include "cli/mesh_read.h"

#include "core/json.h"
#include "core/json_stream.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define PEER_TEXT_MAX 4096
#define HEAD_TEXT_MAX 8192
#define SENT_MAX 1000
#define TIME_MAX_US 60000000

const char *const mesh_state_names[MESH_STATE_COUNT] = {
	[MESH_UNKNOWN] = "unknown",
	[MESH_OK] = "ok",
	[MESH_LOSSY] = "lossy",
	[MESH_UNREACHABLE] = "unreachable",
};
static const char *const way_names[MESH_WAY_COUNT] = {
	[MESH_UNDERLAY] = "underlay",
	[MESH_OVERLAY] = "overlay",
};

static enum mesh_state state_of(const char *name)
{
	for (int state = 0; name && state < MESH_STATE_COUNT; state++)
		if (strcmp(name, mesh_state_names[state]) == 0)
			return (enum mesh_state)state;
	return MESH_UNKNOWN;
}

static int read_way(const json_t *peer, const char *name, struct mesh_way *ret, struct err *e)
{
	const json_t *object = json_member(peer, name);
	struct mesh_way way = { .is_there = true };
	const char *state = NULL;
	int r;

	if (!object || json_is_null(object))
		return 0;
	if (!json_is_object(object))
		return err_set(e, -EINVAL, "%s: not an object", name);
	r = json_get_string(object, "state", &state, e);
	if (r == 0)
		r = json_get_int(object, "sent", 0, SENT_MAX, &way.sent, e);
	if (r == 0)
		r = json_get_int(object, "lost", 0, way.sent, &way.lost, e);
	if (r == 0)
		r = json_get_int(object, "rtt_us", 0, TIME_MAX_US, &way.rtt_us, e);
	if (r == 0)
		r = json_get_int(object, "min_us", 0, TIME_MAX_US, &way.min_us, e);
	if (r == 0)
		r = json_get_int(object, "p90_us", 0, TIME_MAX_US, &way.p90_us, e);
	if (r < 0)
		return err_wrap(e, "%s", name);
	way.state = state_of(state);
	*ret = way;
	return 0;
}

static bool is_given(const json_t *object, const char *name)
{
	const json_t *value = json_member(object, name);

	return value && !json_is_null(value);
}

int mesh_peer_read(const char *text, size_t len, struct mesh_peer *ret, struct err *e)
{
	_cleanup_json_ json_t *object = NULL;
	struct mesh_peer peer = { 0 };
	const char *network = NULL;
	int r = json_read(text, len, PEER_TEXT_MAX, &object, e);

	if (r == 0 && !json_is_object(object))
		r = err_set(e, -EINVAL, "a peer is not an object");
	if (r == 0 && is_given(object, "subnet"))
		r = json_get_ipnet(object, "subnet", &peer.subnet, e);
	if (r == 0 && is_given(object, "public_ip"))
		r = json_get_ip(object, "public_ip", &peer.public_ip, e);
	if (r == 0)
		r = json_get_string(object, "network", &network, e);
	for (int way = 0; r == 0 && way < MESH_WAY_COUNT; way++)
		r = read_way(object, way_names[way], &peer.ways[way], e);
	if (r < 0)
		return r;
	(void)text_copy(peer.network, sizeof(peer.network), network ? network : "");
	text_sanitize(peer.network);
	*ret = peer;
	return 0;
}

// ---- what is worse ----

static uint64_t way_badness(const struct mesh_way *way)
{
	uint64_t lost = way->state == MESH_UNREACHABLE ? SENT_MAX + 1
			: way->sent > 0 ? (uint64_t)(way->lost * SENT_MAX / way->sent)
					: 0;

	return lost << 32 | (uint64_t)way->rtt_us;
}

uint64_t mesh_peer_badness(const struct mesh_peer *peer)
{
	uint64_t underlay = way_badness(&peer->ways[MESH_UNDERLAY]);
	uint64_t overlay = way_badness(&peer->ways[MESH_OVERLAY]);

	return underlay > overlay ? underlay : overlay;
}

enum mesh_state mesh_peer_state(const struct mesh_peer *peer)
{
	enum mesh_state underlay = peer->ways[MESH_UNDERLAY].state;
	enum mesh_state overlay = peer->ways[MESH_OVERLAY].state;

	return underlay > overlay ? underlay : overlay;
}

static json_t *way_json(const struct mesh_way *way)
{
	if (!way->is_there)
		return json_null();
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "state", mesh_state_names[way->state],
			 "sent", (json_int_t)way->sent, "lost", (json_int_t)way->lost, "rtt_us",
			 (json_int_t)way->rtt_us, "min_us", (json_int_t)way->min_us, "p90_us",
			 (json_int_t)way->p90_us);
}

json_t *mesh_peer_json(const struct mesh_peer *peer)
{
	char subnet[IPNET_STR_MAX], ip[IP_STR_MAX];
	json_t *object = json_object();

	if (*peer->network)
		json_object_set_new(object, "network", json_string(peer->network));
	json_object_set_new(object, "subnet",
			    ipnet_is_set(&peer->subnet) ? json_string(ipnet_str(&peer->subnet, subnet))
							: json_null());
	json_object_set_new(object, "public_ip",
			    ip_is_set(&peer->public_ip) ? json_string(ip_str(&peer->public_ip, ip))
							: json_null());
	json_object_set_new(object, "state", json_string(mesh_state_names[mesh_peer_state(peer)]));
	for (int way = 0; way < MESH_WAY_COUNT; way++)
		json_object_set_new(object, way_names[way], way_json(&peer->ways[way]));
	return object;
}

// ---- a whole answer ----

struct mesh_reader {
	struct json_stream *stream;
	mesh_peer_fn *fn;
	void *arg;
	size_t count;
	struct err *e; // of the call under way
};

static int on_peer(void *arg, const char *text, size_t len)
{
	struct mesh_reader *reader = arg;
	struct mesh_peer peer;
	int r = mesh_peer_read(text, len, &peer, reader->e);

	if (r < 0)
		return r;
	if (reader->count++ == MESH_PEERS_MAX)
		return err_set(reader->e, -E2BIG, "more than %d peers", MESH_PEERS_MAX);
	reader->fn(reader->arg, &peer);
	return 0;
}

struct mesh_reader *mesh_reader_new(mesh_peer_fn *fn, void *arg)
{
	struct mesh_reader *reader = xnew(struct mesh_reader);

	reader->fn = fn;
	reader->arg = arg;
	reader->stream = json_stream_new("peers", PEER_TEXT_MAX, HEAD_TEXT_MAX, on_peer, reader);
	return reader;
}

struct mesh_reader *mesh_reader_free(struct mesh_reader *reader)
{
	if (!reader)
		return NULL;
	json_stream_free(reader->stream);
	free(reader);
	return NULL;
}

int mesh_reader_feed(struct mesh_reader *reader, const char *data, size_t len, struct err *e)
{
	struct err of_peer = { 0 };
	int r;

	reader->e = &of_peer;
	r = json_stream_feed(reader->stream, data, len, e);
	reader->e = NULL;
	return r < 0 && of_peer.code != 0 ? err_set(e, r, "%s", err_msg(&of_peer)) : r;
}

static int read_head(const char *text, size_t len, struct mesh_head *ret, struct err *e)
{
	_cleanup_json_ json_t *object = NULL;
	struct mesh_head head = { 0 };
	const char *error = NULL;
	int r = json_read(text, len, HEAD_TEXT_MAX, &object, e);

	if (r == 0 && !json_is_array(json_member(object, "peers")))
		r = err_set(e, -EINVAL, "it has no list of peers");
	if (r == 0)
		r = json_get_int(object, "rate", 0, SENT_MAX, &head.rate, e);
	if (r == 0)
		r = json_get_int(object, "port", 0, UINT16_MAX, &head.port, e);
	if (r == 0)
		r = json_get_string(object, "error", &error, e);
	if (r == 0 && is_given(object, "public_ip"))
		r = json_get_ip(object, "public_ip", &head.public_ip, e);
	if (r == 0 && is_given(object, "public_ipv6"))
		r = json_get_ip(object, "public_ipv6", &head.public_ipv6, e);
	if (r < 0)
		return r;
	(void)text_copy(head.error, sizeof(head.error), error ? error : "");
	text_sanitize(head.error);
	*ret = head;
	return 0;
}

int mesh_reader_end(struct mesh_reader *reader, struct mesh_head *ret, struct err *e)
{
	const char *rest;
	size_t len;
	int r = json_stream_end(reader->stream, &rest, &len, e);

	return r < 0 ? r : read_head(rest, len, ret, e);
}
