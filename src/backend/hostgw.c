// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the host-gw backend: no device and no encapsulation, one route for each peer and family through the peer's public address.
//
// DOC: who is reached
//
// Only hosts on a segment of ours: a router between them would have to know the containers' subnets. Whoever is not there is told of
// with the reason, and looked at again when routes or addresses change; a peer that is there with one family only has that one.
// The config has no members of its own.
#include "backend/backend.h"

#include "backend/direct.h"

#include <errno.h>
#include <string.h>

// Peers route to what we publish, and only the interface answers on its segment.
static int check_address(const struct backend *backend, const struct ip *public_ip,
			 const struct ip *own, int family, struct err *e)
{
	char a[IP_STR_MAX], b[IP_STR_MAX];
	if (!ip_is_set(own))
		return err_set(e, -EADDRNOTAVAIL, "interface %s has no IPv%d address to be reached at",
			       backend->underlay.name, family);
	if (ip_equal(public_ip, own))
		return 0;
	return err_set(e, -EADDRNOTAVAIL,
		       "the public address %s is not that of %s, %s, which peers would have to route to: leave out --public-ip%s, choose another interface, or set Backend.Type to \"vxlan\"",
		       ip_str(public_ip, a), backend->underlay.name, ip_str(own, b),
		       family == 4 ? "" : "v6");
}

static int hostgw_open(struct backend *backend, const json_t *config,
		       const struct backend_host *host, struct err *e)
{
	int r = 0;
	(void)config, (void)host;
	if (backend->netconf.v4.enabled)
		r = check_address(backend, &backend->public_ip, &backend->underlay.ip4, 4, e);
	if (r == 0 && backend->netconf.v6.enabled)
		r = check_address(backend, &backend->public_ipv6, &backend->underlay.ip6, 6, e);
	return r;
}

static void hostgw_attrs(const struct backend *backend, struct lease_attrs *ret)
{
	(void)text_copy(ret->backend_type, sizeof(ret->backend_type), backend->ops->name);
}

static bool hostgw_needs_paths(const struct backend *backend)
{
	(void)backend;
	return true;
}

struct half {
	bool enabled;
	const struct ipnet *subnet;
	const struct ip *remote;
};

static int hostgw_want(const struct backend *backend, const struct lease *peer,
		       const struct underlay *underlay,
		       const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		       struct err *e)
{
	const struct lease_attrs *attrs = &peer->attrs;
	const struct half halves[UNDERLAY_FAMILY_COUNT] = {
		{ backend->netconf.v4.enabled, &peer->subnet.v4, &attrs->public_ip },
		{ backend->netconf.v6.enabled, &peer->subnet.v6, &attrs->public_ipv6 },
	};
	struct err first = { 0 };
	int r = backend_check_type(backend->ops->name, attrs, e);
	if (r < 0)
		return r;
	for (size_t family = 0; family < UNDERLAY_FAMILY_COUNT; family++) {
		struct err why = { 0 };
		if (!halves[family].enabled || !ipnet_is_set(halves[family].subnet))
			continue;
		r = direct_want_route(ret, halves[family].subnet, halves[family].remote, underlay,
				      &paths[family], &why);
		if (r < 0 && first.code == 0)
			first = why;
	}
	if (ret->count == 0 && first.code != 0) {
		if (e)
			*e = first;
		return first.code;
	}
	ret->path = "direct";
	ret->why = "";
	ret->missing = first;
	return 0;
}

const struct backend_ops backend_hostgw = {
	.name = "host-gw",
	.size = sizeof(struct backend),
	.open = hostgw_open,
	.attrs = hostgw_attrs,
	.needs_paths = hostgw_needs_paths,
	.want = hostgw_want,
};
