// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: telling our own lease from others.
//
// DOC: whose lease is it
//
// A lease is ours if it is what we wrote ourselves (our session, or unchanged since), or if two of three agree with this host: the public
// address, the backend's data (VTEP MAC or key), the subnet that this host's disk remembers (subnet.env or the cached state). One alone is
// not enough: copies of one machine image have one MAC, and a second host may have been given our address by mistake. Nor does the disk
// count where it remembers that we wrote something else there.
//
// What is left are leases with our public address and without any other sign: a live host's, or what a predecessor on this host left. A
// live weft renews every ten minutes (a third of the TTL if that is shorter), so a lease whose remaining time is below that by more than the
// jitter has no live weft behind it, and is taken over, as flannel would at once. A fresher one is left alone: we stay up without a lease,
// name it, and look again.
#include "fabric/own_lease.h"

#include <errno.h>
#include <string.h>

const struct ip *own_address(const struct fabric *fabric)
{
	return fabric->conf.v4.enabled ? &fabric->attrs.public_ip : &fabric->attrs.public_ipv6;
}

bool own_has_address(const struct fabric *fabric, const struct lease *lease)
{
	const struct ip *ip = own_address(fabric);
	return ip_is_set(ip) && ip_equal(ip, fabric->conf.v4.enabled ? &lease->attrs.public_ip
								     : &lease->attrs.public_ipv6);
}

// Some backends have no identity of their own: their data says nothing.
static bool has_our_data(const struct fabric *fabric, const struct lease *lease)
{
	return (fabric->attrs.backend_data || fabric->attrs.backend_v6_data) &&
	       lease_attrs_same_data(&fabric->attrs, &lease->attrs);
}

static bool is_at_our_subnet(const struct fabric *fabric, const struct lease *lease)
{
	return fabric->has_lease && subnet_equal(&fabric->lease.subnet, &lease->subnet);
}

static bool is_what_we_wrote(const struct fabric *fabric, const struct lease *lease)
{
	const struct lease *last = &fabric->lease;

	if (!is_at_our_subnet(fabric, lease))
		return false;
	return (last->session != 0 && last->session == lease->session) ||
	       (fabric->was_held && last->mod_revision == lease->mod_revision &&
		lease_attrs_equal(&last->attrs, &lease->attrs));
}

bool own_is_on_disk(const struct fabric *fabric, const struct lease *lease)
{
	if (fabric->was_held || !fabric->has_previous ||
	    !subnet_equal(&fabric->previous, &lease->subnet))
		return false;
	return !is_at_our_subnet(fabric, lease) ||
	       lease_attrs_same_data(&fabric->lease.attrs, &lease->attrs);
}

bool own_is_ours(const struct fabric *fabric, const struct lease *lease)
{
	bool address = own_has_address(fabric, lease);
	bool data = has_our_data(fabric, lease);
	bool disk = own_is_on_disk(fabric, lease);
	// Without data the address must do at our own key: a flannel-like rewrite of it.
	bool rewrite = address && is_at_our_subnet(fabric, lease) &&
		       lease_attrs_same_data(&fabric->attrs, &lease->attrs);

	return is_what_we_wrote(fabric, lease) || (address && data) || (data && disk) ||
	       (address && disk) || rewrite;
}

void own_describe_other(const struct lease *other, struct err *ret, const char *what)
{
	char subnet[SUBNET_STR_MAX], ip[IP_STR_MAX];
	const struct lease_attrs *attrs = &other->attrs;
	const char *data = attrs->backend_data	    ? attrs->backend_data
			   : attrs->backend_v6_data ? attrs->backend_v6_data
						    : "no data";
	err_set(ret, -EADDRINUSE, "%s: lease %s, public address %s, %.80s", what,
		subnet_str(&other->subnet, subnet),
		ip_str(ip_is_set(&attrs->public_ip) ? &attrs->public_ip : &attrs->public_ipv6, ip),
		data);
}
