// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the devices and addresses of this network namespace at one moment, and which of the
// addresses suit a tunnel.
#pragma once

#include "core/err.h"
#include "core/strbuf.h"
#include "kernel/netlink.h"

#include <stdbool.h>
#include <stddef.h>

struct interface_table {
	struct link *links; // by index
	size_t link_count;
	struct addr *addrs; // as the kernel lists them
	size_t addr_count;
};

int interface_table_read(struct netlink *nl, struct interface_table *ret, struct err *e);
void interface_table_free(struct interface_table *table); // leaves it zero

const struct link *interface_by_name(const struct interface_table *table, const char *name); // NULL if none
const struct link *interface_by_index(const struct interface_table *table, uint32_t ifindex);
// Who has this address, of whatever scope and flags.
const struct link *interface_by_ip(const struct interface_table *table, const struct ip *ip);

// Eligible addresses of a device, the best first: *position starts at 0; NULL at the end. Eligible:
// global or link-local unicast, not deprecated, not a duplicate. Global before link-local,
// permanent before dynamic, lasting before temporary, else the kernel's order. COMPAT
const struct ip *interface_next_ip(const struct interface_table *table, const struct link *link,
				   int family, size_t *position);

// "lo, eth0 (10.0.0.1, fe80::1)", for messages; at most max bytes of it.
void interface_table_describe(const struct interface_table *table, struct strbuf *out, size_t max);
