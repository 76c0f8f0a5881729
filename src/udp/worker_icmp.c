// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: sending a worker's ICMP errors, not more than so many a second.
#include "udp/worker_icmp.h"

#include <time.h>
#include <unistd.h>

// As Linux limits its own (net.ipv4.icmp_msgs_per_sec, icmp_msgs_burst).
enum { PER_SECOND = 1000, BURST = 50 };
_Static_assert(sizeof(((struct worker *)0)->icmp) == VNET_HEADER + ICMP_ERROR_MAX, "room for any");

static bool allowed(struct worker *w)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	uint64_t earned = (now_ns - w->icmp_filled_at_ns) / (1000000000 / PER_SECOND);
	if (earned > 0) {
		w->icmp_tokens = earned > BURST - w->icmp_tokens ? BURST
								 : w->icmp_tokens + (uint32_t)earned;
		w->icmp_filled_at_ns = now_ns;
	}
	if (w->icmp_tokens == 0)
		return false;
	w->icmp_tokens--;
	return true;
}

void worker_icmp(struct worker *w, enum icmp_error error, const struct packet *about)
{
	const struct route_config *config = &w->table->config;
	const struct ip *from = about->version == 4 ? &config->v4.address : &config->v6.address;
	size_t len = icmp_error_write(error, config->mtu, about, from, w->icmp + VNET_HEADER);
	if (len == 0)
		return;
	if (!allowed(w)) {
		counter_add(&w->counters, COUNTER_DROP_ICMP_LIMIT, 1);
		return;
	}
	memset(w->icmp, 0, VNET_HEADER);
	if (write(w->tun, w->icmp, VNET_HEADER + len) < 0)
		counter_add(&w->counters, COUNTER_DROP_TUN_WRITE, 1);
	else
		counter_add(&w->counters, COUNTER_ICMP_SENT, 1);
}
