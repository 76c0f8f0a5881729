// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing what we read from the kernel: one datagram of rtnetlink messages. The corpus is of a little-endian kernel.
#include "fuzz.h"

#include "kernel/decode.h"
#include "kernel/encode.h"

static bool ip_is_sound(const struct ip *ip)
{
	return ip->family == 0 || ip->family == AF_INET || ip->family == AF_INET6;
}

static void check_link(const struct link *link)
{
	must(link->ifindex != 0);
	must(memchr(link->name, '\0', sizeof(link->name)) && link->name[0] != '\0');
	must(memchr(link->kind, '\0', sizeof(link->kind)));
	must(ip_is_sound(&link->vxlan.local) && ip_is_sound(&link->vxlan.group));
}

static void check_object(const struct kernel_object *object)
{
	switch (object->kind) {
	case KERNEL_LINK:
		check_link(&object->link);
		break;
	case KERNEL_ADDR:
		must(ip_is_set(&object->addr.ip) && ip_is_sound(&object->addr.ip));
		must(object->addr.len <= ip_width_bits(&object->addr.ip));
		break;
	case KERNEL_NEIGH:
		must(ip_is_set(&object->neigh.ip) && ip_is_sound(&object->neigh.ip));
		break;
	case KERNEL_FDB:
		must(ip_is_sound(&object->fdb.remote));
		break;
	case KERNEL_NEXTHOP:
		must(object->nexthop.id != 0 && ip_is_sound(&object->nexthop.gateway));
		break;
	case KERNEL_ROUTE:
		must(ipnet_is_set(&object->route.dst) && ip_is_sound(&object->route.gateway));
		must(object->route.dst.len <= ip_width_bits(&object->route.dst.addr));
		break;
	case KERNEL_WG_PEER:
	case KERNEL_KIND_COUNT:
		must(!"a kind");
	}
}

// What we can read we can write again, and what we write we can read.
static void check_again(const struct kernel_object *object)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];
	struct nlmsg_view msg;
	struct decoded decoded;
	size_t offset = 0;

	if (object->kind == KERNEL_LINK)
		return;
	must(nlmsg_next(buffer, encode_object(NETLINK_REPLACE, object, buffer), &offset, &msg) == 1);
	must(decode_object(&msg, &decoded) == 0);
	must(decoded.object.kind == object->kind && !decoded.removed);
	must(encode_object(NETLINK_DELETE, object, buffer) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[KERNEL_OBJECT_STR_MAX];
	struct decoded decoded;
	struct nlmsg_view msg;
	struct nlmsg_ack ack;
	size_t offset = 0, before = 0;

	while (nlmsg_next(data, size, &offset, &msg) > 0) {
		must(offset > before && offset <= size);
		before = offset;
		if (nlmsg_read_error(&msg, &ack) == 0)
			must(ack.error <= 0 && memchr(ack.text, '\0', sizeof(ack.text)));
		if (nlmsg_read_done(&msg, &ack) == 0)
			must(ack.error <= 0 && memchr(ack.text, '\0', sizeof(ack.text)));
		if (decode_object(&msg, &decoded) < 0)
			continue;
		check_object(&decoded.object);
		check_again(&decoded.object);
		must(strlen(kernel_object_str(&decoded.object, text)) > 0);
	}
	return 0;
}
