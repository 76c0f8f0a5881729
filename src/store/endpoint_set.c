// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which server of a store is asked next.
#include "store/endpoint_set.h"

#include "core/log.h"
#include "core/mem.h"
#include "store/store_endpoint.h"

#include <assert.h>
#include <errno.h>

#define CONNECT_TIMEOUT_MS 2000

int endpoint_set_open(struct endpoint_set *set, const struct store_config *config, struct err *e)
{
	bool prefer_tls = config->ca_file || config->cert_file;
	size_t count = 0;

	static_assert(STORE_ENDPOINTS_MAX <= 64, "a set of tried ones has a bit for each");
	while (config->endpoints && config->endpoints[count])
		count++;
	if (count == 0)
		return err_set(e, -EINVAL, "no endpoint is given");
	if (count > STORE_ENDPOINTS_MAX)
		return err_set(e, -E2BIG, "more than %d endpoints", STORE_ENDPOINTS_MAX);
	set->connect_timeout_ms = config->request_timeout_ms < CONNECT_TIMEOUT_MS
					  ? config->request_timeout_ms
					  : CONNECT_TIMEOUT_MS;
	set->items = xnew0_array(struct endpoint, count);
	for (; set->count < count; set->count++) {
		struct endpoint *endpoint = &set->items[set->count];
		int r = store_endpoint_read(config->endpoints[set->count], prefer_tls,
					    &endpoint->url, e);

		if (r < 0)
			return r;
		endpoint->backoff = (struct backoff){ .base_ms = 1000, .max_ms = 30000 };
	}
	return 0;
}

void endpoint_set_free(struct endpoint_set *set)
{
	size_t i;

	for (i = 0; i < set->count; i++)
		free(set->items[i].url);
	free(set->items);
	*set = (struct endpoint_set){ 0 };
}

size_t endpoint_set_pick(const struct endpoint_set *set, uint64_t tried)
{
	uint64_t now = loop_now_ms();
	size_t best = SIZE_MAX;
	size_t i;

	for (i = 0; i < set->count; i++) {
		size_t index = (set->current + i) % set->count;
		uint64_t down_until = set->items[index].down_until_ms;

		if (tried & (uint64_t)1 << index)
			continue;
		if (down_until <= now)
			return index;
		if (best == SIZE_MAX || down_until < set->items[best].down_until_ms)
			best = index;
	}
	return best;
}

void endpoint_set_works(struct endpoint_set *set, size_t index)
{
	struct endpoint *endpoint = &set->items[index];

	endpoint->down_until_ms = 0;
	backoff_reset(&endpoint->backoff);
	if (set->current != index || !set->connected)
		log_debug("store: use endpoint %s", endpoint->url);
	set->current = index;
	set->connected = true;
}

void endpoint_set_failed(struct endpoint_set *set, size_t index)
{
	struct endpoint *endpoint = &set->items[index];
	size_t next;

	// Long enough that a watch, which tries again sooner than that at first, goes elsewhere.
	endpoint->down_until_ms = loop_now_ms() + backoff_next_late_ms(&endpoint->backoff);
	if (set->current != index)
		return;
	set->connected = false;
	// Its time being over does not make it the one to ask: none knows whether it works again.
	next = endpoint_set_pick(set, (uint64_t)1 << index);
	if (next != SIZE_MAX)
		set->current = next;
}

const char *endpoint_set_url(const struct endpoint_set *set)
{
	return set->connected ? set->items[set->current].url : "";
}
