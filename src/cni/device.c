// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: network devices as the plugins need them: their messages, and what the kernel says of them.
#include "cni/device.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "kernel/sysctl.h"

#include <errno.h>
#include <limits.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>

int device_decode(const struct nlmsg_view *view, struct device *ret)
{
	struct nlattr_view table[IFLA_LINKINFO + 1], info[IFLA_INFO_KIND + 1];
	struct device device = { 0 };
	struct ifinfomsg header;
	int r;

	if (view->type != RTM_NEWLINK)
		return -ENOMSG;
	if (view->len < sizeof(header))
		return -EBADMSG;
	memcpy(&header, view->data, sizeof(header));
	if (header.ifi_family != AF_UNSPEC)
		return -ENOMSG;
	r = nlattr_index(view->data + sizeof(header), view->len - sizeof(header), table,
			 IFLA_LINKINFO + 1);
	if (r < 0)
		return r;
	device.ifindex = (uint32_t)header.ifi_index;
	device.flags = header.ifi_flags;
	if ((r = nlattr_string(&table[IFLA_IFNAME], device.name, sizeof(device.name))) < 0 ||
	    (r = nlattr_mac(&table[IFLA_ADDRESS], &device.mac)) < 0 ||
	    (r = nlattr_u32(&table[IFLA_MTU], &device.mtu_bytes)) < 0 ||
	    (r = nlattr_u32(&table[IFLA_MASTER], &device.master_ifindex)) < 0 ||
	    (r = nlattr_u32(&table[IFLA_LINK], &device.peer_ifindex)) < 0 ||
	    (r = nlattr_u8(&table[IFLA_OPERSTATE], &device.operstate)) < 0)
		return r;
	if (table[IFLA_LINKINFO].data) {
		r = nlattr_index(table[IFLA_LINKINFO].data, table[IFLA_LINKINFO].len, info,
				 IFLA_INFO_KIND + 1);
		if (r == 0)
			r = nlattr_string(&info[IFLA_INFO_KIND], device.kind, sizeof(device.kind));
		if (r < 0)
			return r;
	}
	*ret = device;
	return 0;
}

static struct nlmsg *begin(struct rtnl_batch *batch, enum rtnl_want want, uint16_t type,
			   uint16_t flags, const struct ifinfomsg *header, const char *name)
{
	struct nlmsg *msg = batch_begin(batch, want, type, flags);

	nlmsg_put_header(msg, header, sizeof(*header));
	if (name)
		nlmsg_put_string(msg, IFLA_IFNAME, name);
	return msg;
}

struct nlmsg *device_begin(struct rtnl_batch *batch, uint16_t type, uint16_t flags,
			   const char *name, uint32_t ifindex, uint32_t device_flags, uint32_t mask)
{
	struct ifinfomsg header = {
		.ifi_index = (int)ifindex,
		.ifi_flags = device_flags,
		.ifi_change = mask,
	};

	return begin(batch, RTNL_ACK, type, flags, &header, name);
}

unsigned int device_put_get(struct rtnl_batch *batch, const char *name, uint32_t ifindex)
{
	struct ifinfomsg header = { .ifi_index = name ? 0 : (int)ifindex };

	(void)begin(batch, RTNL_ANSWER, RTM_GETLINK, 0, &header, name);
	return batch_end(batch);
}

unsigned int device_put_flags(struct rtnl_batch *batch, const char *name, uint32_t ifindex,
			      uint32_t flags, uint32_t mask)
{
	(void)device_begin(batch, RTM_NEWLINK, 0, name, name ? 0 : ifindex, flags, mask);
	return batch_end(batch);
}

unsigned int device_put_mac(struct rtnl_batch *batch, uint32_t ifindex, const struct mac *mac)
{
	nlmsg_put_mac(device_begin(batch, RTM_NEWLINK, 0, NULL, ifindex, 0, 0), IFLA_ADDRESS, mac);
	return batch_end(batch);
}

unsigned int device_put_delete(struct rtnl_batch *batch, const char *name, uint32_t ifindex)
{
	(void)device_begin(batch, RTM_DELLINK, 0, name, name ? 0 : ifindex, 0, 0);
	return batch_end(batch);
}

int device_answer(void *arg, unsigned int index, const struct nlmsg_view *view)
{
	struct device_answers *answers = arg;
	int r;

	for (unsigned int i = 0; i < answers->count; i++) {
		if (answers->index[i] != index)
			continue;
		r = device_decode(view, &answers->devices[i]);
		if (r == -ENOMSG)
			return 0;
		answers->found[i] = r == 0;
		return r;
	}
	return 0;
}

int device_find(struct rtnl *rtnl, const char *name, uint32_t ifindex, struct device *ret,
		struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	struct device_answers answers = { .count = 1 };
	char text[256];
	int r;

	answers.index[0] = device_put_get(batch, name, ifindex);
	r = rtnl_exchange(rtnl, batch, device_answer, &answers, fault);
	if (r < 0)
		return r;
	if (answers.found[0]) {
		*ret = answers.devices[0];
		return 0;
	}
	if (batch->messages[0].error == -ENODEV)
		return -ENODEV;
	return fault_set(fault, FAULT_INTERNAL, "failed to lookup \"%s\": %s", name ? name : "",
			 batch_error_text(batch, 0, text, sizeof(text)));
}

int device_delete(struct rtnl *rtnl, const char *name, uint32_t ifindex, struct fault *fault)
{
	_cleanup_(batch_freep) struct rtnl_batch *batch = batch_new();
	char text[256];
	int r;

	(void)device_put_delete(batch, name, ifindex);
	r = rtnl_exchange(rtnl, batch, NULL, NULL, fault);
	if (r < 0)
		return r;
	if (batch->messages[0].error == 0 || batch->messages[0].error == -ENODEV)
		return 0;
	return fault_set(fault, FAULT_INTERNAL, "failed to delete \"%s\": %s", name ? name : "",
			 batch_error_text(batch, 0, text, sizeof(text)));
}

void device_sysctl(const char *family, const char *device, const char *name, const char *value)
{
	char directory[32], path[PATH_MAX];

	if (text_format(directory, sizeof(directory), "net/%s/conf", family) == 0 &&
	    sysctl_device_path(directory, device, name, path, sizeof(path)) == 0)
		(void)sysctl_write(path, value, NULL);
}
