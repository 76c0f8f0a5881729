// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what WireGuard devices last said of their peers: when each was heard, and which are called without an answer.
#pragma once

#include "kernel/wg.h"

// Two calls and the time for an answer: they go out each 5 s (Rekey-Timeout).
#define WG_SILENT_AFTER_MS 12000

struct wg_contacts;
struct wg_contacts *wg_contacts_new(void);
struct wg_contacts *wg_contacts_free(struct wg_contacts *contacts);

// A reading: begin, each peer with its device's index, end. Peers that were not told of are forgotten. now_s is of CLOCK_REALTIME.
void wg_contacts_begin(struct wg_contacts *contacts);
void wg_contacts_note(struct wg_contacts *contacts, const struct wg_peer *peer,
		      const struct wg_contact *contact, int64_t now_s, uint64_t now_ms);
void wg_contacts_end(struct wg_contacts *contacts, uint64_t now_ms);

struct wg_heard {
	int64_t handshake_s; // CLOCK_REALTIME; 0: never
	uint64_t silent_ms; // for so long it has been called, and has not answered; 0: it does, or nobody calls
};
// Of the last whole reading. False: it knows nothing of the peer.
bool wg_contacts_find(const struct wg_contacts *contacts, const struct wg_peer *peer,
		      uint64_t now_ms, struct wg_heard *ret);
size_t wg_contacts_silent(const struct wg_contacts *contacts); // keys that are, on whichever device
