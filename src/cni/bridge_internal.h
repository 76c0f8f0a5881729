// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts of the bridge plugin share.
#pragma once

#include "cni/attach.h"
#include "cni/bridge.h"

struct bridge_conf {
	const char *bridge;
	bool gateway, default_gateway, force_address, masquerade, hairpin, promiscuous, isolated, dad;
	bool antispoof;
	bool no_interface; // disableContainerInterface
	uint32_t mtu_bytes;
};

int bridge_conf_read(struct bridge_conf *ret, const struct conf *conf, struct fault *fault);

// The bridge, made and set up if need be.
int bridge_ensure(struct rtnl *host, const struct bridge_conf *conf, struct device *ret,
		  struct fault *fault);

// port: its ifindex, its name, and its MTU if it is to have another. Gives the bridge the gateways' addresses, puts look-ups of port and bridge behind them, and switches forwarding on. The
// bridge's other addresses are an error unless forceAddress is set or no container but the one on `port` is left that
// could use them.
int bridge_set_gateways(struct rtnl *host, const struct bridge_conf *conf, const struct result *result,
			struct device *bridge, struct device *port, struct fault *fault);
// Until the port is up and its bridge forwards to it.
int bridge_wait_port(struct rtnl *host, const struct device *port, struct fault *fault);

int bridge_add(const struct call *call, const struct conf *conf, struct strbuf *out,
	       struct fault *fault);
int bridge_check(const struct call *call, const struct conf *conf, struct fault *fault);
