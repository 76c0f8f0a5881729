// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: making the devices by which containers hang on a host: bridges, and pairs of which one end is a bridge's port.
#include "kernel/bridge.h"

#include "kernel/exchange.h"

#include <assert.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <string.h>

static void begin(struct nlmsg *msg, void *buffer, const struct link *link, bool is_up)
{
	struct ifinfomsg header = { .ifi_flags = is_up ? IFF_UP : 0, .ifi_change = IFF_UP };

	assert(link->name[0] != '\0' && strnlen(link->name, IFNAMSIZ) < IFNAMSIZ);
	nlmsg_begin(msg, buffer, ENCODE_REQUEST_MAX, RTM_NEWLINK,
		    NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
	nlmsg_put_header(msg, &header, sizeof(header));
	nlmsg_put_string(msg, IFLA_IFNAME, link->name);
	nlmsg_put_u32(msg, IFLA_MTU, link->mtu_bytes);
}

static int send_create(struct netlink *nl, const char *kind, const struct link *link,
		       struct nlmsg *msg, struct err *e)
{
	struct nlmsg_ack ack;
	int r = exchange_one(nl, msg->data, nlmsg_end(msg), &ack, e);

	if (r < 0)
		return r;
	return ack.error < 0 ? link_create_refused(e, kind, link->name, &ack) : 0;
}

int bridge_create(struct netlink *nl, const struct link *bridge, struct err *e)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];
	struct nlmsg msg;
	size_t info;

	begin(&msg, buffer, bridge, false);
	nlmsg_put_mac(&msg, IFLA_ADDRESS, &bridge->mac);
	info = nlmsg_nest_begin(&msg, IFLA_LINKINFO);
	nlmsg_put_string(&msg, IFLA_INFO_KIND, "bridge");
	nlmsg_nest_end(&msg, info);
	return send_create(nl, "bridge", bridge, &msg, e);
}

int veth_create(struct netlink *nl, const struct link *link, const char *peer, struct err *e)
{
	static const struct ifinfomsg down = { 0 };
	uint8_t buffer[ENCODE_REQUEST_MAX];
	struct nlmsg msg;
	size_t info, data, other;

	begin(&msg, buffer, link, true);
	nlmsg_put_u32(&msg, IFLA_MASTER, link->master_ifindex);
	info = nlmsg_nest_begin(&msg, IFLA_LINKINFO);
	nlmsg_put_string(&msg, IFLA_INFO_KIND, "veth");
	data = nlmsg_nest_begin(&msg, IFLA_INFO_DATA);
	// A header of its own, then attributes of its own.
	other = nlmsg_nest_begin(&msg, VETH_INFO_PEER);
	nlmsg_put_header(&msg, &down, sizeof(down));
	nlmsg_put_string(&msg, IFLA_IFNAME, peer);
	nlmsg_put_u32(&msg, IFLA_MTU, link->mtu_bytes);
	nlmsg_nest_end(&msg, other);
	nlmsg_nest_end(&msg, data);
	nlmsg_nest_end(&msg, info);
	return send_create(nl, "veth", link, &msg, e);
}
