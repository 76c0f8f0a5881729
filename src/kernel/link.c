// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: network devices: look-up, making and changing.

#include "kernel/link.h"

#include "core/strbuf.h"
#include "kernel/decode.h"
#include "kernel/exchange.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define LINK_TEXT_MAX (IFNAMSIZ + 16)

// Says what a refusal of the kernel means to an operator.
static int refused(struct err *e, const char *what, const char *device, const struct nlmsg_ack *ack)
{
	const char *separator = ack->text[0] != '\0' ? ": " : "";

	if (ack->error == -EPERM)
		return err_set(e, ack->error, "%s %s: not permitted, CAP_NET_ADMIN is needed", what,
			       device);
	return err_set(e, ack->error, "%s %s: %s%s%s", what, device, strerror(-ack->error),
		       separator, ack->text);
}

static const char *by_index(uint32_t ifindex, char buf[static LINK_TEXT_MAX])
{
	(void)text_format(buf, LINK_TEXT_MAX, "with index %u", ifindex);
	return buf;
}

static int take_link(void *arg, const struct request *request, const struct nlmsg_view *answer)
{
	struct decoded decoded;
	int r;

	(void)request;
	r = decode_object(answer, &decoded);
	if (r < 0)
		return r;
	if (decoded.object.kind != KERNEL_LINK)
		return -EBADMSG;
	*(struct link *)arg = decoded.object.link;
	return 0;
}

static int get(struct netlink *nl, const char *name, uint32_t ifindex, struct link *ret, struct err *e)
{
	_cleanup_request_queue_ struct request_queue queue = { 0 };
	char buf[LINK_TEXT_MAX];
	struct link link;
	const struct exchange lookup = {
		.fn = take_link,
		.arg = &link,
		.answer_bytes = (size_t)64 * 1024,
		.answer_memory = (size_t)64 * 1024,
	};
	const char *device = name ? name : by_index(ifindex, buf);
	int r;

	request_queue_push(&queue, encode_link_get(name, ifindex, request_queue_reserve(&queue)), 0);
	r = exchange_run(nl, &lookup, &queue, e);
	if (r < 0)
		return r;
	r = queue.requests[0].error;
	if (r == -ENODEV)
		return err_set(e, r, "no network device %s", device);
	if (r < 0)
		return err_set(e, r, "network device %s: %s", device, strerror(-r));
	*ret = link;
	return 0;
}

int link_get_by_name(struct netlink *nl, const char *name, struct link *ret, struct err *e)
{
	if (name[0] == '\0' || strlen(name) >= IFNAMSIZ)
		return err_set(e, -ENODEV, "no network device %s: not a device name", name);
	return get(nl, name, 0, ret, e);
}

int link_get_by_index(struct netlink *nl, uint32_t ifindex, struct link *ret, struct err *e)
{
	// Strict kernels answer -EINVAL to index 0, which names no device.
	if (ifindex == 0)
		return err_set(e, -ENODEV, "no network device with index 0");
	return get(nl, NULL, ifindex, ret, e);
}

int link_create_refused(struct err *e, const char *kind, const char *name, const struct nlmsg_ack *ack)
{
	if (ack->error == -EOPNOTSUPP)
		return err_set(e, ack->error,
			       "making %s: the kernel has no %s devices; load its module (modprobe %s)",
			       name, kind, kind);
	return refused(e, "making device", name, ack);
}

static int create(struct netlink *nl, const char *kind, const struct link *link,
		  size_t (*encode)(const struct link *link, void *buffer), struct err *e)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];
	struct nlmsg_ack ack;
	int r;

	assert(link->name[0] != '\0' && strnlen(link->name, IFNAMSIZ) < IFNAMSIZ);
	r = exchange_one(nl, buffer, encode(link, buffer), &ack, e);
	if (r < 0)
		return r;
	return ack.error < 0 ? link_create_refused(e, kind, link->name, &ack) : 0;
}

int link_create_vxlan(struct netlink *nl, const struct link *link, struct err *e)
{
	return create(nl, "vxlan", link, encode_vxlan_create, e);
}

int link_create_ipip(struct netlink *nl, const struct link *link, struct err *e)
{
	return create(nl, "ipip", link, encode_ipip_create, e);
}

int link_create_wireguard(struct netlink *nl, const struct link *link, struct err *e)
{
	return create(nl, "wireguard", link, encode_wireguard_create, e);
}

static int change(struct netlink *nl, const char *what, uint32_t ifindex, const void *message,
		  size_t len, struct err *e)
{
	char buf[LINK_TEXT_MAX];
	struct nlmsg_ack ack;
	int r;

	r = exchange_one(nl, message, len, &ack, e);
	if (r < 0)
		return r;
	return ack.error < 0 ? refused(e, what, by_index(ifindex, buf), &ack) : 0;
}

int link_change_ipip(struct netlink *nl, uint32_t ifindex, const struct link *link, struct err *e)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];

	return change(nl, "setting up the tunnel of device", ifindex, buffer,
		      encode_ipip_change(ifindex, link, buffer), e);
}

int link_delete(struct netlink *nl, uint32_t ifindex, struct err *e)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];

	return change(nl, "deleting device", ifindex, buffer, encode_link_delete(ifindex, buffer), e);
}

int link_set_up(struct netlink *nl, uint32_t ifindex, bool up, struct err *e)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];

	return change(nl, up ? "setting up device" : "setting down device", ifindex, buffer,
		      encode_link_set_up(ifindex, up, buffer), e);
}

int link_set_mtu(struct netlink *nl, uint32_t ifindex, uint32_t mtu_bytes, struct err *e)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];

	return change(nl, "setting the MTU of device", ifindex, buffer,
		      encode_link_set_mtu(ifindex, mtu_bytes, buffer), e);
}

int link_set_mac(struct netlink *nl, uint32_t ifindex, const struct mac *mac, struct err *e)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];

	return change(nl, "setting the MAC address of device", ifindex, buffer,
		      encode_link_set_mac(ifindex, mac, buffer), e);
}
