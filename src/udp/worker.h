// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one thread of the packet path: a TUN queue and a pair of UDP sockets, and what goes between them.
//
// DOC: workers
//
// A flow's packets are read from one queue and sent from one socket, so they leave in order; the
// peer receives them at one socket, for the kernel chooses that by the outer addresses and ports. A
// worker reads a batch, sends it, receives a batch, writes it, and then waits for either. No memory
// is allocated for packets: each worker has its buffers from the start.
//
// The table is read through a pointer that the control thread swaps. A worker says which table it
// holds for the time of one round, and a table is freed when nobody holds it (engine_reap).
#pragma once

#include "udp/coalesce.h"
#include "udp/counters.h"
#include "udp/outer.h"
#include "udp/route_table.h"
#include "udp/segment.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

enum {
	TRANSMIT_ARENA = 512 * 1024,
	TRANSMIT_PACKETS = 64, // read before they are sent
	TRANSMIT_TRAINS = 64,
	TRANSMIT_HEADERS = 1024,
	TRANSMIT_OPEN = 16, // trains that may grow, by host
	RECEIVE_MESSAGES = 16,
	RECEIVE_BYTES = 65536,
};

// Datagrams to one host that leave in one send: all of one length, but for the last.
struct train {
	uint32_t host;
	uint32_t bytes;
	uint16_t segment;
	uint16_t count;
	uint16_t pieces;
	bool ended; // by a shorter one
	struct iovec iov[2 * OUTER_TRAIN_MAX];
};

struct transmit {
	uint8_t *arena;
	uint8_t (*headers)[SEGMENT_HEADER_MAX];
	struct train *trains;
	uint32_t header_count;
	uint32_t train_count;
	uint16_t open[TRANSMIT_OPEN]; // train + 1
	bool gso;		      // UDP_SEGMENT works on the socket
	bool part_equal;	      // outer_spoils_equal_trains
};

struct receive_message {
	uint8_t *data;
	struct sockaddr_in6 from; // or one of IPv4
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int))];
};

struct receive {
	struct receive_message messages[RECEIVE_MESSAGES];
	struct mmsghdr headers[RECEIVE_MESSAGES];
	struct iovec iov[RECEIVE_MESSAGES];
	struct coalescer coalescer;
};

// Waiting awake for what answers at once: see worker.c.
struct spin {
	uint64_t limit_ns;
	uint64_t tokens_ns;
	uint64_t filled_at_ns;
};

enum worker_order { WORKER_PARK, WORKER_RUN, WORKER_QUIT };

struct worker {
	int tun, in, out, wake; // owned; in and out may be the same
	int lost;		// an eventfd of the engine's, written when the device is gone
	_Atomic(const struct route_table *) *current;
	_Atomic(const struct route_table *) held;
	_Atomic int order;		 // enum worker_order
	const struct route_table *table; // the one held
	struct counters counters;
	struct transmit transmit;
	struct receive receive;
	struct spin spin;
	uint32_t icmp_tokens;
	uint64_t icmp_filled_at_ns;
	uint8_t icmp[VNET_HEADER + 1280];
	pthread_t thread;
	bool started;
};

// Takes the three descriptors. current: where the table is, for as long as the worker is there.
struct worker *worker_new(int tun, int in, int out, int lost,
			  _Atomic(const struct route_table *) *current);
// After it was told to quit; closes what it owns.
struct worker *worker_free(struct worker *worker);
int worker_start(struct worker *worker); // its thread, parked
void worker_tell(struct worker *worker, enum worker_order order);

// One batch from TUN to the wire, and one the other way; with worker->table set. Return how many
// packets or messages there were.
size_t transmit_batch(struct worker *worker);
size_t receive_batch(struct worker *worker);
