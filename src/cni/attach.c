// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one container being attached: the steps that all modes share, and taking them back.
#include "cni/attach.h"

#include "cni/deadline.h"
#include "cni/ipam.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "kernel/sysctl.h"

#include <errno.h>

int attachment_open(struct attachment *ret, const struct call *call, const struct conf *conf,
		    struct fault *fault)
{
	int r;

	ret->call = call;
	ret->conf = conf;
	ret->netns = NETNS_NONE;
	ret->host.fd = -1;
	r = wish_read(&ret->wish, call, conf, fault);
	if (r == 0)
		r = netns_open(&ret->netns, call, fault);
	if (r == 0)
		r = rtnl_open(&ret->host, NETLINK_ROUTE, fault);
	return r < 0 ? -EIO : 0;
}

void attachment_close(struct attachment *attachment)
{
	doc_free(&attachment->keep);
	netns_close(&attachment->netns);
	rtnl_close(&attachment->host);
}

int attachment_pair(struct attachment *attachment, const struct veth_wish *wish, struct fault *fault)
{
	int r;

	r = veth_create(&attachment->host, &attachment->netns, wish, &attachment->veth, fault);
	if (r < 0)
		return r;
	attachment->paired = true;
	attachment->port = (struct device){ .ifindex = attachment->veth.host_ifindex };
	(void)text_copy(attachment->port.name, sizeof(attachment->port.name),
			attachment->veth.host_name);
	device_sysctl("ipv6", attachment->veth.host_name, "accept_ra", "0");
	return 0;
}

static int add_default_route(struct result *result, const struct ip *gateway, struct fault *fault)
{
	struct ipnet everything = { .addr = ip_from_value(gateway->family, 0) };

	for (size_t i = 0; i < result->route_count; i++)
		if (ipnet_equal(&result->routes[i].dst, &everything) &&
		    ip_is_set(&result->routes[i].gw))
			return 0;
	if (result->route_count == RESULT_ROUTES_MAX)
		return fault_set(fault, FAULT_CONFIG, "more than %d routes", RESULT_ROUTES_MAX);
	result->routes[result->route_count++] = (struct result_route){
		.dst = everything,
		.gw = *gateway,
		.table = -1,
		.scope = -1,
	};
	return 0;
}

static int complete(struct result *result, int pod_end, const struct attachment_gateways *gateways,
		    struct fault *fault)
{
	if (result->ip_count == 0)
		return fault_set(fault, FAULT_INTERNAL, "IPAM plugin returned missing IP config");
	for (size_t i = 0; i < result->ip_count; i++) {
		struct result_ip *ip = &result->ips[i];
		struct ipnet net = result_ip_net(ip);

		ip->interface = pod_end;
		if (!ip_is_set(&ip->gateway) && gateways->fill)
			ip->gateway = ip_add(&net.addr, 1);
		if (gateways->route && add_default_route(result, &ip->gateway, fault) < 0)
			return -EIO;
	}
	return 0;
}

int attachment_addresses(struct attachment *attachment, int pod_end,
			 const struct attachment_gateways *gateways, struct fault *fault)
{
	uint32_t mtu;
	int r;

	if (!ipam_wanted(attachment->conf))
		return 0;
	r = ipam_add(attachment->call, attachment->conf, &attachment->wish,
		     attachment->veth.host_name, &attachment->keep, &attachment->result, &mtu, fault);
	if (r < 0)
		return r;
	attachment->addressed = true;
	// The pair was made before anybody knew; both ends get it with what they are sent anyway.
	if (!doc_get(attachment->conf->root, "mtu"))
		attachment->port.mtu_bytes = mtu;
	return complete(&attachment->result, pod_end, gateways, fault);
}

int attachment_pod(struct attachment *attachment, bool dad, bool point_to_point, struct fault *fault)
{
	struct pod_wish wish = {
		.ifname = attachment->call->ifname,
		.ifindex = attachment->veth.pod_ifindex,
		.result = &attachment->result,
		.mtu_bytes = attachment->port.mtu_bytes,
		.dad = dad,
		.point_to_point = point_to_point,
	};

	return pod_configure(&attachment->netns, &wish, &attachment->veth.pod_mac, fault);
}

void attachment_undo(struct attachment *attachment)
{
	struct fault ignored;

	deadline_extend();
	if (attachment->paired)
		(void)device_delete(&attachment->host, NULL, attachment->veth.host_ifindex, &ignored);
	if (attachment->addressed)
		(void)ipam_del(attachment->call, attachment->conf, &ignored);
}

int attachment_print(struct attachment *attachment, const struct device *bridge, struct strbuf *out,
		     struct fault *fault)
{
	char bridge_mac[MAC_STR_MAX], host_mac[MAC_STR_MAX], pod_mac[MAC_STR_MAX];
	const struct doc_value *dns = doc_get(attachment->conf->root, "dns");
	struct result *result = &attachment->result;
	uint32_t mtu = attachment->port.mtu_bytes;

	result->interface_count = 0;
	if (bridge)
		result->interfaces[result->interface_count++] = (struct result_interface){
			.name = bridge->name,
			.mac = mac_str(&bridge->mac, bridge_mac),
			.mtu_bytes = bridge->mtu_bytes,
		};
	result->interfaces[result->interface_count++] = (struct result_interface){
		.name = attachment->veth.host_name,
		.mac = mac_str(&attachment->port.mac, host_mac),
		.mtu_bytes = mtu,
	};
	result->interfaces[result->interface_count++] = (struct result_interface){
		.name = attachment->call->ifname,
		.mac = mac_str(&attachment->veth.pod_mac, pod_mac),
		.sandbox = attachment->call->netns,
		.mtu_bytes = mtu,
	};
	if (!result_dns_is_empty(dns))
		result->dns = dns;
	return result_write(result, attachment->conf->version, out, fault);
}

int enable_forwarding(int family, struct fault *fault)
{
	const char *path = family == AF_INET ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding";
	int64_t value;
	struct err e;

	if (sysctl_read_int(path, &value, NULL) == 0 && value == 1)
		return 0;
	if (sysctl_write(path, "1", &e) < 0)
		return fault_set(fault, FAULT_INTERNAL, "failed to enable forwarding: %s",
				 err_msg(&e));
	return 0;
}
