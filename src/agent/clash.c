// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what two networks of one host cannot both have: a device, a VNI, a UDP port, an address.
#include "agent/agent_internal.h"

#include <errno.h>
#include <string.h>

static int refuse(const struct network *network, const struct network *other, struct err *e,
		  const char *what, const char *remedy)
{
	return err_set(e, -EEXIST, "network %s: %s is network %s's on this host: %s", network->name,
		       what, other->name, remedy);
}

// Devices of one kind share a port as long as the kernel can tell their packets apart.
static bool can_share_port(const struct link *a, const struct link *b)
{
	return strcmp(a->kind, "vxlan") == 0 && strcmp(b->kind, "vxlan") == 0 &&
	       a->vxlan.gbp == b->vxlan.gbp;
}

static int check_device(const struct network *network, const struct link *link,
			const struct network *other, const struct link *has, struct err *e)
{
	char what[64];
	bool are_vxlan = strcmp(link->kind, "vxlan") == 0 && strcmp(has->kind, "vxlan") == 0;
	if (are_vxlan && link->vxlan.vni == has->vxlan.vni) {
		(void)text_format(what, sizeof(what), "VNI %u", link->vxlan.vni);
		return refuse(network, other, e, what, "choose another Backend.VNI");
	}
	if (strcmp(link->name, has->name) == 0) {
		(void)text_format(what, sizeof(what), "device %s", link->name);
		return refuse(network, other, e, what,
			      are_vxlan ? "choose another Backend.VNI" : "choose another Backend.Type");
	}
	if (link->vxlan.port != 0 && link->vxlan.port == has->vxlan.port &&
	    !can_share_port(link, has)) {
		(void)text_format(what, sizeof(what), "UDP port %u", link->vxlan.port);
		return refuse(network, other, e, what, "choose another Backend.Port");
	}
	return 0;
}

static int check_devices(const struct network *network, const struct network *other, struct err *e)
{
	struct wanted_devices wanted, has;
	int r = 0;
	backend_devices(network->backend, &wanted);
	backend_devices(other->backend, &has);
	for (size_t i = 0; i < wanted.count; i++)
		for (size_t j = 0; r == 0 && j < has.count; j++)
			r = check_device(network, &wanted.devices[i].link, other,
					 &has.devices[j].link, e);
	return r;
}

static int check_networks(const struct network *network, const struct network *other, struct err *e)
{
	const struct netconf *wanted = backend_netconf(network->backend),
			     *has = backend_netconf(other->backend);
	const struct ipnet *pairs[][2] = { { &wanted->v4.network, &has->v4.network },
					   { &wanted->v6.network, &has->v6.network } };
	char own[IPNET_STR_MAX], others[IPNET_STR_MAX];
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		if (ipnet_is_set(pairs[i][0]) && ipnet_is_set(pairs[i][1]) &&
		    ipnet_overlaps(pairs[i][0], pairs[i][1]))
			return err_set(e, -EEXIST,
				       "network %s: %s overlaps %s of network %s on this host: choose another Network",
				       network->name, ipnet_str(pairs[i][0], own),
				       ipnet_str(pairs[i][1], others), other->name);
	return 0;
}

// Who was on this host before must not lose what it has because another one's config is read sooner.
static int give_way(const struct network *network, const struct network *other, struct err *e)
{
	bool is_coming = other->was_here && !other->backend && !other->is_leaving &&
			 other->config_error.code == 0 && other->bring_up_error.code == 0;
	if (network->was_here || !is_coming)
		return 0;
	return err_set(e, -EAGAIN,
		       "network %s waits until network %s, which was on this host before, is up",
		       network->name, other->name);
}

static int check_list(const struct network *network, const struct network *list, struct err *e)
{
	int r = 0;
	for (const struct network *other = list; r == 0 && other; other = other->next) {
		if (other == network)
			continue;
		r = give_way(network, other, e);
		if (r == 0 && other->backend)
			r = check_devices(network, other, e);
		if (r == 0 && other->backend)
			r = check_networks(network, other, e);
	}
	return r;
}

int clash_check(const struct network *network, struct err *e)
{
	int r = check_list(network, network->agent->networks, e);
	return r < 0 ? r : check_list(network, network->agent->leaving, e);
}
