// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the vxlan backend, wire- and store-compatible with flannel's.
//
// DOC: what a peer is in the kernel
//
// Each family has a device of its own (flannel.VNI, flannel-v6.VNI). The peer's subnet is routed to the subnet's own first address
// (x.y.z.0) "onlink" over that device; a permanent neighbour entry gives that address the peer's VTEP MAC, and a permanent FDB entry sends
// that MAC to the peer's public address. With DirectRouting a peer whose public address is on a link of ours is routed to it without
// encapsulation, per family, judged anew whenever routes change.
#include "backend/backend.h"

#include "backend/path.h"
#include "core/mem.h"
#include "reconcile/device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define VXLAN_OVERHEAD_V4_BYTES 50 // outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14
#define VXLAN_OVERHEAD_V6_BYTES 70 // outer IPv6 40 instead
#define VXLAN_PORT_DEFAULT 8472	   // the kernel's, not IANA's 4789. COMPAT
#define VXLAN_VNI_MAX 0xffffff
#define MTU_MIN_V4_BYTES 576  // RFC 791: what every host must take
#define MTU_MIN_V6_BYTES 1280 // RFC 8200 section 5

struct vxlan_settings {
	int64_t vni;
	int64_t port;	   // 0: the kernel's default
	int64_t mtu_bytes; // of the underlay as configured; 0: the interface's
	bool gbp;
	bool learning;
	bool direct_routing;
};

struct vxlan {
	struct backend base;
	struct vxlan_settings settings;
	struct mac mac[UNDERLAY_FAMILY_COUNT];
};

static const struct vxlan *vxlan_of(const struct backend *backend)
{
	return (const struct vxlan *)backend;
}

// The kernel refuses a device whose packets would not fit the interface, so a configured MTU can only make it smaller.
static uint32_t outer_mtu(const struct vxlan_settings *settings, const struct underlay *underlay)
{
	return backend_lowered_mtu_bytes(underlay, settings->mtu_bytes);
}

static uint32_t inner_mtu(uint32_t outer, size_t family)
{
	uint32_t overhead = family == UNDERLAY_V4 ? VXLAN_OVERHEAD_V4_BYTES : VXLAN_OVERHEAD_V6_BYTES;
	return outer > overhead ? outer - overhead : 0;
}

static uint32_t family_mtu(const struct vxlan *vxlan, size_t family)
{
	return inner_mtu(outer_mtu(&vxlan->settings, &vxlan->base.underlay), family);
}

static void device_name(const struct vxlan *vxlan, size_t family, char ret[static IFNAMSIZ])
{
	// The longest, "flannel-v6.9999", is 15 bytes: settings_read refuses what does not fit.
	(void)text_format(ret, IFNAMSIZ, family == UNDERLAY_V4 ? "flannel.%lld" : "flannel-v6.%lld",
			  (long long)vxlan->settings.vni);
}

static int settings_read(const struct backend *backend, const json_t *config,
			 struct vxlan_settings *ret, struct err *e)
{
	struct vxlan_settings settings = { .vni = 1 };
	int r = json_get_int(config, "VNI", 0, VXLAN_VNI_MAX, &settings.vni, e);
	if (r == 0)
		r = json_get_int(config, "Port", 0, 65535, &settings.port, e);
	if (r == 0)
		r = json_get_int(config, "MTU", 0, 65535, &settings.mtu_bytes, e);
	if (r == 0)
		r = json_get_bool(config, "GBP", &settings.gbp, e);
	if (r == 0)
		r = json_get_bool(config, "Learning", &settings.learning, e);
	if (r == 0)
		r = json_get_bool(config, "DirectRouting", &settings.direct_routing, e);
	if (r < 0)
		return r;
	if (backend->netconf.v6.enabled && settings.vni > 9999)
		return err_set(e, -EINVAL,
			       "VNI %lld: with IPv6 at most 9999, for the device name flannel-v6.VNI has 15 characters at the most",
			       (long long)settings.vni);
	if (settings.vni > 9999999)
		return err_set(e, -EINVAL,
			       "VNI %lld: at most 9999999, for the device name flannel.VNI has 15 characters at the most",
			       (long long)settings.vni);
	if (settings.mtu_bytes != 0 && settings.mtu_bytes < MTU_MIN_V4_BYTES + VXLAN_OVERHEAD_V4_BYTES)
		return err_set(e, -EINVAL, "MTU %lld is too small: at least %d",
			       (long long)settings.mtu_bytes,
			       MTU_MIN_V4_BYTES + VXLAN_OVERHEAD_V4_BYTES);
	*ret = settings;
	return 0;
}

static void wanted_link(const struct vxlan *vxlan, size_t family, struct link *ret)
{
	const struct backend *base = &vxlan->base;
	memset(ret, 0, sizeof(*ret));
	device_name(vxlan, family, ret->name);
	(void)text_copy(ret->kind, sizeof(ret->kind), "vxlan");
	ret->mac = vxlan->mac[family];
	ret->mtu_bytes = family_mtu(vxlan, family);
	ret->up = true;
	ret->vxlan = (struct vxlan_link){
		.vni = (uint32_t)vxlan->settings.vni,
		.underlay_ifindex = base->underlay.ifindex,
		.local = family == UNDERLAY_V4 ? base->public_ip : base->public_ipv6,
		.port = (uint16_t)(vxlan->settings.port ? vxlan->settings.port : VXLAN_PORT_DEFAULT),
		.learning = vxlan->settings.learning,
		.gbp = vxlan->settings.gbp,
	};
}

// A device that is there and fits keeps its MAC (what flannel left is adopted), then the one of an earlier life from disk, then one derived
// from the host's identity, so that peers see the same MAC after every restart.
static struct mac choose_mac(const struct vxlan *vxlan, size_t family, const struct backend_host *host)
{
	struct link wanted, have;
	wanted_link(vxlan, family, &wanted);
	if (host->find_link(host->arg, wanted.name, &have) &&
	    device_is_compatible(&have, &wanted) && mac_is_usable(&have.mac))
		return have.mac;
	struct mac mac;
	if (host->find_mac(host->arg, wanted.name, &mac) && mac_is_usable(&mac))
		return mac;
	char seed[256];
	(void)text_format(seed, sizeof(seed), "%s %s", wanted.name, host->identity);
	return mac_derive(seed, strlen(seed));
}

static int check_mtu(const struct vxlan_settings *settings, const struct underlay *underlay,
		     size_t family, struct err *e)
{
	uint32_t smallest = family == UNDERLAY_V4 ? MTU_MIN_V4_BYTES : MTU_MIN_V6_BYTES;
	uint32_t outer = outer_mtu(settings, underlay), mtu_bytes = inner_mtu(outer, family);
	if (mtu_bytes >= smallest)
		return 0;
	return err_set(e, -EINVAL, "MTU %u %s%s leaves %u for IPv%d containers, which need %u",
		       outer, outer == underlay->mtu_bytes ? "of " : "as configured",
		       outer == underlay->mtu_bytes ? underlay->name : "", mtu_bytes,
		       family == UNDERLAY_V4 ? 4 : 6, smallest);
}

static int vxlan_open(struct backend *backend, const json_t *config,
		      const struct backend_host *host, struct err *e)
{
	struct vxlan *vxlan = (struct vxlan *)backend;
	int r = settings_read(backend, config, &vxlan->settings, e);
	for (size_t family = 0; r == 0 && family < UNDERLAY_FAMILY_COUNT; family++) {
		if (!backend_has_family(backend, family))
			continue;
		const struct ip *ip = family == UNDERLAY_V4 ? &backend->public_ip
							    : &backend->public_ipv6;
		if (!ip_is_set(ip))
			return err_set(e, -EADDRNOTAVAIL,
				       "interface %s has no IPv%d address to send from",
				       backend->underlay.name, family == UNDERLAY_V4 ? 4 : 6);
		r = check_mtu(&vxlan->settings, &backend->underlay, family, e);
		vxlan->mac[family] = choose_mac(vxlan, family, host);
	}
	return r;
}

static char *vtep_data(const struct vxlan *vxlan, size_t family)
{
	if (!backend_has_family(&vxlan->base, family))
		return NULL;
	char mac[MAC_STR_MAX];
	return xasprintf("{\"VNI\":%lld,\"VtepMAC\":\"%s\"}", (long long)vxlan->settings.vni,
			 mac_str(&vxlan->mac[family], mac));
}

static void vxlan_attrs(const struct backend *backend, struct lease_attrs *ret)
{
	(void)text_copy(ret->backend_type, sizeof(ret->backend_type), "vxlan");
	ret->backend_data = vtep_data(vxlan_of(backend), UNDERLAY_V4);
	ret->backend_v6_data = vtep_data(vxlan_of(backend), UNDERLAY_V6);
}

static uint32_t vxlan_mtu_bytes(const struct backend *backend)
{
	// With both families containers get one MTU: the smaller.
	return family_mtu(vxlan_of(backend), backend->netconf.v6.enabled ? UNDERLAY_V6 : UNDERLAY_V4);
}

static uint32_t vxlan_outer_mtu_bytes(const struct backend *backend)
{
	return outer_mtu(&vxlan_of(backend)->settings, &backend->underlay);
}

static void vxlan_devices(const struct backend *backend, struct wanted_devices *ret)
{
	for (size_t family = 0; family < UNDERLAY_FAMILY_COUNT; family++) {
		if (!backend_has_family(backend, family))
			continue;
		const struct ipnet *subnet = family == UNDERLAY_V4 ? &backend->subnet.v4
								   : &backend->subnet.v6;
		const struct netconf_family *conf = family == UNDERLAY_V4 ? &backend->netconf.v4
									  : &backend->netconf.v6;
		struct wanted_device *device = &ret->devices[ret->count++];
		wanted_link(vxlan_of(backend), family, &device->link);
		device->address = subnet->addr;
		device->address_len = (uint8_t)ip_width_bits(&subnet->addr);
		device->network = conf->network;
	}
}

static bool vxlan_needs_paths(const struct backend *backend)
{
	return vxlan_of(backend)->settings.direct_routing;
}

static int read_vtep_mac(const struct vxlan *vxlan, const char *data, size_t family,
			 struct mac *ret, struct err *e)
{
	const char *member = family == UNDERLAY_V4 ? "BackendData" : "BackendV6Data";
	if (!data)
		return err_set(e, -EINVAL, "its lease has no %s", member);
	_cleanup_json_ json_t *object = NULL;
	int r = json_read(data, strlen(data), LEASE_VALUE_MAX, &object, e);
	const char *text = NULL;
	if (r == 0)
		r = json_get_string(object, "VtepMAC", &text, e);
	if (r < 0)
		return err_wrap(e, "%s", member);
	struct mac mac;
	if (!text || mac_parse(text, &mac) < 0 || !mac_is_usable(&mac))
		return err_set(e, -EINVAL, "%s.VtepMAC is \"%.40s\", not a unicast MAC address",
			       member, text ? text : "");
	if (mac_equal(&mac, &vxlan->mac[family]))
		return err_set(e, -EINVAL, "%s.VtepMAC %s is our own", member, text);
	*ret = mac;
	return 0;
}

struct peer_family {
	const struct ipnet *subnet;
	const struct ip *remote;
	const char *data;
	uint32_t device_ifindex;
	const struct underlay_path *path;
};

static int want_family(const struct vxlan *vxlan, size_t family, const struct peer_family *peer,
		       struct wanted *ret, struct err *e)
{
	struct mac mac;
	int r = direct_check_remote(peer->remote, family == UNDERLAY_V4 ? 4 : 6, e);
	if (r == 0)
		r = read_vtep_mac(vxlan, peer->data, family, &mac, e);
	if (r < 0)
		return r;
	const char *why = "";
	if (vxlan->settings.direct_routing &&
	    path_try_direct(ret, peer->subnet, peer->remote, peer->path, &why))
		return 0;
	wanted_add_neigh(ret, peer->device_ifindex, &peer->subnet->addr, &mac);
	wanted_add_fdb(ret, peer->device_ifindex, &mac, peer->remote);
	wanted_add_route(ret, peer->subnet, &peer->subnet->addr, peer->device_ifindex, true);
	path_note(ret, "vxlan", why);
	return 0;
}

static int vxlan_want(const struct backend *backend, const struct lease *peer,
		      const struct underlay *underlay,
		      const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		      struct err *e)
{
	const struct vxlan *vxlan = vxlan_of(backend);
	const struct lease_attrs *attrs = &peer->attrs;
	if (backend_awaits_peer(peer, ret))
		return 0;
	int r = backend_check_type("vxlan", attrs, e);
	if (r < 0)
		return r;
	const struct peer_family families[UNDERLAY_FAMILY_COUNT] = {
		{ &peer->subnet.v4, &attrs->public_ip, attrs->backend_data, 0, &paths[UNDERLAY_V4] },
		{ &peer->subnet.v6, &attrs->public_ipv6, attrs->backend_v6_data, 0,
		  &paths[UNDERLAY_V6] },
	};
	size_t device = 0;
	for (size_t family = 0; family < UNDERLAY_FAMILY_COUNT; family++) {
		if (!backend_has_family(backend, family))
			continue;
		struct peer_family with_device = families[family];
		with_device.device_ifindex = underlay->device_ifindex[device++];
		if (!ipnet_is_set(with_device.subnet))
			continue;
		r = want_family(vxlan, family, &with_device, ret, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int vxlan_update(struct backend *backend, const json_t *config, struct strbuf *restart,
			struct err *e)
{
	struct vxlan *vxlan = (struct vxlan *)backend;
	struct vxlan_settings now = { 0 }, *have = &vxlan->settings;
	int r = settings_read(backend, config, &now, e);
	for (size_t family = 0; r == 0 && family < UNDERLAY_FAMILY_COUNT; family++)
		if (backend_has_family(backend, family))
			r = check_mtu(&now, &backend->underlay, family, e);
	if (r < 0)
		return r;
	if (now.vni != have->vni)
		(void)strbuf_puts(restart, "Backend.VNI\n");
	if (now.port != have->port)
		(void)strbuf_puts(restart, "Backend.Port\n");
	if (now.gbp != have->gbp)
		(void)strbuf_puts(restart, "Backend.GBP\n");
	if (now.learning != have->learning)
		(void)strbuf_puts(restart, "Backend.Learning\n");
	have->mtu_bytes = now.mtu_bytes;
	have->direct_routing = now.direct_routing;
	return 0;
}

const struct backend_ops backend_vxlan = {
	.name = "vxlan",
	.size = sizeof(struct vxlan),
	.open = vxlan_open,
	.attrs = vxlan_attrs,
	.mtu_bytes = vxlan_mtu_bytes,
	.outer_mtu_bytes = vxlan_outer_mtu_bytes,
	.devices = vxlan_devices,
	.needs_paths = vxlan_needs_paths,
	.want = vxlan_want,
	.update = vxlan_update,
};
