// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the subscription to kernel notifications of one network namespace.
#pragma once

#include "core/err.h"
#include "kernel/netlink.h"

#include <stdbool.h>
#include <stdint.h>

struct kernel_event {
	bool removed; // RTM_DEL*
	uint32_t port_id; // of the socket that caused it; 0 for the kernel itself, and of whomever for links,
			  // FDB entries and the removal of neighbours (kernel 6.18)
	struct kernel_object object;
};

typedef void monitor_event_fn(void *arg, const struct kernel_event *event);

struct monitor;
// Subscribes to links, addresses, routes, neighbours (and FDB entries) and nexthops, both families, with a large receive buffer.
int monitor_open(struct monitor **ret, struct err *e);
struct monitor *monitor_close(struct monitor *monitor);
static inline void monitor_closep(struct monitor **monitor)
{
	monitor_close(*monitor);
}
// From now on leaves out what requests of nl cause, most of it in the kernel: ten thousand echoes of our own routes then
// cost no wake-up. What they cause on links and what the kernel does in their wake (routes and nexthops that go with an
// address, say) is still told. nl must live until the monitor is closed.
int monitor_skip_own(struct monitor *monitor, struct netlink *nl, struct err *e);
int monitor_fd(const struct monitor *monitor);
// Hands over what is there, without blocking, at most about events_max. 0; -EAGAIN never;
// -ENOBUFS when notifications were lost (what was read was handed over; a full scan is due).
int monitor_read(struct monitor *monitor, size_t events_max, monitor_event_fn *fn, void *arg,
		 struct err *e);
