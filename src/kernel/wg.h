// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a WireGuard device and its peers are, as plain values, whoever runs the device. Private keys are only in struct wg_settings;
// who has one wipes it.
#pragma once

#include "core/ip.h"
#include "core/ipnet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WG_KEY_BYTES 32
#define WG_KEY_STR_MAX 45     // base64 with its terminator
#define WG_ALLOWED_MAX 2      // of a peer of ours: its subnet in each family
#define WG_REJECT_AFTER_S 180 // a session older than this carries nothing (Reject-After-Time)

struct wg_key {
	uint8_t bytes[WG_KEY_BYTES];
};

bool wg_key_is_set(const struct wg_key *key); // not all zero
bool wg_key_equal(const struct wg_key *a,
		  const struct wg_key *b); // takes the same time wherever they differ
const char *wg_key_str(const struct wg_key *key, char buf[static WG_KEY_STR_MAX]); // base64
int wg_key_parse(const char *base64,
		 struct wg_key *ret); // -EINVAL; the message is the caller's, for keys are not shown

// What a device of ours has besides its peers.
struct wg_settings {
	struct wg_key private_key;
	struct wg_key preshared_key; // of every peer; zero: none
	uint16_t listen_port;
};

// A peer. Its key is public_key on the device.
struct wg_peer {
	uint32_t ifindex;
	struct wg_key public_key;
	struct ip endpoint; // AF_UNSPEC: none
	uint16_t port;	    // of the endpoint
	uint16_t keepalive_s;
	struct ipnet allowed[WG_ALLOWED_MAX]; // in the order of ipnet_compare
	uint8_t allowed_count;
	bool odd;   // read: more than we give a peer, or a preshared key that is not the device's
	bool alive; // read: it was heard lately, so its endpoint is where it is
	bool greet; // written: a handshake at once, and not with the first packet
};

// What a device says of a peer besides.
struct wg_contact {
	int64_t handshake_s; // CLOCK_REALTIME; 0: never
	uint64_t received_bytes;
	uint64_t sent_bytes; // handshakes included
};

// What a device says of itself, compared with what it was asked about.
struct wg_state {
	bool has_private_key; // ours
	uint16_t listen_port;
};

// One write. Removing one that is not there is fine.
struct wg_change {
	bool remove;
	bool only_greet; // nothing but a handshake
	struct wg_peer peer;
};

// peer->ifindex is 0: whoever reads knows the device.
typedef void wg_peer_fn(void *arg, const struct wg_peer *peer, const struct wg_contact *contact);

// Adds to the peer's allowed addresses, in their order; more than there is room for make it odd.
void wg_peer_allow(struct wg_peer *peer, const struct ipnet *net);
