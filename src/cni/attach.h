// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one container being attached, whatever its host's end leads to: the steps that all modes share, and taking them back.
#pragma once

#include "cni/args.h"
#include "cni/veth.h"

struct attachment {
	const struct call *call;
	const struct conf *conf;
	struct wish wish;
	struct netns netns;
	struct rtnl host;
	struct veth veth;
	struct device port; // the host's end; mtu_bytes: another than it was made with, 0: none
	struct result result;
	struct doc keep; // of the result's texts
	bool paired, addressed;
};

// Reads who asks for what, and opens both namespaces. attachment_close in any case.
int attachment_open(struct attachment *ret, const struct call *call, const struct conf *conf,
		    struct fault *fault);
void attachment_close(struct attachment *attachment);

int attachment_pair(struct attachment *attachment, const struct veth_wish *wish, struct fault *fault);
// Addresses, if the configuration has any. pod_end: the index of the container's interface in the result.
struct attachment_gateways {
	bool fill;  // where IPAM names none: the first address of the network
	bool route; // a default route through it
};
int attachment_addresses(struct attachment *attachment, int pod_end,
			 const struct attachment_gateways *gateways, struct fault *fault);
int attachment_pod(struct attachment *attachment, bool dad, bool point_to_point, struct fault *fault);

// Takes back pair and addresses. Errors here are not told: the one that led here is what the operator has to see.
void attachment_undo(struct attachment *attachment);
// bridge: NULL for a mode without one.
int attachment_print(struct attachment *attachment, const struct device *bridge, struct strbuf *out,
		     struct fault *fault);

// DEL, of all modes. What is gone already is fine, and what is left goes, also without a namespace.
int detach(const struct call *call, const struct conf *conf, struct fault *fault);

// A forwarding switch of a family, set if it is not.
int enable_forwarding(int family, struct fault *fault);
