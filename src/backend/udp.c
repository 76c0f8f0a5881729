// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the udp backend, wire- and store-compatible with flannel's: each IP packet in one UDP datagram, without a header of its own.
//
// DOC: who carries packets
//
// The process weft-udp, which is told of peers by the agent and makes the device flannel0. In the kernel there are the device's address and
// one route for the whole network, whatever peers there are. IPv6 is our own extension: packets of both families go between the hosts'
// IPv4 addresses, or, in a network without IPv4, between their IPv6 addresses.
#include "backend/backend.h"

#include "backend/direct.h"

#include <errno.h>
#include <string.h>

#define UDP_DEVICE "flannel0"
#define UDP_PORT_DEFAULT 8285
#define UDP_OVERHEAD_V4_BYTES (20 + 8) // outer IPv4, UDP
#define UDP_OVERHEAD_V6_BYTES (40 + 8)
#define MTU_MIN_V4_BYTES 576 // RFC 791: what every host must take
#define MTU_MIN_V6_BYTES 1280

struct udp {
	struct backend base;
	int64_t port;
};

static const struct udp *udp_of(const struct backend *backend)
{
	return (const struct udp *)backend;
}

static bool is_outside_v4(const struct backend *backend)
{
	return backend->netconf.v4.enabled;
}

static uint32_t udp_mtu_bytes(const struct backend *backend)
{
	uint32_t outer = backend->underlay.mtu_bytes;
	uint32_t overhead = is_outside_v4(backend) ? UDP_OVERHEAD_V4_BYTES : UDP_OVERHEAD_V6_BYTES;
	return outer > overhead ? outer - overhead : 0;
}

static int read_port(const json_t *config, int64_t *ret, struct err *e)
{
	*ret = UDP_PORT_DEFAULT;
	return json_get_int(config, "Port", 1, 65535, ret, e);
}

static int check_mtu(const struct backend *backend, struct err *e)
{
	uint32_t mtu_bytes = udp_mtu_bytes(backend);
	uint32_t smallest = backend->netconf.v6.enabled ? MTU_MIN_V6_BYTES : MTU_MIN_V4_BYTES;
	if (mtu_bytes >= smallest)
		return 0;
	return err_set(e, -EINVAL, "MTU %u of %s leaves %u for containers, which need %u",
		       backend->underlay.mtu_bytes, backend->underlay.name, mtu_bytes, smallest);
}

static int udp_open(struct backend *backend, const json_t *config, const struct backend_host *host,
		    struct err *e)
{
	const struct underlay *underlay = &backend->underlay;
	(void)host;
	if (!ip_is_set(is_outside_v4(backend) ? &underlay->ip4 : &underlay->ip6))
		return err_set(e, -EADDRNOTAVAIL, "interface %s has no IPv%d address to send from",
			       underlay->name, is_outside_v4(backend) ? 4 : 6);
	int r = check_mtu(backend, e);
	return r < 0 ? r : read_port(config, &((struct udp *)backend)->port, e);
}

// COMPAT: flannel's udp leases carry no BackendType, and it takes leases of any type for udp's.
static void udp_attrs(const struct backend *backend, struct lease_attrs *ret)
{
	(void)backend, (void)ret;
}

static void add_device(const struct backend *backend, const struct netconf_family *conf,
		       const struct ipnet *subnet, struct wanted_devices *ret)
{
	if (!conf->enabled)
		return;
	struct wanted_device *device = &ret->devices[ret->count++];
	struct link *link = &device->link;
	(void)text_copy(link->name, sizeof(link->name), UDP_DEVICE);
	(void)text_copy(link->kind, sizeof(link->kind), "tun");
	link->mtu_bytes = udp_mtu_bytes(backend);
	link->up = true;
	device->address = subnet->addr;
	device->address_len = (uint8_t)ip_width_bits(&subnet->addr);
	device->network = conf->network;
	device->has_route = true;
}

static void udp_devices(const struct backend *backend, struct wanted_devices *ret)
{
	add_device(backend, &backend->netconf.v4, &backend->subnet.v4, ret);
	add_device(backend, &backend->netconf.v6, &backend->subnet.v6, ret);
}

// COMPAT: packets leave from the interface's address, whatever --public-ip says, and are received there.
static void udp_process(const struct backend *backend, struct backend_process *ret)
{
	const struct underlay *underlay = &backend->underlay;
	(void)text_copy(ret->device, sizeof(ret->device), UDP_DEVICE);
	ret->address = is_outside_v4(backend) ? underlay->ip4 : underlay->ip6;
	ret->port = (uint16_t)udp_of(backend)->port;
	ret->mtu_bytes = udp_mtu_bytes(backend);
	ret->network[UNDERLAY_V4] = backend->netconf.v4.network;
	ret->network[UNDERLAY_V6] = backend->netconf.v6.network;
	ret->own[UNDERLAY_V4] = backend->subnet.v4;
	ret->own[UNDERLAY_V6] = backend->subnet.v6;
}

static void add_host(const struct backend *backend, const struct netconf_family *conf,
		     const struct ipnet *subnet, const struct ip *host, struct wanted *ret)
{
	if (conf->enabled && ipnet_is_set(subnet))
		ret->hosts[ret->host_count++] =
			(struct wanted_host){ *subnet, *host, (uint16_t)udp_of(backend)->port };
}

static int udp_want(const struct backend *backend, const struct lease *peer,
		    const struct underlay *underlay,
		    const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		    struct err *e)
{
	bool v4 = is_outside_v4(backend);
	const struct ip *host = v4 ? &peer->attrs.public_ip : &peer->attrs.public_ipv6;
	(void)underlay, (void)paths;
	int r = direct_check_remote(host, v4 ? 4 : 6, e);
	if (r < 0)
		return r;
	add_host(backend, &backend->netconf.v4, &peer->subnet.v4, host, ret);
	add_host(backend, &backend->netconf.v6, &peer->subnet.v6, host, ret);
	ret->path = "udp";
	ret->why = "";
	return 0;
}

static int udp_update(struct backend *backend, const json_t *config, struct strbuf *restart,
		      struct err *e)
{
	int64_t port = 0;
	int r = read_port(config, &port, e);
	if (r == 0 && port != udp_of(backend)->port)
		(void)strbuf_puts(restart, "Backend.Port\n");
	return r;
}

const struct backend_ops backend_udp = {
	.name = "udp",
	.size = sizeof(struct udp),
	.open = udp_open,
	.attrs = udp_attrs,
	.mtu_bytes = udp_mtu_bytes,
	.devices = udp_devices,
	.process = udp_process,
	.want = udp_want,
	.update = udp_update,
};
