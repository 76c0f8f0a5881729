// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what watches over HTTP have in common: when a broken one is tried again, and what its owner
// hears of that.
#pragma once

#include "store/kv_http.h"

typedef void watch_stop_fn(void *arg);

// Part of a watch.
struct watch_life {
	watch_stop_fn *stop; // ends what is under way; called before it goes down, is lost or ends
	void *arg;
	struct kv_watch *watch;
	struct timer *timer; // down: the next try; else the store's own
	struct backoff backoff;
	uint64_t up_since_ms;
	uint32_t retry_ms; // the next try is not before, as the server said; 0: whenever we like
};

// arg is that of both functions.
void watch_life_begin(struct watch_life *life, struct kv_watch *watch, watch_stop_fn *stop,
		      timer_fn *due, void *arg);
void watch_life_end(struct watch_life *life);
// Each of them tells the owner, who may free the watch.
bool watch_life_up(struct watch_life *life, const struct kv_header *header); // false: it was freed
// To be tried again later. A watch that lived for long starts a new row of tries.
void watch_life_down(struct watch_life *life, const struct err *e);
// The same by the fault of this endpoint of the store's, which e does not name yet.
void watch_life_fail(struct watch_life *life, size_t endpoint, const struct err *e);
void watch_life_lose(struct watch_life *life, bool store_changed, const char *why);
