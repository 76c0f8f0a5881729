// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what is done to a container's end of its pair, inside the container.
#include "cni/deadline.h"
#include "cni/veth.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "kernel/decode.h"
#include "kernel/sysctl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <string.h>

struct ip result_gateway(const struct result *result, int family)
{
	for (size_t i = 0; i < result->ip_count; i++)
		if (result->ips[i].address.family == family && ip_is_set(&result->ips[i].gateway))
			return result->ips[i].gateway;
	return (struct ip){ 0 };
}

static bool has_family(const struct result *result, int family)
{
	for (size_t i = 0; i < result->ip_count; i++)
		if (result->ips[i].address.family == family)
			return true;
	return false;
}

static void enable_ipv6(const char *ifname)
{
	char path[128];
	int64_t disabled = 0;

	if (sysctl_device_path("net/ipv6/conf", ifname, "disable_ipv6", path, sizeof(path)) == 0 &&
	    sysctl_read_int(path, &disabled, NULL) == 0 && disabled != 0)
		(void)sysctl_write(path, "0", NULL);
}

// What the kernel is to know of the device before it is up. What it lacks is no obstacle.
static void write_sysctls(const struct pod_wish *wish)
{
	// The kernel itself tells the neighbours of the new address once the link is up.
	device_sysctl("ipv4", wish->ifname, "arp_notify", "1");
	if (!has_family(wish->result, AF_INET6))
		return;
	device_sysctl("ipv6", wish->ifname, "accept_dad", wish->dad ? "1" : "0");
	if (wish->dad)
		device_sysctl("ipv6", wish->ifname, "enhanced_dad", "1");
	enable_ipv6("lo");
	enable_ipv6(wish->ifname);
	device_sysctl("ipv6", wish->ifname, "keep_addr_on_down", "1");
}

static void put_address(struct rtnl_batch *batch, const struct pod_wish *wish,
			const struct result_ip *ip)
{
	struct ifaddrmsg header = {
		.ifa_family = ip->address.family,
		.ifa_prefixlen = (uint8_t)ip->len,
		.ifa_index = wish->ifindex,
	};
	uint32_t flags = wish->point_to_point ? IFA_F_NOPREFIXROUTE : 0;
	struct ipnet net = result_ip_net(ip);
	struct nlmsg *msg = batch_begin(batch, RTNL_ACK, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);

	nlmsg_put_header(msg, &header, sizeof(header));
	nlmsg_put_ip(msg, IFA_LOCAL, &ip->address);
	nlmsg_put_ip(msg, IFA_ADDRESS, &ip->address);
	if (ip->address.family == AF_INET && ip->len < 31) {
		struct ip broadcast = ipnet_last(&net);

		nlmsg_put_ip(msg, IFA_BROADCAST, &broadcast);
	}
	if (ip->address.family == AF_INET6 && !wish->dad)
		flags |= IFA_F_NODAD;
	if (flags)
		nlmsg_put_u32(msg, IFA_FLAGS, flags);
	(void)batch_end(batch);
}

static void put_route_metrics(struct nlmsg *msg, const struct result_route *route)
{
	size_t metrics;

	if (!route->mtu_bytes && !route->advmss)
		return;
	metrics = nlmsg_nest_begin(msg, RTA_METRICS);
	if (route->mtu_bytes)
		nlmsg_put_u32(msg, RTAX_MTU, route->mtu_bytes);
	if (route->advmss)
		nlmsg_put_u32(msg, RTAX_ADVMSS, route->advmss);
	nlmsg_nest_end(msg, metrics);
}

// source: NULL or a preferred source address.
static void put_route(struct rtnl_batch *batch, uint32_t ifindex, const struct result_route *route,
		      const struct ip *source)
{
	struct rtmsg header = {
		.rtm_family = route->dst.addr.family,
		.rtm_dst_len = route->dst.len,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = route->scope >= 0 ? (uint8_t)route->scope : RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
	};
	struct nlmsg *msg = batch_begin(batch, RTNL_ACK, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND);

	nlmsg_put_header(msg, &header, sizeof(header));
	if (route->dst.len > 0)
		nlmsg_put_ip(msg, RTA_DST, &route->dst.addr);
	nlmsg_put_ip(msg, RTA_GATEWAY, &route->gw);
	if (source)
		nlmsg_put_ip(msg, RTA_PREFSRC, source);
	nlmsg_put_u32(msg, RTA_OIF, ifindex);
	if (route->priority)
		nlmsg_put_u32(msg, RTA_PRIORITY, route->priority);
	if (route->table >= 0)
		nlmsg_put_u32(msg, RTA_TABLE, (uint32_t)route->table);
	put_route_metrics(msg, route);
	(void)batch_end(batch);
}

// Instead of the network on the link: the gateway on the link, and the network through it.
static void put_gateway_routes(struct rtnl_batch *batch, const struct pod_wish *wish,
			       const struct result_ip *ip)
{
	unsigned int width = ip_width_bits(&ip->address);
	struct result_route gateway = { .dst = ipnet_of(&ip->gateway, width),
					.table = -1,
					.scope = RT_SCOPE_LINK };
	struct result_route network = {
		.dst = result_ip_net(ip), .gw = ip->gateway, .table = -1, .scope = -1
	};

	if (!ip_is_set(&ip->gateway))
		return;
	put_route(batch, wish->ifindex, &gateway, &ip->address);
	put_route(batch, wish->ifindex, &network, &ip->address);
}

static int take_mac(void *arg, unsigned int index, const struct nlmsg_view *view)
{
	struct device device;
	int r;

	(void)index;
	r = device_decode(view, &device);
	if (r == 0)
		*(struct mac *)arg = device.mac;
	return r == -ENOMSG ? 0 : r;
}

struct part {
	unsigned int addresses, up, routes; // where each begins in the batch
};

static int judge(const struct rtnl_batch *batch, const struct part *part,
		 const struct pod_wish *wish, struct fault *fault)
{
	char text[256], address[IPNET_STR_MAX], gateway[IP_STR_MAX];

	for (unsigned int i = 0; i < batch->count; i++) {
		int error = batch->messages[i].error;

		// Of two routes of one destination the first counts.
		if (error == 0 || (i >= part->routes && error == -EEXIST))
			continue;
		(void)batch_error_text(batch, i, text, sizeof(text));
		if (i < part->up) {
			const struct result_ip *ip = &wish->result->ips[i - part->addresses];

			return fault_set(fault, FAULT_INTERNAL,
					 "failed to add IP addr %s/%u to \"%s\": %s",
					 ip_str(&ip->address, gateway), ip->len, wish->ifname, text);
		}
		if (i == part->up)
			return fault_set(fault, FAULT_INTERNAL, "failed to set \"%s\" UP: %s",
					 wish->ifname, text);
		if (i >= part->routes && i - part->routes < wish->result->route_count) {
			const struct result_route *route = &wish->result->routes[i - part->routes];

			return fault_set(fault, FAULT_INTERNAL,
					 "failed to add route '%s via %s dev %s': %s",
					 ipnet_str(&route->dst, address),
					 ip_str(&route->gw, gateway), wish->ifname, text);
		}
		return fault_set(fault, FAULT_INTERNAL, "failed to set \"%s\" up: %s", wish->ifname,
				 text);
	}
	return 0;
}

struct tentative {
	bool waiting, failed;
};

static int note_tentative(void *arg, unsigned int index, const struct nlmsg_view *view)
{
	struct tentative *tentative = arg;
	struct decoded decoded;
	int r;

	(void)index;
	r = decode_object(view, &decoded);
	if (r < 0)
		return r == -ENOMSG ? 0 : r;
	if (decoded.object.kind == KERNEL_ADDR) {
		tentative->waiting |= decoded.object.addr.flags & IFA_F_TENTATIVE;
		tentative->failed |= decoded.object.addr.flags & IFA_F_DADFAILED;
	}
	return 0;
}

// Until no IPv6 address of the device is tentative any more.
static int wait_for_dad(struct rtnl *pod, const struct pod_wish *wish, struct fault *fault)
{
	struct ifaddrmsg header = { .ifa_family = AF_INET6, .ifa_index = wish->ifindex };
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	struct rtnl monitor = { .fd = -1 };
	int r, group = RTNLGRP_IPV6_IFADDR;

	r = rtnl_open(&monitor, NETLINK_ROUTE, fault);
	if (r == 0 &&
	    setsockopt(monitor.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		r = fault_set(fault, FAULT_INTERNAL, "netlink monitor: %s", strerror(errno));
	while (r == 0) {
		struct pollfd wait = { .fd = monitor.fd, .events = POLLIN };
		struct tentative tentative = { 0 };
		char drain[4096];

		batch_reset(batch);
		nlmsg_put_header(batch_begin(batch, RTNL_DUMP, RTM_GETADDR, 0), &header,
				 sizeof(header));
		(void)batch_end(batch);
		r = rtnl_exchange(pod, batch, note_tentative, &tentative, fault);
		if (r < 0 || (!tentative.waiting && !tentative.failed))
			break;
		if (tentative.failed)
			r = fault_set(fault, FAULT_INTERNAL,
				      "another host has an IPv6 address of \"%s\"", wish->ifname);
		else if (deadline_passed())
			r = fault_set(fault, FAULT_AGAIN,
				      "duplicate address detection on \"%s\" took too long",
				      wish->ifname);
		else if (poll(&wait, 1, deadline_left_ms()) > 0)
			while (recv(monitor.fd, drain, sizeof(drain), MSG_DONTWAIT) > 0)
				;
	}
	rtnl_close(&monitor);
	return r;
}

static void put_all(struct rtnl_batch *batch, const struct pod_wish *wish, struct part *ret)
{
	const struct result *result = wish->result;
	struct nlmsg *up;

	ret->addresses = batch->count;
	for (size_t i = 0; i < result->ip_count; i++)
		put_address(batch, wish, &result->ips[i]);
	up = device_begin(batch, RTM_NEWLINK, 0, NULL, wish->ifindex, IFF_UP, IFF_UP);
	if (wish->mtu_bytes)
		nlmsg_put_u32(up, IFLA_MTU, wish->mtu_bytes);
	ret->up = batch_end(batch);
	(void)device_put_get(batch, NULL, wish->ifindex);
	if (wish->point_to_point)
		for (size_t i = 0; i < result->ip_count; i++)
			put_gateway_routes(batch, wish, &result->ips[i]);
	ret->routes = batch->count;
	for (size_t i = 0; i < result->route_count; i++) {
		struct result_route route = result->routes[i];

		if (!ip_is_set(&route.gw))
			route.gw = result_gateway(result, route.dst.addr.family);
		put_route(batch, wish->ifindex, &route, NULL);
	}
}

static int configure_inside(const struct pod_wish *wish, struct mac *ret_mac, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	struct rtnl pod = { .fd = -1 };
	struct part part;
	int r;

	write_sysctls(wish);
	r = rtnl_open(&pod, NETLINK_ROUTE, fault);
	if (r < 0)
		return r;
	put_all(batch, wish, &part);
	r = rtnl_exchange(&pod, batch, take_mac, ret_mac, fault);
	if (r == 0)
		r = judge(batch, &part, wish, fault);
	if (r == 0 && wish->dad && has_family(wish->result, AF_INET6))
		r = wait_for_dad(&pod, wish, fault);
	rtnl_close(&pod);
	return r;
}

int pod_configure(const struct netns *netns, const struct pod_wish *wish, struct mac *ret_mac,
		  struct fault *fault)
{
	struct fault back;
	int r;

	r = netns_enter(netns->container, fault);
	if (r < 0)
		return r;
	r = configure_inside(wish, ret_mac, fault);
	if (netns_enter(netns->host, r < 0 ? &back : fault) < 0)
		return -EIO;
	return r;
}
