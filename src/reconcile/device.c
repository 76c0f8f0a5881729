// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the steps from the device that is there to the device that is wanted.
#include "reconcile/device.h"

#include "kernel/link.h"
#include "kernel/sysctl.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>

struct work {
	struct netlink *nl;
	const struct wanted_device *wanted;
	bool dry_run;
	device_change_fn *fn;
	void *arg;
};

static int may_change(const struct work *work, enum netlink_verb verb, const struct kernel_object *object, struct err *e)
{
	if (work->fn(work->arg, verb, object))
		return 0;
	return err_set(e, -EBUSY, "%s is left alone for a while: another program keeps changing it",
		       work->wanted->link.name);
}

static int may_change_link(const struct work *work, enum netlink_verb verb, struct err *e)
{
	struct kernel_object object = {.kind = KERNEL_LINK, .link = work->wanted->link};
	return may_change(work, verb, &object, e);
}

static bool ip_differs_if_both(const struct ip *a, const struct ip *b)
{
	return ip_is_set(a) && ip_is_set(b) && !ip_equal(a, b);
}

bool device_is_compatible(const struct link *have, const struct link *wanted)
{
	const struct vxlan_link *a = &have->vxlan, *b = &wanted->vxlan;
	if (strcmp(have->kind, wanted->kind) != 0 || a->vni != b->vni)
		return false;
	if (a->underlay_ifindex && b->underlay_ifindex && a->underlay_ifindex != b->underlay_ifindex)
		return false;
	if (ip_differs_if_both(&a->local, &b->local) || ip_differs_if_both(&a->group, &b->group))
		return false;
	if (a->port && b->port && a->port != b->port)
		return false;
	return a->l2miss == b->l2miss && a->gbp == b->gbp && a->learning == b->learning;
}

static int create(const struct work *work, struct link *ret, struct err *e)
{
	int r = link_create_vxlan(work->nl, &work->wanted->link, e);
	if (r < 0)
		return r;
	// Router advertisements of containers must not configure the host. The kernel may be built without IPv6.
	char path[128];
	if (sysctl_device_path("net/ipv6/conf", work->wanted->link.name, "accept_ra", path, sizeof(path)) == 0)
		(void)sysctl_write(path, "0", NULL);
	return link_get_by_name(work->nl, work->wanted->link.name, ret, e);
}

static int ensure_link(const struct work *work, struct link *ret, struct err *e)
{
	const struct link *wanted = &work->wanted->link;
	int r = link_get_by_name(work->nl, wanted->name, ret, e);
	if (r == -ENODEV) {
		memset(ret, 0, sizeof(*ret));
		r = may_change_link(work, NETLINK_CREATE, e);
		return r < 0 || work->dry_run ? r : create(work, ret, e);
	}
	if (r < 0)
		return r;
	if (!device_is_compatible(ret, wanted)) {
		r = may_change_link(work, NETLINK_REPLACE, e);
		if (r < 0 || work->dry_run)
			return r;
		r = link_delete(work->nl, ret->ifindex, e);
		return r < 0 ? r : create(work, ret, e);
	}
	return 0;
}

static int ensure_attributes(const struct work *work, const struct link *have, struct err *e)
{
	const struct link *wanted = &work->wanted->link;
	bool mac_differs = !mac_equal(&have->mac, &wanted->mac);
	bool mtu_differs = wanted->mtu_bytes != 0 && have->mtu_bytes != wanted->mtu_bytes;
	if (!mac_differs && !mtu_differs)
		return 0;
	int r = may_change_link(work, NETLINK_REPLACE, e);
	if (r < 0 || work->dry_run)
		return r;
	if (mac_differs)
		r = link_set_mac(work->nl, have->ifindex, &wanted->mac, e);
	if (r == 0 && mtu_differs)
		r = link_set_mtu(work->nl, have->ifindex, wanted->mtu_bytes, e);
	return r;
}

#define STRAY_ADDRESSES_MAX 32

struct addresses {
	const struct wanted_device *wanted;
	bool present;
	struct addr strays[STRAY_ADDRESSES_MAX]; // more than that are removed by the next pass
	size_t stray_count;
};

static bool address_is_stray(const struct wanted_device *wanted, const struct addr *addr)
{
	if (addr->ip.family != wanted->address.family)
		return false;
	if (addr->ip.family == AF_INET6)
		return !ip_is_link_local(&addr->ip);
	return ipnet_contains(&wanted->network, &addr->ip);
}

static void look_at_address(void *arg, const struct kernel_object *object)
{
	struct addresses *found = arg;
	const struct addr *addr = &object->addr;
	if (ip_equal(&addr->ip, &found->wanted->address) && addr->len == found->wanted->address_len)
		found->present = true;
	else if (address_is_stray(found->wanted, addr) && found->stray_count < STRAY_ADDRESSES_MAX)
		found->strays[found->stray_count++] = *addr;
}

struct change_result {
	int first_error;
	char text[ERR_MSG_MAX];
};

static void note_result(void *arg, uint32_t tag, int error, const char *extack)
{
	struct change_result *result = arg;
	bool removing = tag != 0;
	if (error == 0 || (removing && error == -EADDRNOTAVAIL) || (!removing && error == -EEXIST) || result->first_error)
		return;
	result->first_error = error;
	(void)text_copy(result->text, sizeof(result->text), extack);
}

static int change_addresses(const struct work *work, uint32_t ifindex, const struct addresses *found, struct err *e)
{
	struct netlink_batch *batch = netlink_batch_new(work->nl);
	int r = 0;
	for (size_t i = 0; i < found->stray_count && r == 0; i++) {
		struct kernel_object object = {.kind = KERNEL_ADDR, .addr = found->strays[i]};
		r = may_change(work, NETLINK_DELETE, &object, e);
		netlink_batch_add(batch, NETLINK_DELETE, &object, 1);
	}
	if (!found->present && r == 0) {
		struct kernel_object object = {.kind = KERNEL_ADDR};
		object.addr = (struct addr){.ifindex = ifindex, .ip = work->wanted->address,
					    .len = work->wanted->address_len, .scope = RT_SCOPE_UNIVERSE,
					    .flags = work->wanted->address.family == AF_INET6 ? IFA_F_NODAD : 0};
		r = may_change(work, NETLINK_CREATE, &object, e);
		netlink_batch_add(batch, NETLINK_CREATE, &object, 0);
	}
	struct change_result result = {0};
	if (r == 0 && !work->dry_run)
		r = netlink_batch_commit(batch, note_result, &result, e);
	netlink_batch_free(batch);
	if (r == 0 && result.first_error)
		r = err_set(e, result.first_error, "addresses of %s: %s", work->wanted->link.name,
			    result.text[0] ? result.text : strerror(-result.first_error));
	return r;
}

static int ensure_addresses(const struct work *work, uint32_t ifindex, struct err *e)
{
	if (!ip_is_set(&work->wanted->address))
		return 0;
	struct addresses found = {.wanted = work->wanted};
	struct netlink_dump_filter filter = {.family = work->wanted->address.family, .ifindex = ifindex};
	int r = netlink_dump_all(work->nl, KERNEL_ADDR, &filter, look_at_address, &found, e);
	if (r < 0 || (found.present && found.stray_count == 0))
		return r;
	return change_addresses(work, ifindex, &found, e);
}

int device_ensure(struct netlink *nl, const struct wanted_device *wanted, bool dry_run, device_change_fn *fn, void *arg,
		  uint32_t *ret_ifindex, struct err *e)
{
	struct work work = {.nl = nl, .wanted = wanted, .dry_run = dry_run, .fn = fn, .arg = arg};
	struct link link = {0};
	int r = ensure_link(&work, &link, e);
	if (r < 0)
		return r;
	if (link.ifindex == 0) {
		*ret_ifindex = 0;
		return 0;
	}
	r = ensure_attributes(&work, &link, e);
	if (r == 0)
		r = ensure_addresses(&work, link.ifindex, e);
	if (r == 0 && !link.up) {
		r = may_change_link(&work, NETLINK_REPLACE, e);
		if (r == 0 && !dry_run)
			r = link_set_up(nl, link.ifindex, true, e);
	}
	if (r == 0)
		*ret_ifindex = link.ifindex;
	return r;
}
