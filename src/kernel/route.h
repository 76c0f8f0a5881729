// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking the kernel which way a packet would go.
#pragma once

#include "core/err.h"
#include "kernel/netlink.h"

struct route_answer {
	uint32_t ifindex;
	struct ip gateway; // AF_UNSPEC: the destination is on the link
	struct ip prefsrc; // AF_UNSPEC if none
	uint8_t type;	   // RTN_UNICAST, RTN_LOCAL, ...
};

// RTM_GETROUTE. -ENETUNREACH and the like when there is no way.
int route_get(struct netlink *nl, const struct ip *destination, struct route_answer *ret,
	      struct err *e);

// Many at once in few sends: ret[i] and error[i] for destinations[i].
int route_get_many(struct netlink *nl, const struct ip *destinations, size_t count,
		   struct route_answer *ret, int *ret_errors, struct err *e);
