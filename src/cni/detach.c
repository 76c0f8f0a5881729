// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: detaching a container, whatever mode attached it.
#include "cni/attach.h"

#include "cni/antispoof.h"
#include "cni/ipam.h"
#include "cni/masq.h"
#include "core/mem.h"
#include "core/text.h"
#include "kernel/decode.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

// The addresses that the container has had: of the result that the runtime kept, else of the device itself.
static void note_prev_result(const struct conf *conf, struct result *ret)
{
	const struct doc_value *prev = doc_get_kind(conf->root, "prevResult", DOC_OBJECT);
	struct fault ignored;

	if (!prev || result_read(ret, prev, &ignored) < 0)
		*ret = (struct result){ 0 };
}

static int note_address(void *arg, unsigned int index, const struct nlmsg_view *view)
{
	struct result *result = arg;
	struct decoded decoded;
	int r;

	(void)index;
	r = decode_object(view, &decoded);
	if (r < 0)
		return r == -ENOMSG ? 0 : r;
	if (decoded.object.kind == KERNEL_ADDR && ip_is_global_unicast(&decoded.object.addr.ip) &&
	    result->ip_count < RESULT_IPS_MAX)
		result->ips[result->ip_count++] = (struct result_ip){
			.address = decoded.object.addr.ip,
			.len = decoded.object.addr.len,
		};
	return 0;
}

static int note_addresses(struct rtnl *pod, const char *ifname, struct result *result,
			  struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	struct ifaddrmsg header = { 0 };
	struct device device;
	int r;

	r = device_find(pod, ifname, 0, &device, fault);
	if (r < 0)
		return r == -ENODEV ? 0 : r;
	header.ifa_index = device.ifindex;
	nlmsg_put_header(batch_begin(batch, RTNL_DUMP, RTM_GETADDR, 0), &header, sizeof(header));
	(void)batch_end(batch);
	return rtnl_exchange(pod, batch, note_address, result, fault);
}

static int delete_inside(const struct call *call, bool masquerade, struct result *result,
			 struct fault *fault)
{
	struct rtnl pod = { .fd = -1 };
	int r;

	r = rtnl_open(&pod, NETLINK_ROUTE, fault);
	if (r == 0 && masquerade && result->ip_count == 0)
		r = note_addresses(&pod, call->ifname, result, fault);
	if (r == 0)
		r = device_delete(&pod, call->ifname, 0, fault);
	rtnl_close(&pod);
	return r;
}

// The other end goes with it.
static int delete_in_container(const struct call *call, bool masquerade, struct result *result,
			       struct fault *fault)
{
	struct netns netns = NETNS_NONE;
	struct fault back;
	int r;

	r = netns_open(&netns, call, fault);
	if (r < 0)
		return r;
	r = netns_enter(netns.container, fault);
	if (r == 0) {
		r = delete_inside(call, masquerade, result, fault);
		if (netns_enter(netns.host, r < 0 ? &back : fault) < 0)
			r = -EIO;
	}
	netns_close(&netns);
	return r;
}

static bool is_our_end(const struct device *device, const struct result_interface *interface)
{
	char mac[MAC_STR_MAX];

	return strcmp(device->kind, "veth") == 0 && interface->mac &&
	       strcmp(mac_str(&device->mac, mac), interface->mac) == 0;
}

// Without a namespace the host's end is what can be found: by the name and the MAC that ADD told.
static int delete_on_host(const struct result *result, struct fault *fault)
{
	struct rtnl host = { .fd = -1 };
	int r;

	r = rtnl_open(&host, NETLINK_ROUTE, fault);
	for (size_t i = 0; r == 0 && i < result->interface_count; i++) {
		const struct result_interface *interface = &result->interfaces[i];
		struct device device;

		if (interface->sandbox || !interface->name || !call_ifname_valid(interface->name))
			continue;
		r = device_find(&host, interface->name, 0, &device, fault);
		if (r == 0 && is_our_end(&device, interface))
			r = device_delete(&host, NULL, device.ifindex, fault);
		if (r == -ENODEV)
			r = 0;
	}
	rtnl_close(&host);
	return r;
}

int detach(const struct call *call, const struct conf *conf, struct fault *fault)
{
	_cleanup_free_ struct result *result = xnew(struct result);
	bool masquerade = doc_get_bool(conf->root, "ipMasq", false);
	struct fault later;
	int r = -ENOENT, released;

	note_prev_result(conf, result);
	if (*call->netns)
		r = delete_in_container(call, masquerade, result, fault);
	if (r == -ENOENT)
		r = delete_on_host(result, fault);
	// An address is given back only when nobody sends from it any more.
	if (r < 0)
		return -EIO;
	// What of it fails is for the next one: nothing of a device that is gone is ever asked for again.
	if (doc_get_bool(conf->root, "antispoof", false))
		(void)antispoof_sweep(&later);
	released = ipam_del(call, conf, fault);
	if (masquerade)
		r = masq_del(result, released < 0 ? &later : fault);
	return released < 0 || r < 0 ? -EIO : 0;
}
