// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: probing peers: when which one is asked, and what came of it.
//
// DOC: pace
//
// One timer sends one probe at a time, never more than `rate` a second and not more often than each way to each peer once in `period_ms`, whatever
// number of peers there is; its pauses have a random part. A round asks every peer by one way, the next round by the other. Who is new, and who
// did not answer, is asked again soon, but in turns with the round, so that the rest is not forgotten for those. A probe without an
// answer is found lost when another one is sent: there is no other timer.
// Probes of another size, by which the MTU of a path is searched for, take their turns with these.
#pragma once

#include "core/err.h"
#include "core/lease.h"
#include "io/loop.h"
#include "probe/flights.h"
#include "probe/target_table.h"

#define PROBE_RATE_MAX 10 // a second and agent
#define PROBE_BUCKETS 14

// Searching for the largest packet that the path to a peer carries; all hooks get the arg of the group.
struct prober_mtu {
	uint64_t recheck_ms; // on average
	// Sizes with the IP header, at most ECHO_PACKET_MAX. False: of this one nobody wants to know.
	bool (*range)(void *arg, const struct target_key *key, uint16_t *ret_floor,
		      uint16_t *ret_ceiling);
	// It was measured, perhaps as before. Must not add or remove targets.
	void (*found)(void *arg, struct target *target);
};

struct prober_config {
	unsigned int rate; // a second, from 1
	uint64_t period_ms;
	uint64_t timeout_ms;	      // without an answer for so long: lost
	const struct prober_mtu *mtu; // NULL: no path is searched
};

// Where a peer is asked by this way. 0; -ENOENT: nowhere now, and that says nothing about the peer. arg is that of the group.
typedef int probe_address_fn(void *arg, const struct target_key *key, enum probe_way way,
			     struct ip *ret);

// A histogram of its own, for hosts of one rack answer in a fraction of the first bucket of core/histogram.h.
struct probe_way_stats {
	uint64_t sent;
	uint64_t lost;
	uint64_t answered;
	uint64_t rtt_sum_us;
	uint64_t buckets[PROBE_BUCKETS]; // answered within probe_bucket_us, each counted once
};
extern const uint32_t probe_bucket_us[PROBE_BUCKETS];

struct prober_stats {
	struct probe_way_stats ways[PROBE_WAY_COUNT];
	uint64_t ignored[FLIGHT_VERDICT_COUNT];
	uint64_t not_sent; // the kernel had no room
	uint64_t mtu_sent;
};

struct prober;
// Without any of the sockets: the error. Of one family alone: a line in the log.
int prober_new(struct loop *loop, const struct prober_config *config, probe_address_fn *address,
	       struct prober **ret, struct err *e);
struct prober *prober_free(struct prober *prober); // its groups must be freed
const struct prober_stats *prober_stats(const struct prober *prober);

// Peers with one arg: those of a network.
struct probe_group;
struct probe_group *probe_group_new(struct prober *prober, void *arg);
struct probe_group *probe_group_free(struct probe_group *group);
// Each family that the subnet has is probed. is_changed: it is somewhere else now, and what was known of it is forgotten.
void probe_group_put(struct probe_group *group, const struct subnet *subnet, bool is_changed);
void probe_group_remove(struct probe_group *group, const struct subnet *subnet);
// Removes those that are not wanted.
void probe_group_retain(struct probe_group *group,
			bool (*is_wanted)(void *arg, const struct subnet *subnet));
// What is known of one, NULL: nothing. Borrowed until the loop turns.
const struct target *probe_group_find(const struct probe_group *group, const struct subnet *subnet,
				      int family);
// All, in no order. NULL behind the last.
const struct target *probe_group_at(const struct probe_group *group, size_t position);
size_t probe_group_count(const struct probe_group *group);
