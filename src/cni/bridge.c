// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: ADD of the bridge plugin. What fails is taken back: no half of an interface, no address without one.
#include "cni/bridge_internal.h"

#include "cni/antispoof.h"
#include "cni/masq.h"
#include "core/mem.h"

#include <errno.h>

#define POD_END 2 // among the interfaces of the result: bridge, host's end, container's end

static int attach(struct attachment *attachment, const struct bridge_conf *conf,
		  struct device *bridge, struct fault *fault)
{
	struct attachment_gateways gateways = { .fill = conf->gateway, .route = conf->default_gateway };
	struct veth_wish wish = {
		.ifname = attachment->call->ifname,
		.mac = attachment->wish.mac_set ? &attachment->wish.mac : NULL,
		.mtu_bytes = conf->mtu_bytes,
		.hairpin = conf->hairpin,
		.isolated = conf->isolated,
	};
	int r;

	r = bridge_ensure(&attachment->host, conf, bridge, fault);
	if (r < 0)
		return r;
	wish.master_ifindex = bridge->ifindex;
	if ((r = attachment_pair(attachment, &wish, fault)) < 0 ||
	    (r = attachment_addresses(attachment, POD_END, &gateways, fault)) < 0 ||
	    (!conf->no_interface && (r = attachment_pod(attachment, conf->dad, false, fault)) < 0) ||
	    (r = bridge_set_gateways(&attachment->host, conf, &attachment->result, bridge,
				     &attachment->port, fault)) < 0 ||
	    (conf->antispoof && (r = antispoof_add(attachment->port.ifindex, &attachment->veth.pod_mac,
						   &attachment->result, fault)) < 0) ||
	    (conf->masquerade && (r = masq_add(&attachment->result, fault)) < 0))
		return r;
	return conf->no_interface ? 0 : bridge_wait_port(&attachment->host, &attachment->port, fault);
}

static void undo(struct attachment *attachment, const struct bridge_conf *conf)
{
	struct fault ignored;

	attachment_undo(attachment);
	if (attachment->paired && conf->antispoof)
		(void)antispoof_sweep(&ignored);
	if (attachment->addressed && conf->masquerade)
		(void)masq_del(&attachment->result, &ignored);
}

int bridge_add(const struct call *call, const struct conf *conf, struct strbuf *out, struct fault *fault)
{
	_cleanup_free_ struct attachment *attachment = xnew(struct attachment);
	struct bridge_conf options;
	struct device bridge;
	int r;

	r = bridge_conf_read(&options, conf, fault);
	if (r < 0)
		return r;
	r = attachment_open(attachment, call, conf, fault);
	if (r == 0) {
		r = attach(attachment, &options, &bridge, fault);
		if (r == 0)
			r = attachment_print(attachment, &bridge, out, fault);
		if (r < 0)
			undo(attachment, &options);
	}
	attachment_close(attachment);
	return r < 0 ? -EIO : 0;
}
