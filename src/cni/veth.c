// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: making the pair of devices that leads into a container.
#include "cni/veth.h"

#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <string.h>
#include <sys/random.h>

#define NAME_TRIES 10

static int random_name(char name[static IFNAMSIZ], struct fault *fault)
{
	uint32_t number;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return fault_set(fault, FAULT_INTERNAL, "no random bytes: %s", strerror(errno));
	return text_format(name, IFNAMSIZ, "veth%08x", number);
}

static void put_create(struct rtnl_batch *batch, int netns, const struct veth_wish *wish,
		       const char *host_name)
{
	struct ifinfomsg peer_header = { 0 };
	struct nlmsg *msg;
	size_t info, data, peer;

	msg = device_begin(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, host_name, 0, 0, 0);
	if (wish->mtu_bytes)
		nlmsg_put_u32(msg, IFLA_MTU, wish->mtu_bytes);
	if (wish->master_ifindex)
		nlmsg_put_u32(msg, IFLA_MASTER, wish->master_ifindex);
	info = nlmsg_nest_begin(msg, IFLA_LINKINFO);
	nlmsg_put_string(msg, IFLA_INFO_KIND, "veth");
	data = nlmsg_nest_begin(msg, IFLA_INFO_DATA);
	peer = nlmsg_nest_begin(msg, VETH_INFO_PEER);
	nlmsg_put_header(msg, &peer_header, sizeof(peer_header));
	nlmsg_put_string(msg, IFLA_IFNAME, wish->ifname);
	if (wish->mtu_bytes)
		nlmsg_put_u32(msg, IFLA_MTU, wish->mtu_bytes);
	if (wish->mac)
		nlmsg_put_mac(msg, IFLA_ADDRESS, wish->mac);
	nlmsg_put_u32(msg, IFLA_NET_NS_FD, (uint32_t)netns);
	nlmsg_nest_end(msg, peer);
	nlmsg_nest_end(msg, data);
	nlmsg_nest_end(msg, info);
	(void)batch_end(batch);
}

// Up, and what a port of a bridge can be: the kernel takes that only once the master is set, so not with the creation.
static void put_up(struct rtnl_batch *batch, const struct veth_wish *wish, const char *host_name)
{
	struct nlmsg *msg = device_begin(batch, RTM_NEWLINK, 0, host_name, 0, IFF_UP, IFF_UP);
	size_t info, data;

	if (wish->hairpin || wish->isolated) {
		info = nlmsg_nest_begin(msg, IFLA_LINKINFO);
		nlmsg_put_string(msg, IFLA_INFO_SLAVE_KIND, "bridge");
		data = nlmsg_nest_begin(msg, IFLA_INFO_SLAVE_DATA);
		nlmsg_put_u8(msg, IFLA_BRPORT_MODE, wish->hairpin);
		if (wish->isolated)
			nlmsg_put_u8(msg, IFLA_BRPORT_ISOLATED, 1);
		nlmsg_nest_end(msg, data);
		nlmsg_nest_end(msg, info);
	}
	(void)batch_end(batch);
}

// 0; -EEXIST: the host's name is taken; -EIO.
static int judge(const struct rtnl_batch *batch, const struct device_answers *answers,
		 const struct veth_wish *wish, struct fault *fault)
{
	char text[256];
	int failed = batch_first_error(batch);

	if (failed < 0)
		return 0;
	if (failed == 0 && batch->messages[0].error == -EEXIST) {
		if (answers->found[0])
			return -EEXIST;
		return fault_set(fault, FAULT_INTERNAL,
				 "container veth name provided (%s) already exists", wish->ifname);
	}
	(void)batch_error_text(batch, (unsigned int)failed, text, sizeof(text));
	if (failed == 0)
		return fault_set(fault, FAULT_INTERNAL, "failed to make veth pair: %s", text);
	return fault_set(fault, FAULT_INTERNAL,
			 "failed to set up the host's end of the veth pair: %s", text);
}

static int try_create(struct rtnl *host, const struct netns *netns, const struct veth_wish *wish,
		      const char *host_name, struct veth *ret, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	struct device_answers answers = { .count = 1 };
	struct fault ignored;
	int r;

	put_create(batch, netns->container, wish, host_name);
	put_up(batch, wish, host_name);
	answers.index[0] = device_put_get(batch, host_name, 0);
	r = rtnl_exchange(host, batch, device_answer, &answers, fault);
	if (r == 0)
		r = judge(batch, &answers, wish, fault);
	if (r < 0) {
		// Made, but not as it should be; or nobody knows how far it got.
		if (batch->messages[0].error == 0)
			(void)device_delete(host, host_name, 0, &ignored);
		return r;
	}
	*ret = (struct veth){
		.host_ifindex = answers.devices[0].ifindex,
		.pod_ifindex = answers.devices[0].peer_ifindex,
		.host_mac = answers.devices[0].mac,
	};
	return text_copy(ret->host_name, sizeof(ret->host_name), host_name);
}

int veth_create(struct rtnl *host, const struct netns *netns, const struct veth_wish *wish,
		struct veth *ret, struct fault *fault)
{
	char name[IFNAMSIZ];
	int r;

	for (int i = 0; i < NAME_TRIES; i++) {
		r = random_name(name, fault);
		if (r == 0)
			r = try_create(host, netns, wish, name, ret, fault);
		if (r != -EEXIST)
			return r;
	}
	return fault_set(fault, FAULT_INTERNAL, "no free name for the host's end of the veth pair");
}
