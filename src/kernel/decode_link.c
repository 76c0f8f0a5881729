// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: from the bytes of a link message to struct link, with what is inside a vxlan device.

#include "kernel/decode.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/if_tunnel.h>
#include <linux/rtnetlink.h>
#include <string.h>

// The kernel's own default; every kernel that we know tells the port, so this is for one that does not.
#define VXLAN_PORT_DEFAULT 8472

static int decode_vxlan(const struct nlattr_view *data, struct vxlan_link *ret)
{
	struct nlattr_view table[IFLA_VXLAN_GBP + 1];
	struct vxlan_link vxlan = { .port = VXLAN_PORT_DEFAULT };
	int r;

	r = nlattr_index(data->data, data->len, table, IFLA_VXLAN_GBP + 1);
	if (r < 0)
		return r;
	if ((r = nlattr_u32(&table[IFLA_VXLAN_ID], &vxlan.vni)) < 0 ||
	    (r = nlattr_u32(&table[IFLA_VXLAN_LINK], &vxlan.underlay_ifindex)) < 0 ||
	    (r = nlattr_ip(&table[IFLA_VXLAN_LOCAL], AF_INET, &vxlan.local)) < 0 ||
	    (r = nlattr_ip(&table[IFLA_VXLAN_LOCAL6], AF_INET6, &vxlan.local)) < 0 ||
	    (r = nlattr_ip(&table[IFLA_VXLAN_GROUP], AF_INET, &vxlan.group)) < 0 ||
	    (r = nlattr_ip(&table[IFLA_VXLAN_GROUP6], AF_INET6, &vxlan.group)) < 0 ||
	    (r = nlattr_be16(&table[IFLA_VXLAN_PORT], &vxlan.port)) < 0 ||
	    (r = nlattr_bool(&table[IFLA_VXLAN_LEARNING], &vxlan.learning)) < 0 ||
	    (r = nlattr_bool(&table[IFLA_VXLAN_PROXY], &vxlan.proxy)) < 0 ||
	    (r = nlattr_bool(&table[IFLA_VXLAN_L2MISS], &vxlan.l2miss)) < 0 ||
	    (r = nlattr_bool(&table[IFLA_VXLAN_L3MISS], &vxlan.l3miss)) < 0)
		return r;
	vxlan.gbp = table[IFLA_VXLAN_GBP].data != NULL;
	*ret = vxlan;
	return 0;
}

// The kernel tells 0.0.0.0 where there is no address.
static int decode_tunnel_ip(const struct nlattr_view *attribute, struct ip *ret)
{
	struct ip ip = { 0 };
	int r;

	r = nlattr_ip(attribute, AF_INET, &ip);
	if (r == 0 && !ip_is_unspecified(&ip))
		*ret = ip;
	return r;
}

static int decode_ipip(const struct nlattr_view *data, struct ipip_link *ret)
{
	struct nlattr_view table[IFLA_IPTUN_REMOTE + 1];
	struct ipip_link ipip = { 0 };
	int r;

	r = nlattr_index(data->data, data->len, table, IFLA_IPTUN_REMOTE + 1);
	if (r < 0)
		return r;
	if ((r = decode_tunnel_ip(&table[IFLA_IPTUN_LOCAL], &ipip.local)) < 0 ||
	    (r = decode_tunnel_ip(&table[IFLA_IPTUN_REMOTE], &ipip.remote)) < 0)
		return r;
	*ret = ipip;
	return 0;
}

static int decode_info(const struct nlattr_view *info, struct link *link)
{
	struct nlattr_view table[IFLA_INFO_DATA + 1];
	int r;

	if (!info->data)
		return 0;
	r = nlattr_index(info->data, info->len, table, IFLA_INFO_DATA + 1);
	if (r < 0)
		return r;
	r = nlattr_string(&table[IFLA_INFO_KIND], link->kind, sizeof(link->kind));
	if (r < 0)
		return r;
	if (!table[IFLA_INFO_DATA].data)
		return 0;
	if (strcmp(link->kind, "vxlan") == 0)
		return decode_vxlan(&table[IFLA_INFO_DATA], &link->vxlan);
	if (strcmp(link->kind, "ipip") == 0)
		return decode_ipip(&table[IFLA_INFO_DATA], &link->ipip);
	return 0;
}

int decode_link(const struct nlmsg_view *msg, struct link *ret)
{
	struct nlattr_view table[IFLA_LINKINFO + 1];
	struct link link = { 0 };
	struct ifinfomsg header;
	int r;

	if (msg->len < sizeof(header))
		return -EBADMSG;
	memcpy(&header, msg->data, sizeof(header));
	// A bridge tells of its ports in the same messages with its own family; a "removed" there is a port that left
	// the bridge, not a device that went away.
	if (header.ifi_family != AF_UNSPEC)
		return -ENOMSG;
	r = nlattr_index(msg->data + sizeof(header), msg->len - sizeof(header), table,
			 IFLA_LINKINFO + 1);
	if (r < 0)
		return r;
	link.ifindex = (uint32_t)header.ifi_index;
	link.up = header.ifi_flags & IFF_UP;
	link.running = header.ifi_flags & IFF_RUNNING;
	link.loopback = header.ifi_flags & IFF_LOOPBACK;
	if ((r = nlattr_string(&table[IFLA_IFNAME], link.name, sizeof(link.name))) < 0 ||
	    (r = nlattr_mac(&table[IFLA_ADDRESS], &link.mac)) < 0 ||
	    (r = nlattr_u32(&table[IFLA_MTU], &link.mtu_bytes)) < 0 ||
	    (r = nlattr_u32(&table[IFLA_MASTER], &link.master_ifindex)) < 0 ||
	    (r = decode_info(&table[IFLA_LINKINFO], &link)) < 0)
		return r;
	if (link.ifindex == 0 || link.name[0] == '\0')
		return -EBADMSG;
	*ret = link;
	return 0;
}
