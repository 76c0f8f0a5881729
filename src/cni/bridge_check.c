// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: CHECK of the bridge plugin.
#include "cni/bridge_internal.h"

#include "cni/check.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

// The bridge, and the container's other end as a port of it.
static int check_host(const struct bridge_conf *conf, const struct result *prev, uint32_t peer,
		      struct fault *fault)
{
	const struct result_interface *interface = check_find(prev, conf->bridge, false);
	struct device bridge = { 0 }, port = { 0 };
	struct rtnl host = { .fd = -1 };
	int r;

	if (!interface)
		return fault_set(fault, FAULT_INTERNAL, "prevResult has no bridge \"%s\"",
				 conf->bridge);
	r = rtnl_open(&host, NETLINK_ROUTE, fault);
	if (r == 0)
		r = device_find(&host, conf->bridge, 0, &bridge, fault);
	if (r == -ENODEV)
		r = fault_set(fault, FAULT_INTERNAL, "Bridge interface %s not found", conf->bridge);
	if (r == 0 && strcmp(bridge.kind, "bridge") != 0)
		r = fault_set(fault, FAULT_INTERNAL,
			      "Bridge interface %s link exists but is not a bridge", conf->bridge);
	if (r == 0 && conf->promiscuous != !!(bridge.flags & IFF_PROMISC))
		r = fault_set(fault, FAULT_INTERNAL,
			      "Bridge interface %s configured Promisc Mode %s doesn't match",
			      conf->bridge, conf->promiscuous ? "true" : "false");
	if (r == 0 && check_mac_differs(&bridge, interface))
		r = fault_set(fault, FAULT_INTERNAL, "Bridge interface %s Mac doesn't match: %s",
			      conf->bridge, interface->mac);
	if (r == 0)
		r = device_find(&host, NULL, peer, &port, fault);
	if (r == -ENODEV || (r == 0 && port.master_ifindex != bridge.ifindex))
		r = fault_set(fault, FAULT_INTERNAL, "the container's veth is no port of bridge %s",
			      conf->bridge);
	rtnl_close(&host);
	return r;
}

int bridge_check(const struct call *call, const struct conf *conf, struct fault *fault)
{
	_cleanup_free_ struct result *prev = xnew(struct result);
	struct bridge_conf options;
	uint32_t peer = 0;
	int r;

	r = bridge_conf_read(&options, conf, fault);
	if (r == 0)
		r = check_run(call, conf, prev, &peer, fault);
	if (r == 0)
		r = check_host(&options, prev, peer, fault);
	return r < 0 ? -EIO : 0;
}
