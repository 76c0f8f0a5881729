// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the reader of what a WireGuard in user space answers: in pieces of any size it reads the same.
#include "fuzz.h"

#include "kernel/wg_text.h"

#include <errno.h>
#include <string.h>

struct seen {
	size_t peers;
	size_t allowed;
	uint64_t sum;
};

static void on_peer(void *arg, const struct wg_peer *peer, const struct wg_contact *contact)
{
	struct seen *seen = arg;
	must(peer->allowed_count <= WG_ALLOWED_MAX);
	must(!peer->greet && peer->ifindex == 0);
	for (size_t i = 1; i < peer->allowed_count; i++)
		must(ipnet_compare(&peer->allowed[i - 1], &peer->allowed[i]) <= 0);
	seen->peers++;
	seen->allowed += peer->allowed_count;
	seen->sum += contact->sent_bytes + peer->port + peer->public_key.bytes[7];
}

static int feed(const uint8_t *data, size_t size, size_t piece, struct seen *ret, struct wg_state *state)
{
	static const struct wg_settings settings = { .preshared_key.bytes = { 1 } };
	struct wg_text_reader reader;
	struct err e;
	int r = 1;
	memset(ret, 0, sizeof(*ret));
	wg_text_begin(&reader, &settings, on_peer, ret);
	for (size_t at = 0; r == 1 && at < size; at += piece)
		r = wg_text_feed(&reader, (const char *)data + at,
				 piece < size - at ? piece : size - at, &e);
	must(r == 0 || r == 1 || r == -EBADMSG);
	must(reader.error <= 0);
	*state = reader.state;
	wg_text_end(&reader);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole, pieces;
	struct wg_state a, b;
	if (size == 0)
		return 0;
	must(feed(data, size, size, &whole, &a) == feed(data, size, 1, &pieces, &b));
	must(whole.peers == pieces.peers && whole.allowed == pieces.allowed && whole.sum == pieces.sum);
	must(a.has_private_key == b.has_private_key && a.listen_port == b.listen_port);
	return 0;
}
