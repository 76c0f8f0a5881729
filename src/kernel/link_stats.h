// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a network device has carried.
#pragma once

#include "core/err.h"
#include "kernel/netlink.h"

struct link_stats {
	uint64_t receive_packets, receive_bytes, receive_errors, receive_dropped;
	uint64_t transmit_packets, transmit_bytes, transmit_errors, transmit_dropped;
};

// Since the device was made. -ENODEV.
int link_stats_get(struct netlink *nl, const char *name, struct link_stats *ret, struct err *e);
