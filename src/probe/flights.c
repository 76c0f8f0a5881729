// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the probes that are under way.
#include "probe/flights.h"

#include "core/hash.h"
#include "core/mem.h"
#include "io/loop.h"

#include <assert.h>
#include <string.h>

static_assert((FLIGHTS_MAX & (FLIGHTS_MAX - 1)) == 0, "sequence numbers wrap");

const char *const flight_verdict_names[FLIGHT_VERDICT_COUNT] = {
	[FLIGHT_MINE] = "answered",
	[FLIGHT_WRONG_ID] = "wrong-id",
	[FLIGHT_WRONG_SEQUENCE] = "wrong-sequence",
	[FLIGHT_WRONG_SOURCE] = "wrong-source",
	[FLIGHT_WRONG_CONTENT] = "wrong-content",
	[FLIGHT_DUPLICATE] = "duplicate",
	[FLIGHT_LATE] = "late",
};

void flights_init(struct flights *flights)
{
	memset(flights, 0, sizeof(*flights));
	flights->id = (uint16_t)random_below(UINT16_MAX + 1);
	flights->next = (uint16_t)random_below(UINT16_MAX + 1);
}

struct flight *flights_open(struct flights *flights)
{
	struct flight *flight = &flights->all[flights->next % FLIGHTS_MAX];
	// Keyed with what no other process knows, so nobody can tell the next one.
	uint64_t seed[2] = { flights->next, random_below(UINT64_MAX) };
	uint64_t cookie = hash_bytes(seed, sizeof(seed));

	if (flight->state == FLIGHT_OPEN)
		return NULL;
	*flight = (struct flight){ .state = FLIGHT_OPEN, .sequence = flights->next++ };
	static_assert(sizeof(cookie) == ECHO_COOKIE_BYTES, "the cookie is one number");
	memcpy(flight->cookie, &cookie, sizeof(cookie));
	return flight;
}

static bool has_content(const struct flight *flight, const struct echo_reply *reply)
{
	if (reply->payload_len != flight->payload_len ||
	    memcmp(reply->payload, flight->cookie, ECHO_COOKIE_BYTES) != 0)
		return false;
	for (size_t i = ECHO_COOKIE_BYTES; i < reply->payload_len; i++)
		if (reply->payload[i] != 0)
			return false;
	return true;
}

enum flight_verdict flights_match(struct flights *flights, const struct ip *from,
				  const struct echo_reply *reply, struct flight **ret_flight)
{
	struct flight *flight = &flights->all[reply->sequence % FLIGHTS_MAX];

	if (reply->id != flights->id)
		return FLIGHT_WRONG_ID;
	if (flight->state == FLIGHT_NONE || flight->sequence != reply->sequence)
		return FLIGHT_WRONG_SEQUENCE;
	if (!ip_equal(from, &flight->to))
		return FLIGHT_WRONG_SOURCE;
	if (!has_content(flight, reply))
		return FLIGHT_WRONG_CONTENT;
	if (flight->state != FLIGHT_OPEN)
		return flight->state == FLIGHT_LOST ? FLIGHT_LATE : FLIGHT_DUPLICATE;
	flight->state = FLIGHT_ANSWERED;
	*ret_flight = flight;
	return FLIGHT_MINE;
}

struct flight *flights_expire(struct flights *flights, uint64_t now_us)
{
	for (size_t i = 0; i < FLIGHTS_MAX; i++) {
		struct flight *flight = &flights->all[i];

		if (flight->state == FLIGHT_OPEN && flight->lost_at_us < now_us) {
			flight->state = FLIGHT_LOST;
			return flight;
		}
	}
	return NULL;
}
