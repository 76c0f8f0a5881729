// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the judgement on a kernel's answer: is the address on a link of ours?
//
// DOC: who asks again, and when
//
// A backend that says so (needs_paths) is given the kernel's answer to "how do I reach this address" with every look at a peer, and looks
// again when routes, or the underlay's link and addresses, change. So nothing is remembered here: a peer that was direct and is behind a
// router now simply wants other objects than before.
#include "backend/direct.h"

#include <errno.h>
#include <linux/rtnetlink.h>

// What the kernel says of an address that it has no way to; every other error says nothing of the address.
static bool is_no_route(int error)
{
	return error == -ENETUNREACH || error == -EHOSTUNREACH || error == -EACCES ||
	       error == -EINVAL; // prohibit; blackhole
}

enum direct_verdict direct_judge(const struct underlay_path *path, const char **ret_why)
{
	if (is_no_route(path->error)) {
		*ret_why = "there is no route to its public address";
		return DIRECT_NO;
	}
	if (path->error != 0) {
		*ret_why = "the way to its public address is not known";
		return DIRECT_UNKNOWN;
	}
	if (ip_is_set(&path->answer.gateway)) {
		*ret_why = "its public address is behind a router";
		return DIRECT_NO;
	}
	if (path->answer.type != RTN_UNICAST || path->answer.ifindex == 0) {
		*ret_why = "its public address is not on a link of ours";
		return DIRECT_NO;
	}
	*ret_why = "its public address is on the same segment";
	return DIRECT_YES;
}

int direct_check_remote(const struct ip *remote, int family, struct err *e)
{
	char text[IP_STR_MAX];
	if (ip_is_usable_endpoint(remote))
		return 0;
	return err_set(e, -EINVAL, "its public IPv%d address is %s: packets cannot be sent there",
		       family, ip_str(remote, text));
}

int direct_want_route(struct wanted *wanted, const struct ipnet *subnet, const struct ip *remote,
		      const struct underlay *underlay, const struct underlay_path *path, struct err *e)
{
	int r = direct_check_remote(remote, subnet->addr.family == AF_INET ? 4 : 6, e);
	if (r < 0)
		return r;
	const char *why = "";
	char ip[IP_STR_MAX], gateway[IP_STR_MAX];
	switch (direct_judge(path, &why)) {
	case DIRECT_YES:
		wanted_add_route(wanted, subnet, remote, path->answer.ifindex, false);
		return 0;
	case DIRECT_UNKNOWN:
		wanted_add_route(wanted, subnet, remote, underlay->ifindex, false);
		return 0;
	case DIRECT_NO:
		break;
	}
	(void)ip_str(remote, ip);
	if (path->error == 0 && ip_is_set(&path->answer.gateway))
		return err_set(e, -EHOSTUNREACH,
			       "not on the same segment: its public address %s is behind the router %s",
			       ip, ip_str(&path->answer.gateway, gateway));
	return err_set(e, -EHOSTUNREACH, "not on the same segment: %s (%s)", why, ip);
}
