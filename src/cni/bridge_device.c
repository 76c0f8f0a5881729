// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the bridge itself: making it, its addresses, and its port being ready.
#include "cni/bridge_internal.h"

#include "cni/deadline.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "kernel/decode.h"
#include "kernel/sysctl.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>

// From <linux/if.h>, which does not go together with <net/if.h> under every C library.
#define OPERSTATE_UP 6

// With a MAC of its own: else a bridge takes the lowest of its ports, and so another with each container.
static int put_create(struct rtnl_batch *batch, const struct bridge_conf *conf, struct fault *fault)
{
	struct nlmsg *msg;
	struct mac mac;
	size_t info;

	if (getrandom(mac.bytes, sizeof(mac.bytes), 0) != sizeof(mac.bytes))
		return fault_set(fault, FAULT_INTERNAL, "no random bytes: %s", strerror(errno));
	mac.bytes[0] = (uint8_t)((mac.bytes[0] & ~1) | 2); // of one device, and of no maker
	msg = device_begin(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, conf->bridge, 0, 0, 0);
	nlmsg_put_mac(msg, IFLA_ADDRESS, &mac);
	if (conf->mtu_bytes)
		nlmsg_put_u32(msg, IFLA_MTU, conf->mtu_bytes);
	info = nlmsg_nest_begin(msg, IFLA_LINKINFO);
	nlmsg_put_string(msg, IFLA_INFO_KIND, "bridge");
	nlmsg_nest_end(msg, info);
	(void)batch_end(batch);
	return 0;
}

// One that another plugin made in the meantime is fine.
static int create(struct rtnl *host, const struct bridge_conf *conf, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	char text[256];
	int r;

	r = put_create(batch, conf, fault);
	if (r == 0)
		r = rtnl_exchange(host, batch, NULL, NULL, fault);
	if (r < 0)
		return r;
	if (batch->messages[0].error < 0 && batch->messages[0].error != -EEXIST)
		return fault_set(fault, FAULT_INTERNAL,
				 "failed to create bridge \"%s\": could not add \"%s\": %s",
				 conf->bridge, conf->bridge,
				 batch_error_text(batch, 0, text, sizeof(text)));
	device_sysctl("ipv6", conf->bridge, "accept_ra", "0");
	return 0;
}

int bridge_ensure(struct rtnl *host, const struct bridge_conf *conf, struct device *ret,
		  struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	uint32_t wanted = IFF_UP | (conf->promiscuous ? IFF_PROMISC : 0);
	char text[256];
	int r;

	r = device_find(host, conf->bridge, 0, ret, fault);
	if (r == -ENODEV) {
		r = create(host, conf, fault);
		if (r == 0)
			r = device_find(host, conf->bridge, 0, ret, fault);
		if (r == -ENODEV)
			r = fault_set(fault, FAULT_AGAIN, "bridge \"%s\" vanished", conf->bridge);
	}
	if (r < 0)
		return r;
	if (strcmp(ret->kind, "bridge") != 0)
		return fault_set(fault, FAULT_INTERNAL, "\"%s\" already exists but is not a bridge",
				 conf->bridge);
	if ((ret->flags & wanted) == wanted)
		return 0;
	(void)device_put_flags(batch, NULL, ret->ifindex, wanted, wanted);
	r = rtnl_exchange(host, batch, NULL, NULL, fault);
	if (r == 0 && batch->messages[0].error < 0)
		r = fault_set(fault, FAULT_INTERNAL, "failed to set up bridge \"%s\": %s",
			      conf->bridge, batch_error_text(batch, 0, text, sizeof(text)));
	return r;
}

static void put_address(struct rtnl_batch *batch, uint16_t type, uint32_t ifindex,
			const struct ip *ip, unsigned int len)
{
	struct ifaddrmsg header = {
		.ifa_family = ip->family,
		.ifa_prefixlen = (uint8_t)len,
		.ifa_index = ifindex,
	};
	struct nlmsg *msg = batch_begin(batch, RTNL_ACK, type,
					type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0);
	struct ipnet net = ipnet_of(ip, len);

	nlmsg_put_header(msg, &header, sizeof(header));
	nlmsg_put_ip(msg, IFA_LOCAL, ip);
	nlmsg_put_ip(msg, IFA_ADDRESS, ip);
	if (ip->family == AF_INET && len < 31 && type == RTM_NEWADDR) {
		struct ip broadcast = ipnet_last(&net);

		nlmsg_put_ip(msg, IFA_BROADCAST, &broadcast);
	}
	if (ip->family == AF_INET6 && type == RTM_NEWADDR)
		nlmsg_put_u32(msg, IFA_FLAGS, IFA_F_NODAD);
	(void)batch_end(batch);
}

#define OTHERS_MAX 16

// Addresses of the bridge that stand in the way of a gateway.
struct others {
	const struct result *result;
	uint32_t ifindex;
	size_t count;
	struct addr addrs[OTHERS_MAX];
};

static bool is_gateway(const struct result *result, const struct addr *addr)
{
	for (size_t i = 0; i < result->ip_count; i++)
		if (ip_equal(&result->ips[i].gateway, &addr->ip) && result->ips[i].len == addr->len)
			return true;
	return false;
}

// Of IPv4 any other address does; of IPv6 one of the same network.
static bool in_the_way(const struct result *result, const struct addr *addr)
{
	struct ipnet net = ipnet_of(&addr->ip, addr->len);

	for (size_t i = 0; i < result->ip_count; i++) {
		const struct result_ip *ip = &result->ips[i];
		struct ipnet own = result_ip_net(ip);

		if (ip->gateway.family != addr->ip.family)
			continue;
		if (addr->ip.family == AF_INET || ipnet_overlaps(&own, &net))
			return true;
	}
	return false;
}

static int note_other(void *arg, unsigned int index, const struct nlmsg_view *view)
{
	struct others *others = arg;
	struct decoded decoded;
	const struct addr *addr = &decoded.object.addr;
	int r;

	(void)index;
	r = decode_object(view, &decoded);
	if (r < 0)
		return r == -ENOMSG ? 0 : r;
	// A kernel without strict checks dumps the addresses of all devices.
	if (decoded.object.kind == KERNEL_ADDR && addr->ifindex == others->ifindex &&
	    others->count < OTHERS_MAX && !is_gateway(others->result, addr) &&
	    in_the_way(others->result, addr))
		others->addrs[others->count++] = *addr;
	return 0;
}

static int find_others(struct rtnl *host, struct others *others, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	struct ifaddrmsg header = { .ifa_index = others->ifindex };

	nlmsg_put_header(batch_begin(batch, RTNL_DUMP, RTM_GETADDR, 0), &header, sizeof(header));
	(void)batch_end(batch);
	return rtnl_exchange(host, batch, note_other, others, fault);
}

struct ports {
	uint32_t bridge, own;
	unsigned int others;
};

static int count_port(void *arg, unsigned int index, const struct nlmsg_view *view)
{
	struct ports *ports = arg;
	struct device device;
	int r;

	(void)index;
	r = device_decode(view, &device);
	if (r == 0)
		ports->others += device.master_ifindex == ports->bridge &&
				 device.ifindex != ports->own;
	return r == -ENOMSG ? 0 : r;
}

static int count_ports(struct rtnl *host, struct ports *ports, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	struct ifinfomsg header = { 0 };

	nlmsg_put_header(batch_begin(batch, RTNL_DUMP, RTM_GETLINK, 0), &header, sizeof(header));
	(void)batch_end(batch);
	return rtnl_exchange(host, batch, count_port, ports, fault);
}

static int delete_addresses(struct rtnl *host, const struct others *others, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();

	for (size_t i = 0; i < others->count; i++)
		put_address(batch, RTM_DELADDR, others->ifindex, &others->addrs[i].ip,
			    others->addrs[i].len);
	return rtnl_exchange(host, batch, NULL, NULL, fault); // gone already is fine
}

// Takes back the gateways that this call has added, as nothing is to change when it fails.
static int refuse_others(struct rtnl *host, const struct bridge_conf *conf,
			 const struct result *result, const struct others *others,
			 const bool *added, struct fault *fault)
{
	struct others own = { .ifindex = others->ifindex };
	char text[IP_STR_MAX];
	struct fault ignored;
	const struct result_ip *wanted = NULL;

	for (size_t i = 0; i < result->ip_count; i++) {
		const struct result_ip *ip = &result->ips[i];

		if (added[i] && own.count < OTHERS_MAX)
			own.addrs[own.count++] =
				(struct addr){ .ip = ip->gateway, .len = (uint8_t)ip->len };
		if (ip->gateway.family == others->addrs[0].ip.family && !wanted)
			wanted = ip;
	}
	(void)delete_addresses(host, &own, &ignored);
	return fault_set(fault, FAULT_INTERNAL,
			 "failed to set bridge addr: \"%s\" already has an IP address different from %s/%u",
			 conf->bridge, ip_str(&wanted->gateway, text), wanted->len);
}

// The bridge has a new address: are there others, and whose are they?
static int settle_others(struct rtnl *host, const struct bridge_conf *conf,
			 const struct result *result, const struct device *bridge,
			 const struct device *port, const bool *added, struct fault *fault)
{
	struct others others = { .result = result, .ifindex = bridge->ifindex };
	struct ports ports = { .bridge = bridge->ifindex, .own = port->ifindex };
	int r;

	r = find_others(host, &others, fault);
	if (r < 0 || others.count == 0)
		return r;
	// The address of a subnet that this host had before: without containers it is nobody's any more.
	if (!conf->force_address) {
		r = count_ports(host, &ports, fault);
		if (r == 0 && ports.others > 0)
			r = refuse_others(host, conf, result, &others, added, fault);
	}
	return r < 0 ? r : delete_addresses(host, &others, fault);
}

static int forward_gateways(const struct result *result, struct fault *fault)
{
	int r = 0;

	if (result_gateway(result, AF_INET).family)
		r = enable_forwarding(AF_INET, fault);
	if (r == 0 && result_gateway(result, AF_INET6).family)
		r = enable_forwarding(AF_INET6, fault);
	return r;
}

// A bridge that another made may still take its MAC from its ports; set once, it stays.
static int pin_mac(struct rtnl *host, const struct device *bridge, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();

	(void)device_put_mac(batch, bridge->ifindex, &bridge->mac);
	return rtnl_exchange(host, batch, NULL, NULL, fault);
}

static int judge_gateways(const struct rtnl_batch *batch, const struct result *result,
			  const struct bridge_conf *conf, bool *added, struct fault *fault)
{
	char text[256], gateway[IP_STR_MAX];
	unsigned int message = 0;

	for (size_t i = 0; i < result->ip_count; i++) {
		int error;

		added[i] = false;
		if (!conf->gateway || !ip_is_set(&result->ips[i].gateway))
			continue;
		error = batch->messages[message].error;
		added[i] = error == 0;
		if (error < 0 && error != -EEXIST)
			return fault_set(
				fault, FAULT_INTERNAL,
				"failed to set bridge addr: could not add IP address %s/%u to \"%s\": %s",
				ip_str(&result->ips[i].gateway, gateway), result->ips[i].len,
				conf->bridge, batch_error_text(batch, message, text, sizeof(text)));
		message++;
	}
	return 0;
}

int bridge_set_gateways(struct rtnl *host, const struct bridge_conf *conf, const struct result *result,
			struct device *bridge, struct device *port, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	struct device_answers answers = { .count = 2 };
	bool added[RESULT_IPS_MAX] = { false }, any = false;
	int r;

	for (size_t i = 0; i < result->ip_count && conf->gateway; i++)
		if (ip_is_set(&result->ips[i].gateway))
			put_address(batch, RTM_NEWADDR, bridge->ifindex, &result->ips[i].gateway,
				    result->ips[i].len);
	if (port->mtu_bytes) {
		nlmsg_put_u32(device_begin(batch, RTM_NEWLINK, 0, NULL, port->ifindex, 0, 0),
			      IFLA_MTU, port->mtu_bytes);
		(void)batch_end(batch);
	}
	answers.index[0] = device_put_get(batch, NULL, port->ifindex);
	answers.index[1] = device_put_get(batch, NULL, bridge->ifindex);
	r = rtnl_exchange(host, batch, device_answer, &answers, fault);
	if (r == 0 && (!answers.found[0] || !answers.found[1]))
		r = fault_set(fault, FAULT_INTERNAL, "\"%s\" or its port vanished", conf->bridge);
	if (r == 0)
		r = judge_gateways(batch, result, conf, added, fault);
	if (r < 0)
		return r;
	*port = answers.devices[0];
	*bridge = answers.devices[1];
	for (size_t i = 0; i < result->ip_count; i++)
		any |= added[i];
	if (any)
		r = settle_others(host, conf, result, bridge, port, added, fault);
	if (r == 0 && any)
		r = pin_mac(host, bridge, fault);
	return r == 0 && conf->gateway ? forward_gateways(result, fault) : r;
}

// 1: up; 0: not yet.
static int read_events(int fd, uint32_t ifindex)
{
	char buffer[16384];
	struct nlmsg_view view;
	struct device device;
	size_t offset = 0;
	ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);

	if (n < 0)
		return 0; // also when events were lost: the caller looks for itself
	while (nlmsg_next(buffer, (size_t)n, &offset, &view) > 0)
		if (device_decode(&view, &device) == 0 && device.ifindex == ifindex &&
		    device.operstate == OPERSTATE_UP)
			return 1;
	return 0;
}

int bridge_wait_port(struct rtnl *host, const struct device *port, struct fault *fault)
{
	struct rtnl monitor = { .fd = -1 };
	struct device now = *port;
	int r, group = RTNLGRP_LINK;

	if (port->operstate == OPERSTATE_UP)
		return 0;
	r = rtnl_open(&monitor, NETLINK_ROUTE, fault);
	if (r == 0 &&
	    setsockopt(monitor.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
		r = fault_set(fault, FAULT_INTERNAL, "netlink monitor: %s", strerror(errno));
	// Subscribed first, looked second: what happens in between is in the queue.
	while (r == 0) {
		struct pollfd wait = { .fd = monitor.fd, .events = POLLIN };
		int events = 0;

		r = device_find(host, NULL, port->ifindex, &now, fault);
		if (r == -ENODEV)
			r = fault_set(fault, FAULT_INTERNAL, "bridge port %s vanished", port->name);
		if (r < 0 || now.operstate == OPERSTATE_UP)
			break;
		while (events == 0 && !deadline_passed() &&
		       poll(&wait, 1, deadline_left_ms()) > 0 && !(wait.revents & POLLERR))
			events = read_events(monitor.fd, port->ifindex);
		if (events > 0)
			break;
		if (wait.revents & POLLERR)
			(void)read_events(monitor.fd, port->ifindex);
		if (deadline_passed())
			r = fault_set(fault, FAULT_AGAIN,
				      "bridge port in error state: %s is not up", port->name);
	}
	rtnl_close(&monitor);
	return r;
}
