// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: attaching a container by a pair alone, as the reference plugin ptp does: the gateway's address is on each host's end,
// and a host route leads to each container.
#include "cni/ptp.h"

#include "cni/attach.h"
#include "cni/check.h"
#include "cni/ipam.h"
#include "cni/masq.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#define POD_END 1 // among the interfaces of the result: host's end, container's end
#define MTU_MAX 65535

static void put_gateway(struct rtnl_batch *batch, uint32_t ifindex, const struct ip *gateway)
{
	struct ifaddrmsg header = {
		.ifa_family = gateway->family,
		.ifa_prefixlen = (uint8_t)ip_width_bits(gateway),
		.ifa_index = ifindex,
	};
	struct nlmsg *msg = batch_begin(batch, RTNL_ACK, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);

	nlmsg_put_header(msg, &header, sizeof(header));
	nlmsg_put_ip(msg, IFA_LOCAL, gateway);
	nlmsg_put_ip(msg, IFA_ADDRESS, gateway);
	if (gateway->family == AF_INET6)
		nlmsg_put_u32(msg, IFA_FLAGS, IFA_F_NODAD);
	(void)batch_end(batch);
}

static void put_route(struct rtnl_batch *batch, uint32_t ifindex, const struct ip *address)
{
	struct rtmsg header = {
		.rtm_family = address->family,
		.rtm_dst_len = (uint8_t)ip_width_bits(address),
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = address->family == AF_INET ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
	};
	struct nlmsg *msg = batch_begin(batch, RTNL_ACK, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);

	nlmsg_put_header(msg, &header, sizeof(header));
	nlmsg_put_ip(msg, RTA_DST, address);
	nlmsg_put_u32(msg, RTA_OIF, ifindex);
	(void)batch_end(batch);
}

// The host's end: the gateways' addresses, the routes to the container, its MTU; then what it looks like.
static int set_up_host(struct attachment *attachment, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	const struct result *result = &attachment->result;
	struct device_answers answers = { .count = 1 };
	uint32_t ifindex = attachment->port.ifindex;
	char text[256];
	int r;

	for (size_t i = 0; i < result->ip_count; i++) {
		put_gateway(batch, ifindex, &result->ips[i].gateway);
		put_route(batch, ifindex, &result->ips[i].address);
	}
	if (attachment->port.mtu_bytes) {
		nlmsg_put_u32(device_begin(batch, RTM_NEWLINK, 0, NULL, ifindex, 0, 0), IFLA_MTU,
			      attachment->port.mtu_bytes);
		(void)batch_end(batch);
	}
	answers.index[0] = device_put_get(batch, NULL, ifindex);
	r = rtnl_exchange(&attachment->host, batch, device_answer, &answers, fault);
	for (unsigned int i = 0; r == 0 && i < batch->count; i++)
		if (batch->messages[i].error < 0 && batch->messages[i].error != -EEXIST)
			r = fault_set(fault, FAULT_INTERNAL,
				      "failed to set up the host's end of the veth pair: %s",
				      batch_error_text(batch, i, text, sizeof(text)));
	if (r == 0)
		attachment->port = answers.devices[0];
	return r;
}

static int enable_families(const struct result *result, struct fault *fault)
{
	int r = 0;

	for (size_t i = 0; i < result->ip_count && r == 0; i++)
		r = enable_forwarding(result->ips[i].address.family, fault);
	return r;
}

static int attach(struct attachment *attachment, uint32_t mtu_bytes, struct fault *fault)
{
	const struct doc_value *root = attachment->conf->root;
	struct attachment_gateways gateways = {
		.fill = true, .route = doc_get_bool(root, "isDefaultGateway", false)
	};
	struct veth_wish wish = {
		.ifname = attachment->call->ifname,
		.mac = attachment->wish.mac_set ? &attachment->wish.mac : NULL,
		.mtu_bytes = mtu_bytes,
	};
	int r;

	if ((r = attachment_pair(attachment, &wish, fault)) < 0 ||
	    (r = attachment_addresses(attachment, POD_END, &gateways, fault)) < 0 ||
	    (r = enable_families(&attachment->result, fault)) < 0 ||
	    (r = attachment_pod(attachment, doc_get_bool(root, "enabledad", false), true, fault)) < 0 ||
	    (r = set_up_host(attachment, fault)) < 0)
		return r;
	return doc_get_bool(root, "ipMasq", false) ? masq_add(&attachment->result, fault) : 0;
}

static int add(const struct call *call, const struct conf *conf, struct strbuf *out, struct fault *fault)
{
	_cleanup_free_ struct attachment *attachment = xnew(struct attachment);
	struct fault ignored;
	uint64_t mtu = 0;
	int r;

	if (doc_get_u64(conf->root, "mtu", MTU_MAX, &mtu) == -EINVAL)
		return fault_set(fault, FAULT_CONFIG, "mtu is no number of 0 to %d", MTU_MAX);
	if (doc_get_bool(conf->root, "antispoof", false))
		return fault_set(fault, FAULT_FIELD, "antispoof: not supported in mode ptp");
	if (!ipam_wanted(conf))
		return fault_set(fault, FAULT_CONFIG, "mode ptp needs addresses: ipam is empty");
	r = attachment_open(attachment, call, conf, fault);
	if (r == 0) {
		r = attach(attachment, (uint32_t)mtu, fault);
		if (r == 0)
			r = attachment_print(attachment, NULL, out, fault);
		if (r < 0) {
			attachment_undo(attachment);
			if (attachment->addressed && doc_get_bool(conf->root, "ipMasq", false))
				(void)masq_del(&attachment->result, &ignored);
		}
	}
	attachment_close(attachment);
	return r < 0 ? -EIO : 0;
}

static int check(const struct call *call, const struct conf *conf, struct fault *fault)
{
	_cleanup_free_ struct result *prev = xnew(struct result);
	uint32_t peer = 0;

	return check_run(call, conf, prev, &peer, fault);
}

int ptp_run(const struct call *call, const struct conf *conf, struct strbuf *out, struct fault *fault)
{
	switch (call->command) {
	case COMMAND_ADD:
		return add(call, conf, out, fault);
	case COMMAND_DEL:
		return detach(call, conf, fault);
	case COMMAND_CHECK:
		return check(call, conf, fault);
	case COMMAND_STATUS:
		return ipam_status(call, conf, fault);
	case COMMAND_GC:
		return ipam_gc(call, conf, fault);
	case COMMAND_VERSION:
	case COMMAND_COUNT:
		break;
	}
	return 0;
}
