// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: choosing the interface and the addresses that carry the traffic between hosts, by flannel's
// rules.
#pragma once

#include "core/err.h"
#include "core/ip.h"
#include "kernel/netlink.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

// What the operator asked for. Borrows; NULL lists and texts mean: not given.
struct interface_request {
	const char *const *ifaces;  // names or addresses, NULL-terminated
	const char *const *regexes; // NULL-terminated
	const char *can_reach;	    // address
	struct ip public_ip;	    // AF_UNSPEC: not given
	struct ip public_ipv6;
	bool want_v4; // the network's families
	bool want_v6;
};

struct underlay_choice {
	uint32_t ifindex;
	char name[IFNAMSIZ];
	uint32_t mtu_bytes;
	struct ip ip4; // the interface's own; AF_UNSPEC where the family is not wanted
	struct ip ip6;
	struct ip public_ip; // what peers send to
	struct ip public_ipv6;
};

// The first of: each iface, each regex, can_reach that gives an interface; with none of them given
// the owner of public_ip, else of public_ipv6, else the interface of the default route. An entry
// that fails is logged when a later one succeeds. -ENODEV and the like: one line that names what
// was looked for and what exists. Blocking, a few netlink dumps.
int interface_choose(struct netlink *nl, const struct interface_request *request,
		     struct underlay_choice *ret, struct err *e);
bool underlay_choice_equal(const struct underlay_choice *a, const struct underlay_choice *b);
