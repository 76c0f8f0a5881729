// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: addresses from the agent (docs/agent-ipam.md): records in the store, given on its socket.
#pragma once

#include "cni/args.h"
#include "cni/result.h"

// host_if: the host's end of the pair, "" if not known. keep owns texts in *ret. ret_mtu_bytes: of the network's device,
// 0 if not told.
int ipam_agent_add(const struct call *call, const struct conf *conf, const struct wish *wish,
		   const char *host_if, struct doc *keep, struct result *ret,
		   uint32_t *ret_mtu_bytes, struct fault *fault);
// While the agent is down the request waits in a directory for it, and that is a success.
int ipam_agent_del(const struct call *call, const struct conf *conf, struct fault *fault);
int ipam_agent_check(const struct call *call, const struct conf *conf, struct fault *fault);
int ipam_agent_status(const struct conf *conf, struct fault *fault);
int ipam_agent_gc(const struct conf *conf, struct fault *fault);

// What an answer to an add says. ret_routes: its routes come behind those that are in *ret. For ipam_agent_add, and to be fuzzed.
int ipam_agent_read(const struct doc_value *answer, struct result *ret, uint32_t *ret_mtu_bytes,
		    struct fault *fault);

// The plugin weft-ipam.
int ipam_agent_run(const struct call *call, const struct conf *conf, struct strbuf *out,
		   struct fault *fault);
