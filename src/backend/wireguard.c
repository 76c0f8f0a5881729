// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the wireguard backend, store- and wire-compatible with flannel's.
//
// DOC: what a peer is in the kernel
//
// One route sends the whole network into the device; which peer a packet is for the device itself tells by the allowed addresses, which are
// the peer's subnets and nothing else. In mode "separate" each family has a device of its own, and travels by its own; in the others one device
// carries both families, and the mode says by which addresses: "ipv4", "ipv6", or "auto", for each peer the one that is likely to work. A host
// has one key for all of its devices.
#include "backend/backend.h"

#include "backend/direct.h"

#include <errno.h>
#include <string.h>

#define DEVICE_V4 "flannel-wg"
#define DEVICE_V6 "flannel-wg-v6"
// Outer IPv6 40, UDP 8, type 4, index 4, counter 8, tag 16: flannel takes it for IPv4 too. COMPAT
#define OVERHEAD_BYTES 80
#define PORT_DEFAULT 51820
#define PORT_V6_DEFAULT 51821
#define MTU_MIN_V4_BYTES 576  // RFC 791: what every host must take
#define MTU_MIN_V6_BYTES 1280 // RFC 8200 section 5

enum mode { MODE_SEPARATE, MODE_AUTO, MODE_IPV4, MODE_IPV6, MODE_COUNT };
static const char *const mode_names[MODE_COUNT] = { "separate", "auto", "ipv4", "ipv6" };

struct config {
	enum mode mode;
	int64_t ports[UNDERLAY_FAMILY_COUNT];
	int64_t keepalive_s;
	int64_t mtu_bytes; // of the underlay as configured; 0: the interface's
	struct wg_key preshared_key;
};

struct wireguard {
	struct backend base;
	struct config config;
	struct wg_key public_key;
	// Of the devices; in a mode with one only the first counts.
	struct wg_settings settings[UNDERLAY_FAMILY_COUNT];
};

static const struct wireguard *wireguard_of(const struct backend *backend)
{
	return (const struct wireguard *)backend;
}

// ---- the config ----

static int read_mode(const json_t *config, enum mode *ret, struct err *e)
{
	const char *text = NULL;
	int r = json_get_string(config, "Mode", &text, e);
	if (r < 0 || !text || !*text)
		return r;
	for (size_t i = 0; i < MODE_COUNT; i++) {
		if (strcmp(text, mode_names[i]) == 0) {
			*ret = (enum mode)i;
			return 0;
		}
	}
	return err_set(e, -EINVAL,
		       "Mode is \"%.40s\"; there are \"separate\", \"auto\", \"ipv4\" and \"ipv6\"",
		       text);
}

// Its value is not shown.
static int read_preshared_key(const json_t *config, struct wg_key *ret, struct err *e)
{
	const json_t *member = json_member(config, "PSK");
	const char *text = json_string_value(member);
	if (!member || json_is_null(member) || (text && !*text))
		return 0;
	if (!text || wg_key_parse(text, ret) < 0)
		return err_set(e, -EINVAL,
			       "PSK is no key: 32 bytes in base64, as 'wg genpsk' makes them");
	return 0;
}

static int config_read(const json_t *object, struct config *ret, struct err *e)
{
	struct config config = { .ports = { PORT_DEFAULT, PORT_V6_DEFAULT } };
	int r = json_get_int(object, "ListenPort", 1, 65535, &config.ports[UNDERLAY_V4], e);
	if (r == 0)
		r = json_get_int(object, "ListenPortV6", 1, 65535, &config.ports[UNDERLAY_V6], e);
	if (r == 0)
		r = json_get_int(object, "PersistentKeepaliveInterval", 0, 65535,
				 &config.keepalive_s, e);
	if (r == 0)
		r = json_get_int(object, "MTU", 0, 65535, &config.mtu_bytes, e);
	if (r == 0)
		r = read_mode(object, &config.mode, e);
	if (r == 0)
		r = read_preshared_key(object, &config.preshared_key, e);
	if (r == 0)
		*ret = config;
	explicit_bzero(&config, sizeof(config));
	return r;
}

static uint32_t outer_mtu(const struct config *config, const struct underlay *underlay)
{
	return backend_lowered_mtu_bytes(underlay, config->mtu_bytes);
}

static uint32_t inner_mtu(const struct config *config, const struct underlay *underlay)
{
	uint32_t outer = outer_mtu(config, underlay);
	return outer > OVERHEAD_BYTES ? outer - OVERHEAD_BYTES : 0;
}

static int check_config(const struct backend *backend, const struct config *config, struct err *e)
{
	uint32_t smallest = backend->netconf.v6.enabled ? MTU_MIN_V6_BYTES : MTU_MIN_V4_BYTES;
	uint32_t mtu_bytes = inner_mtu(config, &backend->underlay);
	bool uses_both = config->mode == MODE_SEPARATE && backend->netconf.v4.enabled &&
			 backend->netconf.v6.enabled;
	if (uses_both && config->ports[UNDERLAY_V4] == config->ports[UNDERLAY_V6])
		return err_set(e, -EINVAL,
			       "ListenPort and ListenPortV6 are both %lld: in mode \"separate\" each device needs its own",
			       (long long)config->ports[UNDERLAY_V4]);
	if (mtu_bytes < smallest)
		return err_set(e, -EINVAL, "MTU %u leaves %u for containers, which need %u",
			       outer_mtu(config, &backend->underlay), mtu_bytes, smallest);
	return 0;
}

// ---- devices ----

// Do packets of the mode travel by this family's addresses?
static bool needs_address(const struct backend *backend, enum mode mode, size_t family)
{
	if (mode == MODE_SEPARATE)
		return backend_has_family(backend, family);
	return (mode == MODE_IPV4 && family == UNDERLAY_V4) ||
	       (mode == MODE_IPV6 && family == UNDERLAY_V6);
}

static int check_addresses(const struct backend *backend, enum mode mode, struct err *e)
{
	const struct ip *ips[UNDERLAY_FAMILY_COUNT] = { &backend->public_ip, &backend->public_ipv6 };
	for (size_t family = 0; family < UNDERLAY_FAMILY_COUNT; family++)
		if (needs_address(backend, mode, family) && !ip_is_set(ips[family]))
			return err_set(e, -EADDRNOTAVAIL,
				       "interface %s has no IPv%d address to send from",
				       backend->underlay.name, family == UNDERLAY_V4 ? 4 : 6);
	return 0;
}

static void take_config(struct wireguard *wireguard, const struct config *config)
{
	wireguard->config = *config;
	for (size_t family = 0; family < UNDERLAY_FAMILY_COUNT; family++) {
		wireguard->settings[family].preshared_key = config->preshared_key;
		wireguard->settings[family].listen_port = (uint16_t)config->ports[family];
	}
}

static int wireguard_open(struct backend *backend, const json_t *object,
			  const struct backend_host *host, struct err *e)
{
	struct wireguard *wireguard = (struct wireguard *)backend;
	struct config config = { 0 };
	int r = config_read(object, &config, e);
	if (r == 0)
		r = check_config(backend, &config, e);
	if (r == 0)
		r = check_addresses(backend, config.mode, e);
	if (r == 0)
		r = host->wg_key(host->arg, &wireguard->settings[UNDERLAY_V4].private_key,
				 &wireguard->public_key, e);
	if (r == 0) {
		wireguard->settings[UNDERLAY_V6] = wireguard->settings[UNDERLAY_V4];
		take_config(wireguard, &config);
	}
	explicit_bzero(&config, sizeof(config));
	return r;
}

static void wireguard_set_key(struct backend *backend, const struct wg_key *private_key,
			      const struct wg_key *public_key)
{
	struct wireguard *wireguard = (struct wireguard *)backend;
	wireguard->public_key = *public_key;
	for (size_t family = 0; family < UNDERLAY_FAMILY_COUNT; family++)
		wireguard->settings[family].private_key = *private_key;
}

static void wireguard_close(struct backend *backend)
{
	struct wireguard *wireguard = (struct wireguard *)backend;
	explicit_bzero(wireguard->settings, sizeof(wireguard->settings));
	explicit_bzero(&wireguard->config, sizeof(wireguard->config));
}

// Which of the settings, and so of the ports, the family's packets are received by.
static size_t device_of(const struct wireguard *wireguard, size_t family)
{
	return wireguard->config.mode == MODE_SEPARATE ? family : UNDERLAY_V4;
}

static char *own_data(const struct wireguard *wireguard, size_t family)
{
	char key[WG_KEY_STR_MAX];
	if (!backend_has_family(&wireguard->base, family))
		return NULL;
	return xasprintf("{\"PublicKey\":\"%s\",\"Port\":%u}", wg_key_str(&wireguard->public_key, key),
			 wireguard->settings[device_of(wireguard, family)].listen_port);
}

static void wireguard_attrs(const struct backend *backend, struct lease_attrs *ret)
{
	(void)text_copy(ret->backend_type, sizeof(ret->backend_type), backend->ops->name);
	ret->backend_data = own_data(wireguard_of(backend), UNDERLAY_V4);
	ret->backend_v6_data = own_data(wireguard_of(backend), UNDERLAY_V6);
}

static uint32_t wireguard_outer_mtu_bytes(const struct backend *backend)
{
	return outer_mtu(&wireguard_of(backend)->config, &backend->underlay);
}

static uint32_t wireguard_mtu_bytes(const struct backend *backend)
{
	return inner_mtu(&wireguard_of(backend)->config, &backend->underlay);
}

static void wireguard_devices(const struct backend *backend, struct wanted_devices *ret)
{
	const struct wireguard *wireguard = wireguard_of(backend);
	for (size_t family = 0; family < UNDERLAY_FAMILY_COUNT; family++) {
		if (!backend_has_family(backend, family))
			continue;
		bool is_v4 = family == UNDERLAY_V4;
		size_t settings = device_of(wireguard, family);
		const struct ip *address = is_v4 ? &backend->subnet.v4.addr : &backend->subnet.v6.addr;
		struct wanted_device *device = &ret->devices[ret->count++];
		struct link *link = &device->link;
		(void)text_copy(link->name, sizeof(link->name),
				settings == UNDERLAY_V4 ? DEVICE_V4 : DEVICE_V6);
		(void)text_copy(link->kind, sizeof(link->kind), "wireguard");
		link->mtu_bytes = wireguard_mtu_bytes(backend);
		link->up = true;
		device->wg = &wireguard->settings[settings];
		device->address = *address;
		device->address_len = (uint8_t)ip_width_bits(address);
		device->network = is_v4 ? backend->netconf.v4.network : backend->netconf.v6.network;
		device->routes_network = true;
	}
}

// ---- peers ----

struct peer_data {
	struct wg_key public_key;
	int64_t port; // 0: not told, as by flannel before 0.26.6
};

static int read_data(const struct wireguard *wireguard, const struct lease_attrs *attrs,
		     size_t family, struct peer_data *ret, struct err *e)
{
	const char *member = family == UNDERLAY_V4 ? "BackendData" : "BackendV6Data";
	const char *data = family == UNDERLAY_V4 ? attrs->backend_data : attrs->backend_v6_data;
	const char *text = NULL;
	if (!data)
		return err_set(e, -EINVAL, "its lease has no %s", member);
	_cleanup_json_ json_t *object = NULL;
	struct peer_data parsed = { 0 };
	int r = json_read(data, strlen(data), LEASE_VALUE_MAX, &object, e);
	if (r == 0)
		r = json_get_string(object, "PublicKey", &text, e);
	if (r == 0)
		r = json_get_int(object, "Port", 0, 65535, &parsed.port, e);
	if (r < 0)
		return err_wrap(e, "%s", member);
	if (!text || wg_key_parse(text, &parsed.public_key) < 0 || !wg_key_is_set(&parsed.public_key))
		return err_set(e, -EINVAL, "%s.PublicKey is \"%.44s\", not a key", member,
			       text ? text : "");
	if (wg_key_equal(&parsed.public_key, &wireguard->public_key))
		return err_set(e, -EINVAL, "%s.PublicKey %s is our own", member, text);
	*ret = parsed;
	return 0;
}

static void set_endpoint(const struct wireguard *wireguard, const struct ip *remote,
			 size_t settings, int64_t port, struct wg_peer *peer)
{
	peer->endpoint = *remote;
	peer->port = port != 0 ? (uint16_t)port : wireguard->settings[settings].listen_port;
	peer->keepalive_s = (uint16_t)wireguard->config.keepalive_s;
}

// Mode "separate": each family by its own device.
static int want_separate(const struct wireguard *wireguard, const struct lease *lease,
			 const struct underlay *underlay, struct wanted *ret, struct err *e)
{
	const struct ipnet *subnets[UNDERLAY_FAMILY_COUNT] = { &lease->subnet.v4, &lease->subnet.v6 };
	const struct ip *remotes[UNDERLAY_FAMILY_COUNT] = { &lease->attrs.public_ip,
							    &lease->attrs.public_ipv6 };
	size_t device = 0;
	for (size_t family = 0; family < UNDERLAY_FAMILY_COUNT; family++) {
		struct peer_data data = { 0 };
		if (!backend_has_family(&wireguard->base, family))
			continue;
		struct wg_peer peer = { .ifindex = underlay->device_ifindex[device++] };
		if (!ipnet_is_set(subnets[family]))
			continue;
		int r = direct_check_remote(remotes[family], family == UNDERLAY_V4 ? 4 : 6, e);
		if (r == 0)
			r = read_data(wireguard, &lease->attrs, family, &data, e);
		if (r < 0)
			return r;
		peer.public_key = data.public_key;
		set_endpoint(wireguard, remotes[family], family, data.port, &peer);
		wg_peer_allow(&peer, subnets[family]);
		wanted_add_wg_peer(ret, &peer);
	}
	return 0;
}

// COMPAT: what flannel takes for private is RFC 1918 and fc00::/7, and nothing else.
static bool is_private(const struct ip *ip)
{
	if (ip->family == AF_INET6)
		return (ip->bytes[0] & 0xfe) == 0xfc;
	return ip->bytes[0] == 10 || (ip->bytes[0] == 172 && (ip->bytes[1] & 0xf0) == 16) ||
	       (ip->bytes[0] == 192 && ip->bytes[1] == 168);
}

// The family of the address that a peer is likely to be reached by.
static size_t choose_family(const struct wireguard *wireguard, const struct underlay *underlay,
			    const struct lease_attrs *attrs)
{
	const struct ip *v4 = &attrs->public_ip, *v6 = &attrs->public_ipv6;
	if (wireguard->config.mode != MODE_AUTO)
		return wireguard->config.mode == MODE_IPV6 ? UNDERLAY_V6 : UNDERLAY_V4;
	if (!ip_is_set(v6) || !ip_is_set(v4))
		return ip_is_set(v6) ? UNDERLAY_V6 : UNDERLAY_V4;
	if (!is_private(v4) && ip_is_set(&underlay->ip4))
		return UNDERLAY_V4;
	return !is_private(v6) && ip_is_set(&underlay->ip6) && !is_private(&underlay->ip6)
		       ? UNDERLAY_V6
		       : UNDERLAY_V4;
}

static int want_single(const struct wireguard *wireguard, const struct lease *lease,
		       const struct underlay *underlay, struct wanted *ret, struct err *e)
{
	const struct backend *base = &wireguard->base;
	bool has_v4 = base->netconf.v4.enabled && ipnet_is_set(&lease->subnet.v4),
	     has_v6 = base->netconf.v6.enabled && ipnet_is_set(&lease->subnet.v6);
	size_t family = choose_family(wireguard, underlay, &lease->attrs);
	const struct ip *remote = family == UNDERLAY_V4 ? &lease->attrs.public_ip
							: &lease->attrs.public_ipv6;
	struct wg_peer peer = { .ifindex = underlay->device_ifindex[0] };
	struct peer_data data = { 0 };
	if (!has_v4 && !has_v6)
		return 0;
	int r = direct_check_remote(remote, family == UNDERLAY_V4 ? 4 : 6, e);
	// Its only key is in both.
	if (r == 0)
		r = read_data(wireguard, &lease->attrs, has_v4 ? UNDERLAY_V4 : UNDERLAY_V6, &data, e);
	if (r < 0)
		return r;
	peer.public_key = data.public_key;
	set_endpoint(wireguard, remote, UNDERLAY_V4, data.port, &peer);
	if (has_v4)
		wg_peer_allow(&peer, &lease->subnet.v4);
	if (has_v6)
		wg_peer_allow(&peer, &lease->subnet.v6);
	wanted_add_wg_peer(ret, &peer);
	ret->why = wireguard->config.mode != MODE_AUTO ? ""
		   : family == UNDERLAY_V4	       ? "by IPv4"
						       : "by IPv6";
	return 0;
}

static int wireguard_want(const struct backend *backend, const struct lease *peer,
			  const struct underlay *underlay,
			  const struct underlay_path paths[UNDERLAY_FAMILY_COUNT],
			  struct wanted *ret, struct err *e)
{
	const struct wireguard *wireguard = wireguard_of(backend);
	(void)paths;
	if (backend_awaits_peer(peer, ret))
		return 0;
	int r = backend_check_type(backend->ops->name, &peer->attrs, e);
	if (r < 0)
		return r;
	ret->path = backend->ops->name;
	return wireguard->config.mode == MODE_SEPARATE
		       ? want_separate(wireguard, peer, underlay, ret, e)
		       : want_single(wireguard, peer, underlay, ret, e);
}

static int wireguard_update(struct backend *backend, const json_t *object, struct strbuf *restart,
			    struct err *e)
{
	struct wireguard *wireguard = (struct wireguard *)backend;
	const struct config *have = &wireguard->config;
	struct config now = { 0 };
	int r = config_read(object, &now, e);
	if (r == 0)
		r = check_config(backend, &now, e);
	if (r < 0) {
		explicit_bzero(&now, sizeof(now));
		return r;
	}
	if (now.mode != have->mode)
		(void)strbuf_puts(restart, "Backend.Mode\n");
	if (now.ports[UNDERLAY_V4] != have->ports[UNDERLAY_V4])
		(void)strbuf_puts(restart, "Backend.ListenPort\n");
	if (now.ports[UNDERLAY_V6] != have->ports[UNDERLAY_V6])
		(void)strbuf_puts(restart, "Backend.ListenPortV6\n");
	now.mode = have->mode;
	memcpy(now.ports, have->ports, sizeof(now.ports));
	take_config(wireguard, &now);
	explicit_bzero(&now, sizeof(now));
	return 0;
}

const struct backend_ops backend_wireguard = {
	.name = "wireguard",
	.size = sizeof(struct wireguard),
	.is_for_untrusted = true,
	.open = wireguard_open,
	.attrs = wireguard_attrs,
	.mtu_bytes = wireguard_mtu_bytes,
	.outer_mtu_bytes = wireguard_outer_mtu_bytes,
	.devices = wireguard_devices,
	.want = wireguard_want,
	.update = wireguard_update,
	.set_wg_key = wireguard_set_key,
	.close = wireguard_close,
};
