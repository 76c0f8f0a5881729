// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: ADD of the bridge plugin. What fails is taken back: no half of an interface, no address without one.
#include "cni/bridge_internal.h"

#include "cni/deadline.h"
#include "cni/ipam.h"
#include "cni/masq.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>

enum { BRIDGE, HOST_END, POD_END };

struct attachment {
	const struct call *call;
	const struct conf *conf;
	struct bridge_conf options;
	struct wish wish;
	struct netns netns;
	struct rtnl host;
	struct device bridge, port;
	struct veth veth;
	struct result result;
	struct doc keep; // of the result's texts
	bool paired, addressed;
};

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

static int complete_result(struct attachment *attachment, struct fault *fault)
{
	struct result *result = &attachment->result;

	if (result->ip_count == 0)
		return fault_set(fault, FAULT_INTERNAL, "IPAM plugin returned missing IP config");
	for (size_t i = 0; i < result->ip_count; i++) {
		struct result_ip *ip = &result->ips[i];
		struct ipnet net = result_ip_net(ip);

		ip->interface = POD_END;
		if (!ip_is_set(&ip->gateway) && attachment->options.gateway)
			ip->gateway = ip_add(&net.addr, 1);
		if (attachment->options.default_gateway &&
		    add_default_route(result, &ip->gateway, fault) < 0)
			return -EIO;
	}
	return 0;
}

static int make_pair(struct attachment *attachment, struct fault *fault)
{
	struct veth_wish wish = {
		.ifname = attachment->call->ifname,
		.mac = attachment->wish.mac_set ? &attachment->wish.mac : NULL,
		.mtu_bytes = attachment->options.mtu_bytes,
		.master_ifindex = attachment->bridge.ifindex,
		.hairpin = attachment->options.hairpin,
		.isolated = attachment->options.isolated,
	};
	int r;

	r = veth_create(&attachment->host, &attachment->netns, &wish, &attachment->veth, fault);
	if (r < 0)
		return r;
	attachment->paired = true;
	attachment->port = (struct device){ .ifindex = attachment->veth.host_ifindex };
	(void)text_copy(attachment->port.name, sizeof(attachment->port.name),
			attachment->veth.host_name);
	device_sysctl("ipv6", attachment->veth.host_name, "accept_ra", "0");
	return 0;
}

static int get_addresses(struct attachment *attachment, struct fault *fault)
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
	if (attachment->options.mtu_bytes == 0)
		attachment->port.mtu_bytes = mtu;
	return complete_result(attachment, fault);
}

static int set_up_pod(struct attachment *attachment, struct fault *fault)
{
	struct pod_wish wish = {
		.ifname = attachment->call->ifname,
		.ifindex = attachment->veth.pod_ifindex,
		.result = &attachment->result,
		.dad = attachment->options.dad,
		.mtu_bytes = attachment->port.mtu_bytes,
	};

	if (attachment->options.no_interface)
		return 0;
	return pod_configure(&attachment->netns, &wish, &attachment->veth.pod_mac, fault);
}

static int attach(struct attachment *attachment, struct fault *fault)
{
	int r;

	if ((r = bridge_ensure(&attachment->host, &attachment->options, &attachment->bridge, fault)) <
		    0 ||
	    (r = make_pair(attachment, fault)) < 0 || (r = get_addresses(attachment, fault)) < 0 ||
	    (r = set_up_pod(attachment, fault)) < 0 ||
	    (r = bridge_set_gateways(&attachment->host, &attachment->options, &attachment->result,
				     &attachment->bridge, &attachment->port, fault)) < 0)
		return r;
	if (attachment->options.masquerade && (r = masq_add(&attachment->result, fault)) < 0)
		return r;
	if (attachment->options.no_interface)
		return 0;
	return bridge_wait_port(&attachment->host, &attachment->port, fault);
}

// Errors here are not told: the one that led here is what the operator has to see.
static void undo(struct attachment *attachment)
{
	struct fault ignored;

	deadline_extend();
	if (attachment->addressed && attachment->options.masquerade)
		(void)masq_del(&attachment->result, &ignored);
	if (attachment->paired)
		(void)device_delete(&attachment->host, NULL, attachment->veth.host_ifindex, &ignored);
	if (attachment->addressed)
		(void)ipam_del(attachment->call, attachment->conf, &ignored);
}

static int print(struct attachment *attachment, struct strbuf *out, struct fault *fault)
{
	char bridge_mac[MAC_STR_MAX], host_mac[MAC_STR_MAX], pod_mac[MAC_STR_MAX];
	struct result *result = &attachment->result;
	uint32_t mtu = attachment->port.mtu_bytes;

	result->interfaces[BRIDGE] = (struct result_interface){
		.name = attachment->options.bridge,
		.mac = mac_str(&attachment->bridge.mac, bridge_mac),
		.mtu_bytes = attachment->bridge.mtu_bytes,
	};
	result->interfaces[HOST_END] = (struct result_interface){
		.name = attachment->veth.host_name,
		.mac = mac_str(&attachment->port.mac, host_mac),
		.mtu_bytes = mtu,
	};
	result->interfaces[POD_END] = (struct result_interface){
		.name = attachment->call->ifname,
		.mac = mac_str(&attachment->veth.pod_mac, pod_mac),
		.sandbox = attachment->call->netns,
		.mtu_bytes = mtu,
	};
	result->interface_count = POD_END + 1;
	if (!result_dns_is_empty(doc_get(attachment->conf->root, "dns")))
		result->dns = doc_get(attachment->conf->root, "dns");
	return result_write(result, attachment->conf->version, out, fault);
}

static int open_namespaces(struct attachment *attachment, struct fault *fault)
{
	int r = netns_open(&attachment->netns, attachment->call, fault);

	return r < 0 ? -EIO : rtnl_open(&attachment->host, NETLINK_ROUTE, fault);
}

int bridge_add(const struct call *call, const struct conf *conf, struct strbuf *out, struct fault *fault)
{
	_cleanup_free_ struct attachment *attachment = xnew(struct attachment);
	int r;

	attachment->call = call;
	attachment->conf = conf;
	attachment->netns = NETNS_NONE;
	attachment->host.fd = -1;
	if ((r = bridge_conf_read(&attachment->options, conf, fault)) == 0 &&
	    (r = wish_read(&attachment->wish, call, conf, fault)) == 0 &&
	    (r = open_namespaces(attachment, fault)) == 0) {
		r = attach(attachment, fault);
		if (r == 0)
			r = print(attachment, out, fault);
		if (r < 0)
			undo(attachment);
	}
	doc_free(&attachment->keep);
	netns_close(&attachment->netns);
	rtnl_close(&attachment->host);
	return r < 0 ? -EIO : 0;
}
