// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: from the bytes of rtnetlink messages to our objects, links excepted.

#include "kernel/decode.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <string.h>

// The family's fixed part, and the attributes behind it.
static int split(const struct nlmsg_view *msg, void *ret_header, size_t header_len,
		 struct nlattr_view *table, size_t count)
{
	if (msg->len < header_len)
		return -EBADMSG;
	memcpy(ret_header, msg->data, header_len);
	return nlattr_index(msg->data + header_len, msg->len - header_len, table, count);
}

static bool is_inet(int family)
{
	return family == AF_INET || family == AF_INET6;
}

static int decode_addr(const struct nlmsg_view *msg, struct addr *ret)
{
	struct nlattr_view table[IFA_FLAGS + 1];
	struct ifaddrmsg header;
	struct addr addr = { 0 };
	int r;

	r = split(msg, &header, sizeof(header), table, IFA_FLAGS + 1);
	if (r < 0)
		return r;
	if (!is_inet(header.ifa_family))
		return -ENOMSG;
	addr.ifindex = header.ifa_index;
	addr.len = header.ifa_prefixlen;
	addr.scope = header.ifa_scope;
	addr.flags = header.ifa_flags;
	if ((r = nlattr_ip(&table[IFA_ADDRESS], header.ifa_family, &addr.ip)) < 0 ||
	    (r = nlattr_ip(&table[IFA_LOCAL], header.ifa_family, &addr.ip)) < 0 ||
	    (r = nlattr_u32(&table[IFA_FLAGS], &addr.flags)) < 0)
		return r;
	if (!ip_is_set(&addr.ip) || addr.len > ip_width_bits(&addr.ip))
		return -EBADMSG;
	*ret = addr;
	return 0;
}

static int decode_neigh(const struct ndmsg *header, const struct nlattr_view *table, struct neigh *ret)
{
	struct neigh neigh = { .ifindex = (uint32_t)header->ndm_ifindex, .state = header->ndm_state };
	int r;

	if (!is_inet(header->ndm_family) || (header->ndm_flags & NTF_PROXY))
		return -ENOMSG;
	if ((r = nlattr_ip(&table[NDA_DST], header->ndm_family, &neigh.ip)) < 0 ||
	    (r = nlattr_mac(&table[NDA_LLADDR], &neigh.mac)) < 0)
		return r;
	if (!ip_is_set(&neigh.ip))
		return -EBADMSG;
	*ret = neigh;
	return 0;
}

static int decode_fdb(const struct ndmsg *header, const struct nlattr_view *table, struct fdb *ret)
{
	struct fdb fdb = { .ifindex = (uint32_t)header->ndm_ifindex, .state = header->ndm_state };
	const struct nlattr_view *dst = &table[NDA_DST];
	int r;

	// Entries without it are of a bridge, for which we have no use.
	if (!(header->ndm_flags & NTF_SELF))
		return -ENOMSG;
	r = nlattr_mac(&table[NDA_LLADDR], &fdb.mac);
	if (r < 0)
		return r;
	// The family in the header is AF_BRIDGE: only the length tells which the remote has.
	if (dst->data) {
		r = nlattr_ip(dst, dst->len == 16 ? AF_INET6 : AF_INET, &fdb.remote);
		if (r < 0)
			return r;
	}
	fdb.other = table[NDA_PORT].data || table[NDA_VNI].data || table[NDA_IFINDEX].data ||
		    table[NDA_SRC_VNI].data || table[NDA_NH_ID].data;
	*ret = fdb;
	return 0;
}

static int decode_neighbour(const struct nlmsg_view *msg, struct kernel_object *ret)
{
	struct nlattr_view table[NDA_NH_ID + 1];
	struct ndmsg header;
	int r;

	r = split(msg, &header, sizeof(header), table, NDA_NH_ID + 1);
	if (r < 0)
		return r;
	ret->kind = header.ndm_family == AF_BRIDGE ? KERNEL_FDB : KERNEL_NEIGH;
	return ret->kind == KERNEL_FDB ? decode_fdb(&header, table, &ret->fdb)
				       : decode_neigh(&header, table, &ret->neigh);
}

static int decode_nexthop(const struct nlmsg_view *msg, struct nexthop *ret)
{
	struct nlattr_view table[NHA_FDB + 1];
	struct nexthop nexthop = { 0 };
	struct nhmsg header;
	int r;

	r = split(msg, &header, sizeof(header), table, NHA_FDB + 1);
	if (r < 0)
		return r;
	nexthop.protocol = header.nh_protocol;
	nexthop.scope = header.nh_scope;
	nexthop.onlink = header.nh_flags & RTNH_F_ONLINK;
	nexthop.other = table[NHA_GROUP].data || table[NHA_BLACKHOLE].data ||
			table[NHA_ENCAP].data || table[NHA_ENCAP_TYPE].data ||
			table[NHA_FDB].data || !is_inet(header.nh_family);
	if ((r = nlattr_u32(&table[NHA_ID], &nexthop.id)) < 0 ||
	    (r = nlattr_u32(&table[NHA_OIF], &nexthop.ifindex)) < 0)
		return r;
	if (is_inet(header.nh_family)) {
		r = nlattr_ip(&table[NHA_GATEWAY], header.nh_family, &nexthop.gateway);
		if (r < 0)
			return r;
	}
	if (nexthop.id == 0)
		return -EBADMSG;
	*ret = nexthop;
	return 0;
}

// RTA_VIA: the gateway of a route of another family. Families that we do not know leave *ret as it is.
static int decode_via(const struct nlattr_view *attr, struct ip *ret)
{
	struct nlattr_view address;
	uint16_t family;

	if (!attr->data)
		return 0;
	if (attr->len < sizeof(family))
		return -EBADMSG;
	memcpy(&family, attr->data, sizeof(family));
	if (!is_inet(family))
		return 0;
	address = (struct nlattr_view){ attr->data + sizeof(family), attr->len - sizeof(family) };
	return nlattr_ip(&address, family, ret);
}

static int decode_destination(const struct rtmsg *header, const struct nlattr_view *attr,
			      struct ipnet *ret)
{
	static const uint8_t zero[16];
	struct ip ip = ip_from_bytes(header->rtm_family, zero);
	int r;

	r = nlattr_ip(attr, header->rtm_family, &ip);
	if (r < 0)
		return r;
	if (header->rtm_dst_len > ip_width_bits(&ip))
		return -EBADMSG;
	*ret = ipnet_of(&ip, header->rtm_dst_len);
	return 0;
}

int decode_route(const struct nlmsg_view *msg, struct route *ret)
{
	struct nlattr_view table[RTA_NH_ID + 1];
	struct route route = { 0 };
	struct rtmsg header;
	int r;

	r = split(msg, &header, sizeof(header), table, RTA_NH_ID + 1);
	if (r < 0)
		return r;
	if (!is_inet(header.rtm_family))
		return -ENOMSG;
	route.table = header.rtm_table;
	route.protocol = header.rtm_protocol;
	route.scope = header.rtm_scope;
	route.type = header.rtm_type;
	route.onlink = header.rtm_flags & RTNH_F_ONLINK;
	route.multipath = table[RTA_MULTIPATH].data != NULL;
	route.other = table[RTA_ENCAP].data || table[RTA_ENCAP_TYPE].data ||
		      header.rtm_src_len > 0 || header.rtm_tos != 0;
	if ((r = decode_destination(&header, &table[RTA_DST], &route.dst)) < 0 ||
	    (r = nlattr_u32(&table[RTA_TABLE], &route.table)) < 0 ||
	    (r = nlattr_u32(&table[RTA_PRIORITY], &route.metric)) < 0 ||
	    (r = nlattr_u32(&table[RTA_NH_ID], &route.nexthop_id)) < 0 ||
	    (r = nlattr_u32(&table[RTA_OIF], &route.ifindex)) < 0 ||
	    (r = nlattr_ip(&table[RTA_GATEWAY], header.rtm_family, &route.gateway)) < 0 ||
	    (r = decode_via(&table[RTA_VIA], &route.gateway)) < 0 ||
	    (r = nlattr_ip(&table[RTA_PREFSRC], header.rtm_family, &route.prefsrc)) < 0)
		return r;
	*ret = route;
	return 0;
}

// A route of the table itself, not one that a look-up left in a cache.
static int decode_table_route(const struct nlmsg_view *msg, struct route *ret)
{
	struct rtmsg header;

	if (msg->len < sizeof(header))
		return -EBADMSG;
	memcpy(&header, msg->data, sizeof(header));
	return header.rtm_flags & RTM_F_CLONED ? -ENOMSG : decode_route(msg, ret);
}

int decode_object(const struct nlmsg_view *msg, struct decoded *ret)
{
	struct decoded decoded = { 0 };
	int r;

	switch (msg->type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		decoded.removed = msg->type == RTM_DELLINK;
		decoded.object.kind = KERNEL_LINK;
		r = decode_link(msg, &decoded.object.link);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		decoded.removed = msg->type == RTM_DELADDR;
		decoded.object.kind = KERNEL_ADDR;
		r = decode_addr(msg, &decoded.object.addr);
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		decoded.removed = msg->type == RTM_DELNEIGH;
		r = decode_neighbour(msg, &decoded.object);
		break;
	case RTM_NEWNEXTHOP:
	case RTM_DELNEXTHOP:
		decoded.removed = msg->type == RTM_DELNEXTHOP;
		decoded.object.kind = KERNEL_NEXTHOP;
		r = decode_nexthop(msg, &decoded.object.nexthop);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		decoded.removed = msg->type == RTM_DELROUTE;
		decoded.object.kind = KERNEL_ROUTE;
		r = decode_table_route(msg, &decoded.object.route);
		break;
	default:
		return -ENOMSG;
	}
	if (r < 0)
		return r;
	*ret = decoded;
	return 0;
}
