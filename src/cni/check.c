// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: CHECK: whether what ADD made in the container is still there. What other plugins added is none of its business.
#include "cni/check.h"

#include "cni/netns.h"
#include "cni/veth.h"

#include "cni/ipam.h"
#include "core/mem.h"
#include "core/text.h"
#include "kernel/decode.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

struct seen {
	const struct result *prev;
	uint32_t ifindex;
	bool addresses[RESULT_IPS_MAX], connected[RESULT_IPS_MAX], routes[RESULT_ROUTES_MAX];
};

static void note_address(struct seen *seen, const struct addr *addr)
{
	for (size_t i = 0; i < seen->prev->ip_count; i++) {
		const struct result_ip *ip = &seen->prev->ips[i];

		if (addr->ifindex == seen->ifindex && addr->len == ip->len &&
		    ip_equal(&addr->ip, &ip->address))
			seen->addresses[i] = true;
	}
}

static void note_route(struct seen *seen, const struct route *route)
{
	for (size_t i = 0; i < seen->prev->ip_count; i++) {
		struct ipnet net = result_ip_net(&seen->prev->ips[i]);

		if (ipnet_equal(&net, &route->dst))
			seen->connected[i] = true;
	}
	for (size_t i = 0; i < seen->prev->route_count; i++)
		if (ipnet_equal(&seen->prev->routes[i].dst, &route->dst))
			seen->routes[i] = true;
}

static int note(void *arg, unsigned int index, const struct nlmsg_view *view)
{
	struct decoded decoded;
	int r;

	(void)index;
	r = decode_object(view, &decoded);
	if (r < 0)
		return r == -ENOMSG ? 0 : r;
	if (decoded.object.kind == KERNEL_ADDR)
		note_address(arg, &decoded.object.addr);
	if (decoded.object.kind == KERNEL_ROUTE)
		note_route(arg, &decoded.object.route);
	return 0;
}

static int look(struct rtnl *pod, struct seen *seen, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	struct ifaddrmsg address = { .ifa_index = seen->ifindex };
	struct rtmsg route = { 0 };
	int r;

	nlmsg_put_header(batch_begin(batch, RTNL_DUMP, RTM_GETADDR, 0), &address, sizeof(address));
	(void)batch_end(batch);
	r = rtnl_exchange(pod, batch, note, seen, fault);
	if (r < 0)
		return r;
	batch_reset(batch);
	nlmsg_put_header(batch_begin(batch, RTNL_DUMP, RTM_GETROUTE, 0), &route, sizeof(route));
	(void)batch_end(batch);
	return rtnl_exchange(pod, batch, note, seen, fault);
}

static int judge(const struct seen *seen, const char *ifname, struct fault *fault)
{
	char text[IPNET_STR_MAX];

	for (size_t i = 0; i < seen->prev->ip_count; i++) {
		const struct result_ip *ip = &seen->prev->ips[i];
		struct ipnet net = result_ip_net(ip);

		if (!seen->addresses[i])
			return fault_set(fault, FAULT_INTERNAL,
					 "Failed to match addr %s/%u on interface %s",
					 ip_str(&ip->address, text), ip->len, ifname);
		if (!seen->connected[i])
			return fault_set(fault, FAULT_INTERNAL,
					 "Failed to find route for %s on interface %s",
					 ipnet_str(&net, text), ifname);
	}
	for (size_t i = 0; i < seen->prev->route_count; i++)
		if (!seen->routes[i])
			return fault_set(fault, FAULT_INTERNAL,
					 "expected Route %s not found in routing table",
					 ipnet_str(&seen->prev->routes[i].dst, text));
	return 0;
}

bool check_mac_differs(const struct device *device, const struct result_interface *interface)
{
	char mac[MAC_STR_MAX];

	return interface->mac && *interface->mac &&
	       strcmp(mac_str(&device->mac, mac), interface->mac) != 0;
}

static int check_pod(const struct call *call, const struct result *prev,
		     const struct result_interface *interface, uint32_t *ret_peer, struct fault *fault)
{
	_cleanup_free_ struct seen *seen = xnew(struct seen);
	struct rtnl pod = { .fd = -1 };
	struct device device = { 0 };
	int r;

	r = rtnl_open(&pod, NETLINK_ROUTE, fault);
	if (r == 0)
		r = device_find(&pod, call->ifname, 0, &device, fault);
	if (r == -ENODEV)
		r = fault_set(fault, FAULT_INTERNAL,
			      "Container interface name in prevResult: %s not found", call->ifname);
	if (r == 0 && strcmp(device.kind, "veth") != 0)
		r = fault_set(fault, FAULT_INTERNAL,
			      "Error: Container interface %s not of type veth", call->ifname);
	if (r == 0 && check_mac_differs(&device, interface))
		r = fault_set(fault, FAULT_INTERNAL, "Interface %s Mac %s doesn't match container Mac",
			      call->ifname, interface->mac);
	if (r == 0) {
		*ret_peer = device.peer_ifindex;
		seen->prev = prev;
		seen->ifindex = device.ifindex;
		r = look(&pod, seen, fault);
	}
	if (r == 0)
		r = judge(seen, call->ifname, fault);
	rtnl_close(&pod);
	return r;
}

const struct result_interface *check_find(const struct result *prev, const char *name, bool inside)
{
	for (size_t i = 0; i < prev->interface_count; i++)
		if (text_equal(prev->interfaces[i].name, name) &&
		    !!prev->interfaces[i].sandbox == inside)
			return &prev->interfaces[i];
	return NULL;
}

static int check_container(const struct call *call, const struct result *prev, uint32_t *ret_peer,
			   struct fault *fault)
{
	const struct result_interface *interface = check_find(prev, call->ifname, true);
	struct netns netns = NETNS_NONE;
	struct fault back;
	int r;

	if (!interface)
		return fault_set(fault, FAULT_INTERNAL,
				 "Container interface %s not found in prevResult", call->ifname);
	if (!text_equal(interface->sandbox, call->netns))
		return fault_set(fault, FAULT_INTERNAL,
				 "Sandbox in prevResult %s doesn't match configured netns: %s",
				 interface->sandbox, call->netns);
	r = netns_open(&netns, call, fault);
	if (r == 0)
		r = netns_enter(netns.container, fault);
	if (r == 0) {
		r = check_pod(call, prev, interface, ret_peer, fault);
		if (netns_enter(netns.host, r < 0 ? &back : fault) < 0)
			r = -EIO;
	}
	netns_close(&netns);
	return r;
}

int check_run(const struct call *call, const struct conf *conf, struct result *ret_prev,
	      uint32_t *ret_peer, struct fault *fault)
{
	const struct doc_value *value = doc_get_kind(conf->root, "prevResult", DOC_OBJECT);
	int r;

	r = ipam_check(call, conf, fault);
	if (r == 0 && !value)
		r = fault_set(fault, FAULT_CONFIG, "Required prevResult missing");
	if (r == 0)
		r = result_read(ret_prev, value, fault);
	if (r == 0)
		r = check_container(call, ret_prev, ret_peer, fault);
	return r < 0 ? -EIO : 0;
}
