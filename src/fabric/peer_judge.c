// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the rules that a lease is held against.
#include "fabric/peer_table.h"

#include "core/strbuf.h"

#include <string.h>

static const char *judge_family(const struct netconf_family *family, const struct ipnet *net,
				const char *name, char *buf, size_t size)
{
	char a[IPNET_STR_MAX], b[IPNET_STR_MAX];
	if (!family->enabled) {
		if (!ipnet_is_set(net))
			return NULL;
		(void)text_format(buf, size, "it has an %s subnet, the network has none", name);
		return buf;
	}
	if (!ipnet_is_set(net)) {
		(void)text_format(buf, size, "it has no %s subnet", name);
		return buf;
	}
	if (net->len == 0 || !ipnet_contains_net(&family->network, net) ||
	    net->len <= family->network.len) {
		(void)text_format(buf, size, "subnet %s is not inside the network %s",
				  ipnet_str(net, a), ipnet_str(&family->network, b));
		return buf;
	}
	return NULL;
}

static const char *judge_address(bool needed, const struct ip *ip, const char *name, char *buf,
				 size_t size)
{
	char text[IP_STR_MAX];
	if (!needed || ip_is_usable_endpoint(ip))
		return NULL;
	(void)text_format(buf, size, "%s is %s: packets cannot be sent there", name, ip_str(ip, text));
	return buf;
}

// The data of these types is an identity: no two hosts can work with the same.
static bool has_our_identity(const struct lease_attrs *attrs, const struct lease_attrs *others)
{
	return strcmp(attrs->backend_type, others->backend_type) == 0 &&
	       (strcmp(attrs->backend_type, "vxlan") == 0 ||
		strcmp(attrs->backend_type, "wireguard") == 0) &&
	       ((attrs->backend_data && others->backend_data &&
		 strcmp(attrs->backend_data, others->backend_data) == 0) ||
		(attrs->backend_v6_data && others->backend_v6_data &&
		 strcmp(attrs->backend_v6_data, others->backend_v6_data) == 0));
}

static const char *judge_identity(const struct subnet *own, const struct lease_attrs *attrs,
				  const struct lease *lease, char *buf, size_t size)
{
	char a[SUBNET_STR_MAX], ip[IP_STR_MAX];
	if (own && subnet_overlaps(own, &lease->subnet)) {
		(void)text_format(buf, size, "it overlaps our own subnet %s", subnet_str(own, a));
		return buf;
	}
	const struct ip *clash = NULL;
	if (attrs && ip_is_set(&attrs->public_ip) &&
	    ip_equal(&attrs->public_ip, &lease->attrs.public_ip))
		clash = &attrs->public_ip;
	else if (attrs && ip_is_set(&attrs->public_ipv6) &&
		 ip_equal(&attrs->public_ipv6, &lease->attrs.public_ipv6))
		clash = &attrs->public_ipv6;
	if (clash) {
		(void)text_format(buf, size, "its public address %s is our own", ip_str(clash, ip));
		return buf;
	}
	if (attrs && has_our_identity(attrs, &lease->attrs)) {
		(void)text_format(buf, size,
				  "its MAC address or key is our own: is one of us a copy of the other?");
		return buf;
	}
	return NULL;
}

const char *peer_judge(const struct netconf *conf, const struct subnet *own,
		       const struct lease_attrs *own_attrs, const struct lease *lease, char *buf,
		       size_t size)
{
	const char *why = judge_family(&conf->v4, &lease->subnet.v4, "IPv4", buf, size);
	// COMPAT: on a dual-stack network a host without IPv6 is still a peer for IPv4.
	if (!why && !(conf->v4.enabled && conf->v6.enabled && !ipnet_is_set(&lease->subnet.v6)))
		why = judge_family(&conf->v6, &lease->subnet.v6, "IPv6", buf, size);
	if (!why)
		why = judge_address(conf->v4.enabled, &lease->attrs.public_ip, "PublicIP", buf, size);
	if (!why)
		why = judge_address(ipnet_is_set(&lease->subnet.v6), &lease->attrs.public_ipv6,
				    "PublicIPv6", buf, size);
	return why ? why : judge_identity(own, own_attrs, lease, buf, size);
}
