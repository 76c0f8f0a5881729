// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: attaching a container by a pair alone, without a bridge, as the reference plugin ptp does.
#pragma once

#include "cni/call.h"

// out: the result, of ADD only.
int ptp_run(const struct call *call, const struct conf *conf, struct strbuf *out, struct fault *fault);
