// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: from our objects to the bytes of rtnetlink requests.

#include "kernel/encode.h"

#include "kernel/nlmsg.h"

#include <assert.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tunnel.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <string.h>

static void begin(struct nlmsg *msg, void *buffer, uint16_t type, uint16_t flags)
{
	nlmsg_begin(msg, buffer, ENCODE_REQUEST_MAX, type, NLM_F_REQUEST | flags);
}

static size_t end(struct nlmsg *msg)
{
	size_t len = nlmsg_end(msg);

	assert(len > 0); // ENCODE_REQUEST_MAX is ours to get right
	return len;
}

static uint16_t verb_flags(enum netlink_verb verb)
{
	switch (verb) {
	case NETLINK_CREATE:
		return NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	case NETLINK_REPLACE:
		return NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	case NETLINK_DELETE:
		return NLM_F_ACK;
	}
	return NLM_F_ACK;
}

static uint16_t verb_type(enum netlink_verb verb, uint16_t new_type, uint16_t delete_type)
{
	return verb == NETLINK_DELETE ? delete_type : new_type;
}

static void encode_addr(struct nlmsg *msg, enum netlink_verb verb, const struct addr *addr)
{
	struct ifaddrmsg header = {
		.ifa_family = addr->ip.family,
		.ifa_prefixlen = addr->len,
		.ifa_flags = (uint8_t)addr->flags,
		.ifa_scope = addr->scope,
		.ifa_index = addr->ifindex,
	};

	nlmsg_put_header(msg, &header, sizeof(header));
	nlmsg_put_ip(msg, IFA_LOCAL, &addr->ip);
	nlmsg_put_ip(msg, IFA_ADDRESS, &addr->ip);
	if (verb != NETLINK_DELETE && addr->flags != 0)
		nlmsg_put_u32(msg, IFA_FLAGS, addr->flags);
}

static void encode_neigh(struct nlmsg *msg, enum netlink_verb verb, const struct neigh *neigh)
{
	struct ndmsg header = {
		.ndm_family = neigh->ip.family,
		.ndm_ifindex = (int)neigh->ifindex,
		.ndm_state = NUD_PERMANENT,
		.ndm_type = RTN_UNICAST,
	};

	nlmsg_put_header(msg, &header, sizeof(header));
	nlmsg_put_ip(msg, NDA_DST, &neigh->ip);
	if (verb != NETLINK_DELETE)
		nlmsg_put_mac(msg, NDA_LLADDR, &neigh->mac);
}

static void encode_fdb(struct nlmsg *msg, enum netlink_verb verb, const struct fdb *fdb)
{
	struct ndmsg header = {
		.ndm_family = AF_BRIDGE,
		.ndm_ifindex = (int)fdb->ifindex,
		.ndm_state = NUD_PERMANENT,
		.ndm_flags = NTF_SELF,
	};

	nlmsg_put_header(msg, &header, sizeof(header));
	nlmsg_put_mac(msg, NDA_LLADDR, &fdb->mac);
	// The kernel looks a remote up with its port and VNI, which we do not know of a foreign entry; without the
	// remote the delete takes all of the MAC.
	if (verb != NETLINK_DELETE || !fdb->other)
		nlmsg_put_ip(msg, NDA_DST, &fdb->remote);
}

static uint8_t protocol_or_ours(uint8_t protocol)
{
	return protocol ? protocol : KERNEL_PROTOCOL_WEFT;
}

static void encode_nexthop(struct nlmsg *msg, enum netlink_verb verb, const struct nexthop *nexthop)
{
	// Of a delete the kernel wants all but the id to be zero.
	struct nhmsg header = { 0 };

	if (verb != NETLINK_DELETE) {
		header.nh_family = ip_is_set(&nexthop->gateway) ? nexthop->gateway.family : AF_INET;
		header.nh_protocol = protocol_or_ours(nexthop->protocol);
		header.nh_flags = nexthop->onlink ? RTNH_F_ONLINK : 0;
	}
	nlmsg_put_header(msg, &header, sizeof(header));
	nlmsg_put_u32(msg, NHA_ID, nexthop->id);
	if (verb == NETLINK_DELETE)
		return;
	nlmsg_put_u32(msg, NHA_OIF, nexthop->ifindex);
	nlmsg_put_ip(msg, NHA_GATEWAY, &nexthop->gateway);
}

static void put_gateway(struct nlmsg *msg, const struct route *route)
{
	struct {
		uint16_t family; // struct rtvia, whose address has no fixed length
		uint8_t bytes[16];
	} via = { .family = route->gateway.family };

	if (!ip_is_set(&route->gateway) || route->gateway.family == route->dst.addr.family) {
		nlmsg_put_ip(msg, RTA_GATEWAY, &route->gateway);
		return;
	}
	memcpy(via.bytes, route->gateway.bytes, sizeof(via.bytes));
	nlmsg_put(msg, RTA_VIA, &via, sizeof(via.family) + ip_width_bytes(&route->gateway));
}

static void encode_route(struct nlmsg *msg, const struct route *route)
{
	uint32_t table = route->table ? route->table : RT_TABLE_MAIN;
	bool classic = route->nexthop_id == 0;
	struct rtmsg header = {
		.rtm_family = route->dst.addr.family,
		.rtm_dst_len = route->dst.len,
		.rtm_table = table < 256 ? (uint8_t)table : RT_TABLE_COMPAT,
		.rtm_protocol = protocol_or_ours(route->protocol),
		.rtm_scope = route->scope,
		.rtm_type = route->type ? route->type : RTN_UNICAST,
		.rtm_flags = classic && route->onlink ? RTNH_F_ONLINK : 0,
	};

	nlmsg_put_header(msg, &header, sizeof(header));
	if (route->dst.len > 0)
		nlmsg_put_ip(msg, RTA_DST, &route->dst.addr);
	if (table >= 256)
		nlmsg_put_u32(msg, RTA_TABLE, table);
	if (route->metric != 0)
		nlmsg_put_u32(msg, RTA_PRIORITY, route->metric);
	nlmsg_put_ip(msg, RTA_PREFSRC, &route->prefsrc);
	if (!classic) {
		nlmsg_put_u32(msg, RTA_NH_ID, route->nexthop_id);
		return;
	}
	if (route->multipath)
		return;
	put_gateway(msg, route);
	if (route->ifindex != 0)
		nlmsg_put_u32(msg, RTA_OIF, route->ifindex);
}

size_t encode_object(enum netlink_verb verb, const struct kernel_object *object, void *buffer)
{
	uint16_t flags = verb_flags(verb);
	struct nlmsg msg;

	assert(object->kind != KERNEL_LINK && object->kind < KERNEL_WG_PEER);
	switch (object->kind) {
	case KERNEL_ADDR:
		begin(&msg, buffer, verb_type(verb, RTM_NEWADDR, RTM_DELADDR), flags);
		encode_addr(&msg, verb, &object->addr);
		break;
	case KERNEL_NEIGH:
		begin(&msg, buffer, verb_type(verb, RTM_NEWNEIGH, RTM_DELNEIGH), flags);
		encode_neigh(&msg, verb, &object->neigh);
		break;
	case KERNEL_FDB:
		begin(&msg, buffer, verb_type(verb, RTM_NEWNEIGH, RTM_DELNEIGH), flags);
		encode_fdb(&msg, verb, &object->fdb);
		break;
	case KERNEL_NEXTHOP:
		begin(&msg, buffer, verb_type(verb, RTM_NEWNEXTHOP, RTM_DELNEXTHOP), flags);
		encode_nexthop(&msg, verb, &object->nexthop);
		break;
	case KERNEL_ROUTE:
		begin(&msg, buffer, verb_type(verb, RTM_NEWROUTE, RTM_DELROUTE), flags);
		encode_route(&msg, &object->route);
		break;
	case KERNEL_LINK:
	case KERNEL_WG_PEER:
	case KERNEL_KIND_COUNT:
		return 0;
	}
	return end(&msg);
}

static void put_vxlan(struct nlmsg *msg, const struct vxlan_link *vxlan)
{
	nlmsg_put_u32(msg, IFLA_VXLAN_ID, vxlan->vni);
	if (vxlan->underlay_ifindex != 0)
		nlmsg_put_u32(msg, IFLA_VXLAN_LINK, vxlan->underlay_ifindex);
	nlmsg_put_ip(msg, vxlan->local.family == AF_INET6 ? IFLA_VXLAN_LOCAL6 : IFLA_VXLAN_LOCAL,
		     &vxlan->local);
	nlmsg_put_ip(msg, vxlan->group.family == AF_INET6 ? IFLA_VXLAN_GROUP6 : IFLA_VXLAN_GROUP,
		     &vxlan->group);
	nlmsg_put_u8(msg, IFLA_VXLAN_TTL, 0);
	nlmsg_put_u8(msg, IFLA_VXLAN_TOS, 0);
	nlmsg_put_u8(msg, IFLA_VXLAN_LEARNING, vxlan->learning);
	nlmsg_put_u8(msg, IFLA_VXLAN_PROXY, vxlan->proxy);
	nlmsg_put_u8(msg, IFLA_VXLAN_RSC, 0);
	nlmsg_put_u8(msg, IFLA_VXLAN_L2MISS, vxlan->l2miss);
	nlmsg_put_u8(msg, IFLA_VXLAN_L3MISS, vxlan->l3miss);
	nlmsg_put_u8(msg, IFLA_VXLAN_UDP_ZERO_CSUM6_TX, 0);
	nlmsg_put_u8(msg, IFLA_VXLAN_UDP_ZERO_CSUM6_RX, 0);
	if (vxlan->port != 0)
		nlmsg_put_be16(msg, IFLA_VXLAN_PORT, vxlan->port);
	if (vxlan->gbp)
		nlmsg_put_flag(msg, IFLA_VXLAN_GBP);
}

static void put_ipip(struct nlmsg *msg, const struct ipip_link *ipip)
{
	nlmsg_put_ip(msg, IFLA_IPTUN_LOCAL, &ipip->local);
	nlmsg_put_ip(msg, IFLA_IPTUN_REMOTE, &ipip->remote);
	nlmsg_put_u8(msg, IFLA_IPTUN_TTL, 0);
	nlmsg_put_u8(msg, IFLA_IPTUN_TOS, 0);
	nlmsg_put_u8(msg, IFLA_IPTUN_PMTUDISC, 0);
	// Any, as flannel and iproute2 ask for; without it the kernel takes IPv4 only.
	nlmsg_put_u8(msg, IFLA_IPTUN_PROTO, 0);
}

static void begin_create(struct nlmsg *msg, const struct link *link, void *buffer)
{
	static const struct mac none;
	struct ifinfomsg header = { .ifi_family = AF_UNSPEC };

	begin(msg, buffer, RTM_NEWLINK, verb_flags(NETLINK_CREATE));
	nlmsg_put_header(msg, &header, sizeof(header));
	nlmsg_put_string(msg, IFLA_IFNAME, link->name);
	if (link->mtu_bytes != 0)
		nlmsg_put_u32(msg, IFLA_MTU, link->mtu_bytes);
	if (!mac_equal(&link->mac, &none))
		nlmsg_put_mac(msg, IFLA_ADDRESS, &link->mac);
	nlmsg_put_u32(msg, IFLA_TXQLEN, 0);
}

size_t encode_vxlan_create(const struct link *link, void *buffer)
{
	size_t info, data;
	struct nlmsg msg;

	begin_create(&msg, link, buffer);
	info = nlmsg_nest_begin(&msg, IFLA_LINKINFO);
	nlmsg_put_string(&msg, IFLA_INFO_KIND, "vxlan");
	data = nlmsg_nest_begin(&msg, IFLA_INFO_DATA);
	put_vxlan(&msg, &link->vxlan);
	nlmsg_nest_end(&msg, data);
	nlmsg_nest_end(&msg, info);
	return end(&msg);
}

static size_t end_ipip(struct nlmsg *msg, const struct ipip_link *ipip)
{
	size_t info, data;

	info = nlmsg_nest_begin(msg, IFLA_LINKINFO);
	nlmsg_put_string(msg, IFLA_INFO_KIND, "ipip");
	data = nlmsg_nest_begin(msg, IFLA_INFO_DATA);
	put_ipip(msg, ipip);
	nlmsg_nest_end(msg, data);
	nlmsg_nest_end(msg, info);
	return end(msg);
}

size_t encode_ipip_create(const struct link *link, void *buffer)
{
	struct nlmsg msg;

	begin_create(&msg, link, buffer);
	return end_ipip(&msg, &link->ipip);
}

size_t encode_wireguard_create(const struct link *link, void *buffer)
{
	struct ifinfomsg header = { .ifi_family = AF_UNSPEC };
	struct nlmsg msg;
	size_t info;

	begin(&msg, buffer, RTM_NEWLINK, verb_flags(NETLINK_CREATE));
	nlmsg_put_header(&msg, &header, sizeof(header));
	nlmsg_put_string(&msg, IFLA_IFNAME, link->name);
	if (link->mtu_bytes != 0)
		nlmsg_put_u32(&msg, IFLA_MTU, link->mtu_bytes);
	info = nlmsg_nest_begin(&msg, IFLA_LINKINFO);
	nlmsg_put_string(&msg, IFLA_INFO_KIND, "wireguard");
	nlmsg_nest_end(&msg, info);
	return end(&msg);
}

static void begin_link(struct nlmsg *msg, void *buffer, uint16_t type, const struct ifinfomsg *header)
{
	begin(msg, buffer, type, NLM_F_ACK);
	nlmsg_put_header(msg, header, sizeof(*header));
}

// The kernel computes the MTU of a tunnel anew with its settings, unless it is told one.
size_t encode_ipip_change(uint32_t ifindex, const struct link *link, void *buffer)
{
	struct ifinfomsg header = { .ifi_index = (int)ifindex };
	struct nlmsg msg;

	begin_link(&msg, buffer, RTM_NEWLINK, &header);
	if (link->mtu_bytes != 0)
		nlmsg_put_u32(&msg, IFLA_MTU, link->mtu_bytes);
	return end_ipip(&msg, &link->ipip);
}

size_t encode_link_delete(uint32_t ifindex, void *buffer)
{
	struct ifinfomsg header = { .ifi_index = (int)ifindex };
	struct nlmsg msg;

	begin_link(&msg, buffer, RTM_DELLINK, &header);
	return end(&msg);
}

size_t encode_link_set_up(uint32_t ifindex, bool up, void *buffer)
{
	struct ifinfomsg header = {
		.ifi_index = (int)ifindex,
		.ifi_flags = up ? IFF_UP : 0,
		.ifi_change = IFF_UP,
	};
	struct nlmsg msg;

	begin_link(&msg, buffer, RTM_SETLINK, &header);
	return end(&msg);
}

size_t encode_link_set_mtu(uint32_t ifindex, uint32_t mtu_bytes, void *buffer)
{
	struct ifinfomsg header = { .ifi_index = (int)ifindex };
	struct nlmsg msg;

	begin_link(&msg, buffer, RTM_SETLINK, &header);
	nlmsg_put_u32(&msg, IFLA_MTU, mtu_bytes);
	return end(&msg);
}

size_t encode_link_set_mac(uint32_t ifindex, const struct mac *mac, void *buffer)
{
	struct ifinfomsg header = { .ifi_index = (int)ifindex };
	struct nlmsg msg;

	begin_link(&msg, buffer, RTM_SETLINK, &header);
	nlmsg_put_mac(&msg, IFLA_ADDRESS, mac);
	return end(&msg);
}

size_t encode_link_get(const char *name, uint32_t ifindex, void *buffer)
{
	struct ifinfomsg header = { .ifi_index = name ? 0 : (int)ifindex };
	struct nlmsg msg;

	begin(&msg, buffer, RTM_GETLINK, 0);
	nlmsg_put_header(&msg, &header, sizeof(header));
	if (name)
		nlmsg_put_string(&msg, IFLA_IFNAME, name);
	nlmsg_put_u32(&msg, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	return end(&msg);
}

// Of one device, with what it has carried: the filter of the other one would leave that out.
size_t encode_link_stats_get(const char *name, void *buffer)
{
	struct ifinfomsg header = { 0 };
	struct nlmsg msg;

	begin(&msg, buffer, RTM_GETLINK, 0);
	nlmsg_put_header(&msg, &header, sizeof(header));
	nlmsg_put_string(&msg, IFLA_IFNAME, name);
	return end(&msg);
}

size_t encode_route_get(const struct ip *destination, void *buffer)
{
	struct rtmsg header = {
		.rtm_family = destination->family,
		.rtm_dst_len = (uint8_t)ip_width_bits(destination),
	};
	struct nlmsg msg;

	begin(&msg, buffer, RTM_GETROUTE, 0);
	nlmsg_put_header(&msg, &header, sizeof(header));
	nlmsg_put_ip(&msg, RTA_DST, destination);
	return end(&msg);
}

size_t encode_nexthop_get(uint32_t id, void *buffer)
{
	struct nhmsg header = { 0 };
	struct nlmsg msg;

	begin(&msg, buffer, RTM_GETNEXTHOP, 0);
	nlmsg_put_header(&msg, &header, sizeof(header));
	nlmsg_put_u32(&msg, NHA_ID, id);
	return end(&msg);
}

static void encode_dump_link(struct nlmsg *msg)
{
	struct ifinfomsg header = { .ifi_family = AF_UNSPEC };

	nlmsg_put_header(msg, &header, sizeof(header));
	nlmsg_put_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

static void encode_dump_addr(struct nlmsg *msg, const struct netlink_dump_filter *filter, bool strict)
{
	struct ifaddrmsg header = {
		.ifa_family = (uint8_t)filter->family,
		.ifa_index = strict ? filter->ifindex : 0,
	};

	nlmsg_put_header(msg, &header, sizeof(header));
}

static void encode_dump_neigh(struct nlmsg *msg, const struct netlink_dump_filter *filter)
{
	struct ndmsg header = { .ndm_family = (uint8_t)filter->family };

	nlmsg_put_header(msg, &header, sizeof(header));
	if (filter->ifindex != 0)
		nlmsg_put_u32(msg, NDA_IFINDEX, filter->ifindex);
}

// A strict kernel takes only an ndmsg; without strict checking the kernels from 4.12 on take the length of an ndmsg for
// "no filter" and an ifinfomsg's index for the device. Both have the index at the same place.
static void encode_dump_fdb(struct nlmsg *msg, const struct netlink_dump_filter *filter, bool strict)
{
	struct ndmsg neighbour = { .ndm_family = AF_BRIDGE, .ndm_ifindex = (int)filter->ifindex };
	struct ifinfomsg interface = { .ifi_family = AF_BRIDGE, .ifi_index = (int)filter->ifindex };

	if (strict)
		nlmsg_put_header(msg, &neighbour, sizeof(neighbour));
	else
		nlmsg_put_header(msg, &interface, sizeof(interface));
}

static void encode_dump_nexthop(struct nlmsg *msg, const struct netlink_dump_filter *filter)
{
	struct nhmsg header = { .nh_family = (uint8_t)filter->family };

	nlmsg_put_header(msg, &header, sizeof(header));
	if (filter->ifindex != 0)
		nlmsg_put_u32(msg, NHA_OIF, filter->ifindex);
}

static void encode_dump_route(struct nlmsg *msg, const struct netlink_dump_filter *filter, bool strict)
{
	uint32_t table = filter->table ? filter->table : RT_TABLE_MAIN;
	struct rtmsg header = { .rtm_family = (uint8_t)filter->family };

	if (!strict) {
		nlmsg_put_header(msg, &header, sizeof(header));
		return;
	}
	header.rtm_table = table < 256 ? (uint8_t)table : RT_TABLE_COMPAT;
	header.rtm_protocol = filter->protocol;
	nlmsg_put_header(msg, &header, sizeof(header));
	if (table >= 256)
		nlmsg_put_u32(msg, RTA_TABLE, table);
	if (filter->ifindex != 0)
		nlmsg_put_u32(msg, RTA_OIF, filter->ifindex);
}

size_t encode_dump(enum kernel_kind kind, const struct netlink_dump_filter *filter, bool strict,
		   void *buffer)
{
	static const uint16_t types[] = {
		[KERNEL_LINK] = RTM_GETLINK,	   [KERNEL_ADDR] = RTM_GETADDR,
		[KERNEL_NEIGH] = RTM_GETNEIGH,	   [KERNEL_FDB] = RTM_GETNEIGH,
		[KERNEL_NEXTHOP] = RTM_GETNEXTHOP, [KERNEL_ROUTE] = RTM_GETROUTE,
	};
	struct nlmsg msg;

	static_assert(sizeof(types) / sizeof(types[0]) == KERNEL_WG_PEER,
		      "one type for each kind of rtnetlink");
	assert(kind < KERNEL_WG_PEER);
	begin(&msg, buffer, types[kind], NLM_F_DUMP);
	switch (kind) {
	case KERNEL_LINK:
		encode_dump_link(&msg);
		break;
	case KERNEL_ADDR:
		encode_dump_addr(&msg, filter, strict);
		break;
	case KERNEL_NEIGH:
		encode_dump_neigh(&msg, filter);
		break;
	case KERNEL_FDB:
		encode_dump_fdb(&msg, filter, strict);
		break;
	case KERNEL_NEXTHOP:
		encode_dump_nexthop(&msg, filter);
		break;
	case KERNEL_ROUTE:
		encode_dump_route(&msg, filter, strict);
		break;
	case KERNEL_WG_PEER:
	case KERNEL_KIND_COUNT:
		break;
	}
	return end(&msg);
}
