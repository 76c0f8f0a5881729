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
	bool asked; // about the link
	bool allowed;
};

// All that is done to the link in one go is one change.
static bool may_change_link(struct work *work, enum netlink_verb verb)
{
	struct kernel_object object = { .kind = KERNEL_LINK, .link = work->wanted->link };
	if (!work->asked)
		work->allowed = work->fn(work->arg, verb, &object);
	work->asked = true;
	return work->allowed;
}

static int left_alone(const struct work *work, struct err *e)
{
	return err_set(e, -EBUSY, "%s is left alone for a while: another program keeps changing it",
		       work->wanted->link.name);
}

static bool ip_differs_if_both(const struct ip *a, const struct ip *b)
{
	return ip_is_set(a) && ip_is_set(b) && !ip_equal(a, b);
}

static bool is_compatible_vxlan(const struct vxlan_link *a, const struct vxlan_link *b)
{
	if (a->vni != b->vni)
		return false;
	if (a->underlay_ifindex && b->underlay_ifindex && a->underlay_ifindex != b->underlay_ifindex)
		return false;
	if (ip_differs_if_both(&a->local, &b->local) || ip_differs_if_both(&a->group, &b->group))
		return false;
	if (a->port && b->port && a->port != b->port)
		return false;
	return a->l2miss == b->l2miss && a->gbp == b->gbp && a->learning == b->learning;
}

// In both addresses "none" is a value like others.
static bool is_compatible_ipip(const struct ipip_link *a, const struct ipip_link *b)
{
	return ip_equal(&a->local, &b->local) && ip_equal(&a->remote, &b->remote);
}

// Its process makes it, and its end ends it.
static bool is_of_process(const struct link *wanted)
{
	return strcmp(wanted->kind, "tun") == 0;
}

bool device_is_compatible(const struct link *have, const struct link *wanted)
{
	// In user space it is a TUN; who runs it reconcile/wg.h asks.
	if (strcmp(wanted->kind, "wireguard") == 0)
		return strcmp(have->kind, wanted->kind) == 0 || strcmp(have->kind, "tun") == 0;
	if (strcmp(have->kind, wanted->kind) != 0)
		return false;
	if (is_of_process(wanted))
		return true;
	return strcmp(wanted->kind, "ipip") == 0 ? is_compatible_ipip(&have->ipip, &wanted->ipip)
						 : is_compatible_vxlan(&have->vxlan, &wanted->vxlan);
}

// Can it be made compatible as it stands, with its routes on it?
static bool is_changeable(const struct link *have, const struct link *wanted)
{
	return strcmp(wanted->kind, "ipip") == 0 &&
	       ip_is_set(&have->ipip.remote) == ip_is_set(&wanted->ipip.remote);
}

bool device_is_as_wanted(const struct link *have, const struct link *wanted)
{
	return strcmp(have->name, wanted->name) == 0 && device_is_compatible(have, wanted) &&
	       have->up && mac_equal(&have->mac, &wanted->mac) &&
	       (wanted->mtu_bytes == 0 || have->mtu_bytes == wanted->mtu_bytes);
}

static int create(const struct work *work, struct link *ret, struct err *e)
{
	const struct link *wanted = &work->wanted->link;
	int r;
	if (strcmp(wanted->kind, "wireguard") == 0)
		r = link_create_wireguard(work->nl, wanted, e);
	else if (strcmp(wanted->kind, "ipip") == 0)
		r = link_create_ipip(work->nl, wanted, e);
	else
		r = link_create_vxlan(work->nl, wanted, e);
	if (r < 0)
		return r;
	// Router advertisements of containers must not configure the host. The kernel may be built without IPv6.
	char path[128];
	if (sysctl_device_path("net/ipv6/conf", work->wanted->link.name, "accept_ra", path,
			       sizeof(path)) == 0)
		(void)sysctl_write(path, "0", NULL);
	return link_get_by_name(work->nl, work->wanted->link.name, ret, e);
}

static int awaited(const struct work *work, struct err *e)
{
	return err_set(e, -EINPROGRESS, "%s is not there yet: its process makes it",
		       work->wanted->link.name);
}

// What it is to have before it is up: a TUN makes itself a link-local address at random, which nobody asked for.
static void prepare(const struct work *work)
{
	const struct link *wanted = &work->wanted->link;
	char path[128];
	if (strcmp(wanted->kind, "wireguard") != 0)
		return;
	if (sysctl_device_path("net/ipv6/conf", wanted->name, "accept_ra", path, sizeof(path)) == 0)
		(void)sysctl_write(path, "0", NULL);
	if (sysctl_device_path("net/ipv6/conf", wanted->name, "addr_gen_mode", path, sizeof(path)) == 0)
		(void)sysctl_write(path, "1", NULL);
}

// ret->ifindex is 0 if a dry run would make the device.
static int ensure_link(struct work *work, struct link *ret, struct err *e)
{
	const struct link *wanted = &work->wanted->link;
	int r = link_get_by_name(work->nl, wanted->name, ret, e);
	if (r == -ENODEV) {
		memset(ret, 0, sizeof(*ret));
		if (is_of_process(wanted) && !work->dry_run)
			return awaited(work, e);
		if (!may_change_link(work, NETLINK_CREATE))
			return left_alone(work, e);
		return work->dry_run ? 0 : create(work, ret, e);
	}
	if (r < 0 || device_is_compatible(ret, wanted))
		return r;
	if (strcmp(ret->kind, wanted->kind) != 0)
		return err_set(e, -EEXIST,
			       "%s is there and is no %s device: rename or remove it ('ip link del %s')",
			       wanted->name, wanted->kind, wanted->name);
	if (!may_change_link(work, NETLINK_REPLACE))
		return left_alone(work, e);
	uint32_t ifindex = ret->ifindex;
	if (is_changeable(ret, wanted)) {
		r = work->dry_run ? 0 : link_change_ipip(work->nl, ifindex, wanted, e);
		return r < 0 || work->dry_run ? r : link_get_by_name(work->nl, wanted->name, ret, e);
	}
	memset(ret, 0, sizeof(*ret));
	if (work->dry_run)
		return 0;
	r = link_delete(work->nl, ifindex, e);
	return r < 0 ? r : create(work, ret, e);
}

static int ensure_attributes(struct work *work, const struct link *have, struct err *e)
{
	const struct link *wanted = &work->wanted->link;
	bool mac_differs = !mac_equal(&have->mac, &wanted->mac);
	bool mtu_differs = wanted->mtu_bytes != 0 && have->mtu_bytes != wanted->mtu_bytes;
	if (!mac_differs && !mtu_differs)
		return 0;
	if (!may_change_link(work, NETLINK_REPLACE) || work->dry_run)
		return 0;
	int r = 0;
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

bool device_address_is_stray(const struct wanted_device *wanted, const struct addr *addr)
{
	if (addr->ip.family != wanted->address.family ||
	    (ip_equal(&addr->ip, &wanted->address) && addr->len == wanted->address_len))
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
	else if (device_address_is_stray(found->wanted, addr) &&
		 found->stray_count < STRAY_ADDRESSES_MAX)
		found->strays[found->stray_count++] = *addr;
}

struct change_result {
	int first_error;
	char text[ERR_MSG_MAX];
};

static void note_error(struct change_result *result, int error, const char *extack)
{
	if (error == 0 || result->first_error)
		return;
	result->first_error = error;
	(void)text_copy(result->text, sizeof(result->text), extack);
}

static void note_result(void *arg, uint32_t tag, int error, const char *extack)
{
	bool removing = tag != 0;
	if (!(removing && error == -EADDRNOTAVAIL) && !(!removing && error == -EEXIST))
		note_error(arg, error, extack);
}

static int change_addresses(const struct work *work, uint32_t ifindex,
			    const struct addresses *found, struct err *e)
{
	struct netlink_batch *batch = netlink_batch_new(work->nl);
	int r = 0;
	for (size_t i = 0; i < found->stray_count; i++) {
		struct kernel_object object = { .kind = KERNEL_ADDR, .addr = found->strays[i] };
		if (work->fn(work->arg, NETLINK_DELETE, &object))
			netlink_batch_add(batch, NETLINK_DELETE, &object, 1);
	}
	if (!found->present) {
		struct kernel_object object = { .kind = KERNEL_ADDR };
		object.addr = (struct addr){ .ifindex = ifindex,
					     .ip = work->wanted->address,
					     .len = work->wanted->address_len,
					     .scope = RT_SCOPE_UNIVERSE,
					     .flags = work->wanted->address.family == AF_INET6
							      ? IFA_F_NODAD
							      : 0 };
		if (work->fn(work->arg, NETLINK_CREATE, &object))
			netlink_batch_add(batch, NETLINK_CREATE, &object, 0);
	}
	struct change_result result = { 0 };
	if (!work->dry_run && netlink_batch_count(batch) > 0)
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
	struct addresses found = { .wanted = work->wanted };
	struct netlink_dump_filter filter = { .family = work->wanted->address.family,
					      .ifindex = ifindex };
	// A device that a dry run would make has none.
	int r = ifindex == 0 ? 0
			     : netlink_dump_all(work->nl, KERNEL_ADDR, &filter, look_at_address,
						&found, e);
	if (r < 0 || (found.present && found.stray_count == 0))
		return r;
	return change_addresses(work, ifindex, &found, e);
}

// ---- the route to the whole network ----

struct route_search {
	const struct ipnet *dst;
	bool present;
};

static void look_at_route(void *arg, const struct kernel_object *object)
{
	struct route_search *search = arg;
	const struct route *route = &object->route;
	search->present |= ipnet_equal(&route->dst, search->dst) && route->type == RTN_UNICAST &&
			   !ip_is_set(&route->gateway) && !route->multipath && !route->other;
}

static void note_route_result(void *arg, uint32_t tag, int error, const char *extack)
{
	(void)tag;
	note_error(arg, error, extack);
}

static int create_route(const struct work *work, const struct kernel_object *object, struct err *e)
{
	char text[KERNEL_OBJECT_STR_MAX];
	struct change_result result = { 0 };
	struct netlink_batch *batch = netlink_batch_new(work->nl);
	netlink_batch_add(batch, NETLINK_CREATE, object, 1);
	int r = netlink_batch_commit(batch, note_route_result, &result, e);
	netlink_batch_free(batch);
	if (r == 0 && result.first_error == -EEXIST)
		return err_set(e, -EEXIST,
			       "%s: a route to it that is not weft's is in the way; remove it with 'ip route del'",
			       kernel_object_str(object, text));
	if (r == 0 && result.first_error)
		r = err_set(e, result.first_error, "%s: %s", kernel_object_str(object, text),
			    result.text[0] ? result.text : strerror(-result.first_error));
	return r;
}

// COMPAT: one route over the device, and so also what is for nobody goes to the process, which says so by ICMP.
static int ensure_route(const struct work *work, uint32_t ifindex, struct err *e)
{
	const struct ipnet *dst = &work->wanted->network;
	struct route_search search = { .dst = dst };
	struct netlink_dump_filter filter = { .family = dst->addr.family, .ifindex = ifindex };
	struct wanted wanted = { 0 };
	struct ip none = { 0 };
	if (!work->wanted->has_route || !ip_is_set(&work->wanted->address))
		return 0;
	int r = ifindex == 0 ? 0
			     : netlink_dump_all(work->nl, KERNEL_ROUTE, &filter, look_at_route,
						&search, e);
	if (r < 0 || search.present)
		return r;
	wanted_add_route(&wanted, dst, &none, ifindex, false);
	if (!work->fn(work->arg, NETLINK_CREATE, &wanted.objects[0]) || work->dry_run)
		return 0;
	return create_route(work, &wanted.objects[0], e);
}

int device_ensure(struct netlink *nl, const struct wanted_device *wanted, bool dry_run,
		  device_change_fn *fn, void *arg, uint32_t *ret_ifindex, struct err *e)
{
	struct work work = { .nl = nl, .wanted = wanted, .dry_run = dry_run, .fn = fn, .arg = arg };
	struct link link = { 0 };
	if (wanted->is_awaited && !dry_run)
		return awaited(&work, e);
	int r = ensure_link(&work, &link, e);
	if (r == 0 && link.ifindex != 0)
		r = ensure_attributes(&work, &link, e);
	if (r == 0)
		r = ensure_addresses(&work, link.ifindex, e);
	if (r == 0 && link.ifindex != 0 && !link.up) {
		if (!may_change_link(&work, NETLINK_REPLACE))
			r = left_alone(&work, e);
		else if (!dry_run) {
			prepare(&work);
			r = link_set_up(nl, link.ifindex, true, e);
		}
	}
	if (r == 0)
		r = ensure_route(&work, link.ifindex, e);
	if (r == 0)
		*ret_ifindex = link.ifindex;
	return r;
}
