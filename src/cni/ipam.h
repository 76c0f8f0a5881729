// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: where a container's addresses come from, behind one set of operations: the agent, host-local in-process, another
// plugin, or nowhere.
#pragma once

#include "cni/args.h"
#include "cni/result.h"

// Whether the configuration asks for addresses at all.
bool ipam_wanted(const struct conf *conf);
// host_if: the host's end of the pair. keep owns texts in *ret. ret_mtu_bytes: what the network wants, 0 if it does not say.
int ipam_add(const struct call *call, const struct conf *conf, const struct wish *wish,
	     const char *host_if, struct doc *keep, struct result *ret, uint32_t *ret_mtu_bytes,
	     struct fault *fault);
int ipam_del(const struct call *call, const struct conf *conf, struct fault *fault);
int ipam_check(const struct call *call, const struct conf *conf, struct fault *fault);
int ipam_status(const struct call *call, const struct conf *conf, struct fault *fault);
int ipam_gc(const struct call *call, const struct conf *conf, struct fault *fault);
