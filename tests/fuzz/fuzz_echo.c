// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing echo replies: as bytes, and as answers to a probe that is under way.
#include "fuzz.h"

#include "probe/flights.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int families[] = { AF_INET, AF_INET6 };
	const struct ip from = ip_v4(0x0a000001);
	struct flights flights;
	struct flight *flight, *found = NULL;
	struct echo_reply reply;

	for (size_t i = 0; i < 2; i++) {
		if (!echo_decode(families[i], data, size, &reply))
			continue;
		must(reply.payload >= data && reply.payload + reply.payload_len == data + size);
		flights_init(&flights);
		flights.id = reply.id;
		flights.next = reply.sequence;
		flight = flights_open(&flights);
		flight->to = from;
		flight->payload_len = (uint16_t)reply.payload_len;
		// Nobody knows the cookie; who does is heard once.
		must(flights_match(&flights, &from, &reply, &found) == FLIGHT_WRONG_CONTENT ||
		     reply.payload_len == 0 || found == flight);
		if (reply.payload_len < ECHO_COOKIE_BYTES)
			continue;
		memcpy(flight->cookie, reply.payload, ECHO_COOKIE_BYTES);
		if (flights_match(&flights, &from, &reply, &found) == FLIGHT_MINE)
			must(flights_match(&flights, &from, &reply, &found) == FLIGHT_DUPLICATE);
	}
	return 0;
}
