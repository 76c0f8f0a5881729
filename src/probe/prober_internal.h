// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the files of the prober share.
#pragma once

#include "probe/echo_socket.h"
#include "probe/mtu_search.h"
#include "probe/prober.h"

#define PROBER_URGENT_MAX 128
#define PROBER_SEARCHES_MAX 4

enum { PROBER_SOCKET_V4, PROBER_SOCKET_V6, PROBER_SOCKET_COUNT };

struct probe_group {
	struct probe_group *next;
	struct prober *prober;
	uint64_t id; // no other group of this life has it
	void *arg;
	struct target_table *table;
};

// Who is asked before it is his turn.
struct urgent {
	uint64_t group;
	struct target_key key;
	enum probe_way way;
};

// A search for the MTU of the path to one target.
struct search {
	bool is_active;
	bool is_waiting; // for an answer
	uint64_t group;
	struct target_key key;
	struct mtu_search state;
};

enum probe_kind { PROBE_OF_ROUND, PROBE_OF_URGENT, PROBE_OF_SEARCH, PROBE_KIND_COUNT };

struct prober {
	struct loop *loop;
	struct prober_config config;
	probe_address_fn *address;
	struct timer *timer;
	struct echo_socket *sockets[PROBER_SOCKET_COUNT];
	struct flights flights;
	struct probe_group *groups;
	uint64_t group_ids;
	struct urgent urgent[PROBER_URGENT_MAX]; // a ring
	size_t urgent_first, urgent_count;
	struct search searches[PROBER_SEARCHES_MAX];
	enum probe_kind last;
	struct prober_stats stats;
	uint8_t packet[ECHO_PACKET_MAX];
};

struct probe_group *prober_find_group(const struct prober *prober, uint64_t id);
size_t prober_count_targets(const struct prober *prober);
uint64_t prober_least_pause_ms(const struct prober *prober);

struct probe_request {
	const struct probe_group *group;
	const struct target_key *key;
	enum probe_way way;
	uint16_t packet_bytes; // with the IP header
	uint64_t timeout_ms;
	uint8_t search; // from 1; 0: none
};
// 1: sent; 0: there is no room now; -ENOENT: it has nowhere to be asked; other errors: it cannot be reached, or -EMSGSIZE.
int prober_send(struct prober *prober, const struct probe_request *request);

// ---- prober_mtu.c ----
// An answer came by the underlay: it may be time to look at the path.
void prober_consider_search(struct prober *prober, const struct probe_group *group,
			    struct target *target);
bool prober_has_searches(const struct prober *prober);
bool prober_probe_search(struct prober *prober); // false: none has anything to ask now
void prober_search_result(struct prober *prober, const struct flight *flight, bool is_answered);
