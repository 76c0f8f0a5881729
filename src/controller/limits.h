// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how much of a controller one client may use: requests by rate, and streams that are open at once.
//
// DOC: buckets
//
// Clients are told apart by their owner, or by their address where they show no identity; and all of one address share a
// bucket, for identities cost nothing. A bucket is a slot of a table of fixed size, found by a keyed hash: two clients may
// share one, nobody can choose with whom, and no number of clients takes more memory.
#pragma once

#include "controller/caller.h"

#include <stdbool.h>
#include <stdint.h>

#define LIMITS_RATE_DEFAULT 50 // requests a second of one client
#define LIMITS_BURST_FACTOR 10 // as many seconds' worth may come at once
#define LIMITS_NAMELESS_FACTOR \
	10 // as many times the rate for all that show no identity, of one address
#define LIMITS_ADDRESS_FACTOR 40 // and for all of one address
#define LIMITS_STREAMS_MAX \
	256 // that are open at once, of one identity: a host in 64 networks watches each and the list, and reads all at a start

struct limits;
// rate 0: the default.
struct limits *limits_new(unsigned int rate);
struct limits *limits_free(struct limits *limits);

// 0: the request may be served, and is counted. Else in how many milliseconds the client may try again.
uint32_t limits_take(struct limits *limits, const struct caller *caller);
// A stream begins, unless there are too many of this client; each that began has to end.
bool limits_stream_begin(struct limits *limits, const struct caller *caller);
void limits_stream_end(struct limits *limits, const struct caller *caller);
