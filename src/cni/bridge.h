// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: attaching a container to a bridge of the host, with the options and results of the reference plugin bridge.
#pragma once

#include "cni/call.h"

// out: the result, of ADD only.
int bridge_run(const struct call *call, const struct conf *conf, struct strbuf *out,
	       struct fault *fault);
// Whether the configuration asks for nothing that bridge_run lacks (see bridge_conf_read).
bool bridge_serves(const struct conf *conf);
