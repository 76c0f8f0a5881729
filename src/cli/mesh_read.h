// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading what an agent measured of its peers. The answer may come from another host: nothing of it is taken before it was checked.
#pragma once

#include "core/err.h"
#include "core/ipnet.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESH_PEERS_MAX 70000 // of one answer; more than the subnets of a /8 in /24
#define MESH_NETWORK_MAX 64
#define MESH_ERROR_MAX 256

enum mesh_state { MESH_UNKNOWN, MESH_OK, MESH_LOSSY, MESH_UNREACHABLE, MESH_STATE_COUNT };
extern const char *const mesh_state_names[MESH_STATE_COUNT];

enum { MESH_UNDERLAY, MESH_OVERLAY, MESH_WAY_COUNT };

struct mesh_way {
	bool is_there; // false: nobody is asked by this way
	enum mesh_state state;
	int64_t sent, lost; // of the last probes
	int64_t rtt_us, min_us, p90_us;
};

struct mesh_peer {
	struct ipnet subnet;
	struct ip public_ip; // none: the lease has none
	char network[MESH_NETWORK_MAX];
	struct mesh_way ways[MESH_WAY_COUNT];
};

// What stands beside the peers.
struct mesh_head {
	int64_t rate; // probes a second; 0: none
	int64_t port; // where this agent tells others; 0: nowhere
	char error[MESH_ERROR_MAX];
	struct ip public_ip;
	struct ip public_ipv6;
};

// -EINVAL: it is not a peer.
int mesh_peer_read(const char *text, size_t len, struct mesh_peer *ret, struct err *e);
// The more, the worse: not reached, then lost ones, then slow ones.
uint64_t mesh_peer_badness(const struct mesh_peer *peer);
enum mesh_state mesh_peer_state(const struct mesh_peer *peer); // of the worse way
json_t *mesh_peer_json(const struct mesh_peer *peer);	       // new reference

typedef void mesh_peer_fn(void *arg, const struct mesh_peer *peer);
struct mesh_reader;
struct mesh_reader *mesh_reader_new(mesh_peer_fn *fn, void *arg);
struct mesh_reader *mesh_reader_free(struct mesh_reader *reader);
// -EINVAL, -E2BIG.
int mesh_reader_feed(struct mesh_reader *reader, const char *data, size_t len, struct err *e);
int mesh_reader_end(struct mesh_reader *reader, struct mesh_head *ret, struct err *e);
