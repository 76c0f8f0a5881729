// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: giving addresses that somebody has to an owner of another name.
#include "ipam/ipam_internal.h"

#include <string.h>

bool ipam_owner_of(const struct ipam *ipam, const struct ip *ip, struct owner_key *ret)
{
	const struct slot *slot = allocator_slot(ipam->allocator, ip);

	if (!slot || !slot->holder)
		return false;
	*ret = holder_key(slot->holder);
	return true;
}

// The journal's line takes the address from whom an earlier line gave it to, and a record of this host is written over, so that it does
// not matter at which point an agent dies.
int ipam_rename(struct ipam *ipam, const struct ip *ip, const char *name,
		const struct allocator_request *request, struct refusal *why)
{
	struct slot *slot = allocator_slot(ipam->allocator, ip);
	struct holder *holder = slot ? slot->holder : NULL;
	char text[IP_STR_MAX];
	struct err e;

	if (!holder || strcmp(holder->name, name) != 0)
		return refuse(why, REFUSED_TAKEN, "address %s was not given to %.64s",
			      ip_str(ip, text), name);
	if (!allocator_rename(ipam->allocator, holder, request))
		return refuse(why, REFUSED_TAKEN, "%.64s has another address already",
			      request->key.cid);
	writes_soon(ipam);
	if (!journal_holder(ipam, holder, &e))
		return refuse(why, REFUSED_LATER, "journal of addresses: %s", err_msg(&e));
	return 0;
}
