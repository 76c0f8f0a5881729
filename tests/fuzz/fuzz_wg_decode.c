// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the decoder of the kernel's WireGuard messages; the input is what follows the netlink header of each, with its length in
// two bytes before it.
#include "fuzz.h"

#include "kernel/wg_decode.h"

#include <errno.h>
#include <string.h>

static void on_peer(void *arg, const struct wg_peer *peer, const struct wg_contact *contact)
{
	size_t *count = arg;
	++*count;
	must(peer->allowed_count <= WG_ALLOWED_MAX && contact->handshake_s >= 0);
	for (size_t i = 0; i < peer->allowed_count; i++)
		must(peer->allowed[i].len <= ip_width_bits(&peer->allowed[i].addr));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct wg_settings settings = { .preshared_key.bytes = { 1 } };
	size_t count = 0;
	struct wg_decoder decoder = { .settings = &settings, .fn = on_peer, .arg = &count };
	int r = 0;
	for (size_t at = 0; r == 0 && size - at >= 2;) {
		size_t len = (size_t)data[at] << 8 | data[at + 1];
		uint16_t family = 0;
		at += 2;
		if (len > size - at)
			len = size - at;
		struct nlmsg_view msg = { .type = 16, .data = data + at, .len = len };
		r = wg_decode(&decoder, &msg);
		must(r == 0 || r == -EBADMSG);
		(void)wg_decode_family(&msg, &family);
		at += len;
	}
	wg_decode_end(&decoder);
	must(count <= size / 36); // a key each
	return 0;
}
