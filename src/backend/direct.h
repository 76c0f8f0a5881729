// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: whether a peer is on a segment of ours, so that its packets can be routed to its public address without encapsulation.
#pragma once

#include "core/err.h"
#include "reconcile/wanted.h"

enum direct_verdict {
	DIRECT_YES,
	DIRECT_NO,
	DIRECT_UNKNOWN, // the kernel was not asked, or did not answer
};

// Judges one family's way to the peer's public address. ret_why: why it is not, or is; static text.
enum direct_verdict direct_judge(const struct underlay_path *path, const char **ret_why);

// For backends that have no other way: the route to subnet through the peer's public address, on the device where that is (as long as it is not
// known, on the underlay: the kernel refuses a gateway that is not there). -EINVAL, -EHOSTUNREACH: why there can be none.
int direct_want_route(struct wanted *wanted, const struct ipnet *subnet, const struct ip *remote,
		      const struct underlay *underlay, const struct underlay_path *path,
		      struct err *e);

// -EINVAL: packets cannot be sent to this public address.
int direct_check_remote(const struct ip *remote, int family, struct err *e);
