// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the probes that are under way, and whether a reply is the answer to one of them. Whoever reaches this host can send it echo replies; only
// one from where the probe went, with all of its bytes, counts, and once.
#pragma once

#include "core/ip.h"
#include "probe/echo.h"
#include "probe/target_table.h"

#define FLIGHTS_MAX 64 // above the rate of probes times the time for an answer

struct flight {
	enum { FLIGHT_NONE, FLIGHT_OPEN, FLIGHT_ANSWERED, FLIGHT_LOST } state;
	uint16_t sequence;
	uint16_t payload_len;
	uint8_t cookie[ECHO_COOKIE_BYTES];
	struct ip to;
	uint64_t sent_us; // CLOCK_MONOTONIC
	uint64_t lost_at_us;
	// whose it is
	uint64_t group;
	struct target_key key;
	enum probe_way way;
	uint8_t search; // for the MTU of its path, from 1; 0: none
};

enum flight_verdict {
	FLIGHT_MINE,
	FLIGHT_WRONG_ID,
	FLIGHT_WRONG_SEQUENCE, // no probe has it, or none any more
	FLIGHT_WRONG_SOURCE,
	FLIGHT_WRONG_CONTENT,
	FLIGHT_DUPLICATE,
	FLIGHT_LATE,
	FLIGHT_VERDICT_COUNT
};
extern const char *const flight_verdict_names[FLIGHT_VERDICT_COUNT];

struct flights {
	uint16_t id; // of this process' probes
	uint16_t next;
	struct flight all[FLIGHTS_MAX]; // by the last bits of the sequence number
};

void flights_init(struct flights *flights);
// A new one with sequence, cookie and state; the caller fills in the rest. NULL: the place is taken by one that is still open.
struct flight *flights_open(struct flights *flights);
// FLIGHT_MINE: ret_flight, now answered; else it is untouched.
enum flight_verdict flights_match(struct flights *flights, const struct ip *from,
				  const struct echo_reply *reply, struct flight **ret_flight);
// The next one that is open and whose time for an answer is over: it is lost now. NULL: none.
struct flight *flights_expire(struct flights *flights, uint64_t now_us);
