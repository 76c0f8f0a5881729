// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how much of a controller one client may use.
#include "controller/limits.h"

#include "core/hash.h"
#include "core/mem.h"
#include "io/loop.h"

#include <string.h>

#define SLOTS 16384 // a power of two; of 5,000 clients few share one
#define MILLI 1000

struct bucket {
	uint64_t filled_ms; // when it was last looked at; 0: never
	uint64_t level;	    // thousandths of a request
};

struct limits {
	unsigned int rate;
	struct bucket clients[SLOTS];
	struct bucket addresses[SLOTS];
	uint16_t streams[SLOTS];
};

struct limits *limits_new(unsigned int rate)
{
	struct limits *limits = xnew(struct limits);

	limits->rate = rate > 0 ? rate : LIMITS_RATE_DEFAULT;
	return limits;
}

struct limits *limits_free(struct limits *limits)
{
	free(limits);
	return NULL;
}

static size_t slot_of_address(const struct caller *caller)
{
	return hash_bytes(&caller->peer, sizeof(caller->peer)) & (SLOTS - 1);
}

static size_t slot_of_client(const struct caller *caller)
{
	return caller->owner[0] != '\0'
		       ? hash_bytes(caller->owner, strlen(caller->owner)) & (SLOTS - 1)
		       : slot_of_address(caller);
}

static void fill(struct bucket *bucket, uint64_t rate)
{
	uint64_t now_ms = loop_now_ms(), most = rate * LIMITS_BURST_FACTOR * MILLI;
	uint64_t passed_ms = now_ms - bucket->filled_ms;

	if (bucket->filled_ms == 0 || passed_ms >= LIMITS_BURST_FACTOR * MILLI)
		bucket->level = most;
	else
		bucket->level += passed_ms * rate;
	if (bucket->level > most)
		bucket->level = most;
	bucket->filled_ms = now_ms;
}

// 0, or until there is enough for one.
static uint32_t wait_ms(const struct bucket *bucket, uint64_t rate)
{
	return bucket->level >= MILLI ? 0 : (uint32_t)((MILLI - bucket->level + rate - 1) / rate);
}

uint32_t limits_take(struct limits *limits, const struct caller *caller)
{
	struct bucket *client = &limits->clients[slot_of_client(caller)];
	struct bucket *address = &limits->addresses[slot_of_address(caller)];
	uint64_t address_rate = (uint64_t)limits->rate * LIMITS_ADDRESS_FACTOR;
	uint64_t rate = limits->rate;
	uint32_t client_ms = 0, address_ms;
	bool is_admin = caller->role == CALLER_ADMIN; // and everybody, where no tokens are asked for

	if (caller->owner[0] == '\0')
		rate *= LIMITS_NAMELESS_FACTOR;
	fill(address, address_rate);
	address_ms = wait_ms(address, address_rate);
	if (!is_admin) {
		fill(client, rate);
		client_ms = wait_ms(client, rate);
	}
	if (client_ms > 0 || address_ms > 0)
		return client_ms > address_ms ? client_ms : address_ms;
	address->level -= MILLI;
	if (!is_admin)
		client->level -= MILLI;
	return 0;
}

bool limits_stream_begin(struct limits *limits, const struct caller *caller)
{
	uint16_t *count = &limits->streams[slot_of_client(caller)];

	if (caller->owner[0] == '\0')
		return true; // connections of an address are limited
	if (*count >= LIMITS_STREAMS_MAX)
		return false;
	++*count;
	return true;
}

void limits_stream_end(struct limits *limits, const struct caller *caller)
{
	if (caller->owner[0] != '\0')
		limits->streams[slot_of_client(caller)]--;
}
