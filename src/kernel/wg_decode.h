// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: from the bytes of the kernel's WireGuard messages to devices and peers. Every length is checked: what comes in may be anything.
#pragma once

#include "kernel/nlmsg.h"
#include "kernel/wg.h"

// A device is told in several messages, and a peer with many addresses goes on in the next one.
struct wg_decoder {
	const struct wg_settings *settings; // what the device should have; borrowed
	wg_peer_fn *fn;
	void *arg;
	struct wg_state state;
	struct wg_peer peer; // told when the next one begins
	struct wg_contact contact;
	bool in_peer;
};

// 0 or -EBADMSG.
int wg_decode(struct wg_decoder *decoder, const struct nlmsg_view *msg);
void wg_decode_end(struct wg_decoder *decoder); // tells the last peer

// The id of a family, from the answer to a question for it. 0, -ENOMSG or -EBADMSG.
int wg_decode_family(const struct nlmsg_view *msg, uint16_t *ret);
