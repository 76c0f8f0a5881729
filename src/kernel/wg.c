// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: keys and peers of WireGuard as values.
#include "kernel/wg.h"

#include "core/base64.h"

#include <errno.h>
#include <string.h>

bool wg_key_equal(const struct wg_key *a, const struct wg_key *b)
{
	uint8_t difference = 0;
	for (size_t i = 0; i < WG_KEY_BYTES; i++)
		difference |= a->bytes[i] ^ b->bytes[i];
	return difference == 0;
}

bool wg_key_is_set(const struct wg_key *key)
{
	static const struct wg_key zero;
	return !wg_key_equal(key, &zero);
}

const char *wg_key_str(const struct wg_key *key, char buf[static WG_KEY_STR_MAX])
{
	base64_encode(key->bytes, sizeof(key->bytes), buf);
	return buf;
}

int wg_key_parse(const char *base64, struct wg_key *ret)
{
	uint8_t bytes[WG_KEY_BYTES + 3];
	size_t len = strnlen(base64, WG_KEY_STR_MAX);
	int r = len == WG_KEY_STR_MAX - 1 ? base64_decode(base64, len, bytes, &len) : -EINVAL;
	if (r == 0 && len != WG_KEY_BYTES)
		r = -EINVAL;
	if (r == 0)
		memcpy(ret->bytes, bytes, WG_KEY_BYTES);
	explicit_bzero(bytes, sizeof(bytes));
	return r;
}

void wg_peer_allow(struct wg_peer *peer, const struct ipnet *net)
{
	size_t at = peer->allowed_count;
	if (at == WG_ALLOWED_MAX) {
		peer->odd = true;
		return;
	}
	for (; at > 0 && ipnet_compare(net, &peer->allowed[at - 1]) < 0; at--)
		peer->allowed[at] = peer->allowed[at - 1];
	peer->allowed[at] = *net;
	peer->allowed_count++;
}
