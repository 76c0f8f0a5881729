// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the text by which a WireGuard in user space is asked and answers ("cross-platform user-space implementation" of the WireGuard
// project: lines of key=value). No socket. What comes in may be anything.
#pragma once

#include "core/err.h"
#include "kernel/wg.h"

#define WG_TEXT_GET "get=1\n\n"
#define WG_TEXT_LINE_MAX 256 // of an answer

// A request that sets up the device (settings NULL: leaves it) and changes its peers; new peers have the settings' preshared key from
// preshared_key. Caller wipes and frees with wg_text_free.
struct wg_text {
	char *data;
	size_t len;
	size_t capacity;
};
void wg_text_set(const struct wg_settings *settings, const struct wg_key *preshared_key,
		 const struct wg_change *changes, size_t count, struct wg_text *ret);
void wg_text_free(struct wg_text *text); // wipes it; leaves it zero

// An answer, read as it comes.
struct wg_text_reader {
	const struct wg_settings *settings; // what the device should have; borrowed
	wg_peer_fn *fn;			    // NULL: none are expected
	void *arg;
	struct wg_state state;
	struct wg_peer peer;
	struct wg_contact contact;
	bool in_peer;
	bool has_preshared_key;
	bool has_error; // its line was read
	int error;	// negative errno, what the device says
	bool ended;
	char line[WG_TEXT_LINE_MAX];
	size_t line_len;
};

void wg_text_begin(struct wg_text_reader *reader, const struct wg_settings *settings,
		   wg_peer_fn *fn, void *arg);
// 1: there is more to come; 0: the answer is complete, and reader->error says how it went; -EBADMSG: no such answer, the message says in
// which line, without its value.
int wg_text_feed(struct wg_text_reader *reader, const char *data, size_t len, struct err *e);
void wg_text_end(struct wg_text_reader *reader); // wipes what is left of it
