// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the auto backend: for each peer and family the cheapest way that both sides have and may use.
//
// DOC: which way
//
//   one of both is on an untrusted segment         WireGuard, or none: what others must not read is not carried otherwise
//   both are of auto, on a segment that they share direct: a route through the peer's public address
//   else                                           VXLAN
//
// A host of auto has a lease of vxlan, with its VTEP MAC, so that hosts that know vxlan only (flannel, and weft's vxlan) reach it and are
// reached by VXLAN, also on a segment that is shared: they send encapsulated, and many a host drops what comes by another way than it would
// answer by (rp_filter). What more it can the member WeftPaths of its lease says.
//
// The ways that need a device are parts: backends of their own, opened with the same config. WireGuard is one if the config says so, and then on
// all hosts, which must agree about the MTU.
#include "backend/auto.h"

#include "backend/backend.h"
#include "backend/path.h"
#include "core/mem.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum part { PART_VXLAN, PART_WIREGUARD, PART_COUNT };
static const char *const part_types[PART_COUNT] = {
	[PART_VXLAN] = "vxlan", [PART_WIREGUARD] = "wireguard"
};

struct auto_backend {
	struct backend base;
	struct backend *parts[PART_COUNT]; // NULL: the config does not want it
	bool untrusted;			   // our segment
};

static struct auto_backend *auto_of(const struct backend *backend)
{
	return CONTAINER_OF((struct backend *)(uintptr_t)backend, struct auto_backend, base);
}

// ---- the member of the lease ----

static char *member_text(const json_t *object, const char *name)
{
	const json_t *member = object ? json_member(object, name) : NULL;
	return member && !json_is_null(member) ? json_text(member) : NULL;
}

void auto_paths_free(struct auto_paths *paths)
{
	free(paths->wireguard);
	free(paths->wireguard_v6);
	*paths = (struct auto_paths){ 0 };
}

int auto_paths_read(const char *text, struct auto_paths *ret, struct err *e)
{
	_cleanup_json_ json_t *object = NULL;
	struct auto_paths paths = { 0 };
	int r = 0;
	if (text)
		r = json_read(text, strlen(text), LEASE_VALUE_MAX, &object, e);
	if (r == 0 && object && !json_is_object(object))
		r = err_set(e, -EINVAL, "it is not an object");
	if (r == 0)
		r = json_get_bool(object, "Direct", &paths.direct, e);
	if (r == 0)
		r = json_get_bool(object, "Untrusted", &paths.untrusted, e);
	if (r < 0)
		return err_wrap(e, "WeftPaths");
	// What is in them the backend wireguard judges.
	paths.wireguard = member_text(object, "WireGuard");
	paths.wireguard_v6 = member_text(object, "WireGuardV6");
	*ret = paths;
	return 0;
}

char *auto_paths_format(const struct auto_paths *paths)
{
	const char *v4 = paths->wireguard, *v6 = paths->wireguard_v6;
	return xasprintf("{\"Direct\":%s,\"Untrusted\":%s%s%s%s%s}", paths->direct ? "true" : "false",
			 paths->untrusted ? "true" : "false", v4 ? ",\"WireGuard\":" : "",
			 v4 ? v4 : "", v6 ? ",\"WireGuardV6\":" : "", v6 ? v6 : "");
}

// ---- parts ----

// The same network by another backend. Caller frees with netconf_free.
static void conf_of_part(const struct backend *backend, enum part part, const json_t *config,
			 struct netconf *ret)
{
	netconf_copy(&backend->netconf, ret);
	(void)text_copy(ret->backend_type, sizeof(ret->backend_type), part_types[part]);
	free(ret->backend);
	ret->backend = json_text(config);
}

static int open_part(struct auto_backend *backend, enum part part, const json_t *config,
		     const struct backend_host *host, struct err *e)
{
	const struct backend *base = &backend->base;
	_cleanup_netconf_ struct netconf conf = { 0 };
	conf_of_part(base, part, config, &conf);
	return backend_new(&conf, &base->underlay, &base->public_ip, &base->public_ipv6, host,
			   &backend->parts[part], e);
}

static int auto_open(struct backend *backend, const json_t *config, const struct backend_host *host,
		     struct err *e)
{
	struct auto_backend *self = auto_of(backend);
	struct backend_host host_of_parts = *host;
	host_of_parts.untrusted = false; // we see to it
	bool has_wireguard = false;
	self->untrusted = host->untrusted;
	int r = json_get_bool(config, "WireGuard", &has_wireguard, e);
	if (r == 0)
		r = open_part(self, PART_VXLAN, config, &host_of_parts, e);
	if (r == 0 && has_wireguard)
		r = open_part(self, PART_WIREGUARD, config, &host_of_parts, e);
	return r;
}

static void auto_close(struct backend *backend)
{
	for (enum part part = 0; part < PART_COUNT; part++)
		backend_free(auto_of(backend)->parts[part]);
}

static void auto_moved(struct backend *backend)
{
	struct auto_backend *self = auto_of(backend);
	for (enum part part = 0; part < PART_COUNT; part++) {
		if (!self->parts[part])
			continue; // or not opened yet
		backend_set_underlay(self->parts[part], &backend->underlay, &backend->public_ip,
				     &backend->public_ipv6);
		backend_set_subnet(self->parts[part], &backend->subnet);
	}
}

static int auto_update(struct backend *backend, const json_t *config, struct strbuf *restart,
		       struct err *e)
{
	struct auto_backend *self = auto_of(backend);
	bool has_wireguard = false;
	int r = json_get_bool(config, "WireGuard", &has_wireguard, e);
	if (r == 0 && has_wireguard != (self->parts[PART_WIREGUARD] != NULL))
		(void)strbuf_puts(restart, "Backend.WireGuard\n");
	for (enum part part = 0; r == 0 && part < PART_COUNT; part++) {
		_cleanup_netconf_ struct netconf conf = { 0 };
		if (!self->parts[part])
			continue;
		conf_of_part(backend, part, config, &conf);
		r = backend_set_netconf(self->parts[part], &conf, restart, e);
	}
	return r;
}

// Peers of the segment would send to what we publish, and only what the interface has answers there.
static bool takes_direct(const struct backend *backend)
{
	const struct netconf *conf = &backend->netconf;
	return (!conf->v4.enabled || ip_equal(&backend->public_ip, &backend->underlay.ip4)) &&
	       (!conf->v6.enabled || ip_equal(&backend->public_ipv6, &backend->underlay.ip6));
}

// What an old host reads is vxlan's.
static void auto_attrs(const struct backend *backend, struct lease_attrs *ret)
{
	const struct auto_backend *self = auto_of(backend);
	struct auto_paths own = { .direct = takes_direct(backend), .untrusted = self->untrusted };
	struct lease_attrs wireguard = { 0 };
	backend_attrs(self->parts[PART_VXLAN], ret);
	if (self->parts[PART_WIREGUARD])
		backend_attrs(self->parts[PART_WIREGUARD], &wireguard);
	own.wireguard = TAKE_PTR(wireguard.backend_data);
	own.wireguard_v6 = TAKE_PTR(wireguard.backend_v6_data);
	ret->paths = auto_paths_format(&own);
	lease_attrs_free(&wireguard);
	auto_paths_free(&own);
}

// Containers get one MTU, which must fit every way.
static uint32_t auto_mtu_bytes(const struct backend *backend)
{
	uint32_t smallest = backend->underlay.mtu_bytes;
	for (enum part part = 0; part < PART_COUNT; part++) {
		if (!auto_of(backend)->parts[part])
			continue;
		uint32_t mtu_bytes = backend_mtu_bytes(auto_of(backend)->parts[part]);
		if (mtu_bytes < smallest)
			smallest = mtu_bytes;
	}
	return smallest;
}

static uint32_t auto_outer_mtu_bytes(const struct backend *backend)
{
	uint32_t largest = 0;
	for (enum part part = 0; part < PART_COUNT; part++) {
		if (!auto_of(backend)->parts[part])
			continue;
		uint32_t mtu_bytes = backend_outer_mtu_bytes(auto_of(backend)->parts[part]);
		if (mtu_bytes > largest)
			largest = mtu_bytes;
	}
	return largest;
}

// Those of the parts, in the order of the parts.
static void auto_devices(const struct backend *backend, struct wanted_devices *ret)
{
	for (enum part part = 0; part < PART_COUNT; part++) {
		struct wanted_devices of_part;
		if (!auto_of(backend)->parts[part])
			continue;
		backend_devices(auto_of(backend)->parts[part], &of_part);
		assert(ret->count + of_part.count <= WANTED_DEVICES_MAX);
		memcpy(ret->devices + ret->count, of_part.devices,
		       of_part.count * sizeof(*of_part.devices));
		ret->count += of_part.count;
	}
}

static bool auto_needs_paths(const struct backend *backend)
{
	(void)backend;
	return true;
}

// ---- peers ----

// The part's devices come first in what it is shown.
static struct underlay underlay_of_part(const struct auto_backend *self, enum part which,
					const struct underlay *underlay)
{
	struct underlay ret = *underlay;
	size_t skipped = 0;
	for (enum part part = 0; part < which; part++) {
		struct wanted_devices of_part;
		if (!self->parts[part])
			continue;
		backend_devices(self->parts[part], &of_part);
		skipped += of_part.count;
	}
	memset(ret.device_ifindex, 0, sizeof(ret.device_ifindex));
	memcpy(ret.device_ifindex, underlay->device_ifindex + skipped,
	       (WANTED_DEVICES_MAX - skipped) * sizeof(*ret.device_ifindex));
	return ret;
}

struct choice {
	const struct auto_backend *self;
	const struct underlay *underlay;
	const struct underlay_path *paths;
	struct auto_paths peer;
};

// why: not a cheaper one; the part may know better.
static int want_part(const struct choice *choice, enum part part, const struct lease *half,
		     const char *why, struct wanted *ret, struct err *e)
{
	const struct auto_backend *self = choice->self;
	struct underlay of_part = underlay_of_part(self, part, choice->underlay);
	struct wanted wanted = { .path = "", .why = "" };
	int r = backend_want(self->parts[part], half, &of_part, choice->paths, &wanted, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < wanted.count; i++)
		*wanted_add(ret, wanted.objects[i].kind) = wanted.objects[i];
	path_note(ret, wanted.path, *wanted.why ? wanted.why : why);
	return 0;
}

static int want_family(const struct choice *choice, size_t family, const struct lease *half,
		       struct wanted *ret, struct err *e)
{
	const struct lease_attrs *attrs = &half->attrs;
	bool is_v4 = family == UNDERLAY_V4;
	const struct ipnet *subnet = is_v4 ? &half->subnet.v4 : &half->subnet.v6;
	const struct ip *remote = is_v4 ? &attrs->public_ip : &attrs->public_ipv6;
	const char *why = "its host takes no other way than vxlan";
	int r = direct_check_remote(remote, is_v4 ? 4 : 6, e);
	if (r < 0)
		return r;
	if (choice->peer.direct && path_try_direct(ret, subnet, remote, &choice->paths[family], &why))
		return 0;
	return want_part(choice, PART_VXLAN, half, why, ret, e);
}

static int want_families(const struct choice *choice, const struct lease *peer, struct wanted *ret,
			 struct err *e)
{
	const struct netconf *conf = &choice->self->base.netconf;
	const bool has[UNDERLAY_FAMILY_COUNT] = {
		conf->v4.enabled && ipnet_is_set(&peer->subnet.v4),
		conf->v6.enabled && ipnet_is_set(&peer->subnet.v6),
	};
	for (size_t family = 0; family < UNDERLAY_FAMILY_COUNT; family++) {
		struct lease half = *peer; // borrows all
		if (!has[family])
			continue;
		if (family == UNDERLAY_V4)
			half.subnet.v6 = (struct ipnet){ 0 };
		else
			half.subnet.v4 = (struct ipnet){ 0 };
		int r = want_family(choice, family, &half, ret, e);
		if (r < 0)
			return r;
	}
	return 0;
}

// All families at once, for a WireGuard device may carry both. The route to the whole network leads there, so what has no way of its own
// is dropped there, too.
static int want_wireguard(const struct choice *choice, const struct lease *peer, struct wanted *ret,
			  struct err *e)
{
	const char *who = choice->peer.untrusted ? "its" : "this";
	struct lease secure = *peer; // borrows all
	if (!choice->self->parts[PART_WIREGUARD])
		return err_set(e, -EOPNOTSUPP,
			       "%s host is on an untrusted segment and needs wireguard: set Backend.WireGuard to true",
			       who);
	if (!choice->peer.wireguard && !choice->peer.wireguard_v6)
		return err_set(e, -EOPNOTSUPP,
			       "%s host is on an untrusted segment and needs wireguard, which its lease does not offer",
			       who);
	(void)text_copy(secure.attrs.backend_type, sizeof(secure.attrs.backend_type),
			part_types[PART_WIREGUARD]);
	secure.attrs.backend_data = choice->peer.wireguard;
	secure.attrs.backend_v6_data = choice->peer.wireguard_v6;
	return want_part(choice, PART_WIREGUARD, &secure,
			 choice->peer.untrusted ? "its host is on an untrusted segment"
						: "this host is on an untrusted segment",
			 ret, e);
}

static int auto_want(const struct backend *backend, const struct lease *peer,
		     const struct underlay *underlay,
		     const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		     struct err *e)
{
	const struct lease_attrs *attrs = &peer->attrs;
	struct choice choice = { .self = auto_of(backend), .underlay = underlay, .paths = paths };
	if (backend_peer_is_awaited(peer))
		return want_part(&choice, PART_VXLAN, peer, "", ret, e);
	if (strcmp(attrs->backend_type, part_types[PART_VXLAN]) != 0)
		return err_set(e, -EPROTONOSUPPORT,
			       "its backend is \"%s\", and auto reaches those of vxlan and auto",
			       attrs->backend_type);
	int r = auto_paths_read(attrs->paths, &choice.peer, e);
	if (r < 0)
		return r;
	r = choice.peer.untrusted || choice.self->untrusted ? want_wireguard(&choice, peer, ret, e)
							    : want_families(&choice, peer, ret, e);
	auto_paths_free(&choice.peer);
	return r;
}

const struct backend_ops backend_auto = {
	.name = "auto",
	.size = sizeof(struct auto_backend),
	.is_for_untrusted = true,
	.open = auto_open,
	.attrs = auto_attrs,
	.mtu_bytes = auto_mtu_bytes,
	.outer_mtu_bytes = auto_outer_mtu_bytes,
	.devices = auto_devices,
	.needs_paths = auto_needs_paths,
	.want = auto_want,
	.update = auto_update,
	.moved = auto_moved,
	.close = auto_close,
};
