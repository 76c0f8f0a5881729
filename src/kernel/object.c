// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: kernel objects as text for logs and plans.

#include "kernel/object.h"

#include "core/strbuf.h"

static void link_text(const struct link *link, char *buf, size_t size)
{
	char mac[MAC_STR_MAX];

	(void)text_format(buf, size, "link %s %s mtu %u%s", link->name, mac_str(&link->mac, mac),
			  link->mtu_bytes, link->up ? " up" : " down");
}

static void addr_text(const struct addr *addr, char *buf, size_t size)
{
	char ip[IP_STR_MAX];

	(void)text_format(buf, size, "address %s/%u dev %u", ip_str(&addr->ip, ip), addr->len,
			  addr->ifindex);
}

static void neigh_text(const struct neigh *neigh, char *buf, size_t size)
{
	char ip[IP_STR_MAX], mac[MAC_STR_MAX];

	(void)text_format(buf, size, "neighbour %s lladdr %s dev %u", ip_str(&neigh->ip, ip),
			  mac_str(&neigh->mac, mac), neigh->ifindex);
}

static void fdb_text(const struct fdb *fdb, char *buf, size_t size)
{
	char ip[IP_STR_MAX], mac[MAC_STR_MAX];

	(void)text_format(buf, size, "fdb %s dst %s dev %u", mac_str(&fdb->mac, mac),
			  ip_str(&fdb->remote, ip), fdb->ifindex);
}

static void nexthop_text(const struct nexthop *nexthop, char *buf, size_t size)
{
	char ip[IP_STR_MAX];

	if (nexthop->other)
		(void)text_format(buf, size, "nexthop %u of another kind", nexthop->id);
	else
		(void)text_format(buf, size, "nexthop %u via %s dev %u%s", nexthop->id,
				  ip_str(&nexthop->gateway, ip), nexthop->ifindex,
				  nexthop->onlink ? " onlink" : "");
}

static void route_text(const struct route *route, char *buf, size_t size)
{
	char net[IPNET_STR_MAX], ip[IP_STR_MAX], way[96] = "";

	if (route->nexthop_id != 0)
		(void)text_format(way, sizeof(way), " nexthop %u", route->nexthop_id);
	else if (route->multipath)
		(void)text_copy(way, sizeof(way), " over several nexthops");
	else if (ip_is_set(&route->gateway) && route->ifindex != 0)
		(void)text_format(way, sizeof(way), " via %s dev %u", ip_str(&route->gateway, ip),
				  route->ifindex);
	else if (ip_is_set(&route->gateway))
		(void)text_format(way, sizeof(way), " via %s", ip_str(&route->gateway, ip));
	else if (route->ifindex != 0)
		(void)text_format(way, sizeof(way), " dev %u", route->ifindex);
	(void)text_format(buf, size, "route %s%s%s", ipnet_str(&route->dst, net), way,
			  route->onlink && route->nexthop_id == 0 ? " onlink" : "");
}

static void wg_peer_text(const struct wg_peer *peer, char *buf, size_t size)
{
	char key[WG_KEY_STR_MAX];

	(void)text_format(buf, size, "wireguard peer %s dev %u", wg_key_str(&peer->public_key, key),
			  peer->ifindex);
}

const char *kernel_object_str(const struct kernel_object *object,
			      char buf[static KERNEL_OBJECT_STR_MAX])
{
	buf[0] = '\0';
	switch (object->kind) {
	case KERNEL_LINK:
		link_text(&object->link, buf, KERNEL_OBJECT_STR_MAX);
		break;
	case KERNEL_ADDR:
		addr_text(&object->addr, buf, KERNEL_OBJECT_STR_MAX);
		break;
	case KERNEL_NEIGH:
		neigh_text(&object->neigh, buf, KERNEL_OBJECT_STR_MAX);
		break;
	case KERNEL_FDB:
		fdb_text(&object->fdb, buf, KERNEL_OBJECT_STR_MAX);
		break;
	case KERNEL_NEXTHOP:
		nexthop_text(&object->nexthop, buf, KERNEL_OBJECT_STR_MAX);
		break;
	case KERNEL_ROUTE:
		route_text(&object->route, buf, KERNEL_OBJECT_STR_MAX);
		break;
	case KERNEL_WG_PEER:
		wg_peer_text(&object->wg_peer, buf, KERNEL_OBJECT_STR_MAX);
		break;
	case KERNEL_KIND_COUNT:
		break;
	}
	return buf;
}
