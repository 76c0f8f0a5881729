// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the ipip backend, wire- and store-compatible with flannel's: IPv4 in IPv4, and nothing else.
//
// DOC: what a peer is in the kernel
//
// One device, flannel.ipip, has no remote of its own: a packet goes to the gateway of its route, which is the peer's public address,
// "onlink" over the device. With DirectRouting a peer on a segment of ours has the same route over the interface there.
#include "backend/backend.h"

#include "backend/path.h"

#include <errno.h>
#include <string.h>

#define IPIP_DEVICE "flannel.ipip"
#define IPIP_OVERHEAD_BYTES 20 // outer IPv4
#define MTU_MIN_BYTES 576      // RFC 791: what every host must take

struct ipip {
	struct backend base;
	bool direct_routing;
};

static const struct ipip *ipip_of(const struct backend *backend)
{
	return (const struct ipip *)backend;
}

static uint32_t ipip_mtu_bytes(const struct backend *backend)
{
	uint32_t outer = backend->underlay.mtu_bytes;
	return outer > IPIP_OVERHEAD_BYTES ? outer - IPIP_OVERHEAD_BYTES : 0;
}

static int ipip_open(struct backend *backend, const json_t *config, const struct backend_host *host,
		     struct err *e)
{
	struct ipip *ipip = (struct ipip *)backend;
	const struct underlay *underlay = &backend->underlay;
	(void)host;
	if (backend->netconf.v6.enabled)
		return err_set(
			e, -EINVAL,
			"it carries IPv4 only: set EnableIPv6 to false, or Backend.Type to \"vxlan\"");
	if (!ip_is_set(&underlay->ip4))
		return err_set(e, -EADDRNOTAVAIL, "interface %s has no IPv4 address to send from",
			       underlay->name);
	if (ipip_mtu_bytes(backend) < MTU_MIN_BYTES)
		return err_set(e, -EINVAL, "MTU %u of %s leaves %u for containers, which need %d",
			       underlay->mtu_bytes, underlay->name, ipip_mtu_bytes(backend),
			       MTU_MIN_BYTES);
	return json_get_bool(config, "DirectRouting", &ipip->direct_routing, e);
}

static void ipip_attrs(const struct backend *backend, struct lease_attrs *ret)
{
	(void)text_copy(ret->backend_type, sizeof(ret->backend_type), backend->ops->name);
}

// COMPAT: the local address is the interface's, whatever --public-ip says: behind a NAT that is what the host sends from.
static void ipip_devices(const struct backend *backend, struct wanted_devices *ret)
{
	struct wanted_device *device = &ret->devices[ret->count++];
	struct link *link = &device->link;
	(void)text_copy(link->name, sizeof(link->name), IPIP_DEVICE);
	(void)text_copy(link->kind, sizeof(link->kind), "ipip");
	link->mtu_bytes = ipip_mtu_bytes(backend);
	link->up = true;
	link->ipip.local = backend->underlay.ip4;
	device->address = backend->subnet.v4.addr;
	device->address_len = (uint8_t)ip_width_bits(&backend->subnet.v4.addr);
	device->network = backend->netconf.v4.network;
}

static bool ipip_needs_paths(const struct backend *backend)
{
	return ipip_of(backend)->direct_routing;
}

static int ipip_want(const struct backend *backend, const struct lease *peer,
		     const struct underlay *underlay,
		     const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		     struct err *e)
{
	const struct ipnet *subnet = &peer->subnet.v4;
	const struct ip *remote = &peer->attrs.public_ip;
	const struct underlay_path *path = &paths[UNDERLAY_V4];
	const char *why = "";
	int r = backend_check_type(backend->ops->name, &peer->attrs, e);
	if (r < 0)
		return r;
	if (!ipnet_is_set(subnet))
		return 0;
	r = direct_check_remote(remote, 4, e);
	if (r < 0)
		return r;
	if (ipip_of(backend)->direct_routing && path_try_direct(ret, subnet, remote, path, &why))
		return 0;
	wanted_add_route(ret, subnet, remote, underlay->device_ifindex[0], true);
	path_note(ret, "ipip", why);
	return 0;
}

static int ipip_update(struct backend *backend, const json_t *config, struct strbuf *restart,
		       struct err *e)
{
	bool direct_routing = false;
	int r = json_get_bool(config, "DirectRouting", &direct_routing, e);
	(void)restart;
	if (r == 0)
		((struct ipip *)backend)->direct_routing = direct_routing;
	return r;
}

const struct backend_ops backend_ipip = {
	.name = "ipip",
	.size = sizeof(struct ipip),
	.open = ipip_open,
	.attrs = ipip_attrs,
	.mtu_bytes = ipip_mtu_bytes,
	.devices = ipip_devices,
	.needs_paths = ipip_needs_paths,
	.want = ipip_want,
	.update = ipip_update,
};
