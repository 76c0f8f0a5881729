// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the packet path as a whole: the device, the sockets, the workers and the table they use.
#pragma once

#include "udp/counters.h"
#include "udp/route_table.h"
#include "udp/tun.h"

enum { ENGINE_FDS_EACH = 3, ENGINE_FDS_MAX = ENGINE_FDS_EACH * TUN_QUEUES_MAX };

struct engine_options {
	const char *device;
	struct ip address; // of the UDP sockets
	uint16_t port;
	unsigned int workers; // 1 to TUN_QUEUES_MAX
	unsigned int queue_len;
	unsigned int spin_us;
	bool fixed_source; // send from port, too
	bool join_tcp, join_udp;
	bool segment; // let the kernel cut what is sent, where it can
};

struct engine;
int engine_open(const struct engine_options *options, struct engine **ret, struct err *e);
// With descriptors of another process's engine, as engine_descriptors gives them; takes them in any case.
int engine_adopt(const struct engine_options *options, const int *fds, size_t count,
		 struct engine **ret, struct err *e);
struct engine *engine_free(struct engine *engine); // stops the workers first
// Borrowed. Returns how many.
size_t engine_descriptors(const struct engine *engine, int ret[static ENGINE_FDS_MAX]);

int engine_start(struct engine *engine, struct err *e); // the threads, which wait
void engine_run(struct engine *engine);			// lets them work
void engine_stop(struct engine *engine);		// and ends them; returns when they have

// Takes the table. The one before is freed when no worker uses it.
void engine_set_table(struct engine *engine, struct route_table *table);
// Frees tables that are not used any more; true: some still are, try again soon.
bool engine_reap(struct engine *engine);

void engine_counters(const struct engine *engine, uint64_t ret[static COUNTER_COUNT]);
// Becomes readable when the device is gone.
int engine_lost_fd(const struct engine *engine);
struct tun_features engine_features(const struct engine *engine);
